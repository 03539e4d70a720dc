"""Training a segmenter through the verbs: what it leaves, that it is resumed to the last bit, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import morphmlp.training.run as training
from morphmlp.config import AugmentConfig, InputConfig, MaskConfig, RunConfig, TrainConfig
from morphmlp.errors import DataError
from morphmlp.models.zoo import build_model
from morphmlp.tasks.segmentation.annotations import read_mask_sets
from morphmlp.tasks.segmentation.batches import MaskBatch
from morphmlp.tasks.segmentation.training import SegmentationTask

CLASSES = ["sky", "road", "car"]
INPUT = InputConfig(fit="whole", resize=64, crop=(64, 64))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 4 validation pictures of bands of colour, each class its own; void is 3."""
    root = tmp_path_factory.mktemp("scenes") / "set"
    colors = np.array([[90, 160, 250], [90, 90, 90], [220, 30, 30], [255, 255, 255]], dtype=np.uint8)
    for split, count in (("train", 12), ("val", 4)):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            generator = np.random.default_rng([len(split), i])
            mask = np.sort(generator.integers(0, 4, size=(48, 1)), axis=0).astype(np.uint8).repeat(64, axis=1)
            noise = generator.integers(-20, 20, size=(48, 64, 3))
            image = np.clip(colors[mask].astype(int) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / "images" / split / f"{i}.png")
            Image.fromarray(mask).save(root / "annotations" / split / f"{i}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return root


def run_config(data: Path, **settings: object) -> RunConfig:
    model = tiny.model_config(3, temporal=False, frames=1, task="segmentation", decoder_width=8)
    values = {"epochs": 2, "batch_size": 4, "workers": 0, "warmup_epochs": 0.5, "lr": 5e-3} | settings
    return RunConfig(
        data=str(data),
        model=model,
        input=INPUT,
        train=TrainConfig.from_dict(values),
        masks=MaskConfig(ignore_index=3),
    )


def test_a_segmenter_learns_which_colour_is_which(scenes: Path, tmp_path: Path):
    plain = AugmentConfig(color=0.0, scale=(1.0, 1.0)).to_dict()
    result = training.train(run_config(scenes, epochs=12, lr=0.02, augment=plain), tmp_path / "run")
    assert (result.metric, result.unit, result.num_train, result.num_val) == ("miou", "images", 12, 4)
    assert result.best_score > 0.6  # a constant answer has at most a third
    evaluations = [line for line in tiny.read_log(tmp_path / "run") if "val_miou" in line]
    assert len(evaluations) == 12
    assert evaluations[-1]["val_loss"] < evaluations[0]["val_loss"]
    assert evaluations[0].keys() >= {"val_pixel_accuracy", "val_broken"}


def test_a_stopped_segmentation_goes_on_to_the_last_bit(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    augment = AugmentConfig(flip=0.5, color=0.4, scale=(0.5, 2.0)).to_dict()
    config = run_config(scenes, epochs=3, ema=0.9, augment=augment)
    training.train(config, tmp_path / "whole")
    tiny.stop_after(4, monkeypatch)
    with pytest.raises(training.Interrupted):
        training.train(config, tmp_path / "stopped")
    training.resume(tmp_path / "stopped")
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_the_loss_is_the_mean_over_the_pixels_with_a_class(scenes: Path):
    config = run_config(scenes)
    task = SegmentationTask(config, read_mask_sets(scenes, config.masks, config.split))
    model = build_model(config.model).eval()
    images, masks = torch.randn(2, 3, 32, 32), torch.randint(0, 3, (2, 32, 32))
    masks[0, :16] = 255
    with torch.no_grad():
        logits = model(images)
        picked = logits.log_softmax(dim=1).gather(1, masks.clamp(max=2)[:, None])[:, 0]
        loss = task.loss(model, MaskBatch(images, masks, [0, 1], []), torch.device("cpu"))
        torch.testing.assert_close(loss, -picked[masks != 255].mean())
        masks[:] = 255
        assert task.loss(model, MaskBatch(images, masks, [0, 1], []), torch.device("cpu")) == 0


def test_the_verbs_train_evaluate_and_segment(scenes: Path, tmp_path: Path):
    run = tmp_path / "run"
    arch = ["--arch.depths", "[1,1,1,1]", "--arch.widths", "[8,16,16,16]", "--arch.chunk_lengths", "[2,2,2,1]"]
    arch += ["--arch.image_size", "32", "--arch.decoder_width", "8"]
    size = ["--input.resize", "64", "--input.crop", "[64,64]"]
    options = ["--epochs", "1", "--batch_size", "4", "--workers", "0", "--masks.ignore-index", "3"]
    options += ["--precision", "fp32"]
    trained = tiny.run_command("train", scenes, "--out", run, *arch, *size, *options)
    assert trained.returncode == 0, trained.stderr
    assert "last mIoU" in trained.stdout
    assert "chosen by what is in the data" in trained.stderr
    assert "images/s" in trained.stdout

    evaluated = tiny.run_command("evaluate", run / "best", scenes, "--workers", "0", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    values = json.loads(evaluated.stdout)
    logged = [line["val_miou"] for line in tiny.read_log(run) if "val_miou" in line]
    assert values["mean_iou"] == pytest.approx(logged[-1], abs=1e-6)
    assert values["evaluated"] == 4
    assert tiny.files_below(tmp_path / "run" / "best-evaluation") == ["confusion.png", "per_class.csv", "summary.json"]

    segmented = tiny.run_process("segment", run / "best", scenes / "images" / "val", "--out", tmp_path / "masks")
    assert segmented.returncode == 0, segmented.stderr
    assert len(list((tmp_path / "masks").glob("*_mask.png"))) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "morphmlp_video_nano"], "video"),
        (["--masks.ignore-index", "200"], "12 of 12 training images cannot be read"),  # 3 is then no class
    ],
)
def test_what_cannot_be_trained_is_one_line(scenes: Path, tmp_path: Path, arguments: list[str], message: str):
    process = tiny.run_command(
        "train", scenes, "--out", tmp_path / "run", "--epochs", "1", "--workers", "0", "--arch.decoder_width", "8",
        "--batch_size", "16", *arguments,
    )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith("error: ")
    assert message in process.stderr.splitlines()[-1]
    assert not (tmp_path / "run" / "best").exists()


