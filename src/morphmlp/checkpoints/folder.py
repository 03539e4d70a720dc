"""A checkpoint: a folder of `model.safetensors` and `config.json`, which holds all that a prediction depends on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from morphmlp.checkpoints.hub import CONFIG_FILE, is_hub_name, local_checkpoint
from morphmlp.checkpoints.pickles import require_weights
from morphmlp.config import InputConfig, ModelConfig, default_input
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.files import read_text, replace_json, replaced_folder, require_file
from morphmlp.formatting import as_json, shortened
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model

WEIGHTS_FILE = "model.safetensors"


@dataclass
class CheckpointInfo:
    """What a checkpoint's `config.json` holds beside the model.

    Attributes:
        input: how a video becomes clips.
        labels: class names in the order of the logits; empty where they are unknown.
        training: a summary of how the weights came about, for people.
        version: of the package that wrote it.
        temperature: what the logits are divided by before any softmax; `morphmlp calibrate` fits it.
        threshold: the least probability of the best class with which a classifier answers; None always answers.

    Raises:
        ConfigError: the temperature is not within 0.001 and 1,000, or the threshold not within 0 and 1.
    """

    input: InputConfig = field(default_factory=InputConfig)
    labels: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    version: str = field(default_factory=lambda: version("morphmlp"))
    temperature: float = 1.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        # Ends beyond what any fit gives: outside them logits would overflow, or all classes be equal.
        if not (_is_number(self.temperature) and 0.001 <= self.temperature <= 1_000):
            raise ConfigError(f"temperature is {self.temperature!r}; allowed: 0.001 to 1,000")
        if self.threshold is not None and not (_is_number(self.threshold) and 0 <= self.threshold <= 1):
            raise ConfigError(f"threshold is {self.threshold!r}; allowed: 0 to 1, or None, which always answers")

    @property
    def calibration(self) -> dict[str, float]:
        """Temperature and threshold, where they are not the usual ones."""
        usual = {"temperature": 1.0, "threshold": None}
        return {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}

    def with_fresh_head(self) -> "CheckpointInfo":
        """What still holds when the classifier is another one."""
        return replace(self, labels=[], temperature=1.0, threshold=None)

    def class_names(self, num_classes: int) -> list[str]:
        """The labels; where they are unknown, the classes' numbers."""
        return self.labels or [str(i) for i in range(num_classes)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def save(model: MorphMLP, folder: str | Path, info: CheckpointInfo | None = None) -> None:
    """Writes a checkpoint folder: to a temporary name beside it, then renamed, so that none is ever half-written.

    Raises:
        CheckpointError: the labels are not as many as the classes, `folder` holds something else, or the model is one
            that `optimize` arranged.
    """
    if not isinstance(model, MorphMLP):
        raise CheckpointError(
            f"a {type(model).__name__} cannot be saved; save the model that it was made from, one of create_model"
        )
    folder, info = Path(folder), info or _info_of(model)
    num_classes = model.config.num_classes
    if isinstance(model.head, torch.nn.Identity):
        raise CheckpointError("the model has no classifier, which a checkpoint holds; give it one by reset_head")
    if info.labels and len(info.labels) != num_classes:
        raise CheckpointError(f"{len(info.labels)} labels for a model of {num_classes} classes: give one name a class")
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; a checkpoint is a folder")
    if folder.exists() and {path.name for path in folder.iterdir()} not in (set(), {WEIGHTS_FILE, CONFIG_FILE}):
        raise CheckpointError(f"{folder} holds something else than a checkpoint; save to a new or empty folder")
    with replaced_folder(folder) as temporary:
        write_checkpoint(model, temporary, info)


def write_checkpoint(model: MorphMLP, folder: Path, info: CheckpointInfo) -> None:
    """Writes the files of a checkpoint into a folder that exists."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # Not the library's own save_file: it reports a full disk as an error of the format, and hides the file from others.
    (folder / WEIGHTS_FILE).write_bytes(serialize(weights))
    (folder / CONFIG_FILE).write_text(as_json(_config_values(model.config, info), indent=2) + "\n", encoding="utf-8")


def rewrite_info(
    folder: str | Path, change: Callable[[CheckpointInfo], CheckpointInfo], *, out: str | Path | None = None
) -> None:
    """Writes a checkpoint's `config.json` anew; the weights stay as they are.

    Args:
        change: from what the file holds to what it shall hold.
        out: leaves the checkpoint alone and writes a changed copy into this folder.

    Raises:
        CheckpointError: `folder` is no checkpoint.
        OSError: a file cannot be written; the checkpoint stays as it was.
    """
    if out is None and is_hub_name(folder):
        raise CheckpointError(f"{folder} is on the hub, and stays as it is there: give --out FOLDER for a changed copy")
    folder = local_checkpoint(folder)
    model, info = load_config(folder)
    values = _config_values(model, change(info))
    if out is None:
        replace_json(folder / CONFIG_FILE, values)
        return
    with replaced_folder(out) as temporary:
        shutil.copyfile(folder / WEIGHTS_FILE, temporary / WEIGHTS_FILE)
        replace_json(temporary / CONFIG_FILE, values)


def _config_values(model: ModelConfig, info: CheckpointInfo) -> dict[str, Any]:
    """What `config.json` holds; of a checkpoint that was never calibrated, what it held before there was `calibrate`.

    Raises:
        CheckpointError: the model names no classes of whole videos, but has a temperature or a threshold.
    """
    info = replace(info)  # checks its fields again, which a program may have set
    _refuse_calibration(model, info)
    return {
        "version": info.version,
        "model": model.to_dict(),
        "input": info.input.to_dict(),
        "labels": info.labels,
        "training": info.training,
        **info.calibration,
    }


def _refuse_calibration(model: ModelConfig, info: CheckpointInfo) -> None:
    if model.task != "classification" and info.calibration:
        raise CheckpointError(
            f"{' and '.join(info.calibration)} of a model for {model.task}: only classifiers have any"
        )


def _info_of(model: MorphMLP) -> CheckpointInfo:
    """What was loaded with the model; for a fresh model, the input that it was designed for."""
    info = model.checkpoint_info or CheckpointInfo(input=default_input(model.config))
    fits = len(info.labels) in (0, model.config.num_classes)
    return info if fits else info.with_fresh_head()


def load(folder: str | Path) -> MorphMLP:
    """Loads a model in evaluation mode: of a checkpoint folder, or of the hub as `hf://owner/name[@revision]`.

    Raises:
        CheckpointError: the folder or a file in it is missing or damaged, or the hub's cannot be fetched.
    """
    return load_with_info(folder)[0]


def load_with_info(folder: str | Path) -> tuple[MorphMLP, CheckpointInfo]:
    """Loads a checkpoint folder's model, in evaluation mode, and what is written beside it."""
    folder = local_checkpoint(folder)
    config, info = load_config(folder)
    path = folder / WEIGHTS_FILE
    try:
        require_file(path)  # to the library, a file that may not be read is a missing one
        weights = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: the checkpoint is not complete") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read ({error}): the file is damaged; use another checkpoint") from None
    require_weights(weights, str(path))
    with torch.device("meta"):
        model = build_model(config)
    fit_state_dict(model, weights, source=str(path))
    model.checkpoint_info = info
    return model.eval(), info


