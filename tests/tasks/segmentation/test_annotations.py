"""Images and their annotations: what is paired and split, what the values mean, and what is said of misfits."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from morphmlp.config import MaskConfig, SplitConfig
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import ConfigError, DataError, MediaError
from morphmlp.tasks.registry import task_of_data
from morphmlp.tasks.segmentation.annotations import (
    MaskSet,
    evaluation_mask_split,
    is_mask_data,
    read_mask,
    read_mask_set,
    read_mask_sets,
)
from morphmlp.tasks.segmentation.task import Segmentation

PLAIN, REDUCED = MaskConfig(), MaskConfig(reduce_zero_label=True)
VALUES = np.array([[0, 1, 2], [3, 0, 1]], dtype=np.uint8)
SIZE = (2, 3)


def touch(root: Path, *names: str, classes: str = "sky\nroad\n") -> Path:
    """Empty files below `root`, beside `classes.txt`: none is opened here."""
    root.mkdir(exist_ok=True)
    (root / "classes.txt").write_text(classes, encoding="utf-8")
    for part in ("images", "annotations"):
        (root / part).mkdir(exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pairs(*names: str, split: str = "") -> list[str]:
    return [
        f"{part}{split}/{name}.{end}" for name in names for part, end in (("images", "jpg"), ("annotations", "png"))
    ]


def names_of(masks: MaskSet) -> list[str]:
    for sample in masks.samples:
        assert sample.mask.stem == sample.path.stem
        assert [*sample.mask.parts].index("annotations") == [*sample.path.parts].index("images")
    return [sample.path.stem for sample in masks.samples]


def save(values: np.ndarray, path: Path, mode: str | None = None) -> Path:
    image = Image.fromarray(values)
    if mode == "P":  # colours that are not in the order of the indices
        image.putpalette([(i * 91) % 256 for i in range(768)])
    elif mode:
        image = image.convert(mode)
    image.save(path)
    return path


def save_grey(
    rows: list[bytes], path: Path, *, width: int, bits: int, height: int | None = None, interlaced: bool = False
) -> Path:
    """A greyscale PNG of any depth, which Pillow does not write; the rows are packed, one for each pass and line."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height or len(rows), bits, 0, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


# Layouts


def test_a_folder_with_images_and_annotations_is_told_from_class_folders(tmp_path: Path):
    assert is_mask_data(touch(tmp_path / "masks"))
    (tmp_path / "classes" / "images").mkdir(parents=True)
    assert not is_mask_data(tmp_path / "classes")
    assert not is_mask_data(tmp_path / "missing")


@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("training", "validation")])
def test_splits_are_found_by_either_name(tmp_path: Path, train: str, val: str):
    files = pairs("b", "a", split=f"/{train}") + pairs("c", split=f"/{val}")
    train_set, val_set = read_mask_sets(touch(tmp_path, *files), PLAIN, SplitConfig())
    assert (names_of(train_set), names_of(val_set)) == (["a", "b"], ["c"])
    assert train_set.classes == val_set.classes == ["sky", "road"]
    assert train_set.config == PLAIN


def test_files_are_paired_by_folder_and_name_at_any_depth(tmp_path: Path):
    root = touch(
        tmp_path,
        *pairs("deep/er/x", "deep/x", "x", split="/train"),
        "images/train/deep/.hidden.jpg",
        "images/train/notes.txt",
        "annotations/train/colours.jpg",
    )
    samples = read_mask_set(root, PLAIN, split="train").samples
    assert [sample.path.relative_to(root / "images").as_posix() for sample in samples] == [
        "train/deep/er/x.jpg",
        "train/deep/x.jpg",
        "train/x.jpg",
    ]
    assert [sample.mask for sample in samples] == [
        root / "annotations" / sample.path.relative_to(root / "images").with_suffix(".png") for sample in samples
    ]


