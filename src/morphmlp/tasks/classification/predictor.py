"""Prediction for single videos or images, folders and globs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morphmlp.data.batches.views import BrokenSample
from morphmlp.data.clips.windows import usual_windows
from morphmlp.data.media.sources import MediaKind, Source, why_not_taken
from morphmlp.data.sets.labelled import Sample
from morphmlp.data.sets.written import SEPARATOR
from morphmlp.errors import MediaError
from morphmlp.inference.device import Execution
from morphmlp.tasks.classification.prediction import (
    NONE_OF_THESE,
    chosen_threshold,
    class_thresholds,
    input_for_test,
    is_answered,
    join_views,
    make_test_loader,
    model_kind,
    predict_samples,
    task_of_classifier,
    views_for,
)
from morphmlp.tasks.ready import Ready


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one video or image.

    Attributes:
        labels: class names, or numbers where the checkpoint has no names.
        probabilities: `[classes]`, the video's views joined.
        threshold: the least probability of the best class with which it is the answer; None always answers.
        note: what is missing of a video that was cut off or damaged.
        thresholds: of a multi-label classifier, the least probability of each class with which it is among the answers;
            None of a classifier that answers with the best class.
    """

    path: Source
    labels: list[str]
    probabilities: np.ndarray
    threshold: float | None = None
    note: str | None = None
    thresholds: tuple[float, ...] | None = None

    @property
    def answers(self) -> list[str]:
        """The classes that are the answer, most probable first; one at most, or any number if it is multi-label."""
        if self.thresholds is None:
            ((label, probability),) = self.top(1)
            return [label] if is_answered(probability, self.threshold) else []
        order = np.argsort(-self.probabilities, kind="stable")
        return [self.labels[i] for i in order if float(self.probabilities[i]) >= self.thresholds[i]]

    @property
    def answer(self) -> str:
        """The answers in one text, several as in a list, `running|waving`; "none of these" where there is none."""
        return SEPARATOR.join(self.answers) or NONE_OF_THESE

    def shown(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes, and after them the answers that are less probable."""
        every = self.top(len(self.labels))
        return every[:k] + [pair for pair in every[k:] if pair[0] in self.answers]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels[i], float(self.probabilities[i])) for i in order]


@dataclass(frozen=True)
class Window:
    """What a model says of a window of a recording or a stream.

    Attributes:
        start_s, end_s: the end is exclusive; in seconds from where players start, or from where a stream was joined.
        lag_s: from the arrival of the window's last frame to the answer.
    """

    start_s: float
    end_s: float
    prediction: Prediction
    lag_s: float = 0.0

    @property
    def answer(self) -> str:
        """See `Prediction.answer`."""
        return self.prediction.answer

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes with their probabilities, best first."""
        return self.prediction.top(k)


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
            always answers. Of a multi-label classifier, that of every class in place of the checkpoint's for each.
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        precision: "fp32", "bf16", or "fp16" by autocast.
        engine: what computes: "auto", "torch", "optimized", "onnxruntime" or "openvino". The last two export the model
            once, and keep that in the user's cache. "auto" takes the fastest by the figures that are known
            (`docs/deploy.md`), and makes an export only for so many files that it pays.

    It neither uses nor changes torch's random state, default dtype and default device. Where `optimize` computes, the
    process keeps freed memory from then on: see there.

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
        engine: str = "auto",
    ):
        self._ready = Ready(checkpoint, task_of_classifier(checkpoint), Execution(device, precision, engine=engine))
        self.model, self.info, self._execution = self._ready.model, self._ready.info, self._ready.execution
        self.config = self.model.config
        self.kind: MediaKind = model_kind(self.model)
        self.input = input_for_test(
            self.model, self.info, num_clips=num_clips, num_crops=num_crops, aggregation=aggregation
        )
        self.threshold = None if self.config.multi_label else chosen_threshold(self.info, threshold)
        self.thresholds = (
            class_thresholds(self.info, self.config.num_classes, threshold) if self.config.multi_label else None
        )
        self.labels = self.info.class_names(self.config.num_classes)

    def __call__(self, path: str | Source) -> Prediction:
        """Predicts one file, or a part of one, such as a `Stretch`.

        Raises:
            MediaError: the file cannot be read, or is not of the model's kind.
        """
        prediction = next(self.many([path], workers=0))
        if isinstance(prediction, MediaError):
            raise prediction
        return prediction

    def many(self, paths: Sequence[str | Source], *, workers: int = 2) -> Iterator[Prediction | MediaError]:
        """A prediction for each path, or why it cannot be read, as they are done."""
        samples = []
        for path in paths:
            source = Path(path) if isinstance(path, str) else path
            refusal = why_not_taken(source, self.kind)
            if refusal is None:
                samples.append(Sample(source))
            else:
                yield MediaError(source, refusal)
        if not samples:
            return
        model, execution = self._ready.for_clips(len(samples) * self.input.num_clips * self.input.num_crops)
        views = views_for(model)(samples, self.config.frames, self.input)
        loader = make_test_loader(views, workers=workers)
        results = predict_samples(
            model,
            loader,
            precision=execution.precision,
            temperature=self.info.temperature,
            multi_label=self.config.multi_label,
        )
        for index, result in results:
            if isinstance(result, BrokenSample):
                yield MediaError(result.path, result.reason)
            else:
                yield self.prediction(samples[index].path, result.joined, result.note)

    def prediction(self, path: Source, probabilities: np.ndarray, note: str | None = None) -> Prediction:
        """The answer to one source, from the probabilities of its classes, `[classes]`."""
        return Prediction(path, self.labels, probabilities, self.threshold, note, self.thresholds)

    def joined(self, logits: np.ndarray, num_videos: int) -> np.ndarray:
        """Logits of all views `[videos * views, classes]` -> probabilities `[videos, classes]`; see `join_views`."""
        return join_views(
            logits,
            num_videos=num_videos,
            aggregation=self.input.aggregation,
            temperature=self.info.temperature,
            multi_label=self.config.multi_label,
        )

    def windows(
        self, source: str | Path, *, length_s: float | None = None, step_s: float | None = None, **stream: Any
    ) -> Iterator[Window]:
        """What each window of a file, an address, a camera or standard input shows, as it comes.

        A live source does not wait: windows are left out where the model is slower. See `docs/watch.md`.

        Example:
            >>> for window in predict.windows("long.mp4", length_s=2.0, step_s=0.5):
            ...     print(f"{window.start_s:.1f} to {window.end_s:.1f} s: {window.answer}")
            0.0 to 2.0 s: moving_up
            0.5 to 2.5 s: moving_up

        Args:
            source: a path, an address such as `rtsp://host/1`, `camera:0`, or `-`.
            length_s: seconds of a window; by default what the training's windows or a clip span, see `docs/watch.md`.
            step_s: from one window to the next; by default an eighth of the training's window, or half a window.
            stream: `live`, `retries` and `timeout_s`, see `morphmlp.data.media.streams.Stream`.

        Raises:
            MediaError: the source cannot be read, or not any further.
            ConfigError: the windows have no length or step, or the model takes images.
        """
        # They build on this class.
        from morphmlp.data.media.streams import Stream
        from morphmlp.tasks.classification.timeline.watching import Watch

        length_s, step_s = usual_windows(
            length_s, step_s, config=self.input, frames=self.config.frames, training=self.info.training
        )
        opened = Stream(source, short_side=self.input.decoded_short_side, **stream)
        watch = Watch(self, opened, length_s=length_s, step_s=step_s)
        return watch.windows()

    @property
    def engine(self) -> str:
        """As it was asked for, so that "auto" stays "auto"."""
        return self._ready.asked.engine

    @property
    def precision(self) -> str:
        """Of the computation, as autocast takes it."""
        return self._execution.precision