def load_config(folder: str | Path) -> tuple[ModelConfig, CheckpointInfo]:
    """Reads a checkpoint folder's `config.json`, without the weights."""
    folder = local_checkpoint(folder)
    path = folder / CONFIG_FILE
    _refuse_run(folder)
    if not path.exists():
        hint = "a released .pth or .pyth file must be converted first: `morphmlp convert FILE FOLDER`"
        raise CheckpointError(f"{folder} is no checkpoint folder ({CONFIG_FILE} is missing in it); {hint}")
    try:
        values = json.loads(read_text(path))
        model = ModelConfig.from_dict(values["model"])
        labels = values["labels"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise CheckpointError(f"{path}: labels must be a list of class names")
        if labels and len(labels) != model.num_classes:
            raise CheckpointError(f"{path}: {len(labels)} labels for a model of {model.num_classes} classes")
        info = CheckpointInfo(
            InputConfig.from_dict(values["input"]),
            labels,
            dict(values["training"]),
            str(values["version"]),
            **{name: values[name] for name in ("temperature", "threshold") if name in values},
        )
        _refuse_calibration(model, info)
    except CheckpointError:
        raise
    except ConfigError as error:
        raise CheckpointError(f"{path} does not fit: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:  # which holds, and would print, the whole file
        raise CheckpointError(f"{path} cannot be read (it is no text in UTF-8): the file is damaged") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error!r}): the file is damaged") from None
    return model, info


def _refuse_run(folder: Path) -> None:
    """A run has a `config.json` too; its checkpoints are the folders in it."""
    checkpoints = [f"{folder / name}" for name in ("best", "last") if (folder / name / CONFIG_FILE).is_file()]
    if checkpoints and not (folder / WEIGHTS_FILE).exists():
        raise CheckpointError(f"{folder} is a run, not a checkpoint; give {' or '.join(checkpoints)}")


def fit_state_dict(
    model: MorphMLP, weights: dict[str, Tensor], *, source: str, shown_name: Callable[[str], str] = str
) -> None:
    """Puts the weights into a model that was built on the meta device.

    Args:
        source: of the weights, for the message.
        shown_name: what the source calls a parameter of ours.

    Raises:
        CheckpointError: one message that lists missing, unexpected and misshapen names.
    """
    wanted = model.state_dict()
    missing = [shown_name(name) for name in wanted if name not in weights]
    unexpected = [name for name in weights if name not in wanted]
    misshapen = [
        f"{shown_name(name)} {list(weights[name].shape)} instead of {list(wanted[name].shape)}"
        for name in wanted
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    if missing or unexpected or misshapen:
        sides = {"missing": missing, "not in the model": unexpected, "of another shape": misshapen}
        lists = "; ".join(f"{side} ({len(names)}): {shortened(names)}" for side, names in sides.items() if names)
        raise CheckpointError(f"{source} does not fit {model.config.name}: {lists}")
    # Not the dtypes that the model was built in: a program can have set another one for all that it builds.
    dtypes = {name: torch.float32 if tensor.is_floating_point() else tensor.dtype for name, tensor in wanted.items()}
    tensors = {name: weights[name].to(dtypes[name]).clone() for name in wanted}
    model.load_state_dict(tensors, strict=True, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
