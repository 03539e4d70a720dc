"""The parts of a set: which of them is evaluated, and how one is drawn: by class, or by groups such as speakers."""

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from morphmlp.config import SplitConfig
from morphmlp.data.media.sources import Source, sort_key
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.labelled import NO_LABEL, LabelledSet, Sample, joined_notes
from morphmlp.data.sets.matching import meant
from morphmlp.data.sets.recordings import RealPaths, by_recording
from morphmlp.errors import DataError
from morphmlp.formatting import shortened

SPLITS = ("train", "val", "test")

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
AnySet = TypeVar("AnySet", bound=Any)  # a LabelledSet, or another dataclass with `samples` that have a `path`


def evaluation_part(is_there: Callable[[str], bool]) -> str | None:
    """The split to evaluate on: "test" or else "val", whichever is there; None for the whole set."""
    return next((split for split in ("test", "val") if is_there(split)), None)


def evaluated_part(
    split: str | None,
    *,
    present: str | None,
    trained_on: bool,
    draw: Callable[[], tuple[AnySet, AnySet]],
    read: Callable[[str | None], AnySet],
) -> AnySet:
    """The part of a set that `split` names; what a training has drawn is drawn again.

    Args:
        split: "train", "val", "test" or "all"; None is the one to evaluate on: the test or validation part where there
            is one, or what a training has held out, or all.
        present: the `evaluation_part` of the data.
        trained_on: the training was on these data.
        draw: the training and validation part, drawn as the training did.
        read: a split, or with None all.
    """
    if trained_on and present is None and split in (None, "train", "val"):
        train, val = draw()
        return train if split == "train" else val
    return read(None if split == "all" else split or present)


def split_set(whole: LabelledSet, config: SplitConfig, *, source: str) -> tuple[LabelledSet, LabelledSet]:
    """Splits by class, or by group where the configuration names a pattern; both parts hold every class.

    Where there are stretches, a recording is on one side with all of its stretches; a class that is in one recording
    only is then in the training part alone, and the note of both parts says so. So it is with a class of one sample in
    a multi-label set.

    Raises:
        DataError: a class has one file only, a name does not fit the pattern, or a class is missing on one side.
    """
    if config.group_pattern is None and any(isinstance(sample.path, Stretch) for sample in whole.samples):
        return _split_recordings(whole, config, source=source)
    if config.group_pattern is None and whole.multi_label:
        return _split_multi_label(whole, config, source=source)
    counts = _class_counts(whole.samples)
    single = (
        [] if whole.multi_label else [whole.classes[label] for label, count in sorted(counts.items()) if count == 1]
    )
    if single:
        raise DataError(
            f"{source}: one {whole.kind} only in {shortened(single)}: it cannot be in both the training and the "
            f"validation part; add {whole.unit}, remove the class, or give train and val folders"
            f"{meant(single, [whole.classes[label] for label, count in counts.items() if count > 1])}"
        )
    if config.group_pattern is None:
        held_out = _draw_by_class(whole.samples, config)
    else:
        held_out = _draw_groups(whole.samples, config)
    train, val = without_and_with(whole, held_out)
    for part, name in ((train, "training"), (val, "validation")):
        present = _class_counts(part.samples)
        missing = [whole.classes[label] for label in counts if label not in present]
        if missing:
            raise DataError(
                f"{source}: the {name} part has no {whole.kind} of {shortened(missing)}; "
                "change val_fraction, seed or group_pattern, or give train and val folders"
            )
    return train, val


