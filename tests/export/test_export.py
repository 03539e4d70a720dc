"""Models that leave PyTorch: their files, what is checked before they are written, and their use without torch."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from exporting import use_onnx_of, without_torch
from PIL import Image

from morphmlp import Predictor, create_model, list_models, load
from morphmlp.config import InputConfig
from morphmlp.data.media.stretches import Stretch
from morphmlp.errors import CheckpointError, ConfigError, UserError
from morphmlp.export import run
from morphmlp.export.cache import entry_folder
from morphmlp.export.formats import Outputs, Shape, exported_program
from morphmlp.export.run import exported_input
from morphmlp.export.verify import MOST_DIFFERENCE, Output, Verified, compare, require_near
from morphmlp.inference.runtimes import (
    FEATURES,
    LOGITS,
    OPENERS,
    ExportInfo,
    file_digest,
    load_runtime,
    require_package,
)
from morphmlp.tasks.classification.prediction import NONE_OF_THESE

ROOT = Path(__file__).parents[2]


def video_of(data: Path) -> Path:
    return sorted((data / "val").rglob("*.mp4"))[0]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_an_exported_model_gives_the_logits_of_its_checkpoint_for_any_batch(
    exported: Path, checkpoint: Path, batch: int
):
    clips = np.random.default_rng(0).standard_normal((batch, 3, 4, 32, 32), dtype=np.float32)
    with torch.no_grad():
        expected = load(checkpoint)(torch.from_numpy(clips)).numpy()
    np.testing.assert_allclose(load_runtime(exported).logits(clips), expected, atol=2e-5)


def test_a_predictor_takes_an_exported_folder_in_place_of_a_checkpoint(exported: Path, calibrated: Path, data: Path):
    videos = sorted((data / "val").rglob("*.mp4"))
    sources = [*videos, Stretch(videos[0], 0.2, 0.6)]
    expected = list(Predictor(calibrated, num_clips=2, device="cpu").many(sources, workers=0))
    predictions = list(Predictor(exported, num_clips=2).many(sources, workers=2))
    assert [(p.path, p.answer, p.labels) for p in predictions] == [(p.path, p.answer, p.labels) for p in expected]
    assert {NONE_OF_THESE} < {p.answer for p in predictions}  # the threshold refuses some
    for prediction, other in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(prediction.probabilities, other.probabilities, atol=1e-5)


def test_windows_of_an_exported_model_are_those_of_its_checkpoint(onnx_folder: Path, calibrated: Path, data: Path):
    found, expected = (
        list(Predictor(folder, device="cpu").windows(video_of(data), length_s=0.4, step_s=0.2))
        for folder in (onnx_folder, calibrated)
    )
    assert [(w.start_s, w.end_s, w.answer) for w in found] == [(w.start_s, w.end_s, w.answer) for w in expected]
    assert len(found) > 2


def test_the_config_has_all_of_the_checkpoint_s_and_what_was_verified(exported: Path, calibrated: Path):
    values = json.loads((exported / "config.json").read_text())
    export = values.pop("export")
    assert values == json.loads((calibrated / "config.json").read_text())
    assert export["checkpoint_sha256"] == file_digest(calibrated / "model.safetensors")
    assert export["files"] == {name: file_digest(exported / name) for name in export["files"]}
    assert (export["verified"]["clips"], export["verified"]["top1_agreement"]) == (10, 1.0)
    assert export["verified"]["relative_difference"] < 1e-4
    assert 0 <= export["verified"]["features_difference"] < 1e-4
    assert export["outputs"] == ["logits", "features"]


def test_exported_models_predict_watch_and_are_evaluated_without_torch(
    onnx_folder: Path, calibrated: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = video_of(data)
    monkeypatch.setenv("MORPHMLP_CACHE", str(tmp_path / "caches"))
    shutil.copytree(onnx_folder, entry_folder(calibrated, "onnxruntime", "fp32"))
    commands: list[list[object]] = [
        ["predict", onnx_folder, path, "--json"],
        ["watch", onnx_folder, path, "--json", "--length", "0.4"],
        ["evaluate", onnx_folder, data, "--json", "--out", tmp_path / "evaluation"],
        ["predict", calibrated, path, "--json", "--engine", "onnxruntime"],  # whose export is kept
        ["predict", calibrated, path],
    ]
    predicted, watched, evaluated, kept, refused = without_torch(*commands)
    expected = Predictor(calibrated, device="cpu")(path)
    assert (predicted[0], json.loads(predicted[1])[0]["answer"]) == (0, expected.answer)
    assert (kept[0], json.loads(kept[1])[0]["answer"]) == (0, expected.answer), kept
    windows = list(Predictor(calibrated, device="cpu").windows(path, length_s=0.4))
    assert (watched[0], len(watched[1].splitlines())) == (0, len(windows))
    loss = tiny.evaluate_checkpoint(calibrated, data, workers=0).loss()
    assert (evaluated[0], json.loads(evaluated[1])["loss"]) == (0, pytest.approx(loss, abs=1e-5))
    assert "confusion.png is not drawn: matplotlib is not installed" in evaluated[2]
    assert evaluated[2].splitlines()[-1] == (
        f"summary.json, predictions.csv and index.html are in {tmp_path / 'evaluation'}"
    )
    assert refused[0] == 1
    assert re.fullmatch(r"error: predict needs (torch|safetensors) for this, which is not installed: .*\n", refused[2])


def test_a_model_that_is_not_the_config_s_is_refused(onnx_folder: Path, tmp_path: Path):
    folder = shutil.copytree(onnx_folder, tmp_path / "changed")
    with open(folder / "model.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(CheckpointError, match=r"model\.onnx is not the model that config\.json was written for"):
        load_runtime(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        load_runtime(folder)


def test_a_file_that_the_engine_cannot_read_is_one_line(onnx_folder: Path, tmp_path: Path):
    folder = Path(shutil.copytree(onnx_folder, tmp_path / "garbage"))
    (folder / "model.onnx").write_bytes(b"of a later version")
    values = json.loads((folder / "config.json").read_text())
    values["export"]["files"]["model.onnx"] = file_digest(folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"garbage cannot be opened by onnxruntime: .*; export again$"):
        load_runtime(folder)


def test_a_config_of_other_frames_than_exported_is_refused(onnx_folder: Path, tmp_path: Path):
    folder = Path(shutil.copytree(onnx_folder, tmp_path / "longer"))
    values = json.loads((folder / "config.json").read_text())
    values["model"]["frames"] = 8
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="the model takes 8 frames, but was exported for 4; export again"):
        load_runtime(folder)


def test_onnx_runtime_is_told_to_send_nothing_unless_the_user_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    require_package("json", why="a test")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    require_package("json", why="a test")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


def test_an_unknown_format_is_named(onnx_folder: Path, tmp_path: Path):
    folder = shutil.copytree(onnx_folder, tmp_path / "changed")
    text = (folder / "config.json").read_text().replace('"format": "onnx"', '"format": "tflite"')
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="format 'tflite' in precision 'fp32' is unknown; known: onnx, openvino"):
        load_runtime(folder)


@pytest.mark.parametrize("shape", [(1, 3, 8, 32, 32), (1, 3, 4, 32, 64), (1, 3, 32, 32), (0, 3, 4, 32, 32)])
def test_other_frames_and_sizes_than_exported_are_refused(onnx_folder: Path, shape: tuple[int, ...]):
    with pytest.raises(ConfigError, match=r"was exported for 3 x 4 x 32 x 32"):
        load_runtime(onnx_folder).logits(np.zeros(shape, np.float32))


def test_a_missing_engine_is_named_with_the_command_that_installs_it(
    onnx_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"needs onnxruntime: pip install onnxruntime$"):
        load_runtime(onnx_folder)


def test_another_precision_or_device_than_exported_is_refused(onnx_folder: Path):
    with pytest.raises(ConfigError, match="exported in fp32, not bf16"):
        Predictor(onnx_folder, precision="bf16")
    with pytest.raises(ConfigError, match="runs on the cpu"):
        Predictor(onnx_folder, device="cuda")


@pytest.mark.parametrize("verb", ["predict", "evaluate", "features", "segment", "watch"])
def test_fp32_of_an_export_in_another_precision_is_refused_where_it_is_asked_for(
    onnx_folder: Path, data: Path, tmp_path: Path, verb: str
):
    folder = Path(shutil.copytree(onnx_folder, tmp_path / "half"))
    text = (folder / "config.json").read_text().replace('"precision": "fp32"', '"precision": "fp16"')
    (folder / "config.json").write_text(text)
    Image.new("RGB", (40, 40)).save(tmp_path / "image.png")
    source = {"evaluate": data, "segment": tmp_path / "image.png"}.get(verb, video_of(data))
    out = ["--out", tmp_path / "out"] if verb == "segment" else []
    result = tiny.run_command(verb, folder, source, "--precision", "fp32", *out)
    assert (result.returncode, result.stdout) == (1, "")
    hint = "leave out --precision, or export again with --precision fp32"
    assert result.stderr == f"error: {folder} was exported in fp16, not fp32: {hint}\n"
    if verb == "predict":
        assert tiny.run_command(verb, folder, source, "--workers", 0).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        ["calibrate", "{folder}", "{data}"],
        ["visualize", "{folder}", "{data}"],
        ["export", "{folder}", "{out}"],
    ],
)
def test_what_needs_the_checkpoint_s_weights_says_so(onnx_folder: Path, data: Path, tmp_path: Path, command: list[str]):
    texts = [text.format(folder=onnx_folder, data=data / "val", out=tmp_path / "out") for text in command]
    result = tiny.run_command(*texts)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(f"error: {onnx_folder} is an exported model, .*; give the checkpoint .*\n", result.stderr)


def test_looking_inside_an_export_says_that_it_computes_no_gradients(onnx_folder: Path, data: Path):
    result = tiny.run_command("visualize", onnx_folder, video_of(data))
    assert result.stderr == (
        f"error: {onnx_folder} is an exported model, which computes no gradients, as Grad-CAM needs, and shows no map "
        "of a stage; give the checkpoint that it was exported from\n"
    )


def test_bf16_is_refused_where_the_processor_has_none(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run, "_computes_bf16", lambda: False)
    result = tiny.run_command("export", checkpoint, tmp_path / "out", "--format", "torch", "--precision", "bf16")
    assert (result.returncode, list(tmp_path.iterdir())) == (1, [])
    assert result.stderr.startswith("error: this processor computes no bf16")


def test_another_size_than_the_checkpoint_s_is_what_the_export_s_config_gives():
    config = InputConfig(resize=256, crop=(224, 224), num_crops=3)
    assert exported_input(config, Shape(224, 224)) == config
    assert exported_input(config, Shape(96, 96)) == replace(config, resize=110, crop=(96, 96))
    assert exported_input(config, Shape(96, 128)) == replace(config, fit="stretch", crop=(96, 128), num_crops=1)
    whole = InputConfig(fit="whole", resize=512, crop=(512, 512))
    assert exported_input(whole, Shape(512, 512, any_size=True)) == whole
    assert exported_input(whole, Shape(480, 640)) == replace(whole, fit="stretch", crop=(480, 640))


@pytest.mark.parametrize(("precision", "told"), [("bf16", True), ("fp32", False), ("int8", False)])
def test_another_precision_than_openvino_was_told_is_named_when_a_folder_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, precision: str, told: bool
):
    """As on a processor without bf16, where it computes in float32."""
    monkeypatch.setattr("morphmlp.inference.runtimes.openvino_core", lambda: None)
    in_float32 = lambda *arguments, **options: SimpleNamespace(precision="f32")  # noqa: E731
    monkeypatch.setattr("morphmlp.inference.runtimes.OpenVinoModel", in_float32)
    OPENERS["openvino"](None, tmp_path, ExportInfo("openvino", precision, {}, 32, 32))
    expected = f"{tmp_path}: this processor computes no bf16, so OpenVINO takes f32\n"
    assert capsys.readouterr().err == (expected if told else "")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--format", "torch", "--precision", "int8"], "use --format onnx or openvino"),
        (["--format", "onnx", "--precision", "bf16"], "use --format openvino or torch"),
        (["--size", "[16,32]"], "allowed: 32 px or more a side"),
        (["--size", "[32,64]", "--dynamic-size"], "allowed with --dynamic-size: 64 px or more a side"),
        (["--size", "[64,72]", "--dynamic-size"], "allowed with --dynamic-size: multiples of 32 px"),
        (["--max-drop", "2"], "allowed: 0 to 1"),
    ],
)
def test_what_a_format_does_not_allow_is_one_line(
    checkpoint: Path, data: Path, tmp_path: Path, options: list[str], reason: str
):
    result = tiny.run_command("export", checkpoint, tmp_path / "out", "--data", data / "val", *options)
    assert (result.returncode, result.stdout) == (1, "")
    assert reason in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_data_of_other_classes_is_refused(checkpoint: Path, tmp_path: Path):
    (tmp_path / "set" / "cats").mkdir(parents=True)
    result = tiny.run_command("export", checkpoint, tmp_path / "out", "--data", tmp_path / "set")
    assert result.returncode == 1
    assert "has folders named 'cats'" in result.stderr or "has folders named cats" in result.stderr


def compare_logits(expected: list[np.ndarray], exported: Output) -> Verified:
    return compare([{LOGITS: logits} for logits in expected], {LOGITS: exported}, expected)


def test_differences_and_changed_classes_are_counted():
    clips = [np.array([[0.0, 1.0]]), np.array([[2.0, 1.0]]), np.array([[1.0, 4.0]])]
    shift = np.array([[0.0, -1.5]])
    verified = compare_logits(clips, lambda clip: clip + shift)
    assert verified == Verified(3, 1.5, 1.5 / 4, 2 / 3)  # of the first clip, the best class is another


def test_a_tie_is_no_change_of_class():
    clips = [np.array([[1.0, 1.0]])]
    verified = compare_logits(clips, lambda clip: clip[:, ::-1])
    assert verified.top1_agreement == 1


def test_what_a_tie_is_depends_on_the_largest_logit_of_all_clips():
    near = np.array([[1.0, 1.0 + 1e-3]])
    assert compare_logits([near], lambda clip: clip[:, ::-1]).top1_agreement == 0
    others = [near, np.array([[200.0, 200.0]])]  # the rounding of 200 is above 1e-3
    assert compare_logits(others, lambda clip: clip[:, ::-1]).top1_agreement == 1


def test_a_nan_in_any_clip_counts():
    clips = [np.array([[0.0, 1.0]]), np.array([[2.0, 1.0]])]
    for damaged in (0, 1):
        verified = compare_logits(clips, lambda clip, damaged=damaged: clip * [np.nan if clip is clips[damaged] else 1])
        assert verified == Verified(2, float("inf"), float("inf"), 0.0)


def test_a_model_whose_outputs_are_all_zero_is_compared_too():
    zeros = [np.zeros((1, 2), np.float32)]
    assert compare_logits(zeros, lambda clip: clip) == Verified(1, 0.0, 0.0, 1.0)
    assert compare_logits(zeros, lambda clip: clip + np.float32(1)).relative_difference > 1e30


def test_pixels_are_compared_as_by_all_of_them_at_once():
    """A segmenter's, whose outputs are not kept from one image to the next."""
    draw = np.random.default_rng(0)
    images = [draw.normal(size=(1, 5, 8, 8)).astype(np.float32) for _ in range(3)]
    noise = {image.tobytes(): draw.normal(size=image.shape, scale=0.2).astype(np.float32) for image in images}
    at_work: set[int] = set()

    def outputs() -> Iterator[dict[str, np.ndarray]]:
        for image in images:
            logits = image.copy()
            weakref.finalize(logits, at_work.discard, id(logits))
            at_work.add(id(logits))
            yield {LOGITS: logits}
            del logits
            assert len(at_work) <= 1

    found = compare(outputs(), {LOGITS: lambda image: image + noise[image.tobytes()]}, images)
    one, other = np.concatenate(images), np.concatenate([image + noise[image.tobytes()] for image in images])
    difference, largest = float(np.abs(one - other).max()), float(np.abs(one).max())
    chosen = np.take_along_axis(one, other.argmax(axis=1, keepdims=True), axis=1)[:, 0]
    same = chosen >= one.max(axis=1) - 1e-5 * largest
    assert found == Verified(3, difference, difference / largest, float(same.mean()))


