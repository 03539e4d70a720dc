"""What a check of a data set says as a whole, and the files that it writes."""

import hashlib
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from morphmlp.analysis.data_check.examine import HEAD_BYTES, Facts
from morphmlp.analysis.data_check.inventory import Inventory, SetFile
from morphmlp.data.batches.views import refuse_strips
from morphmlp.data.media.remote import place_of, remote_file
from morphmlp.data.media.sources import MediaKind, Source
from morphmlp.data.sets.written import SEPARATOR
from morphmlp.errors import MediaError

ODD_RATE = 0.25  # off the set's median rate, as a share of it
MOST_IMBALANCED = 5  # largest over smallest class; above it, drawing classes equally often is worth a try
NOTES = ("short", "odd rate", "variable rate", "rotated", "incomplete")
FIGURES = ("frames", "fps", "width", "height", "duration_s", "bytes")


@dataclass(frozen=True)
class CheckedFile:
    """A file, what was found out about it, and what is unusual: "short", "odd rate", "variable rate", "rotated",
    "incomplete"."""

    file: SetFile
    facts: Facts
    bytes: int | None
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        return self.file.job.path

    @property
    def path(self) -> str:
        return os.fspath(self.source)

    @property
    def name(self) -> str:
        """The path, and for a stretch which part of it."""
        return str(self.source)

    @property
    def kind(self) -> MediaKind:
        return self.file.job.kind

    @property
    def split(self) -> str:
        return self.file.split

    @property
    def classes(self) -> tuple[int, ...] | None:
        return self.file.classes

    @property
    def broken(self) -> bool:
        return self.facts.reason is not None


@dataclass(frozen=True)
class NearCopy:
    """Two files of other splits or labels that show nearly the same; see `copies` for the two figures."""

    first: CheckedFile
    second: CheckedFile
    alike: float
    cosine: float


