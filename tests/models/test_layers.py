"""The layers against the oracle, over all kinds of shapes."""

import math

import oracle
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_values import fill_model
from torch import Tensor, nn

from morphmlp.models.block import MLP, DropPath, init_weights
from morphmlp.models.branch_mean import mean_output
from morphmlp.models.morphfc import (
    BranchWeights,
    ChunkFC,
    SpatialFC,
    TemporalFC,
    group_width,
    init_temporal,
    over_columns,
    over_rows,
)
from morphmlp.models.stem import Downsample, FrameConv, Stem, TokenBatchNorm

# The same shapes in every run; no time limit, because the machine may be shared.
over_shapes = settings(max_examples=40, deadline=None, derandomize=True)

BATCHES = st.integers(1, 2)
FRAMES = st.integers(1, 3)
SIDES = st.integers(1, 9)
WIDTHS = st.sampled_from([4, 6, 7, 12, 16, 30])
CHUNK_LENGTHS = st.integers(1, 20)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """The tensors are so small that sharing them out costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def double(layer: nn.Module) -> nn.Module:
    """The layer in float64, with the values of a trained one."""
    return fill_model(layer).double()


def spatial_weights(layer: SpatialFC) -> oracle.Weights:
    """The layer's parameters under the released names, with the prefix `fc`."""
    parts = {"mlp_c": layer.channel, "proj": layer.proj}
    parts |= {"reweight.fc1": layer.branch_weights.fc1, "reweight.fc2": layer.branch_weights.fc2}
    if layer.vertical is None:
        parts["mlp_h"] = layer.horizontal.fc
    else:
        parts |= {"mlp_h": layer.vertical.fc, "mlp_w": layer.horizontal.fc}
    return {f"fc.{name}.{which}": getattr(part, which) for name, part in parts.items() for which in ("weight", "bias")}


def temporal_weights(layer: TemporalFC) -> oracle.Weights:
    parts = {"mlp_t": layer.fc.fc, "proj": layer.proj}
    return {
        f"t_fc.{name}.{which}": getattr(part, which) for name, part in parts.items() for which in ("weight", "bias")
    }


