"""Keeping freed memory in the process, which a network on a CPU asks for again at once."""

import os

from morphmlp.system import c_function

KEPT_BYTES = 2**27
ALL_BYTES = -1  # glibc's word for it
_MAPPED_BYTES = 2**26, 2**25  # of a tensor that is mapped apart; before 2.35, glibc refuses more than the last
_LARGEST_BYTES = 2**30
_SETTINGS = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}
_TUNABLES = "glibc.malloc.mmap_threshold", "glibc.malloc.trim_threshold"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory(kept_bytes: int = KEPT_BYTES) -> bool:
    """Tells the C library to keep the memory that is freed; returns whether it does.

    By itself glibc gives the memory of a large tensor back to the system as soon as it is freed, and gets the next
    one page by page, zeroed; `docs/speed.md` has what that costs. From now on it only gives back what exceeds
    128 MiB at the top of its heap; memory below a block that is still in use stays. This holds for the whole process. A
    user's own settings of the two thresholds, in the environment, are left as they are
    (`MALLOC_TRIM_THRESHOLD_=131072` turns it off), and so is every other C library.

    Args:
        kept_bytes: at the top of the heap. Training gives `ALL_BYTES`: the backward pass frees, layer by layer, all
            that the next forward pass takes; large tensors are then not mapped apart either. The last call counts.

    >>> keep_freed_memory() in (True, False)
    True
    """
    if os.environ.keys() & _SETTINGS or any(name in os.environ.get("GLIBC_TUNABLES", "") for name in _TUNABLES):
        return False
    mallopt = c_function("mallopt")
    if mallopt is None:  # no glibc
        return False
    sizes = (_LARGEST_BYTES, *_MAPPED_BYTES) if kept_bytes == ALL_BYTES else _MAPPED_BYTES
    mapped = any(mallopt(_M_MMAP_THRESHOLD, size) for size in sizes)
    return mapped and bool(mallopt(_M_TRIM_THRESHOLD, kept_bytes))
