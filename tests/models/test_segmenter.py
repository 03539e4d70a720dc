"""The segmenter: its arithmetic against a naive transcription, any size, counts, start, gradients, export."""

import math

import pytest
import tiny
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from morphmlp.checkpoints.folder import load, save
from morphmlp.errors import ConfigError
from morphmlp.models.morphmlp import InputShapeError
from morphmlp.models.resnet import MorphResNet
from morphmlp.models.segmenter import Segmenter, SemanticFPN, resized
from morphmlp.models.zoo import build_model, create_model, create_segmenter

SEGMENTER = {"temporal": False, "frames": 1, "task": "segmentation", "decoder_width": 8}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tiny_segmenter(num_classes: int = 5, **fields) -> Segmenter:
    model = build_model(tiny.model_config(num_classes, **SEGMENTER | fields))
    assert isinstance(model, Segmenter)
    return model


# ----------------------------------------------------------------------------------------- against the oracle


def interpolation(old: int, new: int) -> Tensor:
    """Row i of `[new, old]` holds the weights of the old samples in new sample i, whose centre is at i + 1/2."""
    weights = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        place = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        low = math.floor(place)
        weights[i, low] += 1 - (place - low)
        weights[i, min(low + 1, old - 1)] += place - low
    return weights


def naive_bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    rows, columns = (interpolation(old, new) for old, new in zip(x.shape[-2:], size, strict=True))
    return rows @ x @ columns.T


