"""Grad-CAM: exact cases made by hand."""

import pytest
import tiny
import torch
from torch import nn

from morphmlp.analysis.insight.look_inside import predicted_shares
from morphmlp.inference.grad_cam import grad_cams, step_frames
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model


def make_model(**fields: object) -> MorphMLP:
    torch.manual_seed(0)
    return build_model(tiny.model_config(3, **fields)).eval()


def make_clip(frames: int = 4) -> torch.Tensor:
    return torch.randn(1, 3, frames, 64, 64, generator=torch.Generator().manual_seed(1))


def test_grad_cam_of_a_head_that_looks_at_one_channel_is_that_channel():
    model, clip = make_model(), make_clip()
    model.norm = nn.Identity()
    nn.init.zeros_(model.head.weight)
    with torch.no_grad():
        model.head.weight[1, 5] = 8.0  # class 1 is the mean of channel 5 over the tokens
        model.head.weight[2, 5] = -8.0
    channel = model.forward_features(clip)[3][0, ..., 5].detach()
    num_tokens = channel.numel()
    for target, sign in ((1, 1), (2, -1)):
        cam = grad_cams(model, clip, target, stages=[4])[4]
        torch.testing.assert_close(cam, (sign * channel * 8 / num_tokens).relu())
    assert not grad_cams(model, clip, 0, stages=[4])[4].any()


def test_grad_cams_of_several_stages_are_those_of_each():
    model, clip = make_model(), make_clip()
    both = grad_cams(model, clip, 1, stages=[1, 3])
    assert {stage: tuple(cam.shape) for stage, cam in both.items()} == {1: (2, 16, 16), 3: (2, 4, 4)}
    for stage, cam in both.items():
        torch.testing.assert_close(cam, grad_cams(model, clip, 1, stages=[stage])[stage])


def test_grad_cam_of_a_segmenter_is_for_the_pixels_of_the_class():
    model, clip = make_model(task="segmentation", temporal=False, frames=1, decoder_width=8), make_clip(1)
    shares = predicted_shares(model, clip)
    target = int(shares.argmax())
    logits = model(clip)[0]
    is_target = logits.argmax(dim=0) == target
    assert float(shares[target]) == pytest.approx(float(is_target.float().mean()))
    maps = model.forward_features(clip)
    score = torch.nn.functional.interpolate(model.head(maps), size=(64, 64), mode="bilinear")[0, target][is_target]
    gradient = torch.autograd.grad(score.mean(), maps[3])[0]
    expected = (maps[3] * gradient.mean(dim=(1, 2, 3))).sum(dim=-1).clamp(min=0)[0]
    torch.testing.assert_close(grad_cams(model, clip, target, stages=[4])[4], expected.detach())


def test_steps_stand_beside_the_frame_in_their_middle():
    assert step_frames(tiny.model_config(3, frames=8)) == [0, 2, 4, 6]
    assert step_frames(tiny.model_config(3, frames=5)) == [0, 2, 4]
    assert step_frames(tiny.model_config(3, temporal=False, frames=1)) == [0]