def test_endings_in_capitals_and_names_outside_ascii_are_paired(tmp_path: Path):
    root = touch(tmp_path, "images/Straße.JPG", "annotations/Straße.PNG", "images/道.jpeg", "annotations/道.png")
    assert names_of(read_mask_set(root, PLAIN, split=None)) == ["Straße", "道"]


def test_dots_in_a_name_belong_to_it(tmp_path: Path):
    assert names_of(read_mask_set(touch(tmp_path, *pairs("a.1", "a.2")), PLAIN, split=None)) == ["a.1", "a.2"]


def test_a_folder_without_splits_is_split_by_a_seeded_fraction(tmp_path: Path):
    root = touch(tmp_path, *pairs(*"abcdefghij"))
    drawn = [read_mask_sets(root, PLAIN, SplitConfig(val_fraction=0.3, seed=seed)) for seed in (0, 0, 1)]
    for train, val in drawn:
        assert len(val.samples) == 3
        assert sorted(names_of(train) + names_of(val)) == list("abcdefghij")
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_groups_of_images_stay_together(tmp_path: Path):
    root = touch(tmp_path, *pairs(*(f"{sequence}_{i}" for sequence in "abc" for i in range(4))))
    _, val = read_mask_sets(root, PLAIN, SplitConfig(group_pattern="^(.)_"))
    assert len({name[0] for name in names_of(val)}) == 1
    assert len(names_of(val)) == 4


@pytest.mark.parametrize(
    ("present", "chosen"),
    [(["train", "val", "test"], "test"), (["training", "validation"], "val"), (["train"], None), ([], None)],
)
def test_the_split_to_evaluate_on_is_test_else_val_else_everything(
    tmp_path: Path, present: list[str], chosen: str | None
):
    root = touch(tmp_path, *(file for name in present for file in pairs(name, split=f"/{name}")), *pairs("loose"))
    assert evaluation_mask_split(root) == chosen
    expected = {"test": ["test"], "val": ["validation"]}.get(chosen or "", sorted([*present, "loose"]))
    assert sorted(names_of(read_mask_set(root, PLAIN, split=None))) == expected


def test_all_takes_every_split(tmp_path: Path):
    root = touch(tmp_path, *pairs("a", split="/train"), *pairs("a", split="/test"))
    assert names_of(read_mask_set(root, PLAIN, split="all")) == ["a", "a"]


# Layouts that do not fit


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "images holds no images"),
        (
            [*pairs(*"abc"), "images/d.jpg", "images/e.jpg"],
            r"2 of 5 images in .*images have no annotation: d, e; expected .*annotations/d.png",
        ),
        (
            [f"images/{i}.jpg" for i in range(9)],
            r"9 of 9 images .* have no annotation: 0, 1, 2, 3, 4, 5 and 3 more; expected .*annotations/0.png",
        ),
        (
            [*pairs("a"), "annotations/deep/b.png"],
            r"1 of 2 annotations in .* have no image: deep/b; expected it in .*images/deep",
        ),
        (["images/a.jpg", "annotations/a.jpg"], "1 of 1 images .* have no annotation: a; expected .*a.png"),
        ([*pairs("a"), "images/a.png"], "a.jpg and a.png share a name: which one is meant"),
        (pairs("a"), "one image only in images: .* add images"),
    ],
)
def test_a_folder_that_cannot_be_paired_up_says_what_is_wrong(tmp_path: Path, files: list[str], message: str):
    with pytest.raises(DataError, match=message):
        read_mask_sets(touch(tmp_path, *files), PLAIN, SplitConfig())


def test_a_missing_split_is_named_beside_those_there_are(tmp_path: Path):
    root = touch(tmp_path, *pairs("a", split="/training"), *pairs("a", split="/test"))
    with pytest.raises(DataError, match="images has no folder val or validation; it has: test, training"):
        read_mask_sets(root, PLAIN, SplitConfig())
    with pytest.raises(DataError, match="images has no folder holiday; it has: test, training"):
        read_mask_set(root, PLAIN, split="holiday")


