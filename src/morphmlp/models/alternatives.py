"""What the paper compares its layers with: the operations of Tables 8 and 10, which `Block` takes in their place.

Tensors are channel-last, `[B, T, H, W, C]`, as everywhere. Table 6 and the other rows of Table 9 are options of
`SpatialFC`, Table 7 those of `Block`, and the CNN style is `resnet.py`.
"""

from torch import Tensor, nn

from morphmlp.config import ModelConfig
from morphmlp.models.morphfc import SpatialFC, TemporalFC, group_width

KERNEL_SIZES = {"conv3": 3, "conv5": 5, "conv7": 7}


def make_spatial(config: ModelConfig, stage: int) -> nn.Module:
    """The spatial layer of a stage's blocks, `[B, T, H, W, C]` -> the same shape, by `spatial_op` (Table 8)."""
    width = config.widths[stage]
    if config.spatial_op in KERNEL_SIZES:
        return SpatialConv(width, KERNEL_SIZES[config.spatial_op])
    layer = SpatialGroupConv if config.spatial_op == "groupconv" else SpatialFC
    return layer(
        width,
        config.chunk_lengths[stage],
        whole_map=stage == len(config.depths) - 1 and config.last_chunk_is_map,
        channel_branch="c" in config.branches,
        weighted_sum=config.weighted_sum,
    )


def make_temporal(config: ModelConfig, width: int) -> nn.Module:
    """The temporal layer of a block, `[B, T', H, W, C]` -> the same shape, by `temporal_op` (Table 10)."""
    if config.temporal_op in KERNEL_SIZES:
        return TemporalConv(width, KERNEL_SIZES[config.temporal_op])
    return TemporalFC(width, config.num_steps)


class SpatialConv(nn.Module):
    """A k x k convolution in place of the branches and their weighted sum; the projection stays (Table 8)."""

    def __init__(self, width: int, kernel_size: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel_size, padding=kernel_size // 2)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, H, W, C]` -> the same shape."""
        frames = self.conv(x.flatten(0, 1).movedim(-1, 1))  # [B * T, C, H, W]
        return self.proj(frames.movedim(1, -1).unflatten(0, x.shape[:2]))


class GroupConv(nn.Conv1d):
    """A convolution of L taps along tokens `[..., N, C]`, in groups of as many channels as ChunkFC's.

    Where L divides C there are L groups, and as many weights as in the FC over a chunk (Table 8).
    """

    def __init__(self, width: int, chunk_length: int):
        groups = width // group_width(width, chunk_length)
        super().__init__(width, width, chunk_length, groups=groups)
        # One more zero at the end than at the start where L is even, as padding="same" has it, which warns of the copy.
        self.sides = ((chunk_length - 1) // 2, chunk_length // 2)

    def forward(self, input: Tensor) -> Tensor:
        """`[..., N, C]` -> the same shape."""
        rows = nn.functional.pad(input.flatten(0, -3).transpose(-2, -1), self.sides)  # [rows, C, N + L - 1]
        return super().forward(rows).transpose(-2, -1).unflatten(0, input.shape[:-2])


class SpatialGroupConv(SpatialFC):
    """MorphFC_s with group convolutions of 1 x L and L x 1 in place of its two FCs over chunks (Table 8).

    Only this reading gives the table's 23.4 M and 4.0 G: the channel branch and the weighted sum stay, and stage 4
    keeps one spatial branch, whose convolution runs over all tokens of the map in a row.
    """

    def __init__(self, width: int, chunk_length: int, *, whole_map: bool = False, **options: bool):
        super().__init__(width, chunk_length, whole_map=whole_map, **options)
        self.whole_map = whole_map

    @staticmethod
    def make_branch(width: int, chunk_length: int, *, strided: bool = False) -> nn.Module:
        """A branch over the tokens of a row; `strided` is a matter of chunks."""
        return GroupConv(width, chunk_length)

    def mix_rows(self, branch: nn.Module, x: Tensor) -> Tensor:
        """One spatial branch, `[B, T, H, W, C]` -> the same shape; a convolution does not run from row to row."""
        return super().mix_rows(branch, x) if self.whole_map else branch(x)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, H, W, C]` -> the same shape. What a convolution does at the ends has a mean of its own."""
        branches = self.branch_outputs(x)
        if self.branch_weights is not None:
            weights = self.branch_weights(sum(branch.mean(dim=(1, 2, 3)) for branch in branches))
            branches = [weight * branch for weight, branch in zip(weights, branches, strict=True)]
        return self.proj(sum(branches))


class TemporalConv(nn.Module):
    """A k x 1 x 1 convolution over time in place of MorphFC_t, its projection included (Table 10).

    Args:
        starts_at_zero: like MorphFC_t, so that the block begins as an image block; not in front of a batch
            normalisation and a ReLU, which zeros would pass no gradient through, ever.
    """

    def __init__(self, width: int, kernel_size: int, *, starts_at_zero: bool = True):
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2)
        if starts_at_zero:
            nn.init.zeros_(self.conv.weight)
            nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T', H, W, C]` -> the same shape."""
        positions = x.movedim(1, -1).flatten(0, 2)  # [B * H * W, C, T']
        batch, _, height, width, _ = x.shape
        return self.conv(positions).unflatten(0, (batch, height, width)).movedim(-1, 1)
