"""Checkpoints: ours to and from a folder, and the authors' released files.

Ours is a folder of `model.safetensors` and `config.json`, which holds all that a prediction depends on.
"""

import json
import math
import re
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

from morphmlp.config import PUBLISHED_INPUTS, PUBLISHED_LABELS, InputConfig, ModelConfig, default_input
from morphmlp.errors import CheckpointError, ConfigError
from morphmlp.files import read_class_names, replaced_folder
from morphmlp.formatting import shortened
from morphmlp.layers import group_width
from morphmlp.model import MorphMLP
from morphmlp.zoo import VARIANTS, build_model

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


@dataclass
class CheckpointInfo:
    """What stands in a checkpoint's `config.json` beside the model.

    Attributes:
        input: how a video becomes clips.
        labels: class names in the order of the logits; empty where they are unknown.
        training: a summary of how the weights came about, for people.
        version: of the package that wrote it.
    """

    input: InputConfig = field(default_factory=InputConfig)
    labels: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    version: str = field(default_factory=lambda: version("morphmlp"))


def save(model: MorphMLP, folder: str | Path, info: CheckpointInfo | None = None) -> None:
    """Writes a checkpoint folder: to a temporary name beside it, then renamed, so none is ever half-written.

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
    config = {
        "version": info.version,
        "model": model.config.to_dict(),
        "input": info.input.to_dict(),
        "labels": info.labels,
        "training": info.training,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _info_of(model: MorphMLP) -> CheckpointInfo:
    """What the model was loaded with; for a fresh one, the input that it was designed for."""
    info = model.checkpoint_info or CheckpointInfo(input=default_input(model.config))
    fits = len(info.labels) in (0, model.config.num_classes)
    return info if fits else replace(info, labels=[])  # its head was replaced


def load(folder: str | Path) -> MorphMLP:
    """Loads a checkpoint folder's model, in evaluation mode.

    Raises:
        CheckpointError: the folder or a file in it is missing or damaged.
    """
    return load_with_info(folder)[0]


def load_with_info(folder: str | Path) -> tuple[MorphMLP, CheckpointInfo]:
    """Loads a checkpoint folder's model, in evaluation mode, and what stands beside it."""
    config, info = load_config(folder)
    path = Path(folder) / WEIGHTS_FILE
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: the checkpoint is not complete") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): the file is damaged; use another checkpoint") from None
    with torch.device("meta"):
        model = build_model(config)
    fit_state_dict(model, weights, source=str(path))
    model.checkpoint_info = info
    return model.eval(), info


