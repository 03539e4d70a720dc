"""Looks inside a model at one video or image: feature maps (Fig. 1), what its FCs learnt, branch weights, Grad-CAM.

Computation only; `figures.py` draws it. A clip is `[1, 3, T, H, W]` as the model takes it, stages and blocks
are counted from 1, as in the paper.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from morphmlp.checkpoints.folder import load_with_info
from morphmlp.checkpoints.info import load_config
from morphmlp.config import InputConfig, ModelConfig
from morphmlp.data.batches.loaders import BrokenSample, TestClips
from morphmlp.data.clips.seen import seen_frames
from morphmlp.data.media.animations import is_animation
from morphmlp.data.media.sources import media_kind
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import CheckpointError, ConfigError, MediaError
from morphmlp.inference.device import evaluating, require_finite, resolve_device
from morphmlp.inference.grad_cam import blocks_of, grad_cams, recorded
from morphmlp.models.morphfc import ChunkFC, SpatialFC, TemporalFC
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.classification.prediction import with_protocol

NUM_STAGES = 4


class MixingFC(NamedTuple):
    """An FC over chunks of tokens, and where it is; kind: "vertical", "horizontal", "whole map" or "temporal"."""

    stage: int
    block: int
    kind: str
    fc: ChunkFC


class BlockBranches(NamedTuple):
    """The weights of a block's branches for one clip: `[branches, C]`, which sum to 1 for each channel."""

    stage: int
    block: int
    names: list[str]
    weights: np.ndarray


@dataclass(frozen=True)
class Insight:
    """What a model does with one clip.

    Attributes:
        config: of the model.
        clip: the frames as the model saw them, uint8 `[T, H, W, 3]` in RGB.
        target: name of the class that Grad-CAM is for.
        target_share: its probability; for a segmenter, its share of the pixels.
        predicted: whether the model predicts it; for a segmenter, whether most pixels get it.
        stage: the stage of `feature_map`.
        feature_map: `[T', h, w]`, see `feature_map`.
        cams: stage -> `[T', h, w]`, see `grad_cams`.
        branches: of each block with a weighted sum.
        fcs: of each block, on the CPU.
    """

    config: ModelConfig
    clip: np.ndarray
    target: str
    target_share: float
    predicted: bool
    stage: int
    feature_map: np.ndarray
    cams: dict[int, np.ndarray]
    branches: list[BlockBranches]
    fcs: list[MixingFC]


def look_inside(
    checkpoint: str | Path,
    path: str | Path,
    *,
    stage: int = 3,
    class_name: str | None = None,
    device: str = "auto",
) -> Insight:
    """Looks inside a checkpoint's model at the middle view of a video, or at an image.

    Args:
        stage: 1 to 4, of the feature map and, beside the last stage, of Grad-CAM.
        class_name: for Grad-CAM; by default the predicted class.

    Raises:
        CheckpointError: the folder is no checkpoint.
        ConfigError: the stage or class does not exist, or no pixel shows the class.
        MediaError: the file cannot be read, or is not of the model's kind.

    >>> look_inside("runs/demo/run/best", "video.mp4").target
    'moving_up'
    """
    if not 1 <= stage <= NUM_STAGES:
        raise ConfigError(f"stage {stage} does not exist; allowed: 1 to {NUM_STAGES}")
    _refuse_exported(checkpoint)
    model, info = load_with_info(checkpoint)
    labels = info.class_names(model.config.num_classes)
    asked = None if class_name is None else class_number(class_name, labels)  # before anything is read
    clip = read_view(path, model, info.input)
    fcs = mixing_fcs(model)  # before the model may move to another device
    model.to(resolve_device(device))
    on_device = clip.to(next(model.parameters()).device)
    shares = predicted_shares(model, on_device, path=path, temperature=info.temperature)
    best = int(shares.argmax())
    target = best if asked is None else asked
    if shares[target] == 0 and model.config.task == "segmentation":
        shown = ", ".join(repr(labels[int(i)]) for i in shares.argsort(descending=True)[:3] if shares[i] > 0)
        raise ConfigError(f"no pixel of {path} is predicted as {labels[target]!r}; most are {shown}")
    cams = grad_cams(model, on_device, target, stages=sorted({stage, NUM_STAGES}))
    return Insight(
        config=model.config,
        clip=seen_frames(clip, info.input),
        target=labels[target],
        target_share=float(shares[target]),
        predicted=target == best,
        stage=stage,
        feature_map=feature_map(model, on_device, stage).cpu().numpy(),
        cams={cam_stage: cam.cpu().numpy() for cam_stage, cam in cams.items()},
        branches=branch_weights(model, on_device),
        fcs=fcs,
    )


def _refuse_exported(checkpoint: str | Path) -> None:
    if load_config(checkpoint)[1].exported:
        raise CheckpointError(
            f"{checkpoint} is an exported model, which computes no gradients, as Grad-CAM needs, and shows no map of a "
            "stage; give the checkpoint that it was exported from"
        )


