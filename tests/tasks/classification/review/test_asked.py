"""`evaluate` and its page: what it is compared with, and where there is nothing to compare with."""

import json
import shutil
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import tiny

from morphmlp.checkpoints.folder import load_with_info, save
from morphmlp.data.media.video import read_frames
from morphmlp.errors import DataError
from morphmlp.tasks.classification.evaluation import evaluate_checkpoint
from morphmlp.tasks.classification.report import write_predictions
from morphmlp.tasks.classification.review import asked


def review(checkpoint: Path, data: Path, *options: object, out: Path) -> dict[str, Any]:
    """Of the command line's JSON."""
    process = tiny.run_command("evaluate", checkpoint, data, "--workers", 0, "--json", "--out", out, *options)
    assert process.returncode == 0, process.stderr
    assert (out / "index.html").stat().st_size > 10_000
    return json.loads(process.stdout)["review"]


def test_the_training_part_of_the_same_data_is_learned_from(checkpoint: Path, data: Path, tmp_path: Path):
    found = review(checkpoint, data, out=tmp_path / "out")
    assert found["comparisons"]["training"] == 20
    assert found["comparisons"].keys() >= {"model", "commonest_class", "shrunk_pixels"}
    assert (found["copies"], found["why_alone"], found["groups"]) == ([], "", 10)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--baseline", "false"], "left out, as --baseline false asks"),
        (["--split", "train"], "what was evaluated, the part 'train', is what they would learn from"),
        (["--shuffle_frames"], "the frames were shuffled"),
    ],
)
def test_what_is_not_compared_is_said(options: list[object], reason: str, checkpoint: Path, data: Path, tmp_path: Path):
    found = review(checkpoint, data, *options, out=tmp_path / "out")
    assert found["why_alone"] == reason
    assert found["copies"] is None
    assert reason in (tmp_path / "out" / "index.html").read_text().replace("&#x27;", "'")


def test_a_folder_without_a_training_part_is_evaluated_alone(checkpoint: Path, data: Path, tmp_path: Path):
    found = review(checkpoint, data / "val", out=tmp_path / "out")
    assert found["comparisons"] is None
    assert "no part beside the one that was evaluated" in found["why_alone"] or "no training part" in found["why_alone"]


def test_a_pattern_makes_groups_and_one_that_does_not_fit_is_refused(checkpoint: Path, data: Path, tmp_path: Path):
    found = review(checkpoint, data, "--group_pattern", "^(moving|opening|closing|app)", out=tmp_path / "out")
    assert found["groups"] == 4
    process = tiny.run_command(
        "evaluate", checkpoint, data, "--workers", 0, "--group_pattern", "^speaker", "--out", tmp_path / "no"
    )
    assert process.returncode == 1
    assert r"does not fit group_pattern '^speaker'; give a regular expression" in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert not (tmp_path / "no").exists()


def test_labels_are_doubted_by_out_of_fold_predictions(checkpoint: Path, data: Path, tmp_path: Path):
    folds = tmp_path / "folds"
    folds.mkdir()
    write_predictions(evaluate_checkpoint(checkpoint, data, split="train"), folds / "one.csv")
    first, *lines = (folds / "one.csv").read_text().splitlines()
    (folds / "predictions.csv").write_text("\n".join([f"fold,{first}", *(f"1,{line}" for line in lines)]) + "\n")
    found = review(checkpoint, data, "--out_of_fold", folds, out=tmp_path / "out")
    assert found["label_errors_from"] == str(folds)
    assert found["label_errors"]
    assert all("/train/" in error["path"] for error in found["label_errors"])
    process = tiny.run_command(
        "evaluate", checkpoint, data, "--workers", 0, "--out_of_fold", tmp_path / "none", "--out", tmp_path / "no"
    )
    assert process.returncode == 1
    assert str(tmp_path / "none") in process.stderr


