"""The paper's equations, transcribed naively: the oracle for `morphmlp.models`.

Everything is a plain function of a tensor and a dictionary of weights under the released names. Nothing of the package
is used. The style is that of the released code (reshape, permute, FC, permute back), slow and one step a line.

    B clips, T frames (tokens over time), H x W tokens a frame, N = H * W, C channels,
    L tokens a chunk, M chunks, D channels a group, S groups (S * D = C)
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def network(clip: Tensor, weights: Weights, chunk_lengths: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
    """The whole network in evaluation mode: the four stage maps `[B, T', H_i, W_i, C_i]` and the logits."""
    x = stem(clip, weights)
    maps = []
    for stage, chunk_length in enumerate(chunk_lengths, start=1):
        if stage > 1:
            x = downsample(x, weights, f"patch_embed{stage}")
        index = 0
        while f"blocks{stage}.{index}.norm1.weight" in weights:
            x = block(x, weights, f"blocks{stage}.{index}", chunk_length)
            index += 1
        maps.append(x)
    x = layer_norm(x, weights, "norm")
    num_tokens = x.shape[1] * x.shape[2] * x.shape[3]
    x = x.sum(dim=(1, 2, 3)) / num_tokens  # [B, C]
    return maps, linear(x, weights, "head")


def stem(clip: Tensor, weights: Weights) -> Tensor:
    """`[B, 3, T, H, W]` -> `[B, T', H/4, W/4, C1]`: convolution, norm, GELU, convolution, norm."""
    kernel = weights["patch_embed1.proj1.weight"]  # [C1/2, 3, 3, 3, 3], or 1 over time for images
    time = kernel.shape[2]
    stride = (2 if time == 3 else 1, 2, 2)
    x = F.conv3d(clip, kernel, weights["patch_embed1.proj1.bias"], stride=stride, padding=(time // 2, 1, 1))
    x = gelu(batch_norm(x, weights, "patch_embed1.norm1"))
    x = spatial_convolution(x, weights, "patch_embed1.proj2")
    x = batch_norm(x, weights, "patch_embed1.norm2")
    return x.permute(0, 2, 3, 4, 1)  # [B, C, T, H, W] -> [B, T, H, W, C]


def downsample(x: Tensor, weights: Weights, name: str) -> Tensor:
    """`[B, T, H, W, C]` -> `[B, T, H/2, W/2, C']`: 1 x 3 x 3 convolution of stride 2, LayerNorm."""
    x = x.permute(0, 4, 1, 2, 3)  # [B, T, H, W, C] -> [B, C, T, H, W]
    x = spatial_convolution(x, weights, f"{name}.proj")
    x = x.permute(0, 2, 3, 4, 1)  # [B, C, T, H, W] -> [B, T, H, W, C]
    return layer_norm(x, weights, f"{name}.norm")


def block(x: Tensor, weights: Weights, name: str, chunk_length: int) -> Tensor:
    """Fig. 7: the temporal layer where there is one, the spatial layer with the skip residual from x, the MLP."""
    mixed = x
    if f"{name}.t_fc.mlp_t.weight" in weights:
        mixed = x + temporal_fc(layer_norm(x, weights, f"{name}.t_norm1"), weights, f"{name}.t_fc")
    x = x + spatial_fc(layer_norm(mixed, weights, f"{name}.norm1"), weights, f"{name}.fc", chunk_length)
    hidden = gelu(linear(layer_norm(x, weights, f"{name}.norm2"), weights, f"{name}.mlp.fc1"))
    return x + linear(hidden, weights, f"{name}.mlp.fc2")


def spatial_fc(x: Tensor, weights: Weights, name: str, chunk_length: int) -> Tensor:
    """Eq. 1 with the weighted sum, `[B, T, H, W, C]` -> the same shape; stage 4 has no `mlp_w`."""
    batch, frames, height, width, channels = x.shape
    fc_h = weights[f"{name}.mlp_h.weight"], weights[f"{name}.mlp_h.bias"]
    if f"{name}.mlp_w.weight" in weights:
        fc_w = weights[f"{name}.mlp_w.weight"], weights[f"{name}.mlp_w.bias"]
        # column-major tokens: [B, T, H, W, C] -> [B, T, W, H, C] -> [B, T, N, C] and back
        columns = x.permute(0, 1, 3, 2, 4).reshape(batch, frames, width * height, channels)
        columns = chunked_fc(columns, *fc_h, chunk_length, strided=False)
        vertical = columns.reshape(batch, frames, width, height, channels).permute(0, 1, 3, 2, 4)
        # row-major tokens: [B, T, H, W, C] -> [B, T, N, C] and back
        rows = x.reshape(batch, frames, height * width, channels)
        rows = chunked_fc(rows, *fc_w, chunk_length, strided=False)
        horizontal = rows.reshape(batch, frames, height, width, channels)
        branches = [vertical, horizontal]
    else:
        tokens = x.reshape(batch, frames, height * width, channels)
        tokens = chunked_fc(tokens, *fc_h, chunk_length, strided=True)
        branches = [tokens.reshape(batch, frames, height, width, channels)]
    branches.append(linear(x, weights, f"{name}.mlp_c"))
    return linear(weighted_sum(branches, weights, f"{name}.reweight"), weights, f"{name}.proj")


def weighted_sum(branches: list[Tensor], weights: Weights, name: str) -> Tensor:
    """The branches `[B, T, H, W, C]`, each times a weight by clip and channel; the weights sum to 1."""
    batch, frames, height, width, channels = branches[0].shape
    total = branches[0]
    for branch in branches[1:]:
        total = total + branch
    mean = total.sum(dim=(1, 2, 3)) / (frames * height * width)  # [B, C]
    scores = linear(gelu(linear(mean, weights, f"{name}.fc1")), weights, f"{name}.fc2")  # [B, C * branches]
    scores = scores.reshape(batch, channels, len(branches))  # output branches * channel + branch
    shares = scores.exp() / scores.exp().sum(dim=2, keepdim=True)
    result = torch.zeros_like(total)
    for index, branch in enumerate(branches):
        result = result + branch * shares[:, :, index].reshape(batch, 1, 1, 1, channels)
    return result


def temporal_fc(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Eq. 2, `[B, T, H, W, C]` -> the same shape: every position's T tokens are one chunk."""
    batch, frames, height, width, channels = x.shape
    matrix, bias = weights[f"{name}.mlp_t.weight"], weights[f"{name}.mlp_t.bias"]
    depth = matrix.shape[0] // frames  # D
    x = x.reshape(batch, frames, height * width, channels // depth, depth)
    x = x.permute(0, 2, 3, 1, 4)  # [B, T, N, S, D] -> [B, N, S, T, D]
    x = x.reshape(batch, height * width, channels // depth, frames * depth)
    x = x @ matrix.T + bias
    x = x.reshape(batch, height * width, channels // depth, frames, depth)
    x = x.permute(0, 3, 1, 2, 4)  # [B, N, S, T, D] -> [B, T, N, S, D]
    x = x.reshape(batch, frames, height, width, channels)
    return linear(x, weights, f"{name}.proj")


def chunked_fc(tokens: Tensor, matrix: Tensor, bias: Tensor, chunk_length: int, *, strided: bool) -> Tensor:
    """`[B, T, N, C]` -> the same shape, zeros appended up to M * L tokens; one FC for all chunks and groups."""
    batch, frames, num_tokens, channels = tokens.shape
    num_chunks = math.ceil(num_tokens / chunk_length)  # M
    depth = matrix.shape[0] // chunk_length  # D
    groups = channels // depth  # S
    padding = tokens.new_zeros(batch, frames, num_chunks * chunk_length - num_tokens, channels)
    x = torch.cat([tokens, padding], dim=2)
    if strided:  # token slot * M + chunk
        x = x.reshape(batch, frames, chunk_length, num_chunks, groups, depth)
        x = x.permute(0, 1, 3, 4, 2, 5)  # [B, T, L, M, S, D] -> [B, T, M, S, L, D]
    else:  # token chunk * L + slot
        x = x.reshape(batch, frames, num_chunks, chunk_length, groups, depth)
        x = x.permute(0, 1, 2, 4, 3, 5)  # [B, T, M, L, S, D] -> [B, T, M, S, L, D]
    x = x.reshape(batch, frames, num_chunks, groups, chunk_length * depth)
    x = x @ matrix.T + bias
    x = x.reshape(batch, frames, num_chunks, groups, chunk_length, depth)
    # [B, T, M, S, L, D] -> [B, T, L, M, S, D] or [B, T, M, L, S, D]
    x = x.permute(0, 1, 4, 2, 3, 5) if strided else x.permute(0, 1, 2, 4, 3, 5)
    x = x.reshape(batch, frames, num_chunks * chunk_length, channels)
    return x[:, :, :num_tokens]


def chunked_fc_without_padding(
    tokens: Tensor, matrix: Tensor, bias: Tensor, chunk_length: int, *, strided: bool
) -> Tensor:
    """The same as :func:`chunked_fc` without any padding: a partial chunk uses the rows and columns that it fills.

    For L = 4, D = 2 and a last chunk of the slots 0, 1, 2 these are the rows and columns 0 to 5 of the 8 x 8 matrix.
    """
    num_tokens, channels = tokens.shape[2:]
    num_chunks = math.ceil(num_tokens / chunk_length)  # M
    depth = matrix.shape[0] // chunk_length  # D
    result = torch.full_like(tokens, math.nan)
    for chunk in range(num_chunks):
        if strided:
            members = [chunk + slot * num_chunks for slot in range(chunk_length)]
        else:
            members = [chunk * chunk_length + slot for slot in range(chunk_length)]
        members = [token for token in members if token < num_tokens]  # the first slots of the chunk
        filled = len(members) * depth
        for first in range(0, channels, depth):  # first channel of the group
            vector = torch.cat([tokens[:, :, token, first : first + depth] for token in members], dim=-1)
            vector = vector @ matrix[:filled, :filled].T + bias[:filled]
            for slot, token in enumerate(members):
                result[:, :, token, first : first + depth] = vector[..., slot * depth : (slot + 1) * depth]
    return result


def convolution(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Table 8, `[B, T, H, W, C]` with a kernel `[C', C, k, k]` -> `[B, T, H, W, C']`: zeros beyond the edges."""
    height, width = x.shape[2:4]
    reach = kernel.shape[-1] // 2
    result = bias.expand(*x.shape[:-1], -1).clone()
    for row in range(height):
        for column in range(width):
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    if 0 <= row + down < height and 0 <= column + right < width:
                        tap = kernel[:, :, down + reach, right + reach]
                        result[:, :, row, column] += x[:, :, row + down, column + right] @ tap.T
    return result


def group_convolution(tokens: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """`[..., N, C]` with a kernel `[C, D, L]` -> `[..., N, C]`: group by group of D channels, zeros beyond the ends.

    Token n reads the tokens n - (L - 1) // 2 to n + L // 2. With D = C it is a plain convolution.
    """
    num_tokens, channels = tokens.shape[-2:]
    depth, length = kernel.shape[1:]
    result = bias.expand(*tokens.shape[:-1], -1).clone()
    for token in range(num_tokens):
        for slot in range(length):
            source = token - (length - 1) // 2 + slot
            if not 0 <= source < num_tokens:
                continue
            for first in range(0, channels, depth):  # first channel of the group
                group = slice(first, first + depth)
                result[..., token, group] += tokens[..., source, group] @ kernel[group, :, slot].T
    return result


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def layer_norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    centered = x - x.mean(dim=-1, keepdim=True)
    deviation = (centered.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return centered / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def batch_norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    """`[B, C, T, H, W]`, by the running statistics."""

    def by_channel(which: str) -> Tensor:
        return weights[f"{name}.{which}"].reshape(1, -1, 1, 1, 1)

    normal = (x - by_channel("running_mean")) / (by_channel("running_var") + 1e-5).sqrt()
    return normal * by_channel("weight") + by_channel("bias")


def spatial_convolution(x: Tensor, weights: Weights, name: str) -> Tensor:
    """`[B, C, T, H, W]` -> `[B, C', T, H/2, W/2]`; kernel `[C', C, 1, 3, 3]`, or `[C', C, 3, 3]` in our modules."""
    kernel = weights[f"{name}.weight"]
    if kernel.dim() == 4:
        kernel = kernel.unsqueeze(2)
    return F.conv3d(x, kernel, weights[f"{name}.bias"], stride=(1, 2, 2), padding=(0, 1, 1))
