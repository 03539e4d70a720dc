"""Configuration: the model, its input, the data, and a training run; typed, validated, to and from JSON and YAML."""

from morphmlp.config.base import Config
from morphmlp.config.data import ListConfig, MaskConfig, SplitConfig
from morphmlp.config.inputs import PUBLISHED_INPUTS, AugmentConfig, InputConfig, default_input
from morphmlp.config.model import MOST_FRAMES, ModelConfig
from morphmlp.config.run import RunConfig, TrainConfig

__all__ = [
    "MOST_FRAMES",
    "PUBLISHED_INPUTS",
    "AugmentConfig",
    "Config",
    "InputConfig",
    "ListConfig",
    "MaskConfig",
    "ModelConfig",
    "RunConfig",
    "SplitConfig",
    "TrainConfig",
    "default_input",
]
