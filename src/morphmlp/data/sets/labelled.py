"""Labelled videos or images as a set with classes: how written labels become class numbers from 0.

Labels are names or numbers. Names are put in alphabetical order unless a label file gives theirs; numbers stand for the
lines of a label file, or for themselves.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from morphmlp.data.media.animations import are_animations
from morphmlp.data.media.sources import MediaKind, Source, media_kind
from morphmlp.data.media.stretches import Stretch, StretchWindow
from morphmlp.data.sets.class_names import ClassNames
from morphmlp.data.sets.matching import (
    are_numbers,
    composed,
    described,
    find,
    meant,
    places_of_numbers,
    positions,
)
from morphmlp.errors import DataError
from morphmlp.formatting import shortened

MOST_DIGITS = 5  # of a label that is a number


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled video or image: `label` counts from 0 in the order of the set's classes.

    Attributes:
        window: of a stretch whose clips are windows around it; None where a clip is all of the source.
    """

    path: Source
    label: int
    window: StretchWindow | None = None

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

    @property
    def unit(self) -> str:
        """What the samples are called in messages: "videos" or "images"."""
        return f"{self.kind}s"

    def relabelled(self, classes: list[str], *, source: str, advice: str = "") -> "LabelledSet":
        """The same samples with labels counted in another list of classes, matched by name, or by number if unnamed.

        How names and numbers match is said in `matching`.

        Args:
            source: what messages call that list.
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
                f"{len(unknown)} of {len(self.classes)} classes of the data are not among the {len(classes)} of "
                f"{source}: {shortened(unknown)}; {source} has: {shortened(classes)}{advice}{meant(unknown, classes)}"
            )
        return self._with_labels([find(name, position) for name in self.classes], classes)

    def _renumbered(self, classes: list[str], *, source: str) -> "LabelledSet":
        """`relabelled` of a set whose classes are only known by number."""
        first = int(self.classes[0])
        present = sorted({sample.label for sample in self.samples})
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
            label = new_labels[sample.label]
            assert label is not None, "the caller has refused what has no place"
            samples.append(replace(sample, label=label))
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


@dataclass(frozen=True, slots=True)
class WrittenSample:
    """A video or an image with its label as written, and where that is: "row 3"."""

    where: str
    path: Source
    label: str


def labelled_set(
    entries: Sequence[WrittenSample],
    *,
    origin: str | Path,
    names: ClassNames | None,
    first_label: int | None = None,
    training: bool = False,
) -> LabelledSet:
    """A set of samples whose labels are as written; repeated ones are taken once.

    Args:
        origin: what messages call the list.
        first_label: the number of the first class; None takes 0, and refuses labels that seem to count from 1.
        training: most classes are expected: unnamed labels without a 0 seem to count from 1, and a number far past
            the others is taken for a mistake.

    Raises:
        DataError: naming the sample whose label cannot be used, or that contradicts another; or there are both kinds.
    """
    if _are_numbers(entries, origin=origin):
        labels, classes = _from_numbers(entries, origin=origin, names=names, first_label=first_label, training=training)
        named = names is not None
        note = _note_on_lines(entries, labels, names) if names and not are_numbers(names.names) else ""
    else:
        labels, classes = _from_names(entries, origin=origin, names=names)
        named, note = True, ""
    samples = _without_duplicates(entries, labels, origin=origin)
    kind = only_kind((sample.path for sample in samples), source=origin)
    num_duplicates = len(entries) - len(samples)
    return LabelledSet(samples, classes, named, kind or "video", num_duplicates, names is not None, note)


def _are_numbers(entries: Sequence[WrittenSample], *, origin: str | Path) -> bool:
    """Whether the labels are numbers and not names.

    One typing mistake must not make names of all numbers: in alphabetical order, class 10 would come before class 2.

    Raises:
        DataError: more than half of them are numbers, but not all.
    """
    odd = [entry for entry in entries if not re.fullmatch(r"[0-9]+", entry.label)]
    if odd and 2 * len(odd) < len(entries):
        header = "remove the row if it is a header; " if odd[0] is entries[0] else ""
        raise DataError(
            f"{origin}, {odd[0].where}: label {odd[0].label!r} is no class number, but {len(entries) - len(odd)} of "
            f"{len(entries)} labels are; {header}mend the label, or write those of all samples as names, such as "
            "'class 3'"
        )
    return not odd


def _from_numbers(
    entries: Sequence[WrittenSample],
    *,
    origin: str | Path,
    names: ClassNames | None,
    first_label: int | None,
    training: bool,
) -> tuple[list[int], list[str]]:
    """Labels from 0, and the classes."""
    first = first_label or 0
    for entry in entries:
        if len(entry.label.lstrip("0")) > MOST_DIGITS:
            raise DataError(
                f"{origin}, {entry.where}: label {entry.label[:20]} is no class number; expected one from {first} on, "
                "or a name"
            )
    numbers = [int(entry.label) for entry in entries]
    lowest, highest = min(numbers), max(numbers)
    if names is None and first_label is None and lowest == 1 and training:
        raise DataError(
            f"{origin}, {entries[numbers.index(1)].where}: label 1 is the smallest, and classes count from 0; give "
            "--lists.first_label 1 if 1 is the first class, or --lists.first_label 0 if class 0 merely has no samples"
        )
    if lowest < first:
        raise DataError(f"{origin}, {entries[numbers.index(lowest)].where}: label {lowest}, but first_label is {first}")
    num_classes, num_present = highest + 1 - first, len(set(numbers))
    if names is None and training and 1 < num_present < num_classes / 2:
        raise DataError(
            f"{origin}, {entries[numbers.index(highest)].where}: label {highest} would make {num_classes} classes, of "
            f"which {num_present} have samples; mend the label, or name the classes with --lists.labels FILE"
        )
    if names is None:
        return [number - first for number in numbers], [str(number) for number in range(first, highest + 1)]
    places = places_of_numbers(numbers, names.names, first=first)
    if None in places:
        i = places.index(None)
        from_1 = first_label is None and lowest > 0 and highest == len(names.names)
        advice = "; give --lists.first_label 1 if the labels count from 1" if from_1 else names.advice
        first_is = f" and first_label is {first}" if first else ""
        raise DataError(
            f"{origin}, {entries[i].where}: label {numbers[i]}, but {names.source} names {len(names.names)} classes"
            f"{first_is}{advice}"
        )
    return [place for place in places if place is not None], list(names.names)


def _note_on_lines(entries: Sequence[WrittenSample], labels: Sequence[int], names: ClassNames) -> str:
    """Which class each number was taken for, where a number stands for a line of a label file."""
    of_number = dict(sorted(zip((int(entry.label) for entry in entries), labels, strict=True)))
    shown = described(list(of_number), [names.names[label] for label in of_number.values()])
    return f"the labels are numbers, taken as the lines of {names.source}: {shown}"


def _from_names(
    entries: Sequence[WrittenSample], *, origin: str | Path, names: ClassNames | None
) -> tuple[list[int], list[str]]:
    classes = names.names if names else sorted({composed(entry.label) for entry in entries})
    position = positions(classes)
    labels = []
    for entry in entries:
        label = find(entry.label, position)
        if label is None:
            assert names is not None, "classes that are taken from the labels hold them all"
            raise DataError(
                f"{origin}, {entry.where}: class {entry.label!r} is not among the {len(classes)} of {names.source}: "
                f"{shortened(classes)}{names.advice}{meant([entry.label], classes)}"
            )
        labels.append(label)
    return labels, list(classes)


def _without_duplicates(entries: Sequence[WrittenSample], labels: list[int], *, origin: str | Path) -> list[Sample]:
    """One sample for each source."""
    seen: dict[Source, int] = {}  # source -> where it is first
    for i, (entry, label) in enumerate(zip(entries, labels, strict=True)):
        before = seen.setdefault(entry.path, i)
        if labels[before] != label:
            raise DataError(
                f"{origin}, {entry.where}: {entry.path} has label {entry.label}, but {entries[before].label} in "
                f"{entries[before].where}; which one is right? Remove the other"
            )
    return [Sample(source, labels[i]) for source, i in seen.items()]
