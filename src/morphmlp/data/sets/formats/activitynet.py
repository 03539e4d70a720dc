"""The json of ActivityNet, which HACS, FineAction and others share; testing videos have no labels and no rows.

{"database": {"v_id": {"subset": "training", "annotations": [{"segment": [12.5, 40.0], "label": "Long jump"}]}}}
"""

from collections.abc import Iterator, Mapping
from typing import Any

from morphmlp.data.sets.formats.rows import ListFile, ListRow, is_number, shown


def rows(file: ListFile) -> list[ListRow] | None:
    """A row for each segment; None of other files."""
    if not file.is_json or not isinstance(file.json, dict):
        return None
    database = file.json.get("database")
    if not isinstance(database, dict) or not all(_is_entry(entry) for entry in database.values()):
        return None
    return [row for video, entry in database.items() for row in _segments(file, str(video), entry)]


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("annotations", []), list)


def _segments(file: ListFile, video: str, entry: Mapping[str, Any]) -> Iterator[ListRow]:
    """Files are `<id>.mp4` or, as they are downloaded, `v_<id>.mp4`."""
    for number, annotation in enumerate(entry.get("annotations", []), start=1):
        where = f"{video}, segment {number}"
        segment = annotation.get("segment") if isinstance(annotation, dict) else None
        label = annotation.get("label") if isinstance(annotation, dict) else None
        if not isinstance(segment, list) or len(segment) != 2 or not all(is_number(value) for value in segment):
            raise file.refused(
                where, f"{shown(annotation)} has no segment of two numbers, its start and end in seconds"
            )
        if not isinstance(label, str) or not label.strip():
            raise file.refused(where, f"{shown(annotation)} has no label")
        start, end = map(float, segment)
        yield ListRow(
            where, video, label.strip(), start, end, ids=(video, f"v_{video}"), split=str(entry.get("subset", ""))
        )
