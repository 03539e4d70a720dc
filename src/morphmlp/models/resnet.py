"""The CNN style of Table 9: a ResNet-50, or R(2+1)D on video, whose 3 x 3 convolutions are MorphFC_s.

Depths and widths are by default those of the named model; with ResNet-50's own:

    create_model("morphmlp_image_t", style="cnn", depths=(3, 4, 6, 3), widths=(64, 128, 256, 512))
"""

import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.config import ModelConfig
from morphmlp.models.alternatives import TemporalConv, make_spatial
from morphmlp.models.block import DropPath
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.stem import TokenBatchNorm

EXPANSION = 4  # width between the bottlenecks over the width inside them


class MorphResNet(MorphMLP):
    """A ResNet with MorphFC_s; the same input and the same four maps (strides 4 to 32) as `MorphMLP`.

    Its stages halve the map in their first block, so nothing is between them, and no norm before the head.
    """

    def _make_parts(self, config: ModelConfig) -> tuple[nn.Module, nn.ModuleList, nn.ModuleList, nn.Module]:
        drop_path_rates = iter(config.drop_path_rates)
        in_widths = (config.widths[0], *config.map_widths)
        stages = nn.ModuleList(
            nn.ModuleList(
                Bottleneck(
                    config,
                    stage,
                    in_width=config.map_widths[stage] if index else in_widths[stage],
                    stride=2 if stage and not index else 1,
                    drop_path=next(drop_path_rates),
                )
                for index in range(depth)
            )
            for stage, depth in enumerate(config.depths)
        )
        between = nn.ModuleList(nn.Identity() for _ in config.depths[1:])
        return ResNetStem(config.widths[0], temporal=config.temporal), between, stages, nn.Identity()


class ResNetStem(nn.Module):
    """A 7 x 7 convolution and a 3 x 3 max pooling, each of stride 2; over time a kernel and stride as `stem.Stem`."""

    def __init__(self, width: int, *, temporal: bool):
        super().__init__()
        self.conv = nn.Conv3d(
            3,
            width,
            kernel_size=(3 if temporal else 1, 7, 7),
            stride=(2 if temporal else 1, 2, 2),
            padding=(1 if temporal else 0, 3, 3),
            bias=False,
        )
        self.norm = TokenBatchNorm(width)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, clip: Tensor) -> Tensor:
        """`[B, 3, T, H, W]` -> `[B, T', H/4, W/4, C]`, sizes rounded up."""
        x = F.relu(self.norm(self.conv(clip).movedim(1, -1).contiguous()))
        frames = self.pool(x.flatten(0, 1).movedim(-1, 1))  # [B * T', C, H/4, W/4]
        return frames.movedim(1, -1).unflatten(0, x.shape[:2])


class Bottleneck(nn.Module):
    """1 x 1 convolution, MorphFC_s (and a 3-tap convolution over time on video), 1 x 1 convolution; each normalised.

    The stride is in the first 1 x 1 convolution, as in the original ResNet: an FC over chunks has no stride.
    """

    def __init__(self, config: ModelConfig, stage: int, *, in_width: int, stride: int, drop_path: float):
        super().__init__()
        width = config.widths[stage]
        out_width = EXPANSION * width
        self.stride = stride
        self.reduce = nn.Linear(in_width, width, bias=False)
        self.norm1 = TokenBatchNorm(width)
        self.spatial = make_spatial(config, stage)
        self.norm2 = TokenBatchNorm(width)
        self.temporal = TemporalConv(width, 3, starts_at_zero=False) if config.temporal else None
        self.temporal_norm = TokenBatchNorm(width) if config.temporal else None
        self.expand = nn.Linear(width, out_width, bias=False)
        self.norm3 = TokenBatchNorm(out_width)
        self.shortcut = None if in_width == out_width else nn.Linear(in_width, out_width, bias=False)
        self.shortcut_norm = None if in_width == out_width else TokenBatchNorm(out_width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T', H, W, C]` -> `[B, T', H / stride, W / stride, 4 * width]`, sizes rounded up."""
        x = x[:, :, :: self.stride, :: self.stride]
        shortcut = x
        if self.shortcut is not None and self.shortcut_norm is not None:
            shortcut = self.shortcut_norm(self.shortcut(x))
        x = F.relu(self.norm1(self.reduce(x)))
        x = F.relu(self.norm2(self.spatial(x)))
        if self.temporal is not None and self.temporal_norm is not None:
            x = F.relu(self.temporal_norm(self.temporal(x)))
        return F.relu(shortcut + self.drop_path(self.norm3(self.expand(x))))
