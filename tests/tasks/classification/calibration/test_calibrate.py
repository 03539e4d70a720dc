"""`calibrate` on a checkpoint and videos: what it writes, tells and refuses."""

import json
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import fresh
import numpy as np
import pytest
import tiny
import torch
from conftest import save_tiny
from PIL import Image

from morphmlp.checkpoints.folder import CheckpointInfo, load_config, load_with_info, save
from morphmlp.config import InputConfig
from morphmlp.demo.synthetic import CLASSES
from morphmlp.models.zoo import build_model
from morphmlp.tasks.classification.calibration import calibrate
from morphmlp.tasks.classification.calibration.calibrate import calibrate_checkpoint, outcomes_of
from morphmlp.tasks.classification.calibration.logits import ViewLogits
from morphmlp.tasks.classification.calibration.probes import FRAMES, PROBES, write_probes
from morphmlp.tasks.classification.predictor import Predictor

KNOWN = list(CLASSES[:8])


@pytest.fixture(autouse=True)
def one_frame_probes(monkeypatch: pytest.MonkeyPatch):
    """Most tests need no 64 frames of noise."""
    monkeypatch.setattr("morphmlp.tasks.classification.calibration.probes.FRAMES", 4)


@pytest.fixture
def own(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that the test may change."""
    return Path(shutil.copytree(checkpoint, tmp_path / "own"))


def calibrated(*arguments: object) -> dict:
    result = tiny.run_command("calibrate", *arguments, "--json", "--workers", 0)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_both_values_are_written_and_used_and_the_weights_stay(own: Path, data: Path):
    weights, before = (own / "model.safetensors").read_bytes(), load_config(own)[1]
    figures = calibrated(own, data)
    info = load_config(own)[1]
    assert (own / "model.safetensors").read_bytes() == weights
    assert (info.temperature, info.threshold) == (figures["temperature"], figures["threshold"])
    assert info.training["calibration"]["videos"] == 10
    assert replace(info, temperature=1.0, threshold=None, training={}) == replace(before, training={})
    assert figures["after"]["nll"] <= figures["before"]["nll"]
    predictions = list(Predictor(own).many(sorted((data / "val").rglob("*.mp4")), workers=0))
    refused = [prediction.answer == "none of these" for prediction in predictions]
    assert np.mean(refused) == pytest.approx(figures["after"]["share_refused"])
    evaluated = tiny.evaluate_checkpoint(own, data, workers=0)
    assert evaluated.loss() == pytest.approx(figures["after"]["nll"], rel=1e-4)
    assert evaluated.precision_of_rest() == pytest.approx(figures["after"]["precision_of_rest"])


def test_a_second_calibration_starts_from_the_first_and_finds_the_same(own: Path, data: Path):
    first, second = calibrated(own, data), calibrated(own, data)
    assert second["before"]["temperature"] == first["temperature"]
    assert second["temperature"] == pytest.approx(first["temperature"])
    assert second["before"]["nll"] == pytest.approx(second["after"]["nll"])


def test_out_is_a_calibrated_copy_and_leaves_the_checkpoint_alone(own: Path, data: Path, tmp_path: Path):
    config = (own / "config.json").read_bytes()
    result = tiny.run_command(
        *("calibrate", own, data, "--out", tmp_path / "copy", "--plots", tmp_path / "plots", "--workers", 0)
    )
    assert result.returncode == 0, result.stderr
    assert (own / "config.json").read_bytes() == config
    assert tiny.files_below(tmp_path / "copy") == ["config.json", "model.safetensors"]
    assert load_config(tmp_path / "copy")[1].threshold is not None
    with Image.open(tmp_path / "plots" / "reliability.png") as picture:
        assert picture.size == (1440, 810)
    for text in ("10 videos", "temperature", "calibration error (ECE)", "scrolling noise", "black frames"):
        assert text in result.stdout
    assert "few, so take it for a rough figure" in result.stdout
    assert f"are in {tmp_path / 'copy' / 'config.json'}" in result.stderr


def test_unknown_samples_are_measured_and_count_as_wrong_when_answered(data: Path, tmp_path: Path):
    checkpoint = save_tiny(tmp_path / "eight", labels=KNOWN)
    known = tmp_path / "known"
    for name in KNOWN:
        shutil.copytree(data / "val" / name, known / name)
    others = [data / "val" / name for name in CLASSES[8:]]
    figures = calibrated(checkpoint, known, "--unknown", *others)
    assert (figures["videos"], figures["unknown"]) == (8, 2)
    assert 0 <= figures["after"]["auroc"] <= 1
    assert figures["before"]["unknown_refused"] == 0
    assert figures["before"]["precision_of_rest"] == figures["before"]["recall"] * 8 / 10
    table = tiny.run_command("calibrate", checkpoint, known, "--unknown", *others, "--workers", 0).stdout
    assert "8 videos and 2 of no class" in table
    assert "AUROC of the probability" in table


def test_without_unknown_samples_no_auroc_is_told(own: Path, data: Path):
    figures = calibrated(own, data)
    assert (figures["unknown"], figures["after"]["auroc"], figures["after"]["unknown_refused"]) == (0, None, None)


def test_probes_are_answered_before_and_after(own: Path, data: Path):
    figures = calibrated(own, data)
    assert [probe["probe"] for probe in figures["after"]["probes"]] == list(PROBES)
    for probe in figures["after"]["probes"]:
        below = probe["probability"] < figures["threshold"]
        assert probe["answer"] == ("none of these" if below else probe["label"])


def test_an_image_checkpoint_is_calibrated(image_checkpoint: Path, tmp_path: Path):
    checkpoint = Path(shutil.copytree(image_checkpoint, tmp_path / "own"))
    generator = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.fromarray(generator.integers(0, 256, (40, 48, 3), np.uint8)).save(tmp_path / "images" / name / "a.png")
    figures = calibrated(checkpoint, tmp_path / "images")
    assert figures["images"] == 10
    assert len(figures["after"]["probes"]) == len(PROBES)


def test_one_sample_that_is_right_leaves_the_temperature_as_it_is(own: Path, data: Path, tmp_path: Path):
    video = sorted((data / "val").rglob("*.mp4"))[0]
    label = Predictor(own)(video).answer
    for number, name in enumerate([label]):
        (tmp_path / "one" / name).mkdir(parents=True)
        shutil.copy(video, tmp_path / "one" / name / f"{number}.mp4")
    result = tiny.run_command("calibrate", own, tmp_path / "one", "--workers", 0, "--split", "all")
    assert result.returncode == 0, result.stderr
    assert "no temperature is the best, as all answers are right, or nearly so; 1 is taken" in result.stdout
    assert "the precision is that of 1 answers, few" in result.stdout


def test_the_training_part_is_refused(own: Path, data: Path):
    trained = {"data": str(data), "split": {}, "lists": {}}
    model, info = load_with_info(own)
    save(model, own, replace(info, training=trained))
    for arguments in ((data, "--split", "train"), (data / "train",)):
        result = tiny.run_command("calibrate", own, *arguments, "--workers", 0)
        assert result.returncode == 1
        assert "the checkpoint was trained on 20 of the 20 videos of" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert load_config(own)[1].temperature == 1
    assert calibrated(own, data)["videos"] == 10  # its validation part


def test_mistakes_are_one_line_and_change_nothing(own: Path, data: Path, tmp_path: Path, monkeypatch):
    config = (own / "config.json").read_bytes()
    segmenter = tmp_path / "segmenter"
    model = build_model(tiny.model_config(10, temporal=False, frames=1, task="segmentation"))
    save(model, segmenter, CheckpointInfo(input=InputConfig(crop=(32, 32), resize=32, fit="whole")))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
    cases = [
        ((own, data, "--at_precision", 1.5), "at_precision is 1.5; allowed: above 0, at most 1"),
        ((own, tmp_path / "nowhere"), "nowhere"),
        ((own, data, "--unknown", tmp_path / "nowhere" / "*.mp4"), "no videos found"),
        ((segmenter, data), "is a segmenter (tiny); use `morphmlp segment`"),
        ((own, data, "--out", tmp_path / "thesis"), "holds something else than a checkpoint; choose another --out"),
        ((tmp_path / "none", data), "is no checkpoint folder"),
    ]
    for arguments, message in cases:
        result = tiny.run_command("calibrate", *arguments, "--workers", 0)
        assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (1, "", 1), result.stderr
        assert message in result.stderr
    monkeypatch.setattr("os.access", lambda path, mode: False)
    result = tiny.run_command("calibrate", own, data)
    assert result.stderr == f"error: {own} cannot be written to: give --out FOLDER for a changed copy\n"
    assert (own / "config.json").read_bytes() == config


def test_a_precision_out_of_reach_writes_nothing(own: Path, data: Path, monkeypatch: pytest.MonkeyPatch):
    def all_wrong(views: ViewLogits, labels: list[str], temperature: float) -> object:
        found = outcomes_of(views, labels, temperature)
        return replace(found, right=np.zeros_like(found.right))

    monkeypatch.setattr(calibrate, "outcomes_of", all_wrong)
    config = (own / "config.json").read_bytes()
    result = tiny.run_command("calibrate", own, data, "--at_precision", 0.95, "--workers", 0)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "no threshold reaches a precision of 95.0%: the best is 0.0%" in result.stderr
    assert (own / "config.json").read_bytes() == config
    result = tiny.run_command("calibrate", own, data, "--workers", 0)
    assert result.returncode == 0, result.stderr
    assert "no threshold is set: not one answer is right" in result.stdout


def test_outputs_that_are_not_finite_are_refused(own: Path, data: Path):
    model, info = load_with_info(own)
    torch.nn.init.constant_(model.head.weight, 3e38)  # the products are beyond float32
    save(model, own, info)
    result = tiny.run_command("calibrate", own, data, "--workers", 0)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "are not finite" in result.stderr


def test_a_broken_file_is_told_and_counts_nowhere(own: Path, data: Path, tmp_path: Path):
    copy = Path(shutil.copytree(data / "val", tmp_path / "val"))
    broken = copy / CLASSES[0] / f"{CLASSES[0]}_0001.mp4"
    broken.write_text("no video")
    result = tiny.run_command("calibrate", own, copy, "--workers", 0)
    assert "9 videos" in result.stdout
    assert "1 cannot be read and count nowhere, such as" in result.stdout


_SLOW_CALIBRATION = """
import shutil, sys, time
from pathlib import Path
from morphmlp.cli import main
from morphmlp.tasks.classification.calibration import calibrate

def slow(*arguments):
    Path(sys.argv[2]).touch()
    time.sleep(600)

setattr(*{"fit": (calibrate, "fit_temperature"), "copy": (shutil, "copyfile")}[sys.argv[1]], slow)
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("where", ["fit", "copy"])
def test_ctrl_c_leaves_the_checkpoint_as_it_was_and_nothing_beside_it(
    own: Path, data: Path, tmp_path: Path, where: str
):
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    reached = tmp_path / "reached"
    arguments = [where, reached, "calibrate", own, data, "--workers", 0]
    arguments += ["--out", tmp_path / "copy"] if where == "copy" else []
    process = fresh.start([sys.executable, "-c", _SLOW_CALIBRATION, *arguments], env=tiny.environment())
    while not reached.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "reached"]