def assert_equal_with_gradients(actual: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    """Same values, and same gradients of the inputs for a random gradient of the output."""
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(actual, expected, **close)
    gradient = random_values(*actual.shape, seed=1)
    actual_gradients = torch.autograd.grad(actual, inputs, gradient)
    expected_gradients = torch.autograd.grad(expected, inputs, gradient)
    for ours, theirs in zip(actual_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, **close)


# ------------------------------------------------------------------------------------------------ group width


@given(width=st.integers(1, 800), chunk_length=st.integers(1, 60))
@settings(over_shapes, max_examples=300)
def test_group_width_is_the_smallest_divisor_that_makes_a_chunk_as_wide_as_the_channels(width, chunk_length):
    depth = group_width(width, chunk_length)
    assert width % depth == 0
    assert chunk_length * depth >= width
    assert not [d for d in range(1, depth) if width % d == 0 and chunk_length * d >= width]
    if width % chunk_length == 0:
        assert depth == width // chunk_length  # the paper's D = C / L


@pytest.mark.parametrize(
    ("width", "chunk_length", "expected"),
    [
        *[(112, 14, 8), (224, 28, 8), (392, 28, 14), (784, 49, 16)],  # the released chunks
        *[(112, 8, 14), (224, 8, 28), (392, 8, 49), (784, 8, 98)],  # T' = 8: C / 8
        *[(112, 16, 7), (224, 16, 14), (392, 16, 28), (784, 16, 49)],  # T' = 16: C / 16, but 28 for 392
        *[(84, 3, 28), (84, 56, 2), (84, 1, 84), (84, 100, 1)],  # Table 6 and the ends
    ],
)
def test_group_width_gives_the_released_numbers(width, chunk_length, expected):
    assert group_width(width, chunk_length) == expected


# ----------------------------------------------------------------------------------------------------- chunks


@given(
    num_tokens=st.integers(1, 40),
    chunk_length=CHUNK_LENGTHS,
    width=WIDTHS,
    strided=st.booleans(),
    leading=st.sampled_from([(), (2,), (2, 3)]),
)
@over_shapes
def test_chunks_are_a_permutation_of_the_tokens(num_tokens, chunk_length, width, strided, leading):
    layer = ChunkFC(width, chunk_length, strided=strided).double()
    nn.init.eye_(layer.fc.weight)
    nn.init.zeros_(layer.fc.bias)
    # Every value of every token is a number of its own; 0 is left for the padding.
    tokens = torch.arange(1.0, math.prod(leading) * num_tokens * width + 1, dtype=torch.float64)
    tokens = tokens.reshape(*leading, num_tokens, width)
    chunks = []
    layer.fc.register_forward_pre_hook(lambda _, inputs: chunks.append(inputs[0]))
    assert torch.equal(layer(tokens), tokens)
    values = chunks[0][chunks[0] != 0]
    assert torch.equal(values.sort().values, tokens.flatten())


@pytest.mark.parametrize(
    ("strided", "num_tokens", "chunk_length", "expected"),
    [
        (False, 6, 2, [[1, 2], [3, 4], [5, 6]]),
        (True, 6, 2, [[1, 4], [2, 5], [3, 6]]),
        (False, 5, 2, [[1, 2], [3, 4], [5, 0]]),
        (True, 5, 2, [[1, 4], [2, 5], [3, 0]]),
        (False, 2, 4, [[1, 2, 0, 0]]),
        (True, 2, 4, [[1, 2, 0, 0]]),
        (True, 7, 3, [[1, 4, 7], [2, 5, 0], [3, 6, 0]]),
    ],
)
def test_chunks_hold_the_tokens_of_the_worked_example(strided, num_tokens, chunk_length, expected):
    layer = ChunkFC(1, chunk_length, strided=strided)
    chunks = []
    layer.fc.register_forward_pre_hook(lambda _, inputs: chunks.append(inputs[0]))
    layer(torch.arange(1.0, num_tokens + 1).unsqueeze(-1))
    assert chunks[0].flatten(0, 1).tolist() == expected


def test_a_chunk_vector_is_token_major():
    layer = ChunkFC(4, 2)
    chunks = []
    layer.fc.register_forward_pre_hook(lambda _, inputs: chunks.append(inputs[0]))
    layer(torch.tensor([[10.0, 11, 12, 13], [20, 21, 22, 23]]))
    assert chunks[0].tolist() == [[[10, 11, 20, 21], [12, 13, 22, 23]]]  # two groups of D = 2


@given(num_tokens=st.integers(1, 30), chunk_length=CHUNK_LENGTHS, width=WIDTHS, strided=st.booleans(), batch=BATCHES)
@over_shapes
def test_chunk_fc_equals_the_oracle(num_tokens, chunk_length, width, strided, batch):
    layer = double(ChunkFC(width, chunk_length, strided=strided))
    tokens = random_values(batch, 2, num_tokens, width).requires_grad_()
    expected = oracle.chunked_fc(tokens, layer.fc.weight, layer.fc.bias, chunk_length, strided=strided)
    assert_equal_with_gradients(layer(tokens), expected, [tokens, layer.fc.weight, layer.fc.bias])


@given(num_tokens=st.integers(1, 60), chunk_length=CHUNK_LENGTHS, width=WIDTHS, strided=st.booleans(), batch=BATCHES)
@settings(over_shapes, max_examples=150)
def test_the_mean_output_is_the_mean_of_the_outputs(num_tokens, chunk_length, width, strided, batch):
    layer = double(ChunkFC(width, chunk_length, strided=strided))
    tokens = random_values(batch, 2, num_tokens, width).requires_grad_()
    expected = oracle.chunked_fc(tokens, layer.fc.weight, layer.fc.bias, chunk_length, strided=strided).mean(dim=2)
    assert_equal_with_gradients(mean_output(layer, tokens), expected, [tokens, layer.fc.weight, layer.fc.bias])


@given(num_tokens=st.integers(1, 20), chunk_length=st.integers(1, 12), width=WIDTHS, strided=st.booleans())
@over_shapes
def test_padding_never_reaches_a_real_token(num_tokens, chunk_length, width, strided):
    layer = double(ChunkFC(width, chunk_length, strided=strided))
    tokens = random_values(1, 2, num_tokens, width).requires_grad_()
    expected = oracle.chunked_fc_without_padding(tokens, layer.fc.weight, layer.fc.bias, chunk_length, strided=strided)
    assert_equal_with_gradients(layer(tokens), expected, [tokens, layer.fc.weight, layer.fc.bias])


# ------------------------------------------------------------------------------------------------- spatial FC


@given(
    batch=BATCHES,
    frames=FRAMES,
    height=SIDES,
    columns=SIDES,
    width=WIDTHS,
    chunk_length=CHUNK_LENGTHS,
    whole_map=st.booleans(),
)
@over_shapes
def test_spatial_fc_equals_the_oracle(batch, frames, height, columns, width, chunk_length, whole_map):
    layer = double(SpatialFC(width, chunk_length, whole_map=whole_map))
    x = random_values(batch, frames, height, columns, width).requires_grad_()
    expected = oracle.spatial_fc(x, spatial_weights(layer), "fc", chunk_length)
    assert_equal_with_gradients(layer(x), expected, [x, *layer.parameters()])


def test_horizontal_chunks_are_of_one_row_and_vertical_ones_of_one_column():
    layer, x = double(ChunkFC(4, 2)), random_values(1, 1, 2, 2, 4)
    first_row_changed, first_column_changed = x.clone(), x.clone()
    first_row_changed[:, :, 0] += 1
    first_column_changed[:, :, :, 0] += 1
    assert torch.equal(over_rows(layer, first_row_changed)[:, :, 1], over_rows(layer, x)[:, :, 1])
    assert torch.equal(over_columns(layer, first_column_changed)[:, :, :, 1], over_columns(layer, x)[:, :, :, 1])


@pytest.mark.parametrize("whole_map", [False, True])
def test_spatial_fc_keeps_a_clip_constant_that_does_not_change_in_time(whole_map):
    layer = double(SpatialFC(8, 6, whole_map=whole_map))
    out = layer(random_values(2, 1, 5, 4, 8).expand(2, 4, 5, 4, 8))
    torch.testing.assert_close(out, out[:, :1].expand_as(out), rtol=0, atol=1e-12)


@pytest.mark.parametrize("whole_map", [False, True])
def test_spatial_fc_does_not_know_the_order_of_the_frames(whole_map):
    layer, x = double(SpatialFC(8, 6, whole_map=whole_map)), random_values(2, 4, 5, 4, 8)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_branches", [2, 3])
def test_branch_weights_sum_to_one_by_clip_and_channel(num_branches):
    weights = torch.stack(double(BranchWeights(12, num_branches))(random_values(5, 12)))
    assert weights.shape == (num_branches, 5, 1, 1, 1, 12)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(5, 1, 1, 1, 12, dtype=torch.float64))


