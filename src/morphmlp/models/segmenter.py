"""Semantic segmentation (Sec. 4.4, Table 5): the image backbone under a Semantic FPN.

Kirillov et al., "Panoptic Feature Pyramid Networks" (CVPR 2019), in the arrangement that PVT's experiments use and the
paper follows: the four stage maps go in as they are, without a norm. What has a bias or a batch norm is as in
mmsegmentation, where the paper's code lives: biases in the pyramid, batch norm in the scale heads.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.config import ModelConfig
from morphmlp.models.morphmlp import MorphMLP

DROPOUT = 0.1  # of whole channels, before the last convolution


class Segmenter(MorphMLP):
    """A backbone with a Semantic FPN in place of norm and head: images `[B, 3, H, W]` -> logits of every pixel.

    Stem, stages and what is between them have the classifier's state-dict names, so its weights fit.

    Example:
        >>> import torch, morphmlp
        >>> model = morphmlp.create_segmenter("morphmlp_image_nano", num_classes=11)
        >>> model(torch.zeros(2, 3, 97, 130)).shape
        torch.Size([2, 11, 97, 130])
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.norm = nn.Identity()
        self.head = SemanticFPN(config.map_widths, config.decoder_width, config.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, H, W]` -> logits `[B, num_classes, H, W]`, for any height and width from 32 px up.

        Raises:
            InputShapeError: channels or size are not what the model was built for.
        """
        return resized(self.head(self.forward_features(x)), x)

    def reset_head(self, num_classes: int) -> None:
        """Replaces the last convolution by a fresh one of `num_classes` outputs; the pyramid stays."""
        self.config = replace(self.config, num_classes=num_classes)
        assert isinstance(self.head, SemanticFPN)
        self.head.reset_classifier(num_classes)


class SemanticFPN(nn.Module):
    """From the maps of strides 4 to 32 to logits at stride 4.

    A pyramid gives every level the same width and adds to it what the coarser levels have seen. Then a scale head
    brings each level to stride 4: one convolution for strides 4 and 8, two for 16, three for 32, with an upsampling
    after each but that of stride 4. Their sum is classified.

    Args:
        map_widths: channels of the four maps, finest first.
        width: channels of the pyramid; the scale heads have half as many.
    """

    def __init__(self, map_widths: Sequence[int], width: int, num_classes: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(map_width, width, 1) for map_width in map_widths)
        self.output = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in map_widths)
        self.scale_heads = nn.ModuleList(_scale_head(width, max(level, 1)) for level in range(len(map_widths)))
        self.dropout = nn.Dropout2d(DROPOUT)
        self.classifier = nn.Conv2d(width // 2, num_classes, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier uniform for the pyramid, Kaiming normal before each ReLU, normal 0.01 for the classifier; zero biases.

        These are the starts that the original's code bases give these layers.
        """
        for conv in [*self.lateral, *self.output]:
            nn.init.xavier_uniform_(conv.get_parameter("weight"))
            nn.init.zeros_(conv.get_parameter("bias"))
        for module in self.scale_heads.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _init_classifier(self.classifier)

    def reset_classifier(self, num_classes: int) -> None:
        """A fresh last convolution, on the device and in the dtype of the former one."""
        former = self.classifier
        self.classifier = nn.Conv2d(former.in_channels, num_classes, 1).to(former.weight)
        _init_classifier(self.classifier)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps `[B, 1, H_i, W_i, C_i]`, finest first -> logits `[B, num_classes, H_1, W_1]`."""
        pyramid = self._pyramid(maps)
        total = self._at_finest_size(pyramid, 0)
        for level in range(1, len(pyramid)):
            total = total + self._at_finest_size(pyramid, level)
        return self.classifier(self.dropout(total))

    def _pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """`[B, width, H_i, W_i]` of each level: its own map and, from the top down, the coarser levels."""
        # [B, 1, H, W, C] -> [B, C, H, W]: a view in the channels-last layout
        levels = [conv(x[:, 0].movedim(-1, 1)) for conv, x in zip(self.lateral, maps, strict=True)]
        for finer in range(len(levels) - 2, -1, -1):
            levels[finer] = levels[finer] + resized(levels[finer + 1], levels[finer], mode="nearest")
        return [conv(level) for conv, level in zip(self.output, levels, strict=True)]

    def _at_finest_size(self, pyramid: list[Tensor], level: int) -> Tensor:
        """A level's scale head: to the exact size of each finer level in turn, as maps of odd sides do not double."""
        x = pyramid[level]
        finer_levels = reversed(pyramid[:level] or [x])  # stride 4 has a convolution too, and keeps its size
        for conv, finer in zip(self.scale_heads[level].children(), finer_levels, strict=True):
            x = resized(conv(x), finer)
        return x


def _scale_head(width: int, num_convs: int) -> nn.ModuleList:
    """3 x 3 convolutions with batch norm and ReLU, from the pyramid's width to half of it."""
    half = width // 2
    in_widths = [width] + [half] * (num_convs - 1)
    return nn.ModuleList(
        nn.Sequential(nn.Conv2d(in_width, half, 3, padding=1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        for in_width in in_widths
    )


def _init_classifier(conv: nn.Conv2d) -> None:
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.get_parameter("bias"))


def resized(x: Tensor, like: Tensor, *, mode: str = "bilinear") -> Tensor:
    """`[B, C, h, w]` at the height and width of another tensor, `[..., H, W]`; bilinear without aligned corners."""
    size = like.shape[-2:]
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode=mode, align_corners=False if mode == "bilinear" else None)
