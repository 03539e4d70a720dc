"""What the decoding processes do: a file becomes the views that the model takes, or the reason why it does not.

Nothing of a file is opened anywhere else: a file that crashes a decoder, hangs it or fills the memory ends one of these
processes. `lanes` runs them, each forked from a process that has imported this module: all imports are at its top.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from morphmlp.config import InputConfig
from morphmlp.data.batches.views import BrokenSample, TestViews
from morphmlp.data.batches.worker_signals import leave_signals_to_main_process
from morphmlp.data.clips.cutting import CutWindow, RunCutter
from morphmlp.data.clips.protocol import views_of
from morphmlp.data.clips.windows import num_windows
from morphmlp.data.media.animations import is_animation
from morphmlp.data.media.counted import VideoInfo, is_image
from morphmlp.data.media.limits import PIXELS_VARIABLE, WINDOW_VARIABLE
from morphmlp.data.media.runs import TimedFrame
from morphmlp.data.media.sources import MediaKind, why_not_taken
from morphmlp.data.media.streams import Stream
from morphmlp.data.media.video import probe
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import MediaError
from morphmlp.serving.limits import MEGABYTE, Limits
from morphmlp.system import limit_memory
from morphmlp.tasks.classification.timeline.watching import window_pictures

Result = TypeVar("Result")

THUMBNAIL_HEIGHT = 96


@dataclass(frozen=True)
class HowToRead:
    """All that a decoding process knows of the model and of the server's limits.

    Attributes:
        kind: what the model takes.
        frames: of a clip.
        windows_at_once: of those that `next_windows` gives.
    """

    kind: MediaKind
    frames: int
    input: InputConfig
    limits: Limits
    windows_at_once: int


@dataclass(frozen=True)
class Refused:
    """A file that cannot be taken, and why."""

    reason: str


@dataclass(frozen=True)
class Decoded:
    """A file's views, float32 `[views, 3, T, h, w]`, and what it is; `note` says what is missing of it."""

    clips: np.ndarray
    duration_s: float
    note: str | None


@dataclass(frozen=True)
class DecodedWindow:
    """A window's views, as those of `Decoded`, and the picture in its middle as a small JPEG file."""

    start_s: float
    end_s: float
    clips: np.ndarray
    thumbnail: bytes


_how: HowToRead | None = None
_windows: Iterator[DecodedWindow] | None = None  # of the file that was begun


def prepare(how: HowToRead) -> None:
    """The first that a decoding process does."""
    global _how
    _how = how
    leave_signals_to_main_process()
    os.environ[PIXELS_VARIABLE] = str(how.limits.pixels)
    os.environ[WINDOW_VARIABLE] = str(int(how.limits.decode_mb * MEGABYTE / 2))
    limit_memory(int(how.limits.decode_mb * MEGABYTE))


def ready() -> None:
    """Does nothing: a process that answers is there."""


def read_file(path: Path) -> Decoded | Refused:
    """All views of a file, as the test protocol of the checkpoint has them."""
    return _or_refused(lambda how: _read(path, how))


def begin_windows(path: Path, length_s: float, step_s: float, skip: int) -> VideoInfo | Refused:
    """Begins to cut a file into windows; those from number `skip` on are then given by `next_windows`."""

    def begin(how: HowToRead) -> VideoInfo:
        global _windows
        info = _require_taken(path, how)
        count = num_windows(info.duration_s, length_s=length_s, step_s=step_s)
        if count > how.limits.windows:
            raise MediaError(
                path, f"would have {count} windows, above the {how.limits.windows} that are taken; give a longer step_s"
            )
        _windows = islice(_cut(path, length_s, step_s, how), skip, None)
        return info

    return _or_refused(begin)


def next_windows() -> list[DecodedWindow] | Refused | None:
    """The next windows, in order; none are left at the end of the file; None where no file was begun.

    A process that took the place of one that died has begun none.
    """
    windows = _windows
    return None if windows is None else _or_refused(lambda how: list(islice(windows, how.windows_at_once)))


def end_windows() -> None:
    """Closes the file, if it is open still."""
    global _windows
    _windows = None


def _or_refused(read: Callable[[HowToRead], Result]) -> Result | Refused:
    assert _how is not None, "the process is not prepared"
    try:
        return read(_how)
    except MediaError as error:
        # What can be set is for who runs the server.
        reason = re.sub(r"(,? or set MORPHMLP_|; --max_damage ).*", "", error.reason)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        reason = "Cannot allocate memory"
    if "Cannot allocate memory" in reason:
        reason = f"needs more than the {_how.limits.decode_mb:g} MB of memory that decoding may take"
    return Refused(reason)


def _read(path: Path, how: HowToRead) -> Decoded:
    info = _require_taken(path, how)
    views = TestViews([Sample(path)], how.frames, how.input)[0]
    if isinstance(views, BrokenSample):
        raise MediaError(path, views.reason)
    return Decoded(views.clips, info.duration_s, views.note)


def _require_taken(path: Path, how: HowToRead) -> VideoInfo:
    """Raises MediaError where a file is of the other kind, or longer than is taken."""
    refusal = why_not_taken(path, how.kind)
    if refusal is None and how.kind == "video" and is_image(path) and not is_animation(path):
        refusal = "is an image, but the checkpoint takes videos"
    if refusal is None and how.kind == "image" and not is_image(path):
        refusal = "is no image, but the checkpoint takes images"
    if refusal is not None:
        raise MediaError(path, refusal)
    info = probe(path)
    if info.duration_s > how.limits.duration_s:
        raise MediaError(
            path, f"lasts {info.duration_s:.1f} s, above the {how.limits.duration_s:g} s that are taken; send a part"
        )
    return info


def _cut(path: Path, length_s: float, step_s: float, how: HowToRead) -> Iterator[DecodedWindow]:
    """The windows of a file as `Watch` has them."""
    stream = Stream(path, short_side=how.input.decoded_short_side, say=lambda line: None)
    cutter = RunCutter(path, length_s=length_s, step_s=step_s)
    for frame in stream.frames():
        yield from (_decoded(window, path, how) for window in cutter.add(frame))
    yield from (_decoded(window, path, how) for window in cutter.finish())


def _decoded(window: CutWindow[TimedFrame], path: Path, how: HowToRead) -> DecodedWindow:
    pictures = window_pictures(path, window, frames=how.frames, config=how.input)
    clips = views_of(pictures, how.input)
    return DecodedWindow(window.start_s, window.end_s, clips, _thumbnail(pictures[len(pictures) // 2]))


def _thumbnail(picture: np.ndarray) -> bytes:
    """A JPEG file of a picture `[H, W, 3]`, 96 pixels high."""
    width = max(1, round(THUMBNAIL_HEIGHT * picture.shape[1] / picture.shape[0]))
    buffer = BytesIO()
    Image.fromarray(picture).resize((width, THUMBNAIL_HEIGHT)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