def test_what_is_not_near_enough_is_refused_with_what_to_do():
    require_near(Verified(10, 1e-5, 9e-5, 1.0), "fp32")
    with pytest.raises(UserError, match=r"a logit by 0.00011 of the largest \(allowed 0.0001\)"):
        require_near(Verified(10, 1e-5, 1.1e-4, 1.0), "fp32")
    with pytest.raises(UserError, match=r"the best class for 20.0% of 10 clips \(allowed 10.0%\).*--max-drop"):
        require_near(Verified(10, 1.0, 0.2, 0.8), "int8")
    require_near(Verified(10, 1.0, 0.2, 0.8), "int8", max_drop=0.2)
    with pytest.raises(UserError):
        require_near(compare_logits([np.ones((1, 2))], lambda clip: clip * np.nan), "int8", max_drop=1.0)
    with pytest.raises(UserError, match=r"a feature by 0.00011 \(allowed 0.0001\)"):
        require_near(Verified(10, 1e-5, 9e-5, 1.0, 1.1e-4), "fp32")


def test_the_features_difference_is_a_share_of_the_checkpoint_s_largest():
    clips = [np.array([[0.0, -4.0]]), np.array([[2.0, 1.0]])]
    expected = [{LOGITS: clip, FEATURES: clip} for clip in clips]
    shift = np.array([[0.0, 0.5]])
    found = compare(expected, {LOGITS: lambda clip: clip, FEATURES: lambda clip: clip + shift}, clips)
    assert found == Verified(2, 0.0, 0.0, 1.0, 0.125)
    damaged = compare(expected, {LOGITS: lambda clip: clip, FEATURES: lambda clip: clip * np.nan}, clips)
    assert damaged.features_difference == float("inf")


