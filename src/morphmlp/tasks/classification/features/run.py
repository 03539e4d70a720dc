"""Features of many files or windows, written as they come, so that a run can be stopped and goes on where it was.

Under torchrun each process takes its share of the batches, which are those of a single process: the result is the
same to the last bit on the same kind of device. What is done lies in parts (see `parts`), which are joined at the end.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from morphmlp.data.media.sources import file_of, part_of
from morphmlp.distributed import agreed, failing_together, gather, is_main, process_group
from morphmlp.errors import ConfigError, DataError
from morphmlp.files import replace_json, require_own_folder
from morphmlp.inference.device import show_nothing
from morphmlp.tasks.classification.features import outputs
from morphmlp.tasks.classification.features.extractor import FeatureExtractor
from morphmlp.tasks.classification.features.outputs import INFO_FILE, NAME, TABLE_FILE, Streamed, vectors_file
from morphmlp.tasks.classification.features.parts import Known, PartsFolder, Rows, read_rows
from morphmlp.tasks.classification.features.settings import Format
from morphmlp.tasks.classification.features.sources import (
    FeatureFile,
    Spans,
    digest_of_files,
    refuse_windows,
    survey,
)
from morphmlp.tasks.shared_work import PARTS_FOLDER, share_of

OUTPUT_FILES = (vectors_file("safetensors"), vectors_file("npz"), TABLE_FILE, INFO_FILE, PARTS_FOLDER)
NEAREST_FILES = ("nearest.csv", "nearest.png", "nearest.html")


@dataclass(frozen=True)
class Features:
    """Features that are complete on the disk.

    Attributes:
        folder: of `features.safetensors` or `.npz`, `features.csv` and `features.json`.
        info: the content of `features.json`.
        vectors: `[rows, ...]` float32, mapped from the file: what is not looked at is not in memory.
        spans: what was looked at.
        rows: `[rows]`, for each vector the number of its span; those that are broken have none.
        classes: names of the labels.
    """

    folder: Path
    info: dict[str, Any]
    vectors: np.ndarray
    spans: Spans
    rows: np.ndarray
    classes: list[str]

    @property
    def broken(self) -> list[dict[str, Any]]:
        """Path and reason of what could not be read, and its times where it is a window."""
        return self.info["broken"]


def write_features(
    extractor: FeatureExtractor,
    files: Sequence[FeatureFile],
    out: str | Path,
    *,
    step_s: float | None = None,
    length_s: float | None = None,
    format: Format = "safetensors",
    classes: Sequence[str] = (),
    workers: int = 2,
    fresh: bool = False,
    progress: Callable[[int, int], None] = show_nothing,
) -> Features:
    """Computes a vector for each file, or for a window every `step_s` seconds, and writes them into the folder `out`.

    If an interrupted run of the same settings is there, this one goes on with it; if a complete one is, nothing is
    computed. All processes call it, and all get the same result or the same error.

    Args:
        length_s: of a window; by default that of `usual_windows`, as in `watch`.
        classes: names of the files' labels.
        fresh: forget what is in `out`.

    Raises:
        ConfigError: a length without a step, or windows of images.
        DataError: not one file can be read, or `out` holds something else, features with other settings, or damaged
            parts.
    """
    if step_s is not None and extractor.kind == "image":
        raise ConfigError("images have no windows: leave out --step, or give a checkpoint that takes videos")
    out, length_s = Path(out), extractor.window_length_s(length_s, step_s)
    require_own_folder(out, (*OUTPUT_FILES, *NEAREST_FILES), what="features")
    with process_group():
        surveyed: list[FeatureFile] = []
        with failing_together():
            if is_main():
                surveyed = _surveyed(files, extractor, windows=step_s is not None, workers=workers)
                if all(file.reason is not None for file in surveyed):
                    raise _nothing_to_read(surveyed, surveyed[0].source, surveyed[0].reason)
        spans = Spans(agreed(surveyed), length_s=length_s, step_s=step_s)
        settings = _settings(extractor, spans, format=format, classes=classes)
        parts = PartsFolder(out / PARTS_FOLDER, settings)
        with ExitStack() as stack:
            info = None
            with failing_together():
                if is_main():
                    stack.enter_context(parts.locked())
                    info = _prepare(out, parts, fresh=fresh)
            info = agreed(info)
            if info is None:
                _compute(extractor, spans, parts, workers=workers, progress=progress)
                with failing_together():
                    if is_main():
                        info = _join(out, parts, spans, classes)
                info = agreed(info)
    assert info is not None, "the main process has written it"
    broken = {entry["sample"] for entry in info["broken"] if entry["sample"] is not None}
    rows = np.array([i for i in range(len(spans)) if i not in broken], dtype=np.int64)
    return Features(out, info, outputs.map_vectors(out, format), spans, rows, list(classes))


def _surveyed(
    files: Sequence[FeatureFile], extractor: FeatureExtractor, *, windows: bool, workers: int
) -> list[FeatureFile]:
    files = [refuse_windows(file) for file in files] if windows else list(files)
    found = survey(files, kind=extractor.kind, workers=workers)
    refused = [then.reason for then in files]
    return [
        file if reason is None else replace(file, reason=reason) for file, reason in zip(found, refused, strict=True)
    ]


def _nothing_to_read(files: Sequence[FeatureFile], path: object, reason: str | None) -> DataError:
    return DataError(f"none of the {len(files)} files can be read; {path}: {reason}")


def _settings(extractor: FeatureExtractor, spans: Spans, *, format: Format, classes: Sequence[str]) -> dict[str, Any]:
    """All that the content of the files depends on: an interrupted run goes on with these only."""
    return {
        "version": version("morphmlp"),
        **extractor.description(),
        "window_step_s": spans.step_s,
        "window_length_s": spans.length_s,
        "format": format,
        "labels": list(classes),
        "files": len(spans.files),
        "files_sha256": digest_of_files(spans.files),
    }


def _prepare(out: Path, parts: PartsFolder, *, fresh: bool) -> dict[str, Any] | None:
    """Makes the folder ready to go on; returns `features.json` where there is nothing left to do.

    Raises:
        DataError: it holds features with other settings.
    """
    if fresh:
        for name in (INFO_FILE, *OUTPUT_FILES[:3], *NEAREST_FILES):
            (out / name).unlink(missing_ok=True)
        parts.clear()
    if info := outputs.finished_info(out):
        parts.require_same(info["settings"])
        parts.clear()
        return info
    parts.begin()
    return None


def _compute(
    extractor: FeatureExtractor,
    spans: Spans,
    parts: PartsFolder,
    *,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Computes what no part holds yet: of this process, its share of the batches."""
    done: set[int] = set()
    with failing_together():
        done = parts.read().done() if is_main() else set()
    done = agreed(done)
    mine = share_of(extractor.batches_of(len(spans)), done=done)
    total = sum(map(len, mine)) + len(done)
    progress(len(done), total)
    with failing_together():
        writer, num_done = parts.writer(), len(done)
        for results in extractor.batches(spans, mine, workers=workers) if mine else ():
            writer.add(results)
            num_done += len(results)
            progress(num_done, total)
        writer.flush()
    gather([])  # all parts are on the disk


