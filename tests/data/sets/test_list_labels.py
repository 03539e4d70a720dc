"""The labels of a list: names, numbers, files of class names, and what they may not be mixed with."""

import re
from pathlib import Path
from typing import Any

import pytest
from list_files import listed, touch, write

from morphmlp.config import ListConfig
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.errors import DataError

# Labels


def test_integer_labels_stand_for_themselves(tmp_path: Path):
    videos = read_set(write(touch(tmp_path, "a.mp4") / "l.csv", "a.mp4,10\nb.mp4,2\n"))
    assert (videos.classes, videos.named) == ([str(i) for i in range(11)], False)
    assert [sample.label for sample in videos.samples] == [10, 2]


def test_integers_among_names_are_names(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    assert read_set(write(tmp_path / "l.csv", "a.mp4,10\nb.mp4,two\n")).classes == ["10", "two"]


NUMBERED = [f"a{i}.mp4,{i}" for i in range(12)]


@pytest.mark.parametrize(("row", "label"), [(5, "1l"), (12, "-1"), (1, "O0"), (3, "2.0"), (4, "+3")])
def test_one_label_among_numbers_that_is_none_is_refused_with_its_row(tmp_path: Path, row: int, label: str):
    rows = NUMBERED.copy()
    rows[row - 1] = f"a{row}.mp4,{label}"
    path = write(touch(tmp_path, "a1.mp4") / "l.csv", "\n".join(rows))
    header = "remove the row if it is a header; " if row == 1 else ""
    message = f"{path}, row {row}: label {label!r} is no class number, but 11 of 12 labels are; {header}mend the label"
    with pytest.raises(DataError, match=re.escape(message)):
        read_set(path)


def test_a_mistake_in_the_first_of_names_without_ending_is_no_header(tmp_path: Path):
    path = write(tmp_path / "l.csv", "v_a,1l\nv_b,2\nv_c,0\n")
    touch(tmp_path, "v_b.avi")
    with pytest.raises(DataError, match="row 1: label '1l' is no class number, but 2 of 3 labels are"):
        read_set(path)


def test_a_mistake_is_named_below_a_header_and_beside_a_label_file(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    path = write(tmp_path / "l.csv", "path,class\na.mp4,0\nb.mp4,1\nc.mp4,x\n")
    with pytest.raises(DataError, match="row 4: label 'x' is no class number, but 2 of 3 labels are; mend"):
        read_set(path)
    write(tmp_path / "classes.txt", "run\njump\n")
    with pytest.raises(DataError, match="row 4: label 'x' is no class number"):
        read_set(path)


@pytest.mark.parametrize("header", ["path,class\n", "path,label\n", "file,my class\n", ""])
def test_a_header_in_one_part_does_not_change_the_classes(tmp_path: Path, header: str):
    touch(tmp_path, "a0.mp4", "b0.mp4")
    write(tmp_path / "train.csv", header + "\n".join(NUMBERED))
    write(tmp_path / "val.csv", "\n".join(NUMBERED).replace("a", "b"))
    for part in read_training_sets(tmp_path):
        assert part.classes == [str(i) for i in range(12)]
        assert [sample.label for sample in part.samples] == list(range(12))


@pytest.mark.parametrize(("named", "numbered"), [("train", "val"), ("val", "train")])
def test_names_in_one_part_and_numbers_in_the_other_are_refused(tmp_path: Path, named: str, numbered: str):
    touch(tmp_path, "1.mp4", "3.mp4")
    write(tmp_path / f"{named}.csv", "1.mp4,run\n2.mp4,jump\n")
    write(tmp_path / f"{numbered}.csv", "3.mp4,0\n4.mp4,1\n")
    message = f"{tmp_path}: the labels of {named} are names (jump, run), but those of {numbered} are numbers; write"
    with pytest.raises(DataError, match=re.escape(message) + ".* as --lists.labels FILE"):
        read_training_sets(tmp_path)
    labels = write(tmp_path / "names.txt", "run\njump\n")
    for part in read_training_sets(tmp_path, lists=ListConfig(labels=str(labels))):
        assert [part.classes[sample.label] for sample in part.samples] == ["run", "jump"]


def test_numbers_in_val_are_the_lines_of_the_label_file_of_train(tmp_path: Path):
    touch(tmp_path, "data/1.mp4", "data/3.mp4")
    write(tmp_path / "a/classes.txt", "run\njump\n")
    train = write(tmp_path / "a/train.csv", "1.mp4,run\n2.mp4,jump\n")
    val = write(tmp_path / "b/val.csv", "3.mp4,0\n4.mp4,1\n")
    _, part = read_training_sets(tmp_path / "data", lists=ListConfig(train=str(train), val=str(val)))
    assert listed(part, tmp_path / "data") == [("3.mp4", "run"), ("4.mp4", "jump")]


@pytest.mark.parametrize(
    ("text", "row", "says"),
    [
        (
            "\n".join([*NUMBERED[:11], "x.mp4,90000"]),
            12,
            "label 90000 would make 90001 classes, of which 12 have samples",
        ),
        ("1.mp4,0\n2.mp4,4\n3.mp4,0\n", 2, "label 4 would make 5 classes, of which 2 have samples"),
    ],
)
def test_a_number_far_past_the_others_in_training_is_refused_with_its_row(
    tmp_path: Path, text: str, row: int, says: str
):
    path = write(touch(tmp_path, "1.mp4", "a1.mp4") / "train.csv", text)
    message = f"{path}, row {row}: {says}; mend the label, or name the classes with --lists.labels FILE"
    with pytest.raises(DataError, match=re.escape(message)):
        read_set(tmp_path, split="train")
    with pytest.raises(DataError, match=re.escape(message)):
        read_training_sets(path)
    assert read_set(path).samples[row - 1].label > 3  # not a training list: it may lack classes


def test_gaps_among_the_numbers_and_classes_with_names_may_lack_samples(tmp_path: Path):
    path = write(touch(tmp_path, "1.mp4") / "train.csv", "1.mp4,0\n2.mp4,3\n")
    assert len(read_set(tmp_path, split="train").classes) == 4
    assert len(read_set(path, lists=ListConfig(labels="k400"), training=True).classes) == 400
    write(path, "1.mp4,0\n2.mp4,8\n")
    assert len(read_set(path, lists=ListConfig(labels="ssv2"), training=True).classes) == 174
    write(path, "1.mp4,1\n2.mp4,4\n")  # counted from 1: 2 of 4
    assert read_set(path, lists=ListConfig(first_label=1), training=True).classes == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x.mp4,run\n", "row 1: class 'run' is not among the 400 of labels k400: .*"),
        ("x.mp4,401\n", "row 1: label 401, but labels k400 names 400 classes"),
    ],
)
def test_labels_that_are_given_but_not_those_of_the_list_can_be_left_out(tmp_path: Path, text: str, says: str):
    path = write(touch(tmp_path, "x.mp4") / "l.csv", text)
    with pytest.raises(DataError, match=f"{says}; --lists.labels null takes the data's own classes$"):
        read_set(path, lists=ListConfig(labels="k400"))
    write(tmp_path / "classes.txt", "a\nb\n")
    with pytest.raises(DataError) as beside:
        read_set(path)
    assert "null" not in str(beside.value)  # nobody gave it


