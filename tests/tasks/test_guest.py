"""The package in a program that has a random state, a default dtype and a default device of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from morphmlp.checkpoints.folder import CheckpointInfo, save
from morphmlp.models.zoo import build_model
from morphmlp.tasks.classification.predictor import Predictor
from morphmlp.tasks.segmentation.predictor import SegmentPredictor

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
SURROUNDINGS = ["bfloat16", "float64", "meta"]


@contextmanager
def surroundings(name: str) -> Iterator[None]:
    if name == "meta":
        torch.set_default_device("meta")
    else:
        torch.set_default_dtype(getattr(torch, name))
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmenter") / "tiny"
    torch.manual_seed(0)
    model = build_model(tiny.model_config(3, task="segmentation", temporal=False, frames=1, decoder_width=8))
    torch.nn.init.normal_(model.get_parameter("head.classifier.weight"))
    save(model, folder, CheckpointInfo(input=tiny.INPUT, labels=["a", "b", "c"]))
    return folder


def probabilities(checkpoint: Path, paths: list[Path], workers: int) -> np.ndarray:
    return np.stack([result.probabilities for result in Predictor(checkpoint).many(paths, workers=workers)])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_predictor_gives_the_same_bits(checkpoint: Path, data: Path, name: str, workers: int):
    videos = sorted((data / "val").rglob("*.mp4"))[:2]
    expected = probabilities(checkpoint, videos, workers=0)
    with surroundings(name):
        assert np.array_equal(probabilities(checkpoint, videos, workers), expected)
        where = torch.empty(1)
    assert (where.device.type, where.dtype) == ("meta", torch.float32) if name == "meta" else where.device.type == "cpu"


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_segmenter_gives_the_same_mask(segmenter: Path, tmp_path: Path, name: str):
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)).save(path)
    expected = SegmentPredictor(segmenter)(path).mask
    assert len(np.unique(expected)) > 1
    with surroundings(name):
        assert np.array_equal(SegmentPredictor(segmenter)(path).mask, expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_predictor_leaves_the_random_state_as_it_is(checkpoint: Path, data: Path, workers: int):
    torch.manual_seed(7)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the program's own
    probabilities(checkpoint, sorted((data / "val").rglob("*.mp4"))[:2], workers)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
