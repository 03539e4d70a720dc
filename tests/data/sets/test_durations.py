"""How long the samples of a training are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import probe
from morphmlp.data.sets.durations import median_duration_s


@pytest.fixture
def video(data: Path) -> Path:
    return min((data / "val").rglob("*.mp4"))


def test_the_median_is_that_of_files_and_of_stretches_in_either_unit(video: Path):
    info = probe(video)
    seconds, frames = Stretch(video, 0.25, 0.75), Stretch(video, 0, 6, "frames")
    assert median_duration_s([video]) == info.duration_s
    assert median_duration_s([seconds]) == 0.5
    assert median_duration_s([frames]) == 6 / info.fps
    assert median_duration_s([video, seconds, frames]) == sorted([info.duration_s, 0.5, 6 / info.fps])[1]


def test_what_has_no_times_or_cannot_be_read_is_left_out(video: Path, tmp_path: Path):
    (tmp_path / "frames").mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "frames" / "1.png")
    broken = [tmp_path / "frames", tmp_path / "missing.mp4"]
    assert median_duration_s(broken) is None
    assert median_duration_s([*broken, Stretch(video, 0, 1)]) == 1
    assert median_duration_s([]) is None


def test_of_many_some_are_looked_at_that_are_spaced_evenly():
    """Of 640 stretches of 1 to 640 s, every tenth."""
    assert median_duration_s([Stretch(Path("x.mp4"), 0, 1 + i) for i in range(640)]) == (311 + 321) / 2
