"""What several test modules share: a few rendered videos, and an untrained checkpoint for their classes."""

import os
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import HealthCheck, settings

from morphmlp.checkpoints.folder import CheckpointInfo, save
from morphmlp.demo.synthetic import CLASSES, write_dataset
from morphmlp.models.morphmlp import MorphMLP

torch.set_num_threads(1)
# The same draws in every run, so that a failure is of the change. `pytest --hypothesis-profile explore` draws anew, and
# more: `make test-draws`.
settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("explore", settings.get_profile("same"), derandomize=False, max_examples=1000)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The exports, figures and copies that the user of this machine keeps have no part in a test."""
    os.environ["MORPHMLP_CACHE"] = str(tmp_path_factory.mktemp("caches"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 training and 10 validation videos of ten classes; tests leave it as it is."""
    return write_dataset(tmp_path_factory.mktemp("data") / "set", train_per_class=2, val_per_class=1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights for the ten classes, in an order that is not alphabetical."""
    return save_tiny(tmp_path_factory.mktemp("checkpoint") / "tiny", labels=list(CLASSES))


@pytest.fixture(scope="session")
def image_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("image") / "tiny", labels=list(CLASSES), temporal=False, frames=1)


def save_tiny(folder: Path, *, labels: list[str], **fields: object) -> Path:
    torch.manual_seed(0)
    model = MorphMLP(tiny.model_config(len(labels), **fields))
    torch.nn.init.normal_(model.head.weight, std=0.5)  # else all probabilities are nearly equal
    save(model, folder, CheckpointInfo(input=tiny.INPUT, labels=labels))
    return folder
