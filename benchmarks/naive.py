"""The network as the released code computes it: the 1 x of `speed.py`.

Every layer is the equation, step by step: a permute and a copy before each FC over chunks and another after it, all
branches in memory before they are weighted, convolutions and batch normalisation over `[B, C, T, H, W]`. The modules
and their parameters are those of the package; only their computation is replaced. The convolutions of Tables 8 and 10
stay as they are.
"""

import copy
import math
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.models.alternatives import PartialSpatialFC
from morphmlp.models.morphfc import BranchWeights, SpatialFC, TemporalFC
from morphmlp.models.stem import Downsample, Stem


def as_released(model: nn.Module) -> nn.Module:
    """A copy of the model that computes the same outputs in the naive way, forward and backward."""
    model = copy.deepcopy(model)
    forwards: dict[type[nn.Module], Callable[..., Tensor]] = {
        SpatialFC: spatial_fc,
        PartialSpatialFC: spatial_fc,
        TemporalFC: temporal_fc,
        Stem: stem,
        Downsample: downsample,
    }
    for module in model.modules():
        if forward := forwards.get(type(module)):
            module.forward = MethodType(forward, module)
    return model


def spatial_fc(layer: SpatialFC, x: Tensor) -> Tensor:
    """MorphFC_s, `[B, T, H, W, C]` -> the same shape."""
    batch, frames, height, width, channels = x.shape
    branches = []
    if layer.vertical is not None:
        columns = x.permute(0, 1, 3, 2, 4).reshape(batch * frames, width * height, channels)
        columns = chunk_fc(layer.vertical, columns).reshape(batch, frames, width, height, channels)
        branches.append(columns.permute(0, 1, 3, 2, 4))
    rows = x.reshape(batch * frames, height * width, channels)
    branches.append(chunk_fc(layer.horizontal, rows).reshape(x.shape))
    if layer.channel is not None:
        branches.append(layer.channel(x))
    if layer.branch_weights is None:
        return layer.proj(sum(branches))
    total = branches[0]
    for branch in branches[1:]:
        total = total + branch
    mean = total.permute(0, 4, 1, 2, 3).flatten(2).mean(2)  # [B, C]
    weights = branch_weights(layer.branch_weights, mean)
    result = branches[0] * weights[0]
    for branch, weight in zip(branches[1:], weights[1:], strict=True):
        result = result + branch * weight
    return layer.proj(result)


def branch_weights(layer: BranchWeights, mean: Tensor) -> Tensor:
    """`[B, C]` -> `[branches, B, 1, 1, 1, C]`."""
    scores = layer.fc2(F.gelu(layer.fc1(mean))).reshape(*mean.shape, layer.num_branches)
    return scores.permute(2, 0, 1).softmax(dim=0)[:, :, None, None, None]


def temporal_fc(layer: TemporalFC, x: Tensor) -> Tensor:
    """MorphFC_t, `[B, T, H, W, C]` -> the same shape."""
    batch, frames, height, width, channels = x.shape
    positions = x.permute(0, 2, 3, 1, 4).reshape(batch * height * width, frames, channels)
    positions = chunk_fc(layer.fc, positions).reshape(batch, height, width, frames, channels)
    return layer.proj(positions.permute(0, 3, 1, 2, 4).reshape(x.shape))


def chunk_fc(layer: Any, tokens: Tensor) -> Tensor:
    """`ChunkFC`, `[B, N, C]` -> the same shape."""
    batch, num_tokens, channels = tokens.shape
    length, depth = layer.chunk_length, layer.group_width
    num_chunks = math.ceil(num_tokens / length)
    x = F.pad(tokens, (0, 0, 0, num_chunks * length - num_tokens))
    if layer.strided:
        x = x.reshape(batch, length, num_chunks, channels // depth, depth).permute(0, 2, 3, 1, 4)
    else:
        x = x.reshape(batch, num_chunks, length, channels // depth, depth).permute(0, 1, 3, 2, 4)
    x = layer.fc(x.reshape(batch, num_chunks, channels // depth, length * depth))
    x = x.reshape(batch, num_chunks, channels // depth, length, depth)
    x = x.permute(0, 3, 1, 2, 4) if layer.strided else x.permute(0, 1, 3, 2, 4)
    return x.reshape(batch, num_chunks * length, channels)[:, :num_tokens]


def stem(layer: Stem, clip: Tensor) -> Tensor:
    """`[B, 3, T, H, W]` -> `[B, T', H/4, W/4, C]`."""
    conv = layer.conv1
    x = F.conv3d(clip, conv.weight, conv.bias, stride=conv.stride, padding=conv.padding)
    x = F.gelu(batch_norm(layer.norm1, x))
    return batch_norm(layer.norm2, frame_conv(layer.conv2, x)).permute(0, 2, 3, 4, 1)


def downsample(layer: Downsample, x: Tensor) -> Tensor:
    """`[B, T, H, W, C]` -> `[B, T, H/2, W/2, C']`."""
    return layer.norm(frame_conv(layer.conv, x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1))


def frame_conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution of 1 x 3 x 3 over `[B, C, T, H, W]`."""
    return F.conv3d(x, layer.weight.unsqueeze(2), layer.bias, stride=(1, 2, 2), padding=(0, 1, 1))


def batch_norm(layer: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Over `[B, C, T, H, W]`."""
    return F.batch_norm(
        x,
        layer.running_mean,
        layer.running_var,
        layer.weight,
        layer.bias,
        training=layer.training,
        momentum=layer.momentum or 0.0,
        eps=layer.eps,
    )
