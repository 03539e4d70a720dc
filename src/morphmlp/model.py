"""The MorphMLP backbone for video and images (Sec. 3.3, Fig. 7 and 8).

One class serves both: an image model is the same network on one frame, without temporal layers.
"""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from morphmlp.config import ModelConfig
from morphmlp.errors import UserError
from morphmlp.layers import MLP, Downsample, DropPath, SpatialFC, Stem, TemporalFC, init_temporal, init_weights

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

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.checkpoint_info: Any = None  # what `checkpoints.load` found beside the weights, for `save` to write back
        self.gradient_checkpointing = config.gradient_checkpointing
        self.stem = Stem(config.widths[0], temporal=config.temporal)
        self.downsamples = nn.ModuleList(
            Downsample(width, out_width) for width, out_width in zip(config.widths, config.widths[1:], strict=False)
        )
        num_blocks = sum(config.depths)
        drop_path_rates = iter([config.drop_path * i / max(num_blocks - 1, 1) for i in range(num_blocks)])
        self.stages = nn.ModuleList(
            nn.ModuleList(
                Block(
                    width,
                    chunk_length,
                    whole_map=stage == len(config.depths) - 1,
                    num_steps=config.num_steps if config.temporal else None,
                    hidden_width=config.hidden_width(width),
                    drop_path=next(drop_path_rates),
                )
                for _ in range(depth)
            )
            for stage, (depth, width, chunk_length) in enumerate(
                zip(config.depths, config.widths, config.chunk_lengths, strict=True)
            )
        )
        self.norm = nn.LayerNorm(config.widths[-1])
        self.head = nn.Linear(config.widths[-1], config.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """All initialisation, in one place."""
        self.apply(init_weights)
        for module in self.modules():
            if isinstance(module, TemporalFC):
                init_temporal(module, self.config.temporal_init)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, T, H, W]` or `[B, 3, H, W]` -> logits `[B, num_classes]`.

        Raises:
            InputShapeError: channels, frames or size are not what the model was built for.
        """
        return self.forward_head(self.forward_features(x)[-1])

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """The output of the four stages, each `[B, T', H_i, W_i, C_i]`: strides 4, 8, 16 and 32, sizes rounded up."""
        x = self.stem(self._check_input(x))
        maps = []
        for stage, blocks in enumerate(self.stages):
            if stage:
                x = self.downsamples[stage - 1](x)
            for block in blocks:  # type: ignore[union-attr]
                if self.gradient_checkpointing and self.training:
                    x = checkpoint(block, x, use_reentrant=False)
                else:
                    x = block(x)
            maps.append(x)
        return maps

    def forward_head(self, x: Tensor) -> Tensor:
        """The last stage's map `[B, T', H, W, C]` -> logits `[B, num_classes]`."""
        return self.head(self.norm(x).mean(dim=(1, 2, 3)))

    def reset_head(self, num_classes: int) -> None:
        """Replaces the classifier by a fresh one of `num_classes` outputs."""
        self.config = ModelConfig.from_dict(asdict(self.config) | {"num_classes": num_classes})
        self.head = nn.Linear(self.head.in_features, num_classes).to(self.head.weight)
        init_weights(self.head)

    def _check_input(self, x: Tensor) -> Tensor:
        """Returns the input as a clip `[B, 3, T, H, W]`."""
        expected = "[B, 3, T, H, W]" if self.config.temporal else "[B, 3, H, W]"
        if x.dim() != (5 if self.config.temporal else 4) or x.shape[1] != 3:
            raise InputShapeError(f"input of shape {list(x.shape)}: this model takes {expected}")
        clip = x if self.config.temporal else x[:, :, None]
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


class Block(nn.Module):
    """MorphFC_t, MorphFC_s and MLP in sequence (Fig. 7).

    The skip residual (the figure's red line) starts at the block's input x, not behind the temporal layer:

        u = x + TemporalFC(LN(x));  y = x + SpatialFC(LN(u));  z = y + MLP(LN(y))

    Args:
        num_steps: temporal tokens, T'; None leaves the temporal layer out (image models).
    """

    def __init__(
        self,
        width: int,
        chunk_length: int,
        *,
        whole_map: bool,
        num_steps: int | None,
        hidden_width: int,
        drop_path: float,
    ):
        super().__init__()
        self.temporal_norm = None if num_steps is None else nn.LayerNorm(width)
        self.temporal = None if num_steps is None else TemporalFC(width, num_steps)
        self.spatial_norm = nn.LayerNorm(width)
        self.spatial = SpatialFC(width, chunk_length, whole_map=whole_map)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden_width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T', H, W, C]` -> the same shape."""
        mixed_over_time = x
        if self.temporal is not None and self.temporal_norm is not None:
            mixed_over_time = x + self.temporal(self.temporal_norm(x))
        x = x + self.drop_path(self.spatial(self.spatial_norm(mixed_over_time)))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))
