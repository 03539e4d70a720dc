"""The reliability picture."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphmlp.display.reliability import draw_reliability

EMPTY = (0.0, 0.5, 0, math.nan, math.nan)
FULL = (0.5, 1.0, 4, 0.8, 0.75)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def test_each_heading_has_a_panel(tmp_path: Path):
    draw_reliability(tmp_path / "one.png", {"before": [EMPTY, FULL]}, title="One")
    draw_reliability(tmp_path / "two.png", {"before": [EMPTY, FULL], "after": [FULL]}, title="Two", threshold=0.6)
    assert pixels(tmp_path / "one.png").shape == (810, 750, 3)
    assert pixels(tmp_path / "two.png").shape == (810, 1440, 3)


@pytest.mark.parametrize("threshold", [0.2, 0.9])
def test_a_threshold_is_drawn(tmp_path: Path, threshold: float):
    bins = {"after": [EMPTY, FULL]}
    draw_reliability(tmp_path / "with.png", bins, title="", threshold=threshold)
    draw_reliability(tmp_path / "without.png", bins, title="")
    assert (pixels(tmp_path / "with.png") != pixels(tmp_path / "without.png")).any()


def test_bins_without_samples_draw(tmp_path: Path):
    draw_reliability(tmp_path / "none.png", {"before": [EMPTY]}, title="")
    assert pixels(tmp_path / "none.png").shape == (810, 750, 3)
