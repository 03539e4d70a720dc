"""Segmenters in use: metrics against torchmetrics, evaluation at the annotation's size, masks of files, the verb."""

import csv
import json
import math
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from torch import nn
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from morphmlp import cli
from morphmlp.checkpoints.folder import CheckpointInfo, save
from morphmlp.config import InputConfig, MaskConfig
from morphmlp.data.batches.loaders import BrokenSample
from morphmlp.data.media.images import read_image
from morphmlp.errors import CheckpointError, DataError, MediaError
from morphmlp.inference.device import Execution
from morphmlp.models.zoo import build_model
from morphmlp.tasks.segmentation.annotations import read_mask_set
from morphmlp.tasks.segmentation.batches import TestMasks, make_image_loader
from morphmlp.tasks.segmentation.crops import whole_image
from morphmlp.tasks.segmentation.evaluation import MaskEvaluation, evaluate
from morphmlp.tasks.segmentation.overlays import palette
from morphmlp.tasks.segmentation.pictures import output_names
from morphmlp.tasks.segmentation.prediction import most_probable, total_cross_entropy
from morphmlp.tasks.segmentation.predictor import SegmentedImage, SegmentPredictor
from morphmlp.tasks.segmentation.report import area_table, evaluation_tables, summary, write_evaluation

INPUT = InputConfig(fit="whole", resize=32, crop=(32, 32))
LABELS = ["sky", "road", "car"]


def save_segmenter(folder: Path, labels: list[str], num_classes: int | None = None) -> Path:
    torch.manual_seed(0)
    fields = {"temporal": False, "frames": 1, "task": "segmentation", "decoder_width": 8}
    model = build_model(tiny.model_config(num_classes or len(labels), **fields))
    nn.init.normal_(model.head.classifier.weight)  # else one class may win everywhere
    save(model, folder, CheckpointInfo(input=INPUT, labels=labels))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_segmenter(tmp_path_factory.mktemp("seg") / "tiny", LABELS)


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> SegmentPredictor:
    return SegmentPredictor(checkpoint, device="cpu")


def write_image(path: Path, size: tuple[int, int] = (45, 60), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size[::-1]).save(path)
    return path


def evaluated(masks: list, predictions: list, labels: list[str] | None = None) -> MaskEvaluation:
    result = MaskEvaluation(labels or LABELS)
    for mask, predicted in zip(masks, predictions, strict=True):
        result.add(np.array(mask, dtype=np.uint8), np.array(predicted, dtype=np.uint8), total_loss=2.0)
    return result


# ----------------------------------------------------------------------------------------------------- metrics


def test_figures_of_a_small_case_by_hand():
    result = evaluated([[[0, 0, 1], [1, 1, 255]]], [[[0, 1, 1], [1, 1, 2]]])
    np.testing.assert_array_equal(result.confusion, [[1, 1, 0], [0, 3, 0], [0, 0, 0]])
    assert result.confusion.dtype == np.int64
    assert result.per_class() == [
        {"class": "sky", "pixels": 2, "iou": 1 / 2, "accuracy": 1 / 2},
        {"class": "road", "pixels": 3, "iou": 3 / 4, "accuracy": 1.0},
        {"class": "car", "pixels": 0, "iou": None, "accuracy": None},  # its one pixel was ignored
    ]
    assert (result.mean_iou(), result.pixel_accuracy(), result.num_images) == (5 / 8, 4 / 5, 1)
    assert result.loss() == 2 / 5


def test_a_class_that_is_only_predicted_counts_as_missed():
    result = evaluated([[[0, 0]]], [[[0, 2]]])
    assert result.per_class()[2] == {"class": "car", "pixels": 0, "iou": 0.0, "accuracy": None}
    assert result.mean_iou() == (1 / 2 + 0) / 2


def test_figures_of_nothing_are_unknown():
    for result in (MaskEvaluation(LABELS), evaluated([[[255, 255]]], [[[0, 1]]])):
        assert all(math.isnan(value) for value in (result.mean_iou(), result.pixel_accuracy(), result.loss()))
        assert json.loads(json.dumps(summary(result), allow_nan=False))["mean_iou"] is None


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_figures_are_those_of_torchmetrics(seed: int, num_classes: int, num_images: int):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, (num_images, 2))
    used = rng.choice(num_classes, rng.integers(1, num_classes + 1), replace=False)  # the others may be absent
    masks = [rng.choice([*used, 255], tuple(size)) for size in sizes]
    predictions = [rng.choice(used, tuple(size)) for size in sizes]
    masks[0][0, 0] = used[0]  # torchmetrics does not say NaN where nothing is annotated
    result = evaluated(masks, predictions, [str(i) for i in range(num_classes)])
    truth, predicted = (torch.from_numpy(np.concatenate([x.ravel() for x in xs])) for xs in (masks, predictions))
    options = {"num_classes": num_classes, "ignore_index": 255}
    each = multiclass_jaccard_index(predicted, truth, average="none", **options)
    recall = multiclass_accuracy(predicted, truth, average="none", **options)
    np.testing.assert_allclose([row["iou"] or 0 for row in result.per_class()], each, atol=1e-6)
    np.testing.assert_allclose([row["accuracy"] or 0 for row in result.per_class()], recall, atol=1e-6)
    mean = multiclass_jaccard_index(predicted, truth, average="macro", **options)
    assert result.mean_iou() == pytest.approx(float(mean), abs=1e-6)
    accuracy = multiclass_accuracy(predicted, truth, average="micro", **options)
    assert result.pixel_accuracy() == pytest.approx(float(accuracy), abs=1e-6)


# ------------------------------------------------------------------------------------ from logits to the mask's size


@pytest.mark.parametrize("rows_at_once", [1, 5, 100])
@pytest.mark.parametrize("size", [(23, 31), (8, 11), (8, 30), (5, 4)])
def test_in_strips_or_at_once_the_result_is_that_of_the_resized_logits(rows_at_once, size, monkeypatch):
    monkeypatch.setattr("morphmlp.tasks.segmentation.prediction.VALUES_AT_ONCE", rows_at_once * 7 * size[1])
    torch.manual_seed(0)
    logits, mask = torch.randn(7, 8, 11), torch.randint(7, size, dtype=torch.uint8)
    mask[3:9, 2:8] = 255
    whole = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)
    classes = most_probable(logits, size)
    assert classes.dtype == torch.uint8
    assert torch.equal(classes.long(), whole.argmax(dim=1)[0])
    expected = F.cross_entropy(whole, mask[None].long(), ignore_index=255, reduction="sum")
    assert total_cross_entropy(logits, mask) == pytest.approx(float(expected), rel=1e-5)


def test_of_equal_logits_the_first_class_is_taken():
    assert not most_probable(torch.ones(3, 2, 2), (4, 4)).any()


def test_class_253_fits_into_a_mask():
    logits = torch.zeros(254, 1, 1)
    logits[253] = 1
    assert most_probable(logits, (1, 1)).item() == 253


# -------------------------------------------------------------------------------------------------- evaluation


class Brightness(nn.Module):
    """Class 0 where the image is dark, 1 where it is bright."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        assert not self.training
        assert not torch.is_grad_enabled()
        return torch.cat([-x[:, :1], x[:, :1]], dim=1) * self.scale


def make_set(num: int) -> SimpleNamespace:
    samples = [SimpleNamespace(path=Path(f"{i}.jpg")) for i in range(num)]
    return SimpleNamespace(samples=samples, classes=["dark", "bright"])


def make_item(index: int, mask: np.ndarray) -> SimpleNamespace:
    """An image of 2 x 2 px, dark on the left and bright on the right."""
    image = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]).expand(1, 3, 2, 2)
    return SimpleNamespace(image=image, mask=mask, index=index)


def test_pixels_are_counted_at_the_size_of_the_annotation():
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[:, 4:] = 1
    mask[0] = 255
    model, seen = Brightness().train(), []
    result = evaluate(model, [make_item(0, mask)], make_set(1), Execution(progress=lambda *done: seen.append(done)))
    np.testing.assert_array_equal(result.confusion, [[20, 0], [0, 20]])
    assert (result.mean_iou(), result.labels, seen) == (1.0, ["dark", "bright"], [(1, 1)])
    assert model.training


def test_broken_images_stand_apart_and_nothing_but_broken_ones_is_an_error():
    broken = BrokenSample(1, Path("1.png"), "is empty")
    loader = [make_item(0, np.zeros((2, 2), dtype=np.uint8)), broken]
    result = evaluate(Brightness(), loader, make_set(2))
    assert (result.num_images, result.broken) == (1, [(Path("1.png"), "is empty")])
    with pytest.raises(DataError, match=r"none of the 1 images can be read; 1\.png: is empty"):
        evaluate(Brightness(), [broken], make_set(1))


def test_evaluation_of_files_agrees_with_the_predicted_masks(predictor: SegmentPredictor, tmp_path: Path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "classes.txt").write_text("\n".join(LABELS))
    expected = MaskEvaluation(LABELS)
    for i, size in enumerate([(45, 60), (64, 40)]):
        path = write_image(tmp_path / "images" / f"{i}.png", size, seed=i)
        mask = np.random.default_rng(i).choice([0, 1, 2, 255], size).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "annotations" / f"{i}.png")
        expected.add(mask, predictor(path).mask)
    masks = read_mask_set(tmp_path, MaskConfig(), split="all")
    result = evaluate(predictor.model, make_image_loader(TestMasks(masks, INPUT), workers=0), masks)
    np.testing.assert_array_equal(result.confusion, expected.confusion)
    assert 0 < result.loss() < 20


def test_folder_of_an_evaluation_holds_its_figures(tmp_path: Path):
    result = evaluated([[[0, 0, 1]]], [[[0, 1, 1]]], ["sky, or so", "$road$", "日本"])
    result.broken.append((Path("a.png"), "is empty"))
    write_evaluation(result, tmp_path / "out")
    assert tiny.files_below(tmp_path / "out") == ["confusion.png", "per_class.csv", "summary.json"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["images"], summary["evaluated"], summary["mean_iou"]) == (2, 1, 0.5)
    assert summary["not_evaluated"] == [{"path": "a.png", "reason": "is empty"}]
    with open(tmp_path / "out" / "per_class.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"class": "sky, or so", "pixels": "2", "iou": "0.5", "accuracy": "0.5"}
    assert rows[2] == {"class": "日本", "pixels": "0", "iou": "", "accuracy": ""}


def print_to_text(*renderables: object) -> str:
    console = Console(file=StringIO(), width=120, color_system=None)
    for renderable in renderables:
        console.print(renderable)
    return console.file.getvalue()


def test_printed_figures_are_those_of_the_evaluation():
    result = evaluated([[[0, 0, 1]]], [[[0, 1, 1]]], ["[red]sky[/red]", "road", "car"])
    result.broken.append((Path("a[1].png"), "is empty"))
    text = print_to_text(*evaluation_tables(result))
    assert text.startswith(
        "1 of 2 images evaluated\n  not evaluated: a[1].png: is empty\n"
        "mean IoU 50.0%   pixel accuracy 66.7%   loss 0.667\n"
        "1 of 3 classes are neither annotated nor predicted here\n"
    )
    rows = [line.split() for line in text.splitlines()]
    assert ["[red]sky[/red]", "2", "50.0%", "50.0%"] in rows
    assert ["car", "0", "n/a", "n/a"] in rows


@pytest.mark.parametrize(("seen", "rows"), [(150, 20), (25, 25)])
def test_of_many_classes_the_extremes_or_those_seen_are_printed(seen: int, rows: int):
    mask = np.arange(seen)[None]
    text = print_to_text(*evaluation_tables(evaluated([mask], [mask // 2 * 2], [f"class{i:03d}" for i in range(150)])))
    assert sum("class" in line and "%" in line for line in text.splitlines()) == rows
    assert "class000" in text


# ----------------------------------------------------------------------------------------------- single images


def test_mask_has_the_size_of_the_file_and_the_classes_of_the_model(predictor: SegmentPredictor, tmp_path: Path):
    path = write_image(tmp_path / "a.png", (45, 60))
    result = predictor(str(path))
    assert (result.path, result.labels) == (path, LABELS)
    np.testing.assert_array_equal(result.image, read_image(path))
    with torch.no_grad():
        logits = predictor.model(whole_image(result.image, INPUT))
    assert logits.shape == (1, 3, 32, 64)  # 32 x 42.7, rounded up to multiples of 32
    expected = F.interpolate(logits, size=(45, 60), mode="bilinear", align_corners=False).argmax(dim=1)[0]
    assert result.mask.dtype == np.uint8
    np.testing.assert_array_equal(result.mask, expected)


def test_areas_are_sorted_and_sum_to_the_whole(tmp_path: Path):
    mask = np.array([[1, 1, 1, 0], [1, 1, 2, 2]], dtype=np.uint8)
    assert SegmentedImage(tmp_path, LABELS, mask, np.zeros((2, 4, 3))).areas() == [
        ("road", 0.625),
        ("car", 0.25),
        ("sky", 0.125),
    ]


def test_unreadable_files_and_strips_are_named_among_good_ones(predictor: SegmentPredictor, tmp_path: Path):
    good = write_image(tmp_path / "good.png")
    strip = write_image(tmp_path / "strip.png", (2, 41))
    (tmp_path / "text.jpg").write_text("no image")
    results = list(predictor.many([strip, tmp_path / "text.jpg", good]))
    assert [type(result) for result in results] == [MediaError, MediaError, SegmentedImage]
    assert results[0].reason == "is 41 x 2 px: one side is more than 20 times the other"


def test_checkpoint_without_names_counts_its_classes(tmp_path: Path):
    predictor = SegmentPredictor(save_segmenter(tmp_path / "unnamed", [], num_classes=3), device="cpu")
    assert predictor.labels == ["0", "1", "2"]


def test_classifiers_and_more_classes_than_a_mask_holds_are_refused(image_checkpoint: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"tiny is a classifier \(tiny\); use `morphmlp predict`"):
        SegmentPredictor(image_checkpoint)
    folder = save_segmenter(tmp_path / "many", [], num_classes=255)
    with pytest.raises(CheckpointError, match=r"has 255 classes; .* holds 254 at most"):
        SegmentPredictor(folder)


# ------------------------------------------------------------------------------------------------ names of files


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.jpg", "b/y.jpg"], ["x", "y"]),
        (["a/x.jpg", "b/x.jpg", "b/y.jpg"], ["a-x.jpg", "b-x.jpg", "y"]),
        (["x.jpg", "x.png"], ["x.jpg", "x.png"]),
        (["x.jpg", "X.jpg"], ["x.jpg", "X.jpg-2"]),  # one file where case does not count
        (["a/x.png", "x.png", "a-x.png.png"], ["a-x.png", "x.png", "a-x.png-2"]),
    ],
)
def test_names_of_the_pictures(paths: list[str], names: list[str]):
    assert output_names([Path(path) for path in paths]) == names


NAMES = st.sampled_from(["x", "X", "a-x", "x-2", "x.png", "a-x.png", "a-x.png-2"])


@given(st.lists(st.tuples(st.sampled_from(["", "a/", "b/", "a/b/"]), NAMES, st.sampled_from([".jpg", ".png"]))))
def test_no_two_images_share_the_name_of_their_pictures(parts: list[tuple[str, str, str]]):
    paths = [Path("".join(part)) for part in parts] or [Path("x.jpg")]
    names = [name.casefold() for name in output_names(paths)]
    assert len(set(names)) == len(paths)


# ------------------------------------------------------------------------------------------------------ the verb


def run_segment(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capfd.readouterr()
    return cli.main(["segment", *map(str, arguments), "--device", "cpu"]), *capfd.readouterr()


def pictures_in(folder: Path) -> list[str]:
    return [name for name in tiny.files_below(folder) if name.endswith(".png")]


def test_verb_writes_masks_and_overlays_of_a_folder(checkpoint, predictor, tmp_path, capfd):
    paths = [write_image(tmp_path / "in" / name) for name in ("a.png", "deep/b.jpg")]
    status, out, err = run_segment(capfd, checkpoint, tmp_path / "in", "--out", tmp_path / "out", "--json")
    assert (status, err) == (0, "")
    assert pictures_in(tmp_path / "out") == ["a_mask.png", "a_overlay.png", "b_mask.png", "b_overlay.png"]
    for row, path, name in zip(json.loads(out), paths, "ab", strict=True):
        result = predictor(path)
        assert row["path"] == str(path)
        assert row["mask"] == str(tmp_path / "out" / f"{name}_mask.png")
        assert row["areas"] == {label: round(share, 6) for label, share in result.areas()}
        with Image.open(row["mask"]) as mask:
            np.testing.assert_array_equal(np.asarray(mask), result.mask)
            assert mask.getpalette()[:9] == palette(3).ravel().tolist()
        with Image.open(row["overlay"]) as overlay:
            assert overlay.width == 660  # 60 px enlarged to at least 640


def test_verb_names_broken_images_one_a_line_and_does_the_rest(checkpoint, tmp_path, capfd):
    good = write_image(tmp_path / "good.png")
    (tmp_path / "empty.jpg").touch()
    out = tmp_path / "out"
    status, text, err = run_segment(capfd, checkpoint, tmp_path / "empty.jpg", good, "no.png", "--out", out)
    assert status == 1
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == [str(tmp_path / "empty.jpg"), "no.png"]
    assert len(err.splitlines()) == 3  # and where the pictures are
    assert str(good) in text
    assert "%" in text
    assert pictures_in(out) == ["good_mask.png", "good_overlay.png"]


def test_verb_replaces_pictures_only_when_told_and_images_to_read_never(checkpoint, tmp_path, capfd):
    path = write_image(tmp_path / "x.png")
    (tmp_path / "x_mask.png").write_text("precious")
    status, _, err = run_segment(capfd, checkpoint, path, "--out", tmp_path)
    assert (status, err) == (
        1,
        f"error: {tmp_path / 'x_mask.png'} would be replaced; choose another --out, or --overwrite\n",
    )
    assert run_segment(capfd, checkpoint, path, "--out", tmp_path, "--overwrite")[0] == 0
    before = (tmp_path / "x_mask.png").read_bytes()
    status, _, err = run_segment(capfd, checkpoint, tmp_path, "--out", tmp_path, "--overwrite")
    assert status == 1
    assert "would be read and overwritten; choose another --out" in err
    assert (tmp_path / "x_mask.png").read_bytes() == before
    assert pictures_in(tmp_path) == ["x.png", "x_mask.png", "x_overlay.png"]


def test_printed_table_holds_the_three_largest_classes():
    rows = [{"path": "a[1].png", "areas": {"[b]": 0.5, "sky": 0.3, "car": 0.15, "road": 0.05}}]
    text = print_to_text(area_table(rows))
    assert "a[1].png   [b] 50.0%, sky 30.0%, car 15.0%" in [line.strip() for line in text.splitlines()]
    assert "road" not in text
