"""Rows of a video and two times, as THUMOS has them: `video_validation_0000051 67.5 75.9`, or with a label after them.

Without labels, the file is named by its class: `annotation/BaseballPitch_val.txt`. Whole numbers before a number
are the frames of a folder, see `plain`.
"""

import re
from pathlib import Path

from morphmlp.data.sets.formats.rows import ListFile, ListRow
from morphmlp.data.sets.formats.times import seconds_of

_ROW = re.compile(
    r"(?P<name>\S+?)[,\t ]+(?P<start>-?[0-9][0-9.:]*)[,\t ]+(?P<end>-?[0-9][0-9.:]*)([,\t ]+(?P<label>\S.*))?"
)
_OF_CLASS = re.compile(r"(?P<label>.+)_(?P<split>val|test|train|validation|training|testing)", re.IGNORECASE)


def rows(file: ListFile) -> list[ListRow] | None:
    """The rows, where all are of that shape; None of other files."""
    if file.is_json:
        return None
    found = [(number, _ROW.fullmatch(line)) for number, line in file.lines]
    matches = [(number, match) for number, match in found if match]
    if not matches or len(matches) < len(found):
        return None
    labels = [match["label"] for _, match in matches]
    of_file = class_of(file.path)
    if None in labels and (any(labels) or of_file is None):
        return None
    are_times = any(re.search("[.:]", match["start"] + match["end"]) for _, match in matches)
    if not are_times and (None in labels or any(label.isdigit() for label in labels)):
        return None
    return [_row(file, number, match, of_file) for number, match in matches]


def class_of(path: Path) -> tuple[str, str] | None:
    """The class and the part that the name of a file says: "BaseballPitch" and "val"; None where it says none."""
    match = _OF_CLASS.fullmatch(path.stem)
    return (match["label"], match["split"]) if match else None


def _row(file: ListFile, number: int, match: re.Match[str], of_file: tuple[str, str] | None) -> ListRow:
    times = [seconds_of(match[key]) for key in ("start", "end")]
    start, end = times
    if start is None or end is None:
        bad = match["start"] if start is None else match["end"]
        raise file.refused(f"row {number}", f"{bad!r} is no time in seconds, minutes:seconds or h:mm:ss")
    label, split = (match["label"], "") if match["label"] else of_file or ("", "")
    return ListRow(f"row {number}", match["name"], label, start, end, split=split)
