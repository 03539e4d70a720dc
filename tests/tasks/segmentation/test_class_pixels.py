"""Classes without a pixel: what a training says of them, and when it refuses the set."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphmlp.config import MaskConfig
from morphmlp.errors import DataError
from morphmlp.tasks.segmentation.annotations import MaskSample, MaskSet
from morphmlp.tasks.segmentation.class_pixels import note_on_classes


def masks(folder: Path, *values: list[int], classes: int, **config: int | bool | list[int]) -> MaskSet:
    """An annotation of one row for each list of values."""
    samples = []
    for number, row in enumerate(values):
        path = folder / f"{number}.png"
        Image.fromarray(np.array([row], dtype=np.uint8)).save(path)
        samples.append(MaskSample(folder / f"{number}.jpg", path))
    return MaskSet(samples, [f"class {i}" for i in range(classes)], MaskConfig.from_dict(config))


def test_masks_of_0_and_255_are_refused_with_what_to_write(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        note_on_classes(masks(tmp_path, [0, 255], [0, 0], classes=2))
    assert str(caught.value) == (
        "1 of 2 classes without a pixel in the 2 training annotations: class 1; the values found are 0, 255, those of "
        "the classes 0 to 1; 255 has a class only where --masks.values says so (--masks.values [0,255]); mend the "
        "annotations or these options: there is nothing to tell apart"
    )
    assert note_on_classes(masks(tmp_path, [0, 255], [0, 0], classes=2, values=[0, 255])) == ""


@pytest.mark.parametrize(
    ("values", "classes", "config", "missing", "reason"),
    [
        ([0, 1, 255], 3, {}, "class 2", "255 has a class only where --masks.values says so (--masks.values [0,1,255])"),
        ([0, 1, 2], 3, {"ignore_index": 1}, "class 1", "1 has none by --masks.ignore_index"),
        ([0, 1, 2], 3, {"reduce_zero_label": True}, "class 2", "0 has none by --masks.reduce_zero_label"),
        ([1, 2, 3], 3, {}, "class 0", "see --masks.values, --masks.ignore_index and --masks.reduce_zero"),
        ([0, 7, 255], 3, {"values": [7, 0, 9]}, "class 2", "those of the classes 7, 0, 9; 255 has a class only where"),
    ],
)
def test_a_class_without_a_pixel_is_named_with_the_values_and_the_option(
    tmp_path: Path, values: list[int], classes: int, config: dict, missing: str, reason: str
):
    note = note_on_classes(masks(tmp_path, values, classes=classes, **config))
    shown = ", ".join(map(str, values))
    assert f"without a pixel in the 1 training annotations: {missing}; the values found are {shown}" in note
    assert reason in note


def test_reading_ends_when_every_class_has_been_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from morphmlp.tasks.segmentation import class_pixels

    read = []
    values_in = class_pixels.values_in
    monkeypatch.setattr(class_pixels, "_BLOCK", 2)
    monkeypatch.setattr(class_pixels, "values_in", lambda path: read.append(path) or values_in(path))
    assert note_on_classes(masks(tmp_path, *([[0, 1]] * 9), classes=2)) == ""
    assert len(read) == 2


def test_annotations_that_cannot_be_read_are_left_to_the_training(tmp_path: Path):
    found = masks(tmp_path, [0, 1], [0, 1], classes=2)
    found.samples[0].mask.write_bytes(b"no png")
    assert note_on_classes(found) == ""
    found.samples[1].mask.unlink()
    assert note_on_classes(found) == ""
