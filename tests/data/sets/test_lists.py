"""Lists of videos and images: every format that data sets come with, and what is said of rows that cannot be used."""

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from encoding import moving_frames, write_video
from hypothesis import given, settings
from hypothesis import strategies as st

from morphmlp.config import ListConfig
from morphmlp.data.media.sources import FrameFolder
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.list_rows import ListRow, read_rows
from morphmlp.data.sets.lists import read_list
from morphmlp.data.sets.read import evaluation_split, read_set, read_training_sets
from morphmlp.errors import DataError


def touch(root: Path, *names: str) -> Path:
    """Empty files below `root`: none is opened here."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def listed(videos: LabelledSet, root: Path) -> list[tuple[str, str]]:
    """Relative path and class name of each video."""
    return [(os.path.relpath(sample.path, root), videos.classes[sample.label]) for sample in videos.samples]


# However it was written

ROWS = [("x/1.mp4", "run"), ("y 2.mp4", "jump high"), ("z.mp4", "run")]


@pytest.mark.parametrize(
    "text",
    [
        "x/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run\n",
        "x/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run",
        "path,label\nx/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run\n",
        "Path, Label\r\nx/1.mp4,run\r\ny 2.mp4,jump high\r\nz.mp4,run\r\n",
        "filename,label\rx/1.mp4,run\ry 2.mp4,jump high\rz.mp4,run\r",
        "\ufeffpath,label\nx/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run\n",
        "\ufeffx/1.mp4,run\ny 2.mp4,jump high\nz.mp4,run\n",
        " x/1.mp4 , run \ny 2.mp4,  jump high\t\n z.mp4,run\n",
        '"x/1.mp4","run"\n"y 2.mp4", "jump high"\nz.mp4,run\n',
        "x/1.mp4,run\n\n  \n,\ny 2.mp4,jump high\nz.mp4,run\n\n",
        "x/1.mp4 run\ny 2.mp4 jump high\nz.mp4 run\n",
        "path label\r\nx/1.mp4   run\r\ny 2.mp4 jump high \r\n\r\n z.mp4 run",
        "\ufeffx/1.mp4\trun\ny 2.mp4\tjump high\nz.mp4\trun\n",
        'x/1.mp4 run\n"y 2.mp4" jump high\nz.mp4 run\n',
    ],
    ids=[
        "plain",
        "no end",
        "header",
        "windows",
        "old mac",
        "bom and header",
        "bom",
        "spaces",
        "quotes",
        "blank rows",
        "spaced",
        "spaced windows header",
        "tabs",
        "spaced quotes",
    ],
)
def test_a_list_is_read_however_it_was_written(tmp_path: Path, text: str):
    touch(tmp_path, "x/1.mp4")
    videos = read_list(write(tmp_path / "l.csv", text))
    assert videos.classes == ["jump high", "run"]
    assert listed(videos, tmp_path) == ROWS


def test_commas_in_quoted_names_and_other_scripts_are_kept(tmp_path: Path):
    touch(tmp_path, "一.mp4")
    videos = read_list(write(tmp_path / "l.csv", '"a, b.mp4","čaj, hot"\n一.mp4,挥手\n'))
    assert listed(videos, tmp_path) == [("a, b.mp4", "čaj, hot"), ("一.mp4", "挥手")]


@pytest.mark.parametrize("text", ["a, b.mp4 1\nc.mp4 0\n", "a, b.mp4\t1\n", "a, b.mp4 1\nd, e f.mp4 0\n"])
def test_names_in_a_spaced_list_may_hold_commas(tmp_path: Path, text: str):
    touch(tmp_path, "a, b.mp4")
    assert listed(read_list(write(tmp_path / "l.txt", text)), tmp_path)[0] == ("a, b.mp4", "1")


NAMES = st.text(
    st.characters(exclude_characters='\r\n\t\0"/', exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name == name.strip())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(NAMES, st.integers(0, 99)), min_size=1, max_size=6), st.booleans())
def test_any_names_are_read_back(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, int]], spaced: bool):
    path = tmp_path_factory.mktemp("lists") / "l.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        if spaced:
            file.writelines(f"{name}.mp4 {label}\n" for name, label in pairs)
        else:
            csv.writer(file).writerows((f"{name}.mp4", label) for name, label in pairs)
    assert [(row.name, row.label) for row in read_rows(path)] == [(f"{name}.mp4", str(label)) for name, label in pairs]


def test_names_may_start_with_a_dash_or_hold_endings_and_quotes(tmp_path: Path):
    names = ["-x.mp4", "--help.mp4", "a.mp4 b.mp4", "it's.mp4", "100%.MP4"]
    videos = read_list(write(touch(tmp_path, *names) / "l.txt", "".join(f"{name} 0\n" for name in names)))
    assert [name for name, _ in listed(videos, tmp_path)] == names


def test_names_that_are_no_utf8_keep_their_bytes(tmp_path: Path):
    name = b"caf\xe9.mp4"
    try:
        write(tmp_path / os.fsdecode(name), b"")
    except OSError:
        pytest.skip("this file system does not take the name")
    for text in (name + b",0\n", name + b" 0\n"):
        videos = read_list(write(tmp_path / "l.csv", text))
        assert videos.samples == [Sample(tmp_path / os.fsdecode(name), 0)]
        assert os.path.exists(videos.samples[0].path)


def test_a_label_that_is_no_utf8_is_refused_with_its_row(tmp_path: Path):
    path = write(tmp_path / "l.csv", "x.mp4,tea\nx.mp4,ä".encode("latin-1"))
    with pytest.raises(DataError, match=re.escape(f"{path}, row 2: the label is no UTF-8 text; save the list as")):
        read_list(path)


def test_absolute_paths_stay_absolute(tmp_path: Path):
    file = touch(tmp_path, "elsewhere/x.mp4") / "elsewhere/x.mp4"
    videos = read_list(write(tmp_path / "lists/l.csv", f"{file},a\n"))
    assert videos.samples == [Sample(file, 0)]


@pytest.mark.parametrize(
    "text",
    [
        "path,class\n",
        "Video Name,Target\n",
        "filename,y\n",
        "\n\npath,Class ID\n",
        '"path","category_id"\n',
        "video label_id\n",
        "video\tclass\n",
        "clip path class name\n",
    ],
)
def test_the_first_row_is_a_header_where_its_label_alone_is_no_number(tmp_path: Path, text: str):
    between = "," if "," in text else "\t" if "\t" in text else " "
    numbered = "".join(f"a{i}.mp4{between}{i}\n" for i in range(12))
    videos = read_list(write(touch(tmp_path, "a0.mp4") / "l.csv", text + numbered))
    assert (videos.classes, videos.named) == ([str(i) for i in range(12)], False)
    assert [sample.label for sample in videos.samples] == list(range(12))


@pytest.mark.parametrize("header", ["folder num_frames class", "id frames label_id", "folder\tnum_frames\tclass"])
def test_a_list_of_frame_folders_may_have_a_header(tmp_path: Path, header: str):
    (tmp_path / "48032").mkdir()
    videos = read_list(write(tmp_path / "l.txt", f"{header}\n100218 42 1\n48032 57 0\n"))
    assert [sample.label for sample in videos.samples] == [1, 0]


@pytest.mark.parametrize("header", ["path,class", "Video_Path,Class_Name", "file,category", "video class"])
def test_a_header_above_names_is_no_class(tmp_path: Path, header: str):
    between = "," if "," in header else " "
    path = write(touch(tmp_path, "x.mp4") / "l.csv", f"{header}\nx.mp4{between}run\ny.mp4{between}jump\n")
    assert read_list(path).classes == ["jump", "run"]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a.mp4,label\nb.mp4,run\n", ["label", "run"]),
        ("a.mp4 label\nb.mp4 run\n", ["label", "run"]),
        ("a.mp4 class 1\nb.mp4 class 2\n", ["class 1", "class 2"]),
        ("v_a,run\nv_b,jump\n", ["run", "jump"]),
    ],
)
def test_a_first_row_that_names_a_file_is_no_header(tmp_path: Path, text: str, labels: list[str]):
    assert [row.label for row in read_rows(write(tmp_path / "l.csv", text))] == labels


# Formats


def test_kinetics_rows_of_the_published_val_list_are_read(tmp_path: Path):
    path = write(tmp_path / "val.csv", "0wR5jVB-WPk.mp4,341\r\n3caPS4FHFF8.mp4,341\r\n-x_y.mp4,7\r\n")
    assert read_rows(path) == [
        ListRow("row 1", "0wR5jVB-WPk.mp4", "341"),
        ListRow("row 2", "3caPS4FHFF8.mp4", "341"),
        ListRow("row 3", "-x_y.mp4", "7"),
    ]


def test_a_list_of_frame_folders_states_their_counts(tmp_path: Path):
    (tmp_path / "48032").mkdir()
    videos = read_list(write(tmp_path / "train.txt", "100218 42 134\n48032 57 72\n"))
    assert videos.samples == [
        Sample(FrameFolder(tmp_path / "100218", None, 42), 134),
        Sample(FrameFolder(tmp_path / "48032", None, 57), 72),
    ]
    assert (videos.kind, len(videos.classes)) == ("video", 135)


def test_a_list_of_parts_of_frame_folders_states_their_first_frames(tmp_path: Path):
    (tmp_path / "jumping/a 1").mkdir(parents=True)
    videos = read_list(write(tmp_path / "l.txt", "jumping/a 1 1 17 0\njumping/a 1 18 20 1\nrunning/0001\t1\t15\t1\n"))
    assert videos.samples == [
        Sample(FrameFolder(tmp_path / "jumping/a 1", 1, 17), 0),
        Sample(FrameFolder(tmp_path / "jumping/a 1", 18, 20), 1),
        Sample(FrameFolder(tmp_path / "running/0001", 1, 15), 1),
    ]


def test_where_the_folders_of_a_list_are_videos_the_counts_do_not_matter(tmp_path: Path):
    touch(tmp_path, "videos/48032.webm")
    path = write(tmp_path / "train.txt", "100218 42 1\n48032 57 0\n")
    videos = read_list(path, lists=ListConfig(prefix=str(tmp_path / "videos")))
    assert listed(videos, tmp_path) == [("videos/100218.webm", "1"), ("videos/48032.webm", "0")]


@pytest.mark.parametrize("text", ["v_a,x\nv_b.c,y\n", "v_a x\nv_b.c y\n"])
@pytest.mark.parametrize(("there", "ending"), [("v_b.c.avi", ".avi"), ("v_b.c/0.jpg", ""), ("v_a.mp4", ".mp4")])
def test_names_without_ending_take_that_of_the_first_file_that_exists(
    tmp_path: Path, text: str, there: str, ending: str
):
    videos = read_list(write(touch(tmp_path, there) / "l.csv", text))
    assert [sample.path for sample in videos.samples] == [tmp_path / f"v_a{ending}", tmp_path / f"v_b.c{ending}"]


def ssv2(root: Path, *, templates: list[str | None], labels: object = None) -> Path:
    entries = [
        {"id": str(10 + i), "label": "holding a cup"} | ({"template": template} if template else {})
        for i, template in enumerate(templates)
    ]
    if labels is not None:
        write(root / "labels.json", json.dumps(labels))
    return write(root / "train.json", json.dumps(entries))


def test_something_something_v2_takes_its_label_map(tmp_path: Path):
    labels = {"Holding something next to something": "1", "Approaching something": "0", "Never shown": "2"}
    templates: list[str | None] = ["Holding [something] next to [something]", "Approaching [something]"]
    videos = read_list(ssv2(touch(tmp_path, "11.webm"), templates=templates, labels=labels))
    assert videos.classes == ["Approaching something", "Holding something next to something", "Never shown"]
    assert videos.samples == [Sample(tmp_path / "10.webm", 1), Sample(tmp_path / "11.webm", 0)]


def test_something_something_v2_is_read_with_packaged_labels_and_frame_folders(tmp_path: Path):
    path = ssv2(touch(tmp_path, "10/000001.jpg"), templates=["Attaching [something] to [something]"])
    videos = read_list(path, lists=ListConfig(labels="ssv2"))
    assert len(videos.classes) == 174
    assert videos.samples == [Sample(tmp_path / "10", 1)]


def test_a_test_list_without_labels_says_so(tmp_path: Path):
    path = ssv2(touch(tmp_path, "10.webm"), templates=["Holding [something]", None])
    message = f"{path}, entry 2 (id 11) has no template, which tells its class; a test list without labels cannot"
    with pytest.raises(DataError, match=re.escape(message)):
        read_list(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read as a list: Expecting"),
        ('{"a": 1}', "is not a list of entries"),
        ('[{"template": "x"}]', "entry 1 has no id"),
        ("[3]", "entry 1 has no id"),
        ("[]", "holds no rows"),
        ('[{"id": "a\\u0000", "template": "x"}]', "entry 1: .* is no file name"),
    ],
)
def test_a_json_that_is_no_such_list_is_refused(tmp_path: Path, text: str, reason: str):
    path = write(tmp_path / "l.json", text)
    with pytest.raises(DataError, match=f"{re.escape(str(path))},? {reason}"):
        read_list(path)


KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
riding a bike,abc-_def,10,20,val,0
"massaging, legs",xyz,3.0,13,val,0
"""


