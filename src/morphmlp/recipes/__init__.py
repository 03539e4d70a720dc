"""From a recipe (plain values, as in `recipes/*.yaml`) to the configuration of a run."""

import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from morphmlp.checkpoints import CheckpointInfo, load_config
from morphmlp.config import InputConfig, MaskConfig, ModelConfig, RunConfig, SplitConfig, TrainConfig, default_input
from morphmlp.data.masks import PACKAGED_LABELS
from morphmlp.errors import ConfigError
from morphmlp.inflation import carried_input, video_config
from morphmlp.zoo import model_config

PARTS = ("input", "split", "masks")  # of a recipe, beside `arch` and the fields of TrainConfig
DEFAULT_MODELS = {"video": "morphmlp_video_nano", "image": "morphmlp_image_nano", "mask": "morphmlp_image_nano"}


def load_recipe(name: str) -> dict[str, Any]:
    """The values of a recipe that comes with the package, such as "demo"."""
    return yaml.safe_load((files("morphmlp") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8"))


def run_config(
    data: str | Path, *, num_classes: int, recipe: dict[str, Any], kind: Literal["video", "image", "mask"] = "video"
) -> RunConfig:
    """Completes a recipe by the data, and by what the model or the checkpoint to start from asks of the input.

    Args:
        recipe: `model` or `init`, `arch` (fields of the model), `input`, `split`, `masks`, and the fields of
            `TrainConfig`.
        kind: what the data holds; "mask" is images with masks.

    Raises:
        ConfigError: an unknown name, a value that is not allowed, or a model that does not take this kind of data.
        CheckpointError: the checkpoint of `init` cannot be read.
    """
    for part in ("arch", *PARTS):
        if not isinstance(recipe.get(part) or {}, dict):
            raise ConfigError(f"{part} is {recipe[part]!r}; allowed: names with values")
    recipe = dict(recipe)
    name, init = recipe.pop("model", None), recipe.pop("init", None)
    fields = (recipe.pop("arch", None) or {}) | {"num_classes": num_classes}
    parts = {part: recipe.pop(part, None) or {} for part in PARTS}
    if parts["masks"].get("labels") not in (None, *PACKAGED_LABELS):  # a file, which is read again when resuming
        parts["masks"] = parts["masks"] | {"labels": os.path.abspath(parts["masks"]["labels"])}
    if init is None:
        model = _named_model(name or DEFAULT_MODELS[kind], fields, data, kind)
        base_input = default_input(model)
    else:
        if name is not None:
            raise ConfigError("--init sets the model; leave out --model")
        model, base_input = _model_from(*load_config(init), fields, kind)
    return RunConfig(
        data=os.path.abspath(data),
        model=model,
        input=InputConfig.from_dict(base_input.to_dict() | parts["input"]),
        train=TrainConfig.from_dict(recipe),
        split=SplitConfig.from_dict(parts["split"]),
        masks=MaskConfig.from_dict(parts["masks"]),
        init=None if init is None else os.path.abspath(init),
    )


def _named_model(name: str, fields: dict[str, Any], data: str | Path, kind: str) -> ModelConfig:
    """The named model for this kind of data."""
    model = model_config(name, **fields)
    if model.temporal != (kind == "video"):
        takes, holds, wanted = ("videos", "images", "image") if model.temporal else ("images", "videos", "video")
        raise ConfigError(f"{name} takes {takes}, but {data} holds {holds}; give one of the morphmlp_{wanted} models")
    return replace(model, task="segmentation") if kind == "mask" else model


def _model_from(
    source: ModelConfig, info: CheckpointInfo, fields: dict[str, Any], kind: str
) -> tuple[ModelConfig, InputConfig]:
    """Model and input for this kind of data from those of the checkpoint to start from.

    Whether the weights can follow is for `finetune.initial_model` to say, which has the same of other configurations.
    """
    task = "segmentation" if kind == "mask" else "classification"
    if kind == "video" and not source.temporal:
        model = video_config(source, **fields)
    else:
        length = {} if kind == "video" else {"temporal": False, "frames": 1}
        model = ModelConfig.from_dict(source.to_dict() | length | {"task": task} | fields)
    same_kind = (model.temporal, model.task) == (source.temporal, source.task)
    return model, info.input if same_kind else carried_input(model, info.input)
