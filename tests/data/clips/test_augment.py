"""Random training clips: what they keep, that they follow from the seed, and the values of the published order."""

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import rotate

from morphmlp.config import PUBLISHED_INPUTS, AugmentConfig, InputConfig
from morphmlp.data.clips import augment as augment_module
from morphmlp.data.clips import views as transforms
from morphmlp.data.clips.augment import training_clip
from morphmlp.data.clips.rand_augment import Box, apply_steps, draw_steps

SMALL = InputConfig(crop=(32, 32), resize=37, mean=(0.1, 0.2, 0.3), std=(0.2, 0.3, 0.4))
IMAGENET = PUBLISHED_INPUTS["imagenet"]
NOTATION = "rand-m7-n4-mstd0.5-inc1"
PLAIN = AugmentConfig(crop_area=1.0, crop_ratio=1.0, color=0.0, mixup=0.0)
EVERYTHING = AugmentConfig(crop_area=0.2, flip=0.5, rotate=30, color=0.5, gray=0.5, erase=0.5)
PUBLISHED = AugmentConfig(crop_area=0.08, flip=0.5, color=0.0, erase=0.25, rand_augment=NOTATION)


def changed(config: Any, **changes: Any) -> Any:
    return type(config).from_dict(config.to_dict() | changes)


def random_frames(num_frames: int, height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def augmented(frames: np.ndarray, config: InputConfig, augment: AugmentConfig, *, seed: int) -> Tensor:
    return training_clip(frames, config, augment, seed=seed).clip


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


def test_bicubic_training_crops_keep_to_the_range_of_pixels():
    config = changed(IMAGENET, crop=[64, 64], resize=64)
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (config.mean, config.std))
    for antialias in (True, False):
        clip = augmented(random_frames(1, 32, 32), changed(config, antialias=antialias), PLAIN, seed=0)
        levels = (clip * std + mean) * 255
        assert clip.shape == (3, 1, 64, 64)
        assert (levels - levels.round().clamp(0, 255)).abs().max() < 1e-3


def test_interpolation_and_antialiasing_change_the_training_crop():
    frames = random_frames(1, 100, 100)
    configs = [
        changed(SMALL, interpolation=name, antialias=on) for name in ("bilinear", "bicubic") for on in (False, True)
    ]
    clips = {augmented(frames, config, PLAIN, seed=0).numpy().tobytes() for config in configs}
    assert len(clips) == 4


def test_clips_leave_the_frames_as_they_are():
    frames = random_frames(2, 40, 50)
    before = frames.copy()
    for config in (SMALL, changed(SMALL, crop=[40, 50], fit="stretch")):
        augmented(frames, config, EVERYTHING, seed=3)
    assert np.array_equal(frames, before)


INPUTS = {
    "crop": SMALL,
    "bgr": changed(SMALL, channel_order="bgr"),
    "antialias": changed(SMALL, antialias=True),
    "stretch": changed(SMALL, fit="stretch", crop=[32, 48]),
    "bicubic": changed(SMALL, interpolation="bicubic", antialias=True),
    "bicubic as it is": changed(SMALL, interpolation="bicubic"),
    "whole": changed(SMALL, fit="whole"),
}


@pytest.mark.parametrize("config", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("size", [*SIZES.values(), (1, 1000), (1000, 1)])
def test_a_training_clip_has_the_shape_of_the_crop_whatever_the_frames(config: InputConfig, size: tuple[int, int]):
    clip = augmented(random_frames(2, *size), config, EVERYTHING, seed=1)
    assert clip.shape == (3, 2, *config.crop)
    assert clip.dtype == torch.float32
    assert clip.isfinite().all()


@pytest.mark.parametrize("config", INPUTS.values(), ids=INPUTS)
def test_a_training_clip_follows_from_its_seed(config: InputConfig):
    frames = random_frames(2, 40, 50)
    clips = [augmented(frames, config, EVERYTHING, seed=seed) for seed in (5, 6, 2**62 - 1, 5)]
    assert torch.equal(clips[0], clips[3])
    assert not torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], clips[2])


