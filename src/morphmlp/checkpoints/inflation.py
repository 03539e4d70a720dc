"""An image model's trained weights in a video model.

The paper starts MorphFC_s from ImageNet weights and draws MorphFC_t anew (Sec. 4.1). Its stem has a kernel over three
frames, the image model's stem a kernel over one. The paper does not say how the one becomes the other: the rule here
is ours.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from morphmlp.checkpoints.folder import CheckpointInfo, load
from morphmlp.config import InputConfig, ModelConfig, default_input
from morphmlp.errors import ConfigError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model

Kernel = Literal["center", "mean"]
TAPS: dict[str, tuple[float, float, float]] = {"center": (0.0, 1.0, 0.0), "mean": (1 / 3, 1 / 3, 1 / 3)}
STEM_KERNEL = "stem.conv1.weight"
CLASSIFIER = ("head.weight", "head.bias")

# What the shapes of an image model's weights, or their meaning, depend on.
SPATIAL_FIELDS = ("depths", "widths", "chunk_lengths", "last_chunk_is_map", "mlp_ratio", "style")
SPATIAL_FIELDS += ("spatial_op", "branches", "weighted_sum")
# And, of a video model, those of its temporal layers.
TEMPORAL_FIELDS = ("temporal_op", "block", "order", "residual")


def inflate(
    image_model: MorphMLP | str | Path, *, frames: int = 16, kernel: Kernel = "center", **overrides: Any
) -> MorphMLP:
    """A video model that starts as an image model: all its weights, and temporal layers that add nothing yet.

    The stem's kernel over one frame becomes one over three, as `inflated_kernel` says. With "center", the default, a
    token sees one frame as the image model does, and a clip of one repeated frame gives the image model's maps at every
    time step. With "mean" it sees the mean of three frames; before the clip's first frame (and, if their number is odd,
    after its last) there are zeros, so the stem's first (last) step gets two thirds of the image model's response. The
    maps after it differ from the image model's at every step, as the weighted sum averages over the clip; without it
    (`weighted_sum=False`) they differ at that step only.

    With order "st" and the skip residual (Table 7) a block bypasses its spatial layer while the temporal one is at its
    start: there the video model is not the image model.

    Args:
        image_model: a model, or a checkpoint folder.
        frames: of the clips that the video model takes.
        overrides: other fields of `ModelConfig`; with another `num_classes` the head is a fresh one.

    Example:
        >>> import morphmlp
        >>> image_model = morphmlp.create_model("morphmlp_image_nano")
        >>> morphmlp.inflate(image_model, frames=16, num_classes=10).config.name
        'morphmlp_video_nano'

    Raises:
        ConfigError: a field that the image model's weights depend on, a video model, a segmenter, or the CNN style,
            whose normalised convolutions over time are no identity at any start.
        CheckpointError: the checkpoint cannot be read.
    """
    source = image_model if isinstance(image_model, MorphMLP) else load(image_model)
    if fixed := [name for name in overrides if name in SPATIAL_FIELDS]:
        raise ConfigError(f"{', '.join(fixed)} cannot be given, because the image model's weights depend on that")
    video = build_model(video_config(source.config, frames=frames, **overrides)).to(next(source.parameters()))
    weights = inflated_weights(source.state_dict(), kernel)
    if video.config.num_classes != source.config.num_classes:
        weights |= {name: video.state_dict()[name] for name in CLASSIFIER}
    video.load_state_dict(video.state_dict() | weights)
    line = f"inflated from {source.config.name} to {frames} frames ({kernel} kernel)"
    video.checkpoint_info = carried_info(source, video.config, line)
    return video.train(source.training)


def video_config(image: ModelConfig, *, frames: int = 16, **overrides: Any) -> ModelConfig:
    """The video model of the same depths and widths; see `inflate`."""
    if image.temporal:
        raise ConfigError(f"{image.name} is a video model already; `resize_frames` carries it to other frame counts")
    if image.task != "classification":
        raise ConfigError(f"{image.name} is a segmenter; inflate the classifier that it was trained from")
    name = image.name.replace("_image_", "_video_")
    config = ModelConfig.from_dict(image.to_dict() | {"temporal": True, "frames": frames, "name": name} | overrides)
    if config.style == "cnn":
        raise ConfigError(
            "model.style is 'cnn'; allowed: 'transformer', whose temporal layers can start as the identity"
        )
    return config


def inflated_weights(weights: dict[str, Tensor], kernel: str = "center") -> dict[str, Tensor]:
    """The image model's state dict with the stem's kernel over three frames."""
    return weights | {STEM_KERNEL: inflated_kernel(weights[STEM_KERNEL], kernel)}


def inflated_kernel(weight: Tensor, kernel: str) -> Tensor:
    """A kernel `[C, 3, 1, 3, 3]` -> `[C, 3, 3, 3, 3]`: its middle tap ("center"), or a third in each ("mean")."""
    if kernel not in TAPS:
        raise ConfigError(f"kernel is {kernel!r}; allowed: {', '.join(map(repr, TAPS))}")
    return weight * weight.new_tensor(TAPS[kernel])[:, None, None]


def carried_input(config: ModelConfig, former: InputConfig) -> InputConfig:
    """The input that a model is designed for, with pixel values as the weights that it starts from know them."""
    return replace(default_input(config), mean=former.mean, std=former.std, channel_order=former.channel_order)


def carried_info(model: MorphMLP, config: ModelConfig, line: str) -> CheckpointInfo | None:
    """What was saved beside the model, with a line on its conversion; an image model's input becomes one of videos."""
    info: CheckpointInfo | None = model.checkpoint_info
    if info is None:
        return None
    same_head = config.num_classes == model.config.num_classes
    return replace(
        info if same_head else info.with_fresh_head(),
        input=info.input if model.config.temporal else carried_input(config, info.input),
        training=info.training | {"conversions": [*info.training.get("conversions", []), line]},
    )