# ------------------------------------------------------------------------------------------------ temporal FC


@given(batch=BATCHES, num_steps=st.integers(1, 12), height=st.integers(1, 4), columns=st.integers(1, 4), width=WIDTHS)
@over_shapes
def test_temporal_fc_equals_the_oracle(batch, num_steps, height, columns, width):
    layer = double(TemporalFC(width, num_steps))
    x = random_values(batch, num_steps, height, columns, width).requires_grad_()
    expected = oracle.temporal_fc(x, temporal_weights(layer), "t_fc")
    assert_equal_with_gradients(layer(x), expected, [x, *layer.parameters()])


def test_temporal_fc_keeps_positions_apart_and_joins_all_frames():
    layer, x = double(TemporalFC(8, 4)), random_values(1, 4, 2, 3, 8)
    changed = x.clone()
    changed[:, 2, 1, 0] += 1
    differs = (layer(changed) != layer(x)).any(dim=-1)[0]  # [T', H, W]
    assert differs[:, 1, 0].all()
    assert differs.sum() == 4


@pytest.mark.parametrize("how", ["released", "zero_proj"])
def test_a_temporal_layer_starts_with_an_output_of_zero(how):
    layer = TemporalFC(112, 8).apply(init_weights)
    init_temporal(layer, how)
    assert not layer(torch.randn(1, 8, 2, 2, 112)).any()
    learns = layer.fc.fc.weight if how == "released" else layer.proj.weight
    layer(torch.randn(1, 8, 2, 2, 112)).square().add(torch.randn(1, 8, 2, 2, 112)).sum().backward()
    assert not learns.any()
    other = layer.proj.weight if how == "released" else layer.fc.fc.weight
    assert other.any()


# ---------------------------------------------------------------------------------------- MLP and drop path


def test_mlp_uses_the_exact_gelu():
    layer, x = double(MLP(6, 18)), random_values(2, 3, 6)
    weights = dict(layer.named_parameters())
    expected = oracle.linear(oracle.gelu(oracle.linear(x, weights, "fc1")), weights, "fc2")
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_drop_path_is_the_identity_in_evaluation(rate):
    x = torch.randn(4, 3)
    assert DropPath(rate).eval()(x) is x


