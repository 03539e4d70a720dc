"""The rows of a list of videos or images, in any of the formats that data sets come with; no listed file is touched.

`FORMATS` is the table of them. A format is a file in `formats` with a function `rows(file)`, which gives the rows of
its own files and None of others, and its row in the table.

A byte order mark, Windows line ends, empty rows and a header row do no harm, and names need not be UTF-8.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.formats import (
    activitynet,
    columns,
    cvat,
    kinetics,
    label_columns,
    label_studio,
    plain,
    something_something,
    thumos,
    via,
)
from morphmlp.data.sets.formats.rows import ListFile, ListRow, shown
from morphmlp.errors import DataError, UserError

LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".xml")

# The first that knows a file reads it. `something_something` takes every JSON that is left, and `plain` every text.
FORMATS: tuple[Callable[[ListFile], list[ListRow] | None], ...] = (
    activitynet.rows,
    label_studio.rows,
    cvat.rows,
    via.rows,
    kinetics.rows,
    label_columns.rows,
    columns.rows,
    thumos.rows,
    something_something.rows,
    plain.rows,
)

_HEAD_BYTES = 65536  # enough to tell text from other files before all of a large one is read


def read_rows(path: Path, *, fps: float | None = None, multi_label: bool = False) -> list[ListRow]:
    """All rows of a list, at least one.

    Args:
        fps: the rate that its frame numbers assume: its stretches are then in seconds. None counts the file's frames.
        multi_label: a row may have several label columns, or no label.

    Raises:
        DataError: the file is no list, or naming the row that cannot be used.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a list: {error.strerror}") from None
    return list(_rows(path, (status.st_size, status.st_mtime_ns), fps, multi_label))


@lru_cache(maxsize=4)  # the parts of a file are looked for one after the other
def _rows(path: Path, state: tuple[int, int], fps: float | None, multi_label: bool) -> tuple[ListRow, ...]:
    file = ListFile(path, _read_text(path), fps, multi_label)
    found = next(rows for read in FORMATS if (rows := read(file)) is not None)
    if not found:
        raise DataError(f"{path} holds no rows; expected one path,label a line")
    found = [_in_seconds(row, fps) for row in found] if fps else found
    for row in found:
        _require_usable(file, row)
    return tuple(found)


def _in_seconds(row: ListRow, fps: float) -> ListRow:
    if row.unit != "frames" or row.start is None or row.end is None:
        return row
    return replace(row, start=row.start / fps, end=row.end / fps, unit="seconds")


def _read_text(path: Path) -> str:
    """Names may hold bytes that are no UTF-8, which are kept as Python keeps those of file names."""
    try:
        with open(path, "rb") as file:
            content = file.read(_HEAD_BYTES)
            if b"\0" in content:
                raise DataError(f"{path} cannot be read as a list: it is no text in UTF-8")
            content += file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read as a list: {error.strerror}") from None
    return content.decode("utf-8-sig", errors="surrogateescape")


def _require_usable(file: ListFile, row: ListRow) -> None:
    """A label is shown and written to files, so it must be text; nor may any name hold a zero byte."""
    if any("\ud800" <= character <= "\udfff" for label in (row.label, *row.more) for character in label):
        raise file.refused(row.where, "the label is no UTF-8 text; save the list as UTF-8")
    if "\0" in row.name:
        raise file.refused(row.where, f"{shown(row.name)} is no file name")
    if row.num_frames == 0:
        raise file.refused(row.where, f"{row.name} is listed with 0 frames; remove the row")
    if row.start is not None and row.end is not None:
        try:
            Stretch(Path(row.name), row.start, row.end, row.unit)
        except UserError as error:
            raise file.refused(row.where, str(error)) from None