def test_images_have_a_page_too(image_checkpoint: Path, tmp_path: Path):
    from PIL import Image

    for number, name in enumerate(load_with_info(image_checkpoint)[1].labels):
        for split in ("train", "val"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for shade in (0, 9):
                Image.new("RGB", (48, 40), (25 * number, 200, 20 * number + shade)).save(folder / f"{split}{shade}.png")
    found = review(image_checkpoint, tmp_path / "images", out=tmp_path / "out")
    assert found["comparisons"]["shrunk_pixels"]["how"].startswith("16 x 16 px")
    assert (found["comparisons"]["images"], found["comparisons"]["training"]) == (20, 20)


def test_a_model_of_the_data_s_own_training_takes_the_part_that_it_was_trained_on(
    checkpoint: Path, data: Path, tmp_path: Path
):
    """A folder without parts: what was drawn when it was trained is drawn again."""
    whole = tmp_path / "whole"
    for video in data.glob("*/*/*.mp4"):
        folder = whole / video.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(video, folder / f"{video.parts[-3]}_{video.name}")
    model, info = load_with_info(checkpoint)
    info.training = {"data": str(whole), "split": {"val_fraction": 0.4, "seed": 1}}
    save(model, tmp_path / "model", info)
    found = review(tmp_path / "model", whole, out=tmp_path / "out")
    assert (found["comparisons"]["videos"], found["comparisons"]["training"]) == (10, 20)


def test_stretches_in_shards_have_a_page_too(checkpoint: Path, data: Path, tmp_path: Path):
    for split in ("train", "val"):
        (tmp_path / "shards" / split).mkdir(parents=True)
        with tarfile.open(tmp_path / "shards" / split / "0.tar", "w") as archive:
            for number, video in enumerate(sorted(data.glob(f"{split}/*/*.mp4"))):
                label = json.dumps({"label": video.parent.name, "start": 0.1, "end": 0.5}).encode()
                for ending, content in (("mp4", video.read_bytes()), ("json", label)):
                    entry = tarfile.TarInfo(f"{split}{number}.{ending}")
                    entry.size = len(content)
                    archive.addfile(entry, BytesIO(content))
    found = review(checkpoint, tmp_path / "shards", out=tmp_path / "out")
    assert (found["comparisons"]["videos"], found["comparisons"]["training"]) == (10, 20)
    text = (tmp_path / "out" / "index.html").read_text()
    assert "by a bootstrap over 10 recordings" in text
    assert "val0.mp4 (0.1 to 0.5 s)" in text


def test_folders_of_frames_have_a_page_too(checkpoint: Path, data: Path, tmp_path: Path):
    from PIL import Image

    for video in data.glob("*/*/*.mp4"):
        folder = tmp_path / "frames" / video.relative_to(data).with_suffix("")
        folder.mkdir(parents=True)
        for number, frame in enumerate(read_frames(video, range(4)), start=1):
            Image.fromarray(frame).save(folder / f"{number:05d}.jpg")
    options = ["--lists.frame_folders", "true"]
    found = review(checkpoint, tmp_path / "frames", *options, out=tmp_path / "out")
    assert (found["comparisons"]["videos"], found["comparisons"]["training"]) == (10, 20)


def test_an_evaluation_is_kept_where_its_review_fails(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(*arguments: object, **options: object):
        raise DataError("no review")

    monkeypatch.setattr(asked, "review_of", fails)
    out = tmp_path / "out"
    assert tiny.run_command("evaluate", checkpoint, data, "--workers", 0, "--out", out).returncode == 1
    assert tiny.files_below(out) == ["confusion.png", "predictions.csv", "summary.json"]


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--out_of_fold", "nowhere", "nowhere/predictions.csv is not there: `morphmlp train --folds` writes it"),
        ("--group_pattern", "(", "group_pattern '(' is no regular expression"),
    ],
)
def test_what_can_be_used_on_no_data_is_refused_before_the_evaluation(
    option: str, value: str, reason: str, checkpoint: Path, data: Path, tmp_path: Path
):
    ended = tiny.run_command("evaluate", checkpoint, data, "--workers", 0, option, value, "--out", tmp_path / "out")
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert not (tmp_path / "out").exists()
