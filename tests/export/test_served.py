"""`morphmlp serve` with an exported folder, and with an engine that exports its checkpoint."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from served import running

from morphmlp.export import run
from morphmlp.inference.runtimes import Runtime


def test_an_exported_model_is_served_like_a_checkpoint_but_does_not_show_where_it_looked(
    onnx_folder: Path, data: Path, tmp_path: Path
):
    videos = sorted((data / "val").rglob("*.mp4"))[:3]
    with running(onnx_folder, tmp_path / "uploads") as served:
        results = served.post("/predict", *videos, top=1, strip=True, look=True).json()["results"]
        windows = served.post("/windows", videos[0], length_s=1).json()["windows"]
        assert served.client.get("/labels").json()["shows_where_it_looked"] is False
    predictions = [served.predictor(video) for video in videos]
    assert [result["answer"] for result in results] == [prediction.answer for prediction in predictions]
    assert [result["top"][0]["probability"] for result in results] == [
        round(prediction.top(1)[0][1], 6) for prediction in predictions
    ]
    assert all(result["look"] is None and result["strip"].startswith("data:image/jpeg") for result in results)
    assert [window["answer"] for window in windows] == [
        window.answer for window in served.predictor.windows(videos[0], length_s=1)
    ]


def test_an_engine_answers_for_a_checkpoint_which_still_shows_where_it_looked(
    calibrated: Path, onnx_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def export(checkpoint: Any, folder: Path, *arguments: Any, **options: Any) -> None:
        shutil.copytree(onnx_folder, folder)  # PyTorch's exporter takes 15 s

    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "caches"))
    monkeypatch.setattr(run, "export_checkpoint", export)
    video = min((data / "val").rglob("*.mp4"))
    with running(calibrated, tmp_path / "uploads", engine="onnxruntime") as served:
        assert isinstance(served.predictor.model, Runtime)
        (result,) = served.post("/predict", video, look=True).json()["results"]
        assert served.client.get("/labels").json()["shows_where_it_looked"] is True
    assert result["answer"] == served.predictor(video).answer
    assert result["look"].startswith("data:image/jpeg")
