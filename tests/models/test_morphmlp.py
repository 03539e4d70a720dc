"""The networks: sizes, errors, counts, initialisation, and the whole forward pass against the oracle."""

import math
import warnings

import oracle
import pytest
import torch
from recorded_values import fill_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from morphmlp.analysis.bench.memory import saved_bytes
from morphmlp.checkpoints.released import _released_name
from morphmlp.config import ModelConfig
from morphmlp.errors import ConfigError, UserError
from morphmlp.models.alternatives import make_block
from morphmlp.models.block import Block, DropPath, init_weights
from morphmlp.models.morphfc import TemporalFC, init_temporal
from morphmlp.models.morphmlp import InputShapeError, MorphMLP
from morphmlp.models.zoo import create_model, list_models

# A network of one block a stage, small enough for many forward passes.
TINY = {
    "depths": (1, 1, 1, 1),
    "widths": (8, 16, 24, 32),
    "chunk_lengths": (4, 8, 8, 4),
    "image_size": 64,
    "num_classes": 5,
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def tiny(**overrides) -> MorphMLP:
    """A tiny network in evaluation mode, with the values of a trained one."""
    return fill_model(MorphMLP(ModelConfig(**TINY | overrides))).eval()


def tiny_image(**overrides) -> MorphMLP:
    return tiny(temporal=False, frames=1, **overrides)


def on_meta(name: str, **overrides) -> MorphMLP:
    """The shapes of a model without its values."""
    with torch.device("meta"):
        return create_model(name, **overrides).eval()


# ----------------------------------------------------------------------------------------- against the oracle


@pytest.mark.parametrize(
    ("name", "overrides", "shape"),
    [
        ("morphmlp_video_nano", {"frames": 4}, (2, 3, 4, 64, 64)),
        # stage 4 of 4 x 4 tokens in chunks of 4: strided chunks, as at 448 px in the released model
        ("morphmlp_video_nano", {"frames": 4}, (1, 3, 4, 128, 128)),
        ("morphmlp_video_nano", {"frames": 3}, (1, 3, 3, 33, 47)),
        ("morphmlp_video_nano", {"frames": 1}, (1, 3, 1, 32, 100)),
        # chunk lengths of Table 6 that do not divide the width
        ("morphmlp_video_nano", {"frames": 5, "chunk_lengths": (3, 56, 7, 9)}, (1, 3, 5, 70, 90)),
        ("morphmlp_image_nano", {}, (2, 3, 64, 64)),
        ("morphmlp_image_nano", {}, (1, 3, 131, 65)),
    ],
)
def test_network_equals_the_oracle(name, overrides, shape):
    model = fill_model(create_model(name, num_classes=7, **overrides)).double().eval()
    weights = {_released_name(ours): tensor for ours, tensor in model.state_dict().items()}
    clip = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        maps, logits = oracle.network(
            clip if clip.dim() == 5 else clip[:, :, None], weights, model.config.chunk_lengths
        )
        torch.testing.assert_close(model(clip), logits, rtol=1e-10, atol=1e-10)
        for ours, theirs in zip(model.forward_features(clip), maps, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("frames", "size"), [(4, (64, 64)), (3, (70, 90))])
def test_gradients_of_the_network_equal_those_of_the_oracle(frames, size):
    model = tiny(frames=frames).double()
    parameters = dict(model.named_parameters())
    weights = {_released_name(ours): tensor for ours, tensor in (parameters | dict(model.named_buffers())).items()}
    clip = torch.randn(1, 3, frames, *size, dtype=torch.float64, requires_grad=True)
    inputs = [clip, *parameters.values()]
    _, logits = oracle.network(clip, weights, model.config.chunk_lengths)
    gradient = torch.randn_like(logits)
    expected = torch.autograd.grad(logits, inputs, gradient)
    for ours, theirs in zip(torch.autograd.grad(model(clip), inputs, gradient), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_the_skip_residual_starts_at_the_block_input():
    """With the spatial layer and the MLP silent the temporal layer has no way to the output (Fig. 7)."""
    block = fill_model(make_block(ModelConfig(**TINY, frames=4), 0, drop_path=0.0))
    for layer in (block.spatial.proj, block.mlp.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.randn(1, 2, 4, 4, 8)
    assert block.temporal(block.temporal_norm(x)).any()
    assert torch.equal(block(x), x)


def test_an_image_may_come_as_a_clip_of_one_frame():
    model, image = tiny_image(), torch.randn(1, 3, 64, 64)
    assert torch.equal(model(image[:, :, None]), model(image))


# -------------------------------------------------------------------------------------------------- any size


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (32, 257), (61, 35), (64, 64), (100, 50), (224, 224)])
def test_stage_maps_have_strides_4_to_32_rounded_up(size):
    model = tiny(frames=2)
    clip = torch.randn(1, 3, 2, *size)
    with torch.no_grad():
        maps = model.forward_features(clip)
        assert model(clip).shape == (1, 5)
        torch.testing.assert_close(model.forward_head(maps[-1]), model(clip))
    expected = [
        (1, 1, math.ceil(size[0] / stride), math.ceil(size[1] / stride), width)
        for stride, width in zip((4, 8, 16, 32), TINY["widths"], strict=True)
    ]
    assert [tuple(stage.shape) for stage in maps] == expected


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 16])
def test_any_frame_count_gives_half_as_many_steps_rounded_up(frames):
    model = tiny(frames=frames).train()
    clip = torch.randn(2, 3, frames, 33, 40)
    maps = model.forward_features(clip)
    assert [stage.shape[1] for stage in maps] == [math.ceil(frames / 2)] * 4
    model(clip).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (96, 64)])
