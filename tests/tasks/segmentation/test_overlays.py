"""Pictures of masks: colours, shares, blending, legends."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphmlp.tasks.segmentation.overlays import (
    LEAST_WIDTH,
    LegendEntry,
    _borders,
    _oklab,
    area_shares,
    blend,
    colour_mask,
    draw_overlay,
    mask_picture,
    palette,
    plot_mask_confusion,
    with_legend,
)

ODD_NAMES = ["<b>bold</b> & co", "$5 or $6_x^2", "日本語 😀 ﷽", "[red]it's[/red]", "bytes \udcff\n\ttabs", "n" * 99]


def make_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_mask(height: int, width: int, num_classes: int) -> np.ndarray:
    """Vertical stripes, a class each."""
    return np.broadcast_to(np.arange(width) * num_classes // width, (height, width)).astype(np.uint8)


# ----------------------------------------------------------------------------------------------------- colours


def test_a_class_has_the_same_colour_however_many_there_are():
    assert palette(254).dtype == np.uint8
    for num_classes in (1, 2, 11, 16, 17, 150):
        np.testing.assert_array_equal(palette(num_classes), palette(254)[:num_classes])


def test_colours_are_distinct_to_the_eye_and_none_looks_like_no_class():
    lab = _oklab(palette(254))
    distances = np.linalg.norm(lab[:, None] - lab, axis=-1) + np.eye(254)
    assert distances[:16, :16].min() > 0.09
    assert distances[:40, :40].min() > 0.06
    assert distances.min() > 0.02
    assert lab[:, 0].min() > 0.4


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        # Ottosson's table of the primaries
        ((255, 0, 0), (0.627955, 0.224863, 0.125846)),
        ((0, 0, 255), (0.452014, -0.032457, -0.311528)),
    ],
)
def test_oklab_of_known_colours(rgb, lab):
    np.testing.assert_allclose(_oklab(np.array(rgb)), lab, atol=1e-4)


def test_pixels_have_the_colours_of_their_classes_and_the_dark_one_without():
    colours = palette(3)
    picture = colour_mask(np.array([[0, 2], [255, 1]], dtype=np.uint8), colours)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, [[colours[0], colours[2]], [[24, 26, 30], colours[1]]])


def test_mask_picture_keeps_the_numbers_and_shows_the_colours(tmp_path):
    mask = np.array([[0, 1, 2], [2, 1, 255]], dtype=np.uint8)
    mask_picture(mask, 3).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), mask)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colour_mask(mask, palette(3)))


# ------------------------------------------------------------------------------------------------------ shares


def test_shares_are_of_the_whole_area_largest_first_and_equal_ones_in_order():
    mask = np.array([[2, 2, 2, 255], [0, 1, 3, 3]], dtype=np.uint8)
    assert area_shares(mask, 9) == [(2, 0.375), (3, 0.25), (0, 0.125), (1, 0.125)]


# ---------------------------------------------------------------------------------------------------- blending


def test_blend_mixes_colours_in_and_leaves_pixels_without_a_class():
    image = np.full((2, 4, 3), 200, dtype=np.uint8)
    blended = blend(image, np.zeros((2, 4), dtype=np.uint8), num_classes=2, opacity=0.5)
    np.testing.assert_array_equal(blended, np.broadcast_to((200 + palette(2)[0].astype(int)) // 2, (2, 4, 3)))
    np.testing.assert_array_equal(blend(image, np.full((2, 4), 255, dtype=np.uint8), num_classes=2), image)


def test_a_white_line_stands_between_two_classes():
    blended = blend(make_image(2, 6), make_mask(2, 6, 2), num_classes=2)
    assert (blended[:, 3] == 255).all()
    assert not (blended[:, [0, 1, 2, 4, 5]] == 255).all(axis=(0, 2)).any()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_borders_are_the_pixels_just_behind_a_change(height, width, thickness):
    mask = np.random.default_rng([height, width]).integers(0, 2, (height, width))
    expected = np.zeros((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            changes = (x > 0 and mask[y, x] != mask[y, x - 1]) or (y > 0 and mask[y, x] != mask[y - 1, x])
            for shift in range(thickness if changes else 0):
                expected[y, x + shift : x + shift + 1] = True
                expected[y + shift : y + shift + 1, x] = True
    np.testing.assert_array_equal(_borders(mask, thickness=thickness), expected)


# ----------------------------------------------------------------------------------------- overlays and legends


@pytest.mark.parametrize(
    ("size", "picture_size"),
    [
        ((240, 320), (480, 640)),  # doubled
        ((48, 64), (480, 640)),
        ((700, 900), (700, 900)),
        ((1500, 4), (1500, 4)),  # enlarged to 640 px of width it would be 240,000 px high
    ],
)
def test_small_images_are_enlarged_for_the_legend(size, picture_size):
    overlay = draw_overlay(make_image(*size), make_mask(*size, 2), ["sky", "road"])
    assert overlay.width == max(LEAST_WIDTH, picture_size[1])
    assert 40 < overlay.height - picture_size[0] < 100  # one line


def test_legend_holds_the_classes_present_in_the_order_of_their_area():
    mask = np.zeros((400, 640), dtype=np.uint8)
    mask[:100] = 7
    pixels = np.asarray(draw_overlay(make_image(400, 640), mask, [f"class {i}" for i in range(9)]))
    legend = pixels[400:]
    places = [np.argwhere((legend == palette(9)[i]).all(axis=-1)) for i in range(9)]
    assert [len(place) > 50 for place in places] == [i in (0, 7) for i in range(9)]
    assert places[0][:, 1].max() < places[7][:, 1].min()


@pytest.mark.parametrize("width", [1, 640, 5000])
def test_letters_grow_with_the_picture(width):
    entry = LegendEntry((200, 0, 0), "road", "10.0%")
    pixels = np.asarray(with_legend(np.zeros((10, width, 3), dtype=np.uint8), [entry]))[10:]
    rows = np.argwhere((pixels == (200, 0, 0)).all(axis=-1))[:, 0]
    assert np.ptp(rows) + 1 == pytest.approx(15 if width < 750 else 80, abs=2)


@pytest.mark.parametrize("num_entries", [0, 1, 3, 150])
def test_no_entry_of_a_legend_is_cut_off(num_entries):
    entries = [LegendEntry((255, 0, 0), f"a class with a rather long name {i}", "12.3%") for i in range(num_entries)]
    pixels = np.asarray(with_legend(np.zeros((20, 640, 3), dtype=np.uint8), entries))[20:]
    drawn = np.argwhere((pixels < 250).any(axis=-1))
    assert (len(drawn) > 0) == (num_entries > 0)
    if num_entries:
        assert drawn.min() > 5
        assert (drawn.max(axis=0) < np.array(pixels.shape[:2]) - 5).all()


def test_names_may_hold_anything():
    mask = make_mask(60, 80, len(ODD_NAMES))
    assert draw_overlay(make_image(60, 80), mask, ODD_NAMES).width == LEAST_WIDTH


# ------------------------------------------------------------------------------------------- confusion


@pytest.mark.parametrize("num_classes", [1, 11, 150])
def test_confusion_is_a_picture_of_bounded_size(tmp_path: Path, num_classes: int):
    confusion = np.random.default_rng(0).integers(0, 10**6, (num_classes, num_classes))
    confusion[0] = 0
    labels = [f"{ODD_NAMES[i % 6]} {i}" for i in range(num_classes)]
    plot_mask_confusion(confusion, labels, tmp_path / "c.png", title="Mean IoU 12.3% of 5 images")
    with Image.open(tmp_path / "c.png") as picture:
        assert min(picture.size) > 350
        assert max(picture.size) < 2200
