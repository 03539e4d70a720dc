"""Folds: every sample is held out once, with its whole group, and each fold has its share of each class."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from morphmlp.config import SplitConfig
from morphmlp.data.media.sources import sort_key
from morphmlp.data.sets.labelled import NO_LABEL, LabelledSet, Sample, joined_notes
from morphmlp.data.sets.splits import groups_of
from morphmlp.errors import DataError
from morphmlp.formatting import shortened


def fold_numbers(labels: Sequence[int], groups: Sequence[str], *, num_folds: int, seed: int) -> list[int]:
    """The fold of each sample, from 0: a group is in one fold, and the folds have about equally many of each class.

    The largest groups come first. Each goes to the fold that has the smallest share of the classes in the group; among
    equals, to the smallest fold. With as many groups as folds no fold is empty.

    >>> fold_numbers([0, 0, 0, 1, 1, 1], list("aabbcd"), num_folds=2, seed=0)
    [0, 0, 1, 1, 0, 1]
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    names = sorted(members)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    totals = np.bincount(labels).astype(float)
    held = np.zeros((num_folds, len(totals)))
    folds = [0] * len(labels)
    for name in sorted(shuffled, key=lambda name: -len(members[name])):
        counts = np.bincount([labels[i] for i in members[name]], minlength=len(totals))
        shares = (held / np.maximum(totals, 1)) @ counts
        # Rounded, as equal shares that were added up in another order are not equal to the last bit.
        fold = int(np.lexsort((held.sum(axis=1), shares.round(9)))[0])
        held[fold] += counts
        for i in members[name]:
            folds[i] = fold
    return folds


def fold_of(
    train: LabelledSet, val: LabelledSet, config: SplitConfig, *, source: str
) -> tuple[LabelledSet, LabelledSet]:
    """The samples of both parts, divided anew: all but those of the fold that `config` names, and those.

    Raises:
        DataError: there are fewer groups than folds.
    """
    assert config.folds is not None
    samples = sorted([*train.samples, *val.samples], key=lambda sample: sort_key(sample.path))
    require_one_label(samples, option="--folds")
    groups = groups_of(samples, config)
    labels = [sample.label for sample in samples]
    require_groups(groups, config.folds, source=source, unit=train.unit, pattern=config.group_pattern)
    numbers = fold_numbers(labels, groups, num_folds=config.folds, seed=config.seed)
    parts = [
        [s for s, n in zip(samples, numbers, strict=True) if (n + 1 == config.fold) == held] for held in (False, True)
    ]
    _require_known_classes(labels, numbers, train, config, source=source)
    note = f"fold {config.fold} of {config.folds}, by {len(set(groups))} groups"
    if missing := _missing(parts[0], train.classes, set(labels)):
        note += f"; the training part has none of {shortened(missing)}, of which all {train.unit} are in this fold"
    note = joined_notes(train.note, note)
    return replace(train, samples=parts[0], note=note), replace(val, samples=parts[1], note=note)


def require_groups(groups: Sequence[str], num_folds: int, *, source: str, unit: str, pattern: str | None) -> None:
    """Raises DataError where there are fewer groups than folds."""
    found = Counter(groups)
    if len(found) >= num_folds:
        return
    by = f"by --split.group_pattern {pattern!r}" if pattern else "each recording is one"
    there = f"all {len(groups)} {unit} are of one group" if len(found) == 1 else f"there are {len(found)} groups"
    next_step = f"give --folds {len(found)}, or add recordings" if len(found) > 1 else "add recordings of other groups"
    raise DataError(f"{source}: {num_folds} folds need as many groups, but {there} ({by}); {next_step}")


def _require_known_classes(
    labels: Sequence[int], folds: Sequence[int], train: LabelledSet, config: SplitConfig, *, source: str
) -> None:
    """Raises DataError where no class is in two folds: nothing that is held out could be right."""
    if len(set(zip(labels, folds, strict=True))) > len(set(labels)):
        return
    by = f"--split.group_pattern {config.group_pattern!r}" if config.group_pattern else "recording"
    raise DataError(
        f"{source}: each of the {config.folds} folds holds out all {train.unit} of its classes, as the groups, by "
        f"{by}, have whole classes in them; give a pattern whose groups, such as people, are of several classes"
    )


def require_one_label(samples: Sequence[Sample], *, option: str) -> None:
    """Raises DataError where samples have several labels, or none."""
    if any(sample.label == NO_LABEL for sample in samples):
        raise DataError(f"{option} is for samples of one class each, and these have several labels: leave it out")


def _missing(samples: Sequence[Sample], classes: Sequence[str], labels: set[int]) -> list[str]:
    present = {sample.label for sample in samples}
    return [classes[label] for label in sorted(labels - present)]