@pytest.mark.parametrize("text", ["b\na\nc d\n", "b\r\na\r\nc d", "\ufeffb\na\nc d\n\n\n", " b\na \nc d\n"])
def test_integer_labels_take_their_names_from_the_file_beside(tmp_path: Path, text: str):
    write(tmp_path / "classes.txt", text)
    videos = read_set(write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,2\ny.mp4,0\n"))
    assert videos.classes == ["b", "a", "c d"]
    assert listed(videos, tmp_path) == [("x.mp4", "c d"), ("y.mp4", "b")]


def test_names_take_their_order_from_the_label_file(tmp_path: Path):
    labels = write(tmp_path / "order.txt", "run\nHolding something\njump\n")
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,Holding [something]\ny.mp4,run\n")
    videos = read_set(path, lists=ListConfig(labels=str(labels)))
    assert videos.classes == ["run", "Holding something", "jump"]
    assert [sample.label for sample in videos.samples] == [1, 0]


def test_a_name_that_the_label_file_lacks_is_refused_with_its_row(tmp_path: Path):
    write(tmp_path / "classes.txt", "run\njump\n")
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,run\ny.mp4,swim\n")
    message = f"{path}, row 2: class 'swim' is not among the 2 of {tmp_path / 'classes.txt'}: run, jump"
    with pytest.raises(DataError, match=re.escape(message)):
        read_set(path)


def test_labels_that_are_neither_packaged_nor_a_file_are_refused(tmp_path: Path):
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,0\n")
    with pytest.raises(DataError, match="labels 'k700': neither k400, ssv1, ssv2 nor a file"):
        read_set(path, lists=ListConfig(labels="k700"))


def test_a_label_map_may_be_a_list_of_names(tmp_path: Path):
    write(tmp_path / "labels.json", '["b", "a"]')
    assert read_set(write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,1\n")).classes == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no label map"),
        ("3", "is no label map"),
        ('{"a": "x"}', "is no label map"),
        ('{"a": 0, "b": 2}', "its 2 classes are not numbered from 0 to 1"),
        ('{"a": 0, "b": 0}', "its 2 classes are not numbered from 0 to 1"),
        ("{}", "its 0 classes are not numbered"),
    ],
)
def test_a_label_map_that_cannot_be_used_is_refused(tmp_path: Path, text: str, reason: str):
    path = write(tmp_path / "labels.json", text)
    with pytest.raises(DataError, match=re.escape(str(path)) + f":? {reason}"):
        read_set(write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,0\n"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\nb\na\n", "line 3: 'a' is there twice"),
        ("a\n\nb\n", "line 2 is empty"),
        (b"a\n\xff\n", "cannot be read"),
    ],
)
def test_a_file_of_class_names_that_cannot_be_used_is_refused(tmp_path: Path, text: str | bytes, reason: str):
    path = write(tmp_path / "classes.txt", text)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))},? {reason}"):
        read_set(write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,0\n"))


def test_a_label_past_the_named_classes_is_refused_with_its_row(tmp_path: Path):
    write(tmp_path / "classes.txt", "a\nb\n")
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "path,label\nx.mp4,0\ny.mp4,2\n")
    message = f"{path}, row 3: label 2, but {tmp_path / 'classes.txt'} names 2 classes"
    with pytest.raises(DataError, match=re.escape(message) + "$"):
        read_set(path)