def test_image_model_takes_images(size):
    model, images = tiny_image(), torch.randn(2, 3, *size)
    assert model(images).shape == (2, 5)
    assert model.forward_features(images)[0].shape == (2, 1, math.ceil(size[0] / 4), math.ceil(size[1] / 4), 8)
    assert not [name for name, _ in model.named_parameters() if "temporal" in name]


@pytest.mark.parametrize("name", list_models())
def test_every_variant_runs_forward_and_backward_at_its_smallest(name):
    if "nano" in name:
        model = create_model(name, num_classes=3)
        shape = (2, 3, 16, 32, 32) if model.config.temporal else (2, 3, 32, 32)
        model(torch.randn(shape)).sum().backward()
    model = on_meta(name)
    shape = (2, 3, 16, 32, 32) if model.config.temporal else (2, 3, 32, 32)
    model(torch.empty(shape, device="meta")).sum().backward()
    assert model.config.name == name


# -------------------------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("build", "shape", "message"),
    [
        (tiny, (1, 3, 8, 64, 64), "a clip of 8 frames: this model was built for 16.*frames=8"),
        (tiny, (1, 16, 3, 64, 64), r"\[1, 16, 3, 64, 64\].*\[B, 3, T, H, W\]"),
        (tiny, (1, 1, 16, 64, 64), r"\[1, 1, 16, 64, 64\].*\[B, 3, T, H, W\]"),
        (tiny, (3, 16, 64, 64), r"\[3, 16, 64, 64\].*\[B, 3, T, H, W\]"),
        (tiny, (1, 3, 64, 64), r"\[B, 3, T, H, W\]"),
        (tiny, (1, 3, 16, 31, 64), "31 x 64 px.*at least 32 px"),
        (tiny, (1, 3, 16, 64, 8), "64 x 8 px.*at least 32 px"),
        (tiny_image, (1, 3, 2, 64, 64), r"\[1, 3, 2, 64, 64\].*\[B, 3, H, W\]"),
        (tiny_image, (1, 4, 64, 64), r"\[1, 4, 64, 64\].*\[B, 3, H, W\]"),
        (tiny_image, (3, 64, 64), r"\[B, 3, H, W\]"),
        (tiny_image, (1, 3, 16, 16), "16 x 16 px.*at least 32 px"),
    ],
)
def test_an_input_of_another_shape_is_refused_by_name(build, shape, message):
    with pytest.raises(InputShapeError, match=message) as caught:
        build()(torch.zeros(shape))
    assert isinstance(caught.value, UserError)


