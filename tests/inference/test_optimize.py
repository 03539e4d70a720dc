"""`optimize`, and the naive form that speed is measured against: the same outputs from other arithmetic."""

import copy
import pickle
import threading

import pytest
import torch
from naive import as_released
from recorded_values import fill_model
from torch import Tensor, nn

from morphmlp.checkpoints.folder import save
from morphmlp.config import ModelConfig
from morphmlp.errors import CheckpointError, ConfigError, UserError
from morphmlp.inference.device import torch_dtype
from morphmlp.inference.optimize import (
    PRECISIONS,
    Agreement,
    FusedChunkFC,
    FusedLinear,
    _one_dnn_is_right,
    agreement,
    optimize,
)
from morphmlp.models.branch_mean import mean_output
from morphmlp.models.morphfc import ChunkFC
from morphmlp.models.morphmlp import InputShapeError
from morphmlp.models.zoo import build_model

SMALL = {
    "depths": (1, 1, 2, 1),
    "widths": (8, 16, 24, 32),
    "chunk_lengths": (4, 2, 3, 4),
    "num_classes": 5,
    "frames": 4,
}
DESIGNS = [
    {},
    {"temporal": False, "frames": 1},
    {"block": "parallel"},
    {"order": "st", "residual": "standard"},
    {"weighted_sum": False},
    {"branches": "hw"},
    {"spatial_op": "groupconv"},
    {"spatial_op": "conv3"},
    {"temporal_op": "conv3"},
    {"style": "cnn"},
    {"task": "segmentation", "temporal": False, "frames": 1},
]


def make(**options) -> nn.Module:
    return fill_model(build_model(ModelConfig(**SMALL | options))).eval()