def test_annotations_that_lack_the_split_of_the_images_are_missed(tmp_path: Path):
    root = touch(tmp_path, "images/train/a.jpg", "annotations/a.png")
    with pytest.raises(DataError, match="annotations has no folder train or training; it has: no folders"):
        read_mask_set(root, PLAIN, split="train")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="holds no folders images and annotations"):
        read_mask_set(tmp_path, PLAIN, split=None)


# Class names


def test_the_150_classes_of_ade20k_are_packaged(tmp_path: Path):
    classes = read_mask_set(touch(tmp_path, *pairs("a")), MaskConfig(labels="ade20k"), split=None).classes
    assert len(set(classes)) == 150
    assert (classes[:3], classes[12], classes[149]) == (["wall", "building", "sky"], "person", "flag")


def test_the_configuration_names_the_classes_before_the_folder_does(tmp_path: Path):
    (tmp_path / "other.txt").write_text("a\nb\nc\n", encoding="utf-8")
    root = touch(tmp_path / "data", *pairs("a"))
    config = MaskConfig(labels=str(tmp_path / "other.txt"))
    assert read_mask_set(root, config, split=None).classes == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        (None, None, "classes.txt is missing: write the names .* or set masks.labels to a text file or to 'ade20k'"),
        ("a\nb\n", "ade", "masks.labels 'ade': neither ade20k nor a file"),
        ("a\n", None, "classes.txt names 1 classes; allowed: 2 to 254"),
        ("\n".join(map(str, range(255))), None, "classes.txt names 255 classes; allowed: 2 to 254"),
        ("a\na\n", None, "'a' is there twice"),
    ],
)
def test_classes_that_are_not_known_are_asked_for(
    tmp_path: Path, classes: str | None, labels: str | None, message: str
):
    root = touch(tmp_path, *pairs("a"), classes=classes or "")
    if classes is None:
        (root / "classes.txt").unlink()
    with pytest.raises(DataError, match=message):
        read_mask_set(root, MaskConfig(labels=labels), split=None)


# What the values of an annotation mean


@pytest.mark.parametrize("mode", ["L", "P"])
def test_grey_levels_and_palette_indices_are_classes(tmp_path: Path, mode: str):
    path = save(VALUES, tmp_path / "mask.png", mode)
    with Image.open(path) as image:
        assert image.mode == mode
    labels = read_mask(path, PLAIN, num_classes=4, size=SIZE)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, VALUES)


@pytest.mark.parametrize(
    ("bits", "rows"),
    [(2, [b"\x18", b"\xc4"]), (4, [b"\x01\x20", b"\x30\x10"]), (8, [bytes([0, 1, 2]), bytes([3, 0, 1])])],
)
def test_shallow_grey_levels_are_read_as_they_stand_in_the_file(tmp_path: Path, bits: int, rows: list[bytes]):
    path = save_grey(rows, tmp_path / "mask.png", width=3, bits=bits)
    np.testing.assert_array_equal(read_mask(path, PLAIN, num_classes=4, size=SIZE), VALUES)


def test_black_and_white_are_two_classes(tmp_path: Path):
    path = save_grey([b"\x40", b"\xa0"], tmp_path / "mask.png", width=3, bits=1)
    expected = [[0, 1, 0], [1, 0, 1]]
    np.testing.assert_array_equal(read_mask(path, PLAIN, num_classes=2, size=SIZE), expected)


def test_an_interlaced_mask_is_read_as_any_other(tmp_path: Path):
    passes = [b"\0", b"\2", b"\1", b"\3\0\1"]  # columns 0, 2 and 1 of the first row, then the second
    path = save_grey(passes, tmp_path / "mask.png", width=3, bits=8, height=2, interlaced=True)
    np.testing.assert_array_equal(read_mask(path, PLAIN, num_classes=4, size=SIZE), VALUES)


