"""timm's contract, on every image model that it lists, and on the video model that has weights."""

import math

import pytest
import timm
import timm.optim
import torch
from recorded_values import fill_model
from timm.models import group_parameters
from torch import Tensor, nn

import morphmlp
from morphmlp.checkpoints.starts import start_folder
from morphmlp.errors import ConfigError
from morphmlp.models.morphmlp import InputShapeError
from morphmlp.models.zoo import create_model, list_models, model_config
from morphmlp.timm_models import TimmMorphMLP

NAMES = [name for name in list_models() if "image" in name]
NANO = "morphmlp_image_nano"
VIDEO = "morphmlp_video_nano"


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def nano() -> TimmMorphMLP:
    """The smallest model in evaluation mode, with the values of a trained one; tests must not change it."""
    return fill_model(timm.create_model(NANO, num_classes=5)).eval()


def on_meta(name: str, **options) -> nn.Module:
    """The shapes of a model without its values."""
    with torch.device("meta"):
        return timm.create_model(name, **options).eval()


def with_quick_values(model: nn.Module) -> nn.Module:
    """Fills a model from the meta device; the truncated normals of a real start take seconds for a large one."""
    model = model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().fill_(1) if tensor.dim() < 2 else tensor.detach().normal_(std=0.02)
    return model