def test_named_labels_that_seem_to_count_from_1_are_refused_with_advice(tmp_path: Path):
    write(tmp_path / "classes.txt", "a\nb\n")
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,1\ny.mp4,2\n")
    with pytest.raises(DataError, match=r"row 2: label 2, but .* names 2 classes; give --lists\.first_label 1 if"):
        read_set(path)
    videos = read_set(path, lists=ListConfig(first_label=1))
    assert listed(videos, tmp_path) == [("x.mp4", "a"), ("y.mp4", "b")]


def unnamed_from_1(root: Path) -> Path:
    touch(root, *(f"{i}.mp4" for i in range(6)))
    write(root / "train.csv", "0.mp4,3\n1.mp4,2\n2.mp4,1\n3.mp4,3\n")
    write(root / "val.csv", "4.mp4,2\n5.mp4,1\n")
    return root


def test_unnamed_labels_that_seem_to_count_from_1_are_refused_with_advice(tmp_path: Path):
    path = unnamed_from_1(tmp_path) / "train.csv"
    message = f"{path}, row 3: label 1 is the smallest, and classes count from 0; give --lists.first_label 1 if"
    with pytest.raises(DataError, match=re.escape(message)):
        read_training_sets(tmp_path)


def test_the_first_label_tells_what_labels_count_from(tmp_path: Path):
    train, val = read_training_sets(unnamed_from_1(tmp_path), lists=ListConfig(first_label=1))
    assert (train.classes, [s.label for s in train.samples]) == (["1", "2", "3"], [2, 1, 0, 2])
    assert (val.classes, [s.label for s in val.samples]) == (["1", "2", "3"], [1, 0])
    train, val = read_training_sets(tmp_path, lists=ListConfig(first_label=0))
    assert (train.classes, [s.label for s in train.samples]) == (["0", "1", "2", "3"], [3, 2, 1, 3])


def test_a_label_below_the_first_is_refused_with_its_row(tmp_path: Path):
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,1\ny.mp4,0\n")
    with pytest.raises(DataError, match=re.escape(f"{path}, row 2: label 0, but first_label is 1")):
        read_set(path, lists=ListConfig(first_label=1))


def test_a_val_list_may_lack_the_lowest_and_highest_labels(tmp_path: Path):
    touch(tmp_path, "1.mp4", "4.mp4")
    write(tmp_path / "train.csv", "1.mp4,0\n2.mp4,1\n3.mp4,2\n")
    write(tmp_path / "val.csv", "4.mp4,1\n")
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == ["0", "1", "2"]
    assert val.samples == [Sample(tmp_path / "4.mp4", 1)]


