"""Written labels become class numbers from 0.

Labels are names or numbers. Names are put in alphabetical order unless a label file gives theirs; numbers stand for the
lines of a label file, or for themselves.

In a multi-label set a sample has any number of classes. Each of its labels is read as that of a single-label set is;
then the labels of a source are put together, so that it may have them in one row or in several.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from morphmlp.data.media.sources import Source
from morphmlp.data.sets.class_names import ClassNames
from morphmlp.data.sets.labelled import LabelledSet, Sample, only_kind
from morphmlp.data.sets.matching import are_numbers, composed, described, find, meant, places_of_numbers, positions
from morphmlp.errors import DataError
from morphmlp.formatting import shortened

MOST_DIGITS = 5  # of a label that is a number
SEPARATOR = "|"  # of the labels in one cell of a multi-label list


@dataclass(frozen=True, slots=True)
class WrittenSample:
    """A video or an image with its label as written, and where that is: "row 3".

    `more` are labels of further columns; a label of "" is none.
    """

    where: str
    path: Source
    label: str
    more: tuple[str, ...] = ()


def labelled_set(
    entries: Sequence[WrittenSample],
    *,
    origin: str | Path,
    names: ClassNames | None,
    first_label: int | None = None,
    training: bool = False,
    multi_label: bool | None = False,
) -> LabelledSet:
    """A set of samples whose labels are as written; repeated ones are taken once.

    Args:
        origin: what messages call the list.
        first_label: the number of the first class; None takes 0, and refuses labels that seem to count from 1.
        training: most classes are expected: unnamed labels without a 0 seem to count from 1, and a number far past
            the others is taken for a mistake.
        multi_label: see `ListConfig.multi_label`.

    Raises:
        DataError: naming the sample whose label cannot be used, or that contradicts another; or there are both kinds.
    """
    if multi_label or (multi_label is None and has_several_labels(entries, origin=origin, names=names)):
        return _multi_label_set(entries, origin=origin, names=names, first_label=first_label, training=training)
    for entry in entries:
        if entry.more or not entry.label:
            raise DataError(
                f"{origin}, {entry.where}: {len(entry.more) + bool(entry.label)} labels of {entry.path}, where each "
                "video or image has one; several, or none, are for a multi-label classifier (--lists.multi_label true)"
            )
    classes_of, labels = _counted(entries, origin=origin, names=names, first_label=first_label, training=training)
    samples = _without_duplicates(entries, labels, origin=origin)
    kind = only_kind((sample.path for sample in samples), source=origin)
    return replace(classes_of, samples=samples, kind=kind or "video", num_duplicates=len(entries) - len(samples))


def has_several_labels(entries: Sequence[WrittenSample], *, origin: str | Path, names: ClassNames | None) -> bool:
    """Whether a list that nobody has called multi-label has rows with several label columns.

    A `|` in a label may be a part of its name, as lists could always have it: whoever knows has to say it.

    Raises:
        DataError: a label holds `|`, and no label file has it as a name.
    """
    if any(entry.more for entry in entries):
        return True
    known = positions(names.names) if names else {}
    doubtful = next((e for e in entries if SEPARATOR in e.label and find(e.label, known) is None), None)
    if doubtful is not None:
        raise DataError(
            f"{origin}, {doubtful.where}: label {doubtful.label!r} may be several labels, or one name with "
            f"{SEPARATOR!r} in it: give --lists.multi_label true, or --lists.multi_label false"
        )
    return False


def labels_of(entry: WrittenSample) -> list[str]:
    """The labels of a row of a multi-label list, each once.

    >>> labels_of(WrittenSample("row 1", Path("a.mp4"), "run | jump", ("run", "")))
    ['run', 'jump']
    """
    texts = (text.strip() for cell in (entry.label, *entry.more) for text in cell.split(SEPARATOR))
    return [text for text in dict.fromkeys(texts) if text]


def _multi_label_set(
    entries: Sequence[WrittenSample],
    *,
    origin: str | Path,
    names: ClassNames | None,
    first_label: int | None,
    training: bool,
) -> LabelledSet:
    """Each label of each row as an entry of its own, and then the classes of a source together."""
    single = [WrittenSample(entry.where, entry.path, label) for entry in entries for label in labels_of(entry)]
    if not single:
        raise DataError(f"{origin}: not one of {len(entries)} rows has a label; give each the classes that it shows")
    classes_of, labels = _counted(single, origin=origin, names=names, first_label=first_label, training=training)
    found: dict[Source, set[int]] = {entry.path: set() for entry in entries}
    for entry, label in zip(single, labels, strict=True):
        found[entry.path].add(label)
    samples = [Sample(source, labels=tuple(sorted(shown))) for source, shown in found.items()]
    kind = only_kind(found, source=origin)
    return replace(classes_of, samples=samples, kind=kind or "video", multi_label=True)


def _counted(
    entries: Sequence[WrittenSample],
    *,
    origin: str | Path,
    names: ClassNames | None,
    first_label: int | None,
    training: bool,
) -> tuple[LabelledSet, list[int]]:
    """A set of the classes of these labels, still without samples, and the number of each label."""
    if _are_numbers(entries, origin=origin):
        labels, classes = _from_numbers(entries, origin=origin, names=names, first_label=first_label, training=training)
        named = names is not None
        note = _note_on_lines(entries, labels, names) if names and not are_numbers(names.names) else ""
    else:
        labels, classes = _from_names(entries, origin=origin, names=names)
        named, note = True, ""
    return LabelledSet([], classes, named, named_by_file=names is not None, note=note), labels


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
                f"{entries[before].where}; which one is right? Remove the other, or, if both are, give "
                "--lists.multi_label true"
            )
    return [Sample(source, labels[i]) for source, i in seen.items()]