def test_16_bit_values_are_not_scaled(tmp_path: Path):
    path = save(np.array([[0, 65535, 253, 255]], dtype=np.uint16), tmp_path / "mask.png")
    labels = read_mask(path, MaskConfig(ignore_index=65535), num_classes=254, size=(1, 4))
    assert labels.tolist() == [[0, 255, 253, 255]]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MaskConfig(), [0, 1, 2, 3, 255]),
        (MaskConfig(ignore_index=3), [0, 1, 2, 255, 255]),
        (MaskConfig(ignore_index=0), [255, 1, 2, 3, 255]),
        (MaskConfig(reduce_zero_label=True), [255, 0, 1, 2, 255]),
        (MaskConfig(reduce_zero_label=True, ignore_index=2), [255, 0, 255, 2, 255]),
    ],
)
def test_values_become_classes_or_255(tmp_path: Path, config: MaskConfig, expected: list[int]):
    path = save(np.array([[0, 1, 2, 3, 255]], dtype=np.uint8), tmp_path / "mask.png")
    assert read_mask(path, config, num_classes=4, size=(1, 5)).tolist() == [expected]


def test_classes_have_the_values_that_are_given(tmp_path: Path):
    path = save(np.array([[0, 255, 7, 128]], dtype=np.uint8), tmp_path / "mask.png")
    config = MaskConfig(values=(255, 0, 128), ignore_index=7)
    assert read_mask(path, config, num_classes=3, size=(1, 4)).tolist() == [[1, 0, 255, 2]]
    with pytest.raises(MediaError, match=r"holds 128, but the 2 classes are 0, 255; see masks.ignore_index"):
        read_mask(path, MaskConfig(values=(0, 255), ignore_index=7), num_classes=2, size=(1, 4))


def test_one_value_is_given_for_each_class(tmp_path: Path):
    root = touch(tmp_path, *pairs("a"), classes="a\nb\nc\n")
    with pytest.raises(
        DataError, match=r"masks.values holds 2 values; allowed: 3, one for each class of .*classes.txt"
    ):
        read_mask_set(root, MaskConfig(values=(0, 255)), split=None)
    for wrong in ({"values": (0, 0)}, {"values": (0, -1)}, {"values": (0, 3), "ignore_index": 3}):
        with pytest.raises(ConfigError, match=r"mask\.(values|ignore_index) is .*; allowed"):
            MaskConfig(**wrong)
    with pytest.raises(ConfigError, match="reduce_zero_label is True; allowed: False where values are given"):
        MaskConfig(values=(0, 255), reduce_zero_label=True)


def naive_class(value: int, config: MaskConfig, num_classes: int) -> int | None:
    """One value, by the words of `MaskConfig`; None outside the classes."""
    if value in (255, config.ignore_index) or (config.reduce_zero_label and value == 0):
        return 255
    label = value - 1 if config.reduce_zero_label else value
    return label if label < num_classes else None


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    arrays.arrays(np.uint8, (3, 5), elements=st.integers(0, 6) | st.just(255)),
    st.integers(2, 7),
    st.builds(MaskConfig, ignore_index=st.sampled_from([0, 3, 5, 255]), reduce_zero_label=st.booleans()),
)
def test_every_value_has_one_meaning(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, num_classes: int, config: MaskConfig
):
    path = save(values, tmp_path_factory.getbasetemp() / "drawn_mask.png")
    expected = [[naive_class(value, config, num_classes) for value in row] for row in values.tolist()]
    if any(None in row for row in expected):
        with pytest.raises(MediaError, match=f"but the {num_classes} classes are"):
            read_mask(path, config, num_classes=num_classes, size=(3, 5))
    else:
        assert read_mask(path, config, num_classes=num_classes, size=(3, 5)).tolist() == expected


