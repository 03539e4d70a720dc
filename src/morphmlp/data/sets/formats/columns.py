"""Tables whose header names a start: `video,label,start,end` in any order, with other columns beside them.

    video,label,start,end                seconds, minutes:seconds or h:mm:ss; also t_start, begin_time ...
    path;class;start_ms;duration_ms      milliseconds
    file,action,start_frame,end_frame    frames, of which the first is 0

A column is told by the words of its name. Of frames, `end_frame` is the first one after the stretch, as `end` is in
seconds, but `last_frame` and `stop_frame` are part of it. Where a table has both times and frames, the times count: a
frame number depends on the rate. A row with neither start nor end is the whole file. A JSON list
of objects with these keys is the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from morphmlp.data.sets.formats.rows import ListFile, ListRow, shown
from morphmlp.data.sets.formats.times import ALLOWED, frames_of, seconds_of
from morphmlp.errors import DataError
from morphmlp.formatting import encodable, from_csv_text, shortened

Role = Literal["start", "end", "last", "length"]
Unit = Literal["seconds", "milliseconds", "frames"]

_WORDS_OF_ROLE: dict[Role, tuple[str, ...]] = {
    "start": ("start", "begin", "beginning", "from", "onset", "first"),
    "end": ("end", "finish", "to", "until"),
    "last": ("last", "stop"),
    "length": ("duration", "length", "num", "number", "count", "n"),
}
_WORDS_OF_UNIT: dict[Unit, tuple[str, ...]] = {
    "seconds": ("s", "sec", "secs", "second", "seconds"),
    "milliseconds": ("ms", "msec", "millis", "milliseconds"),
    "frames": ("f", "frame", "frames"),
}
_ROLES: dict[str, Role] = {word: role for role, words in _WORDS_OF_ROLE.items() for word in words}
_UNITS: dict[str, Unit] = {word: unit for unit, words in _WORDS_OF_UNIT.items() for word in words}
_BESIDE = {"t", "time", "timestamp", "at", "in", "of", "segment", "clip", "action", "event", "stretch"}  # say no more

_NAMES = ("video", "path", "file", "filename", "clip", "recording", "source", "name", "id")
_LABELS = ("label", "class", "action", "activity", "category", "target", "event")
_PLURAL = ("labels", "tags")
_NUMBERED = re.compile(r"(label|class|action|activity|category|tag)[ _]?[0-9]+", re.IGNORECASE)  # labels of a row
_SPLITS = ("split", "subset", "set", "partition")


@dataclass(frozen=True)
class _Columns:
    """Names of the columns; of the stretch by what they say, all of one unit; `more` has further labels of a row."""

    name: str
    label: str
    split: str | None
    more: Sequence[str]
    unit: Unit
    times: Mapping[Role, str]


def rows(file: ListFile) -> list[ListRow] | None:
    """The rows of a table whose header has a start and an end or a length; None of other files."""
    table = _json_table(file) if file.is_json else _text_table(file)
    if table is None:
        return None
    header, entries = table
    times = time_columns(header)
    unit: Unit | None = next((unit for unit in _WORDS_OF_UNIT if _is_enough(times.get(unit, {}))), None)
    if unit is None:
        return None
    columns = _Columns(
        _required(file, header, _NAMES, what="the video, such as video, path or file"),
        _required(
            file,
            header,
            _LABELS if _column(header, _LABELS) else _PLURAL,
            what="the label, such as label, class or action",
        ),
        _column(header, _SPLITS),
        [],
        unit,
        times[unit],
    )
    if file.multi_label:
        columns = replace(
            columns, more=[name for name in header if _NUMBERED.fullmatch(name) and name != columns.label]
        )
    used = [columns.name, columns.label, columns.split, *columns.times.values()]
    if twice := next((name for name in used if header.count(name) > 1), None):
        raise DataError(f"{file.path}: its header names {twice[:40]!r} twice; rename the column that is not meant")
    return [_row(file, where, columns, entry) for where, entry in entries]


def _json_table(file: ListFile) -> tuple[list[str], list[tuple[str, dict[str, str]]]] | None:
    entries = file.json
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        return None
    header = list(dict.fromkeys(str(key) for entry in entries for key in entry))
    texts = [{str(key): _text(value) for key, value in entry.items()} for entry in entries]
    return header, [(f"entry {number}", entry) for number, entry in enumerate(texts, start=1)]


def _text(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return "|".join(map(str, value))  # the labels of a multi-label list
    return "" if value is None else str(value)


def _text_table(file: ListFile) -> tuple[list[str], list[tuple[str, dict[str, str]]]] | None:
    if not file.lines:
        return None
    first = file.lines[0][1]
    delimiter = max("\t;,", key=first.count)
    if not first.count(delimiter):
        cells = [(number, line.split()) for number, line in file.lines]
    elif _is_enough_in(first.replace('"', "").split(delimiter)):
        cells = file.cells(delimiter)
    else:
        return None
    (_, header), *others = cells
    if not _is_enough_in(header):
        return None
    for number, row in others:
        if len(row) != len(header):
            raise file.refused(f"row {number}", f"{shown(row)} does not fill the columns {','.join(header)}")
    return header, [(f"row {number}", dict(zip(header, row, strict=True))) for number, row in others]


def has_stretches(header: Sequence[str]) -> bool:
    """Whether a header names times and a label."""
    return _is_enough_in(header) and any(_column(header, names) for names in (_LABELS, _PLURAL))


def _is_enough_in(header: Sequence[str]) -> bool:
    return any(_is_enough(found) for found in time_columns(header).values())


def _is_enough(times: Mapping[Role, str]) -> bool:
    return "start" in times and len(times) > 1


def time_columns(header: Sequence[str]) -> dict[Unit, dict[Role, str]]:
    """The columns that say a start, an end or a length, by unit.

    >>> time_columns(["video", "label", "t_start", "end (s)", "first_frame", "num_frames"])
    {'seconds': {'start': 't_start', 'end': 'end (s)'}, 'frames': {'start': 'first_frame', 'length': 'num_frames'}}
    """
    found: dict[Unit, dict[Role, str]] = {}
    for column in header:
        words = words_of(column)
        roles: list[Role] = [_ROLES[word] for word in words if word in _ROLES]
        units: list[Unit] = [_UNITS[word] for word in words if word in _UNITS]
        if (
            len(roles) == 1
            and len(units) <= 1
            and len(roles) + len(units) + sum(w in _BESIDE for w in words) == len(words)
        ):
            unit: Unit = units[0] if units else "seconds"
            found.setdefault(unit, {}).setdefault(roles[0], column)
    return found


def words_of(column: str) -> list[str]:
    """The words of a column's name in lower case: `startTime (s)` is start, time and s."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", column.strip())
    words = re.split(r"[^a-z0-9]+", apart.lower())
    return [part for word in words if word for part in _parted(word)]


