"""What a training can know of its set and of the machine before it starts: `defaults.py` chooses by it."""

import os
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from morphmlp.data.media.counted import VideoInfo
from morphmlp.data.media.sources import Source, num_bytes
from morphmlp.data.media.video import probe
from morphmlp.data.sets.background import NOTHING
from morphmlp.data.sets.durations import MOST_LOOKED_AT
from morphmlp.data.sets.spaced import evenly_spaced
from morphmlp.distributed import local_world_size
from morphmlp.errors import MediaError
from morphmlp.tasks.task import TrainingSet

MOST_BYTES = 2e9  # that are read to count frames, which takes the packets of a whole file
LEAST_LOOKED_AT = 8
ALIKE = 1.5  # by what factor the shapes of most pictures may differ from the median's for one shape to fit them


@dataclass(frozen=True)
class SetFacts:
    """What is known of the training part of a set.

    Attributes:
        kind: "video", "image" or "mask", as of the set.
        num_samples: videos or images.
        class_counts: samples of each class that has any, the class of no label left out; empty for masks.
        classes: their names.
        named: False where the classes are only known by number.
        num_frames: frames of the shortest, the median and the longest of the videos that were looked at; None where
            none could be read.
        size: median height and width in px; None where none could be read.
        alike: whether nine tenths of the pictures have nearly the shape of the median one.
        multi_label: whether a sample may have several classes.
    """

    kind: str
    num_samples: int
    class_counts: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    named: bool = True
    num_frames: tuple[int, int, int] | None = None
    size: tuple[int, int] | None = None
    alike: bool = True
    multi_label: bool = False

    @property
    def unit(self) -> str:
        """What the samples are, in the plural."""
        return "videos" if self.kind == "video" else "images"


@dataclass(frozen=True)
class MachineFacts:
    """What is known of the machine: the processor cores for each process of the run."""

    num_cores: int


def machine_facts() -> MachineFacts:
    """The machine at hand."""
    return MachineFacts(num_cores=max((os.cpu_count() or 1) // local_world_size(), 1))


def set_facts(train: TrainingSet) -> SetFacts:
    """Looks at a training part: all of its labels, and at most 64 of its files, which are spread over all of it."""
    infos = _infos(train.samples)
    heights, widths = [info.height for info in infos], [info.width for info in infos]
    return SetFacts(
        kind=train.kind,
        num_samples=len(train.samples),
        **_class_facts(train),
        num_frames=_spread([info.num_frames for info in infos]) if infos else None,
        size=(round(statistics.median(heights)), round(statistics.median(widths))) if infos else None,
        alike=_are_alike([width / height for height, width in zip(heights, widths, strict=True)]),
    )


def _class_facts(train: Any) -> dict[str, Any]:
    if train.kind == "mask":  # an image holds many classes
        return {"classes": tuple(train.classes)}
    counts = Counter(label for sample in train.samples for label in sample.classes)
    present = [label for label in sorted(counts) if train.classes[label] != NOTHING]
    return {
        "class_counts": tuple(counts[label] for label in present),
        "classes": tuple(train.classes[label] for label in present),
        "named": train.named,
        "multi_label": train.multi_label,
    }


def _infos(samples: Sequence[Any]) -> list[VideoInfo]:
    """Of samples that are evenly spaced over all of them, fewer of large files; what cannot be read is left out."""
    looked_at = [_source(sample) for sample in evenly_spaced(samples, MOST_LOOKED_AT)]
    mean_bytes = sum(map(_num_bytes, looked_at)) / max(len(looked_at), 1)
    most = max(int(MOST_BYTES / max(mean_bytes, 1)), LEAST_LOOKED_AT)
    return [info for source in evenly_spaced(looked_at, most) if (info := _info(source)) is not None]


def _num_bytes(source: Source) -> int:
    """What is read to count the frames of a source, 0 of those that are not one file."""
    try:
        return num_bytes(source) or 0
    except (OSError, ValueError):
        return 0


def _source(sample: Any) -> Source:
    """What a clip is taken from, which is a window around some samples."""
    return sample.shown() if hasattr(sample, "shown") else sample.path


def _info(source: Source) -> VideoInfo | None:
    try:
        return probe(source)
    except MediaError:
        return None  # the training will name it


def _spread(values: Sequence[int]) -> tuple[int, int, int]:
    return min(values), round(statistics.median(values)), max(values)


def _are_alike(ratios: Sequence[float]) -> bool:
    """Whether nine of ten are within a factor of `ALIKE` of the median."""
    if not ratios:
        return True
    middle = statistics.median(ratios)
    near = [ratio for ratio in ratios if middle / ALIKE <= ratio <= middle * ALIKE]
    return len(near) >= 0.9 * len(ratios)
