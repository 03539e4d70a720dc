"""Exports that `--engine` makes by itself: made once, kept, bounded, and never taken when they are not whole."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from morphmlp import Predictor
from morphmlp.checkpoints.folder import rewrite_info
from morphmlp.errors import ConfigError, UserError
from morphmlp.export import cache, run
from morphmlp.export.cache import cached_runtime, entry_folder, exported_runtime
from morphmlp.export.formats import Shape
from morphmlp.inference import engines
from morphmlp.inference.engines import Speeds
from morphmlp.inference.runtimes import Runtime
from morphmlp.system import processor_kind
from morphmlp.tasks import ready


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, onnx_folder: Path) -> list[Path]:
    """The exports that were made, which are copies of one: PyTorch's exporter takes 15 s."""
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "caches"))
    folders: list[Path] = []

    def export(checkpoint: Any, folder: Path, *arguments: Any, **options: Any) -> None:
        folders.append(folder)
        shutil.copytree(onnx_folder, folder)

    monkeypatch.setattr(run, "export_checkpoint", export)
    return folders


def test_the_first_use_exports_and_later_ones_take_what_is_kept(calibrated: Path, made: list[Path]):
    told: list[str] = []
    assert cached_runtime(calibrated, "onnxruntime", "fp32") is None
    for _ in range(2):
        exported_runtime(calibrated, "onnxruntime", "fp32", tell=told.append)
    assert made == [entry_folder(calibrated, "onnxruntime", "fp32")]
    assert told == [f"exporting {calibrated} for onnxruntime, once; it is kept in {made[0]}"]
    assert isinstance(cached_runtime(calibrated, "onnxruntime", "fp32"), Runtime)
    assert list(made[0].parent.iterdir()) == made  # no lock is left


def test_another_config_engine_precision_or_version_is_another_entry(
    calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(calibrated, tmp_path / "same")
    rewrite_info(calibrated, lambda info: replace(info, temperature=3.0), out=tmp_path / "changed")
    first = entry_folder(calibrated, "openvino", "fp32")
    assert entry_folder(tmp_path / "same", "openvino", "fp32") == first
    others = [
        entry_folder(tmp_path / "changed", "openvino", "fp32"),
        entry_folder(calibrated, "onnxruntime", "fp32"),
        entry_folder(calibrated, "openvino", "bf16"),
    ]
    monkeypatch.setattr(cache, "version", lambda package: "99")
    others.append(entry_folder(calibrated, "openvino", "fp32"))
    assert len({first, *others}) == 5


@pytest.mark.parametrize("damage", ["config.json", "model.onnx", "half"])
def test_half_an_export_never_counts_and_is_made_anew(calibrated: Path, made: list[Path], damage: str):
    exported_runtime(calibrated, "onnxruntime", "fp32")
    path = made[0] / ("model.onnx" if damage == "half" else damage)
    if damage == "half":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.unlink()
    assert cached_runtime(calibrated, "onnxruntime", "fp32") is None
    assert made[0].is_dir()  # another process may be writing it anew, and removes what is there while it has the lock
    exported_runtime(calibrated, "onnxruntime", "fp32")
    assert len(made) == 2


def test_those_used_longest_ago_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache, "MOST_ENTRIES", 3)
    for age, name in enumerate(["new", "second", "third", "old", "older"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / ".x-12345678.unfinished").mkdir()
    cache.remove_old_entries(keep=tmp_path / "third")
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} >= {"new", "second", "third"}
    assert not (tmp_path / "old").exists()
    monkeypatch.setattr(cache, "MOST_BYTES", 25)
    cache.remove_old_entries(keep=tmp_path / "third")
    assert not (tmp_path / "second").exists()
    assert (tmp_path / ".x-12345678.unfinished").exists()


# --------------------------------------------------------------------------------------------------------- in the verbs