def test_nothing_as_a_class_is_as_good_as_no_class():
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 2.0, 0.0]])
    views = ViewLogits(logits[:, None], np.array([0, 2, 1, 2]), "logits", [])
    found = outcomes_of(views, ["up", "down", "(nothing)"], 1.0)
    # The second sample is nothing and is not answered; the third is a class that is missed; the last is answered.
    assert (found.scores > 0).tolist() == [True, False, False, True]
    assert found.right.tolist() == [True, False, False, False]
    assert found.num_known == 2


def test_calibrating_reads_with_the_protocol_of_the_checkpoint(own: Path, data: Path):
    model, info = load_with_info(own)
    save(model, own, replace(info, input=replace(info.input, num_clips=2, num_crops=3, aggregation="probabilities")))
    result = calibrate_checkpoint(own, data, execution=tiny.Execution(workers=0))
    assert result.before.nll == pytest.approx(tiny.evaluate_checkpoint(own, data, workers=0).loss(), rel=1e-4)


@pytest.mark.parametrize("moving", [True, False])
def test_probes_are_the_same_each_time_and_show_what_they_say(tmp_path: Path, moving: bool, monkeypatch):
    monkeypatch.setattr("morphmlp.tasks.classification.calibration.probes.FRAMES", FRAMES)
    shown = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        paths = write_probes(tmp_path / place, short_side=16, moving=moving)
        files = {name: sorted(path.iterdir()) if moving else [path] for name, path in paths.items()}
        shown.append({name: [np.array(Image.open(f)) for f in some] for name, some in files.items()})
    frames = shown[0]
    for name in PROBES:
        np.testing.assert_array_equal(frames[name], shown[1][name])
        assert frames[name][0].shape == (16, 21, 3)
        assert len(frames[name]) == (64 if moving else 1)
    assert not np.any(frames["black frames"])
    assert np.all(np.equal(frames["white frames"], 255))
    if moving:
        noise = frames["scrolling noise"]
        np.testing.assert_array_equal(noise[20], np.roll(noise[0], -3, axis=1))  # 20 * 16 / 100 px = 3.2 px
        assert np.mean(frames["static"][0] == frames["static"][1]) < 0.05
        np.testing.assert_array_equal(frames["a still gradient"][0], frames["a still gradient"][63])
