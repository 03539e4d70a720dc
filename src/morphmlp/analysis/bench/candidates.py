"""What `bench` times: a model in its settings, predicting or training, and the models of torchvision in theirs."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.analysis.bench.memory import saved_bytes
from morphmlp.analysis.bench.torchvision_models import PUBLISHED_SIZE, Published, Reference
from morphmlp.formatting import first_line
from morphmlp.inference.device import autocast
from morphmlp.inference.optimize import Agreement, agreement, optimize
from morphmlp.models.morphmlp import MorphMLP

Dtype = Literal["fp32", "bf16", "fp16", "int8"]
# How a step's setting names what it computes again in the backward pass, `ModelConfig.gradient_checkpointing`.
_RECOMPUTES: dict[str, bool | str] = {"": False, ", cheap recomputing": "cheap", ", gradient checkpointing": True}


@dataclass(frozen=True)
class Input:
    """The input of the models: a batch of square clips, or of images where `frames` is None."""

    batch: int
    frames: int | None
    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one clip `[3, T, H, W]` or image `[3, H, W]`."""
        return (3, *(() if self.frames is None else (self.frames,)), self.size, self.size)

    @property
    def unit(self) -> str:
        return "images" if self.frames is None else "clips"

    def random(self, device: torch.device) -> Tensor:
        return torch.randn((self.batch, *self.shape), device=device)


@dataclass(frozen=True)
class Subject:
    """A model that is timed in several settings: `multiply_adds` are those of one clip forward."""

    name: str
    multiply_adds: int
    published: Published | None


@dataclass(frozen=True)
class Candidate:
    """A model in one setting.

    Attributes:
        call: what is timed.
        dtype: of its matrix products; the machine's peak for this dtype is the yardstick.
        compiled: by torch.compile, or by another engine; what its operators move cannot be counted.
        passes: how often a call does the forward pass's arithmetic: 3 in training, where a layer has two gradients.
        agreement: with the plain model on the same clips; None for the plain model itself, and for other models.
        kept_bytes: bytes a clip that the forward pass keeps for the backward pass; None for a prediction.
        export_s: seconds that its export took, with opening it in its engine; None of PyTorch.
    """

    subject: Subject
    setting: str
    call: Callable[[], Any]
    dtype: Dtype
    compiled: bool = False
    passes: int = 1
    kept_bytes: Callable[[], int] | None = None
    agreement: Callable[[], Agreement] | None = None
    export_s: float | None = None


def inference_candidates(
    model: MorphMLP, subject: Subject, clips: Tensor, *, compiled: bool = False
) -> list[Candidate]:
    """The plain model, in evaluation mode, and its optimized forms."""
    settings: list[tuple[str, Dtype, bool]] = [("fp32, optimized", "fp32", False), ("bf16, optimized", "bf16", False)]
    if compiled:
        settings.append(("bf16, compiled", "bf16", True))
    candidates = [Candidate(subject, "fp32", partial(predict, model, clips), "fp32")]
    for setting, dtype, compile in settings:
        fast = optimize(model, dtype=dtype, compile=compile)
        same = partial(agreement, model, fast, clips)
        candidates.append(
            Candidate(subject, setting, partial(predict, fast, clips), dtype, compiled=compile, agreement=same)
        )
    return candidates


def predict(model: nn.Module, clips: Tensor, precision: str = "fp32") -> Tensor:
    """Logits; `precision` is that of autocast."""
    with torch.no_grad(), autocast(clips.device, precision):
        return model(clips)