def images(*size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


# -------------------------------------------------------------------------------------------------- registry


def test_timm_lists_the_image_models_and_the_video_model_that_has_weights():
    assert timm.list_models("morphmlp*") == sorted([*NAMES, VIDEO])
    assert timm.list_models("morphmlp*", pretrained=True) == [f"{VIDEO}.rendered"]


@pytest.mark.parametrize("name", NAMES)
def test_default_configuration_is_the_test_protocol_of_imagenet(name):
    model = on_meta(name)
    size = model.config.image_size
    assert model.default_cfg is model.pretrained_cfg
    config = timm.data.resolve_data_config({}, model=model)
    assert config["input_size"] == (3, size, size)
    assert config["interpolation"] == "bicubic"
    assert config["crop_pct"] == 0.875
    assert config["mean"] == (0.485, 0.456, 0.406)
    assert config["std"] == (0.229, 0.224, 0.225)
    parameters = dict(model.named_parameters())
    assert parameters[f"{model.default_cfg['first_conv']}.weight"].shape[1] == 3
    assert parameters[f"{model.default_cfg['classifier']}.weight"] is model.get_classifier().weight
    features = model.forward_features(torch.empty(1, 3, size, size, device="meta"))
    assert features.shape[1:3] == model.default_cfg["pool_size"]


def test_there_are_no_weights_of_images():
    with pytest.raises(RuntimeError, match=r"[Nn]o pretrained weights"):
        timm.create_model(NANO, pretrained=True)


# --------------------------------------------------------------------------------------- forward and backward


@pytest.mark.parametrize("name", NAMES)
def test_forward_gives_finite_logits_and_backward_reaches_every_parameter(name):
    model = with_quick_values(on_meta(name, num_classes=7, drop_rate=0.1)).train()
    logits = model(images(64, 64))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    logits.square().mean().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_our_model_by_name_and_shape(name):
    with torch.device("meta"):
        ours = create_model(name).state_dict()
    theirs = on_meta(name).state_dict()
    assert list(theirs) == list(ours)
    assert all(theirs[key].shape == ours[key].shape for key in ours)


def test_weights_of_our_model_give_equal_logits(nano):
    ours = create_model(NANO, num_classes=5).eval()
    ours.load_state_dict(nano.state_dict())
    x = images(70, 83)
    with torch.no_grad():
        assert torch.equal(nano(x), ours(x))
        back = timm.create_model(NANO, num_classes=5).eval()
        back.load_state_dict(ours.state_dict())
        assert torch.equal(back(x), ours(x))


@pytest.mark.parametrize("size", [(32, 32), (33, 257), (64, 64), (100, 51)])
def test_forward_is_features_and_head_at_any_size(nano, size):
    x = images(*size)
    with torch.no_grad():
        features = nano.forward_features(x)
        assert features.shape == (2, math.ceil(size[0] / 32), math.ceil(size[1] / 32), nano.num_features)
        pooled = nano.forward_head(features, pre_logits=True)
        assert pooled.shape == (2, nano.head_hidden_size)
        torch.testing.assert_close(pooled, features.mean(dim=(1, 2)))
        assert torch.equal(nano.forward_head(features), nano(x))
        assert torch.equal(nano.get_classifier()(pooled), nano(x))


def test_drop_path_rate_and_drop_rate_reach_the_layers():
    model = timm.create_model(NANO, drop_rate=0.5, drop_path_rate=0.3)
    assert model.stages[-1][-1].drop_path.rate == pytest.approx(0.3)
    dropped = model.train().forward_head(torch.ones(1, 2, 2, 256), pre_logits=True)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (model.eval().forward_head(torch.ones(1, 2, 2, 256), pre_logits=True) == 1).all()


def test_export_takes_any_batch_of_images_of_one_size(nano):
    """Height and width are fixed: how many chunks a map has, and whether it is padded, is decided while tracing."""
    exported = torch.export.export(nano, (images(70, 83),), dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
    with torch.no_grad():
        for batch in (1, 3):
            x = images(70, 83, batch=batch)
            torch.testing.assert_close(exported.module()(x), nano(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_chans": 1}, "in_chans is 1; allowed: 3"),
        ({"global_pool": "max"}, "global_pool is 'max'; allowed: 'avg', ''"),
        ({"drop_path_rate": 1.0}, "drop_path is 1.0; allowed"),
    ],
)
def test_a_wrong_option_names_the_allowed_ones(options, message):
    with pytest.raises(ConfigError, match=message):
        timm.create_model(NANO, **options)


def test_a_small_image_is_refused_by_name(nano):
    with pytest.raises(InputShapeError, match="31 x 64 px"):
        nano(images(31, 64))


# ------------------------------------------------------------------------------------------------ classifier


@pytest.mark.parametrize("name", NAMES)
def test_without_a_classifier_the_features_come_out(name):
    x, width = torch.empty(2, 3, 64, 64, device="meta"), model_config(name).widths[-1]
    model = on_meta(name, num_classes=0)
    assert isinstance(model.get_classifier(), nn.Identity)
    assert model(x).shape == (2, width)
    model.reset_classifier(0, "")
    assert model(x).shape == (2, 2, 2, width)


def test_reset_classifier_changes_the_head_alone():
    model = timm.create_model(NANO, num_classes=5).double().eval()
    before = {key: value.clone() for key, value in model.state_dict().items() if not key.startswith("head.")}
    x = images(64, 64).double()
    for num_classes in (9, 0, 4):
        model.reset_classifier(num_classes)
        assert model.num_classes == num_classes
        assert model(x).shape == (2, num_classes or model.num_features)
    assert model.config.num_classes == 4
    assert model.global_pool == "avg"
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_without_pooling_the_classifier_sees_every_token(nano):
    dense = timm.create_model(NANO, num_classes=5, global_pool="").eval()
    dense.load_state_dict(nano.state_dict())
    x = images(70, 83)
    with torch.no_grad():
        assert dense(x).shape == (2, 3, 3, 5)
        torch.testing.assert_close(dense(x).mean(dim=(1, 2)), nano(x))


# -------------------------------------------------------------------------------------------------- features


@pytest.mark.parametrize("size", [(64, 64), (70, 131)])
@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_channels_and_reductions_of_their_description(name, size):
    model = on_meta(name, features_only=True)
    maps = model(torch.empty(2, 3, *size, device="meta"))
    assert model.feature_info.channels() == list(model_config(name).widths)
    assert model.feature_info.reduction() == [4, 8, 16, 32]
    for tensor, width, stride in zip(maps, model.feature_info.channels(), model.feature_info.reduction(), strict=True):
        assert tensor.shape == (2, width, math.ceil(size[0] / stride), math.ceil(size[1] / stride))


@pytest.mark.parametrize(("out_indices", "taken"), [((1,), [1]), ((0, 2), [0, 2]), ((-1,), [3]), (2, [2, 3])])
def test_chosen_features_are_those_of_our_model_and_the_rest_is_pruned(nano, out_indices, taken):
    backbone = timm.create_model(NANO, features_only=True, out_indices=out_indices).eval()
    state = {f"model.{key}": value for key, value in nano.state_dict().items()}
    missing, _ = backbone.load_state_dict(state, strict=False)
    assert not missing
    assert len(backbone.model.stages) == max(taken) + 1
    assert backbone.feature_info.channels() == [nano.feature_info[stage]["num_chs"] for stage in taken]
    x = images(70, 83)
    with torch.no_grad():
        expected = super(TimmMorphMLP, nano).forward_features(x)
        for tensor, stage in zip(backbone(x), taken, strict=True):
            assert torch.equal(tensor, expected[stage].squeeze(1).movedim(-1, 1))


def test_features_train_every_parameter_that_is_left():
    backbone = timm.create_model(NANO, features_only=True, out_indices=(1, 2)).train()
    sum(tensor.square().mean() for tensor in backbone(images(64, 64))).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in backbone.parameters())


@pytest.mark.parametrize("output_fmt", ["NCHW", "NHWC"])
def test_intermediates_are_the_stage_maps(nano, output_fmt):
    x = images(70, 83)
    with torch.no_grad():
        expected = [tensor.squeeze(1) for tensor in super(TimmMorphMLP, nano).forward_features(x)]
        last, maps = nano.forward_intermediates(x, output_fmt=output_fmt)
        assert torch.equal(last, nano.forward_features(x))
    for tensor, stage in zip(maps, expected, strict=True):
        assert torch.equal(tensor, stage if output_fmt == "NHWC" else stage.movedim(-1, 1))


def test_intermediates_norm_the_last_stage_on_request(nano):
    x = images(64, 64)
    with torch.no_grad():
        plain = nano.forward_intermediates(x, output_fmt="NHWC", intermediates_only=True)
        normed = nano.forward_intermediates(x, norm=True, output_fmt="NHWC", intermediates_only=True)
        assert all(torch.equal(*pair) for pair in zip(plain[:3], normed[:3], strict=True))
        assert torch.equal(normed[3], nano.norm(plain[3]))


def test_stopping_early_leaves_out_the_stages_behind(nano):
    calls = []
    handle = nano.stages[2][0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        last, (tensor,) = nano.forward_intermediates(images(64, 64), indices=[1], stop_early=True)
        assert not calls
        assert torch.equal(last.movedim(-1, 1), tensor)
        nano.forward_intermediates(images(64, 64), indices=[1])
    handle.remove()
    assert len(calls) == 1


def test_an_unknown_output_format_is_refused(nano):
    with pytest.raises(ConfigError, match="output_fmt is 'NLC'; allowed: 'NCHW', 'NHWC'"):
        nano.forward_intermediates(images(64, 64), output_fmt="NLC")


def test_a_pruned_model_takes_a_new_classifier():
    model = timm.create_model(NANO, num_classes=5).eval()
    assert model.prune_intermediate_layers([1]) == [1]
    assert (model.num_features, model.head_hidden_size) == (64, 64)
    assert model(images(64, 64)).shape == (2, 8, 8, 64)
    model.reset_classifier(3, "avg")
    assert model(images(64, 64)).shape == (2, 3)


def test_pruning_keeps_norm_and_head_where_nothing_is_cut():
    model = timm.create_model(NANO, num_classes=5).eval()
    x = images(64, 64)
    with torch.no_grad():
        expected = model(x)
        assert model.prune_intermediate_layers(1, prune_norm=False, prune_head=False) == [3]
        assert torch.equal(model(x), expected)


# ------------------------------------------------------------------------------------- training with timm


@pytest.mark.parametrize("name", NAMES)
def test_groups_number_the_parameters_by_depth(name):
    model = on_meta(name)
    depth_of = group_parameters(model, model.group_matcher(), reverse=True)
    depths = model.config.depths
    assert set(depth_of) == {parameter_name for parameter_name, _ in model.named_parameters()}
    assert set(depth_of.values()) == set(range(sum(depths) + 2))  # stem, blocks, head
    assert depth_of["stem.conv1.weight"] == 0
    assert depth_of["downsamples.0.conv.weight"] == depth_of["stages.1.0.mlp.fc1.weight"] == depths[0] + 1
    assert depth_of["norm.weight"] == depth_of[f"stages.3.{depths[3] - 1}.mlp.fc2.weight"] == sum(depths)
    assert depth_of["head.weight"] == sum(depths) + 1
    stage_of = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert set(stage_of.values()) == set(range(6))
    assert stage_of["downsamples.2.conv.weight"] == stage_of["stages.3.0.mlp.fc1.weight"] == stage_of["norm.bias"] == 4


def test_layer_decay_scales_the_learning_rate_by_depth():
    model = on_meta(NANO)
    groups = timm.optim.param_groups_layer_decay(
        model, weight_decay=0.05, layer_decay=0.5, no_weight_decay_list=model.no_weight_decay()
    )
    scale_of = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    assert len(scale_of) == len(list(model.parameters()))
    num_groups = sum(model.config.depths) + 2
    assert scale_of[id(model.head.weight)] == 1
    assert scale_of[id(model.norm.weight)] == 0.5
    assert scale_of[id(model.stem.conv1.weight)] == 0.5 ** (num_groups - 1)
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in model.parameters() if p.dim() > 1}


def test_gradient_checkpointing_gives_equal_gradients():
    x, results = images(64, 64), []
    for enable in (False, True):
        model = fill_model(timm.create_model(NANO, num_classes=5)).train()
        model.set_grad_checkpointing(enable)
        model(x).square().sum().backward()
        results.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*results, strict=True):
        torch.testing.assert_close(checkpointed, plain)


