"""Where a video or an image is kept: a file, a folder of frames, or a member of a tar shard.

Each is an `os.PathLike` that names it in messages, can be hashed and compared, and holds all that a worker process
needs to read it. A plain `Path` is a file, or a folder whose images are the frames of one video.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, Union

from morphmlp.data.media.images import IMAGE_SUFFIXES
from morphmlp.errors import MediaError

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv"]
)
SUFFIXES = {"video": VIDEO_SUFFIXES, "image": IMAGE_SUFFIXES}

MediaKind = Literal["video", "image"]
Source: TypeAlias = Union[Path, "FrameFolder", "TarMember"]


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """A video as a folder of images, of which a list says how many there are.

    Attributes:
        first: the number, in the file names, of the first frame; None takes the folder's first.
        num_frames: how many frames from there on make up the video.
    """

    path: Path
    first: int | None
    num_frames: int

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return os.fspath(self.path)


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file inside an uncompressed tar archive, where it is read: `size` bytes from `offset` on."""

    shard: Path
    name: str
    offset: int
    size: int

    def __fspath__(self) -> str:
        return os.path.join(self.shard, self.name)

    def __str__(self) -> str:
        return os.path.join(self.shard, self.name)


def media_kind(path: str | os.PathLike[str]) -> MediaKind | None:
    """What the ending of a file's name says that it is: "video", "image", or None where it says nothing."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None


def sort_key(source: Source) -> tuple:
    """Puts sources of any type in one order: by path, then the parts of one folder of frames."""
    return Path(source).parts, repr(source)


def require_whole_member(member: TarMember) -> None:
    """Raises MediaError where the shard is missing, or has become too short to hold the member."""
    try:
        available = os.stat(member.shard).st_size
    except OSError as error:
        raise MediaError(member, f"{member.shard} cannot be opened ({error.strerror})") from None
    if member.offset + member.size > available:
        raise MediaError(
            member,
            f"{member.shard} is cut off: {available} bytes, but the member ends at byte {member.offset + member.size}",
        )
    if member.size == 0:
        raise MediaError(member, "is empty (0 bytes)")


def read_member(member: TarMember) -> bytes:
    """The bytes of a member.

    Raises:
        MediaError: the shard is missing, too short, or cannot be read.
    """
    require_whole_member(member)
    try:
        with open(member.shard, "rb") as file:
            file.seek(member.offset)
            return file.read(member.size)
    except OSError as error:
        raise MediaError(member, f"{member.shard} cannot be read ({error.strerror})") from None
