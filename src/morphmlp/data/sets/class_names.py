"""Class names: those of published data sets, of a file, or of a file beside the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from morphmlp.data.media.remote import is_there, local_path, remote_file
from morphmlp.data.sets.matching import composed
from morphmlp.errors import DataError

# Text files in `labels/`. The published ones are in the released order; ADE20K calls two classes "screen", ours the
# first "screen door".
PUBLISHED_LABELS = ("k400", "ssv1", "ssv2")
PACKAGED_LABELS = ("ade20k",)

CLASSES_FILE = "classes.txt"
LABEL_FILES = (CLASSES_FILE, "labels.json", "something-something-v2-labels.json")


@dataclass(frozen=True)
class ClassNames:
    """Class names in the order of the labels, and where they are written; `given` where the configuration says so."""

    names: list[str]
    source: str
    given: bool = False

    @property
    def advice(self) -> str:
        """What to add to a message where the data has other classes."""
        return "; --lists.labels null takes the data's own classes" if self.given else ""


def find_class_names(labels: str | None, folders: Sequence[Path]) -> ClassNames | None:
    """The names that `labels` says (see `ListConfig`), or those of the first label file in `folders`.

    Raises:
        DataError: the file cannot be used.
    """
    if labels is not None:
        source = f"labels {labels}" if labels in PUBLISHED_LABELS else str(Path(labels))
        return ClassNames(class_names_of(labels), source, given=True)
    candidates = (folder / name for folder in folders for name in LABEL_FILES)
    path = next((path for path in candidates if path.is_file() or (remote_file(path) and is_there(path))), None)
    return ClassNames(read_class_names(local_path(path)), source=str(path)) if path else None


def class_names_of(labels: str, *, packaged: Sequence[str] = PUBLISHED_LABELS, setting: str = "labels") -> list[str]:
    """The class names that `labels` stands for: one of `packaged`, which the package carries, or a file.

    Args:
        setting: what messages call it.

    Raises:
        DataError: neither, or the file cannot be used.
    """
    if labels in packaged:
        return (files("morphmlp.data.sets") / "labels" / f"{labels}.txt").read_text(encoding="utf-8").splitlines()
    path = local_path(labels)
    if not path.is_file():
        raise DataError(f"{setting} {labels!r}: neither {', '.join(packaged)} nor a file")
    return read_class_names(path)


def read_class_names(path: Path) -> list[str]:
    """One name a line, where empty lines at the end do not count; or, of a .json file, a label map.

    Raises:
        DataError: the file cannot be read, or a name is missing or is there twice.
    """
    if path.suffix.lower() == ".json":
        return _read_label_map(path)
    try:
        names = [composed(line.strip()) for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    known: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"{path}, line {number} is empty; expected one class name a line")
        if name in known:
            raise DataError(f"{path}, line {number}: {name!r} is there twice; each class needs its own name")
        known.add(name)
    return names


def _read_label_map(path: Path) -> list[str]:
    """Names in order from `{"Approaching something with your camera": "0", ...}`, or from a list of names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(content, list):
            content = {name: i for i, name in enumerate(content)}
        names = {int(number): composed(str(name)) for name, number in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f'{path} is no label map {{"class name": number, ...}}: {error}') from None
    if not names or sorted(names) != list(range(len(content))):
        raise DataError(f"{path}: its {len(content)} classes are not numbered from 0 to {len(content) - 1}")
    return [names[i] for i in range(len(names))]
