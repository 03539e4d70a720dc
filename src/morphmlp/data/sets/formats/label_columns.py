"""Tables whose header names several columns of labels, or a column for each class; and a JSON of files with labels.

    path,label_1,label_2                 the labels of a row, of which any may be empty
    path,running,jumping,waving          1 where a class is shown, 0 where it is not
    [{"path": "a.mp4", "labels": ["running", "jumping"]}]

A column `split` may be among them. Where the header names times and a label, `columns` reads the table.
"""

import re
from collections.abc import Sequence
from typing import Any

from morphmlp.data.sets.formats.columns import has_stretches, words_of
from morphmlp.data.sets.formats.rows import ListFile, ListRow, shown
from morphmlp.formatting import from_csv_text

_NAME = {"video", "image", "path", "file", "filename", "clip", "folder", "recording", "source", "name", "id"}
_SPLIT = {"split", "subset", "set", "partition"}
_LABEL = re.compile(
    r"(labels?|class(es)?|actions?|activit(y|ies)|categor(y|ies)|targets?|events?|tags?)[\s_.-]?[0-9]*", re.IGNORECASE
)


def is_label_column(column: str) -> bool:
    """Whether a column is called `label`, `labels`, `label_2`, `class 3` and the like."""
    return _LABEL.fullmatch(column.strip()) is not None


def rows(file: ListFile) -> list[ListRow] | None:
    """The rows of such a table or JSON; None of other files."""
    return _rows_of_json(file) if file.is_json else _rows_of_text(file)


def _rows_of_json(file: ListFile) -> list[ListRow] | None:
    entries = file.json
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        return None
    keys = [str(key) for key in entries[0]]
    name = next((key for key in keys if words_of(key) and words_of(key)[-1] in _NAME), None)
    label = next((key for key in keys if key != name and is_label_column(key)), None)
    split = next((key for key in keys if key.lower() in _SPLIT), None)
    if (
        name is None
        or label is None
        or has_stretches(keys)
        or not any(isinstance(entry.get(label), list) for entry in entries)
    ):
        return None
    return [_entry(file, f"entry {i}", entry, name, label, split) for i, entry in enumerate(entries, start=1)]


def _entry(file: ListFile, where: str, entry: dict[str, Any], name: str, label: str, split: str | None) -> ListRow:
    path, labels = entry.get(name), entry.get(label)
    labels = [labels] if isinstance(labels, str | int) else labels
    if not isinstance(path, str) or not path:
        raise file.refused(where, f"{shown(entry)} has no {name}")
    if not isinstance(labels, list) or not all(isinstance(text, str | int) for text in labels):
        raise file.refused(where, f"{shown(entry)}: {label} is no list of names or numbers")
    first, *more = [str(text).strip() for text in labels] or [""]
    return ListRow(where, path, first, split=str(entry.get(split, "")) if split else "", more=tuple(more) or ("",))


def _rows_of_text(file: ListFile) -> list[ListRow] | None:
    first = file.lines[0][1] if file.lines else ""
    delimiter = max("\t;,", key=first.count)
    if first.count(delimiter) < 2 or not _is_table(first.replace('"', "").split(delimiter)):
        return None
    (_, header), *found = file.cells(delimiter)
    if has_stretches(header):
        return None
    name = next(i for i, column in enumerate(header) if _last_word(column) in _NAME)
    split = next((i for i, column in enumerate(header) if column.lower() in _SPLIT), None)
    labels = [i for i in range(len(header)) if i not in (name, split)]
    table = [(f"row {number}", _filled(file, number, cells, header)) for number, cells in found]
    if _is_yes_or_no([[cells[i] for i in labels] for _, cells in table]):
        written = [[header[i] for i in labels if cells[i] == "1"] or [""] for _, cells in table]
        several = True
    elif odd := _odd_cell([[cells[i] for i in labels] for _, cells in table], [header[i] for i in labels]):
        (where, cells), column = table[odd[0]], labels[odd[1]]
        reason = f"column {header[column]} has {shown(cells[column])}"
        raise file.refused(where, f"{reason}; allowed: 1 where the class is shown, 0 where it is not")
    elif all(is_label_column(header[i]) for i in labels):
        written = [[from_csv_text(cells[i]) for i in labels] for _, cells in table]
        several = len(labels) > 1
    else:
        return None
    return [
        _row(file, where, cells[name], labels_of_row, split=cells[split] if split is not None else "", several=several)
        for (where, cells), labels_of_row in zip(table, written, strict=True)
    ]


def _is_table(header: Sequence[str]) -> bool:
    """Whether a first row looks like a header with a name of a file: `a.mp4,run,jump` does not."""
    return sum(_last_word(column) in _NAME for column in header) == 1 and all(column.strip() for column in header)


def _last_word(column: str) -> str:
    return (words_of(column) or [""])[-1]


def _filled(file: ListFile, number: int, cells: list[str], header: Sequence[str]) -> list[str]:
    """A row with all of its cells; those at its end may be missing."""
    if len(cells) > len(header):
        raise file.refused(f"row {number}", f"{shown(cells)} has more cells than the header, {','.join(header)}")
    return cells + [""] * (len(header) - len(cells))


def _is_yes_or_no(cells: Sequence[Sequence[str]]) -> bool:
    """Whether the columns are classes: all cells are 0 or 1, and a row has one twice, which labels would not be."""
    return (
        bool(cells)
        and all(cell in ("0", "1") for row in cells for cell in row)
        and any(len(set(row)) < len(row) for row in cells)
    )


def _odd_cell(cells: Sequence[Sequence[str]], columns: Sequence[str]) -> tuple[int, int] | None:
    """Row and column, from 0, of the first cell that is neither 0 nor 1 where most are, and the columns are classes.

    >>> cells = [["0", "1"], ["1", "x"]]
    >>> _odd_cell(cells, ["run", "jump"]), _odd_cell(cells, ["label_1", "label_2"])
    ((1, 1), None)
    """
    odd = [(i, j) for i, row in enumerate(cells) for j, cell in enumerate(row) if cell not in ("0", "1")]
    total = len(cells) * len(columns)
    is_slip = 0 < 2 * len(odd) < total and len(columns) > 1 and not any(map(is_label_column, columns))
    return odd[0] if is_slip else None


def _row(file: ListFile, where: str, name: str, labels: Sequence[str], *, split: str, several: bool) -> ListRow:
    if not name:
        raise file.refused(where, "it names no file")
    first, *more = labels
    if not (several or first or file.multi_label):
        raise file.refused(where, f"{name} has no label")
    return ListRow(where, name, first, split=split, more=tuple(more) or (("",) if several else ()))
