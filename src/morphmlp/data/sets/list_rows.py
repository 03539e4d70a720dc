"""The rows of a list of videos or images, in any of the formats that data sets come with; no listed file is touched.

    path,label                                           comma: a value that holds one is in quotes
    path label                                           space or tab: the names may hold spaces
    folder num_frames label                              frame folders: Something-Something V1 and V2
    folder first_frame num_frames label                  frame folders: parts of longer ones
    label,youtube_id,time_start,time_end,split           Kinetics
    [{"id": "78687", "template": "Holding [something]"}] Something-Something V2

A byte order mark, Windows line ends, empty rows and a header row do no harm, and names need not be UTF-8. The first
row is a header if it says `label`, or `video_path,class` and the like, or has the only label that is no number.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphmlp.data.media.images import IMAGE_SUFFIXES
from morphmlp.data.media.sources import VIDEO_SUFFIXES, media_kind
from morphmlp.errors import DataError

_MOST_SHOWN = 120  # characters of a row in a message
_HEAD_BYTES = 65536  # enough to tell text from other files before all of a large one is read

_ENDINGS = "|".join(suffix[1:] for suffix in sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
# Shapes of a row without commas, of which the first that fits is taken.
_SHAPES = {
    "path label": re.compile(rf'"?(?P<name>.*\.(?:{_ENDINGS}))"?\s+(?P<label>[^\s,].*)', re.IGNORECASE),
    "folder first_frame num_frames label": re.compile(
        r"(?P<name>\S.*?)\s+(?P<first>[0-9]{1,9})\s+(?P<num_frames>[0-9]{1,9})\s+(?P<label>[0-9]+)"
    ),
    "folder num_frames label": re.compile(r"(?P<name>\S.*?)\s+(?P<num_frames>[0-9]{1,9})\s+(?P<label>[0-9]+)"),
    "name\tlabel": re.compile(r"(?P<name>[^\t]*\S)\s*\t\s*(?P<label>[^\t]+)"),
    "name label": re.compile(r"(?P<name>\S.*?)\s+(?P<label>\S+)"),
}
# What headers call the two columns, beside the word `label`, which is enough by itself.
_HEADER_NAME = re.compile(r"(video|image|file|clip|frame)?s?[ _]?(path|file|name|id|folder)?", re.IGNORECASE)
_HEADER_LABEL = re.compile(r"(label|class|category|action|target)[ _]?(id|name|index|number)?", re.IGNORECASE)

# A name whose ending is unknown may be among others.
_LIKE = {"path label": {"name label", "name\tlabel"}}


@dataclass(frozen=True, slots=True)
class ListRow:
    """One video or image of a list.

    Attributes:
        where: "row 3", for messages.
        name: as written; for Kinetics `<youtube_id>_<start>_<end>`, which has no ending.
        first, num_frames: the part of a frame folder, where the list states it.
        youtube_id, split: of Kinetics.
    """

    where: str
    name: str
    label: str
    first: int | None = None
    num_frames: int | None = None
    youtube_id: str | None = None
    split: str = ""


def read_rows(path: Path) -> list[ListRow]:
    """All rows of a list, at least one.

    Raises:
        DataError: the file is no list, or naming the row that cannot be used.
    """
    text = _read_text(path)
    rows = _json_rows(path, text) if path.suffix.lower() == ".json" else _text_rows(path, text)
    if not rows:
        raise DataError(f"{path} holds no rows; expected one path,label a line")
    for row in rows:
        _require_text(path, row)
    return rows


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


def _require_text(path: Path, row: ListRow) -> None:
    """A label is shown and written to files, so it must be text; nor may any name hold a zero byte."""
    if not row.label.isascii() and any("\ud800" <= character <= "\udfff" for character in row.label):
        raise DataError(f"{path}, {row.where}: the label is no UTF-8 text; save the list as UTF-8")
    if "\0" in row.name:
        raise DataError(f"{path}, {row.where}: {_shown(row.name)} is no file name")
    if row.num_frames == 0:
        raise DataError(f"{path}, {row.where}: {row.name} is listed with 0 frames; remove the row")


def _text_rows(path: Path, text: str) -> list[ListRow]:
    lines = [(number, line.strip()) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1)]
    lines = [(number, line) for number, line in lines if line]
    if lines and "youtube_id" in re.split(r'[\s",]+', lines[0][1].lower()):
        return _kinetics_rows(path, text)
    num_spaced = sum(_is_spaced(line) for _, line in lines)
    num_commas = sum("," in line and not _is_spaced(line) for _, line in lines)
    return _spaced_rows(path, lines) if num_spaced > num_commas else _comma_rows(path, text)


def _is_spaced(line: str) -> bool:
    """Whether a space or a tab comes before the label; a comma may still be in the name."""
    match = _SHAPES["path label"].fullmatch(line)
    if match:
        return "," not in match["label"]
    return "," not in line and len(line.split()) > 1


def _comma_rows(path: Path, text: str) -> list[ListRow]:
    rows = []
    lines = _csv_cells(path, text)
    first = lines[0][1] if lines else []
    if len(first) == 2 and _is_header(first[0], first[1], [cells[-1] for _, cells in lines[1:]]):
        lines = lines[1:]
    for number, cells in lines:
        if len(cells) != 2 or not all(cells):
            raise DataError(f"{path}, row {number}: {_shown(cells)} is not path,label: two values, both filled")
        rows.append(ListRow(f"row {number}", name=cells[0], label=cells[1]))
    return rows


def _is_header(name: str, label: str, others: Sequence[str]) -> bool:
    """Whether the first row says what the columns are: `path,class` above numbers; `others` are the other labels.

    A digit in it makes it a mistake in a number: `1l`, `-1`.
    """
    if media_kind(name) is not None:
        return False
    if label.lower() == "label" or (_HEADER_NAME.fullmatch(name) and _HEADER_LABEL.fullmatch(label)):
        return True
    return not re.search("[0-9]", label) and bool(others) and all(re.fullmatch("[0-9]+", other) for other in others)


def _csv_cells(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Number and cells of every row with something in it."""
    rows = []
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True), start=1):
            if any("\n" in cell or "\r" in cell for cell in row):
                raise DataError(
                    f"{path}, row {number}: {_shown(row)} holds a line break; is a quotation mark not closed?"
                )
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((number, cells))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a list: {error}") from None
    return rows


