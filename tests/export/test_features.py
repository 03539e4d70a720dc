"""`morphmlp features` of exported folders: those of the checkpoint, without torch."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
from exporting import without_torch
from safetensors.numpy import load_file

from morphmlp import FeatureExtractor, Predictor, load
from morphmlp.data.sets.find import find_media
from morphmlp.inference.runtimes import OPENERS, ExportInfo


def vectors(folder: Path) -> np.ndarray:
    return load_file(folder / "features.safetensors")["features"]


def settings(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "features.json").read_text())["settings"]


def test_features_of_an_export_are_those_of_its_checkpoint(
    exported: Path, calibrated: Path, data: Path, tmp_path: Path
):
    for name, folder in (("export", exported), ("checkpoint", calibrated)):
        command = ["features", folder, data / "val", "--clips", 2, "--out", tmp_path / name, "--device", "cpu"]
        result = tiny.run_command(*command, "--workers", 0)
        assert result.returncode == 0, result.stderr
    expected = vectors(tmp_path / "checkpoint")
    np.testing.assert_allclose(vectors(tmp_path / "export"), expected, atol=1e-5 * np.abs(expected).max())
    engine = {"onnx": "onnxruntime"}.get(exported.name, exported.name)
    assert (settings(tmp_path / "export")["engine"], settings(tmp_path / "export")["precision"]) == (engine, "fp32")


def test_features_of_onnx_and_openvino_need_no_torch(
    onnx_folder: Path, openvino_folder: Path, calibrated: Path, data: Path, tmp_path: Path
):
    options = ["--step", 0.3, "--length", 0.5]
    runs = without_torch(
        ["features", onnx_folder, data / "val", *options, "--out", tmp_path / "onnx"],
        ["features", openvino_folder, "--data", data, "--out", tmp_path / "openvino"],
    )
    assert [status for status, *_ in runs] == [0, 0], runs
    extract = FeatureExtractor(calibrated, device="cpu")
    videos = find_media(data / "val")
    np.testing.assert_allclose(vectors(tmp_path / "openvino")[-1], extract(videos[-1]), atol=1e-5)
    assert len(vectors(tmp_path / "onnx")) > len(videos)


def test_an_export_of_a_version_without_features_still_predicts_and_says_what_to_do(
    onnx_folder: Path, data: Path, tmp_path: Path
):
    folder = Path(shutil.copytree(onnx_folder, tmp_path / "old"))
    values = json.loads((folder / "config.json").read_text())
    del values["export"]["outputs"]
    values["export"]["output"] = {"name": "logits"}
    (folder / "config.json").write_text(json.dumps(values))
    result = tiny.run_command("features", folder, data / "val", "--out", tmp_path / "out")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: {folder} was exported without features, by an earlier version; export its checkpoint again, or give "
        "the checkpoint\n"
    )
    video = find_media(data / "val")[0]
    assert Predictor(folder)(video).answer == Predictor(onnx_folder)(video).answer


def test_the_graph_of_an_earlier_version_whose_output_is_no_tuple_gives_its_logits(checkpoint: Path, tmp_path: Path):
    model, clips = load(checkpoint), torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        torch.export.save(torch.export.export(model, (clips,)), tmp_path / "model.pt2")
        expected = model(clips).numpy()
    compute = OPENERS["torch"](torch, tmp_path, ExportInfo("torch", "fp32", {}, 32, 32))
    np.testing.assert_allclose(compute(clips.numpy()), expected, atol=1e-5)


def test_a_stage_of_an_export_is_refused(onnx_folder: Path, data: Path, tmp_path: Path):
    command = ["features", onnx_folder, data / "val", "--out", tmp_path / "out", "--layer", "stage2"]
    result = tiny.run_command(*command)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "--layer stage2: an exported model has the features of its head alone" in result.stderr
    assert "give the checkpoint that it was exported from" in result.stderr
