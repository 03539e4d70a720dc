"""Prediction for single videos or images, folders and globs."""

import csv
import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morphmlp.data.datasets import MediaKind, Sample, find_media, find_videos, media_kind
from morphmlp.data.loaders import BrokenSample, TestClips
from morphmlp.errors import DataError, MediaError
from morphmlp.evaluate import (
    for_inference,
    input_for_test,
    load_classifier,
    make_test_loader,
    model_kind,
    predict_samples,
    resolve_device,
)
from morphmlp.files import replaced_file


@dataclass(frozen=True)
class Prediction:
    """What a model says of one video or image.

    Attributes:
        labels: class names, or numbers where the checkpoint has no names.
        probabilities: `[classes]`, the video's views joined.
    """

    path: Path
    labels: list[str]
    probabilities: np.ndarray

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels[i], float(self.probabilities[i])) for i in order]


class Predictor:
    """A checkpoint, ready for videos, or for images if its model takes those.

    Example:
        >>> predict = Predictor("runs/demo/run/best")
        >>> predict("video.mp4").top(1)
        [('moving_up', 0.97)]

    Args:
        checkpoint: a checkpoint folder.
        num_clips, num_crops, aggregation: of the test protocol; by default what the checkpoint was saved with.
        device: "auto", "cpu" or "cuda".
        precision: "fp32", "bf16", or "fp16" by autocast; the first two through `optimize`.

    Raises:
        CheckpointError: the folder is no checkpoint of a classifier.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        num_clips: int | None = None,
        num_crops: int | None = None,
        aggregation: str | None = None,
        device: str = "auto",
        precision: str = "fp32",
    ):
        model, self.info = load_classifier(checkpoint)
        self.config = model.config
        self.model, self._precision = for_inference(model.to(resolve_device(device)), precision)
        self.kind: MediaKind = model_kind(model)
        self.input = input_for_test(model, self.info, num_clips=num_clips, num_crops=num_crops, aggregation=aggregation)
        self.labels = self.info.labels or [str(i) for i in range(self.config.num_classes)]

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
        for path in paths:
            if media_kind(path) not in (self.kind, None):
                yield MediaError(path, f"is {other}, but the checkpoint takes {self.kind}s")
        samples = [Sample(Path(path), label=-1) for path in paths if media_kind(path) in (self.kind, None)]
        if not samples:
            return
        loader = make_test_loader(TestClips(samples, self.config.frames, self.input), workers=workers)
        for index, result in predict_samples(self.model, loader, precision=self._precision):
            if isinstance(result, BrokenSample):
                yield MediaError(result.path, result.reason)
            else:
                yield Prediction(Path(samples[index].path), self.labels, result.joined)


def expand_paths(patterns: list[str], kind: MediaKind) -> list[Path]:
    """Files as they are, folders as the videos (or images) in them, and globs as what they match; each once.

    Where videos are wanted, a folder without video files but with images is one video, or has folders that are.

    Raises:
        DataError: a pattern without a file, or a folder without one of the kind.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        if not pattern:
            raise DataError("a path is empty; give files, folders or globs")
        if Path(pattern).is_dir():
            found = find_media(Path(pattern), kind)
            if not found and kind == "video":
                found = _frame_folders(Path(pattern))
        elif Path(pattern).exists() or not glob.has_magic(pattern):
            found = [Path(pattern)]
        else:
            found = [Path(match) for match in sorted(glob.glob(pattern, recursive=True)) if Path(match).is_file()]
        if not found:
            raise DataError(f"{pattern}: no {kind}s found")
        paths.update(dict.fromkeys(found))
    return list(paths)


def _frame_folders(folder: Path) -> list[Path]:
    """The folder itself, if images lie in it, or the folders of frames below it."""
    if any(media_kind(entry.name) == "image" for entry in folder.iterdir()):
        return [folder]
    return find_videos(folder)


def as_row(result: Prediction | MediaError, k: int) -> dict[str, Any]:
    """Plain values of a result: path and its k best classes, or path and error."""
    if isinstance(result, MediaError):
        return {"path": str(result.path), "error": result.reason}
    top = [{"label": label, "probability": round(probability, 6)} for label, probability in result.top(k)]
    return {"path": str(result.path), "top": top}


def write_csv(rows: list[dict[str, Any]], path: str | Path) -> None:
    """Rows of `as_row` as a csv file: path, rank, label, probability, error."""
    with replaced_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(["path", "rank", "label", "probability", "error"])
        for row in rows:
            if "error" in row:
                writer.writerow([row["path"], "", "", "", row["error"]])
            for rank, entry in enumerate(row.get("top", []), start=1):
                writer.writerow([row["path"], rank, entry["label"], entry["probability"], ""])
