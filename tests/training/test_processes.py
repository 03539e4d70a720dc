"""Training in two processes: the same step as one, stopped and resumed to the last bit, and ended when one dies."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import fresh
import pytest
import tiny
import torch

from morphmlp.checkpoints.folder import load
from morphmlp.training.run import resume

RANDOM = {name: value for name, value in tiny.everything_random(0).items() if name != "workers"}


class Ended(NamedTuple):
    """Processes that have come to an end: the exit code of each, and what all of them wrote."""

    codes: list[int]
    out: str
    err: str


def run_processes(count: int, what: str, data: Path, out: Path, **settings: Any) -> Ended:
    """Runs `processes.py` in so many processes."""
    ended = fresh.run_together(count, script(what, data, out, settings), env=tiny.environment())
    return Ended(
        [process.returncode for process in ended],
        "".join(process.stdout for process in ended),
        "".join(process.stderr for process in ended),
    )


def run_under_torchrun(what: str, data: Path, out: Path, **settings: Any) -> Ended:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    python, *rest = script(what, data, out, settings)
    command, environment = [python, *torchrun, *rest], tiny.environment()
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    return Ended([process.returncode], process.stdout, process.stderr)


def script(what: str, data: Path, out: Path, settings: dict[str, Any]) -> list[str]:
    pairs = [f"{name}={value!r}" for name, value in settings.items()]
    return [sys.executable, str(Path(__file__).parents[1] / "processes.py"), what, str(data), str(out), *pairs]


def first_steps(count: int, data: Path, out: Path, **settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The first step of each of several runs, by name."""
    ended = run_processes(count, "gradients", data, out, **settings)
    assert not any(ended.codes), ended.err[-3000:]
    return {name: torch.load(out / name, weights_only=True) for name in settings}


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The first step of one process: 5 videos, which two processes share as 3 and 2."""
    return first_steps(1, data, tmp_path_factory.mktemp("alone"), step={"batch_size": 5})["step"]


@pytest.fixture(scope="module")
def of_two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """First steps of two processes."""
    ddp = {"batch_size": 5, "sync_batchnorm": True}
    apart = {"batch_size": 5, "accumulate": 2}
    return first_steps(2, data, tmp_path_factory.mktemp("of_two"), ddp=ddp, fsdp=ddp | {"fsdp": True}, apart=apart)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_gradients_of_two_processes_are_those_of_one(
    alone: dict[str, Any], of_two: dict[str, dict[str, Any]], mode: str
):
    together = of_two[mode]
    assert together["line"]["loss"] == pytest.approx(alone["line"]["loss"], rel=1e-6)
    assert together["line"]["grad_norm"] == pytest.approx(alone["line"]["grad_norm"], rel=1e-4)
    assert together["gradients"].keys() == alone["gradients"].keys()
    largest = max(gradient.abs().max() for gradient in alone["gradients"].values())
    for name, gradient in alone["gradients"].items():
        torch.testing.assert_close(together["gradients"][name], gradient, rtol=1e-4, atol=float(1e-6 * largest))
    for name, buffer in alone["buffers"].items():
        torch.testing.assert_close(together["buffers"][name], buffer, rtol=1e-5, atol=1e-6)


def test_without_synchronised_statistics_the_step_is_another(alone: dict[str, Any], of_two: dict[str, dict[str, Any]]):
    """So the test above sees what it is about; and each process has parts, one of them without a video."""
    apart = of_two["apart"]
    different = [
        name for name, gradient in alone["gradients"].items() if not torch.allclose(apart["gradients"][name], gradient)
    ]
    assert different
    assert apart["line"]["loss"] == pytest.approx(alone["line"]["loss"], rel=0.05)


@pytest.mark.parametrize("mode", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes_stopped_and_resumed_are_bit_equal_to_two_never_stopped(data: Path, tmp_path: Path, mode: str):
    settings = RANDOM | {"batch_size": 6, "save_every": 3}
    settings |= {"fsdp": True, "ema": 0.0, "accumulate": 1} if mode == "fsdp" else {"accumulate": 2}
    stopped = run_processes(2, "train_twice", data, tmp_path, **settings, stop=6)  # asked of the second process only
    assert not any(stopped.codes), stopped.err[-3000:]
    assert "stopped, the state is saved; go on with: morphmlp train" in stopped.out
    assert tiny.losses(tmp_path / "run")[-1][0] == 6
    resumed = run_processes(2, "resume", data, tmp_path / "run")
    assert not any(resumed.codes), resumed.err[-3000:]
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
    ended = run_under_torchrun("train", data, tmp_path / "run", stop_in_evaluation=True)
    assert not any(ended.codes), ended.err[-3000:]
    assert ended.out.count("stopped, the state is saved") == 2
    assert tiny.losses(tmp_path / "run")[-1][0] == 5  # after the first epoch, not evaluated yet


def test_one_process_that_dies_ends_the_other_with_a_message(data: Path, tmp_path: Path):
    ended = run_processes(2, "train", data, tmp_path / "run", epochs=3, save_every=2, die=4)
    assert ended.codes == [1, -signal.SIGKILL]
    assert "another process of this run has ended, after step 4; the last saved state is of step 4" in ended.err
    assert f"morphmlp train --out {tmp_path / 'run'} --resume (under torchrun, as before)" in ended.err
    resume(tmp_path / "run")  # in one process: the steps are the same videos
    assert tiny.losses(tmp_path / "run")[-1][0] == 15
