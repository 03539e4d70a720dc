"""The rows of a list of videos or images, in any of the formats that data sets come with; no listed file is touched.

    path,label                                           comma or semicolon: a value that holds one is in quotes
    path label                                           space or tab: the names may hold spaces
    folder num_frames label                              frame folders: Something-Something V1 and V2
    folder first_frame num_frames label                  frame folders: parts of longer ones
    label,youtube_id,time_start,time_end,split           Kinetics
    [{"id": "78687", "template": "Holding [something]"}] Something-Something V2

Two values may be turned round: where a header says `label,path`, or all second values end as files do. A byte order
mark, Windows line ends, empty rows and a header row do no harm, and names need not be UTF-8. The first row is a header
if it says `label`, or `video_path,class` and the like, or has the only label that is no number.
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
from morphmlp.formatting import encodable, from_csv_text, shortened

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
    if lines and "youtube_id" in re.split(r'[\s",;]+', lines[0][1].lower()):
        return _kinetics_rows(path, text, ";" if ";" in lines[0][1] else ",")
    if _by_semicolons(lines):
        return _comma_rows(path, text, ";")
    num_spaced = sum(_is_spaced(line) for _, line in lines)
    num_commas = sum("," in line and not _is_spaced(line) for _, line in lines)
    return _spaced_rows(path, lines) if num_spaced > num_commas else _comma_rows(path, text, ",")


def _by_semicolons(lines: list[tuple[int, str]]) -> bool:
    """Whether most rows are two values with a semicolon between them, and no comma or space can be meant instead.

    `100001;Putting something, something and something` is such a row, `a;b.mp4,run` and `a;b.mp4 run` are not.
    """
    rows = [line for _, line in lines if not re.fullmatch("sep=.", line, re.IGNORECASE)]
    if 2 * _num_rows(rows, ";", 2) <= len(rows) or any(_has_other_separator(line) for line in rows):
        return False
    names = [line.partition(";")[0].strip(' "') for line in rows]
    return _num_rows(rows, ",", 2) < len(rows) or all(media_kind(name) for name in names)


def _has_other_separator(line: str) -> bool:
    """Whether a comma or a space follows the ending of a file, so that the semicolon is in the name or the label."""
    return re.search(rf'(;.*\.(?:{_ENDINGS})"?\s*,|\.(?:{_ENDINGS})"?\s+[^\s;])', line, re.IGNORECASE) is not None


def _num_rows(rows: list[str], delimiter: str, num_values: int) -> int:
    """How many rows have so many values with the delimiter between them."""
    try:
        return sum(len(row) == num_values for row in csv.reader(rows, skipinitialspace=True, delimiter=delimiter))
    except csv.Error:
        return 0


def _is_spaced(line: str) -> bool:
    """Whether a space or a tab comes before the label; a comma may still be in the name."""
    match = _SHAPES["path label"].fullmatch(line)
    if match:
        return "," not in match["label"]
    return "," not in line and len(line.split()) > 1


def _comma_rows(path: Path, text: str, delimiter: str) -> list[ListRow]:
    lines = _csv_cells(path, text, delimiter)
    if lines and re.fullmatch("sep=.?", "".join(lines[0][1]), re.IGNORECASE):  # a hint of Excel to itself
        lines = lines[1:]
    expected = f"path{delimiter}label"
    for number, cells in lines:
        if len(cells) != 2 or not all(cells):
            raise DataError(f"{path}, row {number}: {_shown(cells)} is not {expected}: two values, both filled")
    turned, has_header = _turned_round([cells for _, cells in lines])
    first = lines[0][1] if lines else []
    if has_header or (first and _is_header(first[0], first[1], [cells[1] for _, cells in lines[1:]])):
        lines = lines[1:]
    name, label = (1, 0) if turned else (0, 1)
    return [ListRow(f"row {number}", name=cells[name], label=from_csv_text(cells[label])) for number, cells in lines]


def _turned_round(rows: Sequence[list[str]]) -> tuple[bool, bool]:
    """Whether labels come before names, as the header or the endings of all names say; and whether a header says it."""
    if not rows:
        return False, False
    label, name = rows[0]
    if _HEADER_LABEL.fullmatch(label) and _HEADER_NAME.fullmatch(name) and label.lower() != name.lower():
        return True, True
    return all(media_kind(name) and not media_kind(label) for label, name in rows), False


def _is_header(name: str, label: str, others: Sequence[str]) -> bool:
    """Whether the first row says what the columns are: `path,class` above numbers; `others` are the other labels.

    A digit in it makes it a mistake in a number: `1l`, `-1`.
    """
    if media_kind(name) is not None:
        return False
    if label.lower() == "label" or (_HEADER_NAME.fullmatch(name) and _HEADER_LABEL.fullmatch(label)):
        return True
    return not re.search("[0-9]", label) and bool(others) and all(re.fullmatch("[0-9]+", other) for other in others)


def _csv_cells(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Number and cells of every row with something in it."""
    rows = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, delimiter=delimiter)
        for number, row in enumerate(reader, start=1):
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


def _kinetics_rows(path: Path, text: str, delimiter: str) -> list[ListRow]:
    """`label,youtube_id,time_start,time_end,split`, in any order, and perhaps with more columns."""
    (_, header), *rows = _csv_cells(path, text, delimiter)
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


# Keys that tell the json of another data set, and what it is called.
_OTHER_SETS = {
    ("vid_name", "start_frame"): "Diving48",
    ("annotations", "categories"): "COCO",
    ("database", "taxonomy"): "ActivityNet",
    ("database",): "ActivityNet or HACS",
    ("labels", "database"): "UCF101-24 or HMDB51",
    ("video", "caption"): "a set of captions",
    ("image_id", "caption"): "COCO's captions",
}
_WANTED = (
    'expected the list of Something-Something V2, [{"id": ..., "template": ...}, ...]; write the labels of another set '
    "as a csv of path,label"
)


def _json_rows(path: Path, text: str) -> list[ListRow]:
    """Something-Something V2: entries with `id` and `template`; its brackets are no part of the class name."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as a list: {error}") from None
    if not isinstance(entries, list):
        raise DataError(f"{path} is not a list of entries{_what_it_is(entries)}; {_WANTED}")
    return [_json_row(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _what_it_is(content: Any) -> str:
    """The kind of a json of another data set, with its first keys."""
    if not isinstance(content, dict) or not content:
        return ""
    keys = [str(key) for key in content]
    name = next((name for wanted, name in _OTHER_SETS.items() if set(wanted) <= set(keys)), None)
    first = next(iter(content.values()))
    if name is None and isinstance(first, dict) and {"annotations", "subset"} <= set(first):
        name = "Kinetics"
    shown = encodable(shortened([key[:40] for key in keys]))
    return f", but looks like {name}, with the keys {shown}" if name else f", but has the keys {shown}"


def _json_row(path: Path, number: int, entry: Any) -> ListRow:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), (str, int)) or not str(entry["id"]):
        raise DataError(f"{path}, entry {number} has no id{_what_it_is(entry)}; {_WANTED}")
    template = entry.get("template")
    if not isinstance(template, str) or not template.strip():
        raise DataError(
            f"{path}, entry {number} (id {entry['id']}) has no template, which tells its class; a test list without "
            "labels cannot be used: take the validation list"
        )
    return ListRow(f"entry {number}", str(entry["id"]), re.sub(r"[\[\]]", "", template).strip())
