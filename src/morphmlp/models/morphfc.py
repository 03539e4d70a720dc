"""The layers of MorphMLP: MorphFC_s (Sec. 3.1, Eq. 1), MorphFC_t (Sec. 3.2, Eq. 2), patch embedding and MLP.

Tensors are channel-last, `[B, T, H, W, C]`, everywhere but inside a convolution.

One observation carries the file: both equations are the same operation, an FC over chunks of tokens
(:class:`ChunkFC`). MorphFC_s cuts the tokens of a frame into chunks along rows and along columns;
MorphFC_t takes the tokens of one position over all frames as a single chunk.

All of it is linear, which saves work without changing a result: the mean of a branch follows from the mean of its
input, so the weighted sum knows its weights before any branch is computed, and each is added to the sum as it comes.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def group_width(width: int, chunk_length: int) -> int:
    """Channels D of a group: the smallest divisor of C with L * D >= C.

    Where L divides C this is the paper's D = C / L; the released temporal layers follow it as well.

    >>> group_width(112, 14), group_width(392, 16), group_width(84, 56)
    (8, 28, 2)
    """
    return next(d for d in range(1, width + 1) if width % d == 0 and chunk_length * d >= width)


def to_chunks(tokens: Tensor, chunk_length: int, group_width: int, *, strided: bool = False) -> Tensor:
    """Chunks of L tokens as vectors of one group of D channels each: `[..., N, C]` -> `[..., M, groups, L * D]`.

    Zeros are appended to a sequence that L does not divide.
    """
    num_chunks = math.ceil(tokens.shape[-2] / chunk_length)  # M
    padding = num_chunks * chunk_length - tokens.shape[-2]
    if padding:
        tokens = F.pad(tokens, (0, 0, 0, padding))
    tokens = tokens.unflatten(-1, (-1, group_width))  # [..., M * L, groups, D]
    # -> [..., M, groups, L, D]
    if strided:
        chunks = tokens.unflatten(-3, (chunk_length, num_chunks)).movedim(-4, -2)
    else:
        chunks = tokens.unflatten(-3, (num_chunks, chunk_length)).transpose(-3, -2)
    return chunks.flatten(-2)


def to_tokens(
    vectors: Tensor, num_tokens: int, chunk_length: int, group_width: int, *, strided: bool = False
) -> Tensor:
    """The way back, without what was appended: `[..., M, groups, L * D]` -> `[..., N, C]`."""
    chunks = vectors.unflatten(-1, (chunk_length, group_width))
    # [..., M, groups, L, D] -> [..., M * L, C]
    tokens = chunks.movedim(-2, -4) if strided else chunks.transpose(-3, -2)
    tokens = tokens.flatten(-2).flatten(-3, -2)
    return tokens[..., :num_tokens, :] if tokens.shape[-2] > num_tokens else tokens


class ChunkFC(nn.Module):
    """One FC over chunks of L tokens, shared by all chunks and all channel groups (Eq. 1 and 2).

    A chunk's D channels of one group are flattened token by token to a vector of L * D values:
    `vector[slot * D + channel]`. A sequence that L does not divide is padded with zeros at its end and the
    padding is dropped afterwards, so no real token sees anything but other real tokens.

    Which tokens share a chunk, for N = 6 and L = 2, hence M = 3 chunks:

        consecutive   0 0 1 1 2 2     token n sits in chunk n // L, slot n % L
        strided       0 1 2 0 1 2     token n sits in chunk n % M, slot n // M

    Args:
        width: channels C.
        chunk_length: tokens a chunk, L.
        strided: the released stage 4 on maps larger than a chunk; equal to consecutive for one chunk.
    """

    def __init__(self, width: int, chunk_length: int, *, strided: bool = False):
        super().__init__()
        self.chunk_length = chunk_length  # L
        self.group_width = group_width(width, chunk_length)  # D
        self.strided = strided
        self.fc = nn.Linear(chunk_length * self.group_width, chunk_length * self.group_width)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., N, C]` -> `[..., N, C]`."""
        vectors = self.fc(to_chunks(tokens, self.chunk_length, self.group_width, strided=self.strided))
        return to_tokens(vectors, tokens.shape[-2], self.chunk_length, self.group_width, strided=self.strided)

    def mean_output(self, tokens: Tensor) -> Tensor:
        """The mean over tokens of `forward(tokens)`, `[..., N, C]` -> `[..., C]`, without computing that.

        The mean over chunks goes before the FC, and that over a chunk's tokens into its weights: M * L times fewer
        multiply-adds. Chunks that padding would fill up are taken apart, with the part of the FC that they use.
        """
        parts = self._equal_chunks(tokens)
        means = [self._mean_over_slots(chunks.mean(dim=-3)) for chunks in parts]
        if len(parts) == 1:
            return means[0]
        shares = [chunks.shape[-3] * chunks.shape[-2] / tokens.shape[-2] for chunks in parts]
        return sum(share * mean for share, mean in zip(shares, means, strict=True))  # type: ignore[return-value]

    def _mean_over_slots(self, chunk: Tensor) -> Tensor:
        """The mean over tokens of what the FC makes of a chunk, which may be short: `[..., slots, C]` -> `[..., C]`."""
        vectors = chunk.unflatten(-1, (-1, self.group_width)).transpose(-3, -2).flatten(-2)  # [..., groups, slots * D]
        return self._mean_fc(vectors, chunk.shape[-2]).flatten(-2)

    def _mean_fc(self, vectors: Tensor, num_slots: int) -> Tensor:
        """`[..., slots * D]` -> `[..., D]`: the mean over so many slots of the FC's output."""
        return F.linear(vectors, *self._mean_weights(num_slots))

    def _mean_weights(self, num_slots: int) -> tuple[Tensor, Tensor]:
        used = num_slots * self.group_width
        by_slot = self.fc.weight[:used, :used].unflatten(0, (num_slots, self.group_width))
        return by_slot.mean(0), self.fc.bias[:used].unflatten(0, (num_slots, self.group_width)).mean(0)

    def _equal_chunks(self, tokens: Tensor) -> list[Tensor]:
        """`[..., N, C]` cut without padding: `[..., chunks, slots, C]` of the longer and of the shorter chunks."""
        num_tokens = tokens.shape[-2]
        if not self.strided:
            num_whole = math.floor(num_tokens / self.chunk_length)
            end = num_whole * self.chunk_length
            parts = [tokens[..., :end, :].unflatten(-2, (num_whole, self.chunk_length)), tokens[..., None, end:, :]]
        else:
            num_chunks = math.ceil(num_tokens / self.chunk_length)
            num_slots = math.floor(num_tokens / num_chunks)
            end = num_slots * num_chunks
            by_slot, last = tokens[..., :end, :].unflatten(-2, (num_slots, num_chunks)), tokens[..., end:, :]
            num_longer = num_tokens - end
            longer = torch.cat([by_slot[..., :num_longer, :], last.unsqueeze(-3)], dim=-3)
            parts = [longer.transpose(-3, -2), by_slot[..., num_longer:, :].transpose(-3, -2)]
        return [part for part in parts if part.shape[-3] and part.shape[-2]]


