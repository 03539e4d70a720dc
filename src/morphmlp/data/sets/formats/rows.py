"""What all formats of lists share: the file that is read, and the rows that come of it."""

import csv
import io
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from morphmlp.data.media.stretches import StretchUnit
from morphmlp.errors import DataError

_MOST_SHOWN = 120  # characters of a row in a message
_LARGEST = 1e15  # number in JSON: a whole one of any length is allowed there, which no float holds


@dataclass(frozen=True, slots=True)
class ListRow:
    """One sample of a list: a video or an image, or a stretch of a video.

    Attributes:
        where: "row 3", for messages.
        name: as written; where there are `ids`, what a file is called that holds the stretch alone.
        start, end: of the stretch, the end exclusive; None is the whole file.
        unit: what they count; the first frame is 0.
        first, num_frames: the part of a frame folder, by the numbers in the names of its images.
        ids: what the file of the whole recording may be called, without its ending and folders.
        split: as written, where one file lists several parts; "" elsewhere.
        more: labels beside the first, of further columns; "" is none.
    """

    where: str
    name: str
    label: str
    start: float | None = None
    end: float | None = None
    unit: StretchUnit = "seconds"
    first: int | None = None
    num_frames: int | None = None
    ids: tuple[str, ...] = ()
    split: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListFile:
    """A list that was read as text.

    Attributes:
        fps: the rate that its frame numbers assume, where the configuration says it.
        multi_label: the configuration says that a row may have several labels, or none.
    """

    path: Path
    text: str
    fps: float | None = None
    multi_label: bool = False

    @property
    def is_json(self) -> bool:
        return self.path.suffix.lower() == ".json"

    @cached_property
    def json(self) -> Any:
        """What a JSON file holds.

        Raises:
            DataError: it is none.
        """
        try:
            return parsed_json(self.text)
        except ValueError as error:
            raise DataError(f"{self.path} cannot be read as a list: {error}") from None

    @cached_property
    def lines(self) -> list[tuple[int, str]]:
        """Number and text of each line with something in it."""
        lines = enumerate(re.split(r"\r\n|\r|\n", self.text), start=1)
        return [(number, stripped) for number, line in lines if (stripped := line.strip())]

    def cells(self, delimiter: str) -> list[tuple[int, list[str]]]:
        """Number and cells of every row with something in it.

        Raises:
            DataError: a quotation mark is not closed.
        """
        rows = []
        try:
            reader = csv.reader(io.StringIO(self.text, newline=""), skipinitialspace=True, delimiter=delimiter)
            for number, row in enumerate(reader, start=1):
                if any("\n" in cell or "\r" in cell for cell in row):
                    raise self.refused(
                        f"row {number}", f"{shown(row)} holds a line break; is a quotation mark not closed?"
                    )
                cells = [cell.strip() for cell in row]
                if any(cells):
                    rows.append((number, cells))
        except csv.Error as error:
            raise DataError(f"{self.path} cannot be read as a list: {error}") from None
        return rows

    def refused(self, where: str, reason: str) -> DataError:
        """The error that names the list and the row."""
        return DataError(f"{self.path}, {where}: {reason}")


def shown(content: Any) -> str:
    """As much of a row as fits into a message."""
    text = repr(content)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def parsed_json(text: str) -> Any:
    """What a text of JSON holds.

    Raises:
        ValueError: it is none, or its lists are nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of JSON is a finite number, and none that is too large to be a time or a count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST
