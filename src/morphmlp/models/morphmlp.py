"""The MorphMLP backbone for video and images (Sec. 3.3, Fig. 7 and 8).

One class serves both: an image model is the same network on one frame, without temporal layers.
"""

from dataclasses import replace
from typing import Any, Self

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from morphmlp.config import ModelConfig
from morphmlp.errors import UserError
from morphmlp.models.alternatives import make_block
from morphmlp.models.block import init_weights
from morphmlp.models.morphfc import TemporalFC, init_temporal
from morphmlp.models.recompute import remaking
from morphmlp.models.stem import Downsample, Stem

MIN_SIZE_PX = 32  # four halvings and more leave one token of a 32 px side


class InputShapeError(UserError):
    """A clip or image does not have the shape that the model was built for."""


class MorphMLP(nn.Module):
    """A classifier over clips `[B, 3, T, H, W]`, or over images `[B, 3, H, W]` when `config.temporal` is False.

    Any height and width from 32 px up; the number of frames is the one the model was built for, because the
    temporal layers hold one weight per frame (Eq. 2).

    Example:
        >>> import torch, morphmlp
        >>> model = morphmlp.create_model("morphmlp_video_nano", num_classes=8, frames=16)
        >>> model(torch.zeros(2, 3, 16, 64, 64)).shape
        torch.Size([2, 8])
    """

    num_frozen_stages: int | None = None  # see `freeze`

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.checkpoint_info: Any = None  # what was loaded with the weights, which `save` writes back
        self.gradient_checkpointing = config.gradient_checkpointing
        self.stem, self.downsamples, self.stages, self.norm = self._make_parts(config)
        self.num_features = config.map_widths[-1]  # channels that the head takes
        self.head: nn.Module = nn.Linear(self.num_features, config.num_classes)
        self.init_weights()

    def _make_parts(self, config: ModelConfig) -> tuple[nn.Module, nn.ModuleList, nn.ModuleList, nn.Module]:
        """Stem, what is between the stages, the stages, and the norm before the head."""
        stem = Stem(config.widths[0], temporal=config.temporal)
        downsamples = nn.ModuleList(
            Downsample(width, out_width) for width, out_width in zip(config.widths, config.widths[1:], strict=False)
        )
        drop_path_rates = iter(config.drop_path_rates)
        stages = nn.ModuleList(
            nn.ModuleList(make_block(config, stage, drop_path=next(drop_path_rates)) for _ in range(depth))
            for stage, depth in enumerate(config.depths)
        )
        return stem, downsamples, stages, nn.LayerNorm(config.widths[-1])

    def init_weights(self) -> None:
        """All initialisation, in one place."""
        self.apply(init_weights)
        for module in self.modules():
            if isinstance(module, TemporalFC):
                init_temporal(module, self.config.temporal_init)

    def freeze(self, num_stages: int) -> None:
        """Takes the stem and the first stages out of training: no gradients, and evaluation mode whatever `train` says.

        So batch normalisation keeps its statistics, and no branch is dropped.
        """
        self.num_frozen_stages = num_stages
        for part in self.frozen_parts():
            part.requires_grad_(False)
        self.train(self.training)

    def frozen_parts(self) -> list[nn.Module]:
        """What `freeze` took out of training."""
        if self.num_frozen_stages is None:
            return []
        num_between = max(self.num_frozen_stages - 1, 0)
        return [self.stem, *self.downsamples[:num_between], *self.stages[: self.num_frozen_stages]]

    def train(self, mode: bool = True) -> Self:
        """As of any module, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for part in self.frozen_parts():
            part.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, T, H, W]` or `[B, 3, H, W]` -> logits `[B, num_classes]`.

        Raises:
            InputShapeError: channels, frames or size are not what the model was built for.
        """
        return self.forward_head(self.forward_features(x)[-1])

    def forward_features(self, x: Tensor, *, num_stages: int | None = None) -> list[Tensor]:
        """The output of the stages, each `[B, T', H_i, W_i, C_i]`: strides 4, 8, 16 and 32, sizes rounded up.

        Args:
            x: as of `forward`.
            num_stages: only the first so many; None runs all four.
        """
        x = self._check_input(x)
        recompute = self.training and self.gradient_checkpointing
        cheap = recompute == "cheap"
        maps = []
        with remaking(cheap):
            x = self.stem(x)
            for stage, blocks in enumerate(self.blocks()[:num_stages]):
                if stage:
                    x = self.downsamples[stage - 1](x)
                for block in blocks:
                    x = checkpoint(block, x, use_reentrant=False) if recompute and not cheap else block(x)
                maps.append(x)
        return maps

    def blocks(self) -> list[list[nn.Module]]:
        """The blocks of each stage."""
        return [list(stage.children()) for stage in self.stages]

    def forward_head(self, x: Tensor) -> Tensor:
        """The last stage's map `[B, T', H, W, C]` -> logits `[B, num_classes]`."""
        return self.head(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """The last stage's map `[B, T', H, W, C]` -> what the head is given, `[B, C]`."""
        return self.norm(x).mean(dim=(1, 2, 3))

    def reset_head(self, num_classes: int) -> None:
        """Replaces the classifier by a fresh one of `num_classes` outputs."""
        self.config = replace(self.config, num_classes=num_classes)
        self.head = nn.Linear(self.num_features, num_classes).to(next(self.parameters()))
        init_weights(self.head)

    def _check_input(self, x: Tensor) -> Tensor:
        """Returns the input as a clip `[B, 3, T, H, W]`."""
        expected = "[B, 3, T, H, W]" if self.config.temporal else "[B, 3, H, W]"
        is_clip = x.dim() == 5 and (self.config.temporal or x.shape[2] == 1)  # an image may come as a clip of one frame
        if not (is_clip or (x.dim() == 4 and not self.config.temporal)) or x.shape[1] != 3:
            raise InputShapeError(f"input of shape {list(x.shape)}: this model takes {expected}")
        clip = x if x.dim() == 5 else x[:, :, None]
        frames, height, width = clip.shape[2:]
        if frames != self.config.frames:
            raise InputShapeError(
                f"a clip of {frames} frames: this model was built for {self.config.frames}, because its temporal "
                f"layers hold weights per frame. Sample {self.config.frames} frames from the video, or build the "
                f"model with frames={frames} and train it"
            )
        if min(height, width) < MIN_SIZE_PX:
            raise InputShapeError(f"frames of {height} x {width} px: each side must be at least {MIN_SIZE_PX} px")
        return clip
