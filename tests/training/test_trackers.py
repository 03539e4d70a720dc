"""Figures of a run in TensorBoard and Weights & Biases, offline."""

import warnings
from pathlib import Path

import pytest
import tiny

import morphmlp.training.run as training
from morphmlp.errors import ConfigError
from morphmlp.training.trackers import flat


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
