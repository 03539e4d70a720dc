"""Prediction for single videos or images, folders and globs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morphmlp.data.batches.views import BrokenSample
from morphmlp.data.media.animations import is_animation
from morphmlp.data.media.sources import MediaKind, media_kind
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import MediaError
from morphmlp.inference.device import Execution
from morphmlp.tasks.classification.prediction import (
    NONE_OF_THESE,
    chosen_threshold,
    input_for_test,
    is_answered,
    load_ready_classifier,
    make_test_loader,
    model_kind,
    predict_samples,
    views_for,
)


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one video or image.

    Attributes:
        labels: class names, or numbers where the checkpoint has no names.
        probabilities: `[classes]`, the video's views joined.
        threshold: the least probability of the best class with which it is the answer; None always answers.
    """

    path: Path
    labels: list[str]
    probabilities: np.ndarray
    threshold: float | None = None

    @property
    def answer(self) -> str:
        """The most probable class, or "none of these" where its probability is below the threshold."""
        ((label, probability),) = self.top(1)
        return label if is_answered(probability, self.threshold) else NONE_OF_THESE

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels[i], float(self.probabilities[i])) for i in order]


class Predictor:
    """A checkpoint or an exported model, ready for videos, or for images if its model takes those.

    Example:
        >>> predict = Predictor("runs/demo/run/best")
        >>> predict("video.mp4").top(1)
        [('moving_up', 0.97)]

    Args:
        checkpoint: a checkpoint folder, or one that `morphmlp export` wrote; ONNX and OpenVINO need no torch then.
        num_clips, num_crops, aggregation: of the test protocol; by default what the checkpoint was saved with.
        threshold: the least probability with which the best class is the answer; by default the checkpoint's, and 0
            always answers.
        device: "auto", "cpu" or "cuda".
        precision: "fp32", "bf16", or "fp16" by autocast; the first two through `optimize`.

    It neither uses nor changes torch's random state, default dtype and default device. On a CPU the process keeps freed
    memory from then on: see `optimize`.

    Raises:
        CheckpointError: the folder is no checkpoint of a classifier, nor exported from one.
        ConfigError: the protocol does not fit the model, or the threshold is not within 0 and 1.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        num_clips: int | None = None,
        num_crops: int | None = None,
        aggregation: str | None = None,
        threshold: float | None = None,
        device: str = "auto",
        precision: str = "fp32",
    ):
        self.model, self.info, self._execution = load_ready_classifier(checkpoint, Execution(device, precision))
        self.config = self.model.config
        self.kind: MediaKind = model_kind(self.model)
        self.input = input_for_test(
            self.model, self.info, num_clips=num_clips, num_crops=num_crops, aggregation=aggregation
        )
        self.threshold = chosen_threshold(self.info, threshold)
        self.labels = self.info.class_names(self.config.num_classes)

    def __call__(self, path: str | Path) -> Prediction:
        """Predicts one file.

        Raises:
            MediaError: the file cannot be read, or is not of the model's kind.
        """
        prediction = next(self.many([Path(path)], workers=0))
        if isinstance(prediction, MediaError):
            raise prediction
        return prediction

    def many(self, paths: list[Path], *, workers: int = 2) -> Iterator[Prediction | MediaError]:
        """A prediction for each path, or why it cannot be read, as they are done."""
        other = "an image" if self.kind == "video" else "a video"
        taken = [self._takes(path) for path in paths]
        for path, is_taken in zip(paths, taken, strict=True):
            if not is_taken:
                yield MediaError(path, f"is {other}, but the checkpoint takes {self.kind}s")
        samples = [Sample(Path(path), label=-1) for path, is_taken in zip(paths, taken, strict=True) if is_taken]
        if not samples:
            return
        views = views_for(self.model)(samples, self.config.frames, self.input)
        loader = make_test_loader(views, workers=workers)
        results = predict_samples(
            self.model, loader, precision=self._execution.precision, temperature=self.info.temperature
        )
        for index, result in results:
            if isinstance(result, BrokenSample):
                yield MediaError(result.path, result.reason)
            else:
                yield Prediction(Path(samples[index].path), self.labels, result.joined, self.threshold)

    def _takes(self, path: Path) -> bool:
        """Whether the ending is that of the model's kind, or says nothing, or an image moves and videos are wanted."""
        return media_kind(path) in (self.kind, None) or (self.kind == "video" and is_animation(path))
