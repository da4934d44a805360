"""What the figures depend on besides the code: machine, commits, command."""

import os
import platform
import subprocess
from pathlib import Path


def describe(threads):
    """Processor, cores, memory, system; the accelerator comes from a run."""
    cores = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    found = {
        "processor": _processor(),
        "cores": cores,
        "threads": min(threads or cores, cores),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory"] = f"{size / 2**30:.0f} GiB"
    found["system"] = f"{platform.system()} {platform.machine()}"
    return found


def _processor():
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def commit(folder):
    """Short hash of a checkout, "-dirty" if changed, None if unknown."""
    words = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    words += ["--exclude", "*"]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None
