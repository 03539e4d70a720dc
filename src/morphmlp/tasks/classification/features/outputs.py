"""The files of finished features: vectors as safetensors or npz, a table of what each is of, and what they depend on.

Vectors are streamed from the parts to the end, so that memory holds one batch of them.
"""

import csv
import json
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from morphmlp.data.media.sources import file_of
from morphmlp.errors import DataError
from morphmlp.files import replaced_bytes, replaced_file
from morphmlp.formatting import as_json, csv_path, csv_text
from morphmlp.tasks.classification.features.settings import Format
from morphmlp.tasks.classification.features.sources import Span, Spans
from morphmlp.tasks.shared_work import read_settings

TABLE_FILE, INFO_FILE, NAME = "features.csv", "features.json", "features"
COLUMNS = ("row", "path", "start_s", "end_s", "center_s", "fps", "split", "label")
BLOCK_ROWS = 4096  # of a large array in memory at a time


class Streamed(NamedTuple):
    """An array that comes in blocks, one after the other along its first axis."""

    dtype: np.dtype
    shape: tuple[int, ...]
    blocks: Iterable[np.ndarray]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write_vectors(path: Path, arrays: dict[str, Streamed], *, info: dict[str, Any], kind: Format) -> None:
    """Writes the arrays and, beside them, what they depend on, so that one file tells all."""
    with replaced_bytes(path) as file:
        (_write_safetensors if kind == "safetensors" else _write_npz)(file, arrays, as_json(info))


def _write_safetensors(file: IO[bytes], arrays: dict[str, Streamed], info: str) -> None:
    """The format of the library, whose own writer takes whole arrays: length of the header, header, data."""
    names = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64", np.dtype(np.int64): "I64"}
    header: dict[str, Any] = {"__metadata__": {"features": info}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.num_bytes
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned
    file.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        for block in array.blocks:
            file.write(np.ascontiguousarray(block, dtype=array.dtype).data)


def _write_npz(file: IO[bytes], arrays: dict[str, Streamed], info: str) -> None:
    """As `numpy.savez`, block by block, and with a fixed date so that equal content is equal bytes."""
    text = np.array(info)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in {**arrays, "info": Streamed(text.dtype, text.shape, [text])}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_2_0(member, header)
                for block in array.blocks:
                    member.write(np.ascontiguousarray(block, dtype=array.dtype).tobytes())


def write_table(path: Path, spans: Spans, rows: Sequence[int] | np.ndarray, classes: Sequence[str]) -> None:
    """A line for each vector, in their order: `COLUMNS`. What is not known is empty.

    Args:
        rows: the samples that have a vector.
    """
    with replaced_file(path) as table:
        writer = csv.writer(table)
        writer.writerow(COLUMNS)
        for row, index in enumerate(rows):
            place = spans.place(int(index))
            file = spans.files[place.file]
            label = csv_text(classes[file.label]) if file.label >= 0 else ""
            times = [_seconds(time_s) for time_s in (place.start_s, place.end_s, center(place), file.fps)]
            writer.writerow([row, csv_path(str(file_of(file.source))), *times, file.split, label])


def center(place: Span) -> float | None:
    """The middle of a vector's time; None for an image."""
    return None if place.start_s is None or place.end_s is None else (place.start_s + place.end_s) / 2


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def time_blocks(spans: Spans, rows: np.ndarray, *, end: bool) -> Iterator[np.ndarray]:
    """Starts or ends of the vectors in seconds, float64; NaN for images."""
    for first in range(0, len(rows), BLOCK_ROWS):
        places = (spans.place(int(index)) for index in rows[first : first + BLOCK_ROWS])
        times = [place.end_s if end else place.start_s for place in places]
        yield np.array([math.nan if time_s is None else time_s for time_s in times], dtype=np.float64)


def label_blocks(spans: Spans, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Labels of the vectors, int64; -1 where there is none."""
    for first in range(0, len(rows), BLOCK_ROWS):
        numbers = (spans.place(int(index)).file for index in rows[first : first + BLOCK_ROWS])
        yield np.array([spans.files[number].label for number in numbers], dtype=np.int64)


def vectors_file(kind: str) -> str:
    return f"{NAME}.{kind}"


def finished_info(folder: Path) -> dict[str, Any] | None:
    """What `features.json` says, where the features are complete; None where they are not.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / INFO_FILE
    if not path.is_file():
        return None
    info = read_settings(path)
    if not isinstance(info.get("settings"), dict):
        raise DataError(f"{path} is not of this package's features; choose another --out")
    complete = all((folder / name).is_file() for name in (TABLE_FILE, vectors_file(info["settings"].get("format", ""))))
    return info if complete else None


def map_vectors(folder: Path, kind: Format) -> np.ndarray:
    """The vectors of finished features, mapped from their file.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / vectors_file(kind)
    try:
        offset, shape = (_place_in_safetensors if kind == "safetensors" else _place_in_npz)(path)
        if not math.prod(shape):
            return np.zeros(shape, dtype=np.float32)
        return np.memmap(path, dtype=np.float32, mode="r", offset=offset, shape=shape)
    except (ValueError, KeyError, struct.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}); give --fresh to compute it again") from None


def _place_in_safetensors(path: Path) -> tuple[int, tuple[int, ...]]:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))[NAME]
    return 8 + length + entry["data_offsets"][0], tuple(entry["shape"])


def _place_in_npz(path: Path) -> tuple[int, tuple[int, ...]]:
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(f"{NAME}.npy").header_offset
        with archive.open(f"{NAME}.npy") as member:
            np.lib.format.read_magic(member)
            shape, _, _ = np.lib.format.read_array_header_2_0(member)
            header = member.tell()
    with open(path, "rb") as file:  # the member's own header: 30 bytes, its name and what is beside it
        file.seek(start + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return start + 30 + name + extra + header, shape