def _parted(word: str) -> list[str]:
    """`starttime` and `endframe` are two words."""
    for ending in ("time", "frame", "frames", "sec", "ms", "timestamp"):
        if word.endswith(ending) and word.removesuffix(ending) in _ROLES:
            return [word.removesuffix(ending), ending]
    return [word]


def _required(file: ListFile, header: Sequence[str], wanted: Sequence[str], *, what: str) -> str:
    column = _column(header, wanted)
    if column is None:
        columns = encodable(shortened([name[:40] for name in header], limit=12))
        raise DataError(f"{file.path}: its header names no column for {what}; it has {columns}")
    return column


def _column(header: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The column of one of these names, or else the first that begins or ends with one of them: `video_id`."""
    plain = {name: "".join(words_of(name)) for name in header}
    exact = (name for word in wanted for name in header if plain[name] == word)
    timed = {name for found in time_columns(header).values() for name in found.values()}
    words = [(name, words_of(name)) for name in header if name not in timed]
    part = (name for word in wanted for name, parts in words if parts and word in (parts[0], parts[-1]))
    return next(exact, None) or next(part, None)


def _row(file: ListFile, where: str, columns: _Columns, entry: Mapping[str, str]) -> ListRow:
    name, label = entry.get(columns.name, "").strip(), from_csv_text(entry.get(columns.label, "").strip())
    if not name or not (label or file.multi_label):
        missing = columns.label if name else columns.name
        raise file.refused(where, f"{shown(list(entry.values()))} has no {missing}")
    start, end = _bounds(file, where, columns, entry)
    split = entry.get(columns.split, "") if columns.split else ""
    unit = "frames" if columns.unit == "frames" else "seconds"
    more = tuple(from_csv_text(entry.get(column, "").strip()) for column in columns.more)
    return ListRow(where, name, label, start, end, unit, split=split, more=more)


def _bounds(
    file: ListFile, where: str, columns: _Columns, entry: Mapping[str, str]
) -> tuple[float, float] | tuple[None, None]:
    """Start and end, the end exclusive."""
    texts: dict[Role, str] = {role: entry.get(column, "").strip() for role, column in columns.times.items()}
    if not any(texts.values()):
        return None, None
    ends: tuple[Role, ...] = ("end", "last", "length")
    role: Role = next(role for role in ends if role in texts)
    start = _value(file, where, columns, texts, "start")
    value = _value(file, where, columns, texts, role)
    if role == "length":
        return start, start + value
    return start, value + 1 if role == "last" and columns.unit == "frames" else value


def _value(file: ListFile, where: str, columns: _Columns, texts: Mapping[Role, str], role: Role) -> float:
    text = texts[role]
    value = frames_of(text) if columns.unit == "frames" else seconds_of(text)
    if value is None:
        allowed = "a whole number of frames" if columns.unit == "frames" else ALLOWED
        raise file.refused(where, f"{columns.times[role]} {text[:40]!r} is no time; allowed: {allowed}")
    return value / 1000 if columns.unit == "milliseconds" else value
