"""How a video or image becomes what a model is given, and how it is changed at random in training."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from morphmlp.config.base import Config
from morphmlp.config.model import ModelConfig

LEAST_WINDOW_S, MOST_WINDOW_S = 0.01, 3_600.0  # of `InputConfig.window_s`


@dataclass(frozen=True)
class InputConfig(Config):
    """How a video or image becomes what a model is given: all that a prediction depends on beside the weights.

    An image is a video of one frame; what concerns time has no effect on it.

    Attributes:
        sampling: "dense" (a stretch of consecutive frames, Kinetics) or "sparse" (one frame of each of `frames`
            equal segments, Something-Something).
        stride: frames between two sampled ones, at `target_fps`; dense sampling only.
        target_fps: frame rate that the stride refers to.
        sparse_fps: frame rate of the clock that sparse sampling counts on, as if frames had been extracted at it; None
            counts the video's own frames. Folders of frames have no rate, so they are counted as they are.
        fit: "crop" resizes the short side and crops; "stretch" squeezes the whole frame into the clip; "whole" resizes
            the short side and rounds both sides up to a multiple of 32 (segmentation, whose training still crops).
        decode_size: short side in px to which the frames of video files are scaled while they are decoded, before all
            else; where several crops are taken, their size. None keeps the frames as they are. The released loader of
            Kinetics does so, and large videos load several times as fast.
        resize: short side in px before the crop when one crop is taken; several crops resize to `crop`.
        crop: height and width of the clip in px; equal where `fit` is "crop".
        one_crop: where a single crop lies: "center", or "start" (left or top; the released SSV loaders).
        interpolation: of the resizing.
        antialias: low-pass filter while shrinking; the released video loaders do not.
        mean, std: by channel, for pixel values scaled to 0..1.
        channel_order: "rgb" or "bgr" (the released SSV loaders).
        num_clips, num_crops: views of a video at test time, in time and in space (1 or 3).
        aggregation: a video's views are joined by the sum of their "logits" or the mean of their "probabilities".
        window_s: seconds of the windows of recordings whose middle the model was trained to name; None for a model of
            whole clips. A training sets it: see `ListConfig.window`.
    """

    sampling: Literal["dense", "sparse"] = "sparse"
    stride: int = 4
    target_fps: float = 30.0
    sparse_fps: float | None = None
    fit: Literal["crop", "stretch", "whole"] = "crop"
    decode_size: int | None = None
    resize: int = 256
    crop: tuple[int, int] = (224, 224)
    one_crop: Literal["center", "start"] = "center"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = False
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    channel_order: Literal["rgb", "bgr"] = "rgb"
    num_clips: int = 1
    num_crops: int = 1
    aggregation: Literal["logits", "probabilities"] = "logits"
    window_s: float | None = None

    @property
    def decoded_short_side(self) -> int | None:
        """The short side to decode test clips at, `decode_size`, or with several crops their size, as released."""
        return self.decode_size and (self.decode_size if self.num_crops == 1 else min(self.decode_size, *self.crop))

    def validate(self) -> None:
        self._require(self.stride > 0, "stride", "1 or more")
        self._require(self.target_fps > 0, "target_fps", "above 0")
        self._require(self.sparse_fps is None or 0.1 <= self.sparse_fps <= 1_000, "sparse_fps", "0.1 to 1,000, or None")
        self._require_at_most(1_000_000, "stride", "target_fps")
        self._require(self.target_fps >= 0.001, "target_fps", "0.001 or more")
        self._require(min(self.crop) >= 32, "crop", "32 px or more")
        self._require_at_most(8_192, "crop")
        self._require_at_most(16_384, "resize", "decode_size")
        self._require(self.decode_size is None or self.decode_size >= 32, "decode_size", "32 px or more, or None")
        if self.fit == "crop":
            self._require(self.crop[0] == self.crop[1], "crop", "height and width equal, or fit = 'stretch'")
            self._require(self.resize >= self.crop[0], "resize", f"at least crop ({self.crop[0]} px)")
        self._require(min(self.std) > 0, "std", "above 0")
        self._require(min(self.std) >= 1e-6, "std", "0.000001 or more")
        self._require(max(map(abs, self.mean)) <= 1_000, "mean", "-1,000 to 1,000")
        self._require_at_most(1_000, "std")
        self._require(self.num_clips > 0, "num_clips", "1 or more")
        self._require_at_most(10_000, "num_clips")
        self._require(self.fit != "whole" or self.resize >= 32, "resize", "32 px or more")
        if self.fit != "crop":
            self._require(self.num_crops == 1, "num_crops", "1 where fit is not 'crop', as the whole frame is seen")
        self._require(self.num_crops in (1, 3), "num_crops", "1 or 3")
        within = self.window_s is None or LEAST_WINDOW_S <= self.window_s <= MOST_WINDOW_S
        self._require(within, "window_s", f"{LEAST_WINDOW_S} to {MOST_WINDOW_S:,} s, or None")


# The published test protocol of each released family; where it differs from other code: docs/deviations.md.
PUBLISHED_INPUTS: dict[str, InputConfig] = {
    "k400": InputConfig(sampling="dense", decode_size=256, num_clips=4),
    "ssv1": InputConfig(sparse_fps=30.0, resize=224, one_crop="start", channel_order="bgr", num_crops=3),
    "ssv2": InputConfig(sparse_fps=30.0, resize=224, one_crop="start", channel_order="bgr", num_crops=3),
    "imagenet": InputConfig(
        interpolation="bicubic", antialias=True, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
}


def default_input(model: ModelConfig) -> InputConfig:
    """The size that the model was designed for, the short side 8/7 of it: sparse sampling, or ImageNet's test input.

    For segmentation the whole image; short side and training crop are the paper's 512 px for a model of 224 px.
    """
    size = model.image_size
    if model.temporal:
        return InputConfig(crop=(size, size), resize=round(size * 8 / 7))
    imagenet = PUBLISHED_INPUTS["imagenet"]
    if model.task == "segmentation":
        size = 32 * round(size * 16 / 7 / 32)  # 224 px become the paper's 512
        return replace(imagenet, fit="whole", interpolation="bilinear", crop=(size, size), resize=size)
    return replace(imagenet, crop=(size, size), resize=round(size * 8 / 7))


# timm's notation: m is the strength of 10, n the number of operations, mstd the deviation of m, inc 1 makes every
# operation stronger with m, p is the probability of each operation.
RAND_AUGMENT = re.compile(r"rand(-(m(10|\d)|n\d+|mstd\d+(\.\d+)?|inc[01]|p[01](\.\d+)?))+")


@dataclass(frozen=True)
class AugmentConfig(Config):
    """Random changes of a training clip; the same for all of its frames.

    Attributes:
        crop_area: smallest share of the frame's area that a random crop covers; 1 takes all that fits the ratio.
        crop_ratio: largest aspect ratio of a random crop (and, inverted, the smallest).
        flip: probability of a left-right flip. A class whose name says left or right becomes the one that says the
            other side, or is not flipped where there is none.
        rotate: degrees that a clip is turned by at most, either way; what comes in at the corners is mirrored. Masks
            are not turned.
        time_warp: videos only: strength of a random change of pace, 0 to 1. A clip hurries at one end and dwells at the
            other, and up to a fifth of this strength is cut off each end.
        rand_augment: random operations in timm's notation, such as "rand-m7-n4-mstd0.5-inc1" (strength 7 of 10, 4
            operations); None for none. One draw for all frames of a clip.
        crop_first: crop before rand-augment instead of after it: a little cheaper, see docs/deviations.md; without
            `rand_augment` the crop is first in any case.
        repeats: clips that are made of each decoded video in a step, each with changes of its own (repeated
            augmentation).
        color: strength of random brightness, contrast and saturation, 0 to 1.
        gray: probability of dropping colour.
        erase: probability of overwriting a random box with noise.
        mixup: Beta parameter of mixup over the batch; 0 turns it off.
        cutmix: Beta parameter of cutmix; where both are on, each batch draws one of the two.
        label_smoothing: share of the label spread over all classes.
        scale: segmentation only: range of the random factor on the short side, before the crop.
        max_class_share: segmentation only: largest share of one class in a crop, which is drawn again above it.
    """

    crop_area: float = 0.5
    crop_ratio: float = 4 / 3
    flip: float = 0.0
    rotate: float = 0.0
    time_warp: float = 0.0
    rand_augment: str | None = None
    crop_first: bool = False
    repeats: int = 1
    color: float = 0.3
    gray: float = 0.0
    erase: float = 0.0
    mixup: float = 0.2
    cutmix: float = 0.0
    label_smoothing: float = 0.1
    scale: tuple[float, float] = (0.5, 2.0)
    max_class_share: float = 0.75

    def validate(self) -> None:
        self._require(0 < self.crop_area <= 1, "crop_area", "above 0, at most 1")
        self._require(self.crop_ratio >= 1, "crop_ratio", "1 or more")
        self._require(0 <= self.rotate <= 180, "rotate", "0 to 180 degrees")
        self._require(self.repeats >= 1, "repeats", "1 or more")
        self._require_at_most(1_000, "crop_ratio", "repeats", "mixup", "cutmix")
        self._require(
            self.rand_augment is None or RAND_AUGMENT.fullmatch(self.rand_augment) is not None,
            "rand_augment",
            "None, or such as 'rand-m7-n4-mstd0.5-inc1': strength m 0 to 10, n operations, mstd deviation of m",
        )
        for name in ("flip", "time_warp", "color", "gray", "erase"):
            self._require(0 <= getattr(self, name) <= 1, name, "0 to 1")
        self._require(0 <= self.label_smoothing < 1, "label_smoothing", "0 <= value < 1")
        for name in ("mixup", "cutmix"):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        self._require(0 < self.scale[0] <= self.scale[1], "scale", "smallest and largest factor, above 0")
        self._require(self.scale[0] >= 0.01, "scale", "0.01 or more")
        self._require_at_most(100, "scale")
        self._require(0 < self.max_class_share <= 1, "max_class_share", "above 0, at most 1")