class BranchWeights(nn.Module):
    """Softmax weights of the branches by clip and channel, from the mean of their sum (weighted sum, Table 9)."""

    def __init__(self, width: int, num_branches: int):
        super().__init__()
        self.num_branches = num_branches
        self.fc1 = nn.Linear(width, width // 4)
        self.fc2 = nn.Linear(width // 4, width * num_branches)  # output channel * num_branches + branch

    def forward(self, mean: Tensor) -> Tensor:
        """`[B, C]` -> `[num_branches, B, 1, 1, 1, C]`."""
        logits = self.fc2(F.gelu(self.fc1(mean))).unflatten(-1, (-1, self.num_branches))
        weights = logits.softmax(dim=-1).movedim(-1, 0).contiguous()  # products with strided weights are slow
        return weights[:, :, None, None, None]


class SpatialFC(nn.Module):
    """MorphFC_s: vertical, horizontal and channel branches, weighted and summed, then a projection (Sec. 3.1, Fig. 4).

    Args:
        width: channels C.
        chunk_length: L. A chunk may exceed a row: 28 covers two rows of a 14 x 14 map.
        whole_map: the form of stage 4, where a chunk is meant to cover the whole map, so that rows and
            columns are the same and one spatial branch is left.
        channel_branch, weighted_sum: False leaves out the one or the other (Table 9).
    """

    def __init__(
        self,
        width: int,
        chunk_length: int,
        *,
        whole_map: bool = False,
        channel_branch: bool = True,
        weighted_sum: bool = True,
    ):
        super().__init__()
        self.vertical = None if whole_map else self.make_branch(width, chunk_length)
        self.horizontal = self.make_branch(width, chunk_length, strided=whole_map)
        self.channel = nn.Linear(width, width) if channel_branch else None
        num_branches = 1 + (not whole_map) + channel_branch
        # The softmax over a single branch would be 1, whatever its weights.
        self.branch_weights = BranchWeights(width, num_branches) if weighted_sum and num_branches > 1 else None
        self.proj = nn.Linear(width, width)

    @staticmethod
    def make_branch(width: int, chunk_length: int, *, strided: bool = False) -> nn.Module:
        """A spatial branch, over tokens `[..., N, C]`."""
        return ChunkFC(width, chunk_length, strided=strided)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, H, W, C]` -> the same shape."""
        if self.branch_weights is None:
            return self.proj(sum(self.branch_outputs(x)))
        weights = self.branch_weights(self.mean_of_sum(x))
        # The last branch first: a sum lies in memory as its first term does, and the columns lie across.
        *others, last = zip(weights, self._branches(), strict=True)
        total = last[0] * last[1](x)
        for weight, branch in reversed(others):
            total = total + weight * branch(x)
        return self.proj(total)

    def branch_outputs(self, x: Tensor) -> list[Tensor]:
        """The branch outputs in the released order: vertical, horizontal, channel; each `[B, T, H, W, C]`."""
        return [branch(x) for branch in self._branches()]

    def _branches(self) -> list[Callable[[Tensor], Tensor]]:
        def over_columns(x: Tensor) -> Tensor:
            # column-major token order: [B, T, W, H, C]
            return self.mix_rows(self.vertical, x.transpose(2, 3)).transpose(2, 3)  # type: ignore[arg-type]

        def over_rows(x: Tensor) -> Tensor:
            return self.mix_rows(self.horizontal, x)

        spatial = [over_rows] if self.vertical is None else [over_columns, over_rows]
        return spatial if self.channel is None else [*spatial, self.channel]

    def mean_of_sum(self, x: Tensor) -> Tensor:
        """The mean over tokens of the sum of the branches, `[B, T, H, W, C]` -> `[B, C]`: real tokens, no padding."""
        frame = x.mean(dim=1)  # [B, H, W, C]
        mean = self.horizontal.mean_output(frame.flatten(1, 2))  # type: ignore[operator]
        if self.vertical is not None:
            columns = frame.transpose(1, 2).flatten(1, 2)
            mean = mean + self.vertical.mean_output(columns)  # type: ignore[operator]
        return mean if self.channel is None else mean + self.channel(frame.mean(dim=(1, 2)))

    def mix_rows(self, branch: nn.Module, x: Tensor) -> Tensor:
        """One spatial branch over the tokens in row-major order: `[B, T, H, W, C]` -> the same shape."""
        return branch(x.flatten(2, 3)).unflatten(2, x.shape[2:4])


class TemporalFC(nn.Module):
    """MorphFC_t: an FC over all frames of each position (Eq. 2), then a projection.

    Args:
        width: channels C.
        num_steps: temporal tokens a position, T' (half the frames of the clip).
    """

    def __init__(self, width: int, num_steps: int):
        super().__init__()
        self.fc = ChunkFC(width, num_steps)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T', H, W, C]` -> the same shape."""
        over_time = self.fc(x.movedim(1, 3))  # [B, H, W, T', C]
        return self.proj(over_time.movedim(3, 1))


def init_temporal(layer: TemporalFC, how: str) -> None:
    """Start a temporal layer so that its residual branch adds nothing, as `ModelConfig.temporal_init` says.

    released: FC zero, projection all ones. Every column of the projection then gets the same gradient within a
        group, so the FC's rank stays at T' for the first steps.
    zero_proj: FC truncated normal, projection zero: the same start without the symmetry.
    """
    if how == "released":
        nn.init.zeros_(layer.fc.fc.weight)
        nn.init.ones_(layer.proj.weight)
    else:
        nn.init.zeros_(layer.proj.weight)
