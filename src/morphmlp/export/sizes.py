"""A model whose graph holds for every height and width: `--dynamic-size`.

The model's own code asks a size whether chunks need padding, and a graph keeps the answer for the size that it was
made with. Here the padding is arithmetic: -N % L zeros, which may be none. The branch weights come from the mean of the
branches themselves, as Eq. 1 and Table 9 say it, because what `branch_mean` cuts depends on the size as well.
"""

import copy
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.models.morphfc import ChunkFC, SpatialFC, over_columns, over_rows


def for_any_size(model: nn.Module) -> Any:
    """A copy of a model, which gives the same outputs."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is SpatialFC:
                setattr(module, name, AnySizeSpatialFC(child))
    return model


class AnySizeSpatialFC(nn.Module):
    """MorphFC_s for maps of every size."""

    def __init__(self, layer: SpatialFC):
        super().__init__()
        self.vertical = None if layer.vertical is None else AnySizeChunkFC(layer.vertical)
        self.horizontal = AnySizeChunkFC(layer.horizontal)
        self.channel, self.branch_weights, self.proj = layer.channel, layer.branch_weights, layer.proj

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, H, W, C]` -> the same shape."""
        branches = [over_rows(self.horizontal, x), self.channel(x)]
        if self.vertical is not None:
            branches.insert(0, over_columns(self.vertical, x))
        total = sum(branches[1:], branches[0])
        weights = self.branch_weights(total.mean(dim=(1, 2, 3)))
        return self.proj(sum(w * b for w, b in zip(weights[1:], branches[1:], strict=True)) + weights[0] * branches[0])


class AnySizeChunkFC(nn.Module):
    """A `ChunkFC` whose padding is computed: for N = 14 tokens and L = 4, -14 % 4 = 2 zeros make M = 4 chunks."""

    def __init__(self, layer: ChunkFC):
        super().__init__()
        self.fc, self.strided = layer.fc, layer.strided
        self.chunk_length, self.group_width = layer.chunk_length, layer.group_width

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., N, C]` -> `[..., N, C]`."""
        num_tokens = tokens.shape[-2]
        padded = F.pad(tokens, (0, 0, 0, -num_tokens % self.chunk_length)).unflatten(-1, (-1, self.group_width))
        if self.strided:
            chunks = padded.unflatten(-3, (self.chunk_length, -1)).movedim(-4, -2)
        else:
            chunks = padded.unflatten(-3, (-1, self.chunk_length)).transpose(-3, -2)
        vectors = self.fc(chunks.flatten(-2))  # [..., M, groups, L * D]
        chunks = vectors.unflatten(-1, (self.chunk_length, self.group_width))
        tokens = chunks.movedim(-2, -4) if self.strided else chunks.transpose(-3, -2)
        return tokens.flatten(-2).flatten(-3, -2)[..., :num_tokens, :]