def test_options_of_other_tasks_are_refused_for_a_segmenter(scenes: Path, tmp_path: Path):
    training.train(run_config(scenes, epochs=1), tmp_path / "run")
    process = tiny.run_command("evaluate", tmp_path / "run" / "best", scenes, "--clips", "0", "--lists.val", "a")
    assert process.returncode == 1
    assert "is a segmenter, which does not take --clips, --lists: leave it out" in process.stderr


def test_the_fields_of_the_training_are_kept_beside_those_given_to_evaluate(scenes: Path, tmp_path: Path):
    """3 is ignored because the training said so, though another field is given."""
    training.train(run_config(scenes, epochs=1), tmp_path / "run")
    arguments = ["evaluate", tmp_path / "run" / "best", scenes, "--workers", "0", "--json"]
    plain, given = (tiny.run_command(*arguments, *more) for more in ([], ["--masks.reduce_zero_label", "false"]))
    assert plain.returncode == 0, plain.stderr
    assert given.stdout == plain.stdout
    changed = tiny.run_command(*arguments, "--masks.ignore_index", "2")
    assert changed.returncode == 1  # 3 is now a value outside the classes
    assert "none of the 4 images can be read" in changed.stderr


def test_crops_that_leave_one_token_are_refused(scenes: Path, tmp_path: Path):
    process = tiny.run_command("train", scenes, "--out", tmp_path / "run", "--input.crop", "[32,64]")
    assert process.returncode == 1
    assert "input.crop is (32, 64); allowed: 64 px or more for segmentation" in process.stderr


def test_a_validation_part_without_classes_is_named(scenes: Path, tmp_path: Path):
    import shutil

    data = tmp_path / "set"
    shutil.copytree(scenes, data)
    for path in (data / "annotations" / "val").iterdir():
        Image.fromarray(np.full((48, 64), 3, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match=r"no pixel of the 4 validation images has a class; --masks.ignore_index is 3"):
        training.train(run_config(data, epochs=1), tmp_path / "run")
