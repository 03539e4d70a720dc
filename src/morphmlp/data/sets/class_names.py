"""Class names: those of published data sets, of a file, or of a file beside the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from morphmlp.errors import CheckpointError, DataError


def read_class_names(path: Path) -> list[str]:
    """One name a line; empty lines at the end do not count.

    Raises:
        DataError: the file cannot be read, or a name is missing or is there twice.
    """
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"{path}, line {number} is empty; expected one class name a line")
        if name in names[: number - 1]:
            raise DataError(f"{path}, line {number}: {name!r} is there twice; each class needs its own name")
    return names


def read_labels(labels: str) -> list[str]:
    """Class names of a data set whose names the package carries, or of a text file."""
    if labels in PUBLISHED_LABELS:
        return (files("morphmlp.data.sets") / "labels" / f"{labels}.txt").read_text(encoding="utf-8").splitlines()
    if not Path(labels).is_file():
        raise CheckpointError(f"labels {labels!r}: neither {', '.join(PUBLISHED_LABELS)} nor a text file")
    return read_class_names(Path(labels))


PUBLISHED_LABELS = ("k400", "ssv1", "ssv2")  # class names in the released order, as text files in `labels/`

LABEL_FILES = ("classes.txt", "labels.json", "something-something-v2-labels.json")


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
    if labels in PUBLISHED_LABELS:
        text = (files("morphmlp.data.sets") / "labels" / f"{labels}.txt").read_text(encoding="utf-8")
        return ClassNames(text.splitlines(), source=f"labels {labels}", given=True)
    if labels is not None:
        path = Path(labels)
        if not path.is_file():
            raise DataError(f"labels {labels!r}: neither {', '.join(PUBLISHED_LABELS)} nor a file")
    else:
        candidates = (folder / name for folder in folders for name in LABEL_FILES)
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            return None
    names = _read_label_map(path) if path.suffix.lower() == ".json" else read_class_names(path)
    return ClassNames(names, source=str(path), given=labels is not None)


def _read_label_map(path: Path) -> list[str]:
    """Names in order from `{"Approaching something with your camera": "0", ...}`, or from a list of names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(content, list):
            content = {name: i for i, name in enumerate(content)}
        names = {int(number): str(name) for name, number in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f'{path} is no label map {{"class name": number, ...}}: {error}') from None
    if not names or sorted(names) != list(range(len(content))):
        raise DataError(f"{path}: its {len(content)} classes are not numbered from 0 to {len(content) - 1}")
    return [names[i] for i in range(len(names))]


# Text files in `labels/`; ADE20K calls two classes "screen", ours the first "screen door".
PACKAGED_LABELS = ("ade20k",)
