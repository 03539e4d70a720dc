"""What can be asked of features; it loads no torch, as the options of the command line come from it."""

from typing import Literal, get_args

from morphmlp.errors import ConfigError

Layer = Literal["head", "stage1", "stage2", "stage3", "stage4"]
Pooling = Literal["mean", "max", "none"]
Format = Literal["safetensors", "npz"]


def require_known(layer: str, pooling: str) -> None:
    """Raises ConfigError where a layer or pooling is unknown, or the head was to be pooled otherwise."""
    if layer not in get_args(Layer) or pooling not in get_args(Pooling):
        raise ConfigError(
            f"layer {layer!r} with pooling {pooling!r}; allowed: layer {', '.join(get_args(Layer))}; pooling "
            f"{', '.join(get_args(Pooling))}"
        )
    if layer == "head" and pooling != "mean":
        raise ConfigError(f"--pooling {pooling} is for the stages; the head takes the mean: give --layer stage4")
