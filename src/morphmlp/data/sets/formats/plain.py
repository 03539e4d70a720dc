"""Rows of a path and a label, in whatever way they are written, and of folders of frames.

    path,label                                           comma or semicolon: a value that holds one is in quotes
    path label                                           space or tab: the names may hold spaces
    folder num_frames label                              frame folders: Something-Something V1 and V2
    folder first_frame num_frames label                  frame folders: parts of longer ones

Two values may be turned round: where a header says `label,path`, or all second values end as files do. The first row is
a header if it says `label`, or `video_path,class` and the like, or has the only label that is no number.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence

from morphmlp.data.media.images import IMAGE_SUFFIXES
from morphmlp.data.media.sources import VIDEO_SUFFIXES, media_kind
from morphmlp.data.sets.formats.rows import ListFile, ListRow, shown
from morphmlp.formatting import from_csv_text

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
_HEADER_LABEL = re.compile(
    r"(label|class|category|action|target|tag)[ _]?(id|name|index|number)?|labels|classes|categories|actions|tags",
    re.IGNORECASE,
)

# A name whose ending is unknown may be among others.
_LIKE = {"path label": {"name label", "name\tlabel"}}


def rows(file: ListFile) -> list[ListRow] | None:
    """The rows of any text; None of JSON."""
    if file.is_json:
        return None
    lines = file.lines
    if _by_semicolons(lines):
        return _comma_rows(file, ";")
    num_spaced = sum(_is_spaced(line) for _, line in lines)
    num_commas = sum("," in line and not _is_spaced(line) for _, line in lines)
    return _spaced_rows(file, lines) if num_spaced > num_commas else _comma_rows(file, ",")


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


def _comma_rows(file: ListFile, delimiter: str) -> list[ListRow]:
    lines = file.cells(delimiter)
    if lines and re.fullmatch("sep=.?", "".join(lines[0][1]), re.IGNORECASE):  # a hint of Excel to itself
        lines = lines[1:]
    expected = f"path{delimiter}label"
    for number, cells in lines:
        if len(cells) != 2 or not all(cells):
            if file.multi_label and cells[0]:
                continue
            hint = (
                "; stretches need a header, such as video,label,start,end, and several labels --lists.multi_label true"
                if len(cells) > 2
                else "; a row may lack a label with --lists.multi_label true"
            )
            reason = f"{shown(cells)} is not {expected}: two values, both filled{hint}"
            raise file.refused(f"row {number}", reason)
    if file.multi_label:
        return _rows_of_labels(lines)
    turned, has_header = _turned_round([cells for _, cells in lines])
    first = lines[0][1] if lines else []
    if has_header or (first and _is_header(first[0], first[1], [cells[1] for _, cells in lines[1:]])):
        lines = lines[1:]
    name, label = (1, 0) if turned else (0, 1)
    return [ListRow(f"row {number}", name=cells[name], label=from_csv_text(cells[label])) for number, cells in lines]


def _rows_of_labels(lines: list[tuple[int, list[str]]]) -> list[ListRow]:
    """A path and then any number of labels a row; with a header or without."""
    others = [cells[1] for _, cells in lines[1:] if len(cells) > 1]
    if lines and len(lines[0][1]) > 1 and _is_header(lines[0][1][0], lines[0][1][1], others):
        lines = lines[1:]
    found = [
        (f"row {number}", cells[0], [from_csv_text(cell) for cell in cells[1:]] or [""]) for number, cells in lines
    ]
    return [ListRow(where, name=name, label=labels[0], more=tuple(labels[1:])) for where, name, labels in found]


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


def _spaced_rows(file: ListFile, lines: list[tuple[int, str]]) -> list[ListRow]:
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
            reason = f"{shown(line)} is not {expected.replace(chr(9), ' ')!r}, as other rows are"
            raise file.refused(f"row {number}", reason)
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