def _split_recordings(whole: LabelledSet, config: SplitConfig, *, source: str) -> tuple[LabelledSet, LabelledSet]:
    recordings = list(by_recording(sorted(whole.samples, key=lambda sample: sort_key(sample.path))).values())
    if len(recordings) < 2:
        raise DataError(
            f"{source}: all {len(whole.samples)} stretches are of one recording ({Path(whole.samples[0].path)}), and a "
            "recording is on one side of a split; add recordings, or give train and val lists"
        )
    held_out = draw_recordings([_class_counts(group) for group in recordings], config)
    train, val = without_and_with(whole, {sample.path for i in held_out for sample in recordings[i]})
    missing = _missing(val)
    if not val.samples:
        raise DataError(
            f"{source}: no recording can be held out, as each has a class that no other has; add recordings, or give "
            "train and val lists"
        )
    note = f"{len(recordings) - len(held_out)} recordings are for training and {len(held_out)} for validation"
    if missing:
        note += f", which has none of {shortened(missing)}: no other recording could be held out"
    note = joined_notes(whole.note, note)
    return replace(train, note=note), replace(val, note=note)


def _split_multi_label(whole: LabelledSet, config: SplitConfig, *, source: str) -> tuple[LabelledSet, LabelledSet]:
    samples = sorted(whole.samples, key=lambda sample: sort_key(sample.path))
    if len(samples) < 2:
        raise DataError(f"{source}: it holds one {whole.kind}, which cannot be in both parts; add {whole.unit}")
    alone = [str(number) for number in range(len(samples))]  # each is a group of its own
    drawn = hold_out([s.classes for s in samples], alone, fraction=config.val_fraction, seed=config.seed)
    train, val = without_and_with(whole, {samples[i].path for i in drawn})
    if not val.samples:
        raise DataError(
            f"{source}: no {whole.kind} can be held out, as each has a class that no other has; add {whole.unit}, or "
            "give train and val lists"
        )
    if missing := _missing(val):
        note = joined_notes(whole.note, f"the validation part has no {whole.kind} of {shortened(missing)}")
        return replace(train, note=note), replace(val, note=note)
    return train, val


def _class_counts(samples: Iterable[Sample]) -> Counter[int]:
    return Counter(label for sample in samples for label in sample.classes)


def _missing(part: LabelledSet) -> list[str]:
    """The names of the classes that no sample shows."""
    present = _class_counts(part.samples)
    return [name for label, name in enumerate(part.classes) if label not in present]


def draw_recordings(counts: Sequence[Counter[int]], config: SplitConfig) -> set[int]:
    """Which recordings are held out, by the number of stretches of each class in each; every class stays in training.

    One class after the other, those of the fewest recordings first, recordings are held out until the number of its
    stretches is as near as can be to the fraction, and is at least 1 where another recording has the class, too.

    >>> draw_recordings([Counter({0: 4}), Counter({0: 1, 1: 1}), Counter({1: 4})], SplitConfig(val_fraction=0.2))
    {1}
    """
    total = sum(counts, Counter())
    held_out: set[int] = set()
    num_recordings = Counter(label for count in counts for label in count)
    order = np.random.default_rng(config.seed).permutation(len(counts)).tolist()
    for label in sorted(total, key=lambda label: (num_recordings[label], label)):
        wanted = max(config.val_fraction * total[label], 1)
        while True:
            held = sum((counts[i] for i in held_out), Counter())
            free = [i for i in order if i not in held_out and counts[i][label]]
            free = [i for i in free if all(held[c] + n < total[c] for c, n in counts[i].items())]
            best = min(free, key=lambda i: abs(held[label] + counts[i][label] - wanted), default=None)
            if best is None:
                break
            gain = abs(held[label] - wanted) - abs(held[label] + counts[best][label] - wanted)
            if held[label] and gain <= 0:
                break
            held_out.add(best)
    return held_out


def without_and_with(whole: AnySet, held_out: set[Source]) -> tuple[AnySet, AnySet]:
    """The samples that are not held out, and those that are."""
    return (
        replace(whole, samples=[sample for sample in whole.samples if sample.path not in held_out]),
        replace(whole, samples=[sample for sample in whole.samples if sample.path in held_out]),
    )


def _draw_by_class(samples: list[Sample], config: SplitConfig) -> set[Source]:
    """Held-out paths: the fraction of each class, at least one and never all; the order of the list does not matter."""
    held_out: set[Source] = set()
    by_class = _grouped(samples, lambda sample: sample.label)
    for label in sorted(by_class):
        paths = sorted({sample.path for sample in by_class[label]}, key=sort_key)
        generator = np.random.default_rng([config.seed, label])
        count = min(max(round(config.val_fraction * len(paths)), 1), len(paths) - 1)
        held_out.update(paths[i] for i in generator.permutation(len(paths))[:count])
    return held_out


