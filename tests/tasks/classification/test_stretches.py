"""The command line on lists of stretches: train, evaluate and check-data know which part of a recording is meant."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from encoding import write_video
from tiny import OPTIONS, files_below, read_log, run_command

from morphmlp.config import SplitConfig
from morphmlp.data.media.sources import state_of
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import read_frames
from morphmlp.data.sets.background import NOTHING
from morphmlp.data.sets.read import read_set, read_training_sets
from morphmlp.demo.synthetic import write_dataset


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings of two rendered videos after each other, with two seconds of black around each."""
    root = tmp_path_factory.mktemp("recordings")
    videos = write_dataset(tmp_path_factory.mktemp("clips") / "set", train_per_class=4, val_per_class=1)
    folders = sorted(path for path in (videos / "train").iterdir())[:2]
    rows = ["label,video,start,end"]
    for number in range(4):
        parts, at = [], 0
        for folder in folders:
            path = sorted(folder.iterdir())[number]
            frames = read_frames(path, range(20))
            parts += [np.zeros((50, *frames.shape[1:]), np.uint8), frames]
            at += 50
            rows.append(f"{folder.name},r{number}.mp4,{at / 25},{(at + 20) / 25}")
            at += 20
        write_video(root / f"r{number}.mp4", np.concatenate([*parts, np.zeros_like(parts[0])]))
    (root / "list.csv").write_text("\n".join(rows) + "\n")
    return root


