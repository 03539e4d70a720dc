"""A clip becomes tokens: the stem, and the downsampling between the stages (Sec. 3.3)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.models.recompute import remade


class FrameConv(nn.Conv2d):
    """A 3 x 3 convolution of stride 2 on every frame: `[B, T, H, W, C]` -> `[B, T, H/2, W/2, C']`, sizes rounded up."""

    def __init__(self, width: int, out_width: int):
        super().__init__(width, out_width, kernel_size=3, stride=2, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        # [B, T, H, W, C] -> [B * T, C, H, W]: a view, in the channels-last layout that convolutions run fastest in
        frames = super().forward(input.flatten(0, 1).movedim(-1, 1))
        return frames.movedim(1, -1).unflatten(0, input.shape[:2])


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over all tokens of channel-last input, `[..., C]`; equal to the released BatchNorm3d."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(0, -2)).view(input.shape)


class ClipConv(nn.Conv3d):
    """The stem's first convolution, run as a 2-D one over stacked frames: several times faster than in 3-D.

    `[B, 3, T, H, W]` -> `[B, T', H/2, W/2, C]`, sizes rounded up. Over time the kernel takes three frames with a
    stride of two and a zero frame at either end, or, for images, one.
    """

    def __init__(self, out_width: int, *, temporal: bool):
        time = {"kernel": 3, "stride": 2, "padding": 1} if temporal else {"kernel": 1, "stride": 1, "padding": 0}
        super().__init__(
            3,
            out_width,
            kernel_size=(time["kernel"], 3, 3),
            stride=(time["stride"], 2, 2),
            padding=(time["padding"], 1, 1),
        )

    def forward(self, input: Tensor) -> Tensor:
        taps, stride = self.kernel_size[0], self.stride[0]
        num_steps = math.ceil(input.shape[2] / stride)
        frames = input.movedim(2, 1)  # [B, T, 3, H, W]
        if taps > 1:
            frames = F.pad(frames, (0, 0, 0, 0, 0, 0, 1, num_steps * stride - input.shape[2]))
            end = (num_steps - 1) * stride + 1
            frames = torch.cat([frames[:, tap : tap + end : stride] for tap in range(taps)], dim=2)
        weight = self.weight.movedim(2, 1).flatten(1, 2)  # [C, taps * 3, 3, 3], as frames are stacked
        frames = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        maps = F.conv2d(frames, weight, self.bias, stride=self.stride[1:], padding=self.padding[1:])
        return maps.movedim(1, -1).unflatten(0, (input.shape[0], num_steps))


class Stem(nn.Module):
    """Patch embedding: two strided convolutions; 16 frames at 224 px become 8 x 56 x 56 tokens.

    Args:
        width: channels of the first stage, C1.
        temporal: False for images, whose kernel and stride over time are 1.
    """

    def __init__(self, width: int, *, temporal: bool):
        super().__init__()
        self.conv1 = ClipConv(width // 2, temporal=temporal)
        self.norm1 = TokenBatchNorm(width // 2)
        self.conv2 = FrameConv(width // 2, width)
        self.norm2 = TokenBatchNorm(width)

    def forward(self, clip: Tensor) -> Tensor:
        """`[B, 3, T, H, W]` -> `[B, T', H/4, W/4, C1]`, T' = T / 2 for video, sizes rounded up."""
        x = remade(F.gelu, self.norm1(self.conv1(clip).contiguous()))
        return self.norm2(self.conv2(x).contiguous())


class Downsample(nn.Module):
    """Patch embedding between stages: halves height and width, then LayerNorm."""

    def __init__(self, width: int, out_width: int):
        super().__init__()
        self.conv = FrameConv(width, out_width)
        self.norm = nn.LayerNorm(out_width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, H, W, C]` -> `[B, T, H/2, W/2, C']`, sizes rounded up."""
        return self.norm(self.conv(x))