def test_the_random_states_are_left_as_they_were():
    torch.manual_seed(11)
    np_before, before = np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    augmented(random_frames(2, 40, 50), SMALL, EVERYTHING, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == np_before  # noqa: NPY002


def test_the_random_states_of_accelerators_are_not_seeded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the CUDA state was seeded"))
    augmented(random_frames(2, 40, 50), SMALL, EVERYTHING, seed=5)


def test_a_clip_does_not_depend_on_the_random_state():
    frames = random_frames(2, 40, 50)
    clips = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        clips.append(augmented(frames, SMALL, EVERYTHING, seed=5))
    assert torch.equal(*clips)


AUGMENTATIONS = {
    "crop": changed(PLAIN, crop_area=0.2, crop_ratio=2),
    "flip": changed(PLAIN, flip=0.5),
    "rotate": changed(PLAIN, rotate=45),
    "color": changed(PLAIN, color=0.8),
    "gray": changed(PLAIN, gray=0.5),
    "erase": changed(PLAIN, erase=1),
    "everything": EVERYTHING,
    "published": changed(PUBLISHED, erase=0.5),
    "published but the crop first": changed(PUBLISHED, erase=0.5, crop_first=True),
}


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("config", INPUTS.values(), ids=INPUTS)
def test_frames_that_are_alike_stay_alike_under_every_augmentation(config: InputConfig, augment: AugmentConfig):
    frames = np.repeat(random_frames(1, 40, 56), 4, axis=0)
    for seed in range(8):
        clip = augmented(frames, config, augment, seed=seed)
        assert torch.equal(clip, clip[:, :1].expand_as(clip))


def square_clip(augment: AugmentConfig, *, seed: int = 0) -> Tensor:
    """A training clip of square frames of the crop's size: nothing is resized where the crop takes all."""
    return augmented(random_frames(2, 32, 32), SMALL, augment, seed=seed)


def test_with_everything_off_a_square_clip_is_the_test_view():
    expected = transforms.eval_views(random_frames(2, 32, 32), changed(SMALL, resize=32), num_crops=1)[0]
    assert torch.equal(square_clip(PLAIN), expected)


def test_a_flip_of_probability_one_is_the_exact_mirror():
    for seed in range(5):
        mirrored = square_clip(changed(PLAIN, flip=1), seed=seed)
        assert torch.equal(mirrored, square_clip(PLAIN, seed=seed).flip(-1))


def test_a_flip_of_one_half_happens_about_half_of_the_time():
    plain = square_clip(PLAIN)
    num_flipped = sum(not torch.equal(square_clip(changed(PLAIN, flip=0.5), seed=seed), plain) for seed in range(100))
    assert 35 <= num_flipped <= 65


@pytest.mark.parametrize("degrees", [-75, -15, 10, 90])
@pytest.mark.parametrize("size", [(40, 64), (64, 40), (48, 48)])
def test_a_turn_is_that_of_torchvision_where_the_frame_reaches(size: tuple[int, int], degrees: float):
    frames = torch.from_numpy(random_frames(2, *size)).permute(0, 3, 1, 2).float()
    turned = augment_module._turned(frames, degrees)
    expected = rotate(frames, degrees, interpolation=InterpolationMode.BILINEAR)
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in size)
    near = (rows[:, None] ** 2 + columns**2).sqrt() < min(size) / 2 - 1
    assert near.sum() > 1000
    assert torch.allclose(turned[..., near], expected[..., near], atol=0.05)


def test_a_half_turn_is_exact_and_what_a_turn_brings_in_at_the_corners_is_of_the_frame():
    frames = torch.from_numpy(random_frames(2, 20, 31)).permute(0, 3, 1, 2).float()
    assert torch.allclose(augment_module._turned(frames, 180), frames.flip(-1, -2), atol=0.01)
    bright = torch.full((1, 3, 20, 31), 200.0)
    assert torch.allclose(augment_module._turned(bright, 33), bright)


def test_clips_are_turned_either_way_and_no_further_than_asked_for():
    # A line through the middle: where it leaves the frame says how far it was turned.
    frames = np.zeros((1, 65, 65, 3), np.uint8)
    frames[:, 32] = 255
    config = changed(SMALL, crop=[65, 65], resize=65, mean=[0, 0, 0], std=[1, 1, 1])
    ends = [
        int(augmented(frames, config, changed(PLAIN, rotate=20), seed=seed)[0, 0, :, -1].argmax()) for seed in range(60)
    ]
    most = 32 * math.tan(math.radians(20))
    assert 32 - most - 1 <= min(ends) < 32 - most + 3
    assert 32 + most - 3 < max(ends) <= 32 + most + 1


