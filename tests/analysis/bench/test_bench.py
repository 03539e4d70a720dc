"""What `morphmlp bench` and `benchmarks/speed.py` compare and print; never a time."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from morphmlp.analysis.bench import torchvision_models
from morphmlp.analysis.bench.bench import (
    Report,
    SpeedRow,
    bench,
    compare,
    input_for,
    load_model,
    mark_fastest,
    published_accuracy,
    references_for,
)
from morphmlp.analysis.bench.candidates import Candidate, Input, Subject, training_candidates
from morphmlp.analysis.bench.report import plot_speed, points_by_model, report_tables
from morphmlp.analysis.bench.timing import Machine
from morphmlp.analysis.bench.torchvision_models import Published, Reference
from morphmlp.errors import ConfigError
from morphmlp.models.morphmlp import InputShapeError, MorphMLP
from morphmlp.models.zoo import build_model, create_model, create_segmenter

CPU = torch.device("cpu")
MACHINE = Machine("some processor", 2, 1, "2.0", "cpu", None, {"fp32": 100.0, "bf16": 200.0}, 10.0)
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


# --------------------------------------------------------------------------------------------------------- training


def test_gradient_checkpointing_saves_fewer_bytes_a_clip_and_a_larger_batch_no_more():
    model = MorphMLP(tiny.model_config(3))
    steps = {}
    for batch in (1, 3):
        for candidate in training_candidates(model, Subject("tiny", 1, None), torch.zeros(batch, 3, 4, 32, 32)):
            assert candidate.kept_bytes
            steps[batch, candidate.setting] = candidate.kept_bytes()
    assert len(steps) == 12
    assert steps[1, "fp32, gradient checkpointing"] < steps[1, "fp32"] / 2
    assert steps[1, "fp32, gradient checkpointing"] < steps[1, "fp32, cheap recomputing"] < steps[1, "fp32"]
    assert steps[1, "bf16 autocast"] < steps[1, "fp32"]
    assert steps[3, "fp32"] == pytest.approx(steps[1, "fp32"], rel=0.02)


@pytest.mark.parametrize(("style", "settings"), [("transformer", 6), ("cnn", 2)])
def test_each_training_candidate_changes_the_weights(style: str, settings: int):
    model = build_model(tiny.model_config(3, style=style))
    candidates = training_candidates(model, Subject("tiny", 1, None), torch.randn(2, 3, 4, 32, 32))
    assert len(candidates) == settings  # in the CNN style nothing can be computed again
    for candidate in candidates:
        before = model.head.weight.detach().clone()
        candidate.call()
        assert not torch.equal(model.head.weight, before), candidate.setting
        assert model.head.weight.grad is None


# ------------------------------------------------------------------------------------------------------- comparison


def candidate(setting: str, call: Any = lambda: None, dtype: Any = "fp32", *, name: str = "ours") -> Candidate:
    return Candidate(Subject(name, 10**6, None), setting, call, dtype)


def refuse() -> None:
    raise RuntimeError("no such operator")


def test_refused_setting_is_a_row_that_says_so():
    rows = compare(
        [candidate("fp32"), candidate("bf16", refuse, "bf16")], MACHINE, Input(1, 4, 32), turns=1, device=CPU
    )
    assert [(row.setting, row.refused) for row in rows] == [("fp32", None), ("bf16", "no such operator")]
    assert rows[1].median_s is None
    assert "left out: no such operator" in printed(report(rows))


def test_share_of_the_peak_is_that_of_the_dtype_and_of_all_passes():
    row, half, training = compare(
        [candidate("fp32"), candidate("bf16", dtype="bf16"), replace(candidate("training"), passes=3)],
        MACHINE,
        Input(5, 4, 32),
        turns=1,
        device=CPU,
    )
    for timed, passes, peak in ((row, 1, 100e9), (half, 1, 200e9), (training, 3, 100e9)):
        assert timed.median_s
        assert timed.share_of_peak == pytest.approx(2 * 10**6 * 5 * passes / timed.median_s / peak)
        assert timed.clips_per_s == pytest.approx(5 / timed.median_s)


def test_share_of_bandwidth_is_that_of_what_operators_move():
    x = torch.zeros(1000)
    plain, compiled = compare(
        [candidate("fp32", x.clone), replace(candidate("fp32, compiled", x.clone), compiled=True)],
        MACHINE,
        Input(1, 4, 32),
        turns=1,
        device=CPU,
    )
    assert plain.median_s
    assert plain.share_of_bandwidth == pytest.approx(2 * x.nbytes / plain.median_s / 10e9)
    assert compiled.share_of_bandwidth is None


def test_fastest_setting_of_each_model_is_marked():
    seconds = [("a", 3.0), ("a", 2.0), ("a", None), ("b", 9.0), ("b", 10.0)]
    rows = mark_fastest([SpeedRow(model, str(time), median_s=time) for model, time in seconds])
    assert [row.fastest for row in rows] == [False, True, False, True, False]


def test_published_accuracy_is_that_of_the_same_frames_and_size():
    assert published_accuracy("morphmlp_video_s", Input(1, 16, 224)) == Published(78.7, 16, 4)
    assert published_accuracy("morphmlp_video_b", Input(8, 32, 224)) == Published(80.8, 32, 4)
    assert published_accuracy("morphmlp_image_t", Input(1, None, 224)) == Published(81.6)
    for name, fed in (
        ("morphmlp_video_s", Input(1, 8, 224)),
        ("morphmlp_video_s", Input(1, 16, 112)),
        ("morphmlp_video_nano", Input(1, 16, 224)),
    ):
        assert published_accuracy(name, fed) is None


@pytest.fixture
def _instant_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("morphmlp.analysis.bench.bench.describe_machine", lambda device: MACHINE)


@pytest.fixture
def _optimize_stub(monkeypatch: pytest.MonkeyPatch):
    """In the place of `optimize`, which has its own tests: the model itself, and the settings it was asked for."""
    monkeypatch.setattr("morphmlp.analysis.bench.candidates.optimize", lambda model, dtype="bf16", compile=False: model)


@pytest.mark.usefixtures("_instant_machine", "_optimize_stub")
@pytest.mark.parametrize("compiled", [False, True])
def test_prediction_is_timed_plain_and_optimized(compiled: bool):
    model = MorphMLP(tiny.model_config(3)).eval()
    rows = bench(model, input_for(model, batch=2, size=32), turns=1, compiled=compiled).rows
    settings = ["fp32", "fp32, optimized", "bf16, optimized", "bf16, compiled"]
    assert [row.setting for row in rows] == settings[: 3 + compiled]
    assert rows[0].ratio == 1
    assert [row.top1_agreement for row in rows] == [None] + [1.0] * (2 + compiled)
    assert [row.largest_difference for row in rows] == [None] + [0.0] * (2 + compiled)
    assert sum(row.fastest for row in rows) == 1


@pytest.mark.usefixtures("_instant_machine", "_optimize_stub")
def test_reference_that_refuses_the_clip_is_named_beside_one_that_runs():
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv3d(3, 2, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten())

    references = [
        Reference("fits", build, Published(50.0, 4, 1)),
        Reference("other clip", build, Published(50.0, 16, 1), only_clip=(16, 224)),
        Reference("too large a kernel", lambda: nn.Conv3d(3, 2, 50), Published(50.0, 4, 1)),
    ]
    model = MorphMLP(tiny.model_config(3)).eval()
    rows = bench(model, input_for(model, batch=1, size=32), against=references, turns=1).rows
    settings = ["fp32", "bf16 autocast", "bf16 weights", "bf16 weights, channels last"]
    assert [row.setting for row in rows if row.model == "fits"] == settings
    assert all(row.published is None for row in rows)  # they hold for 224 px
    refused = {row.model: row.refused for row in rows if row.refused}
    assert refused["other clip"] == "is built for 16 x 224 x 224"
    assert "kernel" in refused["too large a kernel"].lower()


@pytest.mark.usefixtures("_instant_machine")
def test_training_is_timed_with_and_without_gradient_checkpointing():
    model = MorphMLP(tiny.model_config(3))
    measured = bench(model, input_for(model, batch=2, size=32), training=True, turns=1)
    assert [row.setting for row in measured.rows] == [
        "fp32",
        "bf16 autocast",
        "fp32, cheap recomputing",
        "bf16 autocast, cheap recomputing",
        "fp32, gradient checkpointing",
        "bf16 autocast, gradient checkpointing",
    ]
    assert all(row.saved_bytes_per_clip for row in measured.rows)
    assert "saved MB/clip" in printed(measured)


@pytest.mark.usefixtures("_optimize_stub")
def test_clip_of_the_wrong_shape_is_not_taken_for_a_refused_setting():
    model = MorphMLP(tiny.model_config(3)).eval()
    with pytest.raises(InputShapeError, match="8 frames"):
        bench(model, Input(1, 8, 32), turns=1)


def test_segmenter_has_nothing_to_be_compared_with():
    with pytest.raises(ConfigError, match="is a segmenter"):
        references_for(create_segmenter("morphmlp_image_nano", num_classes=3))


def test_image_model_is_compared_with_image_models():
    names = [reference.name for reference in references_for(create_model("morphmlp_image_nano"))]
    assert names == ["swin_t", "convnext_tiny", "resnet50"]


def test_published_accuracies_of_torchvision_come_with_their_frames_and_views():
    videos = {reference.name: reference for reference in torchvision_models.video_references()}
    assert videos["swin3d_t"].published == Published(77.715, 32, 12)
    assert videos["mvit_v2_s"].published == Published(80.757, 16, 5)
    assert videos["s3d"].published == Published(68.368, 128, 1)
    assert videos["mvit_v2_s"].refusal(32, 224) == "is built for 16 x 224 x 224"
    assert videos["mvit_v2_s"].refusal(16, 224) is None
    assert round(videos["swin3d_t"].multiply_adds((3, 16, 224, 224)) / 1e9, 1) == 43.9  # torchvision's own count


def test_checkpoint_is_timed_at_its_own_size(checkpoint: Path):
    model, size = load_model(None, checkpoint, None)
    assert (model.config.frames, size, model.training) == (4, 32, False)
    with pytest.raises(ConfigError, match=r"takes clips of 4; .* --frames 8"):
        load_model(None, checkpoint, 8)
    with pytest.raises(ConfigError, match="give one of them"):
        load_model("morphmlp_video_nano", checkpoint, None)


def test_designs_of_table_8_are_timed_by_their_fields():
    model, size = load_model("morphmlp_image_nano", None, None, {"branches": "hw", "image_size": 96})
    assert (model.config.branches, size) == ("hw", 96)
    with pytest.raises(ConfigError, match=r"--arch.branches is of a named model"):
        load_model(None, "somewhere", None, {"branches": "hw"})


# ------------------------------------------------------------------------------------------------- table and picture


def report(rows: list[SpeedRow], fed: Input = Input(1, 16, 224)) -> Report:  # noqa: B008
    return Report(MACHINE, fed, False, 3, rows)


def printed(measured: Report) -> str:
    console = Console(width=240, record=True, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        for renderable in report_tables(measured):
            console.print(renderable)
    return capture.get()


def timed(model: str, setting: str, clips_per_s: float, published: Published | None) -> SpeedRow:
    row = SpeedRow(model, setting, published, clips_per_s=clips_per_s, ratio=1.5, fastest=True, first_call_s=40.0)
    return replace(row, median_s=1 / clips_per_s, share_of_peak=0.25, share_of_bandwidth=1.1)


def test_table_names_the_machine_above_the_figures():
    rows = [
        timed("morphmlp_video_s", "bf16, compiled", 2.0, Published(78.7, 16, 4)),
        SpeedRow("mvit", "", refused="is built for 16 x 224 x 224"),
    ]
    lines = printed(report(rows)).splitlines()
    assert lines[0] == "some processor, 2 cores, 1 thread, torch 2.0"
    assert lines[1] == "measured peaks: 100 GFLOP/s fp32, 200 GFLOP/s bf16; copy 10 GB/s"
    assert lines[2] == "prediction; 1 clip of 16 x 224 x 224; median of 3 interleaved turns"
    row = next(line for line in lines if "morphmlp_video_s" in line)
    for part in ("500.0", "2.00", "1.50", "25%", "110%", "78.7 (16 frames, 4 views)", "fastest, compiled in 40 s"):
        assert part in row
    assert "left out: is built for 16 x 224 x 224" in next(line for line in lines if "mvit" in line)


def test_picture_shows_models_with_a_published_accuracy(tmp_path: Path):
    rows = [
        timed("morphmlp_video_s", "fp32", 1.0, Published(78.7, 16, 4)),
        timed("swin3d_t", "fp32", 0.5, Published(77.7, 32, 12)),
        timed("morphmlp_video_nano", "fp32", 9.0, None),
    ]
    assert list(points_by_model(rows)) == ["morphmlp_video_s", "swin3d_t"]
    plot_speed(
        [report(rows), report([timed("resnet50", "fp32", 9.0, Published(80.9))], Input(16, None, 224))],
        tmp_path / "x.png",
    )
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (1920, 810)


# --------------------------------------------------------------------------------------------------- the command line


def test_verb_writes_what_it_prints(tmp_path: Path):
    path = tmp_path / "speed.json"
    process = tiny.run_process(
        *("bench", "--model", "morphmlp_video_nano", "--size", "32", "--turns", "1", "--training", "--json", path)
    )
    assert process.returncode == 0, process.stderr
    values = json.loads(path.read_text())
    assert list(values) == ["machine", "input", "training", "turns", "rows"]
    assert values["input"] == {"batch": 1, "frames": 16, "size": 32}
    assert set(values["machine"]["peak_gflops"]) == {"fp32", "bf16"}
    assert len(values["rows"]) == 6  # fp32 and bf16, each plain and with two ways of recomputing
    row = values["rows"][0]
    assert {"model", "setting", "median_s", "clips_per_s", "ratio", "share_of_peak", "published"} < row.keys()
    assert process.stdout.startswith(values["machine"]["processor"])
    assert f"{1000 * row['median_s']:.1f}" in process.stdout


@pytest.mark.parametrize(
    ("options", "status", "part"),
    [
        (["--model", "morphmlp_vide_s"], 1, "did you mean morphmlp_video_s"),
        (["--model", "morphmlp_image_nano", "--frames", "8"], 1, "takes images; leave --frames out"),
        (["--model", "morphmlp_video_nano", "--frames", "5000"], 1, "frames is 5000; allowed: 1 to 1024"),
        (["--model", "morphmlp_video_nano", "--size", "16"], 1, "takes 32 px or more"),
        (["--model", "morphmlp_video_nano", "--plot", "x.png"], 1, "--plot draws published accuracies"),
        (["--model", "morphmlp_video_nano", "--training", "--compile"], 1, "--compile is for prediction"),
        (["--checkpoint", "nowhere"], 1, "nowhere is no checkpoint"),
        (["--engines", "openvino", "--training"], 1, "--engines are for prediction"),
        (["--save"], 1, "--save keeps figures of engines: give --engines"),
        (["--engines", "tflite"], 2, "--engines"),
        (["--arch.branche", "hw"], 1, "branche"),
        (["--device", "abacus"], 1, "device 'abacus' is unknown"),
        (["--batch", "0"], 2, "--batch: got 0; expected a number >0"),
        (["--turns", "0"], 2, "--turns: got 0; expected a number >0"),
        (["--against", "timm"], 2, "--against: "),
    ],
)
def test_bad_input_is_one_line(options: list[str], status: int, part: str, capfd: pytest.CaptureFixture[str]):
    from morphmlp import cli

    try:
        returned = cli.main(["bench", *options])
    except SystemExit as stop:
        returned = stop.code
    out, err = capfd.readouterr()
    assert (returned, out, len(err.splitlines())) == (status, "", 1), err
    assert part in err


# ------------------------------------------------------------------------------------------------ benchmarks/speed.py


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module; it finds `naive` beside itself."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("speed", BENCHMARKS / "speed.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "speed", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_exponents_are_fitted_for_each_thing_that_grows(speed: ModuleType):
    rows = [{"grows": "batch", "batch": x, "seconds": 2.0 * x, "peak_bytes": 7} for x in (1, 2, 4)]
    rows += [{"grows": "size", "size": x, "seconds": x**2.0, "peak_bytes": x**3} for x in (32, 64)]
    rows += [{"grows": "frames", "frames": 8, "seconds": 1.0, "peak_bytes": 1}]
    fitted = speed.exponents(rows)
    assert fitted == {"batch": {"seconds": 1.0, "peak_bytes": 0.0}, "size": {"seconds": 2.0, "peak_bytes": 3.0}}


def test_naive_form_is_timed_in_both_dtypes(speed: ModuleType):
    model = MorphMLP(tiny.model_config(3)).eval()
    subject, clips = Subject("tiny", 1, None), torch.zeros(1, 3, 4, 32, 32)
    settings = [candidate.setting for candidate in speed.released_inference(model, subject, clips)]
    assert settings == ["as released, fp32", "as released, bf16 autocast"]
    training = [candidate.setting for candidate in speed.released_training(model, subject, clips)]
    assert training[::2] == ["as released, fp32", "as released, fp32, gradient checkpointing"]


def test_the_commands_for_a_gpu_are_taken(speed: ModuleType, monkeypatch: pytest.MonkeyPatch):
    page = (BENCHMARKS.parent / "docs" / "speed.md").read_text(encoding="utf-8").split("## GPU")[1]
    commands = [line.split() for line in page.splitlines() if line.startswith("python benchmarks/speed.py")]
    assert len(commands) == 3
    for _, *arguments in commands:
        monkeypatch.setattr(sys, "argv", arguments)
        assert speed._parse().device == "cuda"


def test_script_explains_itself_and_refuses_what_does_not_go_together():
    script = [sys.executable, str(BENCHMARKS / "speed.py")]
    process = subprocess.run(
        [*script, "--growth", "--training"], capture_output=True, text=True, env=tiny.environment()
    )
    assert process.returncode == 2
    assert "--growth measures predictions only; leave --training out" in process.stderr
