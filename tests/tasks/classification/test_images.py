"""Images through the verbs: the same ones as for videos, and the data decides."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from morphmlp.tasks.classification.predictor import Predictor

ARCH = ["--arch.depths", "[1,1,1,1]", "--arch.widths", "[8,16,16,16]", "--arch.chunk_lengths", "[2,2,2,1]"]
ARCH += ["--arch.image_size", "32", "--batch_size", "4", "--workers", "0", "--epochs", "2"]
ARCH += ["--input.fit", "crop"]  # of which there can be three


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 training and 2 validation pictures of each of two colours."""
    root = tmp_path_factory.mktemp("pictures") / "set"
    for split, count in (("train", 6), ("val", 2)):
        for name, color in (("blue", (30, 60, 200)), ("red", (200, 40, 30))):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                noise = np.random.default_rng([len(split), i]).integers(-25, 25, size=(40, 50, 3))
                image = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(image).save(root / split / name / f"{i}.jpg")
    return root


@pytest.fixture(scope="session")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("image_run") / "run"
    process = tiny.run_command("train", pictures, "--out", out, *ARCH, "--lr", "0.01")
    assert process.returncode == 0, process.stderr
    assert "4 validation images" in process.stdout
    assert "images/s" in process.stdout
    assert "frames" not in process.stderr.splitlines()[0]
    return out


def test_an_image_folder_trains_an_image_model(run: Path):
    config = json.loads((run / "best" / "config.json").read_text())
    assert config["model"]["temporal"] is False
    assert config["input"]["interpolation"] == "bicubic"
    assert config["input"]["mean"] == [0.485, 0.456, 0.406]
    assert config["labels"] == ["blue", "red"]
    assert config["training"]["images"] == 12


def test_evaluation_counts_images(run: Path, pictures: Path):
    process = tiny.run_command("evaluate", run / "best", pictures, "--workers", "0")
    assert process.returncode == 0, process.stderr
    assert "4 of 4 images evaluated" in process.stdout
    assert json.loads((run / "best-evaluation" / "summary.json").read_text())["images"] == 4


def test_prediction_finds_the_images_of_a_folder(run: Path, pictures: Path, data: Path):
    process = tiny.run_command("predict", run / "best", pictures / "val", "--json", "--workers", "0")
    rows = json.loads(process.stdout)
    assert [Path(row["path"]).name for row in rows] == ["0.jpg", "1.jpg", "0.jpg", "1.jpg"]
    assert Predictor(run / "best")(pictures / "val" / "red" / "0.jpg").labels == ["blue", "red"]


def test_an_image_with_the_ending_of_a_video_is_predicted(run: Path, pictures: Path, tmp_path: Path):
    image = pictures / "val" / "red" / "0.jpg"
    disguised = tmp_path / "image.mp4"
    disguised.write_bytes(image.read_bytes())
    predictor = Predictor(run / "best")
    assert predictor(disguised).top(2) == predictor(image).top(2)


def test_a_training_evaluation_equals_the_verb_s(run: Path, pictures: Path):
    logged = [line["val_top1"] for line in tiny.read_log(run) if "val_top1" in line]
    assert tiny.evaluate_checkpoint(run / "best", pictures, workers=0).accuracy() == max(logged)


def test_the_other_kind_of_data_is_refused_in_one_line(run: Path, pictures: Path, data: Path, checkpoint: Path):
    for model, folder, message in (
        (run / "best", data, "holds videos, but"),
        (checkpoint, pictures, "holds images, but"),
    ):
        process = tiny.run_command("evaluate", model, folder)
        assert process.returncode == 1
        assert message in process.stderr
    video = next((data / "val").rglob("*.mp4"))
    process = tiny.run_command("predict", run / "best", video, pictures / "val" / "red" / "0.jpg")
    assert process.returncode == 1
    assert f"error: {video}: is a video, but the checkpoint takes images" in process.stderr
    assert "0.jpg" in process.stdout  # the rest is done
    process = tiny.run_command("train", pictures, "--out", run / "none", "--model", "morphmlp_video_nano")
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    assert "morphmlp_video_nano" in process.stderr


def test_several_clips_of_an_image_are_refused(run: Path, pictures: Path):
    process = tiny.run_command("evaluate", run / "best", pictures, "--clips", "3")
    assert process.returncode == 1
    assert "3 clips of an image" in process.stderr


def test_three_crops_of_an_image_are_joined(run: Path, pictures: Path):
    process = tiny.run_command("evaluate", run / "best", pictures, "--crops", "3", "--workers", "0", "--json")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["evaluated"] == 4
