"""The configuration of a run: a recipe, completed by the data and by the checkpoint to start from."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from morphmlp.checkpoints.folder import CheckpointInfo
from morphmlp.checkpoints.hub import pinned
from morphmlp.checkpoints.inflation import carried_input, video_config
from morphmlp.config import InputConfig, ModelConfig, RunConfig, TrainConfig, default_input
from morphmlp.config.base import Config
from morphmlp.config.run import READINGS
from morphmlp.data.media.remote import place_of
from morphmlp.data.sets.class_names import PACKAGED_LABELS, PUBLISHED_LABELS
from morphmlp.errors import ConfigError
from morphmlp.models.zoo import model_config
from morphmlp.recipes import PARTS
from morphmlp.tasks.registry import task_of_kind
from morphmlp.training.initial_weights import start_config

Reading = TypeVar("Reading", bound=Config)
FRAMES_HINT = "; if each folder of images is a video, give --lists.frame_folders true"


def run_config(data: str | Path, *, num_classes: int, recipe: dict[str, Any], kind: str = "video") -> RunConfig:
    """Completes a recipe by the data, and by what the model or the checkpoint to start from asks of the input.

    With `model`, the model is that one and `init` gives weights alone; `init` without `model` gives the model too, and
    as much of the input as serves this kind of data.

    Args:
        recipe: `model` or `init` or both, `arch` (fields of the model), `input`, the fields of `RunConfig` in
            `READINGS`, and the fields of `TrainConfig`.
        kind: of the sets, a name in `Task.default_models` of some task.

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
    task = task_of_kind(kind)
    if fields.get("task", task.name) != task.name:
        raise ConfigError(f"arch.task is {fields['task']!r}, but {data} is for {task.name}; leave it out")
    fields = fields | {"num_classes": num_classes}
    parts = {part: recipe.pop(part, None) or {} for part in PARTS}
    if init is None or name is not None:
        model = _named_model(name or task.default_models[kind], fields, data, kind)
        base_input = default_input(model)
    else:
        if kind == "image":
            _refuse_frames(fields, data)
        frames = fields.get("frames")
        start = start_config(init, frames=frames if isinstance(frames, int) else None)
        model, base_input = _model_from(*start, fields, kind)
    readings: dict[str, Any] = {
        name: _found_again(reading.from_dict(parts[name])) for name, reading in READINGS.items()
    }
    return RunConfig(
        data=place_of(data),
        model=model,
        input=InputConfig.from_dict(base_input.to_dict() | parts["input"]),
        train=TrainConfig.from_dict(recipe),
        init=None if init is None else pinned(init),
        **readings,
    )


def _found_again(config: Reading) -> Reading:
    """The configuration with absolute paths, as the run may be resumed from another folder; packaged names stay."""
    packaged = (None, *PUBLISHED_LABELS, *PACKAGED_LABELS)
    changes = {name: place_of(path) for name in config.paths if (path := getattr(config, name)) not in packaged}
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
    return replace(model, task=task_of_kind(kind).name)


def _refuse_frames(fields: dict[str, Any], data: str | Path) -> None:
    """Clips of more than one frame are wanted, but the data holds images."""
    frames = fields.get("frames", 1)
    if isinstance(frames, int) and frames > 1:
        raise ConfigError(f"arch.frames is {frames}, but {data} holds images; allowed: 1{FRAMES_HINT}")


def _model_from(
    source: ModelConfig, info: CheckpointInfo, fields: dict[str, Any], kind: str
) -> tuple[ModelConfig, InputConfig]:
    """Model and input for this kind of data from those of the checkpoint to start from.

    `initial_weights.initial_model` finds out whether the weights fit.
    """
    if kind == "video" and not source.temporal:
        model = video_config(source, **fields)
    else:
        length = {} if kind == "video" else {"temporal": False, "frames": 1}
        model = ModelConfig.from_dict(source.to_dict() | length | {"task": task_of_kind(kind).name} | fields)
    same_kind = (model.temporal, model.task == "segmentation") == (source.temporal, source.task == "segmentation")
    return model, info.input if same_kind else carried_input(model, info.input)
