"""Keeps libtiff, with which Pillow reads TIFF files, from writing to the terminal without the name of the file."""

import ctypes
import ctypes.util
from functools import cache
from pathlib import Path

import PIL


@cache
def silence_libtiff() -> None:
    """Turn its messages off, once in a process; what cannot be decoded is an error of Pillow's all the same."""
    beside_pillow = sorted((Path(PIL.__file__).parent.parent / "pillow.libs").glob("libtiff*"))
    name = str(beside_pillow[0]) if beside_pillow else ctypes.util.find_library("tiff")
    if name is None:
        return
    try:
        library = ctypes.CDLL(name)
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
    except (OSError, AttributeError):  # another build of Pillow: its messages stay
        return