@dataclass(frozen=True)
class CheckReport:
    """All figures of a check.

    Attributes:
        files: in the order of the set.
        frames: shorter videos are called short.
        taken_over: the number of files that an earlier check had looked at.
        duplicates: groups of readable files with the same content.
        copies: pairs that show nearly the same, most alike first; None where nobody asked.
        copies_above: how alike they had to be.
        num_copies: all of them, where `copies` holds the first of very many.
        notes: what reading assumed about labels and stretches.
        clean: the lists of readable files that were written.
        clean_note: why there are none, or why they cannot be trained on as they are.
    """

    root: Path
    files: list[CheckedFile]
    classes: list[str]
    frames: int
    taken_over: int
    has_annotations: bool = False
    refusal: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    duplicates: list[list[CheckedFile]] = field(default_factory=list)
    copies: list[NearCopy] | None = None
    copies_above: float | None = None
    num_copies: int = 0
    notes: tuple[str, ...] = ()
    clean: list[Path] = field(default_factory=list)
    clean_note: str | None = None

    @cached_property
    def broken(self) -> list[CheckedFile]:
        return [file for file in self.files if file.broken]

    @cached_property
    def readable(self) -> list[CheckedFile]:
        return [file for file in self.files if not file.broken]

    @cached_property
    def unit(self) -> str:
        """What the files are called: "videos", "images", or "files" where there are both."""
        kinds = {file.kind for file in self.files}
        return f"{kinds.pop()}s" if len(kinds) == 1 else "files"

    @cached_property
    def splits(self) -> list[str]:
        return list(dict.fromkeys(file.split for file in self.files))

    @cached_property
    def multi_label(self) -> bool:
        return any(file.file.labels is not None for file in self.files)

    def noted(self, note: str) -> list[CheckedFile]:
        return [file for file in self.readable if note in file.notes]

    def spread(self, figure: str) -> tuple[float, float, float] | None:
        """Smallest, median and largest of one of `FIGURES` over the readable files that have it."""
        found = [value for value in (_figure(file, figure) for file in self.readable) if value is not None]
        return (min(found), statistics.median(found), max(found)) if found else None

    @property
    def duration_s(self) -> float:
        return sum(file.facts.duration_s or 0 for file in self.readable)

    def class_counts(self) -> dict[str, dict[str, int]]:
        """Readable files of each class in each split."""
        counts = {name: dict.fromkeys(self.splits, 0) for name in self.classes}
        for file in self.readable:
            for label in file.classes or ():
                counts[self.classes[label]][file.split] += 1
        return counts

    def empty_classes(self, split: str) -> list[str]:
        return [name for name, counts in self.class_counts().items() if counts[split] == 0]

    @property
    def imbalance(self) -> float | None:
        """Largest over smallest class in the first split; empty classes do not count."""
        counts = [n for by_split in self.class_counts().values() if (n := by_split[self.splits[0]])]
        return max(counts) / min(counts) if len(counts) > 1 else None

    @property
    def leaks(self) -> list[list[CheckedFile]]:
        """Duplicates that are in more than one split."""
        return [group for group in self.duplicates if len({file.split for file in group}) > 1]

    @property
    def conflicts(self) -> list[list[CheckedFile]]:
        """Duplicates with different labels."""
        return [group for group in self.duplicates if len({file.classes for file in group}) > 1]

    def class_pixels(self) -> dict[str, float] | None:
        """Of annotated images, the share of each class among the pixels that have one."""
        counts = [file.facts.class_pixels for file in self.readable if file.facts.class_pixels]
        if not counts:
            return None
        totals = np.sum(np.array(counts, dtype=np.int64), axis=0)[:-1]
        return dict(zip(self.classes, (totals / max(totals.sum(), 1)).tolist(), strict=True))

    @property
    def sound(self) -> bool:
        """Whether every file is readable and training takes the set, as it is and by the clean lists if any."""
        return not self.broken and self.refusal is None and not (self.clean and self.clean_note)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; readable files are only counted."""
        counted = {note: len(self.noted(note)) for note in NOTES}
        return {
            "data": place_of(remote_file(self.root) or self.root),
            "unit": self.unit,
            "files": len(self.files),
            "readable": len(self.readable),
            "broken": [{"path": file.name, "reason": file.facts.reason} for file in self.broken],
            "taken_over": self.taken_over,
            "frames": self.frames,
            **{note.replace(" ", "_"): number for note, number in counted.items()},
            "splits": {name: sum(file.split == name for file in self.files) for name in self.splits},
            "classes": self.class_counts() if not self.has_annotations else self.classes,
            "imbalance": self.imbalance,
            "class_pixels": self.class_pixels(),
            "total_duration_s": self.duration_s,
            "min_median_max": {figure: self.spread(figure) for figure in FIGURES},
            "sizes": dict(sizes(self.readable)),
            "codecs": dict(codecs(self.readable)),
            "duplicates": [[file.path for file in group] for group in self.duplicates],
            "duplicates_across_splits": len(self.leaks),
            "duplicates_with_different_labels": len(self.conflicts),
            **self._copies(),
            "left_out": self.left_out,
            "refusal": self.refusal,
            "notes": list(self.notes),
            "clean_lists": [str(path) for path in self.clean],
            "clean_note": self.clean_note,
        }

    def _copies(self) -> dict[str, Any]:
        """The near copies for JSON; nothing where nobody asked for them."""
        if self.copies is None:
            return {}
        pairs = [
            {
                "paths": [copy.first.path, copy.second.path],
                "splits": [copy.first.split, copy.second.split],
                "labels": [self.class_of(copy.first), self.class_of(copy.second)],
                "alike": round(copy.alike, 4),
                "feature_cosine": round(copy.cosine, 4),
            }
            for copy in self.copies
        ]
        return {"near_copies": pairs, "near_copies_above": self.copies_above, "num_near_copies": self.num_copies}

    def class_of(self, file: CheckedFile) -> str | None:
        """The name of its class, several parted by `|`; None where there are no labels."""
        return None if file.classes is None else SEPARATOR.join(self.classes[label] for label in file.classes)


def _figure(file: CheckedFile, figure: str) -> float | None:
    return file.bytes if figure == "bytes" else getattr(file.facts, figure)


def sizes(files: Iterable[CheckedFile]) -> list[tuple[str, int]]:
    """Width x height in pixels with the number of files, most frequent first."""
    return Counter(f"{file.facts.width} x {file.facts.height}" for file in files if file.facts.width).most_common()


def codecs(files: Iterable[CheckedFile]) -> list[tuple[str, int]]:
    """Codec, or format of an image, with the number of files, most frequent first."""
    return Counter(file.facts.codec for file in files if file.facts.codec).most_common()


def summarise(inventory: Inventory, files: Sequence[CheckedFile], *, frames: int, taken_over: int) -> CheckReport:
    """Says of each file what is unusual beside the others, and finds those of the same content."""
    files = [_refused_strip(file) for file in files]
    rates = [file.facts.fps for file in files if not file.broken and file.facts.fps]
    median_fps = statistics.median(rates) if rates else 0.0
    files = [file if file.broken else replace(file, notes=_notes(file, frames, median_fps)) for file in files]
    return CheckReport(
        root=inventory.root,
        files=files,
        classes=inventory.classes,
        frames=frames,
        taken_over=taken_over,
        has_annotations=inventory.count_annotation is not None,
        refusal=inventory.refusal,
        left_out=inventory.left_out,
        notes=inventory.notes,
        duplicates=_duplicates([file for file in files if not file.broken]),
    )


def _refused_strip(file: CheckedFile) -> CheckedFile:
    """Calls a picture broken that can be decoded, but is too long for its width to be taken."""
    if file.broken or not file.facts.width or not file.facts.height:
        return file
    try:
        refuse_strips(Path(file.path), (file.facts.height, file.facts.width))
    except MediaError as error:
        return replace(file, facts=replace(file.facts, reason=error.reason))
    return file


def _notes(file: CheckedFile, frames: int, median_fps: float) -> tuple[str, ...]:
    facts = file.facts
    is_video = file.kind == "video"
    found = {
        "short": is_video and (facts.frames or 0) < frames,
        "odd rate": bool(facts.fps) and abs((facts.fps or 0) - median_fps) > ODD_RATE * median_fps,
        "variable rate": facts.variable,
        "rotated": bool(facts.rotation),
        "incomplete": facts.stated is not None or facts.missing is not None,
    }
    return tuple(note for note, holds in found.items() if holds)


def _duplicates(files: Iterable[CheckedFile]) -> list[list[CheckedFile]]:
    """Groups of files with the same content: the same size and beginning, and then in full; each in the set's order."""
    alike = _groups(((file.bytes, file.facts.head), file) for file in files if file.facts.head)
    found = []
    for candidates in alike:
        if (candidates[0].bytes or 0) <= HEAD_BYTES:
            found.append(candidates)
        else:
            found.extend(_groups((_content_digest(file.path), file) for file in candidates))
    return found


def _groups(keyed: Iterable[tuple[Hashable, CheckedFile]]) -> list[list[CheckedFile]]:
    groups: dict[Hashable, list[CheckedFile]] = defaultdict(list)
    for key, file in keyed:
        groups[key].append(file)
    return [group for group in groups.values() if len(group) > 1]


def _content_digest(path: str) -> str:
    """Of the whole file; a file that has gone meanwhile is like no other."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return path
