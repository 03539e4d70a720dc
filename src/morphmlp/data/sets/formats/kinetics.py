"""The official csv of Kinetics: `label,youtube_id,time_start,time_end,split`, in any order, perhaps with more columns.

Its files are trimmed, `<youtube_id>_<start>_<end>.mp4` with six digits each, or whole, `<youtube_id>.mp4`.
"""

import re

from morphmlp.data.sets.formats.rows import ListFile, ListRow, shown
from morphmlp.data.sets.formats.times import seconds_of
from morphmlp.errors import DataError


def rows(file: ListFile) -> list[ListRow] | None:
    """The rows of a csv with a column `youtube_id`; None of other files."""
    if file.is_json or not file.lines or "youtube_id" not in re.split(r'[\s",;]+', file.lines[0][1].lower()):
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
    youtube_id = row["youtube_id"]
    name = f"{youtube_id}_{int(start):06d}_{int(end):06d}"
    return ListRow(where, name, row["label"], start, end, ids=(youtube_id,), split=row.get("split", ""))