# Annotations that do not fit


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            MaskConfig(ignore_index=1),
            "holds 2, 3, but the 2 classes are 0 to 1; see masks.ignore_index (now 1) for a value without a class, "
            "masks.reduce_zero_label (now False) for classes that count from 1, and masks.values for any others",
        ),
        (
            REDUCED,
            "holds 3, but the 2 classes are 1 to 2; see masks.ignore_index (now 255) for a value without a class, "
            "masks.reduce_zero_label (now True) for classes that count from 1, and masks.values for any others",
        ),
    ],
)
def test_values_outside_the_classes_are_named_with_the_fields_to_look_at(
    tmp_path: Path, config: MaskConfig, reason: str
):
    path = save(VALUES, tmp_path / "mask.png")
    with pytest.raises(MediaError) as caught:
        read_mask(path, config, num_classes=2, size=SIZE)
    assert (caught.value.path, caught.value.reason) == (path, reason)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((4, 3), "is 3 x 2 px, but its image is 3 x 4 px"),
        (
            (3, 2),
            "is 3 x 2 px, but its image is 2 x 3 px; an image is turned upright as its EXIF tag says, an annotation "
            "has to be saved upright",
        ),
    ],
)
def test_another_size_than_the_image_is_refused_with_both(tmp_path: Path, size: tuple[int, int], reason: str):
    with pytest.raises(MediaError) as caught:
        read_mask(save(VALUES, tmp_path / "mask.png"), PLAIN, num_classes=4, size=size)
    assert caught.value.reason == reason


def test_a_giant_mask_is_refused_before_its_pixels_are_decoded(tmp_path: Path):
    path = save_grey([b""], tmp_path / "mask.png", width=12000, height=12000, bits=8)  # the file holds no pixel
    with pytest.raises(MediaError, match="is 12000 x 12000 px, but its image is 3 x 2 px"):
        read_mask(path, PLAIN, num_classes=4, size=SIZE)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_for_classes_are_refused(tmp_path: Path, mode: str):
    path = save(VALUES, tmp_path / "mask.png", mode)
    with pytest.raises(MediaError, match=f"is a picture of mode {mode}; an annotation has one number a pixel"):
        read_mask(path, PLAIN, num_classes=4, size=SIZE)


def test_damaged_files_are_refused(tmp_path: Path):
    whole = save(np.random.default_rng(0).integers(0, 4, (64, 64), dtype=np.uint8), tmp_path / "mask.png").read_bytes()
    reasons = {
        b"": "is empty (0 bytes)",
        b"no picture" * 20: "is not a PNG, as annotations have to be",
        whole[: len(whole) // 2]: "cannot be decoded as a PNG (",
    }
    for content, reason in reasons.items():
        (tmp_path / "broken.png").write_bytes(content)
        with pytest.raises(MediaError, match=re.escape(reason)):
            read_mask(tmp_path / "broken.png", PLAIN, num_classes=4, size=(64, 64))
    with pytest.raises(MediaError, match="cannot be opened"):
        read_mask(tmp_path / "missing.png", PLAIN, num_classes=4, size=(64, 64))


def test_a_jpeg_is_no_annotation_whatever_its_name(tmp_path: Path):
    Image.fromarray(VALUES).save(tmp_path / "mask.png", format="JPEG")  # its values are not those that were saved
    with pytest.raises(MediaError, match="is not a PNG"):
        read_mask(tmp_path / "mask.png", PLAIN, num_classes=4, size=SIZE)


# Folders of other names


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def files(root: Path, *names: str) -> Path:
    """Empty files beside `classes.txt`, without folders that are not asked for."""
    touch(root, *names)
    for part in ("images", "annotations"):
        if not any((root / part).iterdir()):
            (root / part).rmdir()
    return root


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images", "masks"),
        ("images", "labels"),
        ("img_dir", "ann_dir"),
        ("Images", "Annotations"),
        ("IMAGES", "Masks"),
        ("imgs", "gt"),
        ("JPEGImages", "SegmentationClass"),
    ],
)
def test_other_names_of_the_two_folders_are_known(tmp_path: Path, images: str, masks: str):
    root = files(tmp_path, *(f"{images}/{i}.jpg" for i in "abc"), *(f"{masks}/{i}.png" for i in "abc"))
    assert is_mask_data(root)
    assert isinstance(task_of_data(root), Segmentation)
    train, val = read_mask_sets(root, PLAIN, SplitConfig())
    found = sorted((sample.path.name, sample.mask.name) for sample in [*train.samples, *val.samples])
    assert found == [(f"{i}.jpg", f"{i}.png") for i in "abc"]
    assert {sample.mask.parent for sample in train.samples} == {root / masks}


