"""The CNN style of Table 9: shapes, the bottleneck's equation, and the counts of the ResNet that it changes."""

import math

import oracle
import pytest
import torch
import torch.nn.functional as F
from recorded_values import fill_model
from torch import Tensor, nn

from morphmlp.config import ModelConfig
from morphmlp.models.alternatives import TemporalConv
from morphmlp.models.block import DropPath
from morphmlp.models.morphfc import SpatialFC
from morphmlp.models.resnet import Bottleneck, MorphResNet, ResNetStem
from morphmlp.models.zoo import create_model

TINY = {
    "depths": (2, 1, 1, 2),
    "widths": (8, 8, 16, 16),
    "chunk_lengths": (4, 8, 8, 4),
    "image_size": 64,
    "num_classes": 5,
    "style": "cnn",
}
IMAGE = {"temporal": False, "frames": 1}
RESNET_50 = {"depths": (3, 4, 6, 3), "widths": (64, 128, 256, 512)}
RESNET_50_PARAMETERS = 25_557_032  # 1000 classes


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def tiny(**fields) -> MorphResNet:
    return fill_model(MorphResNet(ModelConfig(**TINY | fields))).double().eval()


def batch_norm(x: Tensor, norm: nn.Module) -> Tensor:
    """Channel-last, by the running statistics."""
    normal = (x - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
    return normal * norm.weight + norm.bias


def relu(x: Tensor) -> Tensor:
    return x * (x > 0)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 64), (100, 51), (61, 129)])
@pytest.mark.parametrize(("fields", "frames", "steps"), [(IMAGE, 1, 1), ({"frames": 5}, 5, 3)])
def test_maps_have_strides_4_to_32_rounded_up_and_four_times_the_widths(fields, frames, steps, size):
    model = tiny(**fields)
    clip = random_values(2, 3, frames, *size)
    with torch.no_grad():
        maps = model.forward_features(clip)
        assert model(clip).shape == (2, 5)
    assert [tuple(tensor.shape) for tensor in maps] == [
        (2, steps, math.ceil(size[0] / stride), math.ceil(size[1] / stride), 4 * width)
        for stride, width in zip((4, 8, 16, 32), TINY["widths"], strict=True)
    ]


@pytest.mark.parametrize(("temporal", "frames"), [(False, 1), (True, 1), (True, 4), (True, 5)])
def test_stem_is_a_7x7_convolution_and_a_max_pooling(temporal, frames):
    stem = fill_model(ResNetStem(8, temporal=temporal)).double().eval()
    clip = random_values(2, 3, frames, 13, 18)
    x = F.conv3d(clip, stem.conv.weight, stride=(2 if temporal else 1, 2, 2), padding=(1 if temporal else 0, 3, 3))
    assert stem.conv.weight.shape == (8, 3, 3 if temporal else 1, 7, 7)
    x = relu(batch_norm(x.movedim(1, -1), stem.norm))
    expected = F.max_pool3d(x.movedim(-1, 1), (1, 3, 3), (1, 2, 2), (0, 1, 1)).movedim(1, -1)
    torch.testing.assert_close(stem(clip), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("fields", [IMAGE, {"frames": 4}])
@pytest.mark.parametrize(
    ("stage", "in_width", "stride"),
    [(0, 8, 1), (0, 32, 1), (2, 32, 2), (3, 64, 2)],
    ids=["projected", "identity", "projected and halved", "identity and halved"],
)
def test_bottleneck_equals_its_equation(fields, stage, in_width, stride):
    block = Bottleneck(ModelConfig(**TINY | fields), stage, in_width=in_width, stride=stride, drop_path=0.0)
    block = fill_model(block).double().eval()
    x = random_values(2, 2 if block.temporal else 1, 5, 6, in_width)
    shortcut = x[:, :, ::stride, ::stride]
    inside = relu(batch_norm(shortcut @ block.reduce.weight.T, block.norm1))
    inside = relu(batch_norm(block.spatial(inside), block.norm2))
    if fields != IMAGE:
        inside = relu(batch_norm(block.temporal(inside), block.temporal_norm))
    inside = batch_norm(inside @ block.expand.weight.T, block.norm3)
    if in_width == 4 * TINY["widths"][stage]:
        assert block.shortcut is None
    else:
        shortcut = batch_norm(shortcut @ block.shortcut.weight.T, block.shortcut_norm)
    torch.testing.assert_close(block(x), relu(shortcut + inside), rtol=1e-9, atol=1e-10)


def test_the_first_block_of_a_stage_halves_the_map_and_projects_the_shortcut():
    blocks = [block for stage in tiny(**IMAGE).stages for block in stage]
    assert [block.stride for block in blocks] == [1, 1, 2, 2, 2, 1]
    # The second stage has the width of the first, so its shortcut needs no projection.
    assert [block.shortcut is None for block in blocks] == [False, True, True, False, True, True]


def test_the_spatial_layer_is_that_of_the_transformer_style():
    model = tiny(frames=4)
    for stage, blocks in enumerate(model.stages):
        for block in blocks:
            assert isinstance(block.spatial, SpatialFC)
            assert (block.spatial.vertical is None) == (stage == 3)
            assert isinstance(block.temporal, TemporalConv)
    x = random_values(1, 2, 3, 4, 8)
    layer = model.stages[0][0].spatial
    parts = {"mlp_h": layer.vertical.fc, "mlp_w": layer.horizontal.fc, "mlp_c": layer.channel, "proj": layer.proj}
    parts |= {"reweight.fc1": layer.branch_weights.fc1, "reweight.fc2": layer.branch_weights.fc2}
    weights = {f"fc.{name}.{key}": value for name, part in parts.items() for key, value in part.named_parameters()}
    torch.testing.assert_close(layer(x), oracle.spatial_fc(x, weights, "fc", 4), rtol=1e-10, atol=1e-10)


def test_drop_path_rises_linearly_over_all_blocks():
    rates = [module.rate for module in tiny(drop_path=0.5).modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_with_convolutions_it_has_the_parameters_of_resnet_50_and_those_of_the_projections():
    with torch.device("meta"):
        model = create_model("morphmlp_image_t", style="cnn", spatial_op="conv3", **RESNET_50)
    convolution_biases_and_projections = sum(
        depth * (width + width * (width + 1)) for depth, width in zip(*RESNET_50.values(), strict=True)
    )
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert num_parameters == RESNET_50_PARAMETERS + convolution_biases_and_projections


def test_video_adds_a_3_tap_convolution_over_time_to_each_bottleneck_and_to_the_stem():
    with torch.device("meta"):
        image = create_model("morphmlp_image_t", style="cnn", **RESNET_50)
        video = create_model("morphmlp_video_s", style="cnn", num_classes=1000, **RESNET_50)
    added = sum(p.numel() for p in video.parameters()) - sum(p.numel() for p in image.parameters())
    stem = 2 * 3 * 64 * 7 * 7
    over_time = sum(
        depth * (3 * width**2 + width + 2 * width) for depth, width in zip(*RESNET_50.values(), strict=True)
    )
    assert added == stem + over_time
