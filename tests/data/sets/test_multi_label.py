"""Lists of several labels a row: how they are written, when they are taken for such, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.config import ListConfig, SplitConfig
from morphmlp.data.sets.labelled import NO_LABEL, LabelledSet, Sample
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.data.sets.splits import hold_out, split_set
from morphmlp.errors import DataError

SEVERAL = ListConfig(multi_label=True)


def write(folder: Path, text: str, name: str = "list.csv", *, files: str = "abcdef") -> Path:
    for file in files:
        (folder / f"{file}.mp4").touch()
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def shown(found: LabelledSet) -> dict[str, list[str]]:
    """The names of each sample's classes."""
    assert found.multi_label
    assert all(sample.label == NO_LABEL for sample in found.samples)
    return {Path(sample.path).stem: [found.classes[label] for label in sample.classes] for sample in found.samples}


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.mp4,run|jump\nb.mp4,run\nc.mp4,\n",
        "path,labels\na.mp4, run | jump |\nb.mp4,run\nc.mp4,\n",
        "a.mp4,run|jump\nb.mp4,run\nc.mp4,\n",
        "a.mp4,jump,run\nb.mp4,run\nc.mp4\n",
        "path,label\na.mp4,run\nb.mp4,run\na.mp4,jump\nc.mp4,\n",  # a row for each label
        "path\tlabel\na.mp4\tjump|run\nb.mp4\trun\nc.mp4\t|\n",
    ],
)
def test_labels_are_parted_by_bars_or_in_columns_or_in_rows(tmp_path: Path, text: str):
    found = read_set(write(tmp_path, text), lists=SEVERAL)
    assert found.classes == ["jump", "run"]
    assert shown(found) == {"a": ["jump", "run"], "b": ["run"], "c": []}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("path,label_1,label_2\na.mp4,run,jump\nb.mp4,run,\nc.mp4,,\n", "list.csv"),
        ("path;label;label;split\na.mp4;run;jump;val\nb.mp4;run;;val\nc.mp4\n", "list.csv"),
        ("video,run,jump\na.mp4,1,1\nb.mp4,1,0\nc.mp4,0,0\n", "list.csv"),
        ('[{"path": "a.mp4", "labels": ["run", "jump"]}, {"path": "b.mp4", "labels": "run"}, '
         '{"path": "c.mp4", "labels": []}]', "list.json"),
    ],
)  # fmt: skip
def test_lists_that_name_several_columns_need_no_option(tmp_path: Path, text: str, name: str):
    found = read_set(write(tmp_path, text, name))
    assert shown(found) == {"a": ["jump", "run"], "b": ["run"], "c": []}


@pytest.mark.parametrize("cell", ["2", "", "yes"])
@pytest.mark.parametrize("asked", [True, None])
def test_a_cell_that_is_neither_0_nor_1_among_such_is_named(tmp_path: Path, cell: str, asked: bool | None):
    """And the classes are not 0 and 1, as the names in a column of labels would be."""
    path = write(tmp_path, f"video,run,jump\na.mp4,1,1\nb.mp4,1,{cell}\nc.mp4,0,0\n")
    message = rf"row 3: column jump has '{cell}'; allowed: 1 where the class is shown, 0 where it is not"
    with pytest.raises(DataError, match=message):
        read_set(path, lists=ListConfig(multi_label=asked))


def test_stretches_have_several_labels(tmp_path: Path):
    text = "video,label,label_2,start,end\na.mp4,run,jump,0,1\na.mp4,run|wave,,2,3\nb.mp4,,,0,1\n"
    found = read_set(write(tmp_path, text), lists=SEVERAL)
    assert [[found.classes[label] for label in sample.classes] for sample in found.samples] == [
        ["jump", "run"],
        ["run", "wave"],
        [],
    ]


def test_numbers_are_classes_of_a_label_file(tmp_path: Path):
    (tmp_path / "classes.txt").write_text("run\njump\nwave\n", encoding="utf-8")
    found = read_set(write(tmp_path, "a.mp4,0|2\nb.mp4,1\nc.mp4,\n"), lists=SEVERAL)
    assert shown(found) == {"a": ["run", "wave"], "b": ["jump"], "c": []}


def test_a_bar_is_never_taken_for_several_labels_in_silence(tmp_path: Path):
    path = write(tmp_path, "a.mp4,run\nb.mp4,open|close\n")
    with pytest.raises(DataError, match=r"row 2: label 'open\|close' may be several labels, or one name .* true, or"):
        read_set(path)
    one = read_set(path, lists=ListConfig(multi_label=False))
    assert (one.classes, [sample.label for sample in one.samples]) == (["open|close", "run"], [1, 0])
    assert not one.multi_label
    (tmp_path / "classes.txt").write_text("run\nopen|close\n", encoding="utf-8")
    assert [sample.label for sample in read_set(path).samples] == [0, 1]  # the file has it as a name


def test_old_lists_are_read_as_before(tmp_path: Path):
    found = read_set(write(tmp_path, "path,label\na.mp4,run\nb.mp4,jump\n"))
    assert (found.multi_label, found.samples[0].labels, found.samples[0].classes) == (False, None, (1,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4,run\nb.mp4,\n", "row 2: .* a row may lack a label with --lists.multi_label true"),
        ("a.mp4,run\nb.mp4,run,jump\n", "row 2: .* several labels --lists.multi_label true"),
        ("a.mp4,run\nb.mp4,run\na.mp4,jump\n", "row 3: .* or, if both are, give --lists.multi_label true"),
    ],
)
def test_several_labels_where_one_is_expected_name_the_option(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_set(write(tmp_path, text))


def test_label_columns_in_a_list_that_is_called_single_are_refused(tmp_path: Path):
    path = write(tmp_path, "path,label_1,label_2\na.mp4,run,jump\nb.mp4,run,\n")
    with pytest.raises(DataError, match=r"row 2: 2 labels of .*a\.mp4, where each video or image has one"):
        read_set(path, lists=ListConfig(multi_label=False))


def test_a_list_without_any_label_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="not one of 2 rows has a label"):
        read_set(write(tmp_path, "a.mp4,\nb.mp4,\n"), lists=SEVERAL)