# ---------------------------------------------------------------------------------------------------- counts

VIDEO_COUNTS = [
    # variant, frames, parameters, G multiply-adds of linear and convolution layers
    ("morphmlp_video_s", 16, 47_039_154, 66.03),
    ("morphmlp_video_s", 32, 47_463_018, 132.67),
    ("morphmlp_video_b", 16, 67_784_382, 97.36),
    ("morphmlp_video_b", 32, 68_490_822, 195.74),
]
IMAGE_COUNTS = [
    # variant, M parameters, G multiply-adds
    ("morphmlp_image_t", 23.4, 3.96),
    ("morphmlp_image_s", 40.5, 6.95),
    ("morphmlp_image_b", 58.0, 10.22),
    ("morphmlp_image_l", 76.2, 12.46),
]


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_giga_multiply_adds(model: MorphMLP) -> float:
    """One view at 224 px; the counter counts a multiply-add as two."""
    shape = (1, 3, model.config.frames, 224, 224) if model.config.temporal else (1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(shape, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(("name", "frames", "parameters", "giga"), VIDEO_COUNTS)
def test_video_variant_has_the_released_counts(name, frames, parameters, giga):
    model = on_meta(name, frames=frames)
    assert count_parameters(model) == parameters
    assert round(count_giga_multiply_adds(model), 2) == giga


@pytest.mark.parametrize(("name", "mega", "giga"), IMAGE_COUNTS)
def test_image_variant_has_the_counts_of_the_paper(name, mega, giga):
    model = on_meta(name)
    assert round(count_parameters(model) / 1e6, 1) == mega
    assert round(count_giga_multiply_adds(model), 2) == giga


def test_fvcore_counts_the_same_and_the_norms_on_top():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which torch has deprecated
        from fvcore.nn import FlopCountAnalysis

        # It counts while it runs, so the model needs memory, but no initialisation: zeros will do.
        model = on_meta("morphmlp_video_s").to_empty(device="cpu")
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.detach().zero_()
        counts = FlopCountAnalysis(model, (torch.zeros(1, 3, 16, 224, 224),))
        by_operator = counts.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    assert round(sum(by_operator.values()) / 1e9, 2) == 66.37
    products = ("linear", "conv", "matmul")  # matmul: the means of the branches
    layers = sum(by_operator[name] for name in products) / 1e9
    assert layers == pytest.approx(count_giga_multiply_adds(on_meta("morphmlp_video_s")), rel=1e-9)


# -------------------------------------------------------------------------------------------- initialisation


@pytest.mark.parametrize("temporal_init", ["released", "zero_proj"])
def test_temporal_layers_start_as_if_they_were_not_there(temporal_init):
    model = MorphMLP(ModelConfig(**TINY, frames=4, temporal_init=temporal_init)).eval()
    clip = torch.randn(2, 3, 4, 64, 64)
    for layer in model.modules():
        if isinstance(layer, TemporalFC):
            assert not layer(torch.randn(1, 2, 3, 3, layer.proj.in_features)).any()
    expected = model(clip)
    for module in model.modules():
        if isinstance(module, Block):
            module.temporal = module.temporal_norm = None
    assert torch.equal(model(clip), expected)


@pytest.mark.parametrize(("temporal_init", "low_rank"), [("released", True), ("zero_proj", False)])
def test_rank_of_the_temporal_fc_after_six_steps(temporal_init, low_rank):
    """The released start is symmetric: all channels of a group share a gradient, so the rank stays at T' = 8."""
    layer = TemporalFC(112, 8).apply(init_weights)
    init_temporal(layer, temporal_init)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(6):
        x, target = torch.randn(2, 4, 8, 7, 7, 112).unbind()
        loss = (x + layer(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    singular_values = torch.linalg.svdvals(layer.fc.fc.weight.detach().double())
    rank = int((singular_values > 1e-3 * singular_values[0]).sum())
    if low_rank:
        assert rank == 8
    else:
        assert rank > 100


def test_drop_path_rises_linearly_over_all_blocks():
    model = MorphMLP(ModelConfig(**TINY | {"depths": (1, 2, 3, 1)}, drop_path=0.3))
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])


def test_batch_norm_and_layer_norm_start_at_the_identity():
    model = MorphMLP(ModelConfig(**TINY))
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm | nn.BatchNorm1d)]
    assert len(norms) == 2 + 3 + 4 * 3 + 1  # stem, downsamples, blocks, head
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_a_seed_decides_the_weights_and_the_training_pass():
    def run(seed: int) -> tuple[dict[str, Tensor], Tensor]:
        torch.manual_seed(seed)
        model = MorphMLP(ModelConfig(**TINY, frames=4, drop_path=0.5)).train()
        return model.state_dict(), model(torch.randn(3, 3, 4, 40, 40))

    (weights, logits), (same_weights, same_logits) = run(3), run(3)
    assert torch.equal(logits, same_logits)
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)
    assert not torch.equal(run(4)[1], logits)