def test_gray_of_probability_one_leaves_no_colour():
    clip = square_clip(changed(PLAIN, gray=1))
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (SMALL.mean, SMALL.std))
    levels = clip * std + mean
    assert torch.allclose(levels[0], levels[1], atol=1e-6)
    assert torch.allclose(levels[0], levels[2], atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_erasing_overwrites_one_box_with_the_same_noise_in_every_frame(seed: int):
    plain, erased = square_clip(PLAIN, seed=seed), square_clip(changed(PLAIN, erase=1), seed=seed)
    box = (plain != erased).all(0).all(0)  # [H, W]
    rows, columns = box.any(1).nonzero().flatten(), box.any(0).nonzero().flatten()
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    assert box[top:bottom, left:right].all()
    assert box.sum() == (bottom - top) * (right - left)
    assert torch.equal(torch.where(box, plain, erased), plain)  # nothing outside
    noise = erased[..., top:bottom, left:right]
    assert torch.equal(noise[:, 0], noise[:, 1])
    assert noise.unique().numel() == 3 * box.sum()  # each pixel and channel its own
    assert 0.01 * 32**2 <= box.sum() <= 0.4 * 32**2


def test_a_random_crop_covers_at_least_the_area_asked_for():
    # A ramp from 0 to 255 over the width: the span of a crop's values is its width.
    frames = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, None, :, None], (1, 256, 256, 3)).copy()
    config = changed(SMALL, mean=[0, 0, 0], std=[1, 1, 1])
    spans = []
    for seed in range(40):
        clip = augmented(frames, config, changed(PLAIN, crop_area=0.25), seed=seed) * 255
        spans.append((clip.max() - clip.min()).item() / 255)
    assert min(spans) > 0.45  # half of the width, less the pixels between the sampled ones
    assert max(spans) > 0.85


# The published order


def crop_box(size: tuple[int, int], config: InputConfig, augment: AugmentConfig) -> Box:
    """torchvision's `RandomResizedCrop.get_params`, and the released code's, from torch's present state."""
    height, width = size
    ratio = config.crop[1] / config.crop[0]
    shares = (augment.crop_area, 1.0)
    ratios = (ratio / augment.crop_ratio, ratio * augment.crop_ratio)
    for _ in range(10):
        area = height * width * torch.empty(1).uniform_(*shares).item()
        aspect = torch.exp(torch.empty(1).uniform_(math.log(ratios[0]), math.log(ratios[1]))).item()
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(torch.randint(0, height - box_height + 1, (1,)))
            left = int(torch.randint(0, width - box_width + 1, (1,)))
            return Box(top, left, box_height, box_width)
    box_height, box_width = height, width
    if width / height < ratios[0]:
        box_height = round(width / ratios[0])
    elif width / height > ratios[1]:
        box_width = round(height * ratios[1])
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def published_clip(frames: np.ndarray, config: InputConfig, augment: AugmentConfig, *, seed: int) -> Tensor:
    """The naive order, all in full: rand-augment, normalise, crop, resize, flip, erase; `[3, T, h, w]`."""
    steps = draw_steps(NOTATION, fill=(128, 128, 128), seed=seed)
    clip = transforms.normalise(torch.from_numpy(apply_steps(frames, steps)).permute(3, 0, 1, 2), config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        box = crop_box(frames.shape[1:3], config, augment)
        clip = clip[..., box.rows, box.columns].contiguous()
        clip = F.interpolate(clip, size=config.crop, mode="bilinear", align_corners=False)
        if torch.rand(1) < augment.flip:
            clip = clip.flip(-1)
        if torch.rand(()) < augment.erase:
            augment_module._erase_box(clip)
    return clip


@pytest.mark.parametrize(
    "size", [(48, 64), (64, 48), (50, 50), (33, 90), (20, 400), (400, 20), (2, 2), (1, 1), (1, 50)]
)
@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
def test_the_published_order_gives_the_values_of_its_steps_one_by_one(size: tuple[int, int], channel_order: str):
    config = changed(SMALL, channel_order=channel_order)
    for seed in range(12):
        frames = random_frames(3, *size, seed=seed)
        clip = augmented(frames, config, PUBLISHED, seed=seed)
        assert clip.shape == (3, 3, 32, 32)
        assert clip.numpy() == pytest.approx(published_clip(frames, config, PUBLISHED, seed=seed).numpy(), abs=2e-5)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**62), st.floats(0.01, 1), st.floats(1, 3))
