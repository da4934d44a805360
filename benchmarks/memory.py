"""Peak memory of a process on a CPU, from its resident set.

Linux keeps the peak itself and resets it on request, which misses nothing and
costs nothing. Where that is forbidden a thread looks every millisecond.
Without /proc there is no figure.
"""

import ctypes
import gc
import threading
import time
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class PeakResident:
    """Context manager; `peak` and `start` are in bytes, None if unknown.

    `start` is what was in use on entry, `peak` the most that was in use since.
    """

    def __init__(self):
        self.start = self.peak = None

    def __enter__(self):
        _give_back()
        self._sampler = None
        if not _STATUS.exists():
            return self
        try:
            _RESET.write_text("5")
        except OSError:
            self._sampler = _Sampler()
        self.start = _read("VmRSS")
        if self._sampler is not None:
            self._sampler.start()
        return self

    def __exit__(self, *error):
        if self._sampler is not None:
            self.peak = self._sampler.stop()
        elif _STATUS.exists():
            self.peak = _read("VmHWM")


class _Sampler(threading.Thread):
    """Highest resident set seen until `stop`."""

    def __init__(self):
        super().__init__(daemon=True)
        self._done = threading.Event()
        self._peak = 0

    def run(self):
        """Looks until told to stop."""
        while not self._done.wait(0.001):
            self._peak = max(self._peak, _read("VmRSS"))

    def stop(self):
        """The peak, the present included."""
        self._done.set()
        self.join()
        return max(self._peak, _read("VmRSS"))


def _give_back():
    """Returns what is free to the system.

    Freed but unreturned memory of, say, a compiler would hide as much of what
    the loss needs from the first look, and add as much to the second.
    """
    gc.collect()
    time.sleep(0.2)  # threads of a framework free what they no longer need
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        pass  # not the C library of GNU


def _read(name):
    """A line of the status file, in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(f"no {name} in {_STATUS}")
