"""The vectors themselves: a classifier without its classifier, and what it says of files.

The features of the layer "head" are what the last FC is given: LayerNorm and the mean over all tokens (Sec. 3.3). As
the mean over a file's views and that FC commute, the FC of a file's features is the mean of its views' logits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from torch import Tensor, nn

from morphmlp.checkpoints.hub import local_checkpoint
from morphmlp.config import InputConfig
from morphmlp.data.batches.loaders import BrokenSample, TestClips, make_loader
from morphmlp.data.clips.windows import clip_length_s, usual_windows
from morphmlp.data.media.sources import MediaKind, Source
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import ConfigError, MediaError
from morphmlp.inference.device import Execution, evaluating, require_finite
from morphmlp.inference.optimize import for_inference
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.classification.features.settings import Layer, Pooling
from morphmlp.tasks.classification.prediction import (
    input_for_test,
    model_kind,
    run_views,
    task_of_classifier,
    videos_per_batch,
)
from morphmlp.tasks.registry import load_for_task
from morphmlp.tasks.shared_work import cut_in_batches, digest_of_model


class FeatureModel(MorphMLP):
    """The first part of a classifier, whose layers it shares: clips `[B, 3, T, H, W]` to features `[B, ...]`.

    Args:
        layer: "head" is what the classifier's last FC is given; "stage1" to "stage4" are the outputs of the stages.
        pooling: over the tokens of a stage: "mean", "max", or "none", which keeps its map `[T', H', W', C]`.

    Raises:
        ConfigError: "head" with another pooling than the mean.
    """

    def __init__(self, model: MorphMLP, *, layer: Layer = "head", pooling: Pooling = "mean"):
        nn.Module.__init__(self)
        _require_known(layer, pooling)
        num_stages = len(model.stages) if layer == "head" else int(layer.removeprefix("stage"))
        self.config, self.pooling = model.config, pooling
        self.gradient_checkpointing = False
        self.stem = model.stem
        self.downsamples, self.stages = model.downsamples[: num_stages - 1], model.stages[:num_stages]
        self.norm = model.norm if layer == "head" else nn.Identity()

    def forward_head(self, x: Tensor) -> Tensor:
        """The map `[B, T', H', W', C]` of the last stage that there is -> `[B, C]`, or the map itself."""
        x = self.norm(x)
        if self.pooling == "none":
            return x
        return x.mean(dim=(1, 2, 3)) if self.pooling == "mean" else x.amax(dim=(1, 2, 3))


def _require_known(layer: str, pooling: str) -> None:
    if layer not in get_args(Layer) or pooling not in get_args(Pooling):
        raise ConfigError(
            f"layer {layer!r} with pooling {pooling!r}; allowed: layer {', '.join(get_args(Layer))}; pooling "
            f"{', '.join(get_args(Pooling))}"
        )
    if layer == "head" and pooling != "mean":
        raise ConfigError(f"--pooling {pooling} is for the stages; the head takes the mean: give --layer stage4")


@dataclass(frozen=True)
class SampleFeatures:
    """The features of a sample, the mean over its views; `note` says what is missing of a damaged video."""

    index: int
    vector: np.ndarray
    note: str | None = None


class FeatureExtractor:
    """A checkpoint, ready to say what it sees in videos, or in images if its model takes those.

    Example:
        >>> extract = FeatureExtractor("runs/demo/run/best")
        >>> extract("video.mp4").shape
        (128,)

    Args:
        checkpoint: a checkpoint folder.
        layer, pooling: see `FeatureModel`.
        num_clips, num_crops: views of the test protocol; by default what the checkpoint was saved with.
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        precision: "fp32", "bf16", or "fp16" by autocast.

    Attributes:
        kind: what it takes: "video" or "image".
        input: how a file becomes clips.

    Raises:
        CheckpointError: the folder is no checkpoint of a classifier.
        ConfigError: the maps of several views were to be kept, or the head was to be pooled otherwise.
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
        model, self.info = load_for_task(checkpoint, task_of_classifier(checkpoint))
        self.checkpoint = local_checkpoint(checkpoint)
        self.layer, self.pooling, self.precision = layer, pooling, precision
        self.config = model.config
        self.kind: MediaKind = model_kind(model)
        self.input: InputConfig = input_for_test(model, self.info, num_clips=num_clips, num_crops=num_crops)
        self.num_views = self.input.num_clips * self.input.num_crops
        if pooling == "none" and self.num_views > 1:
            raise ConfigError(
                f"--pooling none keeps the map of one view, but {self.num_views} were asked for: their maps show "
                "different frames or places, so that their mean says nothing; give --clips 1 --crops 1"
            )
        features = FeatureModel(model, layer=layer, pooling=pooling)
        self.model, self._execution = for_inference(features, Execution(device, precision))
        self.device = next(self.model.parameters()).device

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
        dataset = TestClips(samples, self.config.frames, self.input)  # type: ignore[arg-type]
        workers = min(workers, sum(map(len, batches)))
        with evaluating(self.model):
            for batch in make_loader(dataset, batches=[list(batch) for batch in batches], workers=workers):
                found: list[SampleFeatures | BrokenSample] = list(batch.broken)
                if batch.indices:
                    vectors = self.vectors(batch.clips, len(batch.indices))
                    require_finite(vectors, [samples[i].path for i in batch.indices])
                    notes = [batch.incomplete.get(index) for index in batch.indices]
                    found += map(SampleFeatures, batch.indices, vectors.numpy(), notes)
                yield found

    def vectors(self, clips: Tensor, num_videos: int) -> Tensor:
        """Clips of all views `[videos * views, 3, T, h, w]` -> `[videos, ...]`, the mean over views, on the CPU."""
        features = run_views(self.model, clips, precision=self._execution.precision).float()
        return features.unflatten(0, (num_videos, -1)).mean(dim=1).cpu()

    def description(self) -> dict[str, Any]:
        """What the numbers depend on, beside the files: plain values, which travel with them."""
        dense = self.input.sampling == "dense" and self.kind == "video"
        return {
            "model": self.config.name,
            "weights_sha256": digest_of_model(self.checkpoint),
            "layer": self.layer,
            "pooling": self.pooling,
            "precision": self.precision,
            "device": self.device.type,
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