@pytest.mark.parametrize("layout", ["{part}/{split}/{name}", "{split}/{part}/{name}"])
@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("Training", "Validation")])
def test_the_parts_may_lie_above_or_below_the_two_folders(tmp_path: Path, layout: str, train: str, val: str):
    for split, name in ((train, "a"), (train, "b"), (val, "c")):
        files(tmp_path, *(layout.format(part=p, split=split, name=f"{name}.{e}") for p, e in PARTS))
    assert is_mask_data(tmp_path)
    sets = read_mask_sets(tmp_path, PLAIN, SplitConfig())
    assert [[sample.path.stem for sample in part.samples] for part in sets] == [["a", "b"], ["c"]]
    assert evaluation_mask_split(tmp_path) == "val"
    assert len(read_mask_set(tmp_path, PLAIN, split="all").samples) == 3


PARTS = (("Images", "jpg"), ("masks", "png"))


def test_cityscapes_is_read_with_the_annotations_for_training(tmp_path: Path):
    def frame(kinds: list[str]) -> list[str]:
        masks = [f"gtFine/train/aachen/aachen_0_19_gtFine_{kind}.png" for kind in kinds]
        return ["leftImg8bit/train/aachen/aachen_0_19_leftImg8bit.png", *masks]

    root = files(tmp_path, *frame(["color", "instanceIds", "labelIds"]))
    [sample] = read_mask_set(root, PLAIN, split="train").samples
    assert sample.mask.name == "aachen_0_19_gtFine_labelIds.png"
    [sample] = read_mask_set(files(tmp_path, *frame(["labelTrainIds"])), PLAIN, split="train").samples
    assert sample.mask.name == "aachen_0_19_gtFine_labelTrainIds.png"


def test_a_test_part_without_annotations_is_not_evaluated(tmp_path: Path):
    root = touch(tmp_path, *pairs("a", split="/train"), *pairs("b", split="/val"), "images/test/c.jpg")
    assert evaluation_mask_split(root) == "val"


def test_two_folders_of_annotations_are_refused(tmp_path: Path):
    root = files(tmp_path, "images/a.jpg", "masks/a.png", "labels/a.png")
    with pytest.raises(DataError, match="holds labels and masks: which of them has the annotations"):
        is_mask_data(root)


@pytest.mark.parametrize("ending", ["", "_mask"])
def test_masks_in_a_folder_of_any_name_are_no_class(tmp_path: Path, ending: str):
    for name in "abc":
        picture(tmp_path / "train" / "photos" / f"{name}.jpg")
        picture(tmp_path / "train" / "truth" / f"{name}{ending}.png", "L")
    message = "the pictures in truth look like masks of those in photos, not like a class; to train a segmenter"
    for folder in (tmp_path, tmp_path / "train"):
        with pytest.raises(DataError, match=message):
            read_training_sets(folder)


@pytest.mark.parametrize("modes", [("L", "L"), ("RGB", "RGB")])
def test_two_classes_of_pictures_of_the_same_names_are_classes(tmp_path: Path, modes: tuple[str, str]):
    for folder, mode in zip(("cat", "dog"), modes, strict=True):
        for name in "abc":
            picture(tmp_path / folder / f"{name}.png", mode)
    assert read_training_sets(tmp_path)[0].classes == ["cat", "dog"]


def test_files_beside_the_images_are_counted_by_their_endings(tmp_path: Path):
    root = touch(tmp_path, *pairs("a", "b"), "images/c.psd", "annotations/colours.json")
    assert read_mask_sets(root, PLAIN, SplitConfig())[0].left_out == {".psd": 1}
