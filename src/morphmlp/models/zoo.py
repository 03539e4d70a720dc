"""The named models (Sec. 3.3): `create_model`, `create_segmenter` and `list_models`."""

import difflib
from dataclasses import asdict
from typing import Any

from morphmlp.config import ModelConfig
from morphmlp.errors import ConfigError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.resnet import MorphResNet
from morphmlp.models.segmenter import Segmenter

_PAPER: dict[str, Any] = {"widths": (112, 224, 392, 784), "chunk_lengths": (14, 28, 28, 49)}
_IMAGE_T: dict[str, Any] = {
    # The paper does not print these widths; they meet its 23.4 M parameters and 4.0 G (Table 8).
    "widths": (84, 168, 336, 588),
    "chunk_lengths": (14, 28, 28, 49),
}
_NANO: dict[str, Any] = {
    # Ours. The same proportions at 64 px: chunks of a quarter row, one row, two rows, and the whole map.
    "depths": (2, 2, 4, 2),
    "widths": (32, 64, 128, 256),
    "chunk_lengths": (4, 8, 8, 4),
    "image_size": 64,
}
_IMAGE: dict[str, Any] = {"temporal": False, "frames": 1, "num_classes": 1000}

VARIANTS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        ModelConfig(name="morphmlp_video_nano", **_NANO),
        ModelConfig(name="morphmlp_video_s", depths=(3, 4, 9, 3), **_PAPER),
        ModelConfig(name="morphmlp_video_b", depths=(4, 6, 15, 4), **_PAPER),
        ModelConfig(name="morphmlp_image_nano", **_NANO, **_IMAGE),
        ModelConfig(name="morphmlp_image_t", depths=(3, 4, 7, 3), **_IMAGE_T, **_IMAGE),
        ModelConfig(name="morphmlp_image_s", depths=(3, 4, 9, 3), **_PAPER, **_IMAGE),
        ModelConfig(name="morphmlp_image_b", depths=(4, 6, 15, 4), **_PAPER, **_IMAGE),
        ModelConfig(name="morphmlp_image_l", depths=(4, 8, 18, 6), **_PAPER, **_IMAGE),
    )
}


def list_models() -> list[str]:
    """Names that `create_model` takes.

    Example:
        >>> list_models()[:3]
        ['morphmlp_video_nano', 'morphmlp_video_s', 'morphmlp_video_b']
    """
    return list(VARIANTS)


def create_model(name: str, **overrides: Any) -> MorphMLP:
    """Builds a named model with fresh weights; any field of `ModelConfig` can be overridden.

    `morphmlp.create_model` does the same, and can give it trained weights.

    Example:
        >>> model = create_model("morphmlp_video_nano", num_classes=174, frames=32, drop_path=0.3)
        >>> model.config.frames
        32

    Raises:
        ConfigError: an unknown name or field, or a value that is not allowed.
    """
    return build_model(model_config(name, **overrides))


def create_segmenter(name: str, *, num_classes: int = 150, **overrides: Any) -> Segmenter:
    """Builds a named image model under a Semantic FPN with fresh weights (Sec. 4.4).

    Example:
        >>> model = create_segmenter("morphmlp_image_nano", num_classes=150, drop_path=0.1)
        >>> model.config.task
        'segmentation'

    Raises:
        ConfigError: a video model, an unknown name or field, or a value that is not allowed.
    """
    if model_config(name).temporal:
        images = ", ".join(variant for variant, config in VARIANTS.items() if not config.temporal)
        raise ConfigError(f"model {name!r} takes videos; a segmenter is built on an image model: {images}")
    return _build_segmenter(model_config(name, **overrides | {"task": "segmentation", "num_classes": num_classes}))


def build_model(config: ModelConfig) -> MorphMLP:
    """Builds the model of a configuration with fresh weights."""
    if config.task == "segmentation":
        return _build_segmenter(config)
    return MorphResNet(config) if config.style == "cnn" else MorphMLP(config)


class ResNetSegmenter(Segmenter, MorphResNet):
    """A segmenter in the CNN style: `Segmenter` adds its head to the parts of `MorphResNet`."""


def _build_segmenter(config: ModelConfig) -> Segmenter:
    return ResNetSegmenter(config) if config.style == "cnn" else Segmenter(config)


def model_config(name: str, **overrides: Any) -> ModelConfig:
    """The configuration of a named model, with overrides."""
    if name not in VARIANTS:
        near = difflib.get_close_matches(name, VARIANTS, n=3, cutoff=0.4)
        raise ConfigError(f"model {name!r} is unknown; did you mean {', '.join(near or VARIANTS)}?")
    return ModelConfig.from_dict(asdict(VARIANTS[name]) | overrides)
