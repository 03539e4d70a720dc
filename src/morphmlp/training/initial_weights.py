"""The weights that a training run starts from: fresh ones, or those of a checkpoint, made to fit model and data."""

from pathlib import Path

import torch
from torch import Tensor

from morphmlp.checkpoints.folder import CheckpointInfo, load_config, load_with_info
from morphmlp.checkpoints.frame_counts import resize_frames
from morphmlp.checkpoints.inflation import SPATIAL_FIELDS, TEMPORAL_FIELDS, inflated_weights
from morphmlp.checkpoints.released import read_released
from morphmlp.config import ModelConfig, RunConfig
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model
from morphmlp.tasks.registry import TASKS
from morphmlp.training.seeding import seed_step

BACKBONE = ("stem.", "downsamples.", "stages.")


def initial_model(config: RunConfig, classes: list[str]) -> tuple[MorphMLP, list[str]]:
    """The model to train, and notes on where its weights come from.

    `config.init` is a checkpoint folder, a start of the package or a released file: of the same model, of a video model
    of another frame count, which is carried over, or of an image classifier: a video model inflates it, and a model of
    another task takes its backbone.

    Raises:
        ConfigError: the model has not as many outputs as there are classes.
        CheckpointError: `config.init` cannot be read, or is of another architecture or kind.
    """
    if config.model.num_classes != len(classes):
        raise ConfigError(f"model.num_classes is {config.model.num_classes}; {config.data} has {len(classes)} classes")
    seed_step(config.train.seed, 0)
    fresh = build_model(config.model)
    if config.init is None:
        return fresh, []
    source, info = load_start(config.init, frames=config.model.frames)
    parts = fresh_parts(info)
    require_start(source.config, config.model, config.init, fresh=parts)
    weights, changes = _fitted_weights(source, config.model, parts)
    if "head" in parts:
        weights = {name: value for name, value in weights.items() if not name.startswith("head.")}
        changes = [*changes, "its head is fresh"]
    elif source.config.task == config.model.task:
        known = info.class_names(source.config.num_classes)
        classifier, change = _fitted_classifier(weights, fresh, known, classes)
        weights, changes = weights | classifier, [*changes, change]
    fresh.load_state_dict(fresh.state_dict() | weights)
    return fresh, [f"starts from {config.init} ({source.config.name}); {'; '.join(changes)}"]


def load_start(path: str | Path, *, frames: int | None = None) -> tuple[MorphMLP, CheckpointInfo]:
    """The model to start from, and what is known beside it: of a checkpoint folder, or of a released file.

    Args:
        frames: of the model to train; the authors' image weights for video, whose temporal layers are fresh, get them.

    Raises:
        CheckpointError: it cannot be read.
    """
    if not Path(path).is_file():
        return load_with_info(path)
    try:
        model = read_released(path, start_frames=None if frames == 1 else frames)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} is no checkpoint folder, and as a released file it cannot be used: {error}; files of other models "
            "must be converted first: `morphmlp convert FILE FOLDER` makes a folder of a released one"
        ) from None
    return model, model.checkpoint_info


def start_config(path: str | Path, *, frames: int | None = None) -> tuple[ModelConfig, CheckpointInfo]:
    """As `load_start`, but only the configuration, for which the weights in a folder are not read."""
    if not Path(path).is_file():
        return load_config(path)
    model, info = load_start(path, frames=frames)
    return model.config, info


def fresh_parts(info: CheckpointInfo) -> tuple[str, ...]:
    """Which parts of a start are fresh: "temporal layers", "head"."""
    return tuple(info.training.get("fresh") or ())


def fits(init: str, model: ModelConfig) -> bool:
    """Whether a checkpoint can be read, and a model can start from its weights."""
    try:
        source, info = start_config(init, frames=model.frames)
        require_start(source, model, init, fresh=fresh_parts(info))
    except CheckpointError:
        return False
    return True


def require_start(source: ModelConfig, model: ModelConfig, init: str, *, fresh: tuple[str, ...] = ()) -> None:
    """Raises CheckpointError where weights of `source` cannot become those of `model`.

    Args:
        fresh: of the source, the parts that need not fit; see `fresh_parts`.
    """
    if source.temporal and not model.temporal:
        raise CheckpointError(f"{init} is a video model ({source.name}); start an image model from an image checkpoint")
    if source.task not in (model.task, "classification"):
        raise CheckpointError(
            f"{init} is a {TASKS[source.task].model_noun} ({source.name}); start a {TASKS[model.task].model_noun} from "
            "a classifier's checkpoint"
        )
    if model.style == "cnn" and model.temporal != source.temporal:
        raise CheckpointError(
            f"{init} is an image model ({source.name}), which style 'cnn' cannot make a video model of"
        )
    fields = [*SPATIAL_FIELDS]
    fields += TEMPORAL_FIELDS if source.temporal and "temporal layers" not in fresh else ()
    fields += TASKS[source.task].head_fields if source.task == model.task else ()
    different = [name for name in fields if getattr(source, name) != getattr(model, name)]
    if different:
        sides = "; ".join(f"{name}: {getattr(source, name)}, {getattr(model, name)}" for name in different)
        raise CheckpointError(f"{init} does not fit the model to train; {sides}")


def _fitted_weights(
    source: MorphMLP, model: ModelConfig, fresh: tuple[str, ...]
) -> tuple[dict[str, Tensor], list[str]]:
    """The source's weights that the model takes, in its shapes, and what was done to them."""
    weights, former = source.state_dict(), source.config
    if model.task != former.task:
        backbone = {name: value for name, value in weights.items() if name.startswith(BACKBONE)}
        return backbone, [f"its backbone is taken, the {TASKS[model.task].head_noun} is fresh"]
    if model.temporal and not former.temporal:
        return inflated_weights(weights), [f"inflated to {model.frames} frames, the temporal layers are fresh"]
    if "temporal layers" in fresh:
        return {name: value for name, value in weights.items() if ".temporal" not in name}, [
            "the temporal layers are fresh"
        ]
    if model.frames != former.frames:
        change = f"its temporal layers are carried from {former.frames} to {model.frames} frames"
        return resize_frames(source, model.frames).state_dict(), [change]
    return weights, []


def _fitted_classifier(
    weights: dict[str, Tensor], fresh: MorphMLP, known: list[str], classes: list[str]
) -> tuple[dict[str, Tensor], str]:
    """The last layer for these classes, which is kept, put into their order, or fresh; and which of the three."""
    layer = TASKS[fresh.config.task].last_layer
    names = (f"{layer}.weight", f"{layer}.bias")
    what = "its head" if layer == "head" else "its last layer"
    if known == classes:
        return {}, f"{what} is kept"
    if sorted(known) == sorted(classes):
        rows = torch.tensor([known.index(name) for name in classes])
        return {name: weights[name][rows] for name in names}, f"{what} is kept, put into the order of these classes"
    change = f"{what} of {len(known)} classes is replaced by a fresh one of these {len(classes)} classes"
    return {name: fresh.state_dict()[name] for name in names}, change
