"""What the paper compares its block and its layers with (Tables 7 to 10), and the choice among them.

To add a layer: its class and its row in a table here, and its name among the allowed ones in `ModelConfig`. Tensors are
channel-last, `[B, T, H, W, C]`, as everywhere. The rows of Table 6 are chunk lengths; the CNN style is `resnet.py`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from morphmlp.config import ModelConfig
from morphmlp.models.block import MLP, Block
from morphmlp.models.branch_mean import mean_of_branches
from morphmlp.models.morphfc import (
    BranchWeights,
    ChunkFC,
    SpatialFC,
    TemporalFC,
    group_width,
    over_columns,
    over_rows,
)

MakeLayer = Callable[[ModelConfig, int], nn.Module]  # of a stage, from 0: `[B, T', H, W, C]` -> the same shape

SPATIAL_LAYERS: dict[str, MakeLayer] = {  # by `ModelConfig.spatial_op` (Table 8)
    "morphfc": lambda config, stage: make_spatial_fc(config, stage),
    "conv3": lambda config, stage: SpatialConv(config.widths[stage], 3),
    "conv7": lambda config, stage: SpatialConv(config.widths[stage], 7),
    "groupconv": lambda config, stage: SpatialGroupConv(**branch_options(config, stage)),
}
TEMPORAL_LAYERS: dict[str, MakeLayer] = {  # by `ModelConfig.temporal_op` (Table 10)
    "morphfc": lambda config, stage: TemporalFC(config.widths[stage], config.num_steps),
    "conv3": lambda config, stage: TemporalConv(config.widths[stage], 3),
    "conv5": lambda config, stage: TemporalConv(config.widths[stage], 5),
}


def make_block(config: ModelConfig, stage: int, *, drop_path: float) -> Block:
    """A block of a stage, from 0, with the layers and the arrangement that the configuration names."""
    width = config.widths[stage]
    published = (config.block, config.order, config.residual) == ("sequential", "ts", "skip")
    kind = Block if published or not config.temporal else partial(RearrangedBlock, config)
    return kind(  # arguments in the order of the random draws
        width,
        temporal=TEMPORAL_LAYERS[config.temporal_op](config, stage) if config.temporal else None,
        spatial=make_spatial(config, stage),
        mlp=MLP(width, config.hidden_width(width)),
        drop_path=drop_path,
    )


def make_spatial(config: ModelConfig, stage: int) -> nn.Module:
    """The spatial layer of a stage, from 0."""
    return SPATIAL_LAYERS[config.spatial_op](config, stage)


def has_branches(config: ModelConfig) -> bool:
    """Whether the spatial layers have the branches of MorphFC_s."""
    with torch.device("meta"):
        return isinstance(make_spatial(config, 0), SpatialFC)


def make_spatial_fc(config: ModelConfig, stage: int) -> SpatialFC:
    """MorphFC_s, whole or without the parts that Table 9 leaves out."""
    options = branch_options(config, stage)
    if options["channel_branch"] and options["weighted_sum"]:
        return SpatialFC(options["width"], options["chunk_length"], whole_map=options["whole_map"])
    return PartialSpatialFC(**options)


def branch_options(config: ModelConfig, stage: int) -> dict[str, Any]:
    """The arguments of `PartialSpatialFC`."""
    return {
        "width": config.widths[stage],
        "chunk_length": config.chunk_lengths[stage],
        "whole_map": stage == len(config.depths) - 1 and config.last_chunk_is_map,
        "channel_branch": "c" in config.branches,
        "weighted_sum": config.weighted_sum,
    }


class RearrangedBlock(Block):
    """The other rows of Table 7: the same layers in another arrangement.

    With the standard residual, y = u + SpatialFC(LN(u)). With order "st" the two layers change places; under the skip
    residual y is then x + TemporalFC(LN(u)), and at the identity start y = x: the spatial layer is not seen, which is
    the row that fails in the table. In parallel, y = x + TemporalFC(LN(x)) + SpatialFC(LN(x)).
    """

    def __init__(self, config: ModelConfig, width: int, **layers: Any):
        super().__init__(width, **layers)
        self.parallel = config.block == "parallel"
        self.temporal_first = config.order == "ts"
        self.skip = config.residual == "skip"

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T', H, W, C]` -> the same shape."""
        y = self._mix_tokens(x)
        return y + self.drop_path(self.mlp(self.mlp_norm(y)))

    def _mix_tokens(self, x: Tensor) -> Tensor:
        if self.parallel:
            return x + self._over_time(x) + self._over_space(x)
        layers = self._over_time, self._over_space
        first, second = layers if self.temporal_first else reversed(layers)
        u = x + first(x)
        return (x if self.skip else u) + second(u)

    def _over_time(self, x: Tensor) -> Tensor:
        assert self.temporal is not None
        return self.temporal(self.temporal_norm(x))

    def _over_space(self, x: Tensor) -> Tensor:
        return self.drop_path(self.spatial(self.spatial_norm(x)))


