"""Outputs and weights that are NaN or infinite end in one line: compared with NaN, every class would be the best."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from conftest import save_tiny
from PIL import Image

from morphmlp.checkpoints.folder import CheckpointInfo, load, save
from morphmlp.demo.synthetic import CLASSES
from morphmlp.models.zoo import build_model
from morphmlp.tasks.registry import TASKS


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finite weights whose products are not."""
    return overflow(save_tiny(tmp_path_factory.mktemp("overflow") / "tiny", labels=list(CLASSES)))


def overflow(folder: Path) -> Path:
    model = load(folder)
    last = model.get_submodule(TASKS[model.config.task].last_layer)
    with torch.no_grad():
        last.weight.copy_(torch.where(last.weight > 0, 3e38, -3e38))
    save(model, folder)
    return folder


def assert_refused(process, path: Path) -> None:
    assert process.returncode == 1
    assert process.stdout == ""
    assert len(process.stderr.splitlines()) == 1
    assert f"outputs for {path}" in process.stderr
    assert "not finite" in process.stderr


def test_predict_evaluate_and_visualize_name_the_video(overflowing: Path, data: Path, tmp_path: Path):
    video = sorted((data / "val").rglob("*.mp4"))[0]
    assert_refused(tiny.run_command("predict", overflowing, video, "--workers", 0), video)
    assert_refused(tiny.run_command("visualize", overflowing, video, "--out", tmp_path / "inside"), video)
    process = tiny.run_command("evaluate", overflowing, data, "--workers", 0, "--out", tmp_path / "report")
    assert_refused(process, video)
    assert not list(tmp_path.iterdir())


def test_one_bad_video_among_others_is_the_one_that_is_named():
    from morphmlp.errors import NotFiniteError
    from morphmlp.inference.device import require_finite

    logits = torch.zeros(3, 2, 5)
    require_finite(logits, "abc")
    logits[1, 1, 4] = torch.inf
    with pytest.raises(NotFiniteError, match="outputs for b are not finite"):
        require_finite(logits, "abc")


def test_segment_and_evaluate_name_the_image(tmp_path: Path):
    config = {"task": "segmentation", "temporal": False, "frames": 1, "decoder_width": 8}
    model = build_model(tiny.model_config(3, **config))
    save(model, tmp_path / "tiny", CheckpointInfo(input=tiny.INPUT, labels=["a", "b", "c"]))
    checkpoint = overflow(tmp_path / "tiny")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "classes.txt").write_text("a\nb\nc\n")
    for name in ("images", "annotations"):
        (tmp_path / "data" / name).mkdir()
    image = tmp_path / "data" / "images" / "street.png"
    Image.new("RGB", (64, 48), (200, 30, 30)).save(image)
    Image.new("L", (64, 48), 1).save(tmp_path / "data" / "annotations" / "street.png")
    assert_refused(tiny.run_command("segment", checkpoint, image, "--out", tmp_path / "masks"), image)
    assert not list((tmp_path / "masks").glob("*.png"))
    assert_refused(tiny.run_command("evaluate", checkpoint, tmp_path / "data", "--workers", 0), image)


def test_convert_refuses_a_folder_with_nan_among_its_weights(tmp_path: Path):
    folder = save_tiny(tmp_path / "tiny", labels=list(CLASSES))
    model = load(folder)
    with torch.no_grad():
        model.stages[1][0].mlp.fc1.bias[3] = torch.nan
    save(model, folder)
    process = tiny.run_command("convert", folder, tmp_path / "longer", "--frames", 8)
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    assert "stages.1.0.mlp.fc1.bias is not finite (NaN or infinity)" in process.stderr
    assert not (tmp_path / "longer").exists()


def test_json_holds_null_where_there_is_no_number(tmp_path: Path):
    from morphmlp.files import replace_json
    from morphmlp.formatting import as_json

    values = {"loss": float("nan"), "rows": [{"top1": float("inf")}, (1.5, "nan")], "views": None}
    known = {"loss": None, "rows": [{"top1": None}, [1.5, "nan"]], "views": None}
    replace_json(tmp_path / "x.json", values)
    assert json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail) == known
    assert json.loads(as_json(values), parse_constant=pytest.fail) == known
