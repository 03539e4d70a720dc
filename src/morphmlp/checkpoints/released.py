"""The checkpoints that the authors released: variant, frames and classes are read from names and shapes."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morphmlp.checkpoints.folder import CheckpointInfo, fit_state_dict, save
from morphmlp.checkpoints.pickles import read_pickle, state_dict_in
from morphmlp.config import PUBLISHED_INPUTS, ModelConfig
from morphmlp.data.sets.class_names import PUBLISHED_LABELS, class_names_of
from morphmlp.errors import CheckpointError
from morphmlp.models.morphfc import group_width
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.models.zoo import VARIANTS, build_model


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


def read_released(
    source: str | Path | dict[str, Any],
    *,
    frames: int | None = None,
    start_frames: int | None = None,
    num_classes: int | None = None,
) -> MorphMLP:
    """As `load_released`, but of as many frames as the shapes tell where they are not those of `frames`.

    What the video start lacks is fresh, and `checkpoint_info.training["fresh"]` names it.

    Args:
        start_frames: of the video start, whose shapes tell nothing of them; it matters where `frames` is not given.
        num_classes: outputs of a fresh head; by default those of Kinetics-400.
    """
    name = _source_name(source)
    values = source if isinstance(source, dict) else read_pickle(Path(source))
    state = state_dict_in(values, name, shapes_only=isinstance(source, dict))
    if _is_start(state):
        frames = frames or start_frames
    config = _released_config(state, name, frames, num_classes)
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
    fresh = _start(config) if _is_start(state) else {}
    fresh = {ours: value for ours, value in fresh.items() if ours not in weights}
    fit_state_dict(model, fresh | weights, source=name, shown_name=_released_name)
    training = {"fresh": _parts(fresh)} if fresh else {}
    model.checkpoint_info = CheckpointInfo(input=PUBLISHED_INPUTS[_released_protocol(config)], training=training)
    return model.eval()


def _is_start(state: dict[str, Tensor]) -> bool:
    """Whether these are the image weights that the video recipes start from (Sec. 4.1).

    Their stem has three taps already, MorphFC_t is not in them ("randomly initialize"), and often no head is.
    """
    kernel = state.get("patch_embed1.proj1.weight")
    three_taps = kernel is not None and kernel.dim() == 5 and kernel.shape[2] == 3
    return three_taps and not any(".t_fc." in name for name in state)


def _start(config: ModelConfig) -> dict[str, Tensor]:
    """Temporal layers and head as a model starts with them; the head's draws are the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = build_model(config).state_dict()
    return {name: value for name, value in fresh.items() if ".temporal" in name or name.startswith("head.")}


def _parts(names: Iterable[str]) -> list[str]:
    """What fresh weights are called in a sentence."""
    parts = {name.split(".")[0] for name in names}  # a stage has nothing else that can be fresh
    return [shown for part, shown in (("stages", "temporal layers"), ("head", "head")) if part in parts]


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
        CheckpointError: the file or the protocol cannot be used, or file, labels and protocol do not fit each other.
        DataError: the labels cannot be used.
    """
    model = load_released(file, frames=frames)
    info = released_info(model, file, labels=labels, protocol=protocol)
    save(model, folder, info)
    return model, info


def released_info(
    model: MorphMLP, file: str | Path, *, labels: str | None = None, protocol: str | None = None
) -> CheckpointInfo:
    """What is saved beside a released model that was read from `file`.

    Args:
        labels: one of `PUBLISHED_LABELS`, whose class names the package carries, or a text file with one name a line.
        protocol: one of `PUBLISHED_INPUTS`; by default that of `labels`, else the one that the number of classes tells.

    Raises:
        CheckpointError: the protocol cannot be used.
        DataError: the labels cannot be used.
    """
    protocol = protocol or (labels if labels in PUBLISHED_LABELS else _released_protocol(model.config))
    if protocol not in PUBLISHED_INPUTS:
        raise CheckpointError(f"protocol {protocol!r} is unknown; allowed: {', '.join(PUBLISHED_INPUTS)}")
    return CheckpointInfo(
        input=PUBLISHED_INPUTS[protocol],
        labels=class_names_of(labels) if labels else [],
        training=_training_of(model) | {"released": Path(file).name, "protocol": protocol},
    )


def _training_of(model: MorphMLP) -> dict[str, Any]:
    return model.checkpoint_info.training if model.checkpoint_info else {}


def _source_name(source: str | Path | dict[str, Any]) -> str:
    return "the state dict" if isinstance(source, dict) else str(source)


def _released_protocol(config: ModelConfig) -> str:
    """Both Something-Something sets have 174 classes and one protocol; K400's is taken for any other video model."""
    if not config.temporal:
        return "imagenet"
    return "ssv2" if config.num_classes == 174 else "k400"


def _released_config(state: dict[str, Tensor], name: str, frames: int | None, num_classes: int | None) -> ModelConfig:
    """Reads the variant from block counts and widths, frames from the temporal FCs, classes from the head."""
    depths = tuple(
        len({match[1] for key in state if (match := re.match(rf"blocks{stage}\.(\d+)\.", key))})
        for stage in (1, 2, 3, 4)
    )
    widths = tuple(_length(state, f"blocks{stage}.0.norm1.weight") for stage in (1, 2, 3, 4))
    start = _is_start(state)
    temporal = start or any(".t_fc." in key for key in state)
    for config in VARIANTS.values():
        if (config.depths, config.widths, config.temporal) == (depths, widths, temporal):
            break
    else:
        kind = "video" if temporal else "image"
        known = "; ".join(
            f"{config.name} {config.depths} {config.widths}" for config in VARIANTS.values() if config.image_size == 224
        )
        raise CheckpointError(f"{name} is no released {kind} model: depths {depths}, widths {widths}; known: {known}")
    classes = _length(state, "head.weight") or (start and (num_classes or config.num_classes))
    if not classes:
        raise CheckpointError(f"{name}: head.weight is missing, so the number of classes is unknown")
    clip_length = _released_frames(state, widths, name, frames) if temporal else 1
    return ModelConfig.from_dict(config.to_dict() | {"num_classes": classes, "frames": clip_length})


def _released_frames(state: dict[str, Tensor], widths: tuple[int, ...], name: str, frames: int | None) -> int:
    """Frames of a clip, from the sizes T' * D of the temporal FCs.

    They tell 16 from 32 frames by the width 392, which T' = 16 does not divide: 392 values or 448. Other lengths
    may share their sizes with these (8 frames with 16), so they are taken only when `frames` says so.
    """
    if _is_start(state):
        return frames or 16
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
