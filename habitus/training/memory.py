"""How much memory a run needs: the peak of this process beyond what it held when the run began, where Linux tells it.

Freed memory is given back to the system first, so that models trained one after another can be compared.
"""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak of the resident set to its present size


class PeakMemory:
    """Watch the peak from now on.

    >>> watched = PeakMemory()
    >>> block = bytearray(64 * 2**20)
    >>> watched.mib() is None or watched.mib() >= 32
    True
    """

    def __init__(self) -> None:
        self._before_kib: int | None = None
        try:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            _CLEAR.write_text(_RESET_PEAK)
            self._before_kib = _field("VmRSS")
        except (OSError, AttributeError, KeyError):
            return  # another system: the peak stays unknown

    def mib(self) -> float | None:
        """Return the peak since then, in MiB beyond the beginning; None where it is not known."""
        if self._before_kib is None:
            return None
        return round(max(_field("VmHWM") - self._before_kib, 0) / 1024, 1)


def _field(name: str) -> int:
    """Return a size of this process in KiB."""
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(fields[name].split()[0])
