"""The demo: its figures, its page, and (slowly) that a model learns to tell the pairs apart by time alone."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny

from morphmlp.config import RunConfig
from morphmlp.demo import run as demo
from morphmlp.demo.scenes import CLASSES, REVERSED
from morphmlp.tasks.classification.evaluation import Evaluation, SamplePrediction


def predicted(label: str, as_class: str) -> SamplePrediction:
    probabilities = np.full(len(CLASSES), 0.01)
    probabilities[CLASSES.index(as_class)] = 0.9
    return SamplePrediction(Path("a.mp4"), CLASSES.index(label), probabilities)


def test_pair_accuracy_takes_either_class_of_the_right_pair():
    up, down, other = "moving_up", REVERSED["moving_up"], "opening_something"
    predictions = [predicted(up, up), predicted(up, down), predicted(down, up), predicted(up, other)]
    assert demo.pair_accuracy(Evaluation(list(CLASSES), predictions)) == 0.75


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.CompletedProcess[str]]:
    """The verb with two training videos and one other a class, a tiny model and one epoch."""

    def tiny_config(data: Path, seed: int) -> RunConfig:
        return tiny.run_config(data, epochs=1, seed=seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "TRAIN_PER_CLASS", 2)
        patch.setattr(demo, "VAL_PER_CLASS", 1)
        patch.setattr(demo, "_demo_config", tiny_config)
        yield tiny.run_command("demo", "--json", "--out", tmp_path_factory.mktemp("finished") / "demo")


def test_demo_leaves_a_page_that_needs_nothing_else(finished: subprocess.CompletedProcess[str]):
    assert finished.returncode == 0
    out = Path(finished.args[-1])
    figures = json.loads(finished.stdout)
    assert figures == json.loads((out / "figures.json").read_text())
    assert figures["chance"] == 0.1
    assert figures["videos"] == 10
    assert finished.stderr.strip().endswith(f"the page is {out / 'index.html'}")
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "data:image/" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    for name in ("summary.json", "predictions.csv", "confusion.png", "curves.png", "overview.png", "run/best"):
        assert (out / name).exists()


def test_demo_can_be_run_again_in_the_same_folder(finished: subprocess.CompletedProcess[str]):
    assert demo.run_demo(Path(finished.args[-1]))["top1"] == json.loads(finished.stdout)["top1"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_reaches_nine_of_ten_and_needs_the_order_of_the_frames(tmp_path: Path):
    figures = demo.run_demo(tmp_path / "demo")
    assert figures["top1"] >= 0.90
    # Without their order the pair can be told at best, not which of its two classes: a coin toss within the pair.
    within_pair = figures["top1_frames_shuffled"] / figures["right_pair_frames_shuffled"]
    assert 0.35 <= within_pair <= 0.65  # 0.46 was measured, over 98 of 200 videos
