"""Configuration: the model, its input, and a training run; typed, validated, to and from JSON and YAML."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from morphmlp.errors import ConfigError


def _checked(name: str, value: Any, annotation: Any) -> Any:
    """The value in its annotated type; lists become tuples, integers floats, and dictionaries configurations."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if type(None) in arguments:  # `X | None`
        return None if value is None else _checked(name, value, arguments[0])
    if origin is Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{name} is {value!r}; allowed: {', '.join(map(repr, arguments))}")
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ConfigError(f"{name} has {len(value)} values; allowed: {len(arguments)}")
        return tuple(_checked(f"{name}[{i}]", item, arguments[0]) for i, item in enumerate(value))
    if isinstance(annotation, type) and issubclass(annotation, Config) and isinstance(value, dict):
        return annotation.from_dict(value)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1023 else math.inf
    allowed = origin or annotation
    is_bool_as_int = isinstance(value, bool) and annotation is not bool
    if not isinstance(value, allowed) or is_bool_as_int or (annotation is float and not math.isfinite(value)):
        kind = getattr(allowed, "__name__", str(allowed))
        raise ConfigError(f"{name} is {value!r}; allowed: a value of type {kind}")
    return value


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Config:
    """Base of the configurations: values are checked against their annotations when one is built."""

    def __post_init__(self) -> None:
        for name, annotation in typing.get_type_hints(type(self)).items():
            object.__setattr__(self, name, _checked(f"{self._label()}.{name}", getattr(self, name), annotation))
        self.validate()

    def validate(self) -> None:
        """Raises ConfigError where single values are fine but the whole is not."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds the configuration from plain values; an unknown name is an error that lists the near ones."""
        if not isinstance(values, dict):
            raise ConfigError(f"{cls._label()} is {values!r}; allowed: names with values")
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
                hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}"
                raise ConfigError(f"{cls._label()} has no field {name!r}; {hint}")
        required = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in values]
        if required:
            raise ConfigError(f"{cls._label()} lacks {', '.join(required)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or YAML: tuples become lists."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def _label(cls) -> str:
        return cls.__name__.removesuffix("Config").lower()

    def _require(self, condition: bool, name: str, allowed: str) -> None:
        if not condition:
            raise ConfigError(f"{self._label()}.{name} is {getattr(self, name)!r}; allowed: {allowed}")


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
        temporal_init: "released" or "zero_proj", see `layers.init_temporal`.
        gradient_checkpointing: recompute each block in the backward pass to save memory.
        image_size: the height and width in px that the chunk lengths were chosen for; others work.
        spatial_op: "morphfc", or what Table 8 puts in its place: a 3 x 3 or 7 x 7 convolution, or group
            convolutions of 1 x L and L x 1.
        branches: "hwc" (horizontal, vertical, channel), or "hw" without the channel branch (Table 9); a 3 x 3 or 7 x 7
            convolution has no branches.
        weighted_sum: False adds the branches up as they are (Table 9).
        style: "transformer" (Fig. 7), or "cnn": a ResNet whose 3 x 3 convolutions are MorphFC_s (Table 9); `widths`
            are those inside its bottlenecks, a quarter of those between them. It has no MLPs, and over time a
            convolution of 3 steps: the fields on these and Table 7's have no effect on it.
        temporal_op: "morphfc", or a convolution over 3 or 5 time steps in its place (Table 10).
        block: "sequential", or "parallel": both layers read the block's input (Table 7).
        order: "ts", temporal before spatial, or "st"; sequential blocks only (Table 7).
        residual: "skip" starts the second layer's residual at the block's input, "standard" at the first layer's
            output; sequential blocks only (Table 7).
        task: "classification", or "segmentation" by a Semantic FPN over the four maps (Sec. 4.4).
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
    gradient_checkpointing: bool = False
    image_size: int = 224
    spatial_op: Literal["morphfc", "conv3", "conv7", "groupconv"] = "morphfc"
    branches: Literal["hwc", "hw"] = "hwc"
    weighted_sum: bool = True
    style: Literal["transformer", "cnn"] = "transformer"
    temporal_op: Literal["morphfc", "conv3", "conv5"] = "morphfc"
    block: Literal["sequential", "parallel"] = "sequential"
    order: Literal["ts", "st"] = "ts"
    residual: Literal["skip", "standard"] = "skip"
    task: Literal["classification", "segmentation"] = "classification"
    decoder_width: int = 256
    name: str = "custom"

    def validate(self) -> None:
        for name in ("depths", "widths", "chunk_lengths"):
            values = getattr(self, name)
            self._require(len(values) == 4 and min(values) > 0, name, "four positive integers, one for each stage")
        self._require(all(width >= 4 for width in self.widths), "widths", "at least 4 channels a stage")
        self._require(self.num_classes > 0, "num_classes", "1 or more")
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
        self._require(self.task == "classification" or not self.temporal, "task", "'classification' for a video model")

    def hidden_width(self, width: int) -> int:
        """Hidden width of the MLP of a stage."""
        return round(width * self.mlp_ratio)

    @property
    def num_steps(self) -> int:
        """Temporal tokens a position, T': the stem halves the frames."""
        return math.ceil(self.frames / 2)

    @property
    def drop_path_rates(self) -> list[float]:
        """Stochastic depth of each block of the network: linear from 0 to `drop_path`."""
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


@dataclass(frozen=True)
class InputConfig(Config):
    """How a video or image becomes what a model is given: all that a prediction depends on beside the weights.

    An image is a video of one frame; what concerns time has no effect on it.

    Attributes:
        sampling: "dense" (a stretch of consecutive frames, Kinetics) or "sparse" (one frame of each of `frames`
            equal segments, Something-Something).
        stride: frames between two sampled ones, at `target_fps`; dense sampling only.
        target_fps: frame rate that the stride refers to.
        fit: "crop" resizes the short side and crops; "stretch" squeezes the whole frame into the clip; "whole" resizes
            the short side and rounds both sides up to a multiple of 32 (segmentation, whose training still crops).
        resize: short side in px before the crop when one crop is taken; several crops resize to `crop`.
        crop: height and width of the clip in px; equal where `fit` is "crop".
        one_crop: where a single crop lies: "center", or "start" (left or top; the released SSV loaders).
        interpolation: of the resizing.
        antialias: low-pass filter while shrinking; the released video loaders do not.
        mean, std: by channel, for pixel values scaled to 0..1.
        channel_order: "rgb" or "bgr" (the released SSV loaders).
        num_clips, num_crops: views of a video at test time, in time and in space (1 or 3).
        aggregation: a video's views are joined by the sum of their "logits" or the mean of their "probabilities".
    """

    sampling: Literal["dense", "sparse"] = "sparse"
    stride: int = 4
    target_fps: float = 30.0
    fit: Literal["crop", "stretch", "whole"] = "crop"
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

    def validate(self) -> None:
        self._require(self.stride > 0, "stride", "1 or more")
        self._require(self.target_fps > 0, "target_fps", "above 0")
        self._require(min(self.crop) >= 32, "crop", "32 px or more")
        if self.fit == "crop":
            self._require(self.crop[0] == self.crop[1], "crop", "height and width equal, or fit = 'stretch'")
            self._require(self.resize >= self.crop[0], "resize", f"at least crop ({self.crop[0]} px)")
        self._require(min(self.std) > 0, "std", "above 0")
        self._require(self.num_clips > 0, "num_clips", "1 or more")
        self._require(self.fit != "whole" or self.resize >= 32, "resize", "32 px or more")
        if self.fit != "crop":
            self._require(self.num_crops == 1, "num_crops", "1 where fit is not 'crop', as the whole frame is seen")
        self._require(self.num_crops in (1, 3), "num_crops", "1 or 3")


# The published test protocol of each released family; where it differs from other code: docs/deviations.md.
PUBLISHED_INPUTS: dict[str, InputConfig] = {
    "k400": InputConfig(sampling="dense", num_clips=4),
    "ssv1": InputConfig(resize=224, one_crop="start", channel_order="bgr", num_crops=3),
    "ssv2": InputConfig(resize=224, one_crop="start", channel_order="bgr", num_crops=3),
    "imagenet": InputConfig(
        interpolation="bicubic", antialias=True, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
}


@dataclass(frozen=True)
class AugmentConfig(Config):
    """Random changes of a training clip; the same for all of its frames.

    Attributes:
        crop_area: smallest share of the frame's area that a random crop covers; 1 takes all that fits the ratio.
        crop_ratio: largest aspect ratio of a random crop (and, inverted, the smallest).
        flip: probability of a left-right flip; 0 where left and right are part of the classes.
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
        for name in ("flip", "color", "gray", "erase"):
            self._require(0 <= getattr(self, name) <= 1, name, "0 to 1")
        self._require(0 <= self.label_smoothing < 1, "label_smoothing", "0 <= value < 1")
        for name in ("mixup", "cutmix"):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        self._require(0 < self.scale[0] <= self.scale[1], "scale", "smallest and largest factor, above 0")
        self._require(0 < self.max_class_share <= 1, "max_class_share", "above 0, at most 1")


@dataclass(frozen=True)
class SplitConfig(Config):
    """How a folder without `train` and `val` is split.

    Attributes:
        val_fraction: share of each class's videos, or of the groups, that goes to validation.
        group_pattern: regular expression on the file name; its first group (or the whole match) names what
            must not stand on both sides, such as a speaker: `^([FM]\\d+)_`.
        seed: of the draw.
    """

    val_fraction: float = 0.2
    group_pattern: str | None = None
    seed: int = 0

    def validate(self) -> None:
        self._require(0 < self.val_fraction < 1, "val_fraction", "between 0 and 1")
        self._require(self.seed >= 0, "seed", "0 or more")


@dataclass(frozen=True)
class MaskConfig(Config):
    """How the annotations of a segmentation set are read.

    Attributes:
        labels: class names: "ade20k", or a text file with one name a line; None takes `classes.txt` of the data.
        ignore_index: the value of pixels without a class, beside 255, which never has one (CamVid: 11).
        reduce_zero_label: 0 means "no class" and the values 1 to N the classes 0 to N - 1 (ADE20K).
    """

    labels: str | None = None
    ignore_index: int = 255
    reduce_zero_label: bool = False

    def validate(self) -> None:
        self._require(0 <= self.ignore_index <= 65535, "ignore_index", "0 to 65535")


@dataclass(frozen=True)
class TrainConfig(Config):
    """One training run.

    Attributes:
        epochs: passes over the training videos.
        batch_size: clips a step.
        lr: peak learning rate of AdamW.
        min_lr: learning rate at the start and at the end.
        warmup_epochs: linear warm-up from `min_lr`, then cosine back to `min_lr`.
        weight_decay: on matrices and kernels only.
        clip_grad: largest gradient norm.
        ema: decay of the averaged weights that are evaluated and saved; 0 uses the trained weights themselves.
        eval_every: epochs between two evaluations; the last epoch is always evaluated.
        save_every: steps between two saves of the full state, beside the one at the end of each epoch; 0 for none.
        precision: "fp32", or mixed with "bf16" or "fp16".
        workers: processes that decode; 0 decodes in the training process.
        seed: of everything random.
    """

    epochs: int = 30
    batch_size: int = 16
    lr: float = 5e-4
    min_lr: float = 1e-6
    warmup_epochs: float = 3.0
    weight_decay: float = 0.05
    clip_grad: float = 20.0
    ema: float = 0.0
    eval_every: int = 1
    save_every: int = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    workers: int = 2
    seed: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def validate(self) -> None:
        for name in ("epochs", "batch_size", "eval_every"):
            self._require(getattr(self, name) > 0, name, "1 or more")
        for name in ("warmup_epochs", "weight_decay", "save_every", "workers", "seed"):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        self._require(self.lr > 0, "lr", "above 0")
        self._require(0 <= self.min_lr <= self.lr, "min_lr", f"0 to lr ({self.lr})")
        self._require(self.clip_grad > 0, "clip_grad", "above 0")
        self._require(0 <= self.ema < 1, "ema", "0 <= decay < 1")


@dataclass(frozen=True)
class RunConfig(Config):
    """All that a training run depends on; stands in the run folder as `config.json`.

    Attributes:
        data: the folder or lists that were trained on.
        init: the checkpoint that the weights started from; None for fresh weights.
    """

    data: str
    model: ModelConfig
    input: InputConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    init: str | None = None

    def validate(self) -> None:
        segmentation = self.model.task == "segmentation"
        if segmentation != (self.input.fit == "whole"):
            allowed = "'whole' for segmentation" if segmentation else "'crop' or 'stretch' for classification"
            raise ConfigError(f"input.fit is {self.input.fit!r}; allowed: {allowed}")
        if segmentation and min(self.input.crop) < 64:
            # Of a batch of one, a last map of one token would leave batch normalisation a single value.
            raise ConfigError(f"input.crop is {self.input.crop}; allowed: 64 px or more for segmentation")
        if not self.model.temporal and self.input.num_clips > 1:
            raise ConfigError(f"input.num_clips is {self.input.num_clips}; allowed: 1 for images")


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
