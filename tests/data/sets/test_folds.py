"""Folds: whole groups, every sample once, and each class spread over them."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.config import SplitConfig
from morphmlp.data.sets.folds import fold_numbers, require_one_label
from morphmlp.data.sets.labelled import NO_LABEL
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import ConfigError, DataError

SAMPLES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=1, max_size=60)


@given(SAMPLES, st.integers(2, 6), st.integers(0, 3))
def test_a_group_is_in_one_fold_and_no_fold_is_empty(samples: list[tuple[int, int]], num_folds: int, seed: int):
    labels, groups = [label for label, _ in samples], [str(group) for _, group in samples]
    folds = fold_numbers(labels, groups, num_folds=num_folds, seed=seed)
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))
    assert len(set(folds)) == min(num_folds, len(set(groups)))


@given(st.lists(st.integers(0, 4), min_size=5, max_size=60), st.integers(2, 5))
def test_samples_that_are_groups_of_their_own_spread_each_class_evenly(labels: list[int], num_folds: int):
    folds = fold_numbers(labels, [str(i) for i in range(len(labels))], num_folds=num_folds, seed=0)
    counts = Counter(zip(labels, folds, strict=True))
    for label in set(labels):
        of_label = [counts[label, fold] for fold in range(num_folds)]
        assert max(of_label) - min(of_label) <= 1


def test_the_folds_of_a_set_hold_each_sample_of_both_parts_once(data: Path):
    everything = {str(s.path) for part in read_training_sets(data) for s in part.samples}
    held_out = []
    for fold in (1, 2, 3):
        train, val = read_training_sets(data, SplitConfig(folds=3, fold=fold))
        assert {str(s.path) for s in (*train.samples, *val.samples)} == everything
        held_out += [str(sample.path) for sample in val.samples]
        assert Counter(sample.label for sample in val.samples) == dict.fromkeys(range(10), 1)
        assert f"fold {fold} of 3, by 30 groups" in train.note
    assert sorted(held_out) == sorted(everything)


def test_groups_of_a_pattern_are_on_one_side(data: Path):
    """One group holds a whole class, and others one video of each class: the fold with the whole class says so."""
    pattern, notes = r"^app|\d+", []
    for fold in (1, 2):
        parts = read_training_sets(data, SplitConfig(folds=2, fold=fold, group_pattern=pattern))
        train, val = ({re.findall(pattern, Path(s.path).name)[0] for s in part.samples} for part in parts)
        assert not train & val
        notes.append(parts[0].note)
    assert [("the training part has none of approaching" in note) for note in notes].count(True) == 1


def test_folds_that_hold_out_only_what_the_others_do_not_have_are_refused(data: Path):
    """Nothing could be right there: a pattern that finds the class, and not the person, is a slip."""
    message = r"each of the 4 folds holds out all videos of its classes, .* by --split\.group_pattern '\^\.\.\.', have"
    with pytest.raises(DataError, match=message):
        read_training_sets(data, SplitConfig(folds=4, fold=2, group_pattern="^..."))


def test_fewer_groups_than_folds_are_refused_in_one_line(data: Path, tmp_path: Path):
    with pytest.raises(
        DataError, match=r"2 folds need as many groups, but all 30 videos are of one group \(by --split"
    ):
        read_training_sets(data, SplitConfig(folds=2, fold=1, group_pattern="mp4"))
    copy = tiny.copy_data(data, tmp_path / "set", classes=2)
    with pytest.raises(DataError, match=r"8 folds need as many groups, but there are 6 groups .*; give --folds 6"):
        read_training_sets(copy, SplitConfig(folds=8, fold=1))


@pytest.mark.parametrize("values", [{"folds": 3}, {"fold": 1}, {"folds": 3, "fold": 4}, {"folds": 3, "fold": 0}])
def test_a_fold_is_one_of_the_folds(values: dict[str, int]):
    with pytest.raises(ConfigError, match=r"split\.fold is"):
        SplitConfig(**values)  # type: ignore[arg-type]


def test_samples_of_several_labels_are_refused_in_one_line(data: Path):
    samples = [replace(sample, label=NO_LABEL) for sample in read_training_sets(data)[0].samples]
    with pytest.raises(DataError, match="--folds is for samples of one class each, and these have several labels"):
        require_one_label(samples, option="--folds")
