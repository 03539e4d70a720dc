"""From a recipe (plain values, as in `recipes/*.yaml`) to the configuration of a run."""

import difflib
import os
from dataclasses import replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from morphmlp.checkpoints import PUBLISHED_LABELS, CheckpointInfo, load_config
from morphmlp.config import (
    AugmentConfig,
    InputConfig,
    ListConfig,
    MaskConfig,
    ModelConfig,
    RunConfig,
    SplitConfig,
    TrainConfig,
    default_input,
)
from morphmlp.data.masks import PACKAGED_LABELS
from morphmlp.errors import ConfigError
from morphmlp.inflation import carried_input, video_config
from morphmlp.zoo import model_config

# Of a recipe, beside `model`, `init` and the fields of TrainConfig; "arch" holds fields of the model.
PARTS = {"input": InputConfig, "split": SplitConfig, "lists": ListConfig, "masks": MaskConfig}
FIELDS = PARTS | {"arch": ModelConfig, "augment": AugmentConfig}
Reading = TypeVar("Reading", ListConfig, MaskConfig)
DEFAULT_MODELS = {"video": "morphmlp_video_nano", "image": "morphmlp_image_nano", "mask": "morphmlp_image_nano"}
FRAMES_HINT = "; if each folder of images is a video, give --lists.frame_folders true"


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def load_recipe(recipe: str | Path) -> dict[str, Any]:
    """The values of a recipe that comes with the package, such as "demo", or of a YAML file.

    `base: kinetics` in it stands for the values of `recipes/base/kinetics.yaml`, under those that the recipe gives.

    Raises:
        ConfigError: there is no such recipe or base, it is no YAML of names with values, or it has an unknown name.
    """
    if str(recipe) in recipe_names():
        values = read_values(_folder() / f"{recipe}.yaml")
    elif os.path.isfile(recipe):
        values = read_values(Path(recipe))
    else:
        near = difflib.get_close_matches(str(recipe), recipe_names(), n=4, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(recipe_names())}"
        raise ConfigError(f"recipe {str(recipe)!r} is neither one of the package nor a YAML file; {hint}")
    base = values.pop("base", None)
    if base is not None:
        bases = sorted(path.name.removesuffix(".yaml") for path in (_folder() / "base").iterdir())
        if base not in bases:
            raise ConfigError(f"recipe {recipe}: base is {base!r}; allowed: {', '.join(bases)}")
        values = merged(read_values(_folder() / "base" / f"{base}.yaml"), values)
    _refuse_unknown_names(values, source=f"recipe {recipe}")
    return values


def read_values(file: Traversable, *, what: str = "recipe") -> dict[str, Any]:
    """The names and values of a YAML file.

    Raises:
        ConfigError: it is no YAML, or holds something else; the message calls the file `what`.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {file} is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{what} {file} is nested too deeply; allowed: names with values") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{what} {file} holds {values!r}; allowed: names with values")
    return values


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both, field by field at every depth; `over` wins, also with None and with lists.

    >>> merged({"lr": 0.1, "augment": {"flip": 0.5, "mixup": 0.8}}, {"augment": {"flip": 0.0}})
    {'lr': 0.1, 'augment': {'flip': 0.0, 'mixup': 0.8}}
    """
    result = dict(values)
    for name, value in over.items():
        both = isinstance(result.get(name), dict) and isinstance(value, dict)
        result[name] = merged(result[name], value) if both else value
    return result


def run_config(
    data: str | Path, *, num_classes: int, recipe: dict[str, Any], kind: Literal["video", "image", "mask"] = "video"
) -> RunConfig:
    """Completes a recipe by the data, and by what the model or the checkpoint to start from asks of the input.

    With `model`, the model is that one and `init` gives weights alone; `init` without `model` gives the model too, and
    as much of the input as serves this kind of data.

    Args:
        recipe: `model` or `init` or both, `arch` (fields of the model), `input`, `split`, `lists`, `masks`, and the
            fields of `TrainConfig`.
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
    fields = recipe.pop("arch", None) or {}
    if "num_classes" in fields:
        raise ConfigError(
            f"arch.num_classes is {fields['num_classes']!r}, but the data decides it: {data} has {num_classes} "
            "classes; leave it out"
        )
    fields = fields | {"num_classes": num_classes}
    parts = {part: recipe.pop(part, None) or {} for part in PARTS}
    if init is None or name is not None:
        model = _named_model(name or DEFAULT_MODELS[kind], fields, data, kind)
        base_input = default_input(model)
    else:
        if kind == "image":
            _refuse_frames(fields, data)
        model, base_input = _model_from(*load_config(init), fields, kind)
    return RunConfig(
        data=os.path.abspath(data),
        model=model,
        input=InputConfig.from_dict(base_input.to_dict() | parts["input"]),
        train=TrainConfig.from_dict(recipe),
        split=SplitConfig.from_dict(parts["split"]),
        lists=_found_again(ListConfig.from_dict(parts["lists"]), "train", "val", "prefix", "labels"),
        masks=_found_again(MaskConfig.from_dict(parts["masks"]), "labels"),
        init=None if init is None else os.path.abspath(init),
    )


def _folder() -> Traversable:
    return files("morphmlp") / "recipes"


def _refuse_unknown_names(recipe: dict[str, Any], *, source: str) -> None:
    """Raises ConfigError that lists the near names; the values are for `run_config` to check."""
    top = list(dict.fromkeys(["model", "init", *FIELDS, *TrainConfig.__dataclass_fields__]))
    for part in (None, *FIELDS):
        known = list(FIELDS[part].__dataclass_fields__) if part else top
        values = recipe.get(part) if part else recipe
        for name in values if isinstance(values, dict) else ():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
                near += [f"{other}.{name}" for other in FIELDS if name in FIELDS[other].__dataclass_fields__]
                hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
                raise ConfigError(f"{source} has no field {name!r}{f' in {part}' if part else ''}; {hint}")


def _found_again(config: Reading, *paths: str) -> Reading:
    """The configuration with absolute paths, as the run may be resumed from another folder; packaged names stay."""
    packaged = (None, *PUBLISHED_LABELS, *PACKAGED_LABELS)
    changes = {name: os.path.abspath(path) for name in paths if (path := getattr(config, name)) not in packaged}
    return replace(config, **changes)


def _named_model(name: str, fields: dict[str, Any], data: str | Path, kind: str) -> ModelConfig:
    """The named model for this kind of data."""
    if kind == "image" and not model_config(name).temporal:
        _refuse_frames(fields, data)
    model = model_config(name, **fields)
    if model.temporal != (kind == "video"):
        takes, holds, wanted = ("videos", "images", "image") if model.temporal else ("images", "videos", "video")
        hint = FRAMES_HINT if kind == "image" else ""
        raise ConfigError(
            f"{name} takes {takes}, but {data} holds {holds}; give one of the morphmlp_{wanted} models{hint}"
        )
    return replace(model, task="segmentation") if kind == "mask" else model


def _refuse_frames(fields: dict[str, Any], data: str | Path) -> None:
    """Clips of more than one frame are wanted, but the data holds images."""
    frames = fields.get("frames", 1)
    if isinstance(frames, int) and frames > 1:
        raise ConfigError(f"arch.frames is {frames}, but {data} holds images; allowed: 1{FRAMES_HINT}")


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