def test_a_random_crop_is_that_of_the_released_code_and_lies_in_the_frame(
    height: int, width: int, seed: int, crop_area: float, crop_ratio: float
):
    augment = changed(PLAIN, crop_area=crop_area, crop_ratio=crop_ratio)
    boxes = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        crop = augment_module._random_crop(1.0, SMALL, crop_area, crop_ratio)
        boxes.append(augment_module._draw_box(crop, torch.empty(1, 3, height, width, dtype=torch.uint8)))
        torch.manual_seed(seed)
        boxes.append(crop_box((height, width), SMALL, augment))
    assert boxes[0] == boxes[1]
    box = boxes[0]
    assert 0 <= box.top < box.rows.stop <= height
    assert 0 <= box.left < box.columns.stop <= width


def test_with_the_crop_first_rand_augment_sees_the_small_clip():
    augment = changed(PLAIN, rand_augment=NOTATION, crop_first=True)
    for seed in range(20):
        frames = random_frames(3, 32, 32, seed=seed)
        steps = draw_steps(NOTATION, fill=(128, 128, 128), seed=seed)
        expected = transforms.normalise(torch.from_numpy(apply_steps(frames, steps)).permute(3, 0, 1, 2), SMALL)
        assert torch.equal(augmented(frames, SMALL, augment, seed=seed), expected)


def test_the_orders_differ_in_the_clip_alone_where_the_crop_takes_all():
    frames = random_frames(2, 32, 32)
    augment = changed(PLAIN, rand_augment=NOTATION, flip=0.5)
    for seed in range(10):
        last = training_clip(frames, SMALL, augment, seed=seed)
        first = training_clip(frames, SMALL, changed(augment, crop_first=True), seed=seed)
        assert first.flipped == last.flipped
        assert first.clip.numpy() == pytest.approx(last.clip.numpy(), abs=1e-5)


def test_without_rand_augment_the_crop_is_first_in_any_case():
    frames = random_frames(2, 50, 60)
    for seed in range(5):
        clips = [augmented(frames, SMALL, changed(EVERYTHING, crop_first=on), seed=seed) for on in (False, True)]
        assert torch.equal(*clips)


def test_an_image_is_filled_with_its_mean_and_changed_as_by_timm():
    config = changed(SMALL, channel_order="bgr")
    steps = draw_steps(NOTATION, fill=(76, 51, 26), seed=3)  # 0.3, 0.2, 0.1 of 255: the mean is in BGR
    assert augment_module._fill(config, 1) == (76, 51, 26)
    picture = random_frames(1, 32, 32)
    image = Image.fromarray(picture[0])
    for step in steps:
        image = step(image)
    expected = transforms.normalise(torch.from_numpy(np.array(image)).permute(2, 0, 1)[:, None], config)
    augment = changed(PLAIN, rand_augment=NOTATION, crop_first=True)
    assert torch.equal(augmented(picture, config, augment, seed=3), expected)


def test_a_clip_says_whether_it_was_flipped():
    augment = changed(PLAIN, flip=0.5)
    frames = random_frames(2, 32, 32)
    plain = augmented(frames, SMALL, PLAIN, seed=0)
    seen = set()
    for seed in range(20):
        result = training_clip(frames, SMALL, augment, seed=seed)
        assert torch.equal(result.clip, plain.flip(-1) if result.flipped else plain)
        seen.add(result.flipped)
    assert seen == {True, False}


@pytest.mark.parametrize("augment", [EVERYTHING, PUBLISHED], ids=["crop first", "published"])
def test_a_clip_that_may_not_be_flipped_is_else_the_same(augment: AugmentConfig):
    frames = random_frames(2, 48, 48)
    augment = changed(augment, erase=0.0)
    num_flipped = 0
    for seed in range(20):
        free, kept = (training_clip(frames, SMALL, augment, seed=seed, may_flip=may) for may in (True, False))
        assert not kept.flipped
        assert (free.clip.flip(-1) if free.flipped else free.clip).numpy() == pytest.approx(kept.clip.numpy(), abs=1e-4)
        num_flipped += free.flipped
    assert 0 < num_flipped < 20


def test_operations_and_crops_of_one_seed_are_drawn_independently():
    """One seed for numpy and torch would give both the same bits: the first operation would tell the crop's area."""
    areas: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(400):
        steps = draw_steps("rand-m7-n1-p1", fill=(0, 0, 0), seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            areas[steps[0].name in ("auto_contrast", "equalize", "invert", "rotate", "posterize")].append(
                torch.rand(()).item()
            )
    assert min(len(values) for values in areas.values()) > 80
    assert abs(np.mean(areas[True]) - np.mean(areas[False])) < 0.1


def test_the_random_states_of_python_and_numpy_are_left_as_they_were_too():
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    augmented(random_frames(2, 40, 50), SMALL, PUBLISHED, seed=5)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002
