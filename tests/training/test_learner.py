"""What processes tell one another is exact on every device, also on one without float64."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

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
