"""Keeping freed memory in the process, which a network on a CPU asks for again at once."""

import ctypes
import os

KEPT_BYTES = 2**27
_SETTINGS = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tells the C library to keep up to 128 MiB of freed memory; returns whether it does.

    By itself glibc gives the memory of a large tensor back to the system as soon as it is freed, and gets the next
    one page by page, zeroed: of the time of a prediction, a tenth to a fifth (`docs/speed.md`). It holds for the whole
    process. A user's own settings of the two thresholds, in the environment, are left as they are, and so is every
    other C library.

    >>> keep_freed_memory() in (True, False)
    True
    """
    if os.environ.keys() & _SETTINGS or "_threshold" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES // 2) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
