"""A drawn split of stretches keeps each recording on one side, and each class on both where it can."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.config import SplitConfig
from morphmlp.data.media.sources import overlaps
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_training_sets
from morphmlp.data.sets.recordings import meeting
from morphmlp.data.sets.splits import draw_recordings, groups_of, hold_out, split_set
from morphmlp.errors import DataError


@given(
    st.lists(st.dictionaries(st.integers(0, 3), st.integers(1, 9), min_size=1).map(Counter), min_size=2, max_size=12),
    st.integers(0, 5),
)
def test_every_class_stays_in_training_and_is_held_out_where_it_can_be(counts: list[Counter[int]], seed: int):
    held_out = draw_recordings(counts, SplitConfig(seed=seed))
    assert held_out == draw_recordings(counts, SplitConfig(seed=seed))
    total = sum(counts, Counter())
    held = sum((counts[i] for i in held_out), Counter())
    assert all(held[label] < total[label] for label in total)
    for label in total:
        if not held[label]:  # then each recording that has it is needed in training
            free = [count for i, count in enumerate(counts) if i not in held_out and count[label]]
            assert all(any(held[c] + n >= total[c] for c, n in count.items()) for count in free)


def stretches(names: str, *, classes: str = "xy") -> LabelledSet:
    samples = [
        Sample(Stretch(Path(f"{name}.mp4"), at, at + 1), label) for name in names for at, label in enumerate([0, 1, 0])
    ]
    return LabelledSet(samples, list(classes))


def test_a_recording_is_on_one_side_without_being_asked():
    whole = stretches("abcdefghij")
    train, val = split_set(whole, SplitConfig(), source="set")
    sides = [{sample.path.file for sample in part.samples if isinstance(sample.path, Stretch)} for part in (train, val)]
    assert (len(sides[0]), len(sides[1]), sides[0] & sides[1]) == (8, 2, set())
    assert train.note == "8 recordings are for training and 2 for validation"
    shuffled = LabelledSet(whole.samples[::-1], whole.classes)
    assert {sample.path for sample in split_set(shuffled, SplitConfig(), source="set")[1].samples} == {
        sample.path for sample in val.samples
    }


def test_a_class_of_one_recording_is_for_training_and_said():
    whole = stretches("abcde", classes="xyz")
    whole.samples.append(Sample(Stretch(Path("a.mp4"), 8, 9), 2))
    train, val = split_set(whole, SplitConfig(), source="set")
    assert Path("a.mp4") in {sample.path.file for sample in train.samples if isinstance(sample.path, Stretch)}
    assert val.note.endswith("1 for validation, which has none of z: no other recording could be held out")


def test_a_single_recording_is_not_split():
    with pytest.raises(DataError, match=r"set: all 3 stretches are of one recording \(a\.mp4\), and a recording is on"):
        split_set(stretches("a"), SplitConfig(), source="set")


def test_a_group_pattern_joins_recordings():
    """Recordings `a1` and `a2` are of one speaker."""
    samples = [
        Sample(Stretch(Path(f"{speaker}{take}.mp4"), at, at + 1), at)
        for speaker in "abcde"
        for take in "12"
        for at in (0, 1)
    ]
    parts = split_set(LabelledSet(samples, ["x", "y"]), SplitConfig(group_pattern="^[a-e]"), source="set")
    speakers = [{str(Path(sample.path))[0] for sample in part.samples} for part in parts]
    assert (len(speakers[0]), len(speakers[1]), speakers[0] & speakers[1]) == (4, 1, set())


BOUNDS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=6)


@given(BOUNDS, BOUNDS, st.booleans())
def test_samples_that_meet_are_those_that_overlap(one: list, other: list, whole: bool):
    def samples(bounds: list) -> list[Sample]:
        return [Sample(Stretch(Path("x.mp4"), start, start + length), 0) for start, length in bounds]

    first, second = samples(one), samples(other) + ([Sample(Path("x.mp4"), 0)] if whole else [])
    found = list(meeting(first, second))
    wanted = [(a, b) for a in first for b in second if overlaps(a.path, b.path)]
    assert Counter(map(str, found)) == Counter(map(str, wanted))


def write_lists(root: Path, train: str, val: str) -> Path:
    (root / "a.mp4").touch()
    for name, rows in (("train", train), ("val", val)):
        (root / f"{name}.csv").write_text(f"video,label,start,end\n{rows}\n")
    return root


def test_stretches_of_train_and_val_that_share_frames_are_refused(tmp_path: Path):
    write_lists(tmp_path, "a.mp4,x,0,10\na.mp4,y,10,20", "a.mp4,x,19.5,30\na.mp4,y,30,31")
    with pytest.raises(DataError, match=r"1 videos are in both train and val, such as .*a\.mp4 \(10 to 20 s\)"):
        read_training_sets(tmp_path)


def test_recordings_with_stretches_in_both_parts_are_named(tmp_path: Path):
    _, val = read_training_sets(write_lists(tmp_path, "a.mp4,x,0,10\na.mp4,y,10,20", "a.mp4,x,20,30\na.mp4,y,30,31"))
    assert val.note.startswith("1 recording has stretches in both train and val")
    assert json.dumps(str(tmp_path / "a.mp4"))[1:-1] in val.note


def test_groups_follow_the_pattern_or_else_the_recording():
    samples = [Sample(Path(f"/data/{name}.mp4"), 0) for name in ("anna_1", "anna_2", "ben_1")]
    samples.append(Sample(Stretch(Path("/data/ben_1.mp4"), 0, 1), 0))
    assert groups_of(samples, SplitConfig(group_pattern=r"^([a-z]+)_")) == ["anna", "anna", "ben", "ben"]
    assert groups_of(samples, SplitConfig()) == [
        str(Path(f"/data/{n}.mp4")) for n in ("anna_1", "anna_2", "ben_1", "ben_1")
    ]
    with pytest.raises(DataError, match="does not fit"):
        groups_of([Sample(Path("/data/x.mp4"), 0)], SplitConfig(group_pattern=r"^([a-z]+)_"))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcdefgh")), min_size=1, max_size=40), st.integers(0, 9))
def test_whole_groups_are_held_out_and_every_class_stays(pairs: list[tuple[int, str]], seed: int):
    labels, groups = [label for label, _ in pairs], [group for _, group in pairs]
    held = hold_out(labels, groups, fraction=0.25, seed=seed)
    assert not {groups[i] for i in held} & {groups[i] for i in range(len(pairs)) if i not in held}
    assert {labels[i] for i in range(len(pairs)) if i not in held} == set(labels)
