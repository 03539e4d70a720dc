"""A stretch of a longer recording: what happens between two times, or two frame numbers, of a file."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from morphmlp.data.media.remote import RemoteFile
from morphmlp.data.media.tar_members import TarMember
from morphmlp.errors import MediaError, UserError

_MOST_CUT_S = 1  # of the end of a stretch that the file does not have

StretchUnit = Literal["seconds", "frames"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The frames of a file that are shown from `start` on and before `end`. See `sources` for what a source says.

    Its path is that of the file. A stretch that is shorter than a frame is the frame that is shown at `start`.

    Attributes:
        start, end: in seconds from where players start, as the frames' own timestamps count them; or in frames, of
            which the first is 0.

    Raises:
        UserError: the two are no finite numbers, the start is negative or not before the end, or a frame is no integer.
    """

    file: Path | TarMember | RemoteFile
    start: float
    end: float
    unit: StretchUnit = "seconds"

    num_bytes = None

    def __post_init__(self):
        if reason := _why_impossible(self.start, self.end, self.unit):
            raise UserError(f"{self.file}: a stretch from {self.start} to {self.end} {self.unit}: {reason}")

    def __fspath__(self) -> str:
        return os.fspath(self.file)

    def __str__(self) -> str:
        return f"{self.file} ({self.part})"

    @property
    def location(self) -> Path:
        return self.file if isinstance(self.file, Path) else self.file.location

    @property
    def part(self) -> str:
        """As people read it, `12.5 to 17 s`, or `frames 0 to 99`, whose last one is part of it."""
        if self.unit == "frames":
            return f"frames {self.start:.0f} to {self.end - 1:.0f}"
        return f"{self.start:.10g} to {self.end:.10g} s"

    @property
    def span(self) -> tuple[float, float, StretchUnit]:
        return self.start, self.end, self.unit

    def why_not_listed(self) -> str | None:
        return None if isinstance(self.file, Path) else self.file.why_not_listed()

    def contains(self, time_s: float, number: int) -> bool:
        """Whether a frame is in it, by its time from the start of the file, and by its number.

        Times are compared in whole microseconds, so that sums of seconds are what they are meant to be:

        >>> Stretch(Path("x.mp4"), 3 * 0.1, 1).contains(0.3, 9)  # 3 * 0.1 is 0.30000000000000004
        True
        """
        if self.unit == "frames":
            return self.start <= number < self.end
        return microseconds(self.start) <= microseconds(time_s) < microseconds(self.end)

    def is_after(self, time_s: float, number: int) -> bool:
        """Whether a frame, and with it all later ones, comes after the stretch."""
        if self.unit == "frames":
            return number >= self.end
        return microseconds(time_s) >= microseconds(self.end)


@dataclass(frozen=True, slots=True)
class StretchWindow:
    """The windows of one length that lie within a recording: `length` and `end` are in the unit of its stretches."""

    length: float
    end: float

    def around(self, stretch: Stretch, *, share: float) -> Stretch:
        """The window whose middle is at a share of the stretch; where the recording does not go on, it is moved.

        A window of 2 s around the middle of 0.2 to 1 s would start at -0.4 s, and is that from 0 to 2 s:

        >>> window = StretchWindow(length=2.0, end=10.0)
        >>> window.around(Stretch(Path("x.mp4"), 4, 5), share=0.5).part
        '3.5 to 5.5 s'
        >>> window.around(Stretch(Path("x.mp4"), 0.2, 1), share=0.5).part
        '0 to 2 s'
        """
        middle, half = stretch.start + share * (stretch.end - stretch.start), self.length / 2
        if stretch.unit == "frames":
            # The share 1 of the frames 4 and 5 is at 6, which is the next one: the last is 5.
            middle, half = float(min(math.floor(middle), stretch.end - 1)), float(self.length // 2)
        start = max(0.0, min(middle - half, self.end - self.length))
        return Stretch(stretch.file, start, min(start + self.length, self.end), stretch.unit)


def stretch_columns(sources: Iterable[object]) -> dict[str, Callable[[object], float | str]]:
    """The columns of a table that say which part a row is, and what gives their cells: none where all are whole files.

    They are `start` and `end` in seconds, and `start_frame` and `end_frame` where a stretch counts frames; the end is
    exclusive, so that a list with them is read back as it was.
    """
    units = {source.unit for source in sources if isinstance(source, Stretch)}
    columns: dict[str, Callable[[object], float | str]] = {}
    endings: dict[StretchUnit, str] = {"seconds": "", "frames": "_frame"}
    for unit, ending in endings.items():
        if unit in units:
            columns[f"start{ending}"] = partial(_bound, "start", unit)
            columns[f"end{ending}"] = partial(_bound, "end", unit)
    return columns


def _bound(name: str, unit: StretchUnit, source: object) -> float | str:
    if not isinstance(source, Stretch) or source.unit != unit:
        return ""
    bound = getattr(source, name)
    return int(bound) if bound == int(bound) else bound


def past_end(stretch: Stretch, *, num_frames: int, end_s: float, fps: float) -> str | None:
    """What is missing of a stretch of a file that ends before it does; None where no frame is.

    Args:
        num_frames: of the file; only asked for of a stretch in frames.
        end_s: of the file's video, in seconds from where players start.

    Raises:
        MediaError: the stretch starts after the end of the file, or ends more than a second after it.
    """
    if stretch.unit == "frames":
        end, over_s, name = f"has {num_frames} frames (the first is 0)", (stretch.end - num_frames) / fps, "the file"
        starts_after = stretch.start >= num_frames
    else:
        end, over_s, name = f"ends at {end_s:.6g} s", stretch.end - end_s, "its video"
        starts_after = microseconds(stretch.start) >= microseconds(end_s)
    if starts_after:
        raise MediaError(stretch, f"starts after the end, as {name} {end}; correct the stretch, or leave it out")
    if over_s > _MOST_CUT_S + 1e-6:
        raise MediaError(
            stretch,
            f"ends {over_s:.6g} s after the end, as {name} {end}; up to {_MOST_CUT_S} s is cut off: correct the "
            "stretch, or leave it out",
        )
    return f"{name} {end}, {over_s:.3g} s before the end of the stretch" if over_s * fps > 1 - 1e-6 else None


def microseconds(time_s: float) -> int:
    """The nearest whole number of microseconds."""
    return round(time_s * 1e6)


def _why_impossible(start: float, end: float, unit: StretchUnit) -> str | None:
    """What is wrong with the bounds of a stretch, and what is allowed; None where nothing is."""
    if not (math.isfinite(start) and math.isfinite(end)):
        return "both have to be finite numbers"
    if start < 0:
        return f"the first of all {unit} is 0"
    if start >= end:
        return "the end has to come after the start"
    if unit == "frames" and (start % 1 or end % 1):
        return "frames are counted in whole numbers"
    return None
