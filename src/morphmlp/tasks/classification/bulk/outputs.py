"""Rows of predictions as a file that grows while they come: csv or JSON lines; Parquet is written at the end."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from morphmlp.errors import ConfigError
from morphmlp.files import AppendedFile, replaced_bytes
from morphmlp.formatting import as_json
from morphmlp.tasks.classification.report import CSV_COLUMNS, csv_lines
from morphmlp.tasks.shared_work import PARTS_FOLDER

Row = dict[str, Any]  # of `report.as_row`
ROWS_PER_GROUP = 10_000  # of a Parquet file, which are in memory together


class RowFile(ABC):
    """A file of rows."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def parts(self) -> Path:
        """The folder of what the rows are made from."""
        return self.path.with_name(f"{self.path.name}.{PARTS_FOLDER}")

    @abstractmethod
    def begin(self, rows: Iterable[Row]) -> None:
        """Replaces the file by one of these rows, at once."""

    @abstractmethod
    def append(self, row: Row) -> None:
        """Adds a row, which a reader finds from now on."""

    @abstractmethod
    def finish(self, rows: Iterable[Row]) -> None:
        """No more rows come; `rows` are all, in their order."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the file, complete or not."""


class LineFile(RowFile):
    """A row is some lines of text: readers may follow the file while it grows."""

    def __init__(self, path: Path, encode: Callable[[Row], str], *, header: str = ""):
        super().__init__(path)
        self.encode, self.header = encode, header
        self._file: AppendedFile | None = None

    def begin(self, rows: Iterable[Row]) -> None:
        with replaced_bytes(self.path) as file:
            file.write(_as_bytes(self.header))
            file.writelines(_as_bytes(self.encode(row)) for row in rows)
        self._file = AppendedFile(self.path)

    def append(self, row: Row) -> None:
        assert self._file is not None, "it has begun"
        self._file.append(_as_bytes(self.encode(row)))

    def finish(self, rows: Iterable[Row]) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


class ParquetFile(RowFile):
    """Parquet says at its end where its rows are: nobody can read it before."""

    def begin(self, rows: Iterable[Row]) -> None:
        pass

    def append(self, row: Row) -> None:
        pass

    def finish(self, rows: Iterable[Row]) -> None:
        import pyarrow
        from pyarrow import parquet

        entry = pyarrow.struct([("label", pyarrow.string()), ("probability", pyarrow.float64())])
        columns = dict.fromkeys(("path", "answer", "incomplete", "error"), pyarrow.string())
        schema = pyarrow.schema({**columns, "top": pyarrow.list_(entry)})
        with replaced_bytes(self.path) as file, parquet.ParquetWriter(file, schema) as writer:
            for group in _groups(rows):
                writer.write_table(pyarrow.Table.from_pylist(group, schema))

    def close(self) -> None:
        pass


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows as Parquet takes them: its texts are UTF-8, which names of files need not be."""
    group: list[Row] = []
    for row in rows:
        group.append(row | {"path": row["path"].encode("utf-8", "backslashreplace").decode()})
        if len(group) == ROWS_PER_GROUP:
            yield group
            group = []
    yield group


def row_file(path: str | Path) -> RowFile:
    """The file of rows whose format the ending says.

    Raises:
        ConfigError: the ending says none, or a library is missing.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise ConfigError(f"--out {path}: its ending names no format of rows; give one of {', '.join(_FORMATS)}")
    return _FORMATS[ending](path)


def _csv_file(path: Path) -> RowFile:
    return LineFile(path, lambda row: _csv_text(csv_lines(row)), header=_csv_text([CSV_COLUMNS]))


def _csv_text(lines: Iterable[Iterable[object]]) -> str:
    text = StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue()


def _json_lines_file(path: Path) -> RowFile:
    return LineFile(path, lambda row: as_json(row) + "\n")


def _parquet_file(path: Path) -> RowFile:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ConfigError(
            f"--out {path} needs pyarrow: pip install 'morphmlp[parquet]', or choose a .csv or a .jsonl"
        ) from None
    return ParquetFile(path)


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # names of files may hold bytes that are no UTF-8


_FORMATS = {".csv": _csv_file, ".jsonl": _json_lines_file, ".ndjson": _json_lines_file, ".parquet": _parquet_file}