def test_a_list_of_class_numbers_is_matched_to_names_by_position(tmp_path: Path):
    path = write(touch(tmp_path, "a.mp4") / "val.csv", "a.mp4,2\nb.mp4,0\n")
    videos = read_set(path).relabelled(["x", "y", "z"], source="the checkpoint")
    assert [(sample.label, videos.classes[sample.label]) for sample in videos.samples] == [(2, "z"), (0, "x")]
    with pytest.raises(
        DataError, match=r"label 2 is past the 2 classes of the checkpoint.* need --lists\.first_label 1"
    ):
        read_set(path).relabelled(["x", "y"], source="the checkpoint")


@pytest.mark.parametrize("number", ["20240101", "9" * 5000])
def test_a_label_that_is_no_class_number_is_refused(tmp_path: Path, number: str):
    path = write(touch(tmp_path, "a.mp4") / "val.csv", f"b.mp4,0\na.mp4,{number}\n")
    with pytest.raises(DataError, match=f"row 2: label {number[:20]} is no class number"):
        read_set(path)
    write(tmp_path / "classes.txt", "x\ny\n")
    with pytest.raises(DataError, match=f"row 2: label {number[:20]} is no class number"):
        read_set(path)


# Numbers beside other classes

FOLDERS = ["0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"]  # in the order of text


def numbered_list(root: Path, *numbers: int, **options: Any) -> LabelledSet:
    path = write(touch(root, "a0.mp4") / "l.csv", "".join(f"a{i}.mp4,{number}\n" for i, number in enumerate(numbers)))
    return read_set(path, lists=ListConfig(**options))


def names_in(videos: LabelledSet) -> list[str]:
    return [videos.classes[sample.label] for sample in videos.samples]


@pytest.mark.parametrize("classes", [FOLDERS, [f"{int(name):03}" for name in FOLDERS]])
def test_numbers_meet_classes_that_are_numbers_by_their_value(tmp_path: Path, classes: list[str]):
    videos = numbered_list(tmp_path, 2, 10, 0).relabelled(classes, source="the checkpoint")
    assert [int(name) for name in names_in(videos)] == [2, 10, 0]
    assert videos.note == ""


@pytest.mark.parametrize("options", [{}, {"first_label": 1}])
def test_numbers_meet_classes_from_1_by_their_value_also_where_the_highest_is_missing(tmp_path: Path, options: dict):
    videos = numbered_list(tmp_path, 1, 2, **options).relabelled(["1", "2", "3"], source="the checkpoint")
    assert names_in(videos) == ["1", "2"]


def test_numbers_that_are_said_to_count_from_1_are_one_ahead_of_classes_from_0(tmp_path: Path):
    videos = numbered_list(tmp_path, 1, 11, first_label=1).relabelled(FOLDERS, source="the checkpoint")
    assert names_in(videos) == ["0", "10"]
    assert videos.note == "the labels are numbers, matched by position: 1 = 0, 11 = 10"


def test_a_number_that_is_no_class_is_refused_with_those_there_are(tmp_path: Path):
    message = "label 11 is none of the 11 classes of the checkpoint, which are numbers: 0, 1, 2, 3, 4, 5 and 5 more"
    with pytest.raises(DataError, match=message):
        numbered_list(tmp_path, 0, 11).relabelled(FOLDERS, source="the checkpoint")


def test_numbers_that_meet_names_are_told_with_them(tmp_path: Path):
    videos = numbered_list(tmp_path, 2, 0).relabelled(["x", "y", "z"], source="the checkpoint")
    assert videos.note == "the labels are numbers, matched by position: 0 = x, 2 = z"
    write(tmp_path / "classes.txt", "x\ny\nz\n")
    videos = numbered_list(tmp_path, 2, 0)
    assert videos.note == f"the labels are numbers, taken as the lines of {tmp_path}/classes.txt: 0 = x, 2 = z"
    assert names_in(videos.relabelled(["z", "y", "x"], source="the checkpoint")) == ["z", "x"]


def test_numbers_meet_a_label_file_of_numbers_by_their_value(tmp_path: Path):
    write(tmp_path / "classes.txt", "\n".join(FOLDERS))
    videos = numbered_list(tmp_path, 2, 10)
    assert (videos.classes, names_in(videos), videos.note) == (FOLDERS, ["2", "10"], "")