@pytest.mark.parametrize(
    "there",
    [
        "abc-_def_000010_000020.mp4",
        "val/abc-_def_000010_000020.mkv",
        "val/riding_a_bike/abc-_def_000010_000020.mp4",
        "riding a bike/abc-_def_000010_000020.webm",
    ],
)
def test_the_official_kinetics_csv_finds_its_files_anywhere_below(tmp_path: Path, there: str):
    path = write(tmp_path / "lists/val.csv", KINETICS)
    videos = read_list(path, lists=ListConfig(prefix=str(touch(tmp_path / "videos", there))))
    assert listed(videos, tmp_path / "videos") == [
        (there, "riding a bike"),
        ("xyz_000003_000013.mp4", "massaging, legs"),  # not there: it counts as broken when it is read
    ]


def test_of_two_kinetics_files_with_one_name_that_of_the_split_and_class_is_taken(tmp_path: Path):
    clip = "abc-_def_000010_000020.mp4"
    names = [f"train/riding_a_bike/{clip}", f"val/hugging/{clip}", f"val/riding_a_bike/{clip}"]
    videos = read_list(write(touch(tmp_path, *names) / "val.csv", KINETICS))
    assert listed(videos, tmp_path)[0][0] == names[2]


def test_kinetics_labels_take_their_numbers_from_the_packaged_names(tmp_path: Path):
    path = write(
        touch(tmp_path, "abc-_def_000010_000020.mp4") / "val.csv", KINETICS.replace('"massaging, legs"', "marching")
    )
    videos = read_list(path, lists=ListConfig(labels="k400"))
    assert [sample.label for sample in videos.samples] == [0, 1]
    assert (len(videos.classes), videos.classes[:2]) == (400, ["riding a bike", "marching"])