def test_training_on_stretches_with_a_background_is_evaluated_part_by_part(recordings: Path, tmp_path: Path):
    run = tmp_path / "run"
    trained = run_command("train", recordings / "list.csv", "--out", run, *OPTIONS, "--background", "0.5")
    assert trained.returncode == 0, trained.stderr
    config = json.loads((run / "config.json").read_text())
    assert (config["lists"]["background"], config["model"]["num_classes"]) == (0.5, 3)
    out = tmp_path / "evaluation"
    evaluated = run_command("evaluate", run / "best", recordings / "list.csv", "--out", out, "--workers", "0")
    assert evaluated.returncode == 0, evaluated.stderr
    with open(out / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["path", "start", "end", "label"]
    assert len({row["path"] for row in rows}) == 1  # one recording of four is held out, with all that is in it
    assert sorted(float(row["end"]) - float(row["start"]) for row in rows) == pytest.approx([0.8] * 4)
    assert [row["label"] for row in rows].count(NOTHING) == 2


def test_a_training_of_windows_is_evaluated_and_watched_through_such_windows(recordings: Path, tmp_path: Path):
    run = tmp_path / "run"
    options = ("--background", "0.5", "--window", "auto")
    trained = run_command("train", recordings / "list.csv", "--out", run, *OPTIONS, *options)
    assert trained.returncode == 0, trained.stderr
    assert "a clip of a stretch is a window of 1.6 s whose middle lies in it" in trained.stdout + trained.stderr
    config = json.loads((run / "best" / "config.json").read_text())
    assert config["input"]["window_s"] == config["training"]["lists"]["window"] == 1.6
    resumed = run_command("train", "--out", run, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    moved = tmp_path / "moved.csv"  # other data than the training's is seen through windows too
    moved.write_text(recordings.joinpath("list.csv").read_text().replace(",r", f",{recordings}/r"))
    for data in (recordings / "list.csv", moved):
        out = tmp_path / data.stem
        evaluated = run_command("evaluate", run / "best", data, "--out", out, "--workers", "0")
        assert evaluated.returncode == 0, evaluated.stderr
        assert "is a window of 1.6 s" in evaluated.stdout
    out = tmp_path / "timeline"
    watched = run_command("evaluate", run / "best", moved, "--timeline", "--out", out, "--workers", "0", "--json")
    assert watched.returncode == 0, watched.stderr
    summary = json.loads(watched.stdout)
    assert (summary["length_s"], summary["step_s"], summary["shortest_s"]) == (1.6, 0.2, 0.4)
    process = run_command("watch", run / "best", recordings / "r0.mp4", "--json", "--out", tmp_path / "r0.csv")
    assert process.returncode == 0, process.stderr
    windows = [json.loads(line) for line in process.stdout.splitlines()]
    assert [(window["start"], window["end"]) for window in windows[:2]] == [(0, 1.6), (0.2, 1.8)]
    assert rows_of(tmp_path / "r0.csv") == [row for row in rows_of(out / "segments.csv") if row[0] == "r0.mp4"]


def rows_of(path: Path) -> list[tuple]:
    """File name, start, end and label of segments."""
    with open(path, newline="") as file:
        return [
            (Path(row["video"]).name, float(row["start"]), float(row["end"]), row["label"])
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("value", ["often", "0", "-1", "nan"])
def test_a_window_that_is_no_length_is_one_line(recordings: Path, tmp_path: Path, value: str):
    process = run_command("train", recordings / "list.csv", "--out", tmp_path / "run", f"--window={value}")
    assert process.returncode == 1
    assert f"--window is {value}" in process.stderr.replace(".0", "")
    assert "allowed: auto, or seconds above 0, such as 1.5" in process.stderr
    assert not (tmp_path / "run").exists()


def test_windows_of_a_checkpoint_to_start_from_are_not_those_of_the_training(recordings: Path, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run_command("train", recordings / "list.csv", "--out", first, *OPTIONS, "--window", "1").returncode == 0
    again = run_command("train", recordings / "list.csv", "--out", second, "--init", first / "last", *OPTIONS[-6:])
    assert again.returncode == 0, again.stderr
    assert json.loads((second / "config.json").read_text())["input"]["window_s"] is None


def test_a_broken_stretch_is_named_with_its_part_and_counted_once(recordings: Path, tmp_path: Path):
    text = (recordings / "list.csv").read_text()
    label = text.splitlines()[1].partition(",")[0]
    path = recordings / "broken.csv"
    path.write_text(f"{text}{label},r0.mp4,20,21\n{label},r0.mp4,30,31\n")
    held_out = seed_that_trains_on_it(path)
    run = tmp_path / "run"
    trained = run_command("train", path, "--out", run, *OPTIONS, "--split.seed", held_out)
    assert trained.returncode == 0, trained.stderr
    named = [line["broken"] for line in read_log(run) if "broken" in line]
    assert sorted(named) == [f"{recordings}/r0.mp4 (20 to 21 s)", f"{recordings}/r0.mp4 (30 to 31 s)"]


def seed_that_trains_on_it(path: Path) -> int:
    """A seed with which `r0.mp4` is in the training part."""
    for seed in range(20):
        train, _ = read_training_sets(path, SplitConfig(seed=seed))
        if any(Path(sample.path).name == "r0.mp4" for sample in train.samples):
            return seed
    raise AssertionError("no seed trains on it")


def test_check_data_names_what_is_past_the_end_and_writes_lists_that_read_back(recordings: Path, tmp_path: Path):
    text = (recordings / "list.csv").read_text()
    label = text.splitlines()[1].partition(",")[0]
    path = recordings / "past.csv"
    path.write_text(f"{text}{label},r1.mp4,7,8.0\n{label},r2.mp4,7,9.5\n{label},r3.mp4,2.2,3\n")
    out = tmp_path / "check"
    checked = run_command("check-data", path, "--out", out, "--json", "--workers", "1")
    report = json.loads(checked.stdout)
    assert (report["files"], report["readable"]) == (11, 10)
    assert report["broken"][0]["path"] == f"{recordings}/r2.mp4 (7 to 9.5 s)"
    assert report["broken"][0]["reason"].startswith("ends 1.9 s after the end, as its video ends at 7.6 s")
    assert report["duplicates"] == []  # stretches of one file are no copies of it
    assert report["incomplete"] == 1
    assert any("recordings are for training" in note for note in report["notes"])
    with open(out / "files.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["path", "start", "end", "split", "label"]
    assert ["incomplete" in row["notes"] for row in rows if row["end"] == "8"] == [True]
    assert report["clean_note"] is None
    again = [sample.path for name in ("train", "val") for sample in read_set(out, split=name).samples]
    assert len(again) == 10
    assert Stretch(recordings / "r3.mp4", 2.2, 3) in again
    assert all(state_of(source) for source in again)
    assert {"train.csv", "val.csv", "classes.txt"} <= set(files_below(out))


@pytest.mark.parametrize("verb", ["train", "check-data"])
def test_a_row_that_cannot_be_is_one_line(recordings: Path, tmp_path: Path, verb: str):
    path = recordings / "wrong.csv"
    path.write_text("video,label,start,end\nr0.mp4,a,1,2\nr1.mp4,b,3,2\n")
    process = run_command(verb, path, "--out", tmp_path / "out")
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert f"{path}, row 3: r1.mp4: a stretch from 3.0 to 2.0 seconds: the end has to come after" in process.stderr
