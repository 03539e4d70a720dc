"""Samples by the recording that they are of: a file or a folder of frames, of which there may be stretches."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from morphmlp.data.media.open_video import opened
from morphmlp.data.media.remote import RemoteFile
from morphmlp.data.media.sources import Source, TarMember, file_of, span_of, spans_meet
from morphmlp.data.media.stretches import Stretch, StretchUnit
from morphmlp.data.media.video import probe
from morphmlp.data.sets.labelled import Sample
from morphmlp.formatting import shortened

AnySample = TypeVar("AnySample", bound=Sample)


class RealPaths:
    """The real path of a source's file, whatever links lead to it; each folder is resolved once."""

    def __init__(self):
        self._folders: dict[str, str] = {}

    def of(self, source: Source) -> str:
        if isinstance(file := file_of(source), RemoteFile):
            return file.address
        folder, name = os.path.split(source)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        path = os.path.join(self._folders[folder], name)
        return os.path.realpath(path) if os.path.islink(path) else path


def by_recording(samples: Iterable[AnySample]) -> dict[str, list[AnySample]]:
    """The samples of each recording, by its real path, in the order of the samples."""
    paths = RealPaths()
    found: dict[str, list[AnySample]] = defaultdict(list)
    for sample in samples:
        found[paths.of(sample.path)].append(sample)
    return dict(found)


def meeting(one: Sequence[Sample], other: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Pairs of samples of one recording that share a frame; see `sources.spans_meet` for what cannot be compared.

    Stretches 0 to 10 and 5 to 6 meet those from 9 to 20 in one pair: 0 to 10 with 9 to 20.
    """
    later = sorted(other, key=_start)
    for first in one:
        for second in later:
            if _comparable(first.path, second.path) and _start(second) >= _end(first):
                break  # and so do all that start after it
            if first is not second and spans_meet(first.path, second.path):
                yield first, second


def _comparable(one: Source, other: Source) -> bool:
    first, second = span_of(one), span_of(other)
    return first is not None and second is not None and first[2] == second[2]


def _start(sample: Sample) -> float:
    span = span_of(sample.path)
    return span[0] if span else 0.0


def _end(sample: Sample) -> float:
    span = span_of(sample.path)
    return span[1] if span else float("inf")


def note_on_overlaps(samples: Sequence[Sample], classes: Sequence[str]) -> str:
    """How many samples share frames with one of another label, and an example; "" where none does."""
    if not any(isinstance(sample.path, Stretch) for sample in samples):
        return ""
    found: dict[Source, tuple[Sample, Sample]] = {}
    for group in by_recording(samples).values():
        for first, second in meeting(group, group) if len(group) > 1 else ():
            if first.classes != second.classes:
                found.setdefault(first.path, (first, second))
    if not found:
        return ""
    one, other = next(iter(found.values()))
    learns = "a classifier learns one label for each" if one.labels is None else "each is learned with its own labels"
    return (
        f"{len(found)} of {len(samples)} stretches share frames with one of another label, such as {one.path} "
        f"({_named(one, classes)}) with {getattr(other.path, 'part', 'the whole file')} ({_named(other, classes)}): "
        f"{learns}"
    )


def _named(sample: Sample, classes: Sequence[str]) -> str:
    return ", ".join(classes[label] for label in sample.classes) or "none"


def note_on_shared(train: Sequence[Sample], val: Sequence[Sample]) -> str:
    """Which recordings have samples in both parts; "" where none has."""
    if not any(isinstance(sample.path, Stretch) for sample in (*train, *val)):
        return ""
    shared = sorted(set(by_recording(train)) & set(by_recording(val)))
    if not shared:
        return ""
    have = "recording has" if len(shared) == 1 else "recordings have"
    return (
        f"{len(shared)} {have} stretches in both train and val, so that validation sees places and people of the "
        f"training: {shortened(shared, limit=3)}"
    )


def end_of(file: Path | RemoteFile | TarMember, unit: StretchUnit) -> float:
    """Where a recording ends: in seconds from where players start, or its number of frames; by its header, if it says.

    Raises:
        MediaError: it cannot be opened.
    """
    if os.path.isdir(file):
        info = probe(file)
        return info.num_frames if unit == "frames" else info.duration_s
    with opened(file) as video:
        stream = video.stream
        if unit == "frames":
            return stream.frames or video.count().num_shown
        if stream.duration is not None:
            return video.clock.seconds((stream.start_time or 0) + stream.duration)
        if video.container.duration is not None:
            return video.container.duration / 1e6
        packets = video.count()
        return video.end_s(packets, video.average_fps(packets))