def load_config(folder: str | Path) -> tuple[ModelConfig, CheckpointInfo]:
    """Reads a checkpoint folder's `config.json`, without the weights."""
    path = Path(folder) / CONFIG_FILE
    _refuse_run(Path(folder))
    if not path.is_file():
        hint = "a released .pth or .pyth file must be converted first: `morphmlp convert FILE FOLDER`"
        raise CheckpointError(f"{folder} is no checkpoint folder ({CONFIG_FILE} is missing in it); {hint}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        model = ModelConfig.from_dict(values["model"])
        labels = values["labels"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise CheckpointError(f"{path}: labels must be a list of class names")
        if labels and len(labels) != model.num_classes:
            raise CheckpointError(f"{path}: {len(labels)} labels for a model of {model.num_classes} classes")
        info = CheckpointInfo(
            InputConfig.from_dict(values["input"]), labels, dict(values["training"]), str(values["version"])
        )
    except CheckpointError:
        raise
    except ConfigError as error:
        raise CheckpointError(f"{path} does not fit: {error}") from None
    except (KeyError, TypeError, ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error!r}): the file is damaged") from None
    return model, info


def _refuse_run(folder: Path) -> None:
    """A run has a `config.json` too; its checkpoints are the folders in it."""
    checkpoints = [f"{folder / name}" for name in ("best", "last") if (folder / name / CONFIG_FILE).is_file()]
    if checkpoints and not (folder / WEIGHTS_FILE).exists():
        raise CheckpointError(f"{folder} is a run, not a checkpoint; give {' or '.join(checkpoints)}")


def load_released(source: str | Path | dict[str, Any], *, frames: int | None = None) -> MorphMLP:
    """Builds the model of an authors' checkpoint; variant, frames and classes are read from the shapes.

    Args:
        source: a file, or a state dict; bare, or wrapped once or several times (`model_state`, `model`,
            `state_dict`, a `module.` prefix). Files of the ImageNet models have no temporal layers.
        frames: needed only for a clip length that the shapes do not tell, see `_released_frames`.

    Raises:
        CheckpointError: the file holds something else than tensors, or names, shapes and `frames` do not fit.
    """
    model = read_released(source, frames=frames)
    if frames not in (None, model.config.frames):
        found = f"{model.config.frames} frames" if model.config.temporal else "an image model"
        raise CheckpointError(
            f"{_source_name(source)}: its shapes are not those of {frames} frames, but of {found}; "
            f"`morphmlp convert FILE FOLDER --frames {frames}` carries it over"
        )
    return model


def read_released(source: str | Path | dict[str, Any], *, frames: int | None = None) -> MorphMLP:
    """As `load_released`, but of as many frames as the shapes tell where they are not those of `frames`."""
    name = _source_name(source)
    state = _unwrap(source if isinstance(source, dict) else _read_pickle(Path(source)), name)
    config = _released_config(state, name, frames)
    with torch.device("meta"):
        model = build_model(config)
    expected = {_released_name(ours): ours for ours in model.state_dict()}
    weights = {expected.get(theirs, theirs): tensor for theirs, tensor in state.items()}
    for ours, parameter in model.state_dict().items():
        if ours.endswith("num_batches_tracked"):  # counts training steps; some files leave it out
            weights.setdefault(ours, torch.zeros_like(parameter, device="cpu"))
        elif ours in weights and ".conv" in ours:
            # Kernels of 1 x 3 x 3 are 2-D convolutions here, and some image files hold 4-D stems.
            weights[ours] = _with_dimensions(weights[ours], parameter.dim())
    fit_state_dict(model, weights, source=name, shown_name=_released_name)
    model.checkpoint_info = CheckpointInfo(input=PUBLISHED_INPUTS[_released_protocol(config)])
    return model.eval()


def convert_released(
    file: str | Path,
    folder: str | Path,
    *,
    labels: str | None = None,
    protocol: str | None = None,
    frames: int | None = None,
) -> tuple[MorphMLP, CheckpointInfo]:
    """Writes an authors' checkpoint as a checkpoint folder.

    Args:
        labels, protocol: see `released_info`.
        frames: see `load_released`.

    Raises:
        CheckpointError: the file, the labels or the protocol cannot be used, or do not fit each other.
    """
    model = load_released(file, frames=frames)
    info = released_info(model, file, labels=labels, protocol=protocol)
    save(model, folder, info)
    return model, info


def released_info(
    model: MorphMLP, file: str | Path, *, labels: str | None = None, protocol: str | None = None
) -> CheckpointInfo:
    """What stands beside a released model that was read from `file`.

    Args:
        labels: one of `PUBLISHED_LABELS`, whose class names the package carries, or a text file with one name a line.
        protocol: one of `PUBLISHED_INPUTS`; by default that of `labels`, else the one that the number of classes tells.

    Raises:
        CheckpointError: the labels or the protocol cannot be used.
    """
    protocol = protocol or (labels if labels in PUBLISHED_LABELS else _released_protocol(model.config))
    if protocol not in PUBLISHED_INPUTS:
        raise CheckpointError(f"protocol {protocol!r} is unknown; allowed: {', '.join(PUBLISHED_INPUTS)}")
    return CheckpointInfo(
        input=PUBLISHED_INPUTS[protocol],
        labels=_read_labels(labels) if labels else [],
        training={"released": Path(file).name, "protocol": protocol},
    )


def _source_name(source: str | Path | dict[str, Any]) -> str:
    return "the state dict" if isinstance(source, dict) else str(source)


def _read_labels(labels: str) -> list[str]:
    """Class names of a data set whose names the package carries, or of a text file."""
    if labels in PUBLISHED_LABELS:
        return (files("morphmlp") / "labels" / f"{labels}.txt").read_text(encoding="utf-8").splitlines()
    if not Path(labels).is_file():
        raise CheckpointError(f"labels {labels!r}: neither {', '.join(PUBLISHED_LABELS)} nor a text file")
    return read_class_names(Path(labels))


def _released_protocol(config: ModelConfig) -> str:
    """Both Something-Something sets have 174 classes and one protocol; K400's is taken for any other video model."""
    if not config.temporal:
        return "imagenet"
    return "ssv2" if config.num_classes == 174 else "k400"


def fit_state_dict(model: MorphMLP, weights: dict[str, Tensor], *, source: str, shown_name: Any = str) -> None:
    """Puts the weights into a model built on the meta device.

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
    tensors = {name: weights[name].to(wanted[name].dtype).clone() for name in wanted}
    model.load_state_dict(tensors, strict=True, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def _read_pickle(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a released .pth or .pyth file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the safe loader raises many kinds; all mean the same to the user
        foreign = re.search(r"unsupported global\W+(?:global )?([\w.]+)", str(error), re.IGNORECASE)
        reason = f"it holds {foreign[1]}" if foreign else f"it is no readable pickle: {type(error).__name__}"
        raise CheckpointError(f"{path} is refused: {reason}; only files of plain tensors are loaded") from None


def _unwrap(values: Any, name: str) -> dict[str, Tensor]:
    """The state dict inside its wrappings, prefixes removed."""
    wrappings = ("model_state", "state_dict", "model", "module", "model_ema")
    while isinstance(values, dict) and (found := [key for key in wrappings if isinstance(values.get(key), dict)]):
        values = values[found[0]]
    if not isinstance(values, dict) or not values:
        raise CheckpointError(f"{name} holds no state dict: expected names with tensors, or `model_state` around them")
    others = [key for key, value in values.items() if not isinstance(value, Tensor) or not isinstance(key, str)]
    if others:
        raise CheckpointError(f"{name} holds something else than tensors: {shortened(list(map(str, others)))}")
    return {re.sub(r"^((module|model)\.)+", "", key): value for key, value in values.items()}


def _released_config(state: dict[str, Tensor], name: str, frames: int | None) -> ModelConfig:
    """Reads the variant from block counts and widths, frames from the temporal FCs, classes from the head."""
    depths = tuple(
        len({match[1] for key in state if (match := re.match(rf"blocks{stage}\.(\d+)\.", key))})
        for stage in (1, 2, 3, 4)
    )
    widths = tuple(_length(state, f"blocks{stage}.0.norm1.weight") for stage in (1, 2, 3, 4))
    temporal = any(".t_fc." in key for key in state)
    for config in VARIANTS.values():
        if (config.depths, config.widths, config.temporal) == (depths, widths, temporal):
            break
    else:
        kind = "video" if temporal else "image"
        known = "; ".join(
            f"{config.name} {config.depths} {config.widths}" for config in VARIANTS.values() if config.image_size == 224
        )
        raise CheckpointError(f"{name} is no released {kind} model: depths {depths}, widths {widths}; known: {known}")
    num_classes = _length(state, "head.weight")
    if not num_classes:
        raise CheckpointError(f"{name}: head.weight is missing, so the number of classes is unknown")
    clip_length = _released_frames(state, widths, name, frames) if temporal else 1
    return ModelConfig.from_dict(config.to_dict() | {"num_classes": num_classes, "frames": clip_length})


def _released_frames(state: dict[str, Tensor], widths: tuple[int, ...], name: str, frames: int | None) -> int:
    """Frames of a clip, from the sizes T' * D of the temporal FCs.

    They tell 16 from 32 frames by the width 392, which T' = 16 does not divide: 392 values or 448. Other lengths
    may share their sizes with these (8 frames with 16), so they are taken only when `frames` says so.
    """
    sizes = [_length(state, f"blocks{stage}.0.t_fc.mlp_t.weight") for stage in (1, 2, 3, 4)]
    for candidate in (frames or 0, 16, 32, 8, 64):
        num_steps = math.ceil(candidate / 2)
        if num_steps > 0 and sizes == [num_steps * group_width(width, num_steps) for width in widths]:
            return candidate
    tried = "16, 32, 8 or 64 frames" if frames is None else f"{frames} frames, nor of 16, 32, 8 or 64"
    raise CheckpointError(f"{name}: temporal FCs of sizes {sizes} are not those of {tried}; give frames=N")


def _length(state: dict[str, Tensor], name: str) -> int:
    """Length of a tensor's first axis; 0 where there is none."""
    return state[name].shape[0] if name in state and state[name].dim() else 0


def _with_dimensions(kernel: Tensor, dimensions: int) -> Tensor:
    """A convolution kernel with its time axis of length 1 taken out or put in; unchanged where it is longer."""
    if kernel.dim() == 5 and dimensions == 4 and kernel.shape[2] == 1:
        return kernel.squeeze(2)
    return kernel.unsqueeze(2) if kernel.dim() == 4 and dimensions == 5 else kernel


_RELEASED_NAMES = (
    (r"^stem\.conv(\d)", r"patch_embed1.proj\1"),
    (r"^stem\.norm(\d)", r"patch_embed1.norm\1"),
    (r"^downsamples\.(\d)\.conv", lambda match: f"patch_embed{int(match[1]) + 2}.proj"),
    (r"^downsamples\.(\d)\.norm", lambda match: f"patch_embed{int(match[1]) + 2}.norm"),
    (r"^stages\.(\d)\.", lambda match: f"blocks{int(match[1]) + 1}."),
    (r"\.temporal_norm\.", ".t_norm1."),
    (r"\.temporal\.fc\.fc\.", ".t_fc.mlp_t."),
    (r"\.temporal\.proj\.", ".t_fc.proj."),
    (r"\.spatial_norm\.", ".norm1."),
    # The spatial branch that stage 4 has alone is called mlp_h, like the vertical one of the other stages.
    (r"^(blocks4\.\d+)\.spatial\.horizontal\.fc\.", r"\1.fc.mlp_h."),
    (r"\.spatial\.vertical\.fc\.", ".fc.mlp_h."),
    (r"\.spatial\.horizontal\.fc\.", ".fc.mlp_w."),
    (r"\.spatial\.channel\.", ".fc.mlp_c."),
    (r"\.spatial\.branch_weights\.", ".fc.reweight."),
    (r"\.spatial\.proj\.", ".fc.proj."),
    (r"\.mlp_norm\.", ".norm2."),
)


def _released_name(name: str) -> str:
    """The released name of one of our parameters.

    >>> _released_name("stages.0.1.spatial.vertical.fc.weight")
    'blocks1.1.fc.mlp_h.weight'
    """
    for pattern, replacement in _RELEASED_NAMES:
        name = re.sub(pattern, replacement, name)
    return name
