"""The published test views against a naive transcription."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from morphmlp.config import PUBLISHED_INPUTS, InputConfig
from morphmlp.data.clips import views as transforms
from morphmlp.data.clips.views import crop_offsets, normalise, resized_size, whole_size

over_sizes = settings(max_examples=60, deadline=None, derandomize=True)

SMALL = InputConfig(crop=(32, 32), resize=37, mean=(0.1, 0.2, 0.3), std=(0.2, 0.3, 0.4))


def changed(config: Any, **changes: Any) -> Any:
    return type(config).from_dict(config.to_dict() | changes)


def random_frames(num_frames: int, height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def naive_views(frames: np.ndarray, config: InputConfig, num_crops: int) -> np.ndarray:
    """The protocol of recipes' test views, pixel by pixel: normalise, resize, crop; `[crops, 3, T, h, w]`."""
    frames = frames[..., ::-1] if config.channel_order == "bgr" else frames
    pixels = (frames / 255.0 - np.array(config.mean)) / np.array(config.std)
    height, width = pixels.shape[1:3]
    if config.fit == "stretch":
        return np.stack([naive_resize(pixels, *config.crop)] * num_crops).transpose(0, 4, 1, 2, 3)
    crop = config.crop[0]
    short = config.resize if num_crops == 1 else crop
    if height <= width:
        pixels = naive_resize(pixels, short, math.floor(width / height * short))
    else:
        pixels = naive_resize(pixels, math.floor(height / width * short), short)
    height, width = pixels.shape[1:3]
    top, left = math.ceil((height - crop) / 2), math.ceil((width - crop) / 2)
    corners = {
        "start": (0, left) if height > width else (top, 0),
        "center": (top, left),
        "end": (height - crop, left) if height > width else (top, width - crop),
    }
    taken = [config.one_crop] if num_crops == 1 else ["start", "center", "end"]
    views = [pixels[:, y : y + crop, x : x + crop] for y, x in (corners[name] for name in taken)]
    return np.stack(views).transpose(0, 4, 1, 2, 3)


