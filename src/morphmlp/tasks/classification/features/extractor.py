"""The vectors themselves: a classifier without its classifier, and what it says of files.

The features of the layer "head" are what the last FC is given: LayerNorm and the mean over all tokens (Sec. 3.3). As
the mean over a file's views and that FC commute, the FC of a file's features is the mean of its views' logits.
Of an exported classifier they are the second output, and need no torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphmlp.checkpoints.hub import local_checkpoint
from morphmlp.checkpoints.info import load_config
from morphmlp.config import InputConfig
from morphmlp.data.batches.views import BrokenSample
from morphmlp.data.clips.windows import clip_length_s, usual_windows
from morphmlp.data.media.sources import MediaKind, Source
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import ConfigError, MediaError
from morphmlp.inference.device import Execution, evaluating, require_finite
from morphmlp.inference.runtimes import ENGINES, FEATURES, Runtime, load_runtime
from morphmlp.tasks.classification.features.settings import Layer, Pooling, require_known
from morphmlp.tasks.classification.prediction import (
    input_for_test,
    loader_of,
    model_kind,
    run_views,
    task_of_classifier,
    videos_per_batch,
    views_for,
)
from morphmlp.tasks.registry import load_for_task, require_task
from morphmlp.tasks.shared_work import cut_in_batches, digest_of_model

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class SampleFeatures:
    """The features of a sample, the mean over its views; `note` says what is missing of a damaged video."""

    index: int
    vector: np.ndarray
    note: str | None = None


class FeatureExtractor:
    """A checkpoint or an exported model, ready to say what it sees in videos, or in images if it takes those.

    Example:
        >>> extract = FeatureExtractor("runs/demo/run/best")
        >>> extract("video.mp4").shape
        (128,)

    Args:
        checkpoint: a checkpoint folder, or one that `morphmlp export` wrote; ONNX and OpenVINO need no torch then.
        layer, pooling: see `FeatureModel`; an exported model has the layer "head" alone.
        num_clips, num_crops: views of the test protocol; by default what the checkpoint was saved with.
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        precision: "fp32", "bf16", or "fp16" by autocast.

    Attributes:
        kind: what it takes: "video" or "image".
        input: how a file becomes clips.

    Raises:
        CheckpointError: the folder is no checkpoint of a classifier, or was exported without features.
        ConfigError: the maps of several views were to be kept, the head was to be pooled otherwise, or another layer
            of an exported model is asked for.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        layer: Layer = "head",
        pooling: Pooling = "mean",
        num_clips: int | None = None,
        num_crops: int | None = None,
        device: str = "auto",
        precision: str = "fp32",
    ):
        require_known(layer, pooling)
        self.checkpoint = local_checkpoint(checkpoint)
        self.layer: Layer = layer
        self.pooling: Pooling = pooling
        self.config, self.info = load_config(checkpoint)
        require_task(checkpoint, self.config, task_of_classifier(checkpoint))
        load = self._exported if self.info.exported else self._module
        self.model: Any
        self.model, self._execution = load(checkpoint, Execution(device, precision))
        self.precision = self.model.export.precision if isinstance(self.model, Runtime) else precision
        self.kind: MediaKind = model_kind(self.model)
        self.input: InputConfig = input_for_test(self.model, self.info, num_clips=num_clips, num_crops=num_crops)
        self.num_views = self.input.num_clips * self.input.num_crops
        if pooling == "none" and self.num_views > 1:
            raise ConfigError(
                f"--pooling none keeps the map of one view, but {self.num_views} were asked for: their maps show "
                "different frames or places, so that their mean says nothing; give --clips 1 --crops 1"
            )

    def _exported(self, checkpoint: str | Path, execution: Execution) -> tuple[Runtime, Execution]:
        if self.layer != "head":
            raise ConfigError(
                f"--layer {self.layer}: an exported model has the features of its head alone, and {checkpoint} is one; "
                "leave out --layer, or give the checkpoint that it was exported from"
            )
        return load_runtime(self.checkpoint, execution, output=FEATURES), execution

    def _module(self, checkpoint: str | Path, execution: Execution) -> "tuple[nn.Module, Execution]":
        from morphmlp.inference.optimize import for_inference
        from morphmlp.tasks.classification.features.model import FeatureModel

        model, _ = load_for_task(checkpoint, task_of_classifier(checkpoint))
        return for_inference(FeatureModel(model, layer=self.layer, pooling=self.pooling), execution)

    def __call__(self, path: str | Path | Source) -> np.ndarray:
        """The features of one file or stretch, float32.

        Raises:
            MediaError: it cannot be read.
        """
        source = Path(path) if isinstance(path, str) else path
        (features,) = self.many([source], workers=0)
        if isinstance(features, MediaError):
            raise features
        return features

    def many(self, sources: Sequence[Source], *, workers: int = 2) -> Iterator[np.ndarray | MediaError]:
        """The features of each source, or why it cannot be read, in their order."""
        samples = [Sample(source) for source in sources]
        for found in self.batches(samples, self.batches_of(len(samples)), workers=workers):
            for result in sorted(found, key=lambda result: result.index):
                yield MediaError(result.path, result.reason) if isinstance(result, BrokenSample) else result.vector

    def batches_of(self, num_samples: int) -> list[range]:
        """Which samples are computed together; always the same, as rounding depends on it."""
        return cut_in_batches(num_samples, videos_per_batch(self.input))

    def batches(
        self, samples: Sequence[Sample], batches: Sequence[Sequence[int]], *, workers: int
    ) -> Iterator[list[SampleFeatures | BrokenSample]]:
        """The features of the samples of each batch, or why they cannot be read.

        Raises:
            NotFiniteError: a feature is NaN or infinite.
        """
        dataset = views_for(self.model)(samples, self.config.frames, self.input)  # type: ignore[arg-type]
        with evaluating(self.model):
            for batch in loader_of(dataset, [list(batch) for batch in batches], workers=workers):
                found: list[SampleFeatures | BrokenSample] = list(batch.broken)
                if batch.indices:
                    vectors = self.vectors(batch.clips, len(batch.indices))
                    require_finite(vectors, [samples[i].path for i in batch.indices])
                    notes = [batch.incomplete.get(index) for index in batch.indices]
                    found += map(SampleFeatures, batch.indices, vectors, notes)
                yield found

    def vectors(self, clips: "torch.Tensor | np.ndarray", num_videos: int) -> np.ndarray:
        """Clips of all views `[videos * views, 3, T, h, w]` -> float32 `[videos, ...]`, the mean over views."""
        return self._views(clips, num_videos).mean(axis=1)

    def _views(self, clips: "torch.Tensor | np.ndarray", num_videos: int) -> np.ndarray:
        """Clips as of `vectors` -> float32 `[videos, views, ...]`."""
        if isinstance(self.model, Runtime):
            features = self.model.features(np.asarray(clips))
        else:
            features = run_views(self.model, clips, precision=self._execution.precision).float().cpu().numpy()
        return features.reshape(num_videos, -1, *features.shape[1:])

    def description(self) -> dict[str, Any]:
        """What the numbers depend on, beside the files: plain values, which travel with them."""
        dense = self.input.sampling == "dense" and self.kind == "video"
        return {
            "model": self.config.name,
            "weights_sha256": digest_of_model(self.checkpoint),
            "layer": self.layer,
            "pooling": self.pooling,
            "precision": self.precision,
            "device": self.device,
            **({"engine": ENGINES[self.model.export.format]} if isinstance(self.model, Runtime) else {}),
            "frames": self.config.frames,
            "sampling": self.input.sampling,
            "stride": self.input.stride if dense else None,
            "target_fps": self.input.target_fps if dense else None,
            "clip_length_s": self.clip_length_s,
            "clips": self.input.num_clips,
            "crops": self.input.num_crops,
            "input": self.input.to_dict(),
            "checkpoint_labels": self.info.labels,
        }

    @property
    def device(self) -> str:
        """Where it computes, "cpu", "cuda", "mps" or "xpu"."""
        return "cpu" if isinstance(self.model, Runtime) else next(self.model.parameters()).device.type

    @property
    def clip_length_s(self) -> float | None:
        """Seconds that a clip spans where it is sampled densely; None where it spans all that there is."""
        return None if self.kind == "image" else clip_length_s(self.input, frames=self.config.frames)

    def window_length_s(self, length_s: float | None, step_s: float | None) -> float | None:
        """Seconds of a window, as in `watch`; None where there are no windows, as no step is given.

        Raises:
            ConfigError: a length without a step.
        """
        if step_s is not None:
            frames, training = self.config.frames, self.info.training
            return usual_windows(length_s, step_s, config=self.input, frames=frames, training=training)[0]
        if length_s is not None:
            raise ConfigError(f"--length {length_s:g} is that of windows; give --step too, or leave it out")
        return None