class TrainingStep:
    """Forward, backward and an AdamW step; several steps may share a model and its optimizer."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        clips: Tensor,
        *,
        precision: Dtype,
        gradient_checkpointing: bool | str = False,
    ):
        self.model, self.optimizer, self.clips = model, optimizer, clips
        self.precision, self.gradient_checkpointing = precision, gradient_checkpointing

    def __call__(self) -> None:
        self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def loss(self) -> Tensor:
        """Cross-entropy against class 0, of clips or, for a segmenter, of pixels."""
        if isinstance(self.model, MorphMLP):
            self.model.gradient_checkpointing = self.gradient_checkpointing
        with autocast(self.clips.device, self.precision):
            logits = self.model(self.clips)
            labels = torch.zeros(logits.shape[:1] + logits.shape[2:], dtype=torch.long, device=logits.device)
            return F.cross_entropy(logits, labels)

    def saved_bytes(self) -> int:
        """Kept from the forward to the backward pass, for each clip of the batch."""
        return saved_bytes(self.loss, self.model) // len(self.clips)


def training_candidates(model: nn.Module, subject: Subject, clips: Tensor) -> list[Candidate]:
    """fp32 and bf16 autocast, and, where our model can, both with parts recomputed. Trains the model."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    can_recompute = isinstance(model, MorphMLP) and model.config.style == "transformer"
    candidates = []
    for suffix, recomputes in _RECOMPUTES.items() if can_recompute else [("", False)]:
        for dtype in ("fp32", "bf16"):
            step = TrainingStep(model, optimizer, clips, precision=dtype, gradient_checkpointing=recomputes)
            setting = ("bf16 autocast" if dtype == "bf16" else "fp32") + suffix
            candidates.append(Candidate(subject, setting, step, dtype, passes=3, kept_bytes=step.saved_bytes))
    return candidates


def reference_candidates(
    references: Sequence[Reference],
    fed: Input,
    clips: Tensor,
    *,
    training: bool = False,
    compiled: bool = False,
    elsewhere: Callable[[nn.Module, Subject, Tensor], list[Candidate]] = lambda model, subject, clips: [],
) -> tuple[list[Candidate], dict[str, str]]:
    """The models of torchvision in their settings, and the reason for each that does not take such clips, by name.

    For inference: fp32, bf16 autocast and bf16 weights, these also with the channels last in memory, which is faster
    for convolutions. Their clips are converted before the time is taken; our models convert theirs within it.

    Args:
        elsewhere: makes the candidates of a model in other engines than PyTorch.
    """
    candidates: list[Candidate] = []
    refused: dict[str, str] = {}
    for reference in references:
        published = reference.published if fed.size == PUBLISHED_SIZE else None
        try:
            if reason := reference.refusal(fed.frames, fed.size):
                raise ValueError(reason)
            subject = Subject(reference.name, reference.multiply_adds(fed.shape), published)
        except (RuntimeError, ValueError, AssertionError) as error:
            refused[reference.name] = first_line(error)
            continue
        model = reference.build().to(clips.device)
        if training:
            candidates += training_candidates(model, subject, clips)
        else:
            candidates += _reference_settings(model.eval(), subject, clips, compiled=compiled)
            candidates += elsewhere(model, subject, clips)
    return candidates, refused


def _reference_settings(model: nn.Module, subject: Subject, clips: Tensor, *, compiled: bool) -> list[Candidate]:
    half, half_clips = copy.deepcopy(model).bfloat16(), clips.bfloat16()
    layout: Any = torch.channels_last if clips.dim() == 4 else torch.channels_last_3d
    last, last_clips = copy.deepcopy(half).to(memory_format=layout), half_clips.contiguous(memory_format=layout)
    candidates = [
        Candidate(subject, "fp32", partial(predict, model, clips), "fp32"),
        Candidate(subject, "bf16 autocast", partial(predict, model, clips, "bf16"), "bf16"),
        Candidate(subject, "bf16 weights", partial(predict, half, half_clips), "bf16"),
        Candidate(subject, "bf16 weights, channels last", partial(predict, last, last_clips), "bf16"),
    ]
    if compiled:
        fast: Any = torch.compile(last)
        call = partial(predict, fast, last_clips)
        candidates.append(Candidate(subject, "bf16 weights, channels last, compiled", call, "bf16", compiled=True))
    return candidates
