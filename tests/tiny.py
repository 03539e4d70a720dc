"""Models, runs and commands that are small enough for tests: a run takes about a second."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import fresh
import pytest
import torch

from morphmlp import cli
from morphmlp.config import AugmentConfig, InputConfig, ModelConfig, RunConfig, SplitConfig, TrainConfig
from morphmlp.inference.device import Execution
from morphmlp.system import c_function
from morphmlp.tasks.classification import evaluation
from morphmlp.tasks.classification.evaluation import Evaluation
from morphmlp.training.run_folder import RunFolder

# Tests share the cores, but a training takes all there are: its threads would wait for one another.
os.cpu_count = lambda: 1

MODEL: dict[str, Any] = {
    "depths": (1, 1, 1, 1),
    "widths": (8, 16, 16, 16),
    "chunk_lengths": (2, 2, 2, 1),
    "frames": 4,
    "image_size": 32,
}
INPUT = InputConfig(crop=(32, 32), resize=32)
OPTIONS = [
    *("--defaults", "fixed"),
    *("--arch.depths", "[1,1,1,1]", "--arch.widths", "[8,16,16,16]", "--arch.chunk_lengths", "[2,2,2,1]"),
    *("--arch.frames", "4", "--input.crop", "[32,32]", "--input.resize", "32"),
    *("--batch_size", "4", "--workers", "0", "--epochs", "2"),
]


def model_config(num_classes: int, **fields: Any) -> ModelConfig:
    return ModelConfig.from_dict(MODEL | {"num_classes": num_classes, "name": "tiny"} | fields)


def run_config(data: Path, *, drop_path: float = 0.0, init: Path | None = None, **settings: Any) -> RunConfig:
    """A run on the class folders of `data/train`, or of `data` itself."""
    folder = data / "train" if (data / "train").is_dir() else data
    num_classes = len([entry for entry in folder.iterdir() if entry.is_dir()])
    return RunConfig(
        data=str(data),
        model=model_config(num_classes, drop_path=drop_path),
        input=INPUT,
        train=TrainConfig.from_dict({"epochs": 2, "batch_size": 4, "workers": 0, "warmup_epochs": 0.5} | settings),
        split=SplitConfig(),
        init=None if init is None else str(init),
    )


def everything_random(workers: int) -> dict[str, Any]:
    """Settings with all that could keep a resumed run from repeating what was done: 3 epochs of 5 steps."""
    augment = AugmentConfig(flip=0.5, gray=0.2, erase=0.3, mixup=0.5, cutmix=0.5).to_dict()
    return {"epochs": 3, "eval_every": 2, "ema": 0.9, "workers": workers, "augment": augment, "drop_path": 0.4}


def copy_data(data: Path, to: Path, *, classes: int | None = None) -> Path:
    """A copy of a set with `train` and `val`, of its first classes, that a test may change."""
    for split in ("train", "val"):
        for folder in sorted((data / split).iterdir())[:classes]:
            shutil.copytree(folder, to / split / folder.name)
    return to


def read_log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def evaluate_checkpoint(checkpoint: Path, data: Path, **options: Any) -> Evaluation:
    """Evaluates a classifier; the options hold the fields of `Execution`, too."""
    how = {name: options.pop(name) for name in [*Execution.__dataclass_fields__] if name in options}
    return evaluation.evaluate_checkpoint(checkpoint, data, execution=Execution(**how), **options)


def losses(run: Path) -> list[tuple[int, float]]:
    """Step and loss, of training and of validation, as logged."""
    return [(line["step"], line.get("loss", line.get("val_loss"))) for line in read_log(run)]


def assert_same_run(left: Path, right: Path) -> None:
    """Weights, averaged weights, optimizer state and losses are equal to the last bit."""
    states = [torch.load(run / "last" / "state.pt", weights_only=True) for run in (left, right)]
    for part in ("model", "averaged"):
        if states[0][part] is None:
            assert states[1][part] is None
            continue
        assert states[0][part].keys() == states[1][part].keys()
        different = [name for name, value in states[0][part].items() if not torch.equal(value, states[1][part][name])]
        assert not different
    moments = [state["optimizer"]["state"] for state in states]
    assert all(torch.equal(moments[0][i]["exp_avg"], moments[1][i]["exp_avg"]) for i in moments[0])
    assert losses(left) == losses(right)
    for name in ("best", "last"):
        assert (left / name / "model.safetensors").read_bytes() == (right / name / "model.safetensors").read_bytes()


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "morphmlp.cli", *map(str, arguments)]


def run_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, with warnings as errors."""
    return fresh.run(command(*arguments), env=environment())


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the command line in this process: what it returns and prints is the same."""
    texts = [str(argument) for argument in arguments]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            status = cli.main(texts)
        except SystemExit as stop:
            status = int(stop.code or 0)
    return subprocess.CompletedProcess(texts, status, out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    """For processes: no GPU, one thread, and modules of this folder can be imported."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(paths)}


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGTERM) -> None:
    """Sends this process a signal once, as soon as the step is logged."""
    append = RunFolder.append

    def append_and_stop(self: RunFolder, line: dict[str, Any]) -> None:
        append(self, line)
        if line["step"] == step and "loss" in line:
            monkeypatch.setattr(RunFolder, "append", append)
            signal.raise_signal(number)

    monkeypatch.setattr(RunFolder, "append", append_and_stop)


def signal_stack() -> bytes:
    """The stack on which this thread handles signals, as the system describes it; b"" where it has no such thing."""
    stack, sigaltstack = ctypes.create_string_buffer(64), c_function("sigaltstack")
    return b"" if sigaltstack is None or sigaltstack(None, stack) else stack.raw
