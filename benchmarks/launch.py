"""Runs one case in a fresh process."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from subjects import PEERS, small

WORKER = Path(__file__).with_name("worker.py")
TIMEOUT = 1800


class Launcher:
    """Runs cases; measures code and libraries once for each loss."""

    def __init__(self, options, root):
        self._options, self._root = options, root
        self._code = {}

    def run(self, case):
        """The figures of a case, or {"error": ...}.

        `memory` is that of the data alone and `code_memory` the rest. On a
        GPU the allocator sees data only.
        """
        figures = _run(case, self._options, self._root)
        if self._options.device == "gpu" or figures.get("memory") is None:
            return figures
        code = self._on_small_image(case)
        if "error" in code:
            return {"error": f"on a small image: {code['error']}"}
        data = max(figures["memory"] - code["memory"], 0)
        return {**figures, "memory": data, "code_memory": code["memory"]}

    def _on_small_image(self, case):
        key = (case.subject, case.backend, case.factor, case.radius)
        if key not in self._code:
            self._code[key] = _run(small(case), self._options, self._root)
        return self._code[key]


def _run(case, options, root):
    """What the worker prints."""
    job = {
        **dataclasses.asdict(case),
        "device": options.device,
        "threads": options.threads,
        "repeats": options.repeats,
    }
    if case.subject in PEERS:
        job["folder"] = str(getattr(options, case.subject).resolve())
    try:
        done = subprocess.run(
            [sys.executable, str(WORKER), json.dumps(job)],
            env=_environment(options, case, root),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no end after {TIMEOUT} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return {"error": f"status {done.returncode}: {lines[-1][:300]}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _environment(options, case, root):
    """Backend, device and threads, which frameworks read when they start.

    The sources beside this folder come first: they are measured, whatever is
    installed.
    """
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    found = {
        **os.environ,
        "KERAS_BACKEND": case.backend,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    if case.backend == "numpy":
        # It loads neither Keras nor a framework.
        found.pop("KERAS_BACKEND")
    if options.device == "cpu":
        found |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    if options.threads:
        found["OMP_NUM_THREADS"] = str(options.threads)
    return found
