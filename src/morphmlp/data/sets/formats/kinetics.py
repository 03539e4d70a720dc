"""The official lists of Kinetics: a csv `label,youtube_id,time_start,time_end,split` in any order, or a json.

{"0wR5jVB-WPk": {"annotations": {"label": "testifying", "segment": [2.0, 12.0]}, "subset": "train"}}

Its files are trimmed, `<youtube_id>_<start>_<end>.mp4` with six digits each, or whole, `<youtube_id>.mp4`.
"""

import re
from typing import Any

from morphmlp.data.sets.formats.rows import ListFile, ListRow, is_number, shown
from morphmlp.data.sets.formats.times import seconds_of
from morphmlp.errors import DataError


def rows(file: ListFile) -> list[ListRow] | None:
    """The rows of a csv with a column `youtube_id`, or of a json as above; None of other files."""
    if file.is_json:
        return _rows_of_json(file)
    if not file.lines or "youtube_id" not in re.split(r'[\s",;]+', file.lines[0][1].lower()):
        return None
    (_, header), *others = file.cells(";" if ";" in file.lines[0][1] else ",")
    columns = [name.lower() for name in header]
    missing = [name for name in ("label", "youtube_id", "time_start", "time_end") if name not in columns]
    if missing:
        advice = "; a test list without labels cannot be used" if missing == ["label"] else ""
        raise DataError(f"{file.path}: its header lacks {', '.join(missing)}{advice}")
    return [_row(file, f"row {number}", columns, cells) for number, cells in others]


def _row(file: ListFile, where: str, columns: list[str], cells: list[str]) -> ListRow:
    row = dict(zip(columns, cells, strict=False))
    if len(cells) != len(columns) or not row["label"] or not row["youtube_id"]:
        raise file.refused(where, f"{shown(cells)} does not fill the columns {','.join(columns)}")
    start, end = seconds_of(row["time_start"]), seconds_of(row["time_end"])
    if start is None or end is None:
        raise file.refused(where, f"{shown(cells)}: time_start and time_end must be seconds")
    return _named(where, row["youtube_id"], row["label"], start, end, split=row.get("split", ""))


def _rows_of_json(file: ListFile) -> list[ListRow] | None:
    """A row for each clip; those of the test part, which have no label, have none."""
    entries = file.json.items() if isinstance(file.json, dict) else ()
    if not entries or not all(isinstance(entry, dict) and _is_clip(entry.get("annotations")) for _, entry in entries):
        return None
    found = [_row_of_json(file, str(name), entry) for name, entry in entries if entry["annotations"].get("label")]
    if not found:
        raise DataError(f"{file.path}: not one of its clips has a label; a test list without labels cannot be used")
    return found


def _is_clip(annotations: Any) -> bool:
    return isinstance(annotations, dict) and "segment" in annotations


def _row_of_json(file: ListFile, youtube_id: str, entry: dict[str, Any]) -> ListRow:
    label, segment = entry["annotations"]["label"], entry["annotations"]["segment"]
    if not isinstance(label, str) or not label.strip():
        raise file.refused(youtube_id, f"{shown(label)} is no label")
    if not isinstance(segment, list) or len(segment) != 2 or not all(is_number(value) for value in segment):
        raise file.refused(youtube_id, f"{shown(segment)} is no segment of two numbers, its start and end in seconds")
    start, end = map(float, segment)
    return _named(youtube_id, youtube_id, label.strip(), start, end, split=str(entry.get("subset", "")))


def _named(where: str, youtube_id: str, label: str, start: float, end: float, *, split: str) -> ListRow:
    name = f"{youtube_id}_{int(start):06d}_{int(end):06d}"
    return ListRow(where, name, label, start, end, ids=(youtube_id,), split=split)
