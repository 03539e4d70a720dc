"""A stretch of a longer recording: what happens between two times, or two frame numbers, of a file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from morphmlp.data.media.tar_members import TarMember

StretchUnit = Literal["seconds", "frames"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The frames of a file that are shown from `start` on and before `end`. See `sources` for what a source says.

    Its path is that of the file. A stretch that is shorter than a frame is the frame that is shown then.

    Attributes:
        start, end: in seconds from where players start, as the frames' own timestamps count them; or in frames, of
            which the first is 0.
    """

    file: Path | TarMember
    start: float
    end: float
    unit: StretchUnit = "seconds"

    num_bytes = None

    def __fspath__(self) -> str:
        return os.fspath(self.file)

    def __str__(self) -> str:
        return f"{self.file} ({self.part})"

    @property
    def location(self) -> Path:
        return self.file if isinstance(self.file, Path) else self.file.location

    @property
    def part(self) -> str:
        """As people read it: `12.5 to 17 s`, or `frames 0 to 99`, whose last one is part of it."""
        if self.unit == "frames":
            return f"frames {self.start:.0f} to {self.end - 1:.0f}"
        return f"{self.start:.10g} to {self.end:.10g} s"

    def why_not_listed(self) -> str | None:
        return None if isinstance(self.file, Path) else self.file.why_not_listed()

    def contains(self, time_s: float, number: int) -> bool:
        """Whether a frame is in it, by its time from the start of the file, and by its number."""
        return self.start <= (time_s if self.unit == "seconds" else number) < self.end