def test_class_folders_stay_single(tmp_path: Path):
    for name in ("run|jump", "wave"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").touch()
    assert read_set(tmp_path).classes == ["run|jump", "wave"]
    with pytest.raises(DataError, match="class folders give each file one class"):
        read_set(tmp_path, lists=SEVERAL)


def test_a_name_with_a_typo_is_answered_with_the_near_one(tmp_path: Path):
    write(tmp_path, "a.mp4,running|jumping\nb.mp4,jumping\nc.mp4,\n", "train.csv")
    write(tmp_path, "d.mp4,runing\ne.mp4,jumping\n", "val.csv")
    with pytest.raises(
        DataError, match=r"of train: runing; .* has: jumping, running; .*; did you mean 'running' for 'runing'\?$"
    ):
        read_training_sets(tmp_path, lists=SEVERAL)
    (tmp_path / "classes.txt").write_text("running\njumping\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"row 1: class 'runing' is not among .*; did you mean 'running' for 'runing'\?$"
    ):
        read_training_sets(tmp_path, lists=SEVERAL)


def test_a_class_of_one_sample_is_answered_with_the_near_one():
    samples = [Sample(Path(f"{i}.mp4"), label) for i, label in enumerate([0, 0, 1, 2, 2])]
    with pytest.raises(DataError, match=r"one video only in runing: .*; did you mean 'running' for 'runing'\?$"):
        split_set(LabelledSet(samples, ["jumping", "runing", "running"]), SplitConfig(), source="set")


def test_both_parts_are_of_one_sort(tmp_path: Path):
    write(tmp_path, "path,label_1,label_2\na.mp4,run,jump\nb.mp4,run,\n", "train.csv")
    write(tmp_path, "path,label\nc.mp4,run\nd.mp4,jump\n", "val.csv")
    train, val = read_training_sets(tmp_path)
    assert shown(val) == {"c": ["run"], "d": ["jump"]}  # the validation part of a training with several labels
    write(tmp_path, "path,label\na.mp4,run\nb.mp4,jump\n", "train.csv")
    write(tmp_path, "path,label_1,label_2\nc.mp4,run,jump\nd.mp4,run,\n", "val.csv")
    with pytest.raises(DataError, match="val has several labels a row, but train has not"):
        read_training_sets(tmp_path)
    assert train.multi_label


def test_nothing_is_told_apart_where_all_samples_show_the_same(tmp_path: Path):
    write(tmp_path, "a.mp4,run|jump\nb.mp4,jump|run\n", "train.csv")
    write(tmp_path, "c.mp4,run\n", "val.csv")
    with pytest.raises(DataError, match=r"holds one class \(jump, run\)"):
        read_training_sets(tmp_path, lists=SEVERAL)
    write(tmp_path, "a.mp4,run\nb.mp4,\n", "train.csv")
    assert len(read_training_sets(tmp_path, lists=SEVERAL)[0].samples) == 2  # shown or not is enough


def test_labels_meet_the_classes_of_a_checkpoint_by_name(tmp_path: Path):
    found = read_set(write(tmp_path, "a.mp4,run|jump\nb.mp4,\n"), lists=SEVERAL)
    again = found.relabelled(["wave", "run", "jump"], source="model")
    assert [sample.classes for sample in again.samples] == [(1, 2), ()]


def alone(classes: list[tuple[int, ...]]) -> list[str]:
    """A group for each sample."""
    return [str(number) for number in range(len(classes))]


def test_a_drawn_split_holds_every_class_in_its_proportion():
    classes = [(0,)] * 10 + [(1,)] * 5 + [(0, 1)] * 5 + [()] * 5
    drawn = [classes[i] for i in hold_out(classes, alone(classes), fraction=0.2, seed=0)]
    assert sum(0 in own for own in drawn) == 3  # of 15
    assert sum(1 in own for own in drawn) == 2  # of 10
    assert drawn.count(()) == 1  # of 5


@given(st.lists(st.sets(st.integers(0, 4), max_size=3).map(tuple), min_size=2, max_size=40), st.integers(0, 5))
def test_every_class_stays_in_training(classes: list[tuple[int, ...]], seed: int):
    held_out = hold_out(classes, alone(classes), fraction=0.2, seed=seed)
    assert held_out == hold_out(classes, alone(classes), fraction=0.2, seed=seed)
    kept = [own for i, own in enumerate(classes) if i not in held_out]
    assert {label for own in kept for label in own} == {label for own in classes for label in own}
    assert not held_out or max(held_out) < len(classes)


def test_the_classes_that_only_training_has_are_named(tmp_path: Path):
    path = write(tmp_path, "path,labels\na.mp4,run|jump\nb.mp4,run\nc.mp4,run\nd.mp4,\ne.mp4,\n")
    train, val = read_training_sets(path, lists=SEVERAL)
    assert len(train.samples) + len(val.samples) == 5
    assert "the validation part has no video of jump" in val.note
