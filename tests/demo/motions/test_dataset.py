"""The data set of rendered motions: the same from the same seed, gone on with after a stop, nothing half-written."""

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
import tiny

from morphmlp.demo.motions import dataset
from morphmlp.demo.motions.dataset import MANIFEST, write_motions
from morphmlp.demo.motions.render import render_motion
from morphmlp.errors import DataError

PAIR = ("right", "left")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_motions(tmp_path_factory.mktemp("motions") / "set", train=2, val=1, motions=PAIR, workers=1)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_set_is_class_folders_of_both_parts(written: Path):
    clips = [f"train/{name}/{number:04d}.mp4" for name in PAIR for number in range(2)]
    clips += [f"val/{name}/0000.mp4" for name in PAIR]
    assert sorted(contents(written)) == sorted([*clips, MANIFEST])
    assert not (written / ".unfinished").exists()


def test_a_file_is_the_clip_of_its_part_motion_and_number(written: Path):
    clip = render_motion("left", np.random.default_rng([0, 1, 1]))  # train, motion 1, clip 1, with seed 0
    with av.open(str(written / "train" / "left" / "0001.mp4")) as container:
        frames = list(container.decode(video=0))
    assert all(frame.key_frame for frame in frames)
    decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
    assert decoded.shape == clip.shape
    assert np.abs(decoded.astype(float) - clip).mean() < 10


def test_processes_write_the_same_files_and_tell_what_is_done(written: Path, tmp_path: Path):
    told: list[tuple[int, int]] = []
    progress = lambda done, total: told.append((done, total))  # noqa: E731
    again = write_motions(tmp_path / "set", train=2, val=1, motions=PAIR, workers=2, progress=progress)
    assert contents(again) == contents(written)
    assert told == [(done, 6) for done in range(1, 7)]


def test_another_seed_gives_other_clips(written: Path, tmp_path: Path):
    other = write_motions(tmp_path / "set", train=2, val=1, motions=PAIR, seed=1, workers=1)
    assert contents(other)["train/left/0000.mp4"] != contents(written)["train/left/0000.mp4"]


def test_a_stopped_set_is_gone_on_with(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    encode, paths = dataset.encode, []

    def stop_at_the_third(path: Path, clip: np.ndarray, **options: int) -> None:
        encode(path, clip, **options)
        paths.append(path)
        if len(paths) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "encode", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        write_motions(tmp_path / "set", train=2, val=1, motions=PAIR, workers=1)
    assert len([name for name in contents(tmp_path / "set") if name.startswith(("train", "val"))]) == 2
    (tmp_path / "set" / "train" / "right" / "0000.mp4").write_bytes(b"")  # as a power failure may leave it
    write_motions(tmp_path / "set", train=2, val=1, motions=PAIR, workers=1)
    assert len(paths) == 3 + 5
    assert contents(tmp_path / "set") == contents(written)


def test_a_folder_of_something_else_is_refused_and_left_alone(written: Path, tmp_path: Path):
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(DataError, match=r"something else than rendered motions; give another folder"):
        write_motions(tmp_path, train=1, val=1)
    assert (tmp_path / "holiday.txt").read_text() == "mine"
    with pytest.raises(DataError, match="is a file"):
        write_motions(tmp_path / "holiday.txt", train=1, val=1)
    with pytest.raises(DataError, match=r"rendered with another seed and train;"):
        write_motions(written, train=1, val=1, motions=PAIR, seed=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 0}, "train=0, val=8: give a seed of 0 or more, 1 to 10,000 clips a motion"),
        ({"val": 10_001}, "val=10001"),
        ({"seed": -1}, "seed=-1"),
        ({"motions": ["up", "sideways"]}, "'sideways' is unknown; known: right, left"),
    ],
)
def test_wrong_arguments_are_named_with_what_is_allowed(arguments: dict, message: str, tmp_path: Path):
    with pytest.raises(DataError, match=message):
        write_motions(tmp_path / "set", **arguments)
    assert not os.listdir(tmp_path)


def test_the_verb_writes_motions_and_says_what_came_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset, "MOTIONS", PAIR)
    done = tiny.run_command("demo", "--motions", tmp_path / "set", "--clips", 2, "--seed", 5, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"data": str(tmp_path / "set"), "motions": 2, "train": 4, "val": 16}
    assert json.loads((tmp_path / "set" / MANIFEST).read_text())["seed"] == 5


def test_clips_of_the_demo_itself_are_refused_in_one_line(tmp_path: Path):
    refused = tiny.run_command("demo", "--clips", 2, "--out", tmp_path / "demo")
    assert refused.returncode == 1
    assert refused.stderr.strip() == "error: --clips 2 is for --motions DIR or --start DIR; leave it out, or give one"
    assert not os.listdir(tmp_path)
