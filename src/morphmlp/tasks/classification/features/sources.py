"""What features are computed of: files, and the windows of files.

Times are in seconds from where players start. An image has none.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from morphmlp.data.clips.windows import num_windows
from morphmlp.data.media.frame_folders import FrameFolder
from morphmlp.data.media.sources import MediaKind, Source, file_of, state_of, unique_name, why_not_taken
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import probe
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import MediaError


@dataclass(frozen=True)
class FeatureFile:
    """A source to look at; what is not known of it is None.

    Attributes:
        label: its class, a number in the classes of its set; -1 without one.
        split: the part of its set; "" without one.
        start_s, end_s: of the source within its file.
        fps: of its file.
        state: two numbers that change when the file does.
        reason: why it cannot be looked at; None where it can, as far as its header tells.
        note: what its header states and is not there; None where all is there.
    """

    source: Source
    label: int = -1
    split: str = ""
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None
    state: tuple[int, int] | None = None
    reason: str | None = None
    note: str | None = None


def survey(
    files: Sequence[FeatureFile],
    *,
    kind: MediaKind,
    workers: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[FeatureFile]:
    """The files with their times, rates and states; what cannot be opened says why. No frame but the first is decoded.

    Args:
        kind: what the model takes.
        workers: threads, which read headers and packets.
    """
    surveyed = []
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        for file in pool.map(partial(_surveyed, kind=kind), files):
            surveyed.append(file)
            progress(len(surveyed), len(files))
    return surveyed


def _surveyed(file: FeatureFile, *, kind: MediaKind) -> FeatureFile:
    source = file.source
    try:
        file = replace(file, state=state_of(source))
        if (refusal := why_not_taken(source, kind)) is not None:
            raise MediaError(source, refusal)
        if kind == "image":
            return file
        info = probe(file_of(source))
        return replace(file, fps=info.fps, note=info.incomplete, **_span(source, info.fps, info.end_s))
    except MediaError as error:
        return replace(file, reason=error.reason)
    except (OSError, ValueError) as error:
        return replace(file, reason=getattr(error, "strerror", None) or str(error))


def _span(source: Source, fps: float, duration_s: float) -> dict[str, float]:
    if not isinstance(source, Stretch):
        return {"start_s": 0.0, "end_s": duration_s}
    scale = 1.0 if source.unit == "seconds" else 1 / fps
    return {"start_s": source.start * scale, "end_s": source.end * scale}


def refuse_windows(file: FeatureFile) -> FeatureFile:
    """The file, with the reason where it has no times that windows could be cut by."""
    source = file.source
    if isinstance(source, FrameFolder) or (isinstance(source, Path) and source.is_dir()):
        return replace(file, reason="is a folder of frames, which say no times; leave out --step")
    if isinstance(source, Stretch) and source.unit == "frames":
        return replace(file, reason="is a stretch that counts frames; windows need seconds: leave out --step")
    return file


class Span(NamedTuple):
    """One vector's place: the number of its file, and its times; None for an image."""

    file: int
    start_s: float | None
    end_s: float | None


class Spans(Sequence[Sample]):
    """A sample for each vector: every file that can be opened, or its windows, made when they are asked for.

    A million windows take no memory but their files'. Item i is the sample; `place(i)` says where it is.
    """

    def __init__(self, files: Sequence[FeatureFile], *, length_s: float | None = None, step_s: float | None = None):
        self.files, self.length_s, self.step_s = files, length_s, step_s
        self.ends = list(accumulate(map(self._number, files)))

    def _number(self, file: FeatureFile) -> int:
        if file.reason is not None:
            return 0
        if self.step_s is None or self.length_s is None or file.start_s is None or file.end_s is None:
            return 1
        return num_windows(file.end_s - file.start_s, length_s=self.length_s, step_s=self.step_s)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, start_s, end_s = self.place(index)
        file = self.files[number]
        if (start_s, end_s) == (file.start_s, file.end_s):  # all of it: the same numbers as of the file itself
            return Sample(file.source, file.label)
        within = file_of(file.source)
        assert start_s is not None
        assert end_s is not None
        assert not isinstance(within, FrameFolder), "survey has refused it"
        return Sample(Stretch(within, start_s, end_s), file.label)

    def place(self, index: int) -> Span:
        """Where vector number `index` is from."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self.ends, index, side="right"))
        file = self.files[number]
        if self.step_s is None or self.length_s is None or file.start_s is None or file.end_s is None:
            return Span(number, file.start_s, file.end_s)
        k = index - (self.ends[number - 1] if number else 0)
        start_s = file.start_s + k * self.step_s
        return Span(number, start_s, min(start_s + self.length_s, file.end_s))

    def places(self) -> Iterator[Span]:
        return map(self.place, range(len(self)))


def digest_of_files(files: Iterable[FeatureFile]) -> str:
    """Tells whether the files are those of an earlier run: names, states, labels."""
    lines = (f"{unique_name(file.source)}\t{file.state}\t{file.label}\t{file.split}\n" for file in files)
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()