def test_links_that_run_in_a_circle_below_a_prefix_are_followed_once(tmp_path: Path):
    touch(tmp_path, "disk/abc-_def_000010_000020.mp4")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/val").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "videos")
    (tmp_path / "disk/self").symlink_to("self")
    videos = read_list(write(tmp_path / "val.csv", KINETICS), lists=ListConfig(prefix=str(tmp_path / "videos")))
    assert listed(videos, tmp_path)[0][0] == "videos/val/abc-_def_000010_000020.mp4"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("youtube_id,time_start,time_end,split\nabc,1,2,test\n", "lacks label; a test list without labels"),
        ("label,youtube_id\nx,abc\n", "lacks time_start, time_end$"),
        ("label,youtube_id,time_start,time_end\nx,abc,1,2\nx,abc,1\n", "row 3: .* does not fill the columns label,"),
        ("label,youtube_id,time_start,time_end\nx,abc,1,2,3\n", "row 2: .* does not fill the columns"),
        ("label,youtube_id,time_start,time_end\n,abc,1,2\n", "row 2: .* does not fill the columns"),
        ("label,youtube_id,time_start,time_end\nx,abc,one,2\n", "row 2: .* must be seconds"),
        ("label,label,youtube_id,time_start,time_end\nx,y,abc,1\n", "row 2: .* does not fill the columns"),
        ("label,youtube_id,time_start,time_end\n", "holds no rows"),
        ("label,youtube_id,time_start,time_end\nx,abc,1,2\n", "none of its 1 files exists; looked for abc_000001_0000"),
    ],
)
def test_a_kinetics_csv_that_cannot_be_used_is_refused(tmp_path: Path, text: str, reason: str):
    with pytest.raises(DataError, match=reason):
        read_list(write(tmp_path / "val.csv", text))


# Where the files are


def test_names_are_relative_to_the_data_folder_or_else_to_the_list(tmp_path: Path):
    path = write(tmp_path / "lists/train.csv", "1.mp4,0\n2.mp4,1\n")
    config = ListConfig(train=str(path))
    touch(tmp_path, "lists/1.mp4", "data/2.mp4")
    assert listed(read_set(tmp_path / "data", split="train", lists=config), tmp_path)[0] == ("lists/1.mp4", "0")
    touch(tmp_path, "data/1.mp4")
    assert listed(read_set(tmp_path / "data", split="train", lists=config), tmp_path)[0] == ("data/1.mp4", "0")


def test_a_relative_prefix_is_that_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "here/videos/1.mp4")
    path = write(tmp_path / "l.csv", "1.mp4,a\n")
    monkeypatch.chdir(tmp_path / "here")
    assert os.path.exists(read_list(path, lists=ListConfig(prefix="videos")).samples[0].path)
    with pytest.raises(DataError, match=re.escape(f"lists.prefix 'movies': there is no folder {tmp_path}/here/movies")):
        read_list(path, lists=ListConfig(prefix="movies"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "a.mp4,0\nb.mp4,1\nc.mp4,1\nd.mp4,0\n",
            "of its 4 files exists; looked for {0}/a.mp4, {0}/b.mp4, {0}/c.mp4 and",
        ),
        ("100218 42 134\n", "of its 1 files exists; looked for {0}/100218 (a folder of frames, or with the ending of"),
    ],
)
def test_a_list_of_nothing_that_exists_names_the_first_files_and_the_prefix(tmp_path: Path, text: str, shown: str):
    path = write(tmp_path / "l.txt", text)
    with pytest.raises(DataError, match=re.escape(shown.format(tmp_path)) + ".* as --lists.prefix"):
        read_list(path)


