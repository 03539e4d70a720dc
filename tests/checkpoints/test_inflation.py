"""From image to video models, and from one frame count to another."""

import math

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from morphmlp.checkpoints.folder import CheckpointInfo, load, save
from morphmlp.checkpoints.frame_counts import resize_frames, resized_fc, time_shares
from morphmlp.checkpoints.inflation import inflate
from morphmlp.config import PUBLISHED_INPUTS, default_input
from morphmlp.errors import ConfigError
from morphmlp.models.alternatives import TemporalConv
from morphmlp.models.block import Block
from morphmlp.models.morphfc import TemporalFC, group_width, init_temporal
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model

SIZE_PX = 64


def random_model(**fields) -> MorphMLP:
    """A tiny model in float64 whose every weight is random: biases, norms and running statistics too."""
    torch.manual_seed(0)
    model = build_model(tiny.model_config(5, **fields)).double().eval()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.normal_(std=0.3)
            if "running_var" in name:
                value.abs_().add_(0.5)
    return model


def image_model(**fields) -> MorphMLP:
    return random_model(temporal=False, frames=1, **fields)


def repeated_frame(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.randn(2, 3, SIZE_PX, SIZE_PX, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return image, image[:, :, None].expand(-1, -1, frames, -1, -1)


def assert_every_step_equals(maps: list[torch.Tensor], image_maps: list[torch.Tensor]) -> None:
    assert [x.shape[1] for x in image_maps] == [1] * 4
    for x, image_map in zip(maps, image_maps, strict=True):
        assert_close(x, image_map.expand_as(x), rtol=1e-12, atol=1e-12)


# Inflation

DESIGNS = [
    {},
    {"temporal_init": "zero_proj"},
    {"temporal_op": "conv3"},
    {"temporal_op": "conv5"},
    {"block": "parallel"},
    {"residual": "standard"},
    {"order": "st", "residual": "standard"},
]


@pytest.mark.parametrize("frames", [1, 4, 7])
@pytest.mark.parametrize("design", DESIGNS, ids=str)
@torch.no_grad()
def test_center_kernel_gives_a_repeated_frame_the_image_models_maps_at_every_step(design, frames):
    source = image_model()
    video = inflate(source, frames=frames, **design)
    image, clip = repeated_frame(frames)
    maps = video.forward_features(clip)
    assert maps[0].shape[1] == math.ceil(frames / 2)
    assert_every_step_equals(maps, source.forward_features(image))
    assert_close(video(clip), source(image), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fields", [{"spatial_op": "conv3"}, {"spatial_op": "groupconv"}, {"branches": "hw"}], ids=str)
@torch.no_grad()
def test_every_spatial_design_is_inflated(fields):
    source = image_model(**fields)
    image, clip = repeated_frame(4)
    assert_every_step_equals(inflate(source, frames=4).forward_features(clip), source.forward_features(image))


@torch.no_grad()
def test_center_kernel_sees_every_second_frame_as_the_image_model_does():
    source = image_model(weighted_sum=False)  # the weighted sum depends on the whole clip
    clip = torch.randn(1, 3, 6, SIZE_PX, SIZE_PX, dtype=torch.float64)
    maps = inflate(source, frames=6).forward_features(clip)
    for step, frame in enumerate([0, 2, 4]):
        assert_close(maps[3][:, step], source.forward_features(clip[:, :, frame])[3][:, 0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("frames", "padded"), [(8, {0}), (7, {0, 3})])
@torch.no_grad()
def test_mean_kernel_gives_a_repeated_frame_the_image_models_maps_but_where_it_reads_padding(frames, padded):
    source = image_model(weighted_sum=False)
    image, clip = repeated_frame(frames)
    maps = inflate(source, frames=frames, kernel="mean").forward_features(clip)
    for x, image_map in zip(maps, source.forward_features(image), strict=True):
        equal = {step for step in range(4) if torch.allclose(x[:, step], image_map[:, 0], rtol=1e-12, atol=1e-12)}
        assert equal == {0, 1, 2, 3} - padded


@torch.no_grad()
def test_mean_kernel_and_weighted_sum_are_the_image_model_in_the_stem_alone():
    source = image_model()
    image, clip = repeated_frame(8)
    video = inflate(source, frames=8, kernel="mean")
    stem, image_stem = video.stem(clip), source.stem(image[:, :, None])
    assert_close(stem[:, 1:], image_stem.expand_as(stem)[:, 1:], rtol=1e-12, atol=1e-12)
    maps, image_maps = video.forward_features(clip), source.forward_features(image)
    assert not torch.allclose(maps[0][:, 1:], image_maps[0].expand_as(maps[0])[:, 1:], rtol=1e-6)


@torch.no_grad()
def test_order_st_with_the_skip_residual_bypasses_the_spatial_layer_and_is_not_the_image_model():
    source = image_model()
    image, clip = repeated_frame(4)
    video = inflate(source, frames=4, order="st")
    assert not torch.allclose(video.forward_features(clip)[0][:, :1], source.forward_features(image)[0], rtol=1e-6)
    for model in (video, source):
        for block in (module for module in model.modules() if isinstance(module, Block)):
            for parameter in block.get_submodule("spatial.proj").parameters():
                torch.nn.init.zeros_(parameter)
    assert_every_step_equals(video.forward_features(clip), source.forward_features(image))


@pytest.mark.parametrize(("kernel", "taps"), [("center", [0, 1, 0]), ("mean", [1 / 3, 1 / 3, 1 / 3])])
def test_all_weights_are_copied_but_the_stems_kernel_which_is_spread_over_time(kernel, taps):
    source = image_model().float()
    video = inflate(source, frames=4, kernel=kernel).state_dict()
    for name, value in source.state_dict().items():
        if name != "stem.conv1.weight":
            assert torch.equal(video[name], value), name
    image_kernel = source.state_dict()["stem.conv1.weight"]
    for tap, share in enumerate(taps):
        assert_close(video["stem.conv1.weight"][:, :, tap], image_kernel[:, :, 0] * share)


def test_the_temporal_layers_of_an_inflated_model_learn():
    video = inflate(image_model(), frames=4)
    video(torch.randn(2, 3, 4, SIZE_PX, SIZE_PX, dtype=torch.float64)).square().sum().backward()
    gradient = video.get_submodule("stages.0.0.temporal.fc.fc").weight.grad
    assert isinstance(gradient, torch.Tensor)
    assert gradient.abs().max() > 0


def test_another_number_of_classes_makes_a_fresh_head():
    video = inflate(image_model(), frames=4, num_classes=3)
    assert video.state_dict()["head.weight"].shape == (3, 16)
    assert torch.equal(video.state_dict()["head.bias"], torch.zeros(3, dtype=torch.float64))


def test_an_inflated_checkpoint_keeps_its_labels_and_the_pixel_values_that_it_knows(tmp_path):
    labels = list("abcde")
    imagenet = PUBLISHED_INPUTS["imagenet"]
    save(image_model().float(), tmp_path / "image", CheckpointInfo(imagenet, labels, {"epochs": 3}))
    video = inflate(tmp_path / "image", frames=4)
    save(video, tmp_path / "video")
    info = load(tmp_path / "video").checkpoint_info
    assert info.labels == labels
    assert info.training == {"epochs": 3, "conversions": ["inflated from tiny to 4 frames (center kernel)"]}
    designed = default_input(video.config)
    assert (info.input.mean, info.input.std) == (imagenet.mean, imagenet.std)
    assert (info.input.crop, info.input.sampling, info.input.antialias) == (designed.crop, "sparse", False)


def test_an_inflated_model_keeps_temperature_and_threshold_with_its_classifier(tmp_path):
    info = CheckpointInfo(PUBLISHED_INPUTS["imagenet"], list("abcde"), temperature=1.5, threshold=0.3)
    save(image_model().float(), tmp_path / "image", info)
    same = inflate(tmp_path / "image", frames=4).checkpoint_info
    other = inflate(tmp_path / "image", frames=4, num_classes=3).checkpoint_info
    assert (same.temperature, same.threshold) == (1.5, 0.3)
    assert (other.temperature, other.threshold) == (1.0, None)


def test_a_named_image_model_becomes_the_video_model_of_the_same_widths():
    nano = tiny.model_config(5, temporal=False, frames=1, name="morphmlp_image_nano")
    assert inflate(build_model(nano)).config.name == "morphmlp_video_nano"


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({}, {}, "is a video model already; `resize_frames`"),
        ({"temporal": False, "frames": 1, "task": "segmentation"}, {}, "is a segmenter; inflate the classifier"),
        ({"temporal": False, "frames": 1, "style": "cnn"}, {}, "model.style is 'cnn'; allowed: 'transformer'"),
        ({"temporal": False, "frames": 1}, {"kernel": "first"}, "kernel is 'first'; allowed: 'center', 'mean'"),
        ({"temporal": False, "frames": 1}, {"frames": 0}, "model.frames is 0; allowed: 1 to 1024"),
    ],
)
def test_what_cannot_be_inflated_is_refused(fields, options, message):
    with pytest.raises(ConfigError, match=message):
        inflate(build_model(tiny.model_config(5, **fields)), **options)


# Other frame counts


def spread_over_channels(layer: TemporalFC) -> torch.Tensor:
    """The FC of MorphFC_t as one matrix `[T' * C, T' * C]` on all channels, written out group by group."""
    steps, width, channels = layer.fc.chunk_length, layer.fc.group_width, layer.proj.in_features
    whole = torch.zeros(steps, channels, steps, channels, dtype=torch.float64)
    weight = layer.fc.fc.weight.detach().view(steps, width, steps, width)
    for first in range(0, channels, width):
        whole[:, first : first + width, :, first : first + width] = weight
    return whole.flatten(2).flatten(0, 1)


def random_layer(channels: int, steps: int) -> TemporalFC:
    layer = TemporalFC(channels, steps).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    return layer


def resized_layer(former: TemporalFC, steps: int) -> TemporalFC:
    new = TemporalFC(former.proj.in_features, steps).double()
    weight, bias = resized_fc(former, new)
    new.load_state_dict({"fc.fc.weight": weight, "fc.fc.bias": bias, **former.proj.state_dict(prefix="proj.")})
    return new


@given(num_in=st.integers(1, 40), num_out=st.integers(1, 40))
def test_time_shares_are_the_overlaps_of_the_steps(num_in: int, num_out: int):
    shares = time_shares(num_in, num_out).numpy()
    edges_in, edges_out = np.linspace(0, 1, num_in + 1), np.linspace(0, 1, num_out + 1)
    for new in range(num_out):
        for former in range(num_in):
            start, end = max(edges_in[former], edges_out[new]), min(edges_in[former + 1], edges_out[new + 1])
            assert shares[new, former] == pytest.approx(max(0, end - start) * num_out, abs=1e-12)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize(("num_in", "num_out"), [(4, 8), (8, 16), (3, 9), (5, 5)])
def test_time_shares_to_a_multiple_and_back_are_the_identity(num_in: int, num_out: int):
    assert torch.equal(time_shares(num_out, num_in) @ time_shares(num_in, num_out), torch.eye(num_in).double())


@pytest.mark.parametrize(("channels", "former_steps", "new_steps"), [(8, 2, 4), (12, 4, 3), (12, 3, 4), (8, 4, 2)])
def test_resized_fc_is_the_nearest_one_that_groups_can_share(channels: int, former_steps: int, new_steps: int):
    """Against least squares over all weights, with the FC and the averaging over time written out as matrices."""
    former, new = random_layer(channels, former_steps), TemporalFC(channels, new_steps).double()
    eye = torch.eye(channels, dtype=torch.float64)
    to_new = torch.kron(time_shares(former_steps, new_steps), eye)
    to_former = torch.kron(time_shares(new_steps, former_steps), eye)
    wanted = to_new @ spread_over_channels(former) @ to_former

    size = new.fc.fc.in_features
    effects = []  # of each single weight on the matrix of all channels
    for index in range(size * size):
        new.fc.fc.weight.data.zero_().view(-1)[index] = 1
        effects.append(spread_over_channels(new).flatten())
    solution = torch.linalg.lstsq(torch.stack(effects, dim=1), wanted.flatten()[:, None]).solution
    assert_close(resized_fc(former, new)[0], solution.view(size, size), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("former_steps", "new_steps"), [(8, 16), (16, 8), (8, 5)])
def test_groups_of_49_and_28_channels_share_their_mean(former_steps: int, new_steps: int):
    """The width that 16 steps do not divide, and 5 steps: a channel-wise FC gives the same at every channel."""
    assert [group_width(392, steps) for steps in (8, 16, 5)] == [49, 28, 98]
    former = TemporalFC(392, former_steps).double()
    width = former.fc.group_width
    over_time = torch.randn(former_steps, former_steps, dtype=torch.float64)
    former.fc.fc.weight.data = torch.kron(over_time, torch.eye(width, dtype=torch.float64))
    weight, _ = resized_fc(former, new := TemporalFC(392, new_steps).double())
    expected = time_shares(former_steps, new_steps) @ over_time @ time_shares(new_steps, former_steps)
    assert_close(weight, torch.kron(expected, torch.eye(new.fc.group_width, dtype=torch.float64)))


@pytest.mark.parametrize(("former_steps", "new_steps"), [(4, 2), (8, 2), (6, 3)])
@torch.no_grad()
def test_half_the_steps_are_exact_for_what_is_constant_within_the_former_ones(former_steps: int, new_steps: int):
    """Downwards groups grow, so nothing is lost in channels: new outputs are the mean of the former ones."""
    former = random_layer(12, former_steps)
    x = torch.randn(2, new_steps, 3, 3, 12, dtype=torch.float64)
    run = former_steps // new_steps
    expected = former(x.repeat_interleave(run, dim=1)).unflatten(1, (new_steps, run)).mean(dim=2)
    assert_close(resized_layer(former, new_steps)(x), expected)


@torch.no_grad()
def test_twice_the_steps_give_tokens_in_pairs_the_former_outputs_where_groups_stay_as_wide():
    former = random_layer(8, 8)
    assert (former.fc.group_width, group_width(8, 16)) == (1, 1)
    x = torch.randn(2, 8, 3, 3, 8, dtype=torch.float64)
    assert_close(resized_layer(former, 16)(x.repeat_interleave(2, dim=1)), former(x).repeat_interleave(2, dim=1))


@pytest.mark.parametrize("how", ["released", "zero_proj"])
@pytest.mark.parametrize(("frames", "new_frames"), [(16, 32), (32, 16), (4, 7)])
@torch.no_grad()
def test_temporal_layers_at_their_identity_start_stay_there(how: str, frames: int, new_frames: int):
    model = random_model(frames=frames, temporal_init=how)
    for layer in model.modules():
        if isinstance(layer, TemporalFC):
            init_temporal(layer, how)
            torch.nn.init.zeros_(layer.fc.fc.bias)
            torch.nn.init.zeros_(layer.proj.bias)
    resized = resize_frames(model, new_frames)
    tokens = torch.randn(1, resized.config.num_steps, 2, 2, 8, dtype=torch.float64)
    assert torch.equal(resized.get_submodule("stages.0.0.temporal")(tokens), torch.zeros_like(tokens))


@pytest.mark.parametrize("frames", [16, 15])
def test_as_many_time_steps_leave_the_weights_as_they_are(frames: int):
    model = random_model(frames=16).float()
    resized = resize_frames(model, frames)
    assert resized.config.frames == frames
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in resized.state_dict().items())


@pytest.mark.parametrize("operation", ["conv3", "conv5"])
def test_convolutions_over_time_are_copied(operation: str):
    model = random_model(temporal_op=operation)
    resized = resize_frames(model, 8)
    assert isinstance(resized.get_submodule("stages.0.0.temporal"), TemporalConv)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in resized.state_dict().items())


