"""What `check-data` does with each file: it reads the header, decodes frames, and says what it found."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from morphmlp.data.clips.sampling import sparse_indices
from morphmlp.data.media.images import describe_image
from morphmlp.data.media.limits import MOST_DAMAGE
from morphmlp.data.media.sources import MediaKind, Source
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import count_decodable, frame_times, probe, read_clip
from morphmlp.errors import MediaError
from morphmlp.tasks.task import CountAnnotation

HEAD_BYTES = 65536  # of a file, which tell whether two of the same size are worth comparing in full

_BLOCK_BYTES = 2**28  # of decoded frames held at once where all frames of a frame folder are read

# A gap between two frames is unusual if it is a quarter off the middle one, and more than timestamps are rounded by. A
# video with more unusual gaps than this share has no constant rate.
_MOST_UNUSUAL_GAPS = 0.05


@dataclass(frozen=True)
class Job:
    """A file to look at, and the annotation of an image that has one."""

    path: Source
    kind: MediaKind
    annotation: Path | None = None


@dataclass(frozen=True)
class Depth:
    """How files are looked at.

    Attributes:
        frames: sampled frames of a video, one of each of as many equal segments.
        all_frames: every frame of a video is decoded.
        count_annotation: reads annotations; None where there are none.
        most_damage: see `data.media.limits`, which readers ask; here, so that what an earlier check found is not taken
            over where another share counts.
    """

    frames: int = 16
    all_frames: bool = False
    count_annotation: CountAnnotation | None = None
    most_damage: float = MOST_DAMAGE


@dataclass(frozen=True)
class Facts:
    """What a look at a file tells, with sizes in pixels as displayed; None is what is not known.

    Attributes:
        reason: why it cannot be used; None where it can.
        rotation: degrees, counter-clockwise, by which the file asks to be turned: 0, 90, 180 or 270.
        variable: the gaps between frames differ.
        stated: the frames that a video should have by its header or its packets, where fewer can be read.
        missing: what a stretch lacks, in words: the end that its file does not have, or frames that are damaged.
        head: digest of the first `HEAD_BYTES` of a file that is a sample as a whole.
        class_pixels: of an annotation, pixels by class, the last without one.
    """

    reason: str | None = None
    frames: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    codec: str | None = None
    duration_s: float | None = None
    variable: bool = False
    stated: int | None = None
    missing: str | None = None
    head: str | None = None
    class_pixels: tuple[int, ...] | None = None


def examine(job: Job, depth: Depth) -> Facts:
    """Opens and decodes a file as training and testing would; never raises for what is wrong with it."""
    facts = Facts()
    try:
        if job.annotation is not None:
            return _examine_pair(job.path, job.annotation, depth)
        facts = _describe_image(job.path) if job.kind == "image" else _describe_video(job.path)
        notes: list[str] = []
        (height, width), num_frames = _decode(job, facts, depth, incomplete=notes.append)
        facts = _with_readable(facts, num_frames)
        if notes and isinstance(job.path, Stretch):
            facts = replace(facts, missing=notes[-1])
        return replace(facts, head=_head(job.path), height=height, width=width)
    except MediaError as error:
        return replace(facts, reason=error.reason)
    except MemoryError:
        return replace(facts, reason="there is not enough memory to decode it")
    except Exception as error:  # one odd file must not end a check of a hundred thousand
        return replace(facts, reason=f"{type(error).__name__}: {error}")


def _describe_video(path: Source) -> Facts:
    info = probe(path)
    return Facts(
        frames=info.num_frames,
        fps=info.fps,
        width=info.width,
        height=info.height,
        rotation=info.rotation_degrees,
        codec=info.codec,
        duration_s=info.duration_s,
        stated=info.num_frames + info.num_missing if info.num_missing else None,
        variable=os.path.isfile(path) and uneven(np.array(frame_times(path), dtype=np.int64)),
    )


def _with_readable(facts: Facts, num_frames: int) -> Facts:
    """The facts where decoding gave fewer frames than there are packets."""
    if facts.frames is None or num_frames >= facts.frames:
        return facts
    duration_s = num_frames / facts.fps if facts.fps else None
    return replace(facts, frames=num_frames, stated=facts.stated or facts.frames, duration_s=duration_s)


def _describe_image(path: Source) -> Facts:
    """Format and turn by the header; neither where it cannot be read: `read_clip` says why, or can."""
    try:
        info = describe_image(path)
    except MediaError:
        return Facts(frames=1)
    return Facts(frames=1, rotation=info.rotation_degrees, codec=info.format)


def uneven(times: np.ndarray) -> bool:
    """Whether more than a few gaps between times, in ticks and any order, differ from the middle gap.

    Milliseconds of a video of 30 frames a second have gaps of 33 and 34, which is even:

    >>> uneven(np.array([0, 33, 67, 100, 133])), uneven(np.array([0, 33, 100, 133, 233]))
    (False, True)
    """
    gaps = np.diff(np.sort(times))
    if len(gaps) < 2:
        return False
    usual = np.median(gaps)
    unusual = np.abs(gaps - usual) > max(usual / 4, 2)
    return bool(unusual.mean() > _MOST_UNUSUAL_GAPS)


def _decode(job: Job, facts: Facts, depth: Depth, *, incomplete: Callable[[str], None]) -> tuple[tuple[int, int], int]:
    """Decodes the frames of the wanted depth; returns height and width, and the number of frames as far as known."""
    if job.kind == "image":
        return _size(read_clip(job.path, lambda num_frames, fps: [0], stills=True)), 1
    counts = []

    def sampled(num_frames: int, fps: float) -> list[int]:
        counts.append(num_frames)  # the last one is right: a damaged video is sampled again
        return sparse_indices(num_frames, frames=depth.frames)

    size = _size(read_clip(job.path, sampled, incomplete=incomplete))
    if not depth.all_frames:
        return size, counts[-1]
    if not os.path.isdir(job.path):
        return size, count_decodable(job.path)
    block = max(_BLOCK_BYTES // (size[0] * size[1] * 3), 1)  # here each frame is a file of its own
    for start in range(0, facts.frames or 0, block):
        read_clip(job.path, lambda num_frames, fps, s=start: range(s, min(s + block, num_frames)))
    return size, counts[-1]


def _size(frames: np.ndarray) -> tuple[int, int]:
    return frames.shape[1], frames.shape[2]


def _examine_pair(path: Source, annotation: Path, depth: Depth) -> Facts:
    """An image and its annotation: the same size, and no value outside the classes."""
    assert depth.count_annotation is not None
    facts = _describe_image(path)
    height, width = _size(read_clip(path, lambda num_frames, fps: [0]))
    facts = replace(facts, height=height, width=width, head=_head(path))
    try:
        return replace(facts, class_pixels=depth.count_annotation(annotation, (height, width)))
    except MediaError as error:
        return replace(facts, reason=f"its annotation {error.reason}")


def _head(path: Source) -> str | None:
    """Digest of the beginning of a plain file, which decoding has just brought into the system's memory."""
    if not isinstance(path, Path) or not path.is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read(HEAD_BYTES), digest_size=16).hexdigest()