def test_files_that_are_missing_stay_in_the_set(tmp_path: Path):
    videos = read_list(write(touch(tmp_path, "2.mp4") / "l.csv", "1.mp4,0\n2.mp4,1\n3.mp4,0\n"))
    assert [name for name, _ in listed(videos, tmp_path)] == ["1.mp4", "2.mp4", "3.mp4"]


def test_lists_that_the_configuration_names_are_taken(tmp_path: Path):
    touch(tmp_path, "data/1.mp4", "data/2.mp4", "data/3.mp4")
    write(tmp_path / "data/train.csv", "no list")
    train = write(tmp_path / "a.list", "1.mp4 0\n2.mp4 1\n")
    val = write(tmp_path / "b.list", "3.mp4 1\n")
    sets = read_training_sets(tmp_path / "data", lists=ListConfig(train=str(train), val=str(val)))
    assert [listed(part, tmp_path) for part in sets] == [
        [("data/1.mp4", "0"), ("data/2.mp4", "1")],
        [("data/3.mp4", "1")],
    ]


def test_a_named_list_that_is_missing_or_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=re.escape(f"lists.train '{tmp_path}': is a folder, not a list")):
        read_training_sets(tmp_path, lists=ListConfig(train=str(tmp_path)))
    with pytest.raises(DataError, match=re.escape(f"lists.val '{tmp_path}/x': there is no file {tmp_path}/x")):
        read_set(tmp_path, split="val", lists=ListConfig(val=f"{tmp_path}/x"))


def test_two_lists_of_one_part_are_refused(tmp_path: Path):
    write(tmp_path / "train.csv", "")
    write(tmp_path / "train.json", "")
    with pytest.raises(DataError, match=r"holds train\.csv and train\.json: which list is meant\?.*--lists\.train"):
        read_training_sets(tmp_path)


def test_a_list_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"l\.csv cannot be read as a list: No such file"):
        read_list(tmp_path / "l.csv")


# Labels


def test_integer_labels_stand_for_themselves(tmp_path: Path):
    videos = read_list(write(touch(tmp_path, "a.mp4") / "l.csv", "a.mp4,10\nb.mp4,2\n"))
    assert (videos.classes, videos.named) == ([str(i) for i in range(11)], False)
    assert [sample.label for sample in videos.samples] == [10, 2]