def naive_resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear without antialiasing, pixel centres at halves."""
    for axis, size in ((1, height), (2, width)):
        source = np.maximum((np.arange(size) + 0.5) * pixels.shape[axis] / size - 0.5, 0)
        low = np.floor(source).astype(int)
        high = np.minimum(low + 1, pixels.shape[axis] - 1)
        part = np.expand_dims(source - low, [i for i in range(4) if i != axis])
        pixels = pixels.take(low, axis) * (1 - part) + pixels.take(high, axis) * part
    return pixels


SIZES = {
    "wide": (48, 64),
    "tall": (64, 48),
    "square": (50, 50),
    "tiny": (5, 9),
    "odd": (41, 67),
    "odd and tall": (77, 39),
    "one pixel": (1, 1),
    "as the crop": (32, 32),
    "strip": (3, 50),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(
    ("changes", "num_crops"),
    [
        ({}, 1),
        ({"one_crop": "start"}, 1),
        ({"one_crop": "start", "resize": 32}, 1),
        ({}, 3),
        ({"channel_order": "bgr"}, 1),
        ({"channel_order": "bgr"}, 3),
        ({"fit": "stretch", "crop": [32, 40]}, 1),
    ],
    ids=["centre", "start", "start of the released", "three", "bgr", "three bgr", "stretch"],
)
def test_the_test_views_are_those_of_the_naive_protocol(size: tuple[int, int], changes: dict[str, Any], num_crops: int):
    config = changed(SMALL, **changes)
    for num_frames in (1, 3):
        frames = random_frames(num_frames, *size)
        views = transforms.eval_views(frames, config, num_crops=num_crops)
        assert views.dtype == torch.float32
        assert views.shape == (num_crops, 3, num_frames, *config.crop)
        assert views.numpy() == pytest.approx(naive_views(frames, config, num_crops), abs=2e-4)


def test_the_published_sizes_of_a_320_by_240_video_are_met():
    assert resized_size(240, 320, short_side=256) == (256, 341)
    assert crop_offsets(256, 341, crop=224) == [(16, 0), (16, 59), (16, 117)]  # ceil(117 / 2) = 59
    assert resized_size(320, 240, short_side=224) == (298, 224)  # 298.67 floored
    assert crop_offsets(298, 224, crop=224) == [(0, 0), (37, 0), (74, 0)]
    assert resized_size(100, 100, short_side=256) == (256, 256)


@over_sizes
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(32, 256), st.integers(0, 64))
def test_crops_lie_within_the_resized_frame(height: int, width: int, crop: int, extra: int):
    size = resized_size(height, width, short_side=crop + extra)
    assert min(size) == crop + extra
    assert (size[0] >= size[1]) == (height >= width) or size[0] == size[1]
    offsets = crop_offsets(*size, crop=crop)
    assert len(offsets) == 3
    for top, left in offsets:
        assert 0 <= top <= size[0] - crop
        assert 0 <= left <= size[1] - crop
    along = 0 if size[0] > size[1] else 1
    assert (offsets[0][along], offsets[2][along]) == (0, size[along] - crop)


@pytest.mark.parametrize("num_crops", [1, 3])
@pytest.mark.parametrize("size", [(1, 1000), (1000, 1)])
def test_views_of_an_extreme_strip_are_right_too(size: tuple[int, int], num_crops: int):
    frames = random_frames(1, *size)
    views = transforms.eval_views(frames, SMALL, num_crops=num_crops)
    # Where float32 counts the pixels of a 32,000 px side, it is exact to a few thousandths of one.
    assert np.abs(views.numpy() - naive_views(frames, SMALL, num_crops)).max() < 0.05


def test_antialias_averages_where_plain_resizing_picks():
    frames = np.zeros((1, 256, 256, 3), np.uint8)
    frames[:, ::2] = 255  # lines of one pixel
    config = changed(SMALL, resize=32, mean=[0, 0, 0], std=[1, 1, 1])
    smooth = transforms.eval_views(frames, changed(config, antialias=True), num_crops=1)
    assert smooth.mean().item() == pytest.approx(0.5, abs=0.01)
    assert smooth.std().item() < 0.05


# Images: ImageNet's protocol, resize 256 bicubic, centre 224

IMAGENET = PUBLISHED_INPUTS["imagenet"]
IMAGE_SIZES = {"wide": (300, 400), "tall": (683, 512), "small": (32, 48), "as resized": (256, 341), "strip": (40, 320)}


def levels_of(views: Tensor, config: InputConfig) -> np.ndarray:
    """The view of one image as levels from 0 to 255, [h, w, 3]."""
    pixels = views[0, :, 0].permute(1, 2, 0).double().numpy()
    return (pixels * config.std + config.mean) * 255


def smooth_picture(height: int, width: int) -> np.ndarray:
    """[H, W, 3] uint8 of waves at least 48 px long, from 38 to 217."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(2 * np.pi * (x + shift) / 48) * np.cos(2 * np.pi * y / 71) for shift in (0, 11, 29)]
    return np.round(127.5 + 89 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize("size", IMAGE_SIZES.values(), ids=IMAGE_SIZES)
def test_bicubic_resizing_is_that_of_pillow_before_it_rounds(size: tuple[int, int]):
    picture = random_frames(1, *size)
    height, width = resized_size(*size, short_side=256)
    top, left = crop_offsets(height, width, crop=224)[1]
    channels = [Image.fromarray(picture[0, ..., channel].astype(np.float32)) for channel in range(3)]
    resized = [np.asarray(channel.resize((width, height), Image.Resampling.BICUBIC)) for channel in channels]
    expected = np.stack(resized, axis=-1)[top : top + 224, left : left + 224]
    levels = levels_of(transforms.eval_views(picture, IMAGENET, num_crops=1), IMAGENET)
    assert np.abs(levels - expected).max() < 0.01


def test_bicubic_resizing_is_not_clipped_where_it_overshoots():
    levels = levels_of(transforms.eval_views(random_frames(1, 32, 48), IMAGENET, num_crops=1), IMAGENET)
    assert levels.min() < -20
    assert levels.max() > 275


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (1000, 1200), (64, 64)])
def test_the_view_of_an_image_is_that_of_the_usual_pipeline_but_for_its_rounding(size: tuple[int, int]):
    from torchvision.transforms import v2

    picture = smooth_picture(*size)
    resized = np.asarray(v2.Resize(256, v2.InterpolationMode.BICUBIC)(Image.fromarray(picture))).astype(float)
    assert resized.shape[:2] == resized_size(*size, short_side=256)
    top, left = crop_offsets(*resized.shape[:2], crop=224)[1]
    levels = levels_of(transforms.eval_views(picture[None], IMAGENET, num_crops=1), IMAGENET)
    assert np.abs(levels - resized[top : top + 224, left : left + 224]).max() < 1.1  # it rounds after each axis