# ------------------------------------------------------------------------------------- the start of the package


@pytest.fixture(scope="module")
def video() -> TimmMorphMLP:
    return timm.create_model(VIDEO, pretrained=True).eval()


def clips(frames: int) -> Tensor:
    return torch.randn(2, 3, frames, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_video_model_has_the_weights_of_the_package_and_gives_their_logits(video: TimmMorphMLP):
    ours, info = morphmlp.load_with_info(start_folder("rendered"))
    with torch.no_grad():
        assert video(clips(8)) == pytest.approx(ours(clips(8)), abs=1e-5)
    assert video.default_cfg["num_classes"] == video.num_classes == ours.config.num_classes
    assert (video.default_cfg["mean"], video.default_cfg["std"]) == (info.input.mean, info.input.std)
    assert video.default_cfg["input_size"][1:] == info.input.crop
    assert video.default_cfg["crop_pct"] == pytest.approx(info.input.crop[0] / info.input.resize)


def test_its_weights_are_carried_to_other_frames_and_classes():
    model = timm.create_model(VIDEO, pretrained=True, frames=16, num_classes=5).eval()
    ours = morphmlp.create_model(VIDEO, pretrained="rendered", frames=16)
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in ours.state_dict().items() if "head." not in key)
    assert model(clips(16)).shape == (2, 5)
    without_head = timm.create_model(VIDEO, pretrained=True, num_classes=0).eval()
    assert without_head(clips(8)).shape == (2, 256)


def test_features_of_a_video_have_its_time():
    model = timm.create_model(VIDEO, pretrained=True, features_only=True, out_indices=(1, 3)).eval()
    assert [tuple(tokens.shape) for tokens in model(clips(8))] == [(2, 64, 4, 8, 8), (2, 256, 4, 2, 2)]
    assert model.feature_info.channels() == [64, 256]


def test_a_video_model_without_weights_is_fresh_and_has_no_pooling_where_none_is_wanted():
    model = timm.create_model(VIDEO, frames=4, num_classes=3, global_pool="").eval()
    assert model(clips(4)).shape == (2, 2, 2, 2, 3)
    assert model.forward_features(clips(4)).shape == (2, 2, 2, 2, 256)
