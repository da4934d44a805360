"""Runs a script of the project as a user does."""

import os
import subprocess
import sys


def run_script(path, *arguments, **environment):
    """The finished process, with its output as text."""
    return subprocess.run(
        [sys.executable, str(path), *map(str, arguments)],
        env={**os.environ, "PYTHONUTF8": "1", **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=600,
    )
