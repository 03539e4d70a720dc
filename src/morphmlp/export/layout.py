"""A model whose graph the engines for CPUs compute fastest: another order of the values within a chunk.

The model's own code takes the D channels of a token's group as one run, which PyTorch copies well. OpenVINO and ONNX
Runtime move such short runs value by value, yet have fast kernels for the transpose of a matrix. So the vector of a
chunk is read channel by channel here, `vector[channel * L + slot]`: of a chunk `[L, C]` that is the plain transpose
`[C, L]`, for all groups at once. The FC's weights follow. `docs/speed.md` has the figures.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.models.morphfc import ChunkFC


def for_engines(model: nn.Module) -> Any:
    """A copy of a model, which gives the same outputs; of another model than ours, as it is."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is ChunkFC:
                setattr(module, name, ChannelMajorChunkFC(child))
    return model


class ChannelMajorChunkFC(ChunkFC):
    """A `ChunkFC` whose vectors are channel-major."""

    def __init__(self, layer: ChunkFC):
        nn.Module.__init__(self)
        self.chunk_length, self.group_width, self.strided = layer.chunk_length, layer.group_width, layer.strided
        self.fc = layer.fc  # for the mean of the branches
        # Value channel * L + slot takes the place of slot * D + channel. For L = 3 and D = 2: 0, 2, 4, 1, 3, 5.
        order = torch.arange(layer.fc.in_features).view(self.chunk_length, self.group_width).T.flatten()
        self.weight = nn.Parameter(layer.fc.weight.detach()[order][:, order])
        self.bias = nn.Parameter(layer.fc.bias.detach()[order])

    def mix(self, chunks: Tensor) -> Tensor:
        """`[chunks, L, groups, D]` -> the same shape."""
        matrices = chunks.flatten(2)[:, :, None].permute(0, 3, 1, 2)  # [chunks, groups * D, L, 1]
        mixed = F.linear(
            matrices.reshape(chunks.shape[0], chunks.shape[2], -1), self.weight, self.bias
        )  # [chunks, groups, D * L]
        # [chunks, groups, D, L] -> [chunks, L, groups, D]: in this form, OpenVINO transposes by oneDNN
        return mixed.unflatten(2, (self.group_width, self.chunk_length)).permute(0, 3, 1, 2)