# ------------------------------------------------------------------------------------------------- behaviour


def test_clips_of_a_batch_do_not_see_each_other_in_evaluation():
    model = tiny(frames=4)
    clips = torch.randn(3, 3, 4, 40, 56)
    poisoned = clips.clone()
    poisoned[1] = math.nan
    with torch.no_grad():
        logits, others = model(clips), model(poisoned)
        assert torch.equal(others[[0, 2]], logits[[0, 2]])
        assert others[1].isnan().all()
        for index in range(3):
            torch.testing.assert_close(model(clips[index : index + 1])[0], logits[index], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [2, 4])  # of 2, the copies to the temporal chunks are views
def test_gradient_checkpointing_gives_equal_gradients(frames):
    clip = torch.randn(2, 3, frames, 40, 40, dtype=torch.float64)
    results = []
    for gradient_checkpointing in (False, True, "cheap"):
        model = tiny(frames=frames, drop_path=0.5, gradient_checkpointing=gradient_checkpointing).double().train()
        torch.manual_seed(5)  # of the drop path, which the second pass through a block must repeat
        logits = model(clip)
        logits.square().sum().backward()
        results.append([logits, *(parameter.grad for parameter in model.parameters())])
    for plain, *checkpointed in zip(*results, strict=True):
        for recomputed in checkpointed:
            torch.testing.assert_close(recomputed, plain, rtol=1e-12, atol=1e-12)


def test_gradient_checkpointing_runs_each_block_twice_in_training_only():
    model = tiny(frames=2, gradient_checkpointing=True)
    calls = []
    model.stages[2][0].spatial.proj.register_forward_hook(lambda *_: calls.append(1))
    model(torch.randn(1, 3, 2, 32, 32)).sum().backward()
    assert len(calls) == 1
    calls.clear()
    model.train()(torch.randn(2, 3, 2, 32, 32)).sum().backward()
    assert len(calls) == 2


def test_cheap_checkpointing_keeps_less_and_multiplies_no_more():
    clip = torch.randn(2, 3, 4, 64, 64)
    multiply_adds, kept = {}, {}
    for gradient_checkpointing in (False, True, "cheap"):
        model = tiny(frames=4, gradient_checkpointing=gradient_checkpointing).train()
        kept[gradient_checkpointing] = saved_bytes(lambda model=model: model(clip).sum(), model)
        with FlopCounterMode(display=False) as counter:
            model(clip).sum().backward()
        multiply_adds[gradient_checkpointing] = counter.get_total_flops()
    assert multiply_adds["cheap"] == multiply_adds[False] < multiply_adds[True]
    assert kept[True] < kept["cheap"] < 0.8 * kept[False]


