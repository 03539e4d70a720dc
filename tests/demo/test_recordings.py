"""Long recordings: reproducible, continuous, and with a truth that is right to the frame."""

import csv
from pathlib import Path

import numpy as np
import pytest

from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import probe, read_frames
from morphmlp.demo import recordings
from morphmlp.demo.recordings import render_recording, write_recordings
from morphmlp.demo.scenes import CLASSES
from morphmlp.demo.synthetic import FPS, FRAME_SIZE, LONGEST, SHORTEST
from morphmlp.errors import DataError
from morphmlp.files import UNFINISHED


def test_a_recording_depends_on_its_seed_alone():
    frames, actions = render_recording(3, num_actions=2)
    again, same_actions = render_recording(3, num_actions=2)
    assert frames.dtype == np.uint8
    assert frames.shape[1:] == (*FRAME_SIZE, 3)
    assert np.array_equal(frames, again)
    assert actions == same_actions
    assert render_recording(4, num_actions=2)[1] != actions


def test_actions_last_as_long_as_clips_and_pauses_lie_between_them():
    frames, actions = render_recording(0, num_actions=12, size=(16, 16))
    edges = [0, *(round(FPS * time) for action in actions for time in (action.start_s, action.end_s)), len(frames)]
    lengths = np.diff(edges)
    assert all(SHORTEST <= length <= LONGEST for length in lengths[1::2])
    assert all(recordings.PAUSE[0] <= length <= recordings.PAUSE[1] for length in lengths[::2])
    assert {action.label for action in actions} <= set(CLASSES)
    assert len({action.label for action in actions}) > 3


def test_something_bright_is_there_during_the_actions_only():
    frames, actions = render_recording(5, num_actions=4)
    times = np.arange(len(frames)) / FPS + 0.5 / FPS
    acting = np.array([any(action.start_s <= time < action.end_s for action in actions) for time in times])
    # Against the still scene, that of the median over time, an action changes many pixels much.
    changed = (np.abs(frames.astype(int) - np.median(frames[~acting], axis=0)).max(axis=3) > 90).mean(axis=(1, 2))
    assert changed[~acting].max() < changed[acting].max() / 5
    assert np.mean(changed[acting] > changed[~acting].max()) > 0.9


def test_the_list_names_the_stretches_of_files_that_can_be_read(tmp_path: Path):
    root = write_recordings(tmp_path / "set", train=1, val=2, num_actions=2, seed=1)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        *("train", "train.csv", "train/recording_0001.mp4"),
        *("val", "val.csv", "val/recording_0001.mp4", "val/recording_0002.mp4"),
    ]
    rows = list(csv.DictReader((root / "val.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["video"] for row in rows] == ["val/recording_0001.mp4"] * 2 + ["val/recording_0002.mp4"] * 2
    frames, actions = render_recording(recordings._recording_seed("val", 2, seed=1), num_actions=2)
    assert [row["label"] for row in rows[2:]] == [action.label for action in actions]
    path = root / rows[2]["video"]
    assert probe(path).num_frames == len(frames)
    stretch = Stretch(path, float(rows[2]["start"]), float(rows[2]["end"]))
    first = read_frames(stretch, [0])[0]
    assert np.abs(first.astype(int) - frames[round(FPS * actions[0].start_s)]).mean() < 8


def test_a_set_replaces_an_earlier_one_and_leaves_other_folders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recordings, "encode", lambda path, frames, **_: path.touch())
    monkeypatch.setattr(recordings, "FRAME_SIZE", (16, 16))
    for count in (2, 1):
        write_recordings(tmp_path / "set", train=count, val=1, num_actions=1)
    assert len(list((tmp_path / "set" / "train").iterdir())) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.txt").touch()
    with pytest.raises(DataError, match="holds something else than rendered recordings"):
        write_recordings(tmp_path / "mine")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recordings, "encode", fail)
    with pytest.raises(OSError, match="No space left"):
        write_recordings(tmp_path / "set", train=1, val=1, num_actions=1)
    assert (tmp_path / "set" / "train" / "recording_0001.mp4").exists()
    assert not list(tmp_path.rglob(f"*{UNFINISHED}"))


def test_wrong_numbers_are_named(tmp_path: Path):
    with pytest.raises(DataError, match="num_actions=0"):
        render_recording(0, num_actions=0)
    with pytest.raises(DataError, match="'val': 0"):
        write_recordings(tmp_path / "set", val=0)


def test_no_two_recordings_share_a_scene():
    seeds = [
        recordings._recording_seed(split, n, seed=s) for s in (0, 1) for split in ("train", "val") for n in (1, 9999)
    ]
    assert len(set(seeds)) == len(seeds)
    assert recordings._recording_seed("val", 7, seed=1) == 30007
