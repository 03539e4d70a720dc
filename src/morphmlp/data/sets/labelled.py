"""Labelled videos or images as a set with classes, and how its labels meet those of another list of classes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from morphmlp.data.media.animations import are_animations
from morphmlp.data.media.sources import MediaKind, Source, media_kind
from morphmlp.data.media.stretches import Stretch, StretchWindow
from morphmlp.data.sets.matching import are_numbers, described, find, meant, places_of_numbers, positions
from morphmlp.errors import DataError
from morphmlp.formatting import shortened

NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled video or image: `label` counts from 0 in the order of the set's classes.

    Attributes:
        label: `NO_LABEL` where it is unknown, and in a multi-label set.
        labels: of a multi-label set, the classes that the sample shows, in order; () for none of them. Else None.
        window: of a stretch whose clips are windows around it; None where a clip is all of the source.
    """

    path: Source
    label: int = NO_LABEL
    window: StretchWindow | None = None
    labels: tuple[int, ...] | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """Its classes, in either sort of set: one, or those of a multi-label set."""
        return (self.label,) if self.labels is None else self.labels

    def with_classes(self, classes: Sequence[int]) -> "Sample":
        """The same sample of these classes, in its sort of set."""
        if self.labels is None:
            return replace(self, label=classes[0])
        return replace(self, labels=tuple(sorted(classes)))

    def shown(self, generator: np.random.Generator | None = None) -> Source:
        """What a clip is taken from: all of the source, or a window whose middle is drawn, or that of the stretch."""
        if self.window is None or not isinstance(self.path, Stretch):
            return self.path
        return self.window.around(self.path, share=0.5 if generator is None else generator.random())


@dataclass(frozen=True)
class LabelledSet:
    """Labelled files of one kind and their classes.

    Attributes:
        named: False where the classes are only known by number.
        named_by_file: a label file names the classes, so that a number stands for one of its lines.
        num_duplicates: rows of a list that repeat an earlier one, and were left out.
        left_out: number of files in the class folders that are neither video nor image, by their endings.
        note: for people: how labels met classes where that was not by name, and what was assumed about stretches; ""
            where there is nothing to say.
        window_s: length of the windows that clips of stretches are; None where a clip is the whole stretch.
        multi_label: a sample may have several classes, or none.
    """

    samples: list[Sample]
    classes: list[str]
    named: bool = True
    kind: MediaKind = "video"
    num_duplicates: int = 0
    named_by_file: bool = False
    note: str = field(default="", compare=False)
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)
    window_s: float | None = None
    multi_label: bool = False

    @property
    def unit(self) -> str:
        """What the samples are called in messages: "videos" or "images"."""
        return f"{self.kind}s"

    def relabelled(self, classes: list[str], *, source: str, part: str = "the data", advice: str = "") -> "LabelledSet":
        """The same samples with labels counted in another list of classes, matched by name, or by number if unnamed.

        How names and numbers match is said in `matching`.

        Args:
            source: what messages call that list.
            part: what they call this set.
            advice: the end of the message where that list lacks a class.

        Raises:
            DataError: a class of this set is not in the list; both sides are named.
        """
        if not self.named:
            return self._renumbered(classes, source=source)
        position = positions(classes)
        unknown = [name for name in self.classes if find(name, position) is None]
        if unknown:
            raise DataError(
                f"{len(unknown)} of {len(self.classes)} classes of {part} are not among the {len(classes)} of "
                f"{source}: {shortened(unknown)}; {source} has: {shortened(classes)}{advice}{meant(unknown, classes)}"
            )
        return self._with_labels([find(name, position) for name in self.classes], classes)

    def _renumbered(self, classes: list[str], *, source: str) -> "LabelledSet":
        """`relabelled` of a set whose classes are only known by number."""
        first = int(self.classes[0])
        present = sorted({label for sample in self.samples for label in sample.classes})
        numbers = [label + first for label in present]
        places = places_of_numbers(numbers, classes, first=first)
        if None in places:
            raise DataError(_no_such_class(numbers[places.index(None)], classes, source=source))
        new_labels = dict(zip(present, places, strict=True))
        relabelled = self._with_labels([new_labels.get(label) for label in range(len(self.classes))], classes)
        names = [classes[place] for place in places if place is not None]
        if are_numbers(classes) and [int(name) for name in names] == numbers:
            return relabelled
        note = f"the labels are numbers, matched by position: {described(numbers, names)}"
        return replace(relabelled, note=joined_notes(note, self.note))

    def _with_labels(self, new_labels: Sequence[int | None], classes: list[str]) -> "LabelledSet":
        """Each label replaced by its new one; every class that has samples must have one."""
        samples = []
        for sample in self.samples:
            found = [label for old in sample.classes if (label := new_labels[old]) is not None]
            assert len(found) == len(sample.classes), "the caller has refused what has no place"
            samples.append(sample.with_classes(found))
        return replace(self, samples=samples, classes=list(classes), named=True)


def joined_notes(*notes: str) -> str:
    """Notes in one line; empty ones are left out."""
    return "; ".join(note for note in notes if note)


def _no_such_class(number: int, classes: Sequence[str], *, source: str) -> str:
    if are_numbers(classes):
        return (
            f"label {number} is none of the {len(classes)} classes of {source}, which are numbers: "
            f"{shortened(sorted(classes, key=int))}; --lists.first_label says whether labels count from 0 or from 1"
        )
    return (
        f"label {number} is past the {len(classes)} classes of {source}, which count from "
        "0; labels that count from 1 need --lists.first_label 1"
    )


def only_kind(paths: Iterable[Source], *, source: str | Path) -> MediaKind | None:
    """The kind of the files, None without files; an unknown ending counts as a video's, and so does an animation.

    Raises:
        DataError: both kinds; an example of each is named.
    """
    of_kind: dict[MediaKind, list[Source]] = {}
    for path in paths:
        of_kind.setdefault(media_kind(path) or "video", []).append(path)
    if "image" in of_kind and are_animations(of_kind["image"]):
        of_kind = {"video": of_kind.get("video", []) + of_kind["image"]}
    examples: dict[MediaKind, Source] = {kind: found[0] for kind, found in of_kind.items()}
    if len(examples) == 2:
        raise DataError(
            f"{source} holds both videos and images, such as {examples['video']} and {examples['image']}; "
            "move one kind elsewhere"
        )
    return next(iter(examples), None)
