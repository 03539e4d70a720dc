"""The JSON export of Label Studio, also JSON-MIN: regions of time with a label.

    [{"data": {"video": "/data/upload/1/9f3c2a1b-talk.mp4"},
      "annotations": [{"result": [{"type": "labels", "value": {"start": 1.5, "end": 4.0, "labels": ["wave"]}}]}]}]

Regions with `start` and `end` are in seconds. Those of `TimelineLabels` have frame numbers instead, from 1 on and with
both ends in the region, that count at the rate which the set-up of the project assumes (`frameRate` of its Video tag,
24 where nothing is said) and not at that of the file. The export does not say that rate, so the region is turned into
seconds only where another one of the task (`framesCount` and `duration`), the data of the task (`fps`) or the
configuration (`lists.fps`) does. Of several annotations of a task, the first that was not cancelled is taken, or that
which is called the ground truth.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from morphmlp.data.media.sources import media_kind
from morphmlp.data.sets.formats.rows import ListFile, ListRow, is_number, shown
from morphmlp.errors import DataError

_RATES = ("fps", "framerate", "frame_rate", "video_fps")
_MOST_FPS = 1e4
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")  # that Label Studio puts before the names of files


def rows(file: ListFile) -> list[ListRow] | None:
    """A row for each region of time; None of other files."""
    tasks = file.json if file.is_json else None
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
        return None
    if not any("annotations" in task and "data" in task for task in tasks) and not any(map(_min_values, tasks)):
        return None
    found = [row for number, task in enumerate(tasks, start=1) for row in _task_rows(file, f"task {number}", task)]
    if not found:
        raise DataError(f"{file.path} is an export of Label Studio without a labelled region of time")
    return found


def _task_rows(file: ListFile, where: str, task: Mapping[str, Any]) -> Iterator[ListRow]:
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    values = [value for value in _values(task) if "ranges" in value or _is_timed(value)]
    if not values:
        return
    assert isinstance(data, dict)
    address = next(
        (text for text in data.values() if isinstance(text, str) and media_kind(_path(text)) == "video"), None
    )
    if address is None:
        raise file.refused(where, f"{shown(data)} names no video file")
    path = _path(address)
    stem = os.path.splitext(os.path.basename(path))[0]
    ids = tuple(dict.fromkeys((stem, _UPLOAD_PREFIX.sub("", stem, count=1))))
    rate = file.fps or _rate(data, _values(task))
    for number, value in enumerate(values, start=1):
        at = f"{where}, region {number}"
        label = _label(file, at, value)
        for start, end in _bounds(file, at, value, rate):
            yield ListRow(at, path, label, start, end, ids=ids)


def _values(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the regions of a task hold."""
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        return _min_values(task)
    kept = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
    chosen = next((a for a in kept if a.get("ground_truth")), kept[0] if kept else {})
    regions = chosen["result"] if isinstance(chosen.get("result"), list) else []
    results = [region.get("value") for region in regions if isinstance(region, dict)]
    return [value for value in results if isinstance(value, dict)]


def _min_values(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of JSON-MIN, in which the regions are the values of the task's own keys."""
    lists = [values for values in task.values() if isinstance(values, list)]
    found = [value for values in lists for value in values if isinstance(value, dict)]
    return [value for value in found if ("ranges" in value or _is_timed(value)) and _labels(value)]


def _is_timed(value: Mapping[str, Any]) -> bool:
    return is_number(value.get("start")) and is_number(value.get("end"))


def _labels(value: Mapping[str, Any]) -> list[str]:
    for key, labels in value.items():
        if key.lower().endswith("labels") and isinstance(labels, list):
            return [str(label).strip() for label in labels]
    return []


def _label(file: ListFile, where: str, value: Mapping[str, Any]) -> str:
    labels = _labels(value)
    if len(labels) != 1 or not labels[0]:
        raise file.refused(where, f"{shown(value)} has {len(labels)} labels; each region needs one")
    return labels[0]


def _bounds(file: ListFile, where: str, value: Mapping[str, Any], rate: float | None) -> Iterator[tuple[float, float]]:
    if _is_timed(value):
        yield float(value["start"]), float(value["end"])
        return
    for span in value["ranges"] if isinstance(value["ranges"], list) else []:
        start, end = (span.get("start"), span.get("end")) if isinstance(span, dict) else (None, None)
        if not is_number(start) or not is_number(end):
            raise file.refused(where, f"{shown(span)} is no range of two frame numbers")
        if rate is None:
            raise file.refused(
                where,
                f"frames {start} to {end} count at the rate that the project assumes (frameRate of its Video tag, 24 "
                "where nothing is said), which the export does not say; give it as --lists.fps RATE",
            )
        yield (start - 1) / rate, end / rate


def _rate(data: Mapping[str, Any], values: list[dict[str, Any]]) -> float | None:
    for value in values:
        count, duration = value.get("framesCount"), value.get("duration")
        if is_number(count) and is_number(duration) and duration > 0 and 0 < count / duration < _MOST_FPS:
            return count / duration
    named = {key.lower(): value for key, value in data.items()}
    for key in _RATES:
        try:
            rate = float(named.get(key, 0))
        except (TypeError, ValueError):
            continue
        if 0 < rate < _MOST_FPS:
            return rate
    return None


def _path(address: str) -> str:
    """The file that an address of a task leads to: `/data/local-files/?d=talks/a.mp4` is talks/a.mp4."""
    try:
        parts = urlsplit(address)
    except ValueError:  # such as a bracket where the host is: then it is a name of a file
        return address
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
