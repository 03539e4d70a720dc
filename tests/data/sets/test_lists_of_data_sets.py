"""The lists that data sets come with: Kinetics, Something-Something, folders of frames."""

import json
import re
from pathlib import Path

import pytest
from list_files import KINETICS, listed, touch, write

from morphmlp.config import ListConfig
from morphmlp.data.media.sources import FrameFolder
from morphmlp.data.sets.labelled import Sample
from morphmlp.data.sets.list_rows import ListRow, read_rows
from morphmlp.data.sets.read import read_set
from morphmlp.errors import DataError


def test_kinetics_rows_of_the_published_val_list_are_read(tmp_path: Path):
    path = write(tmp_path / "val.csv", "0wR5jVB-WPk.mp4,341\r\n3caPS4FHFF8.mp4,341\r\n-x_y.mp4,7\r\n")
    assert read_rows(path) == [
        ListRow("row 1", "0wR5jVB-WPk.mp4", "341"),
        ListRow("row 2", "3caPS4FHFF8.mp4", "341"),
        ListRow("row 3", "-x_y.mp4", "7"),
    ]


def test_a_list_of_frame_folders_states_their_counts(tmp_path: Path):
    (tmp_path / "48032").mkdir()
    videos = read_set(write(tmp_path / "train.txt", "100218 42 134\n48032 57 72\n"))
    assert videos.samples == [
        Sample(FrameFolder(tmp_path / "100218", None, 42), 134),
        Sample(FrameFolder(tmp_path / "48032", None, 57), 72),
    ]
    assert (videos.kind, len(videos.classes)) == ("video", 135)


def test_a_list_of_parts_of_frame_folders_states_their_first_frames(tmp_path: Path):
    (tmp_path / "jumping/a 1").mkdir(parents=True)
    videos = read_set(write(tmp_path / "l.txt", "jumping/a 1 1 17 0\njumping/a 1 18 20 1\nrunning/0001\t1\t15\t1\n"))
    assert videos.samples == [
        Sample(FrameFolder(tmp_path / "jumping/a 1", 1, 17), 0),
        Sample(FrameFolder(tmp_path / "jumping/a 1", 18, 20), 1),
        Sample(FrameFolder(tmp_path / "running/0001", 1, 15), 1),
    ]


def test_where_the_folders_of_a_list_are_videos_the_counts_do_not_matter(tmp_path: Path):
    touch(tmp_path, "videos/48032.webm")
    path = write(tmp_path / "train.txt", "100218 42 1\n48032 57 0\n")
    videos = read_set(path, lists=ListConfig(prefix=str(tmp_path / "videos")))
    assert listed(videos, tmp_path) == [("videos/100218.webm", "1"), ("videos/48032.webm", "0")]


@pytest.mark.parametrize("text", ["v_a,x\nv_b.c,y\n", "v_a x\nv_b.c y\n"])
@pytest.mark.parametrize(("there", "ending"), [("v_b.c.avi", ".avi"), ("v_b.c/0.jpg", ""), ("v_a.mp4", ".mp4")])
def test_names_without_ending_take_that_of_the_first_file_that_exists(
    tmp_path: Path, text: str, there: str, ending: str
):
    videos = read_set(write(touch(tmp_path, there) / "l.csv", text))
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
    videos = read_set(ssv2(touch(tmp_path, "11.webm"), templates=templates, labels=labels))
    assert videos.classes == ["Approaching something", "Holding something next to something", "Never shown"]
    assert videos.samples == [Sample(tmp_path / "10.webm", 1), Sample(tmp_path / "11.webm", 0)]


def test_something_something_v2_is_read_with_packaged_labels_and_frame_folders(tmp_path: Path):
    path = ssv2(touch(tmp_path, "10/000001.jpg"), templates=["Attaching [something] to [something]"])
    videos = read_set(path, lists=ListConfig(labels="ssv2"))
    assert len(videos.classes) == 174
    assert videos.samples == [Sample(tmp_path / "10", 1)]


def test_a_test_list_without_labels_says_so(tmp_path: Path):
    path = ssv2(touch(tmp_path, "10.webm"), templates=["Holding [something]", None])
    message = f"{path}, entry 2 (id 11) has no template, which tells its class; a test list without labels cannot"
    with pytest.raises(DataError, match=re.escape(message)):
        read_set(path)


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
        read_set(path)


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
    videos = read_set(path, lists=ListConfig(prefix=str(touch(tmp_path / "videos", there))))
    assert listed(videos, tmp_path / "videos") == [
        (there, "riding a bike"),
        ("xyz_000003_000013.mp4", "massaging, legs"),  # not there: it counts as broken when it is read
    ]


def test_of_two_kinetics_files_with_one_name_that_of_the_split_and_class_is_taken(tmp_path: Path):
    clip = "abc-_def_000010_000020.mp4"
    names = [f"train/riding_a_bike/{clip}", f"val/hugging/{clip}", f"val/riding_a_bike/{clip}"]
    videos = read_set(write(touch(tmp_path, *names) / "val.csv", KINETICS))
    assert listed(videos, tmp_path)[0][0] == names[2]


def test_kinetics_labels_take_their_numbers_from_the_packaged_names(tmp_path: Path):
    path = write(
        touch(tmp_path, "abc-_def_000010_000020.mp4") / "val.csv", KINETICS.replace('"massaging, legs"', "marching")
    )
    videos = read_set(path, lists=ListConfig(labels="k400"))
    assert [sample.label for sample in videos.samples] == [0, 1]
    assert (len(videos.classes), videos.classes[:2]) == (400, ["riding a bike", "marching"])


def test_links_that_run_in_a_circle_below_a_prefix_are_followed_once(tmp_path: Path):
    touch(tmp_path, "disk/abc-_def_000010_000020.mp4")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/val").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tmp_path / "videos")
    (tmp_path / "disk/self").symlink_to("self")
    videos = read_set(write(tmp_path / "val.csv", KINETICS), lists=ListConfig(prefix=str(tmp_path / "videos")))
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
        read_set(write(tmp_path / "val.csv", text))
