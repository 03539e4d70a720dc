"""The mean of what the branches of MorphFC_s give, without computing them; only for speed.

The branches are linear, so the mean of a branch follows from the mean of its input. The weighted sum therefore knows
its weights before any branch is computed, and each branch is added to the sum as soon as it is there.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from morphmlp.models.morphfc import ChunkFC


def mean_of_branches(
    x: Tensor, *, vertical: "ChunkFC | None", horizontal: "ChunkFC", channel: nn.Module | None
) -> Tensor:
    """The mean over tokens of the sum of the branches, `[B, T, H, W, C]` -> `[B, C]`: real tokens, no padding."""
    frame = x.mean(dim=1)  # [B, H, W, C]
    mean = mean_output(horizontal, frame.flatten(1, 2))
    if vertical is not None:
        # Where all columns are cut alike, their mean is cut as each of them is.
        alike = vertical.cuts_alike(x.shape[2])
        mean = mean + mean_output(vertical, frame.mean(dim=2) if alike else frame.transpose(1, 2).flatten(1, 2))
    return mean if channel is None else mean + channel(frame.mean(dim=(1, 2)))


def mean_output(layer: "ChunkFC", tokens: Tensor) -> Tensor:
    """The mean over tokens of `layer(tokens)`, `[..., N, C]` -> `[..., C]`, without computing that.

    The mean over chunks is taken before the FC, and the mean over a chunk's tokens goes into the weights: M * L times
    fewer multiply-adds. Chunks that padding would fill up are computed apart, with the part of the FC that they use.
    """
    parts = _equal_chunks(layer, tokens)
    means = [_mean_over_slots(layer, chunks.mean(dim=-3)) for chunks in parts]
    if len(parts) == 1:
        return means[0]
    longer, shorter = (chunks.shape[-3] * chunks.shape[-2] / tokens.shape[-2] for chunks in parts)
    return longer * means[0] + shorter * means[1]


def _equal_chunks(layer: "ChunkFC", tokens: Tensor) -> list[Tensor]:
    """`[..., N, C]` cut without padding: `[..., chunks, slots, C]` of the longer and of the shorter chunks."""
    num_tokens = tokens.shape[-2]
    if not layer.strided:
        num_whole = math.floor(num_tokens / layer.chunk_length)
        end = num_whole * layer.chunk_length
        parts = [tokens[..., :end, :].unflatten(-2, (num_whole, layer.chunk_length)), tokens[..., None, end:, :]]
    else:
        num_chunks = math.ceil(num_tokens / layer.chunk_length)
        num_slots = math.floor(num_tokens / num_chunks)
        end = num_slots * num_chunks
        by_slot, last = tokens[..., :end, :].unflatten(-2, (num_slots, num_chunks)), tokens[..., end:, :]
        num_longer = num_tokens - end
        longer = torch.cat([by_slot[..., :num_longer, :], last.unsqueeze(-3)], dim=-3)
        parts = [longer.transpose(-3, -2), by_slot[..., num_longer:, :].transpose(-3, -2)]
    return [part for part in parts if part.shape[-3] and part.shape[-2]]


def _mean_over_slots(layer: "ChunkFC", chunk: Tensor) -> Tensor:
    """The mean over tokens of what the FC makes of a chunk, which may be short: `[..., slots, C]` -> `[..., C]`."""
    num_slots = chunk.shape[-2]
    by_slot = chunk.unflatten(-1, (-1, layer.group_width))  # [..., slots, groups, D]
    if isinstance(layer, KeepsMeanFCs):
        return layer.mean_fc(num_slots)(by_slot.transpose(-3, -2).flatten(-2)).flatten(-2)
    weight, bias = mean_weights(layer, num_slots)
    weight = weight.unflatten(1, (num_slots, layer.group_width)).movedim(0, -1)  # [slots, D, D]
    return ((by_slot @ weight).sum(dim=-3) + bias).flatten(-2)


def mean_weights(layer: "ChunkFC", num_slots: int) -> tuple[Tensor, Tensor]:
    """Weight `[D, slots * D]` and bias `[D]` of the mean over so many slots of the FC's output."""
    used = num_slots * layer.group_width
    by_slot = layer.fc.weight[:used, :used].unflatten(0, (num_slots, layer.group_width))
    return by_slot.mean(0), layer.fc.bias[:used].unflatten(0, (num_slots, layer.group_width)).mean(0)


class KeepsMeanFCs:
    """A `ChunkFC` that keeps the FCs of `mean_weights`, where weights do not change: `inference.optimize` has one."""

    def mean_fc(self, num_slots: int) -> nn.Module:
        """The FC from `[..., slots * D]` to `[..., D]`, the mean over the slots."""
        raise NotImplementedError