@pytest.fixture
def gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime saves 1 s a clip, and its export takes 4.5 s."""
    row = Speeds(
        processor_kind(), "tiny", 1e-9, 1, "fp32", {"torch": 2000.0, "onnxruntime": 1000.0}, {"onnxruntime": 4.5}
    )
    monkeypatch.setattr(engines, "known_speeds", lambda: [row])
    monkeypatch.setattr(ready, "work_per_clip", lambda *_: 1e-9)


@pytest.mark.usefixtures("gain")
def test_a_short_job_pays_for_no_export_and_a_long_one_makes_it(calibrated: Path, data: Path, made: list[Path]):
    videos = sorted((data / "val").rglob("*.mp4"))
    predict = Predictor(calibrated, device="cpu")
    short = list(predict.many(videos[:4], workers=0))
    assert made == []
    long = list(predict.many(videos[:5], workers=0))
    assert len(made) == 1
    for one, other in zip(short, long, strict=False):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    assert isinstance(Predictor(calibrated, device="cpu").model, Runtime)  # it is there now, so one clip takes it


@pytest.mark.usefixtures("gain")
def test_evaluate_exports_where_its_samples_are_enough(calibrated: Path, data: Path, tmp_path: Path, made: list[Path]):
    result = tiny.run_command(
        "evaluate", calibrated, data, "--out", tmp_path / "out", "--workers", 0, "--device", "cpu"
    )
    assert result.returncode == 0, result.stderr
    assert len(made) == 1
    assert f"exporting {calibrated} for onnxruntime, once; it is kept in {made[0]}" in result.stderr


@pytest.mark.usefixtures("gain")
def test_an_export_that_fails_costs_auto_speed_and_a_named_engine_its_answer(
    calibrated: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*arguments: Any, **options: Any) -> None:
        raise UserError("the exported model differs from its checkpoint")

    monkeypatch.setattr(run, "export_checkpoint", fail)
    videos = sorted((data / "val").rglob("*.mp4"))
    assert len(list(Predictor(calibrated, device="cpu").many(videos, workers=0))) == len(videos)
    assert f"{calibrated} is not exported for onnxruntime, and computed without: " in capsys.readouterr().err
    with pytest.raises(UserError, match="differs from its checkpoint"):
        Predictor(calibrated, device="cpu", engine="onnxruntime")


def test_an_engine_that_is_named_is_used_for_one_clip_too(calibrated: Path, data: Path, made: list[Path]):
    path = sorted((data / "val").rglob("*.mp4"))[0]
    result = tiny.run_command("predict", calibrated, path, "--json", "--engine", "onnxruntime", "--workers", 0)
    assert (result.returncode, len(made)) == (0, 1), result.stderr


def test_an_engine_that_does_not_fit_is_one_line(calibrated: Path, onnx_folder: Path):
    with pytest.raises(ConfigError, match="onnxruntime computes no bf16 here; allowed: fp32, fp16"):
        Predictor(calibrated, engine="onnxruntime", precision="bf16")
    with pytest.raises(ConfigError, match="runs on the cpu, not on cuda"):
        Predictor(calibrated, engine="openvino", device="cuda")
    with pytest.raises(ConfigError, match="optimized computes fp32 and bf16 on a cpu, not fp16 on cpu"):
        Predictor(calibrated, engine="optimized", device="cpu", precision="fp16")
    with pytest.raises(ConfigError, match="was exported for onnxruntime: leave it out"):
        Predictor(onnx_folder, engine="openvino")
    assert Predictor(onnx_folder, engine="onnxruntime").labels


def test_noise_verifies_an_export_for_which_there_are_no_files():
    config = tiny.model_config(3)
    clips = run.noise_clips(config, Shape(32, 64))
    assert {clip.shape for clip in clips} == {(1, 3, 4, 32, 64)}
    assert len({clip.tobytes() for clip in clips}) == len(clips) == 4
    assert abs(float(clips[0].std()) - 1) < 0.1


def test_an_engine_that_is_not_installed_is_named_as_the_option_was_written(
    calibrated: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"^--engine openvino, which needs openvino: pip install openvino$"):
        Predictor(calibrated, engine="openvino")
    assert made == []
