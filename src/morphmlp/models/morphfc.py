"""The layers of the paper: MorphFC_s (Sec. 3.1, Eq. 1) and MorphFC_t (Sec. 3.2, Eq. 2).

Tensors are channel-last, `[B, T, H, W, C]`.

Both equations are the same operation, an FC over chunks of tokens (:class:`ChunkFC`). MorphFC_s cuts the tokens of a
frame into chunks along rows and along columns; MorphFC_t takes the tokens of one position over all frames as a single
chunk.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.models.branch_mean import mean_of_branches
from morphmlp.models.recompute import remade


class SpatialFC(nn.Module):
    """MorphFC_s: vertical, horizontal and channel branches, weighted and summed, then a projection (Sec. 3.1, Fig. 4).

    Args:
        width: channels C.
        chunk_length: L. A chunk may exceed a row: 28 covers two rows of a 14 x 14 map.
        whole_map: the form of stage 4. There a chunk is meant to cover the whole map, so rows and columns are the same,
            and one spatial branch is left.
    """

    def __init__(self, width: int, chunk_length: int, *, whole_map: bool = False):
        super().__init__()
        self.vertical = None if whole_map else ChunkFC(width, chunk_length)
        self.horizontal = ChunkFC(width, chunk_length, strided=whole_map)
        self.channel = nn.Linear(width, width)
        self.branch_weights = BranchWeights(width, num_branches=2 if whole_map else 3)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, H, W, C]` -> the same shape."""
        mean = mean_of_branches(x, vertical=self.vertical, horizontal=self.horizontal, channel=self.channel)
        weights = self.branch_weights(mean)  # in the released order: vertical, horizontal, channel
        # The channel branch first: a sum gets the memory layout of its first term, and that of columns is slow.
        total = weights[-1] * self.channel(x)
        total = total + weights[-2] * over_rows(self.horizontal, x)
        if self.vertical is not None:
            total = total + weights[0] * over_columns(self.vertical, x)
        return self.proj(total)


def over_rows(branch: nn.Module, x: Tensor) -> Tensor:
    """A layer of tokens `[..., N, C]` over a frame's tokens, row by row: `[B, T, H, W, C]` -> the same shape."""
    return branch(x.flatten(2, 3)).unflatten(2, x.shape[2:4])


def over_columns(branch: nn.Module, x: Tensor) -> Tensor:
    """The same, column by column."""
    if isinstance(branch, ChunkFC) and branch.cuts_alike(x.shape[2]):
        return branch(x, dim=2)
    return over_rows(branch, x.transpose(2, 3)).transpose(2, 3)  # tokens of [B, T, W, H, C]


class BranchWeights(nn.Module):
    """Softmax weights of the branches by clip and channel, from the mean of their sum (weighted sum, Table 9)."""

    def __init__(self, width: int, num_branches: int):
        super().__init__()
        self.num_branches = num_branches
        self.fc1 = nn.Linear(width, width // 4)
        self.fc2 = nn.Linear(width // 4, width * num_branches)  # output channel * num_branches + branch

    def forward(self, mean: Tensor) -> list[Tensor]:
        """`[B, C]` -> a weight `[B, 1, 1, 1, C]` for each branch."""
        logits = self.fc2(F.gelu(self.fc1(mean))).unflatten(-1, (-1, self.num_branches))
        weights = logits.softmax(dim=-1).unbind(-1)
        return [weight.contiguous()[:, None, None, None] for weight in weights]  # products with strided ones are slow


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
        return self.proj(self.fc(x, dim=1))


def init_temporal(layer: TemporalFC, how: str) -> None:
    """Starts a temporal layer with an output of zero, in the way that `ModelConfig.temporal_init` names.

    released: FC zero, projection all ones. Every column of the projection then gets the same gradient within a
        group, so the FC's rank stays at T' for the first steps.
    zero_proj: FC truncated normal, projection zero: the same start without the symmetry.
    """
    if how == "released":
        nn.init.zeros_(layer.fc.fc.weight)
        nn.init.ones_(layer.proj.weight)
    else:
        nn.init.zeros_(layer.proj.weight)


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

    def forward(self, x: Tensor, dim: int = -2) -> Tensor:
        """Over the tokens of one axis, and for each place of the others apart: `[..., N, ..., C]` -> the same shape.

        Args:
            dim: the axis of the N tokens, for example 1 of `[B, T', H, W, C]` for the frames of each position.
        """
        num_tokens = x.shape[dim]
        num_chunks = math.ceil(num_tokens / self.chunk_length)  # M
        tokens = padded(x, dim, num_chunks * self.chunk_length)
        num_inner = math.prod(x.shape[dim:][1:-1]) * (x.shape[-1] // self.group_width)  # the other places, and groups
        # Chunks of consecutive tokens lie one after the other; strided ones lie side by side, as the groups do.
        # Columns of [2, 8, 56, 56, 112], dim=2, with L = 14 and D = 8: M = 4, 2 * 8 * 4 chunks, 56 * 14 groups in each.
        outer, inner = (1, num_chunks * num_inner) if self.strided else (num_chunks, num_inner)
        chunks = tokens.reshape(math.prod(x.shape[:dim]) * outer, self.chunk_length, inner, self.group_width)
        return self.mix(chunks).reshape(tokens.shape).narrow(dim, 0, num_tokens)

    def mix(self, chunks: Tensor) -> Tensor:
        """The FC over the L tokens of each chunk, `[chunks, L, groups, D]` -> the same shape."""
        vectors = remade(lambda chunks: chunks.transpose(1, 2).flatten(2), chunks)  # [chunks, groups, L * D]
        return self.fc(vectors).unflatten(2, (self.chunk_length, self.group_width)).transpose(1, 2)

    def cuts_alike(self, num_tokens: int) -> bool:
        """Whether rows or columns of so many tokens, one after the other, are all cut at the same places.

        14 cuts columns of 56 tokens alike; 28 cuts those of 14 only at every second end.
        """
        return not self.strided and num_tokens % self.chunk_length == 0


def padded(x: Tensor, dim: int, num_tokens: int) -> Tensor:
    """Zeros appended along an axis up to so many tokens."""
    missing = num_tokens - x.shape[dim]
    return F.pad(x, (0, 0) * (x.dim() - 1 - dim % x.dim()) + (0, missing)) if missing else x


def group_width(width: int, chunk_length: int) -> int:
    """Channels D of a group: the smallest divisor of C with L * D >= C.

    Where L divides C this is the paper's D = C / L; the released temporal layers follow it as well.

    >>> group_width(112, 14), group_width(392, 16), group_width(84, 56)
    (8, 28, 2)
    """
    return next(d for d in range(1, width + 1) if width % d == 0 and chunk_length * d >= width)
