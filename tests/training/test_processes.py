"""Training in two processes: the same step as one, stopped and resumed to the last bit, and ended when one dies."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from morphmlp.checkpoints.folder import load
from morphmlp.training.run import resume

TESTS = Path(__file__).parents[1]
RANDOM = {name: value for name, value in tiny.everything_random(0).items() if name != "workers"}


def run_processes(count: int, what: str, data: Path, out: Path, **settings: Any) -> "subprocess.CompletedProcess[str]":
    """Runs `processes.py`, under torchrun where there is more than one."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    pairs = [f"{name}={value!r}" for name, value in settings.items()]
    arguments = [sys.executable, *torchrun, str(TESTS / "processes.py"), what, str(data), str(out), *pairs]
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = tiny.environment() | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=200)


def first_step(count: int, data: Path, out: Path, **settings: Any) -> dict[str, Any]:
    process = run_processes(count, "gradients", data, out, **settings)
    assert process.returncode == 0, process.stderr[-3000:]
    return torch.load(out, weights_only=True)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The first step of one process: 5 videos, which two processes share as 3 and 2."""
    return first_step(1, data, tmp_path_factory.mktemp("alone") / "step.pt", batch_size=5)


@pytest.mark.parametrize("fsdp", [False, True], ids=["ddp", "fsdp"])
def test_gradients_of_two_processes_are_those_of_one(alone: dict[str, Any], data: Path, tmp_path: Path, fsdp: bool):
    settings: dict[str, Any] = {"batch_size": 5, "sync_batchnorm": True, "fsdp": fsdp}
    together = first_step(2, data, tmp_path / "step.pt", **settings)
    assert together["line"]["loss"] == pytest.approx(alone["line"]["loss"], rel=1e-6)
    assert together["line"]["grad_norm"] == pytest.approx(alone["line"]["grad_norm"], rel=1e-4)
    assert together["gradients"].keys() == alone["gradients"].keys()
    largest = max(gradient.abs().max() for gradient in alone["gradients"].values())
    for name, gradient in alone["gradients"].items():
        torch.testing.assert_close(together["gradients"][name], gradient, rtol=1e-4, atol=float(1e-6 * largest))
    for name, buffer in alone["buffers"].items():
        torch.testing.assert_close(together["buffers"][name], buffer, rtol=1e-5, atol=1e-6)


def test_without_synchronised_statistics_the_step_is_another(alone: dict[str, Any], data: Path, tmp_path: Path):
    """So the test above sees what it is about; and each process has parts, one of them without a video."""
    apart = first_step(2, data, tmp_path / "step.pt", batch_size=5, accumulate=2)
    different = [
        name for name, gradient in alone["gradients"].items() if not torch.allclose(apart["gradients"][name], gradient)
    ]
    assert different
    assert apart["line"]["loss"] == pytest.approx(alone["line"]["loss"], rel=0.05)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_stopped_and_resumed_are_bit_equal_to_two_never_stopped(data: Path, tmp_path: Path, mode: str):
    settings = RANDOM | {"batch_size": 6, "save_every": 3}
    settings |= {"fsdp": True, "ema": 0.0, "accumulate": 1} if mode == "fsdp" else {"accumulate": 2}
    whole = run_processes(2, "train", data, tmp_path / "whole", **settings)
    assert whole.returncode == 0, whole.stderr[-3000:]
    stopped = run_processes(2, "train", data, tmp_path / "run", **settings, stop=6)  # asked of the second process only
    assert stopped.returncode == 0, stopped.stderr[-3000:]
    assert "stopped, the state is saved; go on with: morphmlp train" in stopped.stdout
    assert tiny.losses(tmp_path / "run")[-1][0] == 6
    resumed = run_processes(2, "resume", data, tmp_path / "run")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert len((tmp_path / "run" / "environment.jsonl").read_text().splitlines()) == 2
    # Each of the ten validation videos was counted once, on whichever process.
    last = tiny.read_log(tmp_path / "run")[-1]
    config = json.loads((tmp_path / "run" / "last" / "config.json").read_text())
    assert config["model"]["num_classes"] == 10
    evaluation = tiny.evaluate_checkpoint(tmp_path / "run" / "last", data, workers=0)
    assert len(evaluation.predictions) == 10
    assert last["val_top1"] == pytest.approx(evaluation.accuracy(1))
    assert last["val_loss"] == pytest.approx(evaluation.loss(), rel=1e-5)
    assert load(tmp_path / "run" / "best").config.num_classes == 10


def test_one_process_that_is_stopped_in_the_evaluation_stops_all_without_an_error(data: Path, tmp_path: Path):
    process = run_processes(2, "train", data, tmp_path / "run", stop_in_evaluation=True)
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.count("stopped, the state is saved") == 2
    assert tiny.losses(tmp_path / "run")[-1][0] == 5  # behind the first epoch, not evaluated yet


def test_one_process_that_dies_ends_the_other_with_a_message(data: Path, tmp_path: Path):
    process = run_processes(2, "train", data, tmp_path / "run", epochs=3, save_every=2, die=4)
    assert process.returncode != 0
    assert "another process of this run has ended, after step 4; the last saved state is of step 4" in process.stderr
    assert f"morphmlp train --out {tmp_path / 'run'} --resume (under torchrun, as before)" in process.stderr
    resume(tmp_path / "run")  # in one process: the steps are the same videos
    assert tiny.losses(tmp_path / "run")[-1][0] == 15