def test_nothing_is_written_where_the_model_is_not_near_enough(
    onnx_folder: Path, calibrated: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    use_onnx_of(onnx_folder, monkeypatch)
    monkeypatch.setitem(MOST_DIFFERENCE, "fp32", -1.0)
    result = tiny.run_command("export", calibrated, tmp_path / "out", "--data", data / "val")
    assert (result.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "nothing is written" in result.stderr.splitlines()[-1]


def test_triton_s_config_has_the_shapes_without_the_batch(onnx_folder: Path):
    text = (onnx_folder / "config.pbtxt").read_text()
    assert 'name: "clips", data_type: TYPE_FP32, dims: [3, 4, 32, 32]' in text
    assert 'name: "logits", data_type: TYPE_FP32, dims: [10]' in text
    assert 'name: "features", data_type: TYPE_FP32, dims: [16]' in text


def test_the_examples_of_the_documentation_predict_what_the_checkpoint_does(
    exported: Path, calibrated: Path, data: Path, tmp_path: Path
):
    blocks = dict(re.findall(r"<!-- (\w+) -->\n```python\n(.*?)```", (ROOT / "docs/deploy.md").read_text(), re.DOTALL))
    code = blocks["onnx"]
    if exported.name != "onnx":
        start, end = code.index("session ="), code.index("probabilities =")
        code = code[:start].replace("import onnxruntime\n", "") + blocks[exported.name] + code[end:]
    path = video_of(data)
    (tmp_path / "example.py").write_text(code)
    command = [sys.executable, str(tmp_path / "example.py"), str(exported), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, env=tiny.environment())
    assert result.returncode == 0, result.stderr
    ((label, probability),) = Predictor(calibrated, device="cpu")(path).top(1)
    assert result.stdout.split() == [label, pytest.approx(f"{probability:.4f}")]


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_named_model_leaves_pytorch_for_any_batch(name: str):
    model = create_model(name, num_classes=5).eval()
    frames = (model.config.frames,) if model.config.temporal else ()
    program = exported_program(model, Shape(64, 64), "fp32")
    clips = torch.randn(3, 3, *frames, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(clips), Outputs(model)(clips), atol=1e-4, rtol=1e-4)


def test_rows_of_many_files_are_written_without_torch(onnx_folder: Path, data: Path, tmp_path: Path):
    command = ["predict", onnx_folder, data / "val"]
    (_, shown, _), (status, told, errors) = without_torch(
        [*command, "--json"], [*command, "--out", tmp_path / "rows.jsonl"]
    )
    assert status == 0, errors
    assert "10 of 10 videos predicted" in told
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert rows == json.loads(shown)


@pytest.mark.slow
def test_a_fresh_environment_without_torch_predicts_a_video(
    onnx_folder: Path, calibrated: Path, data: Path, tmp_path: Path
):
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    wheel = next(builder.WheelBuilder(str(ROOT)).build(directory=str(tmp_path / "dist"), versions=["standard"]))
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {name: value for name, value in tiny.environment().items() if name != "PYTHONPATH"}

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, *map(str, arguments)], capture_output=True, text=True, env=environment)

    for what in (["--no-deps", wheel], ["-r", ROOT / "docs/requirements-runtime.txt"]):
        installed = call("-m", "pip", "install", "--quiet", *what)
        assert installed.returncode == 0, installed.stderr
    assert call("-c", "import torch").returncode == 1
    result = call("-m", "morphmlp.cli", "predict", onnx_folder, video_of(data), "--json")
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)
    assert row["answer"] == Predictor(calibrated, device="cpu")(video_of(data)).answer
    result = call("-m", "morphmlp.cli", "features", onnx_folder, video_of(data), "--out", tmp_path / "features")
    assert result.returncode == 0, result.stderr
