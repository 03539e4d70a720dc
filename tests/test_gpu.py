"""What only a GPU can show. None of it runs by itself: `pytest -m gpu tests/test_gpu.py`, on a machine that has one."""

from copy import deepcopy
from pathlib import Path

import pytest
import tiny
import torch
from recorded_values import fill_model, read_record, released_clip, released_weights
from safetensors.torch import load_file

import morphmlp
from morphmlp.checkpoints.folder import load
from morphmlp.checkpoints.released import load_released
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.classification.predictor import Predictor
from morphmlp.training import run as training

pytestmark = pytest.mark.gpu
DEVICE = "cuda"


@pytest.fixture(autouse=True)
def exact_products():
    """Products and convolutions of fp32 are computed in fp32, and not in TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def nano() -> MorphMLP:
    """With values of a trained network's size."""
    model = morphmlp.create_model("morphmlp_video_nano", num_classes=10, frames=8)
    fill_model(model)
    return model.eval()


CLIPS = torch.randn(3, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_recorded_logits_of_the_released_code_are_met():
    record = read_record()
    model = load_released(released_weights(record)).eval().to(DEVICE)
    logits = model(released_clip(record).to(DEVICE)).cpu()
    recorded = torch.tensor(record["logits"]).view_as(logits)
    assert (logits - recorded).abs().max() <= 1e-5 * recorded.abs().max()


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.03), (torch.float16, 0.005)])
def test_logits_under_autocast_are_those_of_fp32_within_rounding(nano: MorphMLP, dtype: torch.dtype, most: float):
    expected = nano(CLIPS)
    with torch.autocast(DEVICE, dtype):
        logits = deepcopy(nano).to(DEVICE)(CLIPS.to(DEVICE)).float().cpu()
    assert (logits - expected).abs().max() <= most * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(("dtype", "most"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_an_optimized_model_agrees_compiled_or_not(nano: MorphMLP, dtype: str, most: float, compile: bool):
    expected = nano(CLIPS)
    logits = morphmlp.optimize(deepcopy(nano).to(DEVICE), dtype=dtype, compile=compile)(CLIPS.to(DEVICE)).cpu()
    assert (logits - expected).abs().max() <= most * expected.abs().max()


@pytest.mark.parametrize("gradient_checkpointing", ["cheap", True])
def test_recomputed_layers_give_the_same_gradients(gradient_checkpointing: str | bool):
    found = []
    for setting in (False, gradient_checkpointing):
        model = fill_model(
            morphmlp.create_model(
                "morphmlp_video_nano", num_classes=10, frames=8, drop_path=0.0, gradient_checkpointing=setting
            )
        )
        model.to(DEVICE).train()
        with torch.autocast(DEVICE, torch.bfloat16):
            loss = model(CLIPS.to(DEVICE)).float().square().mean()
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-3, atol=1e-3 * plain.abs().max().item())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_trains_stops_goes_on_and_its_checkpoint_answers_alike_on_the_cpu(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
):
    config = tiny.run_config(data, device=DEVICE, precision=precision, **tiny.everything_random(workers=2))
    with monkeypatch.context() as patch:
        tiny.stop_after(7, patch)
        with pytest.raises(training.Interrupted):
            training.train(config, tmp_path / "run")
    training.resume(tmp_path / "run")
    assert tiny.losses(tmp_path / "run")[-1][0] == 15  # 3 epochs of 5 steps
    weights = load_file(tmp_path / "run" / "last" / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    video = next((data / "val").rglob("*.mp4"))
    answers = [Predictor(tmp_path / "run" / "last", device=device)(video) for device in (DEVICE, "cpu")]
    on_gpu, on_cpu = (torch.as_tensor(answer.probabilities) for answer in answers)
    torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=1e-4)
    assert next(load(tmp_path / "run" / "last").parameters()).device.type == "cpu"
