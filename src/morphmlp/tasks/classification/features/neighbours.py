"""Which vectors are most alike, by the cosine of the angle between them: a table, and a sheet of film strips.

Products are computed block by block, and of each row only the best so far are kept: a million vectors need no table of
a million by a million.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from morphmlp.data.clips.sampling import sparse_indices
from morphmlp.data.media.sources import Source, file_of
from morphmlp.data.media.video import read_clip
from morphmlp.display.neighbours import SheetRow, SheetStrip, write_sheet
from morphmlp.errors import DataError, MediaError
from morphmlp.files import replaced_file
from morphmlp.formatting import csv_path
from morphmlp.output import tell

if TYPE_CHECKING:
    from morphmlp.tasks.classification.features.run import Features

BLOCK = 1024  # vectors on either side of a product
MOST_ROWS, MOST_STRIPS, STRIP_FRAMES = 20, 4, 4  # of the sheet
_NO_OTHER = -np.inf


class Nearest(NamedTuple):
    """For each vector the others that are most alike, best first: `[rows, k]` numbers of rows, and their cosines.

    Where there are fewer than k others, the number is -1 and the cosine minus infinity.
    """

    rows: np.ndarray
    cosines: np.ndarray


class Places(NamedTuple):
    """Where vectors are from, `[rows]` each: the number of a path, and the times; NaN where there are none."""

    files: np.ndarray
    starts_s: np.ndarray
    ends_s: np.ndarray

    def block(self, part: slice) -> "Places":
        return Places(*(values[part] for values in self))

    def shared(self, other: "Places") -> np.ndarray:
        """Which show the same part of one file, `[rows, other rows]`: no neighbours, as they share frames."""
        same = self.files[:, None] == other.files
        apart = (self.ends_s[:, None] <= other.starts_s) | (other.ends_s <= self.starts_s[:, None])
        return same & ~apart  # of images, whose times are NaN, all that is of one file


def find_nearest(vectors: np.ndarray, places: Places, k: int) -> Nearest:
    """The k others that are most alike to each of `[rows, C]`; of equal ones among them the first comes first.

    Windows of one file that overlap are no neighbours. A vector of zeros is as far from all as one at a right angle.
    """
    found: list[Nearest] = []
    for query in _blocks(len(vectors)):
        own, here = _unit_rows(vectors[query]), places.block(query)
        best = Nearest(np.full((len(own), 0), -1), np.full((len(own), 0), _NO_OTHER, dtype=np.float32))
        for key in _blocks(len(vectors)):
            cosines = own @ _unit_rows(vectors[key]).T
            cosines[here.shared(places.block(key))] = _NO_OTHER
            numbers = np.broadcast_to(np.arange(key.start, key.stop), cosines.shape)
            best = _best(np.hstack([best.rows, numbers]), np.hstack([best.cosines, cosines]), k)
        found.append(best)
    return Nearest(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _best(numbers: np.ndarray, cosines: np.ndarray, k: int) -> Nearest:
    if cosines.shape[1] > k:  # sorting all of a row would cost more than the products
        few = np.sort(np.argpartition(-cosines, k - 1, axis=1)[:, :k], axis=1)
        numbers, cosines = np.take_along_axis(numbers, few, axis=1), np.take_along_axis(cosines, few, axis=1)
    order = np.argsort(-cosines, axis=1, kind="stable")
    cosines = np.take_along_axis(cosines, order, axis=1)
    return Nearest(np.where(np.isfinite(cosines), np.take_along_axis(numbers, order, axis=1), -1), cosines)


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))


def unit(vectors: np.ndarray, *, least: float = float(np.finfo(np.float32).tiny)) -> np.ndarray:
    """Vectors `[..., C]` of length 1; those that are shorter than `least`, such as zeros, stay below it."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), least)


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Features `[rows, ...]` as `[rows, C]` of length 1, float32."""
    return unit(np.asarray(vectors, dtype=np.float32).reshape(len(vectors), -1))


def write_nearest(features: "Features", k: int) -> None:
    """Writes `nearest.csv`, `nearest.png` and `nearest.html` into the folder of the features.

    Raises:
        DataError: there is only one vector.
    """
    count = len(features.vectors)
    if count < 2:
        raise DataError(f"{features.folder} holds one vector, which has no neighbours; give more files for --nearest")
    if k > count - 1:
        tell(f"--nearest {k}, but each vector has {count - 1} others: all are listed")
    nearest = find_nearest(features.vectors, places_of(features), min(k, count - 1))
    _write_table(features, nearest)
    shown = np.unique(np.linspace(0, count - 1, min(count, MOST_ROWS)).round().astype(int))
    which = "all" if len(shown) == count else f"{len(shown)} of {count:,}, evenly spaced"
    rows = [_sheet_row(features, nearest, int(row)) for row in shown]
    write_sheet(features.folder, rows, title=f"Most alike by their features ({which})")
    tell(f"nearest.csv has {min(k, count - 1)} neighbours of each; nearest.png and nearest.html show {which}")


def places_of(features: "Features") -> Places:
    """Where the vectors are from; sources of one path are one file."""
    numbers: dict[str, int] = {}
    of_file = [numbers.setdefault(str(file_of(file.source)), len(numbers)) for file in features.spans.files]
    places = [features.spans.place(int(index)) for index in features.rows]
    times = np.array([(place.start_s, place.end_s) for place in places], dtype=np.float64)  # None becomes NaN
    return Places(np.array([of_file[place.file] for place in places]), times[:, 0], times[:, 1])


def _write_table(features: "Features", nearest: Nearest) -> None:
    with replaced_file(features.folder / "nearest.csv") as table:
        writer = csv.writer(table)
        columns = ("path", "start_s", "end_s")
        writer.writerow(["row", *columns, "rank", "nearest_row", *(f"nearest_{name}" for name in columns), "cosine"])
        for row, (others, cosines) in enumerate(zip(*nearest, strict=True)):
            for rank, (other, cosine) in enumerate(zip(others, cosines, strict=True), start=1):
                if other >= 0:
                    cells = [row, *_cells(features, row), rank, other, *_cells(features, int(other))]
                    writer.writerow([*cells, f"{cosine:.6f}"])


def _cells(features: "Features", row: int) -> list[str]:
    number, start_s, end_s = features.spans.place(int(features.rows[row]))
    times = ["" if time_s is None else f"{time_s:.6f}".rstrip("0").rstrip(".") for time_s in (start_s, end_s)]
    return [csv_path(str(file_of(features.spans.files[number].source))), *times]


def _sheet_row(features: "Features", nearest: Nearest, row: int) -> SheetRow:
    pairs = zip(nearest.rows[row].tolist(), nearest.cosines[row].tolist(), strict=True)
    others = [(other, cosine) for other, cosine in pairs if other >= 0][:MOST_STRIPS]
    return SheetRow(_strip(features, row, ""), [_strip(features, other, f"{cosine:.3f}") for other, cosine in others])


def _strip(features: "Features", row: int, figure: str) -> SheetStrip:
    index = int(features.rows[row])
    sample, place = features.spans[index], features.spans.place(index)
    name = Path(str(file_of(features.spans.files[place.file].source))).name
    windowed = features.spans.step_s is not None and place.start_s is not None
    times = f" {place.start_s:g} to {place.end_s:g} s" if windowed else ""
    label = features.classes[sample.label] if sample.label >= 0 else ""
    return SheetStrip(_frames(sample.path, still=place.start_s is None), f"{name}{times}", label, figure)


def _frames(source: Source, *, still: bool) -> np.ndarray:
    """A few frames `[T, H, W, 3]`; grey where the file has gone or changed meanwhile."""
    try:
        count = 1 if still else STRIP_FRAMES
        return read_clip(source, lambda n, fps: sparse_indices(n, frames=min(count, n)), stills=still)
    except MediaError:
        return np.full((1, 32, 32, 3), 128, dtype=np.uint8)
