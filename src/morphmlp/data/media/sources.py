"""Where a video or an image is kept: a file, here or at an address, a stretch of one, a folder of frames, or a member
of a tar shard.

A plain `Path` is a file, or a folder whose images are the frames of one video. What a path alone does not name has a
class: an `os.PathLike` that names it in messages, can be hashed and compared, and holds all that a worker process needs
to read it. Such a class says

    location         the file or folder on the disk that it is a part of
    part             which part, as text; "" where the path of the source says it
    start            where the part begins, for parts of one path; None is the beginning
    span             where it begins and ends, the end exclusive, and what is counted; None is all of the path
    num_bytes        its size; None where it is no file
    why_not_listed() why the row of a list, which is a path, cannot name it; None where it can

and the functions below ask it. `video` and `frame_folders` open it.
"""

import hashlib
import os
from pathlib import Path
from typing import Literal, TypeAlias

from morphmlp.data.media.animations import is_animation
from morphmlp.data.media.formats import head_of, is_image_content
from morphmlp.data.media.frame_folders import FrameFolder
from morphmlp.data.media.images import IMAGE_SUFFIXES, is_image_name
from morphmlp.data.media.remote import RemoteFile, place_of
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.tar_members import TarMember

VIDEO_SUFFIXES = frozenset([".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts"])
VIDEO_SUFFIXES |= {".mts", ".m2ts", ".vob", ".dv", ".asf", ".ogv", ".ogg", ".3gp"}
SUFFIXES = {"video": VIDEO_SUFFIXES, "image": IMAGE_SUFFIXES}

MediaKind = Literal["video", "image"]
Source: TypeAlias = Path | RemoteFile | FrameFolder | TarMember | Stretch


def media_kind(path: str | os.PathLike[str]) -> MediaKind | None:
    """What the ending of a file's name says that it is: "video", "image", or None where it says nothing."""
    if is_image_name(path):
        return "image"
    return "video" if os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES else None


def why_not_taken(source: Source, kind: MediaKind) -> str | None:
    """Why a model that takes a kind does not take a source; None where it does, or the ending says nothing.

    An image that moves is a video as well, and what is an image by its content is one whatever its ending says.
    """
    if media_kind(source) in (kind, None):
        return None
    if is_animation(source) if kind == "video" else is_image_content(head_of(source)):
        return None
    return f"is {'an image' if kind == 'video' else 'a video'}, but the checkpoint takes {kind}s"


def sort_key(source: Source) -> tuple:
    """Puts sources of any type in one order: by path, then the stretches of a file by time, and parts of a folder."""
    if isinstance(source, Stretch):
        return Path(source).parts, "Stretch", source.start, source.end, source.unit
    return Path(source).parts, repr(source)


def part_of(source: Source) -> str:
    """Which part of its path a source is, as text; "" for all of it."""
    return "" if isinstance(source, Path) else source.part


def start_of(source: Source) -> float | None:
    """Where a source begins within its path; None is the beginning. See `overlaps` for whether two parts share any."""
    return None if isinstance(source, Path) else source.start


def span_of(source: Source) -> tuple[float, float, str] | None:
    """Where a source begins and ends within its path, the end exclusive, and in which unit; None is all of it."""
    return None if isinstance(source, Path) else source.span


def file_of(source: Source) -> Path | RemoteFile | FrameFolder | TarMember:
    """What a stretch is a stretch of; any other source itself."""
    return source.file if isinstance(source, Stretch) else source


def spans_meet(one: Source, other: Source) -> bool:
    """Whether two sources of one path may share a frame.

    A whole file meets all of its parts. Seconds and frames of one file cannot be compared without reading it, and count
    as meeting.
    """
    first, second = span_of(one), span_of(other)
    if first is None or second is None or first[2] != second[2]:
        return True
    return first[0] < second[1] and second[0] < first[1]


def overlaps(one: Source, other: Source) -> bool:
    """Whether two sources may share a frame: of one path, whose links are not followed, parts that meet.

    >>> overlaps(Stretch(Path("x.mp4"), 0, 10), Stretch(Path("x.mp4"), 10, 20))  # the end is exclusive
    False
    """
    return place_of(one) == place_of(other) and spans_meet(one, other)


def num_bytes(source: Source) -> int | None:
    """The size of a file; None for a folder of frames, and where there is nothing."""
    if not isinstance(source, Path):
        return source.num_bytes
    return os.path.getsize(source) if os.path.isfile(source) else None


def is_file(source: Source) -> bool:
    """Whether it has a file of its own, as far as its type and the ending of its name tell."""
    return isinstance(source, Path) and (media_kind(source) is not None or not os.path.isdir(source))


def why_not_listed(source: Source) -> str | None:
    """Why the row of a list, which is a path, cannot name a source; None where it can.

    Raises:
        MediaError: it is a folder of frames that cannot be listed.
    """
    return None if isinstance(source, Path) else source.why_not_listed()


def unique_name(source: Source) -> str:
    """Names a source wherever the process was started, and apart from other parts of the same path."""
    path = place_of(source)
    return path if isinstance(source, Path) else f"{path} {source!r}"


def state_of(source: Source) -> tuple[int, int]:
    """Two numbers that change when the file does that a source is in: its size and its time of change.

    Those of a folder of frames come from all files in it, as the folder itself does not change when one of them is
    written over.

    Raises:
        OSError, ValueError: there is no such file, or it cannot be fetched.
    """
    if isinstance(source, RemoteFile):
        return source.state
    location = source if isinstance(source, Path) else source.location
    if not os.path.isdir(location):
        status = os.stat(location)
        return status.st_size, status.st_mtime_ns
    with os.scandir(location) as entries:
        states = sorted(
            (entry.name, status.st_size, status.st_mtime_ns) for entry in entries if (status := entry.stat())
        )
    digest = hashlib.blake2b(repr(states).encode(), digest_size=8).digest()
    return sum(size for _, size, _ in states), int.from_bytes(digest)


def state_if_there(source: Source) -> tuple[int, int] | None:
    """As `state_of`; None where there is no such file, of which reading it says why."""
    try:
        return state_of(source)
    except (OSError, ValueError):
        return None