def class_number(name: str, labels: Sequence[str]) -> int:
    """The number of a class.

    Raises:
        ConfigError: no class has this name; the message has the near names.
    """
    if name not in labels:
        near = difflib.get_close_matches(name, labels, n=3, cutoff=0.4) or list(labels[:3])
        raise ConfigError(f"class {name!r} is unknown to this model; did you mean {', '.join(map(repr, near))}?")
    return labels.index(name)


def read_view(path: str | Path, model: MorphMLP, config: InputConfig) -> Tensor:
    """The one view of a test with one clip and one crop: `[1, 3, T, H, W]`, normalised.

    Raises:
        MediaError: the file cannot be read, or is not of the model's kind.
    """
    is_image = media_kind(path) == "image"
    if is_image == model.config.temporal and not (is_image and is_animation(path)):
        found, wanted = ("an image", "videos") if is_image else ("no image by its name", "images")
        raise MediaError(path, f"is {found}, but {model.config.name} is a model of {wanted}")
    one_view = with_protocol(config, num_clips=1, num_crops=1)
    view = TestClips([Sample(Path(path))], model.config.frames, one_view)[0]
    if isinstance(view, BrokenSample):
        raise MediaError(view.path, view.reason)
    return view.clips


def mixing_fcs(model: MorphMLP) -> list[MixingFC]:
    """The FCs over chunks of tokens, block by block; an ablation's other layers are left out."""
    found: list[MixingFC] = []
    for stage, block, layers in blocks_of(model):
        named: list[tuple[str, Any]] = []
        if isinstance(spatial := layers.spatial, SpatialFC):
            branches = [branch for branch in (spatial.vertical, spatial.horizontal) if branch is not None]
            named += zip(_branch_names(spatial), branches, strict=False)
        if isinstance(layers.temporal, TemporalFC):
            named.append(("temporal", layers.temporal.fc))
        found += [MixingFC(stage, block, kind, fc) for kind, fc in named if isinstance(fc, ChunkFC)]
    return found


def token_matrix(fc: ChunkFC) -> Tensor:
    """How strongly each token of a chunk acts on each other: `[L, L]`, rows are tokens written, columns tokens read.

    An entry is the root mean square of the D x D weights between the two tokens. The vectors are token-major, so the
    weights from token 2 to token 0 with D = 4 are `weight[0:4, 8:12]`.
    """
    tokens, width = fc.chunk_length, fc.group_width
    blocks = fc.fc.weight.detach().view(tokens, width, tokens, width)  # [to, D, from, D]
    return blocks.square().mean(dim=(1, 3)).sqrt()


def predicted_shares(
    model: MorphMLP, clip: Tensor, *, path: str | Path = "the clip", temperature: float = 1.0
) -> Tensor:
    """Probabilities of the classes, `[K]`; for a segmenter, the share of the pixels that each class gets.

    Raises:
        NotFiniteError: an output for the clip, that of `path`, is NaN or infinite.
    """
    with evaluating(model), torch.no_grad():
        logits = model(clip)[0]
    require_finite(logits[None], [path])
    if logits.dim() == 1:
        return logits.sigmoid() if model.config.multi_label else (logits / temperature).softmax(dim=0)
    return torch.bincount(logits.argmax(dim=0).flatten(), minlength=len(logits)) / logits[0].numel()


def feature_map(model: MorphMLP, clip: Tensor, stage: int) -> Tensor:
    """The spatial feature of a stage, as in Fig. 1: how far each token is from the clip's mean token, `[T', h, w]`.

    Root mean square over the channels. The plain norm would say little: a stage starts with a LayerNorm, after which
    all tokens have the same norm.
    """
    with evaluating(model), torch.no_grad():
        features = model.forward_features(clip)[stage - 1][0]  # [T', h, w, C]
    return (features - features.mean(dim=(0, 1, 2))).square().mean(dim=-1).sqrt()


def branch_weights(model: MorphMLP, clip: Tensor) -> list[BlockBranches]:
    """The softmax weights of each block's branches for a clip; none where branches are added up as they are."""
    weighted = [
        (stage, block, layers.spatial, layers.spatial.branch_weights)
        for stage, block, layers in blocks_of(model)
        if isinstance(layers.spatial, SpatialFC) and layers.spatial.branch_weights is not None
    ]
    with evaluating(model), torch.no_grad(), recorded(module for *_, module in weighted) as outputs:
        model(clip)
    # branches of [1, 1, 1, 1, C] -> [branches, C]
    return [
        BlockBranches(stage, block, _branch_names(spatial), torch.cat(outputs[module]).flatten(0, -2).cpu().numpy())
        for stage, block, spatial, module in weighted
    ]


def _branch_names(spatial: SpatialFC) -> list[str]:
    """In the order of the branch weights; without a vertical branch, the chunks span the map."""
    names = ["whole map"] if spatial.vertical is None else ["vertical", "horizontal"]
    return names if spatial.channel is None else [*names, "channel"]