def test_integers_among_names_are_names(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    assert read_list(write(tmp_path / "l.csv", "a.mp4,10\nb.mp4,two\n")).classes == ["10", "two"]


NUMBERED = [f"a{i}.mp4,{i}" for i in range(12)]


@pytest.mark.parametrize(("row", "label"), [(5, "1l"), (12, "-1"), (1, "O0"), (3, "2.0"), (4, "+3")])
def test_one_label_among_numbers_that_is_none_is_refused_with_its_row(tmp_path: Path, row: int, label: str):
    rows = NUMBERED.copy()
    rows[row - 1] = f"a{row}.mp4,{label}"
    path = write(touch(tmp_path, "a1.mp4") / "l.csv", "\n".join(rows))
    header = "remove the row if it is a header; " if row == 1 else ""
    message = f"{path}, row {row}: label {label!r} is no class number, but 11 of 12 labels are; {header}mend the label"
    with pytest.raises(DataError, match=re.escape(message)):
        read_list(path)


def test_a_mistake_in_the_first_of_names_without_ending_is_no_header(tmp_path: Path):
    path = write(tmp_path / "l.csv", "v_a,1l\nv_b,2\nv_c,0\n")
    touch(tmp_path, "v_b.avi")
    with pytest.raises(DataError, match="row 1: label '1l' is no class number, but 2 of 3 labels are"):
        read_list(path)


def test_a_mistake_is_named_below_a_header_and_beside_a_label_file(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    path = write(tmp_path / "l.csv", "path,class\na.mp4,0\nb.mp4,1\nc.mp4,x\n")
    with pytest.raises(DataError, match="row 4: label 'x' is no class number, but 2 of 3 labels are; mend"):
        read_list(path)
    write(tmp_path / "classes.txt", "run\njump\n")
    with pytest.raises(DataError, match="row 4: label 'x' is no class number"):
        read_list(path)


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
    assert read_list(path).samples[row - 1].label > 3  # not a training list: it may lack classes


def test_gaps_among_the_numbers_and_classes_with_names_may_lack_samples(tmp_path: Path):
    path = write(touch(tmp_path, "1.mp4") / "train.csv", "1.mp4,0\n2.mp4,3\n")
    assert len(read_set(tmp_path, split="train").classes) == 4
    assert len(read_list(path, lists=ListConfig(labels="k400"), training=True).classes) == 400
    write(path, "1.mp4,0\n2.mp4,8\n")
    assert len(read_list(path, lists=ListConfig(labels="ssv2"), training=True).classes) == 174
    write(path, "1.mp4,1\n2.mp4,4\n")  # counted from 1: 2 of 4
    assert read_list(path, lists=ListConfig(first_label=1), training=True).classes == ["1", "2", "3", "4"]


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
        read_list(path, lists=ListConfig(labels="k400"))
    write(tmp_path / "classes.txt", "a\nb\n")
    with pytest.raises(DataError) as beside:
        read_list(path)
    assert "null" not in str(beside.value)  # nobody gave it


@pytest.mark.parametrize("text", ["b\na\nc d\n", "b\r\na\r\nc d", "\ufeffb\na\nc d\n\n\n", " b\na \nc d\n"])
def test_integer_labels_take_their_names_from_the_file_beside(tmp_path: Path, text: str):
    write(tmp_path / "classes.txt", text)
    videos = read_list(write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,2\ny.mp4,0\n"))
    assert videos.classes == ["b", "a", "c d"]
    assert listed(videos, tmp_path) == [("x.mp4", "c d"), ("y.mp4", "b")]


def test_names_take_their_order_from_the_label_file(tmp_path: Path):
    labels = write(tmp_path / "order.txt", "run\nHolding something\njump\n")
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,Holding [something]\ny.mp4,run\n")
    videos = read_list(path, lists=ListConfig(labels=str(labels)))
    assert videos.classes == ["run", "Holding something", "jump"]
    assert [sample.label for sample in videos.samples] == [1, 0]


def test_a_name_that_the_label_file_lacks_is_refused_with_its_row(tmp_path: Path):
    write(tmp_path / "classes.txt", "run\njump\n")
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,run\ny.mp4,swim\n")
    message = f"{path}, row 2: class 'swim' is not among the 2 of {tmp_path / 'classes.txt'}: run, jump"
    with pytest.raises(DataError, match=re.escape(message)):
        read_list(path)


def test_labels_that_are_neither_packaged_nor_a_file_are_refused(tmp_path: Path):
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,0\n")
    with pytest.raises(DataError, match="labels 'k700': neither k400, ssv1, ssv2 nor a file"):
        read_list(path, lists=ListConfig(labels="k700"))


def test_a_label_map_may_be_a_list_of_names(tmp_path: Path):
    write(tmp_path / "labels.json", '["b", "a"]')
    assert read_list(write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,1\n")).classes == ["b", "a"]


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
        read_list(write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,0\n"))


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
        read_list(write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,0\n"))


def test_a_label_past_the_named_classes_is_refused_with_its_row(tmp_path: Path):
    write(tmp_path / "classes.txt", "a\nb\n")
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "path,label\nx.mp4,0\ny.mp4,2\n")
    message = f"{path}, row 3: label 2, but {tmp_path / 'classes.txt'} names 2 classes"
    with pytest.raises(DataError, match=re.escape(message) + "$"):
        read_list(path)


def test_named_labels_that_seem_to_count_from_1_are_refused_with_advice(tmp_path: Path):
    write(tmp_path / "classes.txt", "a\nb\n")
    path = write(touch(tmp_path, "x.mp4") / "l.csv", "x.mp4,1\ny.mp4,2\n")
    with pytest.raises(DataError, match=r"row 2: label 2, but .* names 2 classes; give --lists\.first_label 1 if"):
        read_list(path)
    videos = read_list(path, lists=ListConfig(first_label=1))
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
        read_list(path, lists=ListConfig(first_label=1))


def test_a_val_list_may_lack_the_lowest_and_highest_labels(tmp_path: Path):
    touch(tmp_path, "1.mp4", "4.mp4")
    write(tmp_path / "train.csv", "1.mp4,0\n2.mp4,1\n3.mp4,2\n")
    write(tmp_path / "val.csv", "4.mp4,1\n")
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == ["0", "1", "2"]
    assert val.samples == [Sample(tmp_path / "4.mp4", 1)]


def test_a_list_of_class_numbers_is_matched_to_names_by_position(tmp_path: Path):
    path = write(touch(tmp_path, "a.mp4") / "val.csv", "a.mp4,2\nb.mp4,0\n")
    videos = read_list(path).relabelled(["x", "y", "z"], source="the checkpoint")
    assert [(sample.label, videos.classes[sample.label]) for sample in videos.samples] == [(2, "z"), (0, "x")]
    with pytest.raises(
        DataError, match=r"label 2 is past the 2 classes of the checkpoint.* need --lists\.first_label 1"
    ):
        read_list(path).relabelled(["x", "y"], source="the checkpoint")


@pytest.mark.parametrize("number", ["20240101", "9" * 5000])
def test_a_label_that_is_no_class_number_is_refused(tmp_path: Path, number: str):
    path = write(touch(tmp_path, "a.mp4") / "val.csv", f"b.mp4,0\na.mp4,{number}\n")
    with pytest.raises(DataError, match=f"row 2: label {number[:20]} is no class number"):
        read_list(path)
    write(tmp_path / "classes.txt", "x\ny\n")
    with pytest.raises(DataError, match=f"row 2: label {number[:20]} is no class number"):
        read_list(path)


# Rows that cannot be used


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("x.mp4,a\ny.mp4 1\n", 2, "path,label"),
        ("path,label\nx.mp4,a,3\n", 2, "path,label"),
        ("x.mp4\n", 1, "path,label"),
        ("x.mp4,a\n\ny.mp4,\n", 3, "path,label"),
        ("x.mp4,a\n,b\n", 2, "path,label"),
        ('x.mp4,a\ny.mp4,"b, c",d\n', 2, "path,label"),
        ("x.mp4 1\ny.mp4\n", 2, "'path label'"),
        ("x.mp4 1\ny.mp4 2 3\n", 2, "'path label'"),
        ("x.mp4\t1\ny.mp4\ta\t3\n", 2, "'path label'"),
        ("10 37 5\n\r\n11 37\n12 30 4\n", 3, "'folder num_frames label'"),
        ("10 37 5\n12 30 4\n13 30 4 5\n", 3, "'folder num_frames label'"),
        ("a 1 37 5\na 1 30 4\nb 30 4\n", 3, "'folder first_frame num_frames label'"),
        ("10 37 5\n12 30 -4\n12 30 4\n", 2, "'folder num_frames label'"),
        (" 1\r\npath,label-c d.mp4 {", 1, "'path label'"),
    ],
)
def test_a_row_with_too_few_or_too_many_values_is_refused_with_its_number(
    tmp_path: Path, text: str, row: int, expected: str
):
    path = write(touch(tmp_path, "x.mp4", "10/1.jpg") / "l.csv", text)
    with pytest.raises(DataError, match=re.escape(f"{path}, row {row}: ") + f".* is not {re.escape(expected)}"):
        read_list(path)


PIECES = ["x.mp4", "b", "-c d.webm", ",", " ", "\t", "\n", "\r\n", "0", "1", "12", '"', "\ufeff", "\udcff", "é", "\0"]
PIECES += ["path,label", KINETICS.splitlines()[0], '[{"id": 3, "template": "x"}]', "{", "99999999999", "inf", "\u2028"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PIECES), max_size=14), st.sampled_from(["l.csv", "l.json"]))
def test_anything_in_a_list_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str], name: str
):
    folder = touch(tmp_path_factory.mktemp("lists"), "x.mp4", "b/1.jpg")
    path = write(folder / name, "".join(pieces).encode("utf-8", "surrogateescape"))
    message = ""
    try:
        assert read_list(path).samples
    except DataError as error:
        message = str(error)
    assert not message or (str(path) in message and "\n" not in message)


