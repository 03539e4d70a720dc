"""THUMOS's lists of stretches, one file for each class: `annotation/BaseballPitch_val.txt`, `BaseballPitch_test.txt`.

THUMOS trains on its validation videos and tests on its test videos: `val` is the part for training here, and `test` the
one for validation. `Ambiguous_val.txt`, which names no class, is left out.
"""

from dataclasses import replace
from pathlib import Path

from morphmlp.data.sets.formats.rows import ListRow
from morphmlp.data.sets.formats.thumos import class_of
from morphmlp.data.sets.list_rows import read_rows
from morphmlp.data.sets.split_names import split_called, visible

_FOLDERS = ("", "annotation", "annotations")
_NO_CLASS = "Ambiguous"


def class_lists(folder: Path) -> dict[str, list[Path]]:
    """The lists in a folder, or in `annotation` in it, by their part; none where there is other text."""
    for name in _FOLDERS:
        inside = folder / name
        names = visible(inside, lambda entry: entry.is_file() and entry.name.lower().endswith(".txt"))
        found = [(inside / name, class_of(inside / name)) for name in names if not name.lower().startswith("readme")]
        if len(found) > 1 and all(of for _, of in found):
            parts: dict[str, list[Path]] = {}
            for path, of in found:
                if of and of[0] != _NO_CLASS:
                    parts.setdefault(split_called(of[1]) or "", []).append(path)
            return _as_trained(parts)
    return {}


def _as_trained(parts: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """THUMOS's validation and test part as those for training and validation; other parts as they are."""
    if set(parts) == {"val", "test"}:
        return {"train": parts["val"], "val": parts["test"]}
    return parts


def read_class_lists(paths: list[Path], *, fps: float | None) -> list[ListRow]:
    """The rows of all lists; where they are names the file."""
    return [replace(row, where=f"{path.name}, {row.where}") for path in paths for row in read_rows(path, fps=fps)]
