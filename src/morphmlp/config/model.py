"""What a model is built from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from morphmlp.config.base import Config

MOST_WEIGHTS = 10**10
MOST_FRAMES = 1024  # of a clip: the weights of a temporal FC grow with the square of its steps


@dataclass(frozen=True)
class ModelConfig(Config):
    """What a MorphMLP is built from (Sec. 3.3).

    Attributes:
        depths: blocks of each stage.
        widths: channels C of each stage.
        chunk_lengths: tokens a chunk, L, of each stage's MorphFC_s.
        num_classes: outputs of the head.
        frames: frames of an input clip; 1 for images.
        temporal: False leaves MorphFC_t out and makes an image model.
        mlp_ratio: hidden width of the MLP over C.
        drop_path: stochastic depth of the last block; it rises linearly from 0 at the first.
        temporal_init: "released" or "zero_proj", see `morphfc.init_temporal`.
        gradient_checkpointing: recompute each block in the backward pass to save memory; or, "cheap", only what costs
            little: LayerNorm, GELU and the copies to chunks, and no matrix product.
        image_size: the height and width in px that the chunk lengths were chosen for; others work.
        spatial_op: "morphfc", or what Table 8 puts in its place: a 3 x 3 or 7 x 7 convolution, or group
            convolutions of 1 x L and L x 1.
        branches: "hwc" (horizontal, vertical, channel), or "hw" without the channel branch (Table 9); a 3 x 3 or 7 x 7
            convolution has no branches.
        weighted_sum: False adds the branches up without weights (Table 9).
        style: "transformer" (Fig. 7), or "cnn": a ResNet whose 3 x 3 convolutions are MorphFC_s (Table 9). Its
            bottlenecks have `widths` channels inside, and four times as many between them. It has no MLPs, and a
            convolution of 3 steps over time: the fields of MLPs, temporal layers and Table 7 have no effect on it.
        temporal_op: "morphfc", or a convolution over 3 or 5 time steps in its place (Table 10).
        block: "sequential", or "parallel": both layers read the block's input (Table 7).
        order: "ts", temporal before spatial, or "st"; sequential blocks only (Table 7).
        residual: "skip" starts the second layer's residual at the block's input, "standard" at the first layer's
            output; sequential blocks only (Table 7).
        task: "classification", "multi_label" (the same network, whose outputs are yes or no for each class), or
            "segmentation" by a Semantic FPN over the four maps (Sec. 4.4).
        decoder_width: channels of the Semantic FPN's pyramid; its heads have half as many.
        name: the variant's name, for people.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    chunk_lengths: tuple[int, ...]
    num_classes: int = 400
    frames: int = 16
    temporal: bool = True
    mlp_ratio: float = 3.0
    drop_path: float = 0.0
    temporal_init: Literal["released", "zero_proj"] = "released"
    gradient_checkpointing: Literal[False, True, "cheap"] = False
    image_size: int = 224
    spatial_op: Literal["morphfc", "conv3", "conv7", "groupconv"] = "morphfc"
    branches: Literal["hwc", "hw"] = "hwc"
    weighted_sum: bool = True
    style: Literal["transformer", "cnn"] = "transformer"
    temporal_op: Literal["morphfc", "conv3", "conv5"] = "morphfc"
    block: Literal["sequential", "parallel"] = "sequential"
    order: Literal["ts", "st"] = "ts"
    residual: Literal["skip", "standard"] = "skip"
    task: Literal["classification", "multi_label", "segmentation"] = "classification"
    decoder_width: int = 256
    name: str = "custom"

    def validate(self) -> None:
        for name in ("depths", "widths", "chunk_lengths"):
            values = getattr(self, name)
            self._require(len(values) == 4 and min(values) > 0, name, "four positive integers, one for each stage")
        self._require(all(width >= 4 for width in self.widths), "widths", "at least 4 channels a stage")
        self._require_at_most(1_000, "depths")
        self._require_at_most(16_384, "widths", "decoder_width", "image_size")
        self._require_at_most(4_096, "chunk_lengths")
        self._require_at_most(64, "mlp_ratio")
        self._require(self._least_weights <= MOST_WEIGHTS, "widths", f"what makes {MOST_WEIGHTS:,} weights or fewer")
        self._require(self.num_classes > 0, "num_classes", "1 or more")
        self._require_at_most(1_000_000, "num_classes")
        self._require(0 < self.frames <= MOST_FRAMES, "frames", f"1 to {MOST_FRAMES}")
        self._require(self.temporal or self.frames == 1, "frames", "1 for an image model")
        self._require(0 <= self.drop_path < 1, "drop_path", "0 <= rate < 1")
        hidden = min(self.hidden_width(width) for width in self.widths)
        self._require(hidden > 0, "mlp_ratio", "a hidden width of 1 or more")
        self._require(self.image_size >= 32, "image_size", "32 px or more")
        self._require(self.decoder_width >= 2, "decoder_width", "2 or more")
        self._require(
            self.style == "transformer" or not self.gradient_checkpointing,
            "gradient_checkpointing",
            "False for style 'cnn', whose batch normalisation would count each batch twice",
        )
        allowed = "'classification' or 'multi_label' for a video model"
        self._require(self.task != "segmentation" or not self.temporal, "task", allowed)

    @property
    def _least_weights(self) -> int:
        """Weights that every design has at least, so that an absurd model is refused before it is built."""
        stages = zip(self.depths, self.widths, self.chunk_lengths, strict=True)
        return sum(depth * max(width, length) ** 2 for depth, width, length in stages)

    def hidden_width(self, width: int) -> int:
        """Hidden width of the MLP of a stage."""
        return round(width * self.mlp_ratio)

    @property
    def multi_label(self) -> bool:
        """Whether the outputs are yes or no for each class, so that a clip may have several, or none."""
        return self.task == "multi_label"

    @property
    def num_steps(self) -> int:
        """Temporal tokens a position, T', as the stem halves the frames."""
        return math.ceil(self.frames / 2)

    @property
    def drop_path_rates(self) -> list[float]:
        """Stochastic depth of each block of the network, linear from 0 to `drop_path`."""
        num_blocks = sum(self.depths)
        return [self.drop_path * i / max(num_blocks - 1, 1) for i in range(num_blocks)]

    @property
    def map_widths(self) -> tuple[int, ...]:
        """Channels of the four maps that a backbone gives."""
        return tuple(width * (4 if self.style == "cnn" else 1) for width in self.widths)

    @property
    def last_chunk_is_map(self) -> bool:
        """Whether a chunk of the last stage covers its whole map, so that rows and columns are the same chunk.

        True of the published 49 on 7 x 7; not of Table 6's 7, 3 and 14.
        """
        return self.chunk_lengths[-1] >= math.ceil(self.image_size / 32) ** 2
