"""Trained weights in a model of another length: from an image to a video model, and from one frame count to another.

The paper starts its video models from ImageNet weights "for everything but MorphFC_t" (Sec. 4.2). Its stem has a kernel
over three frames where the image model's has one, and it does not say how the one becomes the other, nor how
weights of 16 frames could serve 32: both rules here are ours.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from morphmlp.checkpoints import CheckpointInfo, load
from morphmlp.config import InputConfig, ModelConfig, default_input
from morphmlp.errors import ConfigError
from morphmlp.layers import TemporalFC
from morphmlp.model import MorphMLP
from morphmlp.zoo import build_model

Kernel = Literal["center", "mean"]
TAPS: dict[str, tuple[float, float, float]] = {"center": (0.0, 1.0, 0.0), "mean": (1 / 3, 1 / 3, 1 / 3)}
STEM_KERNEL = "stem.conv1.weight"
CLASSIFIER = ("head.weight", "head.bias")

# What the shapes of an image model's weights, or their meaning, depend on.
SPATIAL_FIELDS = ("depths", "widths", "chunk_lengths", "last_chunk_is_map", "mlp_ratio", "style")
SPATIAL_FIELDS += ("spatial_op", "branches", "weighted_sum")


def inflate(
    image_model: MorphMLP | str | Path, *, frames: int = 16, kernel: Kernel = "center", **overrides: Any
) -> MorphMLP:
    """A video model that starts as an image model: all its weights, and temporal layers that add nothing yet.

    The stem's kernel over one frame becomes one over three, as `inflated_kernel` says. With "center", the default, a
    token sees one frame as the image model does, and a clip of one repeated frame gives the image model's maps at every
    time step. With "mean" it sees the mean of three frames; before the clip's first frame (and, if their number is odd,
    behind its last) there are zeros, so the stem's first (last) step gets two thirds of the image model's response. The
    maps behind it differ from the image model's at every step, as the weighted sum averages over the clip; without it
    (`weighted_sum=False`) they differ at that step only.

    With order "st" and the skip residual (Table 7) a block bypasses its spatial layer while the temporal one is at its
    start: there the video model is not the image model.

    Args:
        image_model: a model, or a checkpoint folder.
        frames: of the clips that the video model takes.
        overrides: other fields of `ModelConfig`; with another `num_classes` the head is a fresh one.

    Example:
        >>> import morphmlp
        >>> image_model = morphmlp.create_model("morphmlp_image_nano")
        >>> morphmlp.inflate(image_model, frames=16, num_classes=10).config.name
        'morphmlp_video_nano'

    Raises:
        ConfigError: a field that the image model's weights depend on, a video model, a segmenter, or the CNN style,
            whose normalised convolutions over time are no identity at any start.
        CheckpointError: the checkpoint cannot be read.
    """
    source = image_model if isinstance(image_model, MorphMLP) else load(image_model)
    if fixed := [name for name in overrides if name in SPATIAL_FIELDS]:
        raise ConfigError(f"{', '.join(fixed)} cannot be given: the image model's weights are of its own")
    video = build_model(video_config(source.config, frames=frames, **overrides)).to(next(source.parameters()))
    weights = inflated_weights(source.state_dict(), kernel)
    if video.config.num_classes != source.config.num_classes:
        weights |= {name: video.state_dict()[name] for name in CLASSIFIER}
    video.load_state_dict(video.state_dict() | weights)
    line = f"inflated from {source.config.name} to {frames} frames ({kernel} kernel)"
    video.checkpoint_info = _carried_info(source, video.config, line)
    return video.train(source.training)


def video_config(image: ModelConfig, *, frames: int = 16, **overrides: Any) -> ModelConfig:
    """The video model of the same depths and widths; see `inflate`."""
    if image.temporal:
        raise ConfigError(f"{image.name} is a video model already; `resize_frames` carries it to other frame counts")
    if image.task != "classification":
        raise ConfigError(f"{image.name} is a segmenter; inflate the classifier that it was trained from")
    name = image.name.replace("_image_", "_video_")
    config = ModelConfig.from_dict(image.to_dict() | {"temporal": True, "frames": frames, "name": name} | overrides)
    if config.style == "cnn":
        raise ConfigError(
            "model.style is 'cnn'; allowed: 'transformer', whose temporal layers can start as the identity"
        )
    return config


def inflated_weights(weights: dict[str, Tensor], kernel: str = "center") -> dict[str, Tensor]:
    """The image model's state dict with the stem's kernel over three frames."""
    return weights | {STEM_KERNEL: inflated_kernel(weights[STEM_KERNEL], kernel)}


def inflated_kernel(weight: Tensor, kernel: str) -> Tensor:
    """A kernel `[C, 3, 1, 3, 3]` -> `[C, 3, 3, 3, 3]`: its middle tap ("center"), or a third in each ("mean")."""
    if kernel not in TAPS:
        raise ConfigError(f"kernel is {kernel!r}; allowed: {', '.join(map(repr, TAPS))}")
    return weight * weight.new_tensor(TAPS[kernel])[:, None, None]


def carried_input(config: ModelConfig, former: InputConfig) -> InputConfig:
    """The input that a model is designed for, with pixel values as the weights that it starts from know them."""
    return replace(default_input(config), mean=former.mean, std=former.std, channel_order=former.channel_order)


def resize_frames(model: MorphMLP, frames: int) -> MorphMLP:
    """The same video model for clips of another number of frames over the same time; all but MorphFC_t is copied.

    MorphFC_t holds a weight for each pair of time steps, see `resized_fc`. At its identity start it stays there, and
    for as many frames it stays as it is. Temporal convolutions (Table 10) serve any length.

    Dense sampling keeps its stride: 32 frames then cover twice the time of 16. Halve `stride` to cover the same.

    Raises:
        ConfigError: an image model, or a number of frames below 1.
    """
    if not model.config.temporal:
        raise ConfigError(f"{model.config.name} is an image model, which has no frames; `inflate` makes a video model")
    resized = build_model(replace(model.config, frames=frames)).to(next(model.parameters()))
    weights, former = model.state_dict(), dict(model.named_modules())
    for name, layer in resized.named_modules():
        if isinstance(layer, TemporalFC):
            weight, bias = resized_fc(former[name], layer)  # type: ignore[arg-type]
            weights |= {f"{name}.fc.fc.weight": weight, f"{name}.fc.fc.bias": bias}
    resized.load_state_dict(weights)
    line = f"carried from {model.config.frames} to {frames} frames"
    resized.checkpoint_info = _carried_info(model, resized.config, line)
    return resized.train(model.training)


def resized_fc(former: TemporalFC, new: TemporalFC) -> tuple[Tensor, Tensor]:
    """Weight and bias of MorphFC_t's FC for T2 steps and groups of D2 channels, from one for T1 and D1.

    The FC W[(t, d), (t', d')] is shared by the groups, so on all channels it is the operator

        K[(t, c), (t', c')] = W[(t, c mod D1), (t', c' mod D1)]   where c and c' are of one group, else 0.

    In time, tokens are averaged over the shares of the former steps that they cover: K2 = R K S, with S from T2 to T1
    steps, R from T1 to T2, and the rows of both adding up to one (`time_shares`). Where T2 is a multiple of T1, S R is
    the identity: tokens that come in equal runs get exactly the former outputs.

    In channels, the new weight is the mean of K2's diagonal D2 x D2 blocks: of all FCs that the groups can share, the
    nearest to K2 (least squares), hence the one with the smallest error on channels without correlation. It is exact
    where D1 divides D2, as from 32 to 16 frames at most widths; from 16 to 32 frames groups are half as wide, and
    what one half of a group had said to the other is lost.
    """
    steps, width = former.fc.chunk_length, former.fc.group_width
    to_new = time_shares(steps, new.fc.chunk_length).to(former.fc.fc.weight.device)
    to_former = time_shares(new.fc.chunk_length, steps).to(to_new.device)
    weight = former.fc.fc.weight.detach().double().view(steps, width, steps, width)
    bias = former.fc.fc.bias.detach().double().view(steps, width)
    weight = torch.einsum("st,tdue,uv->sdve", to_new, weight, to_former)
    weight, bias = _shared_by_groups(weight, to_new @ bias, new.fc.group_width)
    dtype = former.fc.fc.weight.dtype
    return weight.flatten(2).flatten(0, 1).to(dtype), bias.flatten().to(dtype)


def time_shares(num_in: int, num_out: int) -> Tensor:
    """`[num_out, num_in]`: the share of each former step in the time of each new one; float64, rows add up to one.

    From 3 to 2 steps, the first new one covers the first former one and half of the second:

        >>> time_shares(3, 2).mul(3).tolist()
        [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]
    """
    # In units of 1 / (num_in * num_out) of the clip a former step is num_out long, and a new one num_in.
    former = torch.arange(num_in) * num_out
    new = torch.arange(num_out)[:, None] * num_in
    overlap = torch.minimum(former + num_out, new + num_in) - torch.maximum(former, new)
    return overlap.clamp(min=0).double() / num_in


def _shared_by_groups(weight: Tensor, bias: Tensor, new_width: int) -> tuple[Tensor, Tensor]:
    """Weight `[T, D1, T', D1]` and bias `[T, D1]` of groups of D1 channels -> the nearest of groups of D2.

    Groups of 49 and of 28 channels begin together again behind 196; the mean is over the 7 new groups until there.
    """
    width = bias.shape[1]
    period = math.lcm(width, new_width)
    new_weight, new_bias = torch.zeros(()), torch.zeros(())
    for channels in torch.arange(period, device=bias.device).split(new_width):
        slots, groups = channels % width, channels // width
        together = (groups[:, None] == groups)[:, None]  # [D2, 1, D2]
        new_weight = new_weight + weight[:, slots][..., slots] * together
        new_bias = new_bias + bias[:, slots]
    count = period // new_width
    return new_weight / count, new_bias / count


def _carried_info(model: MorphMLP, config: ModelConfig, line: str) -> CheckpointInfo | None:
    """What stood beside the model, with a line on its conversion; an image model's input becomes one of videos."""
    info: CheckpointInfo | None = model.checkpoint_info
    if info is None:
        return None
    return replace(
        info,
        input=info.input if model.config.temporal else carried_input(config, info.input),
        labels=info.labels if config.num_classes == model.config.num_classes else [],
        training=info.training | {"conversions": [*info.training.get("conversions", []), line]},
    )