def _join(out: Path, parts: PartsFolder, spans: Spans, classes: Sequence[str]) -> dict[str, Any]:
    """Writes the files from the parts, `features.json` as the last, and removes the parts; returns what that says.

    Raises:
        DataError: nothing could be read, or the parts of another process are not there.
    """
    known, settings = parts.read(), parts.settings
    in_order = sorted(known.rows)
    rows = np.concatenate([np.arange(run.first, run.first + run.number) for run in in_order] or [np.zeros(0, np.int64)])
    if len(rows) + len(known.broken) != len(spans):
        raise DataError(
            f"{parts.folder} lacks parts of {len(spans) - len(rows) - len(known.broken)} vectors: --out must be on a "
            "disk that all processes share"
        )
    info = _info(settings, spans, known, rows)
    if not len(rows):
        example = info["broken"][0]
        raise _nothing_to_read(spans.files, example["path"], example["reason"])
    info["shape"] = [len(rows), *read_rows(in_order[0]).shape[1:]]
    arrays = _arrays(in_order, spans, rows, shape=tuple(info["shape"]), labelled=bool(classes))
    out_file = out / vectors_file(settings["format"])
    outputs.write_vectors(out_file, arrays, info=info, kind=settings["format"])
    outputs.write_table(out / TABLE_FILE, spans, rows, classes)
    replace_json(out / INFO_FILE, info)
    parts.clear()
    return info


def _arrays(
    in_order: Sequence[Rows], spans: Spans, rows: np.ndarray, *, shape: tuple[int, ...], labelled: bool
) -> dict[str, Streamed]:
    """The arrays of the file of vectors, those of eight bytes first, as safetensors aligns them."""
    count = (len(rows),)
    arrays = {
        f"{name}_s": Streamed(np.dtype(np.float64), count, outputs.time_blocks(spans, rows, end=name == "end"))
        for name in ("start", "end")
    }
    if labelled:
        arrays["label"] = Streamed(np.dtype(np.int64), count, outputs.label_blocks(spans, rows))
    return {**arrays, NAME: Streamed(np.dtype(np.float32), shape, map(read_rows, in_order))}


def _info(settings: dict[str, Any], spans: Spans, known: Known, rows: np.ndarray) -> dict[str, Any]:
    """`features.json`: the settings, what came out, and what could not be read."""
    rates = sorted(file.fps for file in spans.files if file.fps)
    broken = [_entry(file, reason=file.reason, sample=None) for file in spans.files if file.reason is not None]
    for index, reason in sorted(known.broken.items()):
        place = spans.place(index)
        times = {"start_s": place.start_s, "end_s": place.end_s} if spans.step_s is not None else {}
        broken.append(_entry(spans.files[place.file], reason=reason, sample=index, **times))
    incomplete = {number: file.note for number, file in enumerate(spans.files) if file.note}
    incomplete |= {spans.place(index).file: note for index, note in known.notes.items()}
    return {
        "vectors": len(rows),
        "fps_min_median_max": [rates[0], median(rates), rates[-1]] if rates else None,
        "settings": settings,
        "broken": broken,
        "incomplete": [_entry(spans.files[number], note=note) for number, note in sorted(incomplete.items())],
    }


def _entry(file: FeatureFile, **values: Any) -> dict[str, Any]:
    part = part_of(file.source)
    return {"path": str(file_of(file.source)), **({"part": part} if part else {}), **values}
