"""Resizing in numpy is that of torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from morphmlp.config import PUBLISHED_INPUTS, InputConfig
from morphmlp.data.clips.resizing import _taps, resize_frame
from morphmlp.data.clips.views import eval_views, view_arrays

sides = st.integers(2, 60)  # with antialias, torch itself errs on frames of one column


def of_torch(frame: np.ndarray, size: tuple[int, int], interpolation: str, antialias: bool) -> np.ndarray:
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float().contiguous()
    if size == frame.shape[:2]:
        return frame.astype(np.float32)
    resized = F.interpolate(pixels, size=size, mode=interpolation, align_corners=False, antialias=antialias)
    return resized[0].permute(1, 2, 0).numpy()


@settings(max_examples=60, derandomize=True)
@given(sides, sides, sides, sides, st.sampled_from(["bilinear", "bicubic"]), st.booleans(), st.integers(0, 2**32))
def test_resizing_is_that_of_torch_to_a_millionth(
    height: int, width: int, new_height: int, new_width: int, interpolation: str, antialias: bool, seed: int
):
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = (new_height, new_width)
    resized = resize_frame(frame, size, interpolation=interpolation, antialias=antialias)
    assert (resized.dtype, resized.shape) == (np.float32, (*size, 3))
    assert np.abs(resized - of_torch(frame, size, interpolation, antialias)).max() <= 255 * 2e-6


@pytest.mark.parametrize(("size", "antialias"), [((256, 455), False), ((256, 455), True), ((768, 1365), False)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_frame_of_a_video_is_resized_as_by_torch(size: tuple[int, int], interpolation: str, antialias: bool):
    frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    resized = resize_frame(frame, size, interpolation=interpolation, antialias=antialias)
    # Positions in float64 instead of torch's float32 would give differences of up to 0.01.
    assert np.abs(resized - of_torch(frame, size, interpolation, antialias)).max() <= 255 * 2e-6


def test_taps_of_a_halved_axis_are_its_pairs():
    indices, weights = _taps(4, 2, "bilinear", False)
    assert (indices.tolist(), weights.tolist()) == ([[0, 1], [2, 3]], [[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize("family", PUBLISHED_INPUTS)
def test_the_views_are_the_same_as_arrays_and_as_tensors(family: str):
    config: InputConfig = PUBLISHED_INPUTS[family]
    frames = np.random.default_rng(0).integers(0, 256, (2, 240, 320, 3), dtype=np.uint8)
    arrays = view_arrays(frames, config, num_crops=config.num_crops)
    assert np.array_equal(arrays, eval_views(frames, config, num_crops=config.num_crops).numpy())
