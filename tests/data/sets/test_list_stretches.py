"""Lists whose rows are parts of files."""

import json
from pathlib import Path

import pytest
from encoding import moving_frames, write_video
from list_files import KINETICS, touch, write

from morphmlp.config import ListConfig
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.sets.read import evaluation_split, read_set, read_training_sets
from morphmlp.errors import DataError


def seconds_long(root: Path, name: str, num_frames: int) -> str:
    """A video of 25 frames a second."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    write_video(root / name, moving_frames(num_frames, height=16, width=16))
    return name


def test_kinetics_times_are_cut_out_of_whole_videos_and_said(tmp_path: Path):
    whole = seconds_long(tmp_path, "val/abc-_def.mp4", 25 * 21)
    path = write(touch(tmp_path, "xyz_000003_000013.mp4") / "val.csv", KINETICS)
    videos = read_set(path)
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
    videos = read_set(write(tmp_path / "val.csv", KINETICS))
    assert videos.samples[0].path == tmp_path / cut
    assert videos.note == "val.csv: 1 are not, but as long as their stretch, and taken whole"


def test_activitynet_files_are_found_anywhere_below_with_or_without_v_(tmp_path: Path):
    segments = [{"segment": [1, 2], "label": "run"}, {"segment": [3, 4.5], "label": "jump"}]
    database = {name: {"subset": "training", "annotations": segments} for name in ("a", "b")}
    path = write(touch(tmp_path, "x/v_a.mp4", "b.mkv") / "set.json", json.dumps({"database": database}))
    assert [sample.path for sample in read_set(path).samples] == [
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
    assert [sample.path for sample in read_set(path).samples] == [
        Stretch(tmp_path / "0123abcd-a.mp4", 1, 2),
        Stretch(tmp_path / "in/b.mp4", 1, 2),
    ]


@pytest.mark.parametrize(
    ("first", "note"), [(1, "count from 1, as no row says 0"), (0, "count from 0, as a row says 0")]
)
def test_parts_of_folders_that_turn_out_to_be_videos_are_frames_of_them(tmp_path: Path, first: int, note: str):
    path = write(touch(tmp_path, "jumping/a.mp4") / "l.txt", f"jumping/a {first} 17 0\njumping/a {first + 17} 20 1\n")
    videos = read_set(path)
    assert [sample.path for sample in videos.samples] == [
        Stretch(tmp_path / "jumping/a.mp4", 0, 17, "frames"),
        Stretch(tmp_path / "jumping/a.mp4", 17, 37, "frames"),
    ]
    assert note in videos.note


def test_one_stretch_with_two_labels_is_refused_and_partial_overlaps_are_counted(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    header = "video,label,start,end\n"
    with pytest.raises(DataError, match=r"row 3: .*a\.mp4 \(1 to 2 s\) has label jump, but run in row 2"):
        read_set(write(tmp_path / "l.csv", f"{header}a.mp4,run,1,2\na.mp4,jump,1.0,0:02\n"))
    rows = "a.mp4,run,0,10\na.mp4,run,5,6\na.mp4,jump,9,20\na.mp4,jump,20,30\na.mp4,run,30,31\n"
    videos = read_set(write(tmp_path / "l.csv", header + rows))
    assert videos.note.startswith(
        f"2 of 5 stretches share frames with one of another label, such as {tmp_path}/a.mp4 (0 to 10 s) (run) with "
        "9 to 20 s (jump)"
    )


def test_a_repeated_stretch_is_taken_once(tmp_path: Path):
    path = write(touch(tmp_path, "a.mp4") / "l.csv", "video,label,start,end\na.mp4,x,1,2\na.mp4,x,1.0,2\na.mp4,y,3,4\n")
    assert (len(read_set(path).samples), read_set(path).num_duplicates) == (2, 1)
