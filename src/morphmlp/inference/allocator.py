"""Keeping freed memory in the process, which a network on a CPU asks for again at once."""

import os

from morphmlp.system import c_function

KEPT_BYTES = 2**27
_MAPPED_BYTES = 2**26, 2**25  # of a tensor that is mapped apart; before 2.35, glibc refuses the first
_SETTINGS = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}
_TUNABLES = "glibc.malloc.mmap_threshold", "glibc.malloc.trim_threshold"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tells the C library to keep the memory that is freed; returns whether it does.

    By itself glibc gives the memory of a large tensor back to the system as soon as it is freed, and gets the next
    one page by page, zeroed; `docs/speed.md` has what that costs. From now on it only gives back what exceeds
    128 MiB at the top of its heap; memory below a block that is still in use stays. This holds for the whole process. A
    user's own settings of the two thresholds, in the environment, are left as they are
    (`MALLOC_TRIM_THRESHOLD_=131072` turns it off), and so is every other C library.

    >>> keep_freed_memory() in (True, False)
    True
    """
    if os.environ.keys() & _SETTINGS or any(name in os.environ.get("GLIBC_TUNABLES", "") for name in _TUNABLES):
        return False
    mallopt = c_function("mallopt")
    if mallopt is None:  # no glibc
        return False
    mapped = any(mallopt(_M_MMAP_THRESHOLD, size) for size in _MAPPED_BYTES)
    return mapped and bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
