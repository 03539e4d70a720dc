"""Trained weights carried to another number of frames.

The paper does not say how weights of 16 frames could serve 32: the rule here is ours.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from morphmlp.checkpoints.inflation import carried_info
from morphmlp.errors import ConfigError
from morphmlp.models.morphfc import TemporalFC
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model


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
    weights = model.state_dict()
    for (name, former), new in zip(model.named_modules(), resized.modules(), strict=True):
        if isinstance(former, TemporalFC) and isinstance(new, TemporalFC):
            weight, bias = resized_fc(former, new)
            weights |= {f"{name}.fc.fc.weight": weight, f"{name}.fc.fc.bias": bias}
    resized.load_state_dict(weights)
    line = f"carried from {model.config.frames} to {frames} frames"
    resized.checkpoint_info = carried_info(model, resized.config, line)
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
    # On the CPU: an Apple GPU has no float64.
    to_new = time_shares(steps, new.fc.chunk_length)
    to_former = time_shares(new.fc.chunk_length, steps)
    weight = former.fc.fc.weight.detach().cpu().double().view(steps, width, steps, width)
    bias = former.fc.fc.bias.detach().cpu().double().view(steps, width)
    weight = torch.einsum("st,tdue,uv->sdve", to_new, weight, to_former)
    weight, bias = _shared_by_groups(weight, to_new @ bias, new.fc.group_width)
    like = former.fc.fc.weight
    return weight.flatten(2).flatten(0, 1).to(like), bias.flatten().to(like)


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

    Groups of 49 and of 28 channels begin together again after 196; the mean is over the 7 new groups until there.
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