def test_drop_path_of_rate_zero_is_the_identity_in_training():
    x = torch.randn(4, 3)
    assert DropPath(0.0).train()(x) is x


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.8])
def test_drop_path_drops_whole_clips_and_keeps_the_mean(rate):
    torch.manual_seed(0)
    out = DropPath(rate).train()(torch.ones(20_000, 2, 3)).flatten(1)
    assert torch.equal(out, out[:, :1].expand_as(out))  # a clip is dropped as a whole
    kept = out[:, 0] != 0
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - rate)))
    # Five standard deviations of a share of 20,000 draws are at most 0.018.
    assert abs(kept.double().mean().item() - (1 - rate)) < 0.018


# ------------------------------------------------------------------------------------------ patch embedding


def reference_convolution(layer: FrameConv, x: Tensor) -> Tensor:
    """The released form: a 1 x 3 x 3 convolution over `[B, C, T, H, W]`."""
    x = F.conv3d(x.movedim(-1, 1), layer.weight.unsqueeze(2), layer.bias, stride=(1, 2, 2), padding=(0, 1, 1))
    return x.movedim(1, -1)


@given(batch=BATCHES, frames=FRAMES, height=SIDES, columns=SIDES)
@settings(over_shapes, max_examples=25)
def test_frame_convolution_equals_a_3d_convolution_of_one_frame(batch, frames, height, columns):
    layer = double(FrameConv(5, 7))
    x = random_values(batch, frames, height, columns, 5).requires_grad_()
    out = layer(x)
    assert out.shape == (batch, frames, math.ceil(height / 2), math.ceil(columns / 2), 7)
    assert_equal_with_gradients(out, reference_convolution(layer, x), [x, layer.weight, layer.bias])


def test_token_batch_norm_equals_3d_batch_norm_with_its_running_statistics():
    ours, theirs = double(TokenBatchNorm(6)), double(nn.BatchNorm3d(6))
    for step in range(3):
        x = (random_values(2, 3, 4, 5, 6, seed=step) * 3 + 1).requires_grad_()
        expected = theirs(x.movedim(-1, 1)).movedim(1, -1)
        assert_equal_with_gradients(ours(x), expected, [x])
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 3
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-12, atol=1e-12)
    x = random_values(1, 1, 2, 2, 6)
    expected = theirs.eval()(x.movedim(-1, 1)).movedim(1, -1)
    torch.testing.assert_close(ours.eval()(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("temporal", "frames"), [(False, 1), (True, 1), (True, 2), (True, 5), (True, 8)])
def test_stem_equals_the_released_sequence(temporal, frames, training):
    stem = double(Stem(8, temporal=temporal)).train(training)
    norms = [double(nn.BatchNorm3d(norm.num_features)) for norm in (stem.norm1, stem.norm2)]
    for theirs, ours in zip(norms, (stem.norm1, stem.norm2), strict=True):
        theirs.load_state_dict(ours.state_dict())
        theirs.train(training)
    clip = random_values(2, 3, frames, 13, 18).requires_grad_()
    conv1 = stem.conv1
    x = F.conv3d(clip, conv1.weight, conv1.bias, stride=conv1.stride, padding=conv1.padding)
    x = oracle.gelu(norms[0](x))
    expected = norms[1](reference_convolution(stem.conv2, x.movedim(1, -1)).movedim(-1, 1)).movedim(1, -1)
    out = stem(clip)
    assert out.shape == (2, math.ceil(frames / 2), 4, 5, 8)
    assert_equal_with_gradients(out, expected, [clip, stem.conv1.weight, stem.conv2.weight])


def test_downsample_halves_each_frame_by_itself():
    layer, x = double(Downsample(6, 10)), random_values(2, 3, 5, 8, 6)
    weights = {"patch.proj.weight": layer.conv.weight, "patch.proj.bias": layer.conv.bias}
    weights |= {"patch.norm.weight": layer.norm.weight, "patch.norm.bias": layer.norm.bias}
    out = layer(x)
    assert out.shape == (2, 3, 3, 4, 10)
    torch.testing.assert_close(out, oracle.downsample(x, weights, "patch"), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer(x[:, [2, 0, 1]]), out[:, [2, 0, 1]], rtol=1e-12, atol=1e-12)


# --------------------------------------------------------------------------------------------- initialisation


def test_linear_layers_start_as_truncated_normal_and_convolutions_as_the_framework_does():
    torch.manual_seed(0)
    linear = nn.Linear(400, 300).apply(init_weights)
    assert not linear.bias.any()
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert abs(linear.weight.mean().item()) < 3e-4
    torch.manual_seed(1)
    untouched = FrameConv(8, 8)
    torch.manual_seed(1)
    assert torch.equal(FrameConv(8, 8).apply(init_weights).weight, untouched.weight)
