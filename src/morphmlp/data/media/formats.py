"""What a file is by its first bytes, and the plain reasons why it cannot be read; decoders give vaguer ones."""

import os
import stat
from typing import Literal

from morphmlp.data.media.remote import on_disk, web_address
from morphmlp.data.media.remote_store import shown_address
from morphmlp.data.media.tar_members import TarMember
from morphmlp.errors import DataError, MediaError

HEAD_BYTES = 64

_IMAGE_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
# The brand of a file that begins with an `ftyp` box, where it is a picture (ISO 23008-12, AV1 Image File Format).
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_LFS_BEGINNING = b"version https://git-lfs"


def is_image_content(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an image."""
    return head.startswith(_IMAGE_BEGINNINGS) or head[8:12] == b"WEBP" or heif_kind(head) is not None


def heif_kind(head: bytes) -> Literal["HEIC", "AVIF"] | None:
    """Which of the formats that phones save: their pictures are videos of one frame, or of a frame for each tile."""
    if head[4:8] != b"ftyp":
        return None
    brand, others = head[8:12], head[16 : int.from_bytes(head[:4])]
    if brand in _AVIF_BRANDS or (brand in _HEIF_BRANDS and b"avif" in others):
        return "AVIF"
    return "HEIC" if brand in _HEIF_BRANDS else None


def head_of(path: str | os.PathLike[str]) -> bytes:
    """The first bytes of a file or of a member of a shard.

    There are none where it cannot be read, or is no regular file: a pipe would be waited for.
    """
    if isinstance(path, TarMember):
        return path.head(HEAD_BYTES)
    try:
        path = on_disk(path)
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError):  # a MediaError of an address is a ValueError
        return b""


def require_filled_file(path: str | os.PathLike[str]) -> None:
    """Raise the plain reasons first: those of decoders are vaguer, and they would wait for ever on a named pipe.

    Raises:
        MediaError: there is no regular file with something in it, or only the pointer to one.
    """
    try:
        status = os.stat(on_disk(path))
    except MediaError:
        raise
    except (OSError, ValueError) as error:
        if address := web_address(path):
            raise MediaError(
                shown_address(address), "is an address, and only files are read; download it first"
            ) from None
        raise MediaError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(path, "is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(path, "is not a regular file")
    if status.st_size == 0:
        raise MediaError(path, "is empty (0 bytes)")
    if status.st_size < 1024 and head_of(path).startswith(_LFS_BEGINNING):
        raise MediaError(path, "is only the Git LFS pointer to a file; fetch the file itself with `git lfs pull`")


def refuse_address(text: str) -> None:
    """Raises DataError where a path that was given is an address."""
    if (address := web_address(text)) and not os.path.exists(text):
        raise DataError(
            f"{shown_address(address)} is an address, and only files are read; download it and give its path, or use "
            "`morphmlp watch`"
        )