def random_clips(model: nn.Module, *, number: int = 2, size: tuple[int, int] = (64, 64)) -> Tensor:
    config = model.config
    shape = (number, 3, config.frames, *size) if config.temporal else (number, 3, *size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(number))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return ((actual.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(
    ("design", "size"),
    [
        *((design, (70, 58)) for design in DESIGNS),
        *((design, size) for design in (DESIGNS[0], DESIGNS[-1]) for size in [(64, 64), (32, 96)]),
    ],
    ids=str,
)
@torch.no_grad()
def test_fp32_gives_the_outputs_of_the_model(design, size):
    model = make(**design)
    clips = random_clips(model, size=size)
    out = optimize(model)(clips)
    assert out.dtype == torch.float32
    assert relative_error(out, model(clips).double()) < 1e-5


@torch.no_grad()
def test_fp32_gives_the_outputs_without_onednn(monkeypatch):
    model = make()
    clips = random_clips(model)
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    plain = optimize(model)
    assert not [module for module in plain.modules() if isinstance(module, FusedLinear)]
    assert relative_error(plain(clips), model(clips).double()) < 1e-5


@pytest.mark.parametrize("design", [*DESIGNS[:4], DESIGNS[-1]], ids=str)
@torch.no_grad()
def test_bf16_errs_no_more_than_the_naive_form_under_autocast(design):
    model = make(**design)
    clips = random_clips(model, number=8)
    exact = copy.deepcopy(model).double()(clips.double())
    with torch.autocast("cpu", torch.bfloat16):
        naive = as_released(model)(clips)
    error, allowed = (
        (logits.double() - exact).square().mean().sqrt() for logits in (optimize(model, "bf16")(clips), naive)
    )
    assert allowed > 0
    assert error < 1.5 * allowed


@pytest.mark.parametrize(
    ("design", "training"),
    [*((design, True) for design in DESIGNS), *((design, False) for design in (DESIGNS[0], DESIGNS[-1]))],
    ids=str,
)
def test_the_naive_form_has_the_same_outputs_and_gradients(design, training):
    model = make(**design).double().train(training)
    naive = as_released(model)
    clips = random_clips(model, size=(58, 70)).double()
    outputs = []
    for form in (model, naive):
        torch.manual_seed(0)  # of the segmenter's dropout
        outputs.append(form(clips))
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)
    direction = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for form, out in zip((model, naive), outputs, strict=True):
        out.backward(direction)
        assert all(parameter.grad is not None for parameter in form.parameters())
    for ours, theirs in zip(model.parameters(), naive.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-9)


def test_the_model_stays_as_it_was():
    model = make(temporal_op="morphfc", drop_path=0.5).train()
    before = copy.deepcopy(model.state_dict())
    fast = optimize(model, "bf16")
    fast(random_clips(model))
    assert model.training
    assert not [module for module in fast.modules() if module.training]
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("number", [1, 3, 5])
@torch.no_grad()
def test_a_batch_is_worked_through_in_parts(monkeypatch, number):
    model = make(temporal=False, frames=1)
    monkeypatch.setattr("morphmlp.inference.optimize.TOKENS_PER_PASS", 2 * 16 * 16)  # two images of 64 x 64
    sizes = []
    fast = optimize(model)
    fast.model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    images = random_clips(model, number=number)
    assert relative_error(fast(images), model(images).double()) < 1e-5
    assert sizes == {1: [1], 3: [2, 1], 5: [2, 2, 1]}[number]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("width", [6, 8, 12, 30, 32])
@torch.no_grad()
def test_wide_elements_carry_the_same_values(width, strided, dtype):
    layer = fill_model(ChunkFC(width, 4, strided=strided)).to(dtype)
    tokens = torch.randn(2, 3, 10, width).to(dtype)
    actual, expected = FusedChunkFC(layer)(tokens), layer(tokens)
    tolerance = {"rtol": 2e-2, "atol": 1e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(actual, expected, **tolerance)


def test_it_cannot_be_trained_saved_or_optimized_again(tmp_path):
    fast = optimize(make())
    with pytest.raises(UserError, match="cannot be trained"):
        fast.train()
    assert fast.eval() is fast
    with pytest.raises(UserError, match="cannot be saved"):
        fast.state_dict()
    with pytest.raises(CheckpointError, match="InferenceModel cannot be saved"):
        save(fast, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()
    with pytest.raises(UserError, match="optimized already"):
        optimize(fast)
    assert not fast(random_clips(fast)).requires_grad
    with pytest.raises(UserError, match="a Linear cannot be optimized"):
        optimize(nn.Linear(2, 2))


def test_another_dtype_is_named():
    with pytest.raises(ConfigError, match=r"dtype is 'fp8'; allowed: fp32, bf16"):
        optimize(make(), "fp8")


@pytest.mark.parametrize("shape", [(1, 3, 8, 64, 64), (3, 4, 64, 64), (1, 3, 4, 16, 64), (7,)])
def test_a_wrong_shape_is_the_error_of_the_model(shape):
    with pytest.raises(InputShapeError):
        optimize(make())(torch.zeros(shape))


class Fixed(nn.Module):
    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


def test_agreement_counts_classes_and_measures_the_largest_difference():
    model = Fixed(torch.tensor([[1.0, 4.0], [-8.0, 2.0], [0.0, 1.0], [3.0, 2.0]]))
    other = Fixed(torch.tensor([[1.0, 4.0], [-8.0, 2.0], [3.0, 1.0], [3.0, 2.5]]))
    assert agreement(model, other, torch.zeros(4)) == Agreement(top1=0.75, largest_difference=3 / 8)


def test_agreement_is_that_of_the_model_in_evaluation_and_leaves_it_in_training():
    model = make(drop_path=0.9).train()
    before = copy.deepcopy(model.state_dict())
    found = agreement(model, optimize(model), random_clips(model, number=4))
    assert found.top1 == 1
    assert found.largest_difference < 1e-5
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_agreement_of_segmenters_is_over_pixels():
    logits = torch.zeros(1, 3, 2, 4)
    other = logits.clone()
    logits[:, 1], other[:, 1] = 1, 1
    other[0, 2, 0, 0] = 5
    assert agreement(Fixed(logits), Fixed(other), torch.zeros(1)).top1 == 7 / 8


@torch.no_grad()
def test_it_is_copied_after_its_first_use():
    fast = optimize(make(), "bf16")
    clips = random_clips(fast)
    expected = fast(clips)
    assert torch.equal(copy.deepcopy(fast)(clips), expected)
    assert torch.equal(pickle.loads(pickle.dumps(fast))(clips), expected)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("around", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_autocast_around_it_changes_nothing(dtype, around):
    fast = optimize(make(), dtype)
    clips = random_clips(fast)
    with torch.autocast("cpu", around):
        inside = fast(clips)
    assert torch.equal(inside, fast(clips))


@torch.no_grad()
def test_an_empty_batch_has_no_logits():
    assert optimize(make())(torch.zeros(0, 3, 4, 64, 64)).shape == (0, 5)


def test_values_that_are_not_normalised_are_refused():
    with pytest.raises(UserError, match=r"input of torch\.uint8"):
        optimize(make())(torch.zeros(1, 3, 4, 64, 64, dtype=torch.uint8))


@torch.no_grad()
def test_a_dtype_that_the_processor_has_no_product_for_runs_through_plain_layers(monkeypatch):
    def refuse(self, x):
        raise RuntimeError("needs the cpu support")

    monkeypatch.setattr(FusedLinear, "forward", refuse)
    model = make()
    clips = random_clips(model)
    assert relative_error(optimize(model)(clips), model(clips).double()) < 1e-5


@pytest.mark.parametrize(
    "wrong",
    [lambda x: x + 0.5, lambda x: x.flip(-1), lambda x: x * float("nan")],
    ids=["another_bias", "another_order", "nan"],
)
@torch.no_grad()
def test_operators_that_compute_something_else_are_not_used(monkeypatch, wrong):
    right = FusedLinear.forward
    monkeypatch.setattr(FusedLinear, "forward", lambda self, x: wrong(right(self, x)))
    model = make()
    clips = random_clips(model)
    plain = optimize(model)
    assert not [module for module in plain.modules() if isinstance(module, FusedLinear)]
    assert relative_error(plain(clips), model(clips).double()) < 1e-5


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_operators_of_this_pytorch_pass_their_self_test(precision: str):
    assert _one_dnn_is_right(FusedLinear.forward, torch_dtype(precision))


@pytest.mark.parametrize("allocator", [True, False])
def test_the_allocator_of_the_process_is_left_alone_on_demand(monkeypatch, allocator):
    calls = []
    monkeypatch.setattr("morphmlp.inference.optimize.keep_freed_memory", lambda: calls.append(None))
    optimize(make(), allocator=allocator)
    assert len(calls) == allocator


@torch.no_grad()
def test_the_mean_over_a_large_map_stays_in_the_range_of_half_precision():
    layer = fill_model(ChunkFC(8, 4))
    tokens = torch.full((1, 70_000, 8), 2.0)
    expected = mean_output(layer, tokens)
    assert relative_error(mean_output(layer.half(), tokens.half()), expected.double()) < 1e-2


@pytest.mark.slow
@torch.no_grad()
def test_compiled_gives_the_outputs_of_the_model():
    model = make()
    clips = random_clips(model)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    assert relative_error(optimize(model, compile=True)(clips), model(clips).double()) < 1e-5
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


@pytest.mark.parametrize(
    "change",
    [
        lambda fast: fast.half(),
        lambda fast: fast.double(),
        lambda fast: fast.bfloat16(),
        lambda fast: fast.to(torch.float16),
        lambda fast: fast.to("cpu", torch.float64),
    ],
    ids=["half", "double", "bfloat16", "to", "to both"],
)
def test_another_dtype_is_refused_afterwards(change):
    fast = optimize(make())
    clips = random_clips(fast)
    expected = fast(clips)
    with pytest.raises(UserError, match=r"keeps its dtype, torch\.float32.*dtype='fp32' or 'bf16'"):
        change(fast)
    assert torch.equal(fast.float().to("cpu").to(torch.float32)(clips), expected)


def test_weights_are_refused_afterwards():
    model = make()
    with pytest.raises(UserError, match="takes no weights; load them into a model, and optimize that"):
        optimize(model).load_state_dict(model.state_dict())


def test_it_is_copied_while_another_thread_uses_it():
    fast = optimize(make())
    sizes = [(height, width) for height in range(32, 128, 8) for width in (32, 72)]  # each keeps FCs of its own
    clips = [random_clips(fast, number=1, size=size) for size in sizes]
    thread = threading.Thread(target=lambda: [fast(clip) for clip in clips])
    thread.start()
    copies = [copy.deepcopy(fast)]
    while thread.is_alive():
        copies.append(copy.deepcopy(fast))
    thread.join()
    assert torch.equal(copies[-1](clips[0]), fast(clips[0]))
