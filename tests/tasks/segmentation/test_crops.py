"""Image and mask stay aligned to the pixel, whatever is done to both; and what each random change keeps."""

import colorsys
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.clips.views import normalise
from morphmlp.tasks.segmentation.annotations import IGNORED
from morphmlp.tasks.segmentation.crops import (
    _distort_colors,
    _hue_matrix,
    _saturation_matrix,
    resize_mask,
    scaled_size,
    training_crop,
    whole_image,
)

over_sizes = settings(max_examples=60, deadline=None, derandomize=True)

RAW = InputConfig(fit="whole", resize=40, crop=(32, 48), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
PLAIN = AugmentConfig(scale=(1.0, 1.0), flip=0.0, color=0.0, max_class_share=1.0)


def changed(config: Any, **changes: Any) -> Any:
    return type(config).from_dict(config.to_dict() | changes)


def position_codes(height: int, width: int, *, levels: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image whose red is its row and whose green is its column, times `levels`; and masks that hold them."""
    rows, columns = np.indices((height, width), dtype=np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1) * levels, rows, columns


def crop(
    image: np.ndarray, mask: np.ndarray, *, config: InputConfig = RAW, augment: AugmentConfig = PLAIN, seed: int = 0
) -> tuple[Tensor, Tensor]:
    return training_crop(image, mask, config, augment, generator=np.random.default_rng(seed))


# Alignment

LEVELS = 4  # of colour from one pixel to the next, in images of up to 64 px
# Half a pixel from a new centre to the centre of the old pixel that it lies in, and half a level of rounding.
FARTHEST = 1 / 2 + 1 / (2 * LEVELS) + 1e-3


@over_sizes
@given(
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.tuples(st.integers(32, 90), st.integers(32, 90)),
    st.integers(32, 150),
    st.floats(0.3, 1.0),
    st.integers(0, 2**32),
)
def test_each_pixel_of_a_crop_has_the_label_of_where_its_colour_comes_from(
    size: tuple[int, int], crop_size: tuple[int, int], resize: int, smallest: float, seed: int
):
    image, rows, columns = position_codes(*size, levels=LEVELS)
    config = changed(RAW, crop=crop_size, resize=resize)
    augment = changed(PLAIN, scale=(smallest, 2.0), flip=0.5)
    pixels, row_labels = crop(image, rows, config=config, augment=augment, seed=seed)
    _, column_labels = crop(image, columns, config=config, augment=augment, seed=seed)
    assert pixels.shape == (3, *crop_size)
    inside = row_labels != IGNORED
    assert torch.equal(inside, column_labels != IGNORED)
    for channel, labels in zip(pixels * 255 / LEVELS, (row_labels, column_labels), strict=False):
        assert (channel - labels)[inside].abs().max() <= FARTHEST


@pytest.mark.parametrize("factor", [1 / 3, 0.5, 0.77, 1.0, 1.5])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_low_pass_filter_keeps_the_alignment_but_for_the_edges(factor: float, axis: int):
    image, *positions = position_codes(60, 60, levels=LEVELS)
    config, augment = changed(RAW, resize=60, antialias=True), changed(PLAIN, scale=(factor, factor))
    pixels, labels = crop(image, positions[axis], config=config, augment=augment)
    inside = (labels > 6) & (labels < 53)  # the filter is up to 3 px wide on each side
    assert inside.any()
    rounded_twice = 1 / (2 * LEVELS)  # along the rows, then along the columns
    assert (pixels[axis] * 255 / LEVELS - labels)[inside].abs().max() <= FARTHEST + rounded_twice


@pytest.mark.parametrize("resize", [40, 60, 90])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_that_is_one_pixel_off_would_be_noticed(resize: int, axis: int):
    image, *positions = position_codes(60, 60, levels=LEVELS)
    config = changed(RAW, resize=resize)
    pixels, labels = crop(image, np.roll(positions[axis], 1, axis), config=config)
    assert (pixels[axis] * 255 / LEVELS - labels).abs().max() > FARTHEST


@over_sizes
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_a_resized_mask_takes_the_pixel_that_each_new_centre_lies_in(old: tuple[int, int], new: tuple[int, int]):
    mask = np.arange(old[0] * old[1]).reshape(old)
    centres = [[floor((i + Fraction(1, 2)) * a / b) for i in range(b)] for a, b in zip(old, new, strict=True)]
    np.testing.assert_array_equal(resize_mask(mask, new), mask[np.ix_(*centres)])


def test_a_resized_mask_agrees_with_pytorch_on_nearest_centres():
    mask = np.random.default_rng(0).integers(0, 9, (37, 50), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None], size=(64, 23), mode="nearest-exact")
    np.testing.assert_array_equal(resize_mask(mask, (64, 23)), expected[0, 0].numpy())


# Size and place of a crop


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((364, 500), 512, (512, 703)),
        ((500, 364), 512, (703, 512)),
        ((512, 2048), 512, (512, 2048)),
        ((100, 1000), 512, (205, 2048)),  # the long side ends at 4 x 512
        ((1, 1000), 64, (1, 256)),
    ],
)
def test_the_short_side_is_scaled_unless_the_long_one_gets_too_long(
    size: tuple[int, int], short_side: int, expected: tuple[int, int]
):
    assert scaled_size(*size, short_side=short_side) == expected


def test_a_crop_shows_between_half_and_twice_the_size():
    """In a crop of an image of columns, a pixel is 1/2 to 2 columns wide; short side and `resize` are 40."""
    image, _, columns = position_codes(40, 160)
    steps = []
    for seed in range(60):
        pixels, labels = crop(image, columns, augment=changed(PLAIN, scale=(0.5, 2.0)), seed=seed)
        row = pixels[1, 0][labels[0] != IGNORED] * 255
        steps.append(float(row[-1] - row[0]) / (len(row) - 1))
    assert 0.5 <= min(steps) < 0.55
    assert 1.7 < max(steps) <= 2.1


def test_what_a_small_image_leaves_free_is_ignored_and_of_the_mean_colour():
    image, mask = np.full((20, 30, 3), 200, dtype=np.uint8), np.ones((20, 30), dtype=np.uint8)
    config = InputConfig(fit="whole", resize=40, crop=(64, 80))
    pixels, labels = crop(image, mask, config=config, augment=changed(PLAIN, flip=1.0))
    assert (labels[:40, :60] == 1).all()
    assert (pixels[:, :40, :60] != 0).all()
    for part in (np.s_[..., 40:, :], np.s_[..., :, 60:]):
        assert (labels[part] == IGNORED).all()
        assert (pixels[part] == 0).all()


def test_crops_lie_everywhere_from_edge_to_edge():
    image, rows, columns = position_codes(40, 52)  # 8 px of room above, 4 at the left of a crop of 32 x 48
    tops = {int(crop(image, rows, seed=seed)[1][0, 0]) for seed in range(80)}
    lefts = {int(crop(image, columns, seed=seed)[1][0, 0]) for seed in range(80)}
    assert (tops, lefts) == (set(range(9)), set(range(5)))


def largest_share(labels: Tensor) -> float:
    counts = torch.bincount(labels[labels != IGNORED].flatten().long())
    return float(counts.max() / counts.sum())


def shares_of_crops(mask: np.ndarray, most: float) -> list[float]:
    """The largest share of a class in each of 100 crops; 1 where all is ignored."""
    image, augment = np.zeros((*mask.shape, 3), dtype=np.uint8), changed(PLAIN, max_class_share=most)
    crops = [crop(image, mask, augment=augment, seed=seed)[1] for seed in range(100)]
    return [largest_share(labels) if (labels != IGNORED).any() else 1.0 for labels in crops]


def test_a_crop_that_one_class_fills_is_drawn_again():
    """Left edges lie in 0 to 112, those of 44 to 68 show both halves: 22 % of the crops, 92 % after ten draws."""
    mask = np.zeros((40, 160), dtype=np.uint8)
    mask[:, 80:] = 1
    assert np.mean(np.array(shares_of_crops(mask, 1.0)) <= 0.75) < 0.35
    assert np.mean(np.array(shares_of_crops(mask, 0.75)) <= 0.75) > 0.8


def test_ignored_pixels_do_not_count_for_the_share_of_a_class():
    """Two classes of 20 columns each among ignored ones: a crop of both is fine, though ignored ones fill it."""
    mask = np.full((40, 160), IGNORED, dtype=np.uint8)
    mask[:, 60:80], mask[:, 80:100] = 0, 1
    assert np.mean(np.array(shares_of_crops(mask, 0.75)) <= 0.75) > 0.9


def test_a_crop_without_a_class_is_drawn_again():
    mask = np.full((40, 160), IGNORED, dtype=np.uint8)
    mask[:, 78:82] = 1  # in 45 % of the crops
    image = np.zeros((40, 160, 3), dtype=np.uint8)
    assert np.mean([bool((crop(image, mask, seed=seed)[1] == 1).any()) for seed in range(60)]) > 0.9


@pytest.mark.parametrize("value", [3, IGNORED])
def test_a_mask_without_a_varied_crop_gives_the_last_one_drawn(value: int):
    image, mask = np.zeros((40, 60, 3), dtype=np.uint8), np.full((40, 60), value, dtype=np.uint8)
    _, labels = crop(image, mask, augment=changed(PLAIN, max_class_share=0.75))
    assert labels.unique().tolist() == [value]


def test_a_flip_turns_image_and_mask_left_to_right():
    image, _, columns = position_codes(40, 60)
    config = changed(RAW, crop=(40, 60))
    pixels, labels = crop(image, columns, config=config, augment=changed(PLAIN, flip=1.0))
    assert labels[0].tolist() == list(range(59, -1, -1))
    torch.testing.assert_close(pixels[1, 0] * 255, torch.arange(59.0, -1, -1))


# Randomness


def random_pair(height: int = 50, width: int = 70) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, generator.integers(0, 5, (height, width), dtype=np.uint8)


def test_a_crop_follows_from_its_generator_and_leaves_all_else_alone():
    image, mask = random_pair()
    augment = AugmentConfig(flip=0.5, color=0.5)
    kept_image, kept_mask = image.copy(), mask.copy()
    torch.manual_seed(1)
    np_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, again, other = (crop(image, mask, augment=augment, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch_state, torch.get_rng_state())
    np.testing.assert_array_equal(np_state, np.random.get_state()[1])  # noqa: NPY002
    np.testing.assert_array_equal(image, kept_image)
    np.testing.assert_array_equal(mask, kept_mask)


def test_a_crop_is_normalised_as_the_configuration_says():
    image, mask = np.full((40, 60, 3), (10, 20, 30), dtype=np.uint8), np.zeros((40, 60), dtype=np.uint8)
    config = InputConfig(
        fit="whole", resize=40, crop=(32, 32), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2), channel_order="bgr"
    )
    pixels, labels = crop(image, mask, config=config)
    assert (pixels.dtype, labels.dtype) == (torch.float32, torch.uint8)
    expected = [(30 / 255 - 0.1) / 0.5, (20 / 255 - 0.2) / 0.25, (10 / 255 - 0.3) / 0.2]
    torch.testing.assert_close(pixels[:, 5, 7], torch.tensor(expected))


# Colours


def distorted(pixels: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """`[n, 3]` colours, changed alike."""
    image = torch.from_numpy(pixels.astype(np.uint8)).T[:, None]
    return _distort_colors(image, strength, np.random.default_rng(seed))[:, 0].T.numpy()


def test_no_strength_leaves_the_colours_as_they_are():
    colors = np.random.default_rng(0).integers(0, 256, (50, 3))
    np.testing.assert_array_equal(distorted(colors, 0.0, seed=1), colors)


def test_greys_stay_grey_and_in_range_whatever_is_drawn():
    greys = np.repeat(np.arange(0, 256, 5)[:, None], 3, axis=1)
    for seed in range(40):
        values = distorted(greys, 1.0, seed)
        assert np.ptp(values, axis=1).max() < 1e-3
        assert values.min() >= 0
        assert values.max() <= 255


def test_half_the_strength_changes_greys_by_what_ade20k_is_trained_with():
    """A grey of 100 becomes factor * 100 + shift: brightness and contrast alone change it, each half of the time."""
    values = np.array([distorted(np.array([[0] * 3, [100] * 3, [150] * 3]), 0.5, seed)[:, 0] for seed in range(800)])
    factors = (values[:, 2] - values[:, 1]) / 50
    shifts = values[:, 1] - 100 * factors
    assert 0.5 <= factors.min() < 0.52
    assert 1.48 < factors[values[:, 2] < 255].max() <= 1.5 + 1e-5
    in_range = values[:, 2] < 255
    assert -255 / 8 - 1e-3 <= shifts[in_range].min() < -31
    assert 31 < shifts[in_range].max() <= 255 / 8 + 1e-3
    assert 0.45 < np.mean(np.isclose(factors, 1.0)) < 0.55


def test_half_the_strength_turns_the_hue_by_up_to_a_tenth():
    color = np.array([[120, 60, 60]])  # red, far from both ends of the range
    hues = np.array([colorsys.rgb_to_hsv(*distorted(color, 0.5, seed)[0])[0] for seed in range(400)])
    turns = np.abs((hues + 0.5) % 1 - 0.5)
    assert 0.08 < turns.max() < 0.12
    assert 0.4 < np.mean(turns < 1e-4) < 0.6  # in the other half, none


def test_saturation_mixes_with_the_grey_of_the_same_brightness():
    color = np.array([200.0, 100.0, 50.0])
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    np.testing.assert_allclose(_saturation_matrix(0.0) @ color, [grey] * 3)
    np.testing.assert_allclose(_saturation_matrix(1.0) @ color, color)
    np.testing.assert_allclose(_saturation_matrix(1.5) @ color, grey + 1.5 * (color - grey))


def test_hue_turns_through_red_green_and_blue():
    third = _hue_matrix(1 / 3)
    np.testing.assert_allclose(third @ np.eye(3), np.eye(3)[:, [1, 2, 0]], atol=1e-12)  # red -> green -> blue -> red
    np.testing.assert_allclose(_hue_matrix(0.1) @ _hue_matrix(0.2), _hue_matrix(0.3), atol=1e-12)
    np.testing.assert_allclose(_hue_matrix(0.0), np.eye(3))


def test_hue_turns_as_far_as_that_of_hsv():
    """The circle and the hexagon agree at its corners, and within 0.02 of a turn elsewhere."""
    for hue in np.linspace(0, 1, 25):
        color = np.array(colorsys.hsv_to_rgb(hue, 0.4, 0.6))
        turned = colorsys.rgb_to_hsv(*(_hue_matrix(0.1) @ color))[0]
        assert abs((turned - hue - 0.1 + 0.5) % 1 - 0.5) < 0.02


# The whole image of the test


@pytest.mark.parametrize(
    ("size", "expected"), [((240, 320), (64, 96)), ((320, 240), (96, 64)), ((60, 60), (64, 64)), ((1, 3), (64, 192))]
)
def test_the_whole_image_has_sides_of_multiples_of_32(size: tuple[int, int], expected: tuple[int, int]):
    image = np.zeros((*size, 3), dtype=np.uint8)
    assert whole_image(image, changed(RAW, resize=60)).shape == (1, 3, *expected)


def test_the_whole_image_of_the_right_size_is_normalised_only():
    image, _ = random_pair(64, 96)
    config = InputConfig(fit="whole", resize=64)
    expected = normalise(torch.from_numpy(image).permute(2, 0, 1)[:, None], config)[None, :, 0]
    torch.testing.assert_close(whole_image(image, config), expected)


def test_the_whole_image_is_seen_from_edge_to_edge():
    image, _, _ = position_codes(60, 90)
    whole = whole_image(image, changed(RAW, resize=120))[0] * 255  # 120 x 180 -> 128 x 192
    assert whole.shape == (3, 128, 192)
    torch.testing.assert_close(whole[0, [0, -1], 5], torch.tensor([0.0, 59.0]))
    torch.testing.assert_close(whole[1, 5, [0, -1]], torch.tensor([0.0, 89.0]))