def test_cheap_checkpointing_is_for_training_only():
    model = tiny(frames=2, gradient_checkpointing="cheap")
    clip = torch.randn(1, 3, 2, 32, 32)
    kept = saved_bytes(lambda: model(clip).sum(), model)
    model.gradient_checkpointing = False
    assert saved_bytes(lambda: model(clip).sum(), model) == kept


def test_reset_head_replaces_the_classifier_alone():
    model = tiny(frames=2).double()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith("head.")}
    model.reset_head(9)
    assert model.config.num_classes == 9
    assert model(torch.randn(1, 3, 2, 32, 32, dtype=torch.float64)).shape == (1, 9)
    assert model.config == ModelConfig(**TINY | {"num_classes": 9}, frames=2)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


# ------------------------------------------------------------------------------------------------ the factory


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("morphmlp_vidoe_s", {}, "'morphmlp_vidoe_s' is unknown; did you mean morphmlp_video_s"),
        ("morphmlp_image_x", {}, "did you mean .*morphmlp_image_"),
        ("resnet", {}, "'resnet' is unknown; did you mean .*morphmlp_video_s"),
        ("morphmlp_video_nano", {"num_clases": 3}, "no field 'num_clases'; did you mean num_classes"),
        ("morphmlp_video_nano", {"frame": 8}, "no field 'frame'; did you mean frames"),
        ("morphmlp_video_nano", {"zzz": 8}, "no field 'zzz'; known: depths, widths"),
        ("morphmlp_video_nano", {"num_classes": 0}, "model.num_classes is 0; allowed: 1 or more"),
        ("morphmlp_video_nano", {"frames": 0}, "model.frames is 0; allowed: 1 to 1024"),
        ("morphmlp_video_nano", {"frames": "16"}, "model.frames is '16'; allowed: a value of type int"),
        ("morphmlp_video_nano", {"frames": True}, "model.frames is True; allowed: a value of type int"),
        ("morphmlp_video_nano", {"drop_path": 1.0}, "model.drop_path is 1.0; allowed: 0 <= rate < 1"),
        ("morphmlp_video_nano", {"drop_path": math.nan}, "model.drop_path is nan"),
        (
            "morphmlp_video_nano",
            {"temporal_init": "zero"},
            "model.temporal_init is 'zero'; allowed: 'released', 'zero_",
        ),
        (
            "morphmlp_video_nano",
            {"gradient_checkpointing": "chep"},
            "model.gradient_checkpointing is 'chep'; allowed: False, True, 'cheap'",
        ),
        ("morphmlp_video_nano", {"depths": (1, 2, 3)}, "model.depths is .*four positive integers"),
        ("morphmlp_video_nano", {"widths": (8, 8, 8, 0)}, "model.widths is .*four positive integers"),
        ("morphmlp_video_nano", {"widths": (3, 8, 8, 8)}, "model.widths is .*at least 4"),
        ("morphmlp_video_nano", {"chunk_lengths": (1, 2, 3, "4")}, r"model.chunk_lengths\[3\] is '4'"),
        ("morphmlp_image_nano", {"frames": 4}, "model.frames is 4; allowed: 1 for an image model"),
    ],
)
def test_a_wrong_name_or_value_names_the_allowed_ones(name, overrides, message):
    with pytest.raises(ConfigError, match=message):
        create_model(name, **overrides)


def test_list_models_names_every_variant_of_the_paper():
    names = list_models()
    assert len(names) == len(set(names)) == 8
    for name in ("video_s", "video_b", "image_t", "image_s", "image_b", "image_l", "video_nano", "image_nano"):
        assert f"morphmlp_{name}" in names


def test_overrides_are_kept_in_the_configuration():
    config = create_model("morphmlp_video_nano", num_classes=3, frames=5, drop_path=0.1).config
    assert (config.num_classes, config.frames, config.num_steps, config.drop_path) == (3, 5, 3, 0.1)
    assert ModelConfig.from_dict(config.to_dict()) == config
