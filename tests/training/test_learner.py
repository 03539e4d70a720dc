"""What processes tell one another is exact on every device, also on one without float64."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import tiny
import torch

from morphmlp.inference.allocator import ALL_BYTES
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.training import learner
from morphmlp.training.learner import Learner


def test_values_go_over_the_device_bit_for_bit_without_float64(monkeypatch: pytest.MonkeyPatch):
    sent = []

    def gather(mine: torch.Tensor) -> torch.Tensor:
        sent.append(mine.dtype)
        return torch.cat([mine, mine])

    monkeypatch.setattr(learner, "world_size", lambda: 2)
    process: Any = SimpleNamespace(accelerator=SimpleNamespace(gather=gather), device=torch.device("cpu"))
    values = [0.1, 2.0**53, float("inf"), -0.0, 1e-300, 7.0]
    told = Learner.over_processes(process, values)
    assert sent == [torch.int32]
    assert told.dtype == torch.float64
    assert told.tolist() == [values, values]


def test_training_on_a_cpu_keeps_all_freed_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    calls = []
    monkeypatch.setattr(learner, "keep_freed_memory", calls.append)
    (tmp_path / "class").mkdir()
    config, task = tiny.run_config(tmp_path, device="cpu"), SimpleNamespace()
    Learner(config, cast("Any", task), MorphMLP(config.model))
    assert calls == [ALL_BYTES]


def test_train_refuses_a_device_that_is_not_there_before_it_writes(data: Path, tmp_path: Path):
    process = tiny.run_command("train", data, "--out", tmp_path / "run", *tiny.OPTIONS, "--device", "xpu")
    assert process.returncode == 1
    assert process.stderr.startswith("error: device 'xpu' is not there: PyTorch")
    assert len(process.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
    process = tiny.run_command("train", data, "--out", tmp_path / "run", *tiny.OPTIONS, "--device", "tpu")
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1