def _shown(content: str | list[str]) -> str:
    """As much of a row as fits into a message."""
    text = repr(content)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _spaced_rows(path: Path, lines: list[tuple[int, str]]) -> list[ListRow]:
    """All rows have the shape that most have: one that differs lacks a value, or has one too many."""
    shapes = [(number, line, _shape(line)) for number, line in lines]
    if shapes[0][2] != "path label" and _is_header(*_halves(shapes[0][1]), [_halves(line)[1] for _, line in lines[1:]]):
        shapes = shapes[1:]
    counts = Counter(shape for _, _, shape in shapes if shape)
    expected = max(counts, key=lambda shape: counts[shape], default="path label")
    allowed = {expected} | _LIKE.get(expected, set())
    rows = []
    for number, line, shape in shapes:
        match = _SHAPES[shape].fullmatch(line) if shape in allowed else None
        if match is None or re.fullmatch(r"[0-9]+(\s+[0-9]+)+|.*\t.*", match["label"]):
            shown = expected.replace("\t", " ")
            raise DataError(f"{path}, row {number}: {_shown(line)} is not {shown!r}, as other rows are")
        rows.append(_from_match(f"row {number}", match))
    return rows


def _halves(line: str) -> tuple[str, str]:
    """What comes before the last word, and that word."""
    *before, last = line.split()
    return " ".join(before), last


def _shape(line: str) -> str:
    """The first shape that fits; "" where none does."""
    return next((shape for shape, pattern in _SHAPES.items() if pattern.fullmatch(line)), "")


def _from_match(where: str, match: re.Match[str]) -> ListRow:
    groups = match.groupdict()
    first, num_frames = (int(groups[key]) if key in groups else None for key in ("first", "num_frames"))
    return ListRow(where, groups["name"], groups["label"], first=first, num_frames=num_frames)


def _kinetics_rows(path: Path, text: str) -> list[ListRow]:
    """`label,youtube_id,time_start,time_end,split`, in any order, and perhaps with more columns."""
    (_, header), *rows = _csv_cells(path, text)
    columns = [name.lower() for name in header]
    missing = [name for name in ("label", "youtube_id", "time_start", "time_end") if name not in columns]
    if missing:
        advice = "; a test list without labels cannot be used" if missing == ["label"] else ""
        raise DataError(f"{path}: its header lacks {', '.join(missing)}{advice}")
    return [_kinetics_row(path, number, columns, cells) for number, cells in rows]


def _kinetics_row(path: Path, number: int, columns: list[str], cells: list[str]) -> ListRow:
    row = dict(zip(columns, cells, strict=False))
    if len(cells) != len(columns) or not row["label"] or not row["youtube_id"]:
        raise DataError(f"{path}, row {number}: {_shown(cells)} does not fill the columns {','.join(columns)}")
    try:
        start, end = int(float(row["time_start"])), int(float(row["time_end"]))
    except (ValueError, OverflowError):
        raise DataError(f"{path}, row {number}: {_shown(cells)}: time_start and time_end must be seconds") from None
    name = f"{row['youtube_id']}_{start:06d}_{end:06d}"
    where = f"row {number}"
    return ListRow(where, name, row["label"], youtube_id=row["youtube_id"], split=row.get("split", ""))


def _json_rows(path: Path, text: str) -> list[ListRow]:
    """Something-Something V2: entries with `id` and `template`; its brackets are no part of the class name."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as a list: {error}") from None
    if not isinstance(entries, list):
        raise DataError(f'{path} is not a list of entries [{{"id": ..., "template": ...}}, ...]')
    return [_json_row(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _json_row(path: Path, number: int, entry: Any) -> ListRow:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), (str, int)) or not str(entry["id"]):
        raise DataError(f"{path}, entry {number} has no id")
    template = entry.get("template")
    if not isinstance(template, str) or not template.strip():
        raise DataError(
            f"{path}, entry {number} (id {entry['id']}) has no template, which tells its class; a test list without "
            "labels cannot be used: take the validation list"
        )
    return ListRow(f"entry {number}", str(entry["id"]), re.sub(r"[\[\]]", "", template).strip())
