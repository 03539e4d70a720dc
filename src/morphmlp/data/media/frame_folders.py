"""A video as a folder of images: which of them are its frames, in which order, and their pixels.

Data sets such as Something-Something are often kept as `<folder>/00001.jpg, 00002.jpg, ...`. Names may follow any
pattern: the order is that of the numbers in them, so `frame2.jpg` comes before `frame10.jpg`.
"""

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from morphmlp.data.media.images import describe_image, is_image_name, read_image
from morphmlp.errors import MediaError

_NUMBER = re.compile(r"[0-9]+")
_FRAMES = frozenset(["img", "image", "images", "frame", "frames", "rgb", "color", "colour"])
# Optical flow and others, which extraction tools write beside the frames: `flow_x_00001.jpg`, `x_00001.jpg`.
_NOT_FRAMES = frozenset(
    ["flow", "x", "y", "u", "v", "depth", "mask", "masks", "seg", "pose", "heatmap", "thumb", "thumbnail"]
)


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """A video as a folder of images, of which a list says how many there are. See `sources` for what a source says.

    Attributes:
        first: the number, in the file names, of the first frame; None takes the folder's first.
        num_frames: how many frames from there on make up the video.
    """

    path: Path
    first: int | None
    num_frames: int

    num_bytes = None

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return os.fspath(self.path)

    @property
    def location(self) -> Path:
        return self.path

    @property
    def part(self) -> str:
        return f"{self.first} {self.num_frames}"

    @property
    def start(self) -> int | None:
        return self.first

    @property
    def span(self) -> tuple[float, float, str]:
        """The numbers of its frames; without a first one, they are taken to begin at 1, as most do."""
        first = 1 if self.first is None else self.first
        return first, first + self.num_frames, "numbers"

    def why_not_listed(self) -> str | None:
        is_whole = list_frames(self) == list_frames(self.path)
        return None if is_whole else f"{self} has more frames than its list takes"


def is_frame_folder(path: str | os.PathLike[str]) -> bool:
    return isinstance(path, FrameFolder) or os.path.isdir(path)


def list_frames(folder: str | os.PathLike[str]) -> list[str]:
    """The paths of a video's frames, in the order in which they are shown.

    Raises:
        MediaError: the folder cannot be listed, holds no images, or fewer than its list states.
    """
    names = _image_names(folder)
    if not isinstance(folder, FrameFolder):
        chosen = names
    elif folder.first is None:
        chosen = names[: folder.num_frames]
        if len(chosen) < folder.num_frames:
            raise MediaError(folder, f"holds {len(names)} frames, but its list states {folder.num_frames}")
    else:
        chosen = _numbered_from(folder, folder.first, names)
    return [os.path.join(folder, name) for name in chosen]


def _image_names(folder: str | os.PathLike[str]) -> list[str]:
    """The names of the images in a folder, in the order of the numbers in them."""
    try:
        names = [name for name in os.listdir(folder) if is_image_name(name) and not name.startswith(".")]
    except OSError as error:
        raise MediaError(folder, f"cannot be listed ({error.strerror})") from None
    if not names:
        raise MediaError(folder, "is a folder without images: neither a video file nor the frames of a video")
    return sorted(_frames_among(folder, names), key=_natural_order)


def _frames_among(folder: str | os.PathLike[str], names: list[str]) -> list[str]:
    """The names of the frames, without those of other series beside them, such as optical flow.

    Names that differ only in their numbers are a series. Two are beside each other if half of their numbers are the
    same; then one is of the frames: the one that is called so, or the only one that is not called something else.
    Series without common numbers are parts of one video.

    Raises:
        MediaError: several series lie beside each other, and none is called frames.
    """
    series = _series(names)
    others = {name for name in series if _words(name) & _NOT_FRAMES}
    if len(others) < len(series):
        series = {name: members for name, members in series.items() if name not in others}
    if called_so := {name for name in series if _words(name) & _FRAMES}:
        series = {
            name: members
            for name, members in series.items()
            if name in called_so or not any(_beside(members, series[other]) for other in called_so)
        }
    _require_one(folder, series)
    return [name for members in series.values() for name in members.values()]