def naive_nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    rows, columns = ([i * old // new for i in range(new)] for old, new in zip(x.shape[-2:], size, strict=True))
    return x[..., rows, :][..., columns]


def naive_fpn(maps: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    """Channels-first maps `[B, C, H, W]`, finest first -> logits at stride 4, in evaluation mode."""

    def conv(x: Tensor, name: str) -> Tensor:
        kernel = weights[f"{name}.weight"]
        return F.conv2d(x, kernel, weights.get(f"{name}.bias"), padding=kernel.shape[-1] // 2)

    def norm_relu(x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)

    sizes = [tuple(x.shape[-2:]) for x in maps]
    p = [torch.empty(0)] * 4
    p[3] = conv(maps[3], "lateral.3")
    p[2] = conv(maps[2], "lateral.2") + naive_nearest(p[3], sizes[2])
    p[1] = conv(maps[1], "lateral.1") + naive_nearest(p[2], sizes[1])
    p[0] = conv(maps[0], "lateral.0") + naive_nearest(p[1], sizes[0])
    total = torch.zeros(())
    for level, upsamplings in enumerate([[], [0], [1, 0], [2, 1, 0]]):
        x = conv(p[level], f"output.{level}")
        for step in range(max(1, level)):
            x = norm_relu(conv(x, f"scale_heads.{level}.{step}.0"), f"scale_heads.{level}.{step}.1")
            if upsamplings:
                x = naive_bilinear(x, sizes[upsamplings[step]])
        total = total + x
    return conv(total, "classifier")


@pytest.mark.parametrize(
    "sizes",
    [
        [(16, 24), (8, 12), (4, 6), (2, 3)],  # every map is doubled
        [(13, 17), (7, 9), (4, 5), (2, 3)],  # of an image of 52 x 66 px
        [(8, 8), (4, 4), (2, 2), (1, 1)],
    ],
)
def test_semantic_fpn_equals_the_naive_transcription(sizes):
    widths = (3, 5, 6, 7)
    fpn = SemanticFPN(widths, 8, num_classes=4).double().eval()
    for module in fpn.modules():  # values as after a training
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    maps = [torch.randn(2, 1, *size, width).double() for size, width in zip(sizes, widths, strict=True)]
    expected = naive_fpn([x[:, 0].permute(0, 3, 1, 2) for x in maps], fpn.state_dict())
    torch.testing.assert_close(fpn(maps), expected, rtol=1e-10, atol=1e-10)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_resizing_equals_the_naive_one(height, width, new_height, new_width):
    x, like = torch.randn(1, 2, height, width).double(), torch.empty(new_height, new_width)
    torch.testing.assert_close(resized(x, like), naive_bilinear(x, (new_height, new_width)), rtol=1e-10, atol=1e-10)
    assert resized(x, like, mode="nearest").shape == (1, 2, new_height, new_width)


def test_logits_are_those_of_stride_4_at_the_size_of_the_image():
    model, images = tiny_segmenter().eval(), torch.randn(2, 3, 52, 66)
    coarse = model.head(model.forward_features(images))
    assert coarse.shape == (2, 5, 13, 17)
    torch.testing.assert_close(model(images), naive_bilinear(coarse.double(), (52, 66)).float(), rtol=1e-4, atol=1e-6)


# -------------------------------------------------------------------------------------------------- any size


@pytest.fixture(scope="module")
def segmenter():
    return tiny_segmenter().eval()


@given(height=st.integers(32, 90), width=st.integers(32, 90))
@settings(max_examples=25, deadline=None)
def test_logits_have_the_size_of_the_image(segmenter, height, width):
    with torch.no_grad():
        assert segmenter(torch.zeros(1, 3, height, width)).shape == (1, 5, height, width)


def test_large_wide_and_odd_images_are_taken():
    with torch.device("meta"):
        model = create_segmenter("morphmlp_image_t")
        for size in [(512, 512), (2048, 512), (513, 333)]:
            assert model(torch.empty(2, 3, *size)).shape == (2, 150, *size)


def test_an_image_may_come_as_a_clip_of_one_frame():
    model, images = tiny_segmenter().eval(), torch.randn(2, 3, 40, 50)
    assert torch.equal(model(images[:, :, None]), model(images))


def test_images_that_are_too_small_are_refused():
    with pytest.raises(InputShapeError, match="31 x 64 px"):
        tiny_segmenter()(torch.zeros(1, 3, 31, 64))


# ---------------------------------------------------------------------------------------- counts and names


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "parameters", "printed"),
    [
        ("morphmlp_image_t", 27_109_290, 26.4e6),
        ("morphmlp_image_s", 44_153_128, 41.0e6),
        ("morphmlp_image_b", 61_584_500, 59.3e6),
    ],
)
def test_parameters_are_backbone_and_fpn_and_above_those_that_table_5_prints(name, parameters, printed):
    with torch.device("meta"):
        segmenter, classifier = create_segmenter(name), create_model(name)
    assert num_parameters(segmenter) == parameters
    assert 0.7e6 < parameters - printed < 3.2e6
    backbone = num_parameters(classifier) - num_parameters(classifier.norm) - num_parameters(classifier.head)
    pyramid = sum(classifier.config.widths) * 256 + 4 * 256 + 4 * (9 * 256 * 256 + 256)
    heads = 4 * (9 * 256 * 128 + 2 * 128) + 3 * (9 * 128 * 128 + 2 * 128)
    assert parameters == backbone + pyramid + heads + 128 * 150 + 150


def test_backbone_has_the_names_of_the_classifier():
    segmenter = tiny_segmenter().state_dict()
    classifier = build_model(tiny.model_config(5, temporal=False, frames=1)).state_dict()
    ours = {name for name in segmenter if not name.startswith("head.")}
    assert ours == {name for name in classifier if not name.startswith(("head.", "norm."))}
    assert all(segmenter[name].shape == classifier[name].shape for name in ours)


def spread(weight: Tensor) -> float:
    return float(weight.detach().std())


def test_start_is_xavier_kaiming_and_a_small_classifier_without_biases():
    head = SemanticFPN((64, 64, 64, 64), 64, num_classes=50)
    assert head.lateral[0].weight.abs().max() <= math.sqrt(6 / (64 + 64))
    assert spread(head.output[0].weight) == pytest.approx(math.sqrt(2 / (9 * (64 + 64))), rel=0.05)
    assert spread(head.scale_heads[3][1][0].weight) == pytest.approx(math.sqrt(2 / (9 * 32)), rel=0.05)
    assert spread(head.classifier.weight) == pytest.approx(0.01, rel=0.1)
    biases = [parameter for name, parameter in head.named_parameters() if name.endswith("bias")]
    assert len(biases) == 4 + 4 + 7 + 1
    assert not any(bias.any() for bias in biases)
    assert all(conv.bias is None for conv in head.scale_heads.modules() if isinstance(conv, nn.Conv2d))


# ------------------------------------------------------------------------------------------ train, save, export


@pytest.mark.parametrize("style", ["transformer", "cnn"])
def test_gradients_reach_every_parameter(style):
    model = tiny_segmenter(style=style).train()
    loss = F.cross_entropy(model(torch.randn(2, 3, 70, 64)), torch.randint(5, (2, 70, 64)))
    loss.backward()
    unreached = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not unreached
    assert all(parameter.grad.any() for name, parameter in model.named_parameters() if name.startswith("head."))


def test_whole_channels_are_dropped_in_training_only():
    model, image = tiny_segmenter(decoder_width=64), torch.randn(1, 3, 64, 64)
    seen = []
    model.head.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.eval()(image)
    model.head.dropout.train()
    model(image)
    whole, dropped = (x.detach() for x in seen)
    gone = (dropped == 0).all(dim=(2, 3))
    assert 0 < gone.sum() < 16
    torch.testing.assert_close(dropped[~gone], whole[~gone] / 0.9)


def test_segmenter_is_loaded_as_it_was_saved(tmp_path):
    model, image = tiny_segmenter().eval(), torch.randn(1, 3, 40, 64)
    save(model, tmp_path / "seg")
    loaded = load(tmp_path / "seg")
    assert isinstance(loaded, Segmenter)
    assert torch.equal(loaded(image), model(image))


def test_reset_head_changes_the_classes_and_keeps_the_pyramid():
    model = tiny_segmenter().double()
    pyramid = model.head.lateral[0].weight.clone()
    model.reset_head(9)
    assert model.config.num_classes == 9
    assert model(torch.zeros(2, 3, 64, 64).double()).shape == (2, 9, 64, 64)
    assert torch.equal(model.head.lateral[0].weight, pyramid)
    assert spread(model.head.classifier.weight) == pytest.approx(0.01, rel=0.5)


def test_torch_export_at_a_fixed_odd_size_gives_the_same_logits():
    model, image = tiny_segmenter().eval(), torch.randn(1, 3, 45, 61)
    exported = torch.export.export(model, (image,)).module()
    torch.testing.assert_close(exported(image), model(image))


# ------------------------------------------------------------------------------------------- create_segmenter


def test_create_segmenter_takes_the_fields_of_the_model():
    model = create_segmenter("morphmlp_image_nano", num_classes=11, decoder_width=32, drop_path=0.1)
    assert isinstance(model, Segmenter)
    assert (model.config.task, model.config.drop_path) == ("segmentation", 0.1)
    assert model.head.classifier.weight.shape == (11, 16, 1, 1)
    assert isinstance(create_model("morphmlp_image_nano", task="segmentation"), Segmenter)


def test_cnn_style_is_the_resnet_under_the_same_head():
    model = create_segmenter("morphmlp_image_nano", num_classes=3, style="cnn")
    assert isinstance(model, MorphResNet)
    assert [conv.in_channels for conv in model.head.lateral] == [128, 256, 512, 1024]
    assert model.eval()(torch.zeros(1, 3, 49, 64)).shape == (1, 3, 49, 64)


def test_video_model_is_refused_with_the_names_of_the_image_models():
    with pytest.raises(ConfigError, match=r"'morphmlp_video_s' takes videos; .*morphmlp_image_nano, morphmlp_image_t"):
        create_segmenter("morphmlp_video_s")


@pytest.mark.parametrize(("fields", "part"), [({"decoder_width": 1}, "2 or more"), ({"depht": 1}, "no field 'depht'")])
def test_wrong_fields_are_named(fields, part):
    with pytest.raises(ConfigError, match=part):
        create_segmenter("morphmlp_image_t", **fields)