@pytest.mark.parametrize(("width", "usual", "ours"), [(341, 58, 59), (343, 60, 60), (342, 59, 59), (256, 16, 16)])
def test_the_centre_lies_a_pixel_further_than_usual_where_the_margin_is_4k_plus_1(width: int, usual: int, ours: int):
    from torchvision.transforms import v2

    columns = torch.arange(width).expand(1, 256, width)
    assert v2.CenterCrop(224)(columns)[0, 0, 0] == usual
    assert crop_offsets(256, width, crop=224)[1] == (16, ours)


# Whole images


def test_a_whole_image_keeps_its_ratio_to_the_next_multiple_of_32():
    assert whole_size(512, 683, short_side=512) == (512, 704)
    assert whole_size(683, 512, short_side=512) == (704, 512)
    assert whole_size(240, 320, short_side=240) == (256, 320)
    assert whole_size(1000, 2000, short_side=512) == (512, 1024)
    assert whole_size(2560, 5121, short_side=512) == (512, 1024)  # 1024.2
    assert whole_size(1000, 2001, short_side=512) == (512, 1056)  # 1024.51
    assert whole_size(100, 150, short_side=50, multiple=1) == (50, 75)


@over_sizes
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(32, 600))
def test_a_whole_image_is_never_a_multiple_larger_than_its_ratio_asks(height: int, width: int, short_side: int):
    exact = [side * short_side / min(height, width) for side in (height, width)]
    for side, wanted in zip(whole_size(height, width, short_side=short_side), exact, strict=True):
        assert side % 32 == 0
        assert wanted - 0.5 <= side < wanted + 32.5


def test_a_whole_view_shows_all_of_the_frame_at_its_size():
    config = changed(SMALL, fit="whole", resize=48)
    frames = random_frames(2, 50, 75)
    views = transforms.eval_views(frames, config, num_crops=1)
    assert views.shape == (1, 3, 2, 64, 96)  # 48 x 72, rounded up
    stretched = transforms.eval_views(frames, changed(SMALL, fit="stretch", crop=[64, 96]), num_crops=1)
    assert torch.equal(views, stretched)


def test_normalising_scales_to_one_then_takes_mean_and_deviation_by_channel():
    clip = torch.tensor([0, 255, 51], dtype=torch.uint8)[:, None, None, None]
    rgb = normalise(clip, SMALL)[:, 0, 0, 0].tolist()
    assert rgb == pytest.approx([-0.1 / 0.2, 0.8 / 0.3, -0.1 / 0.4])
    bgr = normalise(clip, changed(SMALL, channel_order="bgr"))[:, 0, 0, 0].tolist()
    assert bgr == pytest.approx([0.1 / 0.2, 0.8 / 0.3, -0.3 / 0.4])


def test_views_leave_the_frames_as_they_are():
    frames = random_frames(2, 40, 50)
    before = frames.copy()
    for config in (SMALL, changed(SMALL, crop=[40, 50], fit="stretch")):
        transforms.eval_views(frames, config, num_crops=1)
    assert np.array_equal(frames, before)


@pytest.mark.parametrize("size", [(224, 230), (230, 224), (224, 453), (224, 224)])
def test_a_frame_whose_short_side_fits_keeps_its_size(size: tuple[int, int]):
    assert transforms.resized_size(*size, short_side=224) == size