def _series(names: list[str]) -> dict[str, dict[tuple[str, ...], str]]:
    """The names by what they are without their numbers, `img_#.jpg`, and then by their numbers."""
    series: dict[str, dict[tuple[str, ...], str]] = {}
    for name in names:
        numbers = tuple(_NUMBER.findall(os.path.splitext(name)[0]))
        series.setdefault(_NUMBER.sub("#", name).lower(), {})[(*numbers, name)] = name
    return series


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", os.path.splitext(name)[0]))


def _beside(one: dict[tuple[str, ...], str], other: dict[tuple[str, ...], str]) -> bool:
    """Whether half of the numbers of two series are the same; those without numbers have none in common."""
    first, second = ({numbers[:-1] for numbers in each if numbers[:-1]} for each in (one, other))
    return bool(first & second) and 2 * len(first & second) >= len(first | second)


def _require_one(folder: str | os.PathLike[str], series: dict[str, dict[tuple[str, ...], str]]) -> None:
    """Raises MediaError where two series lie beside each other; a single image is none."""
    for (name, members), (other, others) in itertools.combinations(series.items(), 2):
        if min(len(members), len(others)) > 1 and _beside(members, others):
            raise MediaError(
                folder,
                f"holds two series of images side by side, {name} and {other}: which are the frames? Keep the others "
                f"elsewhere, or name the frames img_1.jpg, img_2.jpg, ...",
            )


def _natural_order(name: str) -> tuple:
    """`img2.jpg` before `img10.jpg`; text and numbers alternate, so that text meets text, and numbers numbers."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _numbered_from(folder: FrameFolder, first: int, names: list[str]) -> list[str]:
    """The frames whose numbers are `first`, `first + 1`, ...: 13 to 175 for 163 frames from 13 on."""
    numbers = _frame_numbers(folder, names)
    last = first + folder.num_frames - 1
    chosen = [name for name, number in zip(names, numbers, strict=True) if first <= number <= last]
    if len(chosen) < folder.num_frames:
        raise MediaError(
            folder,
            f"holds {len(chosen)} of the {folder.num_frames} frames that its list states, numbered {first} to {last}; "
            f"those in the folder are numbered {min(numbers)} to {max(numbers)}",
        )
    return chosen


def _frame_numbers(folder: FrameFolder, names: list[str]) -> list[int]:
    """The last number in each name that tells the frames apart: 7 in `clip2_00007.jpg` and in `00007_v2.jpg`."""
    found = [[int(digits) for digits in re.findall(r"[0-9]+", os.path.splitext(name)[0])] for name in names]
    for column in range(1, min(map(len, found)) + 1):
        numbers = [each[-column] for each in found]
        if len(set(numbers)) == len(numbers):
            return numbers
    raise MediaError(folder, f"its frames have no numbers that tell them apart, such as {names[0]}")


def read_frame_files(folder: str | os.PathLike[str], files: list[str], indices: Sequence[int]) -> np.ndarray:
    """The frames at `indices` of `files`, each read once; frames of another size are scaled to the first one's.

    Returns:
        [T, H, W, 3] RGB, uint8, with T = len(indices).

    Raises:
        MediaError: a wanted frame cannot be read, and is named; or an index is past the last frame.
    """
    if max(indices) >= len(files):
        raise MediaError(folder, f"holds {len(files)} frames, so there is no frame {max(indices)} (the first is 0)")
    height, width = first_frame_size(folder, files)
    frames = np.empty((len(indices), height, width, 3), dtype=np.uint8)
    positions: dict[int, list[int]] = {}
    for position, index in enumerate(indices):
        positions.setdefault(int(index), []).append(position)
    for index, wanted in positions.items():
        frames[wanted] = _scaled(_read_frame(folder, files[index]), height, width)
    return frames


def first_frame_size(folder: str | os.PathLike[str], files: list[str]) -> tuple[int, int]:
    """Height and width, in pixels.

    Raises:
        MediaError: it is no image.
    """
    try:
        return describe_image(files[0])[:2]
    except MediaError as error:
        raise _of_frame(folder, error) from None


def _read_frame(folder: str | os.PathLike[str], file: str) -> np.ndarray:
    try:
        return read_image(file)
    except MediaError as error:
        raise _of_frame(folder, error) from None


def _of_frame(folder: str | os.PathLike[str], error: MediaError) -> MediaError:
    """The error of the video; the reason names its frame."""
    return MediaError(folder, f"frame {error.path.name} {error.reason}")


def _scaled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
