"""The start of the package is made by one command; here a shortened one."""

import json
import signal
from pathlib import Path

import pytest
import tiny

import morphmlp
from morphmlp.checkpoints import starts
from morphmlp.checkpoints.starts import STARTS, Start
from morphmlp.demo import start
from morphmlp.demo.motions import dataset
from morphmlp.recipes import load_recipe
from morphmlp.training.stopping import Interrupted

PAIR = ("right", "left")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two motions, one epoch."""
    monkeypatch.setattr(dataset, "MOTIONS", PAIR)
    monkeypatch.setattr(start, "MOTIONS", PAIR)
    recipe = load_recipe("rendered") | {"epochs": 1, "batch_size": 4, "workers": 0, "eval_every": 1}
    monkeypatch.setattr(start, "load_recipe", lambda name: recipe)


@pytest.mark.usefixtures("short")
def test_the_command_renders_trains_and_packs_what_a_model_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = ("demo", "--start", tmp_path / "out", "--clips", 2, "--json")
    done = tiny.run_command(*command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"start": str(tmp_path / "out" / "rendered")}
    assert tiny.files_below(tmp_path / "out" / "rendered") == ["config.json", "model.safetensors"]

    recorded: dict[str, Start] = eval("{" + done.stderr.strip().splitlines()[-1] + "}", {"Start": Start})
    assert recorded["rendered"].model == "morphmlp_video_nano"
    monkeypatch.setattr(starts, "FOLDER", tmp_path / "out")
    monkeypatch.setitem(STARTS, "rendered", recorded["rendered"])
    monkeypatch.chdir(tmp_path)
    model = morphmlp.create_model("morphmlp_video_nano", pretrained="rendered")
    assert (model.config.num_classes, model.config.frames) == (2, 8)
    assert morphmlp.load_with_info("rendered")[1].labels == ["left", "right"]

    again = tiny.run_command(*command)  # nothing is rendered or trained anew
    assert again.returncode == 0, again.stderr
    assert again.stderr.strip().splitlines()[-1] == done.stderr.strip().splitlines()[-1]


def test_a_folder_that_holds_something_else_is_refused_before_anything_is_done(tmp_path: Path):
    (tmp_path / "rendered").mkdir()
    (tmp_path / "rendered" / "notes.txt").write_text("mine")
    refused = tiny.run_command("demo", "--start", tmp_path)
    assert refused.returncode == 1
    assert "rendered holds something else than a start; choose another" in refused.stderr
    assert tiny.files_below(tmp_path) == ["rendered", "rendered/notes.txt"]


@pytest.mark.parametrize("other", ["--motions", "--out"])
def test_a_folder_of_another_work_is_refused(other: str, tmp_path: Path):
    refused = tiny.run_command("demo", other, "a", "--start", "b")
    assert refused.returncode == 1
    assert refused.stderr == f"error: {other} a and --start b are folders of different works; give one of them\n"


def test_a_stopped_training_says_that_the_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(folder: str, *, clips: int, seed: int) -> Path:
        raise Interrupted(signal.SIGINT, tmp_path)

    monkeypatch.setattr(start, "make_start", stop)
    stopped = tiny.run_command("demo", "--start", tmp_path)
    assert (stopped.returncode, stopped.stderr) == (130, "stopped; run the same command again to go on\n")
