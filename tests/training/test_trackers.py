"""Figures of a run in trackers: three for real and offline, the others as fakes that are asked what they are told."""

import importlib.machinery
import json
import sys
import types
import typing
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import tiny
from accelerate.utils import LoggerType

import morphmlp.training.run as training
from morphmlp.config.run import Tracker
from morphmlp.errors import ConfigError
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.trackers import MAKERS, flat, send, started_trackers


def test_tensorboard_gets_every_step_and_evaluation_once(data: Path, tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    training.train(tiny.run_config(data, trackers=("tensorboard",)), run)
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    logged = [(line["step"], line["loss"]) for line in tiny.read_log(run) if "loss" in line]
    sent = [(event.step, event.value) for event in events.Scalars("loss")]
    assert [step for step, _ in sent] == [step for step, _ in logged]
    assert [value for _, value in sent] == pytest.approx([value for _, value in logged], rel=1e-6)
    assert [event.step for event in events.Scalars("val_top1")] == [5, 10]


def test_wandb_is_given_the_run_offline(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        training.train(tiny.run_config(data, trackers=("wandb",), epochs=1), tmp_path / "run")
    (record,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert record.stat().st_size > 0


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"wandb is not installed: pip install 'morphmlp\[wandb\]'"):
        training.train(tiny.run_config(data, trackers=("wandb",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nested_configurations_get_dotted_names():
    assert flat({"a": {"b": {"c": 1}, "d": None}, "e": [1, 2]}) == {"a.b.c": 1, "a.d": "None", "e": "[1, 2]"}


def test_no_secret_of_an_address_is_sent():
    values = {"data": "https://me:secret@host/set?token=1", "init": "hf://me/model@v1", "note": "why?"}
    assert flat(values) == {"data": "https://host/set", "init": "hf://me/model@v1", "note": "why?"}


def test_all_trackers_that_accelerate_knows_can_be_named():
    known = {logger.value for logger in LoggerType} - {"all"}
    assert set(typing.get_args(Tracker)) == set(MAKERS) == known


def test_mlflow_gets_every_step_in_one_run_though_it_is_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        import mlflow

        tiny.stop_after(3, monkeypatch)
        config = tiny.run_config(data, trackers=("mlflow",))
        with pytest.raises(training.Interrupted):
            training.train(config, tmp_path / "run")
        training.resume(tmp_path / "run")
        client = mlflow.MlflowClient()
        (experiment,) = [each for each in client.search_experiments() if each.name == "morphmlp"]
        (run,) = client.search_runs([experiment.experiment_id])
        sent = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "loss")]
    logged = [(line["step"], line["loss"]) for line in tiny.read_log(tmp_path / "run") if "loss" in line]
    assert sorted(sent) == logged
    assert run.data.params["train.epochs"] == "2"
    assert run.info.run_name == "run"
    assert run.info.status == "FINISHED"


class Fakes:
    """Modules in the places of trackers that are not installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.modules: dict[str, MagicMock] = {}
        for name in ("aim", "clearml", "comet_ml", "dvclive", "swanlab", "trackio"):
            module: Any = types.ModuleType(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            self.modules[name] = MagicMock()
            module.__getattr__ = self.modules[name].__getattr__
            monkeypatch.setitem(sys.modules, name, module)
        sys.modules["comet_ml"].__version__ = "3.49.0"  # type: ignore[attr-defined]
        plots: Any = types.ModuleType("dvclive.plots")
        plots.Metric = MagicMock()
        monkeypatch.setitem(sys.modules, "dvclive.plots", plots)
        self.modules["aim"].Run.return_value.hash = "aim-1"
        self.modules["clearml"].Task.current_task.return_value = None
        self.modules["clearml"].Task.init.return_value.id = "clearml-1"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    return Fakes(monkeypatch)


def started(name: str, data: Path, run: Path, *, step: int = 0) -> None:
    """A run that begins, or goes on after a step, and sends one figure."""
    folder = RunFolder(run)
    run.mkdir(exist_ok=True)
    if step == 0:
        folder.note_start({"command": ["train"], "at": str(run)})
    config = tiny.run_config(data, trackers=(name,))
    with started_trackers(config, folder, step=step, enabled=True) as trackers:
        send(trackers, {"loss": 0.5}, step=step + 1)


def test_aim_and_clearml_go_on_with_the_run_that_they_gave_an_id(fakes: Fakes, data: Path, tmp_path: Path):
    run = tmp_path / "run"
    for name in ("aim", "clearml"):
        started(name, data, run)
        started(name, data, run, step=5)
    assert json.loads((run / "trackers.json").read_text()) == {"aim": "aim-1", "clearml": "clearml-1"}
    first, second = (call.kwargs for call in fakes.modules["aim"].Run.call_args_list)
    assert (first["run_hash"], second["run_hash"], second["repo"]) == (None, "aim-1", run)
    fakes.modules["aim"].Run.return_value.track.assert_called_with(0.5, name="loss", step=6)
    first, second = (call.kwargs for call in fakes.modules["clearml"].Task.init.call_args_list)
    assert first == {"project_name": "morphmlp", "task_name": "run"}
    assert second == first | {"reuse_last_task_id": "clearml-1", "continue_last_task": 0}


def test_comet_swanlab_and_trackio_are_given_the_same_id_again(fakes: Fakes, data: Path, tmp_path: Path):
    run = tmp_path / "run"
    starts = {
        "comet_ml": fakes.modules["comet_ml"].start,
        "swanlab": fakes.modules["swanlab"].init,
        "trackio": fakes.modules["trackio"].init,
    }
    for name, start in starts.items():
        started(name, data, run)
        started(name, data, run, step=5)
        first, second = (call.kwargs for call in start.call_args_list)
        assert first == second, name
    assert len(starts["comet_ml"].call_args.kwargs["experiment_key"]) == 32
    assert len(starts["swanlab"].call_args.kwargs["id"]) == 21
    assert starts["trackio"].call_args.kwargs["name"].startswith("run-")
    other = tmp_path / "other"
    started("comet_ml", data, other)
    keys = {call.kwargs["experiment_key"] for call in starts["comet_ml"].call_args_list}
    assert len(keys) == 2


def test_dvclive_writes_into_the_run_and_resumes(fakes: Fakes, data: Path, tmp_path: Path):
    run = tmp_path / "run"
    started("dvclive", data, run)
    started("dvclive", data, run, step=5)
    live = fakes.modules["dvclive"].Live
    assert [call.kwargs["resume"] for call in live.call_args_list] == [False, True]
    assert live.call_args.kwargs["dir"] == str(run / "dvclive")
    live.return_value.log_metric.assert_called_with("loss", 0.5)
    assert live.return_value.end.call_count == 2


def test_a_tracker_that_fails_in_the_run_is_left_out_and_the_run_goes_on(
    fakes: Fakes, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    fakes.modules["aim"].Run.return_value.track.side_effect = RuntimeError("gone\nfor good")
    config = tiny.run_config(data, trackers=("aim",), epochs=1)
    training.train(config, tmp_path / "run")
    assert capsys.readouterr().err.count("the tracker aim gets no more figures from step 1 on: gone for good") == 1
    assert fakes.modules["aim"].Run.return_value.track.call_count == 1
    assert len([line for line in tiny.read_log(tmp_path / "run") if "loss" in line]) == 5


def test_a_tracker_that_cannot_be_started_is_one_line(fakes: Fakes, data: Path, tmp_path: Path):
    fakes.modules["comet_ml"].start.side_effect = ValueError("no API key\nsee the page")
    with pytest.raises(ConfigError, match=r"^the tracker comet_ml cannot be started: no API key see the page; mend"):
        training.train(tiny.run_config(data, trackers=("comet_ml",)), tmp_path / "run")


def test_a_missing_tracker_is_named_with_the_command_that_installs_it(data: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"trackio is not installed: pip install trackio$"):
        training.train(tiny.run_config(data, trackers=("trackio",)), tmp_path / "run")
