"""Folds: a run for each, predictions of all samples by models that have not seen them, and one result."""

import csv
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from morphmlp.data.sets.read import read_training_sets
from morphmlp.demo.synthetic import CLASSES
from morphmlp.errors import CheckpointError, DataError
from morphmlp.tasks.classification import out_of_fold
from morphmlp.tasks.classification.out_of_fold import read_out_of_fold
from morphmlp.tasks.classification.review import comparisons
from morphmlp.training import folds
from morphmlp.training.folds import FOLDS_FILE, resume_folds
from morphmlp.training.run_folder import RunFolder

EPOCH = [*tiny.OPTIONS[:-1], "1"]


@pytest.fixture(scope="module")
def probes(data: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Three folds of linear probes, which take a second, and what the command printed."""
    out = tmp_path_factory.mktemp("folds") / "probes"
    options = ["--init", checkpoint, "--probe", "--workers", "0", "--out", out]
    ended = tiny.run_command("train", data, "--folds", "3", "--json", *options)
    assert ended.returncode == 0, ended.stderr
    return out, json.loads(ended.stdout)


def test_every_sample_is_predicted_once_by_a_model_that_did_not_see_it(data: Path, probes: tuple[Path, Any]):
    found = read_out_of_fold(probes[0])
    samples = {str(s.path): s.label for part in read_training_sets(data) for s in part.samples}
    assert {str(p.path): p.label for p in found.evaluation.predictions} == samples
    assert len(found.folds) == len(samples) == 30
    for fold in (1, 2, 3):
        config = RunFolder(probes[0] / f"fold_{fold}").read_config()
        train, val = read_training_sets(data, config.split)
        assert [p.path for p in found.of_fold(fold).predictions] == [sample.path for sample in val.samples]
        assert not {s.path for s in train.samples} & {s.path for s in val.samples}


def test_mean_and_spread_are_those_of_the_folds(probes: tuple[Path, Any]):
    out, printed = probes
    scores = [json.loads((out / f"fold_{fold}" / "summary.json").read_text())["top1"] for fold in (1, 2, 3)]
    assert printed["scores"] == pytest.approx(scores)
    assert printed["mean"] == pytest.approx(np.mean(scores))
    assert printed["spread"] == pytest.approx(np.std(scores, ddof=1))
    found = read_out_of_fold(out)
    assert printed["all"]["top1"] == pytest.approx(found.evaluation.accuracy())
    assert found.evaluation.confusion().sum() == 30
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "summary.json").read_text())["mean"] == printed["mean"]


def test_the_folds_are_compared_with_simple_means_of_the_other_folds(probes: tuple[Path, Any]):
    out, printed = probes
    found = printed["comparisons"]
    kept = json.loads((out / "comparisons.json").read_text())
    assert kept.pop("lines")[0] == "on the same 30 videos, with 95 % intervals:"
    assert found == kept
    assert (found["videos"], found["training"]) == (30, 30)
    assert found["model"]["accuracy"] == pytest.approx(printed["all"]["top1"])
    assert found["shrunk_pixels"]["how"] == "8 frames of 16 x 16 px, of the other folds"
    ended = tiny.run_command("train", "--out", out, "--resume", "--json", "--baseline", "false")
    assert json.loads(ended.stdout) == printed | {"comparisons": None}
    assert (out / "comparisons.json").is_file()


def test_finished_folds_are_shown_again_by_resume_and_not_compared_again(
    probes: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
):
    out, printed = probes
    monkeypatch.delattr(comparisons, "read_thumbnails")
    ended = tiny.run_command("train", "--out", out, "--resume", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == printed
    ended = tiny.run_command("train", "--out", out, "--resume")
    assert "shrunk pixels (8 frames of 16 x 16 px, of the other folds)" in ended.stdout
    assert ended.stderr == ""


def test_a_fold_that_is_done_anew_is_compared_anew(probes: tuple[Path, Any], tmp_path: Path):
    out, printed = shutil.copytree(probes[0], tmp_path / "folds"), probes[1]
    for damage in ("{", "[]", '{"lines": 5}', '{"videos": 1}'):  # is as good as none
        (out / "comparisons.json").write_text(damage)
        ended = tiny.run_command("train", "--out", out, "--resume", "--json")
        assert json.loads(ended.stdout)["comparisons"] == printed["comparisons"], damage
    shutil.rmtree(out / "fold_2")
    ended = tiny.run_command("train", "--out", out, "--resume", "--json", "--baseline", "false")
    assert ended.returncode == 0, ended.stderr
    assert not (out / "comparisons.json").exists()


def test_folds_of_shards_are_compared_with_shrunk_pixels_too(data: Path, checkpoint: Path, tmp_path: Path):
    """Their predictions name members of tar archives, which no path can be opened by."""
    shards, labels = tmp_path / "shards", CLASSES[:2]
    shards.mkdir()
    for split in ("train", "val"):
        with tarfile.open(shards / f"{split}-0.tar", "w") as archive:
            for video in sorted(path for name in labels for path in (data / split / name).iterdir()):
                archive.add(video, f"./{video.name}")  # as `tar -cf x.tar .` names them
                (tmp_path / "label").write_text(video.parent.name)
                archive.add(tmp_path / "label", f"./{video.stem}.cls")
    options = ["--init", checkpoint, "--probe", "--workers", "0", "--json", "--out", tmp_path / "folds"]
    ended = tiny.run_command("train", shards, "--folds", "2", *options)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)["comparisons"]
    assert (found["videos"], found["training"], found["note"]) == (6, 6, "")
    assert found["shrunk_pixels"]["how"] == "8 frames of 16 x 16 px, of the other folds"
    samples = {sample.path for part in read_training_sets(shards) for sample in part.samples}
    assert {p.path for p in read_out_of_fold(tmp_path / "folds").evaluation.predictions} == samples


def test_the_table_of_predictions_names_the_fold_of_each(probes: tuple[Path, Any]):
    with open(probes[0] / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["fold", "path", "label", "predicted", "probability"]
    assert [row["fold"] for row in rows] == ["1"] * 10 + ["2"] * 10 + ["3"] * 10


def test_a_folds_checkpoint_is_evaluated_on_its_own_fold(data: Path, probes: tuple[Path, Any]):
    """And not on the validation part on the disk, of which it was trained on two thirds."""
    checkpoint = probes[0] / "fold_2" / "last"
    evaluation = tiny.evaluate_checkpoint(checkpoint, data, workers=0)
    held_out = read_out_of_fold(probes[0]).of_fold(2)
    assert [p.path for p in evaluation.predictions] == [p.path for p in held_out.predictions]
    assert evaluation.accuracy() == held_out.accuracy()


def test_stopped_folds_go_on_and_finished_ones_are_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "folds"
    copy = tiny.copy_data(data, tmp_path / "set", classes=2)
    append = RunFolder.append

    def stop_in_the_second_fold(self: RunFolder, line: dict[str, Any]) -> None:
        append(self, line)
        if self.path.name == "fold_2":
            monkeypatch.setattr(RunFolder, "append", append)
            tiny.signal.raise_signal(tiny.signal.SIGINT)

    monkeypatch.setattr(RunFolder, "append", stop_in_the_second_fold)
    ended = tiny.run_command("train", copy, "--folds", "2", *EPOCH, "--out", out)
    assert ended.returncode == 130
    assert f"stopped, the state is saved; go on with: morphmlp train --out {out} --resume" in ended.stderr
    first = (out / "fold_1" / "predictions.csv").stat().st_mtime_ns
    refused = tiny.run_command("train", copy, "--folds", "2", *EPOCH, "--out", out)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "holds folds already: --resume goes on with them" in refused.stderr

    ended = tiny.run_command("train", "--out", out, "--resume")
    assert ended.returncode == 0, ended.stderr
    assert "Held-out folds" in ended.stdout
    assert "over 2 folds, by the last checkpoint of each" in ended.stdout
    assert "the commonest class (of the other folds)" in ended.stdout
    assert (out / "fold_1" / "predictions.csv").stat().st_mtime_ns == first
    assert len(tiny.read_log(out / "fold_2")) == len(tiny.read_log(out / "fold_1"))


def test_a_set_that_has_changed_between_two_folds_is_refused(data: Path, checkpoint: Path, tmp_path: Path):
    """It would be divided otherwise: of 7 samples two were held out twice, by models that had seen them."""
    copy = tiny.copy_data(data, tmp_path / "set", classes=2)
    out, before = tmp_path / "folds", copy / "train"
    options = ["--init", checkpoint, "--probe", "--workers", "0", "--baseline", "false", "--out", out]
    assert tiny.run_command("train", copy, "--folds", "2", *options).returncode == 0
    shutil.rmtree(out / "fold_2")
    removed = sorted(before.rglob("*.mp4"))[0]
    removed.rename(tmp_path / "kept.mp4")
    refused = tiny.run_command("train", "--out", out, "--resume")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"what is in {copy} has changed since the folds in {out} were begun" in refused.stderr
    assert not (out / "fold_2").exists()
    (tmp_path / "kept.mp4").rename(removed)
    assert tiny.run_command("train", "--out", out, "--resume", "--baseline", "false").returncode == 0


def test_a_set_that_changes_while_a_fold_is_trained_is_refused(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = tiny.copy_data(data, tmp_path / "set", classes=2)
    trained = folds.train

    def changing(*arguments: Any, **options: Any) -> Any:
        result = trained(*arguments, **options)
        shutil.copy(sorted(copy.rglob("*.mp4"))[0], copy / "train" / sorted(os.listdir(copy / "train"))[1])
        return result

    monkeypatch.setattr(folds, "train", changing)
    options = ["--init", checkpoint, "--probe", "--workers", "0", "--out", tmp_path / "folds"]
    refused = tiny.run_command("train", copy, "--folds", "2", *options)
    assert refused.returncode == 1
    assert "has changed since the folds" in refused.stderr
    assert not (tmp_path / "folds" / "fold_1" / "predictions.csv").exists()


def test_ctrl_c_between_two_trainings_says_how_to_go_on(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stopped(*arguments: Any) -> None:
        tiny.signal.raise_signal(tiny.signal.SIGINT)

    monkeypatch.setattr(out_of_fold, "write_fold", stopped)
    options = ["--init", checkpoint, "--probe", "--workers", "0", "--out", tmp_path / "folds"]
    ended = tiny.run_command("train", data, "--folds", "2", *options)
    assert ended.returncode == 130
    told = f"folds that are done are kept; go on with: morphmlp train --out {tmp_path / 'folds'} --resume\n"
    assert told in ended.stderr


def test_what_could_not_be_read_is_counted_in_the_result_of_all_folds(data: Path, checkpoint: Path, tmp_path: Path):
    copy = tiny.copy_data(data, tmp_path / "set", classes=2)
    damaged = sorted(copy.rglob("*.mp4"))[0]
    damaged.write_bytes(b"")
    options = ["--init", checkpoint, "--probe", "--workers", "0", "--baseline", "false", "--out", tmp_path / "folds"]
    ended = tiny.run_command("train", copy, "--folds", "2", *options)
    assert f"1 not evaluated: is empty (0 bytes) ({damaged})" in ended.stdout
    found = json.loads((tmp_path / "folds" / "summary.json").read_text())["all"]
    assert (found["videos"], found["evaluated"]) == (6, 5)
    assert found["not_evaluated"] == [{"path": str(damaged), "reason": "is empty (0 bytes)"}]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--patience", 2], "--folds and --patience: each fold would end by the samples that it is measured on"),
        (["--split.fold", 1], "--folds 2 trains all of its folds: leave out --split.fold"),
        (["--split.folds", 3, "--split.fold", 1], "leave out --split.fold and --split.folds"),
    ],
)
def test_what_folds_decide_by_themselves_is_not_given_beside_them(
    options: list[object], reason: str, data: Path, tmp_path: Path
):
    ended = tiny.run_command("train", data, "--folds", 2, "--out", tmp_path / "folds", *options)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert reason in ended.stderr
    assert not (tmp_path / "folds").exists() or not tiny.files_below(tmp_path / "folds")


def test_one_group_is_refused_in_one_line_and_leaves_nothing(data: Path, tmp_path: Path):
    options = ["--folds", "3", "--split.group-pattern", "mp4", *EPOCH, "--out", tmp_path / "folds"]
    ended = tiny.run_command("train", data, *options)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "all 30 videos are of one group" in ended.stderr
    assert not (tmp_path / "folds").exists()


def test_a_folder_with_something_else_is_refused(data: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    ended = tiny.run_command("train", data, "--folds", "3", *EPOCH, "--out", tmp_path)
    assert ended.returncode == 1
    assert "is not empty and holds no folds; choose another --out" in ended.stderr


def test_overwriting_removes_folds_and_nothing_else(
    probes: tuple[Path, Any], data: Path, checkpoint: Path, tmp_path: Path
):
    out = shutil.copytree(probes[0], tmp_path / "folds")
    (out / "fold_notes").mkdir()
    (out / "fold_list").write_text("mine")
    options = ["--init", checkpoint, "--probe", "--workers", "0", "--baseline", "false", "--out", out]
    ended = tiny.run_command("train", data, "--folds", "2", "--overwrite", *options)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in out.glob("fold_*")) == ["fold_1", "fold_2", "fold_list", "fold_notes"]


def test_predictions_that_are_not_there_or_no_predictions_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"predictions\.csv is not there: `morphmlp train --folds` writes it"):
        read_out_of_fold(tmp_path)
    (tmp_path / "predictions.csv").write_text("path,label\na,b\n")
    with pytest.raises(DataError, match="has no out-of-fold predictions"):
        read_out_of_fold(tmp_path)


def test_a_damaged_configuration_is_named(tmp_path: Path):
    (tmp_path / FOLDS_FILE).write_text("{}")
    with pytest.raises(CheckpointError, match=r"folds\.json is damaged"):
        resume_folds(tmp_path)
