"""Pictures that move: a GIF, WebP or PNG with several frames is a video where videos are wanted.

Pillow decodes them, as FFmpeg reads no such WebP and leaves transparent parts black; here they are white.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from morphmlp.data.media.images import image_to_rgb, opened_image, refuse_giant_image
from morphmlp.data.media.tar_members import TarMember
from morphmlp.errors import MediaError

_FORMATS = ("GIF", "WEBP", "PNG")
_SUFFIXES = frozenset([".gif", ".webp", ".apng", ".png"])
_LOOKED_AT = 16  # files of a set, spread over all of it
_UNKNOWN_MS = 100  # of a frame that states no time, as browsers and FFmpeg take it


class Animation(NamedTuple):
    """What the headers of an animation say: its frames, their average rate, size in pixels, and format."""

    num_frames: int
    fps: float
    height: int
    width: int
    format: str


def is_animation(path: str | os.PathLike[str]) -> bool:
    """Whether a file has several frames, though its ending is that of an image; False where it cannot be read."""
    if os.path.splitext(path)[1].lower() not in _SUFFIXES:
        return False
    try:
        with opened_image(path, content_of(path)) as image:
            return image.format in _FORMATS and getattr(image, "is_animated", False)
    except MediaError:
        return False


def are_animations(paths: Sequence[str | os.PathLike[str]]) -> bool:
    """Whether the images of a set move: their endings allow it, and most of a few that are looked at do."""
    if not paths or any(os.path.splitext(path)[1].lower() not in _SUFFIXES for path in paths):
        return False
    looked_at = paths[:: -(-len(paths) // _LOOKED_AT)]
    return 2 * sum(map(is_animation, looked_at)) > len(looked_at)


def describe_animation(path: str | os.PathLike[str]) -> Animation:
    """Counts the frames of an animation and adds up their times.

    Raises:
        MediaError: it cannot be read, or has more pixels than are read.
    """
    with opened_image(path, content_of(path)) as image:
        refuse_giant_image(path, *image.size)
        num_frames: int = getattr(image, "n_frames", 1)
        total_ms = 0.0
        for number in range(num_frames):
            image.seek(number)
            image.load()  # only then is the time of a WebP known
            total_ms += image.info.get("duration", 0) or _UNKNOWN_MS
        return Animation(num_frames, 1000 * num_frames / total_ms, image.height, image.width, str(image.format).lower())


def read_animation(path: str | os.PathLike[str], indices: Sequence[int]) -> np.ndarray:
    """The frames at `indices`, which may come in any order and repeat; only these are kept.

    Returns:
        [T, H, W, 3] RGB, uint8, with T = len(indices).

    Raises:
        MediaError: a frame up to the last wanted one cannot be decoded, or there is none of that number.
    """
    wanted = {int(index) for index in indices}
    pictures: dict[int, np.ndarray] = {}
    with opened_image(path, content_of(path)) as image:
        refuse_giant_image(path, *image.size)
        num_frames: int = getattr(image, "n_frames", 1)
        if max(wanted) >= num_frames:
            raise MediaError(path, f"holds {num_frames} frames, so there is no frame {max(wanted)} (the first is 0)")
        for number in range(max(wanted) + 1):
            image.seek(number)
            if number in wanted:
                pictures[number] = image_to_rgb(path, image)
    return np.stack([pictures[int(index)] for index in indices])


def content_of(path: str | os.PathLike[str]) -> bytes | None:
    """The bytes of a member of a shard; None for a file, which is opened by its name."""
    return path.read() if isinstance(path, TarMember) else None
