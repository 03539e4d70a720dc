"""CVAT for video 1.1: the frames in which a track is to be seen are a stretch, with the label of the track.

    <track id="0" label="jump"><box frame="12" outside="0" .../> ... <box frame="40" outside="1" .../></track>

This is frames 12 to 39. A track that leaves the picture and comes again gives two stretches. An attribute of the shapes
or of the track that is called label, class, action or activity comes before the label of the track.
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from morphmlp.data.sets.formats.rows import ListFile, ListRow
from morphmlp.errors import DataError

_LABEL_NAMES = ("label", "class", "action", "activity")
_MOST_DIGITS = 15  # of a frame number


def rows(file: ListFile) -> list[ListRow] | None:
    """The stretches of all tracks; None of other files."""
    if not file.text.lstrip().startswith("<"):
        return None
    if "<!ENTITY" in file.text:  # which can stand for gigabytes; not every version of the library refuses that
        raise DataError(f"{file.path} declares XML entities, which no export of CVAT has; remove them")
    try:
        root = ElementTree.fromstring(file.text)
    except ElementTree.ParseError as error:
        raise DataError(f"{file.path} cannot be read as XML: {error}") from None
    tracks = root.findall("track")
    if root.tag != "annotations" or not tracks:
        raise DataError(f"{file.path} has no tracks; of XML files, those of 'CVAT for video 1.1' are read")
    tasks = {_text(task, "id"): task for task in root.iter("task")}
    return [row for track in tracks for row in _stretches(file, root, tasks, track)]


def _stretches(file: ListFile, root: Element, tasks: dict[str, Element], track: Element) -> Iterator[ListRow]:
    where = f"track {track.get('id', '?')}"
    task = tasks.get(track.get("task_id", ""), root)
    source = _text(task, ".//source") or _text(root, ".//source")
    if not source:
        raise file.refused(where, "the file does not say which video it is about: its <source> is missing")
    step = re.search(r"step=([0-9]{1,15})", _text(task, ".//frame_filter"))
    runs = _runs(file, where, track, int(step[1]) if step else 1)
    for start, end, label in runs:
        yield ListRow(where, source, label, start, end, "frames", split=_text(task, ".//subset"))


def _runs(file: ListFile, where: str, track: Element, step: int) -> list[tuple[int, int, str]]:
    """Start, end and label of each run of frames in which the track is to be seen with one label."""
    shapes = sorted(_shapes(file, where, track))
    runs: list[tuple[int, int, str]] = []
    for i, (frame, label) in enumerate(shapes):
        end = shapes[i + 1][0] if i + 1 < len(shapes) else frame + step
        if not label:
            continue
        if runs and runs[-1][1] == frame and runs[-1][2] == label:
            runs[-1] = runs[-1][0], end, label
        else:
            runs.append((frame, end, label))
    return runs


def _shapes(file: ListFile, where: str, track: Element) -> Iterator[tuple[int, str]]:
    """Frame and label of each shape; the label is "" where the track is not to be seen from there on."""
    of_track = _attribute(track) or track.get("label", "").strip()
    for shape in track:
        frame = shape.get("frame")
        if frame is None:
            continue
        if not frame.isdecimal() or len(frame) > _MOST_DIGITS:
            raise file.refused(where, f"frame {frame[:40]!r} is no whole number from 0 on")
        label = _attribute(shape) or of_track
        if not label:
            raise file.refused(where, "it has no label")
        yield int(frame), "" if shape.get("outside") == "1" else label


def _attribute(element: Element) -> str:
    for attribute in element.findall("attribute"):
        if attribute.get("name", "").lower() in _LABEL_NAMES:
            return (attribute.text or "").strip()
    return ""


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
