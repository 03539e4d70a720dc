"""The folder of a run in the place of a checkpoint."""

import json
import shutil
from pathlib import Path

import pytest
import tiny

import morphmlp
from morphmlp.checkpoints.info import load_config
from morphmlp.errors import CheckpointError
from morphmlp.training.run import resume, train


@pytest.mark.parametrize("report", ["best", "last"])
def test_a_run_is_taken_for_the_checkpoint_that_it_is_for(report: str, checkpoint: Path, data: Path, tmp_path: Path):
    """Every verb finds it; nothing but a calibration is written into the run."""
    run, other = tmp_path / "run", "last" if report == "best" else "best"
    video = data / "val" / "moving_up" / "moving_up_0001.mp4"
    shutil.copytree(checkpoint, run / report)
    (run / other).mkdir()
    (run / other / "config.json").write_text("damaged")
    (run / "config.json").write_text(json.dumps({"data": "", "model": {}, "train": {"report": report}}))
    before = tiny.files_below(run)
    for arguments in (
        ["predict", run, video, "--workers", 0, "--out", tmp_path / "rows.csv"],
        ["evaluate", run, data, "--workers", 0, "--baseline", "false"],
        ["features", run, video, "--workers", 0, "--out", tmp_path / "features"],
        ["visualize", run, video, "--out", tmp_path / "inside"],
        ["convert", run, tmp_path / "longer", "--frames", 8],
        ["check-data", data, "--copies", run],
        ["export", run, tmp_path / "exported", "--format", "torch"],
        ["train", data, "--init", run, "--out", tmp_path / "new", "--defaults", "fixed", "--workers", 0, "--epochs", 1],
        ["calibrate", run, data, "--workers", 0],
    ):
        ended = tiny.run_command(*arguments)
        assert ended.returncode == 0, f"{arguments[0]}: {ended.stderr}"
    assert tiny.files_below(run) == before
    assert (tmp_path / "run-evaluation" / "summary.json").exists()
    assert json.loads((run / report / "config.json").read_text())["training"]["calibration"]
    assert json.loads((tmp_path / "new" / "config.json").read_text())["init"] == str(run / report)
    assert morphmlp.load(run).state_dict().keys() == morphmlp.load(checkpoint).state_dict().keys()


def test_a_run_without_a_checkpoint_yet_says_so(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"data": "", "model": {}, "train": {"report": "last"}}))
    with pytest.raises(CheckpointError, match=r"has no checkpoint 'last' yet; it is written after the first epoch$"):
        morphmlp.load(tmp_path)


def test_a_run_that_was_calibrated_is_resumed_as_it_is(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`last` is also the state, and a file that is not as it was written is taken for damage."""
    run = tmp_path / "run"
    train(tiny.run_config(data, epochs=1, report="last"), run)
    assert tiny.run_command("calibrate", run, data, "--workers", 0).returncode == 0
    calibrated = (run / "last" / "config.json").read_bytes()
    assert load_config(run)[1].temperature != 1.0
    resume(run)
    assert "damaged" not in capsys.readouterr().err
    assert (run / "last" / "config.json").read_bytes() == calibrated