def test_a_quotation_mark_that_is_not_closed_is_refused_with_its_row(tmp_path: Path):
    path = write(touch(tmp_path, "x.mp4") / "l.csv", 'x.mp4,a\n"y.mp4,b\n' + "z.mp4,c\n" * 1000)
    with pytest.raises(
        DataError, match=re.escape(f"{path}, row 2: ") + r".{100,140}\.\.\. holds a line break; is a quot"
    ):
        read_list(path)


def test_a_folder_listed_with_no_frames_is_refused_with_its_row(tmp_path: Path):
    path = write(tmp_path / "l.txt", "10 37 5\n12 0 4\n")
    with pytest.raises(DataError, match=re.escape(f"{path}, row 2: 12 is listed with 0 frames; remove the row")):
        read_list(path)


@pytest.mark.parametrize("text", ["", "\n\n", "path,label\n", "path label\n", "\ufeff"])
def test_a_list_without_rows_is_refused(tmp_path: Path, text: str):
    path = write(tmp_path / "l.csv", text)
    with pytest.raises(DataError, match=re.escape(f"{path} holds no rows; expected one path,label a line")):
        read_list(path)


@pytest.mark.parametrize("data", [b"\x00\x00\x00 ftypisom\xff\xfe", b"\x89PNG\r\n\x00", "x.mp4,a\n".encode("utf-16")])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes):
    path = write(tmp_path / "video.mp4", data)
    with pytest.raises(DataError, match=re.escape(f"{path} cannot be read as a list: it is no text in UTF-8")):
        read_training_sets(path)


def test_a_zero_byte_far_down_is_refused_with_its_row(tmp_path: Path):
    path = write(tmp_path / "l.csv", "x.mp4,a\n" * 10_000 + "\0.mp4,a\n")
    with pytest.raises(DataError, match=r"row 10001: .* is no file name"):
        read_list(path)


def test_a_row_that_stands_twice_is_taken_once_and_counted(tmp_path: Path):
    videos = read_list(write(touch(tmp_path, "1.mp4") / "l.csv", "1.mp4,0\n2.mp4,1\n./1.mp4,00\n1.mp4,0\n"))
    assert listed(videos, tmp_path) == [("1.mp4", "0"), ("2.mp4", "1")]
    assert videos.num_duplicates == 2


def test_a_file_with_two_labels_is_refused_with_both_rows(tmp_path: Path):
    path = write(touch(tmp_path, "1.mp4") / "l.csv", "path,label\n1.mp4,a\n2.mp4,b\n1.mp4,b\n")
    message = f"{path}, row 4: {tmp_path}/1.mp4 has label b, but a in row 2; which one is right?"
    with pytest.raises(DataError, match=re.escape(message)):
        read_list(path)


def test_a_video_in_train_and_val_is_refused_whatever_links_lead_to_it(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "here").symlink_to(tmp_path)
    write(tmp_path / "train.csv", "a.mp4,x\nb.mp4,y\n")
    for name in ("./a.mp4", "link.mp4", "here/a.mp4"):
        write(tmp_path / "val.csv", f"{name},x\n")
        with pytest.raises(DataError, match=rf"1 videos are in both train and val, such as {tmp_path}/a\.mp4"):
            read_training_sets(tmp_path)


def test_parts_of_one_folder_of_frames_are_different_videos(tmp_path: Path):
    touch(tmp_path, "a/1.jpg")
    write(tmp_path / "train.txt", "a 1 10 0\na 11 10 1\n")
    write(tmp_path / "val.txt", "a 21 10 0\n")
    train, val = read_training_sets(tmp_path)
    assert (len(train.samples), len(val.samples)) == (2, 1)
    write(tmp_path / "val.txt", "./a 11 10 1\n")
    with pytest.raises(DataError, match="1 videos are in both train and val"):
        read_training_sets(tmp_path)


@pytest.mark.parametrize("between", [",", " "])
def test_a_hundred_thousand_rows_are_read(tmp_path: Path, between: str):
    touch(tmp_path, "videos/clip number 7.mp4")
    rows = "".join(f"videos/clip number {i}.mp4{between}{i % 400}\n" for i in range(100_000))
    videos = read_list(write(tmp_path / "train.csv", rows))
    assert (len(videos.samples), len(videos.classes), videos.num_duplicates) == (100_000, 400, 0)
    assert videos.samples[-1] == Sample(tmp_path / "videos/clip number 99999.mp4", 399)


@pytest.mark.parametrize("name", ["train.json", "train.txt"])
def test_a_list_that_nests_too_deep_or_counts_too_far_is_one_line(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text("[" * 100_000 if name.endswith("json") else f"clip {'9' * 5000} 0\n")
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}"):
        read_list(path)


# Numbers beside other classes

FOLDERS = ["0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"]  # in the order of text


def numbered_list(root: Path, *numbers: int, **options: Any) -> LabelledSet:
    path = write(touch(root, "a0.mp4") / "l.csv", "".join(f"a{i}.mp4,{number}\n" for i, number in enumerate(numbers)))
    return read_list(path, lists=ListConfig(**options))


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


# Stretches