def groups_of(samples: Sequence[Sample], config: SplitConfig) -> list[str]:
    """The group of each sample: what must not be on both sides of a split, and does not count as independent.

    Where the configuration names no pattern, that is the recording: a file of its own, but for stretches of one.

    Raises:
        DataError: the pattern is no regular expression, or a name does not fit it.
    """
    if config.group_pattern is not None:
        require_pattern(config.group_pattern)
        return [_group_of(sample.path, config.group_pattern) for sample in samples]
    recordings = RealPaths()
    return [recordings.of(sample.path) for sample in samples]


def require_pattern(pattern: str) -> None:
    """Raises DataError where a pattern of groups is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise DataError(f"group_pattern {pattern!r} is no regular expression: {error}") from None


def hold_out(labels: Sequence[int | Sequence[int]], groups: Sequence[str], *, fraction: float, seed: int) -> set[int]:
    """Which samples are held out: whole groups, about the fraction of each class; every class stays in the rest.

    A class in one group only is never held out; of each other class, at least one group is, where that leaves every
    class in the rest. Without groups it takes one pass, in a random order. A sample may have several labels, or none.

    >>> hold_out([0, 0, 1, 1, 0, 1], list("aabbcd"), fraction=0.3, seed=0)
    {4, 5}
    """
    members = _grouped(range(len(labels)), lambda i: groups[i])
    names = sorted(members)
    # No label counts as a class of its own, so that each part has some of such samples.
    of_sample = [[label] if isinstance(label, int) else list(label) or [NO_LABEL] for label in labels]
    counts = {name: Counter(label for i in members[name] for label in of_sample[i]) for name in names}
    total, held = sum(counts.values(), Counter()), Counter()

    def gain(name: str) -> float:
        """How much nearer each class comes to its fraction if the group is held out; below 0 where it must not be."""
        count = counts[name]
        if any(held[label] + number >= total[label] for label, number in count.items()):
            return -math.inf
        missing = {label: max(fraction * total[label], 1) - held[label] for label in count}
        return sum(abs(missing[label]) - abs(missing[label] - number) for label, number in count.items())

    order = [names[number] for number in np.random.default_rng(seed).permutation(len(names))]
    drawn = []
    for name in order:
        if gain(name) > 0:
            drawn.append(name)
            held.update(counts[name])
    for label in sorted(total):  # of a class in large groups only: the one that is least too large
        if not held[label] and (free := [name for name in order if label in counts[name] and gain(name) > -math.inf]):
            drawn.append(max(free, key=gain))
            held.update(counts[drawn[-1]])
    return {i for name in drawn for i in members[name]}


def _draw_groups(samples: list[Sample], config: SplitConfig) -> set[Source]:
    """Held-out paths: all files of a fraction of the groups, at least one group and never all."""
    of_sample = groups_of(samples, config)
    names = sorted(set(of_sample))
    if len(names) < 2:
        raise DataError(
            f"group_pattern {config.group_pattern!r} finds {len(names)} group in the file names; two needed"
        )
    count = min(max(round(config.val_fraction * len(names)), 1), len(names) - 1)
    drawn = {names[i] for i in np.random.default_rng(config.seed).permutation(len(names))[:count]}
    return {sample.path for sample, group in zip(samples, of_sample, strict=True) if group in drawn}


def _group_of(path: Source, pattern: str) -> str:
    match = re.search(pattern, os.path.basename(path))
    group = match and (match[1] if match.groups() else match[0])
    if group is None:
        raise DataError(
            f"{path}: the name does not fit group_pattern {pattern!r}; give a regular expression that is found in the "
            r"name of every file, such as '^(speaker\d+)_', or leave it out"
        )
    return group


def _grouped(samples: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for sample in samples:
        groups[key(sample)].append(sample)
    return groups
