"""Features on their way to the end: parts on the disk, each whole or not there, from which an interrupted run goes on.

A part holds whole batches, so that what is computed together is the same however often a run was stopped. It carries
the digest of the settings that it was computed with, and one of its own content.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from morphmlp.data.batches.views import BrokenSample
from morphmlp.errors import DataError
from morphmlp.files import UNFINISHED, replace_bytes
from morphmlp.formatting import as_json
from morphmlp.tasks.classification.features.extractor import SampleFeatures
from morphmlp.tasks.shared_work import WorkFolder, damaged

PART_S, PART_BYTES = 10.0, 2**26  # a part is written after so many seconds, or once it is so large


class Rows(NamedTuple):
    """Neighbouring rows of a part: those of the samples `first` to `first + number - 1`, from row `row` on."""

    first: int
    number: int
    part: Path
    row: int


@dataclass
class Known:
    """What the parts hold: where the vectors are, which samples are broken and why, and what is missing of others."""

    rows: list[Rows] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)

    def done(self) -> set[int]:
        """The samples that need not be looked at again."""
        return {first + i for first, number, _, _ in self.rows for i in range(number)} | set(self.broken)


class PartsFolder(WorkFolder):
    """The parts of one run, below the folder of the features.

    Args:
        settings: plain values that all parts depend on.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        super().__init__(folder, settings, result=folder.parent, what="features", files="part-*")

    def read(self) -> Known:
        """What is in the parts, each of which is looked through.

        Raises:
            DataError: a part is damaged, or of another run.
        """
        known = Known()
        for path in sorted(self.folder.glob("part-*.safetensors")):
            indices, texts = self._read_part(path)
            known.rows += runs(indices, path)
            known.broken |= {int(i): reason for i, reason in json.loads(texts["broken"]).items()}
            known.notes |= {int(i): note for i, note in json.loads(texts["notes"]).items()}
        return known

    def _read_part(self, path: Path) -> tuple[np.ndarray, dict[str, str]]:
        try:
            arrays = load(path.read_bytes())
            with safe_open(path, "numpy") as file:
                texts = file.metadata() or {}
            whole = texts.get("content") == _digest(arrays["indices"], arrays["vectors"], texts)
        except (SafetensorError, KeyError, ValueError) as error:
            raise damaged(path, str(error)) from None
        if not whole:
            raise damaged(path, "its content is not what was written")
        if texts["settings"] != self.digest:
            raise DataError(f"{path} is of a run with other settings; remove it, and the same command does it again")
        return arrays["indices"], texts

    def writer(self) -> "PartWriter":
        return PartWriter(self)

    def write(self, results: Sequence[SampleFeatures | BrokenSample]) -> None:
        """Writes a part that holds these results, with the name of the first."""
        good = sorted((r for r in results if isinstance(r, SampleFeatures)), key=lambda r: r.index)
        indices = np.array([r.index for r in good], dtype=np.int64)
        vectors = np.stack([r.vector for r in good]) if good else np.zeros((0, 0), dtype=np.float32)
        texts = {
            "settings": self.digest,
            "broken": as_json({str(r.index): r.reason for r in results if isinstance(r, BrokenSample)}),
            "notes": as_json({str(r.index): r.note for r in good if r.note}),
        }
        texts["content"] = _digest(indices, vectors, texts)
        path = self.folder / f"part-{min(r.index for r in results):010d}.safetensors"
        replace_bytes(path, save({"indices": indices, "vectors": vectors}, metadata=texts))

    def clear(self) -> None:
        """Removes the parts, what is unfinished of one, and the settings that they were computed with."""
        super().clear()
        for folder in self.folder.glob(f".*{UNFINISHED}"):
            shutil.rmtree(folder, ignore_errors=True)


class PartWriter:
    """Collects results and writes them as parts, some seconds of work in each."""

    def __init__(self, parts: PartsFolder):
        self.parts, self.pending, self.num_bytes = parts, [], 0
        self.last_s = time.monotonic()

    def add(self, results: Sequence[SampleFeatures | BrokenSample]) -> None:
        """Takes the results of a batch."""
        self.pending += results
        self.num_bytes += sum(r.vector.nbytes for r in results if isinstance(r, SampleFeatures))
        if time.monotonic() - self.last_s >= PART_S or self.num_bytes >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        if self.pending:
            self.parts.write(self.pending)
        self.pending, self.num_bytes, self.last_s = [], 0, time.monotonic()


def runs(indices: np.ndarray, part: Path) -> list[Rows]:
    """Neighbouring samples that are neighbours in a part as well.

    >>> runs(np.array([4, 5, 6, 9]), Path("p"))
    [Rows(first=4, number=3, part=PosixPath('p'), row=0), Rows(first=9, number=1, part=PosixPath('p'), row=3)]
    """
    if not len(indices):
        return []
    starts = [0, *(np.flatnonzero(np.diff(indices) != 1) + 1).tolist()]
    ends = [*starts[1:], len(indices)]
    return [Rows(int(indices[a]), b - a, part, a) for a, b in zip(starts, ends, strict=True)]


def read_rows(rows: Rows) -> np.ndarray:
    """The vectors `[number, ...]`, without the others of their part."""
    with safe_open(rows.part, "numpy") as file:
        return file.get_slice("vectors")[rows.row : rows.row + rows.number]


def _digest(indices: np.ndarray, vectors: np.ndarray, texts: dict[str, str]) -> str:
    digest = hashlib.blake2b(indices.tobytes(), digest_size=16)
    digest.update(np.ascontiguousarray(vectors).data)
    digest.update(f"{vectors.shape} {texts['settings']} {texts['broken']} {texts['notes']}".encode())
    return digest.hexdigest()
