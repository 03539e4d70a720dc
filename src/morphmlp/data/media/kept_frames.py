"""Decoded frames that stay in memory from one epoch to the next, as opening and decoding a short clip costs the most.

Frames are kept as they were decoded, before anything random: what a model is shown is the same to the last bit.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from morphmlp.data.media.video import read_clip
from morphmlp.errors import MediaError
from morphmlp.system import free_memory

SHARE_OF_MEMORY, MOST_GB = 1 / 8, 4.0  # that a run takes where nothing is said
# A source may take so many times its share of the memory. Of a set of larger ones few would have room, too few to save
# any time, so none of them is kept.
MOST_SHARES = 4

Sampling = Callable[[int, float], Sequence[int]]


def memory_for_frames(limit_gb: float | None) -> float:
    """How many bytes the frames that a run keeps may take on this machine.

    Args:
        limit_gb: in GB of 10^9 bytes; None for an eighth of the memory that is free now, at most 4.
    """
    return min(SHARE_OF_MEMORY * free_memory(), MOST_GB * 1e9) if limit_gb is None else limit_gb * 1e9


class KeptFrames:
    """Reads the sources of a set again and again: `read_clip`, with the frames of earlier reads.

    The first read of a source decodes the wanted frames, which are kept. The first one that wants others decodes the
    whole source, and later ones decode nothing. Nothing is let go of: clips come in random order, where the oldest is
    as likely to come next as any. What has no room is read as by `read_clip`, and so is a source that does not decode
    to the frames that its packets state, whose frames depend on which are wanted.

    A source that changes while it is kept goes on as it was. Each process keeps frames of its own, and none that it was
    started with: sent to another one, this is empty. It is not for several threads.

    Args:
        bytes_each: the share of a source in the memory; all together take at most `num_sources` times as much.
    """

    def __init__(self, bytes_each: float, num_sources: int):
        self.bytes_each, self.num_sources = bytes_each, num_sources
        self.num_bytes = 0  # that are kept
        self._kept: dict[os.PathLike[str], _Kept] = {}
        self._left_out: set[os.PathLike[str]] = set()

    def __reduce__(self) -> tuple:
        return KeptFrames, (self.bytes_each, self.num_sources)

    def read_clip(
        self,
        source: os.PathLike[str],
        sample: Sampling,
        *,
        stills: bool = False,
        short_side: int | None = None,
        incomplete: Callable[[str], None] = lambda note: None,
    ) -> np.ndarray:
        """As `video.read_clip`, with the same result or error; the options must be the same for all reads of a source.

        Returns:
            [T, H, W, 3] RGB, uint8, which may be changed.
        """
        read = partial(read_clip, source, stills=stills, short_side=short_side)
        sample = cache(sample)  # it may draw random numbers, and the frames that it draws here may have to be read
        kept = self._kept.get(source)
        if kept is None:
            noting = _Noting(sample, incomplete)
            frames = read(noting.sample, incomplete=noting.incomplete)
            if source not in self._left_out:
                self._keep(source, noting.kept(frames, self._has_room))
            return frames
        indices = sample(kept.num_frames, kept.fps)
        if not kept.has(indices):
            kept = self._read_all(source, kept, read)
            if kept is None or not kept.has(indices):
                return read(sample, incomplete=incomplete)
        if kept.note:
            incomplete(kept.note)
        return kept.at(indices)

    def _read_all(self, source: os.PathLike[str], part: "_Kept", read: Callable[..., np.ndarray]) -> "_Kept | None":
        """Keeps all frames of a source in place of a part of them; None, and no frame of it is kept from now on, where
        there is no room or it does not decode to as many as it states."""
        self._drop(source)
        whole = None
        if self._has_room(part.num_frames * part.frames[0].nbytes):
            noting = _Noting(lambda num_frames, fps: range(num_frames))
            try:
                whole = noting.kept(read(noting.sample, incomplete=noting.incomplete), self._has_room)
            except (MediaError, MemoryError):
                whole = None  # the frames that are wanted may be good ones
        if whole is None or (whole.num_frames, whole.fps) != (part.num_frames, part.fps):
            self._left_out.add(source)
            return None
        self._keep(source, whole)
        return whole

    def _has_room(self, num_bytes: int) -> bool:
        limit = self.bytes_each * self.num_sources
        return num_bytes <= min(MOST_SHARES * self.bytes_each, limit - self.num_bytes)

    def _keep(self, source: os.PathLike[str], kept: "_Kept | None") -> None:
        if kept is not None:
            self._kept[source] = kept
            self.num_bytes += kept.frames.nbytes

    def _drop(self, source: os.PathLike[str]) -> None:
        self.num_bytes -= self._kept.pop(source).frames.nbytes


@dataclass(frozen=True, slots=True)
class _Kept:
    """Frames of one source, and what the samplings of it are told.

    Attributes:
        frames: [K, H, W, 3], each of them once.
        places: where in `frames` a frame is, by its number in the source.
        note: what is missing of the source, as in `read_clip`; None where all is there.
    """

    frames: np.ndarray
    places: dict[int, int]
    num_frames: int
    fps: float
    note: str | None

    def has(self, indices: Sequence[int]) -> bool:
        return all(index in self.places for index in indices)

    def at(self, indices: Sequence[int]) -> np.ndarray:
        return self.frames[[self.places[index] for index in indices]]


class _Noting:
    """Listens to a read: what the sampling was told, and what is missing."""

    def __init__(self, sample: Sampling, incomplete: Callable[[str], None] = lambda note: None):
        self._sample, self._incomplete = sample, incomplete
        self._asked: dict[tuple[int, float], Sequence[int]] = {}
        self._note: str | None = None

    def sample(self, num_frames: int, fps: float) -> Sequence[int]:
        indices = self._asked[num_frames, fps] = self._sample(num_frames, fps)
        return indices

    def incomplete(self, note: str) -> None:
        self._note = note
        self._incomplete(note)

    def kept(self, frames: np.ndarray, has_room: Callable[[int], bool]) -> _Kept | None:
        """A copy of the frames that the read gave; None where the source was not what it states, or has no room."""
        if len(self._asked) != 1:
            return None
        (((num_frames, fps), indices),) = self._asked.items()
        found = {int(index): place for place, index in enumerate(indices)}  # one of those that are the same
        if not has_room(len(found) * frames[0].nbytes):
            return None
        return _Kept(
            frames=frames[[*found.values()]],
            places={index: place for place, index in enumerate(found)},
            num_frames=num_frames,
            fps=fps,
            note=self._note,
        )