@pytest.mark.parametrize(
    ("widths", "measured", "without"), [((8, 8, 8, 8), 0.0006, 0.0213), ((8, 16, 16, 16), 0.0204, 0.0358)]
)
@torch.no_grad()
def test_a_slow_clip_at_twice_the_frames_gives_nearly_the_same_logits(widths, measured: float, without: float):
    """Relative differences as measured, beside that of leaving out what the temporal FCs say.

    Groups stay one channel wide at width 8; at 16 they are halved, the worst case for FCs that are random throughout.
    """
    model = random_model(frames=16, widths=widths)
    generator = torch.Generator().manual_seed(1)
    first, last = torch.randn(2, 8, 3, 1, SIZE_PX, SIZE_PX, dtype=torch.float64, generator=generator)
    clip = torch.lerp(first, last, torch.linspace(0, 1, 32, dtype=torch.float64)[:, None, None])
    logits, resized = model(clip[:, :, ::2]), resize_frames(model, 32)(clip)
    for layer in model.modules():
        if isinstance(layer, TemporalFC):
            layer.fc.fc.weight.zero_()
            layer.fc.fc.bias.zero_()
    assert (resized - logits).norm() / logits.norm() == pytest.approx(measured, rel=0.1)
    assert (model(clip[:, :, ::2]) - logits).norm() / logits.norm() == pytest.approx(without, rel=0.1)


def test_an_image_model_has_no_frames_to_resize():
    with pytest.raises(ConfigError, match="is an image model, which has no frames; `inflate` makes a video model"):
        resize_frames(image_model(), 8)


@pytest.mark.parametrize("field", [{"widths": (8, 8, 8, 8)}, {"spatial_op": "conv3"}, {"chunk_lengths": (1, 1, 1, 1)}])
def test_fields_that_the_weights_depend_on_are_refused(field: dict):
    with pytest.raises(ConfigError, match=f"{next(iter(field))} cannot be given"):
        inflate(image_model(), **field)
