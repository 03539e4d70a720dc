"""From a recipe (plain values, as in `recipes/*.yaml`) to the configuration of a run."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from morphmlp.checkpoints import load_config
from morphmlp.config import InputConfig, ModelConfig, RunConfig, SplitConfig, TrainConfig, default_input
from morphmlp.errors import ConfigError
from morphmlp.zoo import model_config


def load_recipe(name: str) -> dict[str, Any]:
    """The values of a recipe that comes with the package, such as "demo"."""
    return yaml.safe_load((files("morphmlp") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8"))


def run_config(data: str | Path, *, num_classes: int, recipe: dict[str, Any]) -> RunConfig:
    """Completes a recipe by the data, and by what the model or the checkpoint to start from asks of the input.

    Args:
        recipe: `model` or `init`, `arch` (fields of the model), `input`, `split`, and the fields of `TrainConfig`.

    Raises:
        ConfigError: an unknown name, or a value that is not allowed.
        CheckpointError: the checkpoint of `init` cannot be read.
    """
    recipe = dict(recipe)
    name, init = recipe.pop("model", None), recipe.pop("init", None)
    fields = (recipe.pop("arch", None) or {}) | {"num_classes": num_classes}
    given_input, split = recipe.pop("input", None) or {}, recipe.pop("split", None) or {}
    if init is None:
        model = model_config(name or "morphmlp_video_nano", **fields)
        base_input = default_input(model)
    else:
        if name is not None:
            raise ConfigError("--init sets the model; leave out --model")
        source, info = load_config(init)
        model = ModelConfig.from_dict(source.to_dict() | fields)
        base_input = info.input
    if not model.temporal:
        raise ConfigError(f"{model.name} is an image model; videos need one of the morphmlp_video models")
    return RunConfig(
        data=os.path.abspath(data),
        model=model,
        input=InputConfig.from_dict(base_input.to_dict() | given_input),
        train=TrainConfig.from_dict(recipe),
        split=SplitConfig.from_dict(split),
        init=None if init is None else os.path.abspath(init),
    )
