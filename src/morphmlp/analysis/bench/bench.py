"""How fast a model predicts or trains on this machine: plain, optimized, and beside the models of torchvision.

All candidates take turns on the same random clips (`timing.measure`). Accuracies are the published ones: nothing here
measures them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from morphmlp.analysis.bench.candidates import (
    Candidate,
    Input,
    Subject,
    inference_candidates,
    predict,
    reference_candidates,
    training_candidates,
)
from morphmlp.analysis.bench.engines import (
    AUTOCAST,
    engine_candidates,
    exported_candidates,
)
from morphmlp.analysis.bench.memory import peak_bytes, traffic_bytes
from morphmlp.analysis.bench.timing import Machine, describe_machine, measure
from morphmlp.analysis.bench.torchvision_models import (
    PUBLISHED_SIZE,
    Published,
    Reference,
    image_references,
    video_references,
)
from morphmlp.analysis.paper.published import IMAGENET, TABLES
from morphmlp.checkpoints.folder import load_config, load_with_info
from morphmlp.errors import ConfigError
from morphmlp.inference.runtimes import Runtime, load_runtime
from morphmlp.models.cost import count
from morphmlp.models.morphmlp import MIN_SIZE_PX, MorphMLP
from morphmlp.models.zoo import create_model, model_config
from morphmlp.tasks.classification.prediction import model_kind


@dataclass(frozen=True)
class SpeedRow:
    """A model in one setting: what was measured, or why it was `refused`. An empty `setting` is all of its settings.

    Attributes:
        ratio: how many times as fast as the first row.
        share_of_peak: of the machine's fastest matrix product in the same dtype.
        share_of_bandwidth: what the operators read and write, see `memory.traffic_bytes`, as a share of what a copy in
            memory reads and writes in that time: above 1, caches hold a part of it. None for compiled models.
        first_call_s: the call before the turns; for a compiled model it is mostly compiling.
        fastest: whether it is the fastest of the model's settings.
        top1_agreement, largest_difference: of an optimized model with the plain one on the same random clips, see
            `inference.optimize.Agreement`.
        saved_bytes_per_clip: kept from forward for backward, see `memory.saved_bytes`.
        peak_bytes: the most that a call holds at once, see `memory.peak_bytes`. On a CPU, None for compiled models.
        export_s: seconds of the export of a model in another engine.
    """

    model: str
    setting: str
    published: Published | None = None
    refused: str | None = None
    median_s: float | None = None
    turns_s: list[float] | None = None
    clips_per_s: float | None = None
    ratio: float | None = None
    share_of_peak: float | None = None
    share_of_bandwidth: float | None = None
    first_call_s: float | None = None
    fastest: bool = False
    top1_agreement: float | None = None
    largest_difference: float | None = None
    saved_bytes_per_clip: int | None = None
    peak_bytes: int | None = None
    export_s: float | None = None


@dataclass(frozen=True)
class Report:
    """Rows and all that they depend on."""

    machine: Machine
    input: Input
    training: bool
    turns: int
    rows: list[SpeedRow]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def bench(
    model: MorphMLP | Runtime,
    fed: Input,
    *,
    published: Published | None = None,
    against: Sequence[Reference] = (),
    training: bool = False,
    compiled: bool = False,
    engines: Sequence[str] = (),
    turns: int = 5,
    device: torch.device | None = None,
    machine: Machine | None = None,
    before: Callable[[MorphMLP, Subject, Tensor], list[Candidate]] | None = None,
) -> Report:
    """Times a model and, if any, models of torchvision, each in its settings.

    Args:
        model: ours, or one that was exported before.
        engines: "onnxruntime" and "openvino": all models are exported for them, and take part in the turns.
        machine: saves measuring its peaks where they are known.
        before: makes candidates that come before the model's own; the first of all is the reference.

    Raises:
        InputShapeError: the model does not take such clips.
    """
    device = device or torch.device("cpu")
    clips, subject = fed.random(device), subject_of(model, fed, published)
    if isinstance(model, Runtime):
        candidates = exported_candidates(model, subject, clips)
    else:
        own = training_candidates if training else partial(inference_candidates, compiled=compiled)
        model.to(device)
        candidates = [*(before(model, subject, clips) if before else []), *own(model, subject, clips)]
        if engines:
            candidates.append(Candidate(subject, AUTOCAST, partial(predict, model, clips, "bf16"), "bf16"))
        candidates += engine_candidates(model, subject, clips, engines)
    elsewhere = partial(engine_candidates, engines=engines)
    others, refused = reference_candidates(
        against, fed, clips, training=training, compiled=compiled, elsewhere=elsewhere
    )
    machine = machine or describe_machine(device)
    rows = compare([*candidates, *others], machine, fed, turns=turns, device=device)
    rows += [SpeedRow(name, "", refused=reason) for name, reason in refused.items()]
    return Report(machine, fed, training, turns, rows)


def compare(
    candidates: Sequence[Candidate], machine: Machine, fed: Input, *, turns: int, device: torch.device
) -> list[SpeedRow]:
    """Times the candidates in turns; the first is the reference. One that cannot run becomes a row with the reason."""
    calls = {f"{candidate.subject.name}, {candidate.setting}": candidate for candidate in candidates}
    assert len(calls) == len(candidates), "two candidates of one name"
    measured = measure({name: candidate.call for name, candidate in calls.items()}, turns, device=device)
    rows = []
    for name, candidate in calls.items():
        row = SpeedRow(candidate.subject.name, candidate.setting, candidate.subject.published)
        if name in measured.refused:
            rows.append(replace(row, refused=measured.refused[name]))
            continue
        timing = measured.timings[name]
        same = candidate.agreement() if candidate.agreement else None
        operations = 2 * candidate.passes * candidate.subject.multiply_adds * fed.batch
        peak = machine.peak_gflops.get(candidate.dtype)  # none is measured for fp16 and int8
        fused = candidate.compiled  # no single operator can be watched
        moved = None if fused else traffic_bytes(candidate.call)
        rows.append(
            replace(
                row,
                median_s=timing.median_s,
                turns_s=timing.turns_s,
                clips_per_s=fed.batch / timing.median_s,
                ratio=timing.ratio,
                share_of_peak=operations / timing.median_s / (peak * 1e9) if peak else None,
                share_of_bandwidth=moved / timing.median_s / (machine.copy_gb_s * 1e9) if moved else None,
                first_call_s=timing.first_s,
                top1_agreement=same.top1 if same else None,
                largest_difference=same.largest_difference if same else None,
                saved_bytes_per_clip=candidate.kept_bytes() if candidate.kept_bytes else None,
                export_s=candidate.export_s,
                peak_bytes=None if fused and device.type == "cpu" else peak_bytes(candidate.call, device),
            )
        )
    return mark_fastest(rows)


def mark_fastest(rows: Sequence[SpeedRow]) -> list[SpeedRow]:
    """The rows with `fastest` set in one of each model, among those that were timed."""
    seconds: dict[str, list[float]] = {}
    for row in rows:
        if row.median_s is not None:
            seconds.setdefault(row.model, []).append(row.median_s)
    return [replace(row, fastest=row.median_s is not None and row.median_s == min(seconds[row.model])) for row in rows]


def load_model(
    name: str | None, checkpoint: str | Path | None, frames: int | None, arch: Mapping[str, Any] = MappingProxyType({})
) -> tuple[MorphMLP, int]:
    """A named model with fresh weights (by default video S) or a checkpoint's model, and its usual size in px.

    Args:
        arch: fields of the named model that are to be others, see `ModelConfig`.

    Raises:
        ConfigError: two models are given, the name is unknown, or the model does not take so many frames.
        CheckpointError: the folder is no checkpoint.
    """
    if "" in (name, checkpoint):
        raise ConfigError("--model or --checkpoint is empty; give a name, or leave it out for video S")
    if name and checkpoint:
        raise ConfigError(f"--model {name} and --checkpoint {checkpoint}: give one of them")
    if checkpoint:
        if arch:
            raise ConfigError(f"--arch.{next(iter(arch))} is of a named model; leave it out with --checkpoint")
        model, info = load_with_info(checkpoint)
        size = min(info.input.crop)
    else:
        config = model_config(name or "morphmlp_video_s")
        takes_frames = config.temporal and frames is not None
        model = create_model(config.name, **(dict(arch) | ({"frames": frames} if takes_frames else {}))).eval()
        size = model.config.image_size
    if frames is not None and not model.config.temporal:
        raise ConfigError(f"--frames {frames}: {model.config.name} takes images; leave --frames out")
    if frames not in (None, model.config.frames):
        raise ConfigError(
            f"--frames {frames}: {checkpoint} takes clips of {model.config.frames}; leave --frames out, or carry it "
            f"to {frames} by `morphmlp convert {checkpoint} FOLDER --frames {frames}`"
        )
    return model, size


def load_exported(folder: str | Path) -> tuple[Runtime, int]:
    """The model of a folder that `morphmlp export` wrote, and its size in px.

    Raises:
        CheckpointError, UserError: it cannot be opened.
        ConfigError: it is not square.
    """
    runtime, crop = load_runtime(folder), load_config(folder)[1].input.crop
    if crop[0] != crop[1]:
        raise ConfigError(f"{folder} takes {crop[0]} x {crop[1]} px; only square clips and images are timed")
    return runtime, crop[0]


def input_for(model: MorphMLP | Runtime, *, batch: int, size: int) -> Input:
    """A batch of what the model takes, `size` px high and wide.

    Raises:
        ConfigError: a size below the smallest.
    """
    if size < MIN_SIZE_PX:
        raise ConfigError(f"--size {size}: {model.config.name} takes {MIN_SIZE_PX} px or more")
    return Input(batch, model.config.frames if model.config.temporal else None, size)


def subject_of(model: MorphMLP | Runtime, fed: Input, published: Published | None = None) -> Subject:
    return Subject(model.config.name, count(model.config, size=fed.size).multiply_adds, published)


def published_accuracy(name: str, fed: Input) -> Published | None:
    """The paper's top-1 of a named model on such clips or images: Kinetics-400 of Table 1, ImageNet-1K of Table 4.

    >>> published_accuracy("morphmlp_video_s", Input(batch=1, frames=16, size=224))
    Published(top1=78.7, frames=16, views=4)
    """
    if fed.size != PUBLISHED_SIZE:
        return None
    table, column = (4, IMAGENET) if fed.frames is None else (1, "K400 top-1")
    for row in TABLES[table].rows:
        for model in row.models:
            if model.name == name and model.overrides.get("frames") == fed.frames:
                return Published(row.published[column], fed.frames, row.views)
    return None


def references_for(model: MorphMLP | Runtime) -> list[Reference]:
    """The models of torchvision for the same task.

    Raises:
        ConfigError: the model is a segmenter.
    """
    if model.config.task == "segmentation":
        raise ConfigError(f"--against torchvision: {model.config.name} is a segmenter; only classifiers are compared")
    return video_references() if model_kind(model) == "video" else image_references()