class PartialSpatialFC(SpatialFC):
    """MorphFC_s without its channel branch, without its weighted sum, or without both (Table 9).

    Args:
        width, chunk_length, whole_map: as of `SpatialFC`.
        channel_branch, weighted_sum: whether there is the one or the other.
    """

    def __init__(
        self, width: int, chunk_length: int, *, channel_branch: bool, weighted_sum: bool, whole_map: bool = False
    ):
        nn.Module.__init__(self)  # not SpatialFC's: what is left out must make no random draws
        self.vertical: Any = None if whole_map else self.make_branch(width, chunk_length)
        self.horizontal = self.make_branch(width, chunk_length, strided=whole_map)
        self.channel = nn.Linear(width, width) if channel_branch else None
        num_branches = 1 + (not whole_map) + channel_branch
        # The softmax over a single branch would be 1, whatever its weights.
        self.branch_weights = BranchWeights(width, num_branches) if weighted_sum and num_branches > 1 else None
        self.proj = nn.Linear(width, width)

    @staticmethod
    def make_branch(width: int, chunk_length: int, *, strided: bool = False) -> Any:
        """A spatial branch, over tokens `[..., N, C]`."""
        return ChunkFC(width, chunk_length, strided=strided)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, H, W, C]` -> the same shape."""
        if self.branch_weights is None:
            return self.proj(sum(self.branch_outputs(x)))
        # As in SpatialFC, where the channel branch is the one that is left out.
        mean = mean_of_branches(x, vertical=self.vertical, horizontal=self.horizontal, channel=None)
        vertical, horizontal = self.branch_weights(mean)
        total = horizontal * over_rows(self.horizontal, x)
        return self.proj(total + vertical * over_columns(self.vertical, x))

    def branch_outputs(self, x: Tensor) -> list[Tensor]:
        """The branch outputs in the released order: vertical, horizontal, channel; each `[B, T, H, W, C]`."""
        columns = [] if self.vertical is None else [self.along_rows(self.vertical, x.transpose(2, 3)).transpose(2, 3)]
        outputs = [*columns, self.along_rows(self.horizontal, x)]
        return outputs if self.channel is None else [*outputs, self.channel(x)]

    def along_rows(self, branch: nn.Module, x: Tensor) -> Tensor:
        """One spatial branch, `[B, T, H, W, C]` -> the same shape."""
        return over_rows(branch, x)


class SpatialGroupConv(PartialSpatialFC):
    """MorphFC_s with group convolutions of 1 x L and L x 1 in place of its two FCs over chunks (Table 8).

    Only this reading gives the table's 23.4 M and 4.0 G: the channel branch and the weighted sum stay, and stage 4
    keeps one spatial branch, whose convolution runs over all tokens of the map in a row.
    """

    @staticmethod
    def make_branch(width: int, chunk_length: int, *, strided: bool = False) -> Any:
        """A spatial branch, over tokens `[..., N, C]`; `strided` only concerns chunks."""
        return GroupConv(width, chunk_length)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, H, W, C]` -> the same shape; a convolution pads, so its mean does not follow from its input's."""
        branches = self.branch_outputs(x)
        if self.branch_weights is not None:
            weights = self.branch_weights(sum(branch.mean(dim=(1, 2, 3)) for branch in branches))
            branches = [weight * branch for weight, branch in zip(weights, branches, strict=True)]
        return self.proj(sum(branches))

    def along_rows(self, branch: nn.Module, x: Tensor) -> Tensor:
        """One spatial branch, `[B, T, H, W, C]` -> the same shape; it does not run from one row into the next."""
        return branch(x) if self.vertical is not None else super().along_rows(branch, x)


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
        # For an even L, one more zero at the end than at the start: as padding="same", which warns of the copy.
        self.sides = ((chunk_length - 1) // 2, chunk_length // 2)

    def forward(self, input: Tensor) -> Tensor:
        """`[..., N, C]` -> the same shape."""
        rows = nn.functional.pad(input.flatten(0, -3).transpose(-2, -1), self.sides)  # [rows, C, N + L - 1]
        return super().forward(rows).transpose(-2, -1).unflatten(0, input.shape[:-2])


class TemporalConv(nn.Module):
    """A k x 1 x 1 convolution over time in place of MorphFC_t, its projection included (Table 10).

    Args:
        starts_at_zero: like MorphFC_t, so that the block begins as an image block. False before a batch normalisation
            and a ReLU: through zeros no gradient would ever pass.
    """

    def __init__(self, width: int, kernel_size: int, *, starts_at_zero: bool = True):
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2)
        if starts_at_zero:
            for parameter in self.conv.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T', H, W, C]` -> the same shape."""
        positions = x.movedim(1, -1).flatten(0, 2)  # [B * H * W, C, T']
        batch, _, height, width, _ = x.shape
        return self.conv(positions).unflatten(0, (batch, height, width)).movedim(-1, 1)
