"""A checkpoint: a folder of `model.safetensors` and `config.json`, which holds all that a prediction depends on."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from morphmlp.checkpoints.hub import is_hub_name, local_checkpoint
from morphmlp.checkpoints.info import CONFIG_FILE, WEIGHTS_FILE, CheckpointInfo, config_values, load_config
from morphmlp.checkpoints.pickles import require_weights
from morphmlp.checkpoints.starts import is_start
from morphmlp.config import default_input
from morphmlp.errors import CheckpointError
from morphmlp.files import replace_json, replaced_folder, require_file
from morphmlp.formatting import as_json, shortened
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import build_model

__all__ = ["CheckpointInfo", "fit_state_dict", "load", "load_config", "load_with_info", "rewrite_info", "save"]


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
    (folder / CONFIG_FILE).write_text(as_json(config_values(model.config, info), indent=2) + "\n", encoding="utf-8")


def require_rewritable(folder: str | Path) -> None:
    """Raises CheckpointError where a checkpoint is none of the user's folders, so that it stays as it is."""
    if is_hub_name(folder):
        raise CheckpointError(f"{folder} is on the hub, and stays as it is there: give --out FOLDER for a changed copy")
    if is_start(folder):
        raise CheckpointError(f"{folder} is of the package, and stays as it is: give --out FOLDER for a changed copy")
    if not os.access(local_checkpoint(folder), os.W_OK):
        raise CheckpointError(f"{folder} cannot be written to: give --out FOLDER for a changed copy")


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
    if out is None:
        require_rewritable(folder)
    folder = local_checkpoint(folder)
    model, info = load_config(folder)
    values = config_values(model, change(info))
    if out is None:
        replace_json(folder / CONFIG_FILE, values)
        return
    with replaced_folder(out) as temporary:
        shutil.copyfile(folder / WEIGHTS_FILE, temporary / WEIGHTS_FILE)
        replace_json(temporary / CONFIG_FILE, values)


def _info_of(model: MorphMLP) -> CheckpointInfo:
    """What was loaded with the model; for a fresh model, the input that it was designed for."""
    info = model.checkpoint_info or CheckpointInfo(input=default_input(model.config))
    fits = len(info.labels) in (0, model.config.num_classes)
    return info if fits else info.with_fresh_head()


def load(folder: str | Path) -> MorphMLP:
    """Loads a model in evaluation mode: of a checkpoint folder, of the package, or of the hub.

    Raises:
        CheckpointError: the folder or a file in it is missing or damaged, or the hub's cannot be fetched.
    """
    return load_with_info(folder)[0]


def load_with_info(folder: str | Path) -> tuple[MorphMLP, CheckpointInfo]:
    """Loads a checkpoint folder's model, in evaluation mode, and what is written beside it."""
    folder = local_checkpoint(folder)
    config, info = load_config(folder)
    path = folder / WEIGHTS_FILE
    if info.exported and not path.exists():
        raise CheckpointError(
            f"{folder} is an exported model, which predict, evaluate, watch, features and segment take; give the "
            "checkpoint that it was exported from"
        )
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
