"""Predictions of the batches of a shelf in this process, as rows, and what they depend on."""

import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from morphmlp.data.batches.views import ArrayBatches, BrokenSample, SampleClips, TestViews
from morphmlp.data.media.limits import DAMAGE_VARIABLE
from morphmlp.data.media.sources import MediaKind, why_not_taken
from morphmlp.errors import MediaError
from morphmlp.inference.runtimes import Runtime
from morphmlp.tasks.classification.bulk.shelf import Shelf, kept_name, states_of_names
from morphmlp.tasks.classification.prediction import predict_samples, videos_per_batch, views_for
from morphmlp.tasks.classification.predictor import Prediction, Predictor
from morphmlp.tasks.classification.report import as_row
from morphmlp.tasks.journal import Entry
from morphmlp.tasks.shared_work import digest_of_model


class OneKind:
    """The views of the sources of a kind; the others are refused before they are decoded."""

    def __init__(self, views: TestViews, kind: MediaKind):
        self.views = views
        self.kind: MediaKind = kind
        self.samples, self.config = views.samples, views.config

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> SampleClips | BrokenSample:
        source = self.samples[index].path
        refusal = why_not_taken(source, self.kind)
        return self.views[index] if refusal is None else BrokenSample(index, source, refusal)


def predict_batches(
    predictor: Predictor, shelf: Shelf, batches: Sequence[Sequence[int]], *, top: int, workers: int = 2
) -> Iterator[list[Entry]]:
    """The rows of each batch, with the `top` most probable classes; an unreadable file has an error instead.

    Raises:
        NotFiniteError: an output is NaN or infinite.
    """
    states: dict[int, tuple[int, int] | None] = {}

    def read() -> Iterator[list[int]]:
        """The batches, as they are asked for: what changes from now on is not what was predicted."""
        for batch in batches:
            states.update(zip(batch, states_of_names([shelf.names[number] for number in batch]), strict=True))
            yield list(batch)

    make_views: Any = views_for(predictor.model)
    views = OneKind(make_views(shelf, predictor.config.frames, predictor.input), predictor.kind)
    loader = _loader(predictor, views, read(), workers=min(workers, sum(map(len, batches))))
    results = predict_samples(
        predictor.model, loader, precision=predictor.precision, temperature=predictor.info.temperature
    )
    for batch in batches:  # the loader keeps their order
        found = dict(next(results) for _ in batch)
        rows = {number: as_row(_answer(predictor, shelf, number, found[number]), top) for number in batch}
        yield [Entry(kept_name(shelf.names[number]), states.pop(number), rows[number]) for number in batch]


def _loader(predictor: Predictor, views: Any, batches: Iterator[list[int]], *, workers: int) -> Any:
    """Batches of tensors, by processes; of arrays, by threads, for an exported model, which needs no torch."""
    if isinstance(predictor.model, Runtime):
        return ArrayBatches(views, batches, threads=workers)  # type: ignore[arg-type]
    from morphmlp.data.batches.loaders import make_loader

    return make_loader(views, batches=batches, workers=workers)


def _answer(predictor: Predictor, shelf: Shelf, number: int, result: Any) -> Prediction | MediaError:
    if isinstance(result, BrokenSample):
        return MediaError(result.path, result.reason)
    return Prediction(shelf[number].path, predictor.labels, result.joined, predictor.threshold, result.note)


def batch_size(predictor: Predictor) -> int:
    """Files that are predicted together; always the same, as rounding depends on it."""
    return videos_per_batch(predictor.input)


def what_rows_depend_on(predictor: Predictor, checkpoint: Path, *, top: int) -> dict[str, Any]:
    """Plain values: all that a row depends on, beside its file and the kind of device."""
    return {
        "version": version("morphmlp"),
        "model": predictor.config.name,
        "weights_sha256": digest_of_model(checkpoint),
        "labels": predictor.labels,
        "frames": predictor.config.frames,
        "input": predictor.input.to_dict(),
        "temperature": predictor.info.temperature,
        "threshold": predictor.threshold,
        "precision": predictor.precision,
        "engine": predictor.engine,
        "top": top,
        "max_damage": os.environ.get(DAMAGE_VARIABLE),
    }
