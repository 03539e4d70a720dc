"""What `visualize` computes: exact cases made by hand, and nothing of the model changed by looking."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from morphmlp.analysis.insight.look_inside import (
    branch_weights,
    class_number,
    feature_map,
    look_inside,
    mixing_fcs,
    predicted_shares,
    read_view,
    token_matrix,
)
from morphmlp.analysis.insight.page import missing_parts
from morphmlp.checkpoints.folder import CheckpointInfo, save
from morphmlp.config import InputConfig
from morphmlp.demo.synthetic import CLASSES
from morphmlp.errors import ConfigError, MediaError
from morphmlp.inference.grad_cam import grad_cams
from morphmlp.models.morphfc import ChunkFC, SpatialFC, over_columns, over_rows
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model


def make_model(**fields: object) -> MorphMLP:
    torch.manual_seed(0)
    return build_model(tiny.model_config(3, **fields)).eval()


def make_clip(frames: int = 4) -> torch.Tensor:
    return torch.randn(1, 3, frames, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def video(data: Path) -> Path:
    return data / "val" / "moving_up" / "moving_up_0001.mp4"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)).save(path)
    return path


# Weights


def test_token_matrix_has_the_token_written_in_its_row_and_the_token_read_in_its_column():
    fc = ChunkFC(12, 3)  # D = 4
    nn.init.zeros_(fc.fc.weight)
    with torch.no_grad():
        fc.fc.weight[0:4, 8:12] = 2.0  # all that token 0 takes from token 2
        fc.fc.weight[4, 4] = -4.0  # one of 16 weights of token 1 on itself: sqrt(16 / 16)
    assert token_matrix(fc).tolist() == [[0, 0, 2], [0, 1, 0], [0, 0, 0]]


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_a_token_acts_on_another_where_the_token_matrix_says_so(tokens: int, width: int, draw: st.DataObject):
    fc = ChunkFC(tokens * width, tokens)
    written, read = (draw.draw(st.integers(0, tokens - 1)) for _ in range(2))
    nn.init.zeros_(fc.fc.weight)
    nn.init.zeros_(fc.fc.bias)
    with torch.no_grad():
        fc.fc.weight[written * width, read * width + width - 1] = 1.0
    chunk = torch.zeros(tokens, tokens * width)
    chunk[read] = 1.0
    reached = fc(chunk).abs().sum(dim=-1).nonzero().flatten().tolist()
    assert reached == [written]
    assert token_matrix(fc).nonzero().tolist() == [[written, read]]


def test_every_fc_over_tokens_is_found_in_its_place():
    model = make_model(depths=(1, 2, 1, 1))
    found = [(fc.stage, fc.block, fc.kind) for fc in mixing_fcs(model)]
    three = ["vertical", "horizontal", "temporal"]
    blocks = [(1, 1), (2, 1), (2, 2), (3, 1)]
    assert found[:12] == [(stage, block, kind) for stage, block in blocks for kind in three]
    assert found[12:] == [(4, 1, "whole map"), (4, 1, "temporal")]
    assert mixing_fcs(model)[1].fc is model.stages[0][0].spatial.horizontal


@pytest.mark.parametrize(
    ("fields", "kinds", "reasons"),
    [
        ({}, {"vertical", "horizontal", "whole map", "temporal"}, set()),
        ({"temporal": False, "frames": 1}, {"vertical", "horizontal", "whole map"}, {"temporal"}),
        ({"temporal_op": "conv3"}, {"vertical", "horizontal", "whole map"}, {"temporal"}),
        ({"style": "cnn"}, {"vertical", "horizontal", "whole map"}, {"temporal"}),
        ({"spatial_op": "conv3"}, {"temporal"}, {"spatial", "branches"}),
        ({"spatial_op": "groupconv"}, {"temporal"}, {"spatial"}),
        ({"weighted_sum": False}, {"vertical", "horizontal", "whole map", "temporal"}, {"branches"}),
    ],
)
def test_what_a_design_lacks_is_left_out_with_a_reason(fields: dict, kinds: set, reasons: set):
    model = make_model(**fields)
    assert {fc.kind for fc in mixing_fcs(model)} == kinds
    assert set(missing_parts(model.config)) == reasons
    assert bool(branch_weights(model, make_clip(model.config.frames))) == ("branches" not in reasons)


# Branch weights


def test_branch_weights_are_the_softmax_of_the_mean_of_the_branches():
    model, clip = make_model(), make_clip()
    for module in model.modules():
        if isinstance(module, SpatialFC) and module.branch_weights is not None:
            nn.init.normal_(module.branch_weights.fc1.weight, std=10)
            nn.init.normal_(module.branch_weights.fc2.weight, std=10)
    first = branch_weights(model, clip)[0]
    block = model.stages[0][0]
    spatial, x = block.spatial, model.stem(clip)
    u = block.spatial_norm(x + block.temporal(block.temporal_norm(x)))
    branches = [over_columns(spatial.vertical, u), over_rows(spatial.horizontal, u), spatial.channel(u)]
    mean = torch.stack([branch.flatten(1, 3).mean(dim=1) for branch in branches]).sum(dim=0)
    weights = spatial.branch_weights
    logits = weights.fc2(nn.functional.gelu(weights.fc1(mean)))[0]  # output channel * 3 + branch
    expected = logits.reshape(-1, 3).softmax(dim=1).T
    assert first.names == ["vertical", "horizontal", "channel"]
    np.testing.assert_allclose(first.weights, expected.detach().numpy(), atol=1e-5)
    assert first.weights.std() > 0.01  # it is no trivial case


def test_branch_weights_sum_to_one_in_every_block():
    blocks = branch_weights(make_model(), make_clip())
    assert [(block.stage, block.block, block.weights.shape) for block in blocks] == [
        (1, 1, (3, 8)),
        (2, 1, (3, 16)),
        (3, 1, (3, 16)),
        (4, 1, (2, 16)),
    ]
    assert blocks[-1].names == ["whole map", "channel"]
    for block in blocks:
        np.testing.assert_allclose(block.weights.sum(axis=0), 1, atol=1e-6)


# Feature maps and Grad-CAM


def test_feature_map_is_the_distance_from_the_mean_token():
    model, clip = make_model(), make_clip()
    features = model.forward_features(clip)[1][0].detach().numpy()  # [T', h, w, C]
    mean = features.reshape(-1, features.shape[-1]).mean(axis=0)
    expected = np.sqrt(((features - mean) ** 2).mean(axis=-1))
    np.testing.assert_allclose(feature_map(model, clip, 2).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_looking_changes_nothing_of_the_model(training: bool, frozen: bool):
    model, clip = make_model(drop_path=0.5).train(training), make_clip()
    for parameter in model.parameters():
        parameter.requires_grad_(not frozen)
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    results = [(feature_map(model, clip, 3), *grad_cams(model, clip, 0, stages=[3, 4]).values()) for _ in range(2)]
    branch_weights(model, clip)
    predicted_shares(model, clip)
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))  # no drop path, no batch statistics
    assert model.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(bool((parameter.grad == 1).all()) for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert clip.grad is None
    assert not clip.requires_grad


# Input


def test_one_view_is_read_whatever_the_protocol(video: Path):
    config = InputConfig.from_dict({"crop": [32, 32], "resize": 32, "num_clips": 2, "num_crops": 3})
    assert read_view(video, make_model(), config).shape == (1, 3, 4, 32, 32)


def test_look_inside_takes_the_predicted_class_or_the_one_that_is_named(checkpoint: Path, video: Path):
    insight = look_inside(checkpoint, video, device="cpu")
    assert insight.predicted
    assert (insight.clip.shape, insight.feature_map.shape) == ((4, 32, 32, 3), (2, 2, 2))
    assert {stage: cam.shape for stage, cam in insight.cams.items()} == {3: (2, 2, 2), 4: (2, 1, 1)}
    other = next(name for name in CLASSES if name != insight.target)
    named = look_inside(checkpoint, video, stage=4, class_name=other, device="cpu")
    assert (named.target, named.predicted, list(named.cams)) == (other, False, [4])
    assert named.target_share < insight.target_share


def test_an_image_is_a_clip_of_one_frame(image_checkpoint: Path, image: Path):
    insight = look_inside(image_checkpoint, image, device="cpu")
    assert (insight.clip.shape, insight.feature_map.shape) == ((1, 32, 32, 3), (1, 2, 2))


def test_a_video_for_an_image_model_and_the_reverse_are_refused(
    checkpoint: Path, image_checkpoint: Path, video: Path, image: Path
):
    with pytest.raises(MediaError, match=r"image\.png: is an image, but tiny is a model of videos"):
        look_inside(checkpoint, image, device="cpu")
    with pytest.raises(MediaError, match=r"\.mp4: is no image by its name, but tiny is a model of images"):
        look_inside(image_checkpoint, video, device="cpu")


@pytest.mark.parametrize("stage", [0, 5, -1])
def test_a_stage_that_does_not_exist_is_refused(checkpoint: Path, video: Path, stage: int):
    with pytest.raises(ConfigError, match=f"stage {stage} does not exist; allowed: 1 to 4"):
        look_inside(checkpoint, video, stage=stage)


def test_an_unknown_class_is_refused_with_the_near_names():
    assert class_number("b", ["a", "b"]) == 1
    with pytest.raises(ConfigError, match="'moving_upp' is unknown to this model; did you mean 'moving_up'"):
        class_number("moving_upp", CLASSES)


def test_a_class_that_no_pixel_shows_is_refused_with_those_that_are_shown(tmp_path: Path, image: Path):
    fields = {"task": "segmentation", "temporal": False, "frames": 1, "decoder_width": 8}
    model = build_model(tiny.model_config(2, **fields)).eval()
    with torch.no_grad():
        model.head.classifier.bias.copy_(torch.tensor([100.0, -100.0]))
    save(model, tmp_path / "segmenter", CheckpointInfo(input=tiny.INPUT, labels=["road", "sky"]))
    assert look_inside(tmp_path / "segmenter", image, device="cpu").target_share == 1.0
    with pytest.raises(ConfigError, match=r"no pixel of .*image\.png is predicted as 'sky'; most are 'road'"):
        look_inside(tmp_path / "segmenter", image, class_name="sky", device="cpu")


def test_a_broken_video_is_refused(checkpoint: Path, tmp_path: Path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"broken\.mp4: cannot be opened as a video"):
        look_inside(checkpoint, tmp_path / "broken.mp4", device="cpu")