def seconds_long(root: Path, name: str, num_frames: int) -> str:
    """A video of 25 frames a second."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    write_video(root / name, moving_frames(num_frames, height=16, width=16))
    return name


def test_kinetics_times_are_cut_out_of_whole_videos_and_said(tmp_path: Path):
    whole = seconds_long(tmp_path, "val/abc-_def.mp4", 25 * 21)
    path = write(touch(tmp_path, "xyz_000003_000013.mp4") / "val.csv", KINETICS)
    videos = read_list(path)
    assert [sample.path for sample in videos.samples] == [
        Stretch(tmp_path / whole, 10, 20),
        tmp_path / "xyz_000003_000013.mp4",
    ]
    assert videos.note == (
        "val.csv: 1 of its files are named by their times and taken whole, 1 stretches are cut out of longer files"
    )


def test_a_kinetics_file_that_is_as_long_as_its_stretch_is_cut_already(tmp_path: Path):
    """It is named without its times, but 10 to 20 s are not in a file of 10 s."""
    cut = seconds_long(tmp_path, "abc-_def.mp4", 25 * 10)
    videos = read_list(write(tmp_path / "val.csv", KINETICS))
    assert videos.samples[0].path == tmp_path / cut
    assert videos.note == "val.csv: 1 are not, but as long as their stretch, and taken whole"


def test_activitynet_files_are_found_anywhere_below_with_or_without_v_(tmp_path: Path):
    segments = [{"segment": [1, 2], "label": "run"}, {"segment": [3, 4.5], "label": "jump"}]
    database = {name: {"subset": "training", "annotations": segments} for name in ("a", "b")}
    path = write(touch(tmp_path, "x/v_a.mp4", "b.mkv") / "set.json", json.dumps({"database": database}))
    assert [sample.path for sample in read_list(path).samples] == [
        Stretch(tmp_path / file, *bounds) for file in ("x/v_a.mp4", "b.mkv") for bounds in ((1, 2), (3, 4.5))
    ]


def test_one_file_of_several_parts_is_the_list_of_each(tmp_path: Path):
    annotations = [{"segment": [1, 2], "label": "run"}, {"segment": [3, 4], "label": "jump"}]
    names = {"a": "training", "b": "validation", "c": "testing"}
    database = {
        name: {"subset": subset, "annotations": annotations if name != "c" else []} for name, subset in names.items()
    }
    path = write(touch(tmp_path, "a.mp4", "b.mp4", "c.mp4") / "set.json", json.dumps({"database": database}))
    wanted = [[Stretch(tmp_path / name, 1, 2), Stretch(tmp_path / name, 3, 4)] for name in ("a.mp4", "b.mp4")]
    for root, lists in ((path, None), (tmp_path, ListConfig(train=str(path), val=str(path)))):
        sets = read_training_sets(root, lists=lists)
        assert [[sample.path for sample in part.samples] for part in sets] == wanted
    assert evaluation_split(path) == "val"
    assert [sample.path for sample in read_set(path, split="val").samples] == wanted[1]


def test_thumos_files_of_a_class_each_are_the_parts_that_it_trains_and_tests_on(tmp_path: Path):
    for part, video in (("val", "video_validation_01"), ("test", "video_test_01")):
        touch(tmp_path, f"{video}.mp4")
        for number, name in enumerate(["Diving", "Golf", "Ambiguous"]):
            write(tmp_path / f"annotation/{name}_{part}.txt", f"{video} {number}.5 {number + 1}.0\n")
    train, val = read_training_sets(tmp_path)
    assert (train.classes, val.classes) == (["Diving", "Golf"], ["Diving", "Golf"])
    assert [sample.path for sample in train.samples] == [
        Stretch(tmp_path / "video_validation_01.mp4", number + 0.5, number + 1) for number in range(2)
    ]
    assert {str(sample.path.file.name) for sample in val.samples if isinstance(sample.path, Stretch)} == {
        "video_test_01.mp4"
    }
    config = ListConfig(train=str(tmp_path / "annotation"), prefix=str(tmp_path))
    assert read_set(tmp_path, split="train", lists=config).samples == train.samples


def test_uploads_of_label_studio_are_found_with_or_without_their_prefix(tmp_path: Path):
    tasks = [
        {
            "data": {"video": f"/data/upload/1/{name}"},
            "annotations": [{"result": [{"value": {"start": 1, "end": 2, "labels": ["nod"]}}]}],
        }
        for name in ("0123abcd-a.mp4", "89abcdef-b.mp4")
    ]
    path = write(touch(tmp_path, "0123abcd-a.mp4", "in/b.mp4") / "l.json", json.dumps(tasks))
    assert [sample.path for sample in read_list(path).samples] == [
        Stretch(tmp_path / "0123abcd-a.mp4", 1, 2),
        Stretch(tmp_path / "in/b.mp4", 1, 2),
    ]


@pytest.mark.parametrize(
    ("first", "note"), [(1, "count from 1, as no row says 0"), (0, "count from 0, as a row says 0")]
)
def test_parts_of_folders_that_turn_out_to_be_videos_are_frames_of_them(tmp_path: Path, first: int, note: str):
    path = write(touch(tmp_path, "jumping/a.mp4") / "l.txt", f"jumping/a {first} 17 0\njumping/a {first + 17} 20 1\n")
    videos = read_list(path)
    assert [sample.path for sample in videos.samples] == [
        Stretch(tmp_path / "jumping/a.mp4", 0, 17, "frames"),
        Stretch(tmp_path / "jumping/a.mp4", 17, 37, "frames"),
    ]
    assert note in videos.note


def test_one_stretch_with_two_labels_is_refused_and_partial_overlaps_are_counted(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    header = "video,label,start,end\n"
    with pytest.raises(DataError, match=r"row 3: .*a\.mp4 \(1 to 2 s\) has label jump, but run in row 2"):
        read_list(write(tmp_path / "l.csv", f"{header}a.mp4,run,1,2\na.mp4,jump,1.0,0:02\n"))
    rows = "a.mp4,run,0,10\na.mp4,run,5,6\na.mp4,jump,9,20\na.mp4,jump,20,30\na.mp4,run,30,31\n"
    videos = read_list(write(tmp_path / "l.csv", header + rows))
    assert videos.note.startswith(
        f"2 of 5 stretches share frames with one of another label, such as {tmp_path}/a.mp4 (0 to 10 s) (run) with "
        "9 to 20 s (jump)"
    )


def test_a_repeated_stretch_is_taken_once(tmp_path: Path):
    path = write(touch(tmp_path, "a.mp4") / "l.csv", "video,label,start,end\na.mp4,x,1,2\na.mp4,x,1.0,2\na.mp4,y,3,4\n")
    assert (len(read_list(path).samples), read_list(path).num_duplicates) == (2, 1)


# Semicolons, and columns that are turned round


@pytest.mark.parametrize(
    "text",
    [
        "1;jump high\n2;run\n",
        "1;run, slowly\n2;run\n3;jump\n",
        "1;jump\n2;run\n",
        "id;label\n1;jump\n2;run\n",
        "path;label\r\n1.mp4;jump high\r\n2.mp4;run\r\n",
        "sep=;\r\npath;label\r\n1.mp4;jump high\r\n2.mp4;run\r\n",
        "\ufeffVideo;Class\n1.mp4; jump, high\n2.mp4;run\n",
        '"1.mp4";"jump; high"\n"2.mp4";"run"\n',
        "1.mp4;0\n2.mp4;1\n",
        "1.mp4;jump, high\n",
    ],
)
def test_semicolons_may_stand_for_commas(tmp_path: Path, text: str):
    rows = read_rows(write(tmp_path / "l.csv", text))
    assert [row.name.removesuffix(".mp4") for row in rows] == ["1", "2", "3"][: len(rows)]
    assert all(";" not in row.name and row.label in text for row in rows)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.mp4 x;y\nb.mp4 z;w\n", "a.mp4"),
        ("a.mp4,x;y\nb.mp4,z;w\n", "a.mp4"),
        ("a;b.mp4,run\n", "a;b.mp4"),
        ("a;b.mp4 run\nc;d.mp4 jump\n", "a;b.mp4"),
        ("x.mp4;y.mp4,3\n", "x.mp4;y.mp4"),
    ],
)
def test_a_semicolon_in_a_name_or_a_label_is_a_part_of_it(tmp_path: Path, text: str, name: str):
    assert read_rows(write(tmp_path / "l.csv", text))[0].name == name


def test_a_row_that_lacks_its_semicolon_is_named(tmp_path: Path):
    path = write(touch(tmp_path, "1.mp4") / "l.csv", "1.mp4;run\n2.mp4;\n")
    with pytest.raises(DataError, match=r"row 2: .* is not path;label: two values, both filled"):
        read_list(path)


@pytest.mark.parametrize(
    "text",
    [
        "label,path\nrun,1.mp4\njump,2.mp4\n",
        "Class;Video\nrun;1.mp4\njump;2.mp4\n",
        "label,id\nrun,1.mp4\njump,2.mp4\n",
        "run,1.mp4\njump,2.mp4\n",
    ],
)
def test_labels_may_stand_before_names(tmp_path: Path, text: str):
    videos = read_list(write(touch(tmp_path, "1.mp4") / "l.csv", text))
    assert listed(videos, tmp_path) == [("1.mp4", "run"), ("2.mp4", "jump")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[{"vid_name": "1", "label": 3, "start_frame": 0}]',
            "entry 1 has no id, but looks like Diving48, with the keys",
        ),
        ('{"images": [], "annotations": [], "categories": []}', "looks like COCO, with the keys images, annotations"),
        ('{"x1": {"annotations": {}, "subset": "train"}}', "looks like Kinetics, with the keys x1"),
        ('{"a": 1}', "is not a list of entries, but has the keys a; expected the list of Something-Something V2"),
    ],
)
def test_the_json_of_another_set_is_told(tmp_path: Path, text: str, says: str):
    with pytest.raises(DataError, match=re.escape(says) + ".* as a csv of path,label"):
        read_list(write(tmp_path / "l.json", text))


# Two Unicode forms of one name

COMPOSED, DECOMPOSED = "p\u00e9tanque \u00e0 deux", "pe\u0301tanque a\u0300 deux"


@pytest.mark.parametrize(("written", "there"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_file_is_found_by_its_name_in_the_other_form(tmp_path: Path, written: str, there: str):
    touch(tmp_path, f"{there}/{there}.mp4", f"{there}/b.webm", f"{there}/c/0.jpg")
    path = write(tmp_path / "l.csv", f"{written}/{written}.mp4,a\n{written}/b.webm,b\n")
    assert all(os.path.exists(sample.path) for sample in read_list(path).samples)
    assert all(os.path.exists(s.path) for s in read_list(write(path, f"{written}/b,a\n")).samples)
    assert all(os.path.exists(s.path) for s in read_list(write(path, f"{written}/c 1 0\n")).samples)


def test_two_forms_of_a_label_are_one_class(tmp_path: Path):
    touch(tmp_path, "1.mp4", "3.mp4")
    write(tmp_path / "train.csv", f"1.mp4,{COMPOSED}\n2.mp4,{DECOMPOSED}\n4.mp4,run\n")
    write(tmp_path / "val.csv", f"3.mp4,{DECOMPOSED}\n")
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == [COMPOSED, "run"]
    write(tmp_path / "classes.txt", f"run\n{DECOMPOSED}\n")
    assert [sample.label for sample in read_set(tmp_path, split="train").samples] == [1, 1, 0]


def test_two_forms_of_a_class_folder_are_one_class(tmp_path: Path):
    touch(
        tmp_path, f"train/{COMPOSED}/1.mp4", f"train/{DECOMPOSED}/2.mp4", "train/run/3.mp4", f"val/{DECOMPOSED}/4.mp4"
    )
    train, val = read_training_sets(tmp_path)
    assert train.classes == val.classes == [COMPOSED, "run"]
    assert [sample.label for sample in train.samples] == [0, 0, 1]
    old = ["run", DECOMPOSED]  # of a checkpoint
    assert [s.label for s in train.relabelled(old, source="the checkpoint").samples] == [1, 1, 0]


def test_labels_that_were_kept_from_being_formulas_are_read_back(tmp_path: Path):
    videos = read_list(write(touch(tmp_path, "=a.mp4") / "l.csv", "./=a.mp4,'=run\nb.mp4,'-jump\nc.mp4,''+x\n"))
    assert listed(videos, tmp_path) == [("=a.mp4", "=run"), ("b.mp4", "-jump"), ("c.mp4", "'+x")]
