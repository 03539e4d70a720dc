"""What lies in a run's folder and is not of the run ends in one line; a folder that is not the run's is left alone."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from morphmlp.errors import CheckpointError
from morphmlp.training import run as training
from morphmlp.training.run_folder import RunFolder, _write_manifest


@pytest.fixture(scope="module")
def stopped_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        tiny.stop_after(2, patch)
        with pytest.raises(training.Interrupted):
            training.train(tiny.run_config(data), out)
    return out


def wrong_shape(state: dict[str, Any]) -> Any:
    moments = state["optimizer"]["state"]
    name = next(iter(moments))
    moments[name]["exp_avg"] = torch.zeros(3, 3)
    return state


FOREIGN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda state: [state],
    "weights alone": lambda state: state["model"],
    "no optimizer": lambda state: {name: value for name, value in state.items() if name != "optimizer"},
    "weights of another model": lambda state: state | {"model": {"x": torch.zeros(2)}},
    "a moment of another shape": wrong_shape,
    "moments that are a list": lambda state: state | {"optimizer": [1, 2]},
    "a step that is a text": lambda state: state | {"progress": state["progress"] | {"step": "two"}},
    "a step below 0": lambda state: state | {"progress": state["progress"] | {"step": -1}},
    "other progress": lambda state: state | {"progress": {"steps": 3}},
    "no mapping as progress": lambda state: state | {"progress": 7},
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_a_state_that_fits_its_manifest_but_not_the_run_is_refused(
    stopped_run: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
):
    run = shutil.copytree(stopped_run, tmp_path / "run")
    state = torch.load(run / "last" / "state.pt", weights_only=True)
    torch.save(change(state), run / "last" / "state.pt")
    (run / "last" / "manifest.json").unlink()
    _write_manifest(run / "last")
    with pytest.raises(CheckpointError, match=r"no state of a run|not of this run"):
        training.resume(run)


def test_a_file_that_is_no_pickle_is_refused(stopped_run: Path, tmp_path: Path):
    run = shutil.copytree(stopped_run, tmp_path / "run")
    (run / "last" / "state.pt").write_bytes(b"no pickle")
    (run / "last" / "manifest.json").unlink()
    _write_manifest(run / "last")
    process = tiny.run_command("train", "--out", run, "--resume")
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    assert "state.pt is no state of a run (UnpicklingError); use --overwrite" in process.stderr


def test_a_pipe_in_place_of_a_file_is_not_waited_for(stopped_run: Path, data: Path, tmp_path: Path):
    for name in ("config.json", "last/manifest.json"):
        run = shutil.copytree(stopped_run, tmp_path / name.replace("/", "-"))
        shutil.rmtree(run / "previous", ignore_errors=True)
        (run / name).unlink()
        os.mkfifo(run / name)
        process = tiny.run_command("train", "--out", run, "--resume")
        assert process.returncode == 1, name
        assert len(process.stderr.splitlines()) == 1, process.stderr
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "config.json")
    process = tiny.run_command("train", data, "--out", tmp_path / "out", *tiny.OPTIONS)
    assert "is not empty and holds no run" in process.stderr


def test_a_users_own_empty_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine").mkdir()

    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "mine" / ".lock"))

    monkeypatch.setattr("morphmlp.training.run_folder.held", deny)
    for name in ("mine", "new"):
        with pytest.raises(PermissionError), RunFolder(tmp_path / name).locked():
            pass
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["mine"]
    with RunFolder(tmp_path / "mine").locked():
        pass
    assert os.listdir(tmp_path / "mine") == []
