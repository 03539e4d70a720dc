"""What a checkpoint's `config.json` says: the model, and all that a prediction depends on beside its weights.

An exported folder has the same file. Nothing here loads torch.
"""

import difflib
import json
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from morphmlp.checkpoints.hub import CONFIG_FILE, local_checkpoint
from morphmlp.checkpoints.starts import STARTS
from morphmlp.config import InputConfig, ModelConfig
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.files import read_text

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
        thresholds: of a multi-label classifier, the least probability of each class with which it is among the answers;
            None is 0.5 for all.
        thresholds_from: the samples that they were fitted on, for people.
        exported: whether the folder is one of `morphmlp export`, which has the model in the form of another engine.

    Raises:
        ConfigError: the temperature is not within 0.001 and 1,000, or the threshold not within 0 and 1.
    """

    input: InputConfig = field(default_factory=InputConfig)
    labels: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    version: str = field(default_factory=lambda: version("morphmlp"))
    temperature: float = 1.0
    threshold: float | None = None
    exported: bool = field(default=False, compare=False)
    thresholds: list[float] | None = None
    thresholds_from: str = ""

    def __post_init__(self) -> None:
        # Ends beyond what any fit gives: outside them logits would overflow, or all classes be equal.
        if not (_is_number(self.temperature) and 0.001 <= self.temperature <= 1_000):
            raise ConfigError(f"temperature is {self.temperature!r}; allowed: 0.001 to 1,000")
        if self.threshold is not None and not (_is_number(self.threshold) and 0 <= self.threshold <= 1):
            raise ConfigError(f"threshold is {self.threshold!r}; allowed: 0 to 1, or None, which always answers")

        if self.thresholds is not None and not all(_is_number(t) and 0 <= t <= 1 for t in self.thresholds):
            raise ConfigError("a threshold of a class is no number from 0 to 1")

    @property
    def calibration(self) -> dict[str, float]:
        """Temperature and threshold, where they are not the usual ones."""
        usual = {"temperature": 1.0, "threshold": None}
        return {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}

    def with_fresh_head(self) -> "CheckpointInfo":
        """What still holds when the classifier is another one."""
        return replace(self, labels=[], temperature=1.0, threshold=None, thresholds=None, thresholds_from="")

    def class_names(self, num_classes: int) -> list[str]:
        """The labels; where they are unknown, the classes' numbers."""
        return self.labels or [str(i) for i in range(num_classes)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def load_config(folder: str | Path) -> tuple[ModelConfig, CheckpointInfo]:
    """Reads a checkpoint folder's `config.json`, without the weights."""
    folder = local_checkpoint(folder)
    path = folder / CONFIG_FILE
    if not path.exists():
        hint = "a released .pth or .pyth file must be converted first: `morphmlp convert FILE FOLDER`"
        if near := difflib.get_close_matches(str(folder), STARTS, n=1, cutoff=0.8):
            hint = f"did you mean {near[0]}, the start of the package?"
        raise CheckpointError(f"{folder} is no checkpoint folder ({CONFIG_FILE} is missing in it); {hint}")
    try:
        values = json.loads(read_text(path))
        model = ModelConfig.from_dict(values["model"])
        labels = values["labels"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise CheckpointError(f"{path}: labels must be a list of class names")
        if labels and len(labels) != model.num_classes:
            raise CheckpointError(f"{path}: {len(labels)} labels for a model of {model.num_classes} classes")
        names = ("temperature", "threshold", "thresholds", "thresholds_from")
        info = CheckpointInfo(
            InputConfig.from_dict(values["input"]),
            labels,
            dict(values["training"]),
            str(values["version"]),
            **{name: values[name] for name in names if name in values},
            exported="export" in values,
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


def config_values(model: ModelConfig, info: CheckpointInfo) -> dict[str, Any]:
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
        **_thresholds(info),
    }


def _thresholds(info: CheckpointInfo) -> dict[str, Any]:
    """What is written of the thresholds of classes; nothing where there are none."""
    if info.thresholds is None:
        return {}
    return {"thresholds": list(info.thresholds), "thresholds_from": info.thresholds_from}


def _refuse_calibration(model: ModelConfig, info: CheckpointInfo) -> None:
    if model.task != "classification" and info.calibration:
        raise CheckpointError(
            f"{' and '.join(info.calibration)} of a model for {model.task}: only classifiers of one class have any"
        )
    if info.thresholds is not None and not (model.multi_label and len(info.thresholds) == model.num_classes):
        raise CheckpointError(
            f"{len(info.thresholds)} thresholds of classes, but the model is for {model.task} of {model.num_classes} "
            "classes: only multi-label classifiers have any, one a class"
        )
