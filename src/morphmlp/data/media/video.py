"""From a video to RGB frames: probe it, read chosen frames, or let a sampling rule choose them.

A video is a file, a member of a tar shard, or a folder of frames; an image is a video of one frame, and one that moves
is a video. Files are decoded sequentially and in a single thread by PyAV (FFmpeg inside the wheel): a loader runs one
decoder a worker, and threads within each would only compete. Whatever is wrong with a video is one `MediaError` that
names it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache

import av
import numpy as np
from av.error import FFmpegError

from morphmlp.data.media.counted import (
    VideoInfo,
    is_counted,
    is_image,
    probe_folder,
    probe_image,
    read_image_frames,
)
from morphmlp.data.media.frame_folders import is_frame_folder, list_frames, read_frame_files
from morphmlp.data.media.numbering import Numbered, has_times_of_its_own, number_frames
from morphmlp.data.media.open_video import UNKNOWN_FPS, OpenVideo, opened, turn_of
from morphmlp.data.media.packets import of_stated
from morphmlp.data.media.seeking import Plan, all_come_out, pictures_at, plan
from morphmlp.data.media.stretches import Stretch, past_end
from morphmlp.errors import MediaError


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Describe a video: one frame is decoded, the rest is only counted.

    The count is that of the packets, as the one in the header may be missing or wrong. A folder of frames has no rate
    of its own: 30 a second are taken.

    Raises:
        MediaError: the file is missing, unreadable, not a video, or holds no frame that can be decoded.

    >>> probe("juggle.mp4")
    VideoInfo(num_frames=247, fps=24.0, height=720, width=1280, rotation_degrees=0, duration_s=10.2916...,
              end_s=10.2916..., codec='h264')
    """
    if isinstance(path, Stretch):
        with _named(path):
            return _probe_stretch(path)
    if is_frame_folder(path):
        return probe_folder(path)
    if is_image(path):
        return probe_image(path)
    with opened(path) as video:
        frame, packets = video.scan()
        fps = video.average_fps(packets)
        info = _info(video, frame, packets.num_shown, fps)
        if video.has_plain_times or (packets.all_timed and has_times_of_its_own(video)):
            info = replace(info, end_s=video.end_s(packets, fps))
        num_stated = packets.num_stated(video.stream, info.fps) or 0
        return replace(info, num_missing=max(num_stated - packets.num_read, 0))


def _info(video: OpenVideo, frame: av.VideoFrame, num_frames: int, fps: float) -> VideoInfo:
    """What there is to say of a video with this first frame."""
    turn = turn_of(frame)
    return VideoInfo(
        num_frames=num_frames,
        fps=fps,
        height=frame.width if turn.exchanges_sides else frame.height,
        width=frame.height if turn.exchanges_sides else frame.width,
        rotation_degrees=turn.degrees,
        duration_s=num_frames / fps,
        end_s=num_frames / fps,
        codec=video.stream.codec_context.codec.canonical_name,
    )


def _probe_stretch(stretch: Stretch) -> VideoInfo:
    if not is_counted(stretch.file):
        with _planned(stretch) as (video, plan):
            if plan is not None and video.first is not None:
                return _info(video, video.first, len(plan.times), plan.fps)
    found, info = _number(stretch), probe(stretch.file)
    num_frames = len(found.numbers)
    duration_s = num_frames / found.fps
    return replace(info, num_frames=num_frames, fps=found.fps, duration_s=duration_s, end_s=duration_s, num_missing=0)


def count_decodable(path: str | os.PathLike[str]) -> int:
    """Decode a whole video and count the frames that come out; a damaged one gives fewer than it has packets.

    Raises:
        MediaError: there is none, or too large a share of the packets cannot be decoded.
    """
    if isinstance(path, Stretch):
        with _named(path):
            return _count_stretch(path)
    if is_counted(path):
        return probe(path).num_frames
    with opened(path) as video:
        for _ in video.frames():
            pass
        video.require_little_damage()
        return video.num_decoded


def frame_times(path: str | os.PathLike[str]) -> list[int]:
    """The times of a file's frames, in ticks and in the order in which they are stored; those without one are left out.

    Raises:
        MediaError: the file cannot be opened as a video.
    """
    if isinstance(path, Stretch):
        with _named(path):
            return _times_of_stretch(path)
    if is_image(path):
        return []
    with opened(path) as video:
        return video.count().times


def _count_stretch(stretch: Stretch) -> int:
    if not is_counted(stretch.file):
        with _planned(stretch) as (video, plan), suppress(FFmpegError, OSError, ValueError):
            if plan is not None and all_come_out(video, plan):
                return len(plan.times)
    return len(_number(stretch).numbers)


def _times_of_stretch(stretch: Stretch) -> list[int]:
    if is_counted(stretch.file):
        return []
    with _planned(stretch) as (_, plan):
        if plan is not None:
            return plan.times
    return _number(stretch).times


def read_frames(path: str | os.PathLike[str], indices: Sequence[int]) -> np.ndarray:
    """Read the frames at `indices` in one pass over the video; 0 is the first frame shown.

    The indices may come in any order and repeat, so that several clips of a video are read at once: pass their
    concatenation and split the result. Decoding stops after the last wanted frame, and only wanted frames are kept. A
    turn that the file asks for is applied. If the size changes within the video, frames are scaled to the first one's.

    Returns:
        [T, H, W, 3] RGB, uint8, with T = len(indices) and frame t the one at `indices[t]`.

    Raises:
        MediaError: the file cannot be decoded up to the last wanted frame, or ends before it.
        ValueError: no indices, or a negative one.

    >>> read_frames("juggle.mp4", [0, 100, 100]).shape
    (3, 720, 1280, 3)
    """
    if not len(indices) or min(indices) < 0:
        raise ValueError(f"indices={list(indices)}: give one or more frame numbers, from 0 on")
    if isinstance(path, Stretch):
        return read_clip(path, lambda num_frames, fps: indices)
    if is_frame_folder(path):
        return read_frame_files(path, list_frames(path), indices)
    if is_image(path):
        return read_image_frames(path, lambda num_frames, fps: indices, stills=False)
    frames, num_decoded = _decode(path, indices)
    if frames is None:
        raise MediaError(path, f"holds {num_decoded} frames, so there is no frame {max(indices)} (the first is 0)")
    return frames


def read_clip(
    path: str | os.PathLike[str],
    sample: Callable[[int, float], Sequence[int]],
    *,
    stills: bool = False,
    short_side: int | None = None,
    incomplete: Callable[[str], None] = lambda note: None,
) -> np.ndarray:
    """Read the frames that `sample(num_frames, fps)` chooses from a video, or from an image, which is one frame.

    An image that moves (GIF, WebP, PNG) is a video, unless `stills` asks for its first picture.

    `sample` is called with the counts of `probe`. Should the video decode without an error to fewer frames than that
    (packets that give no picture), it is called again with the number there really are; never twice with the same
    counts, however the frames are found. So `sample` must not count its own calls, but may draw random numbers.
    `incomplete` is called with a note where frames are missing: "82 of 100 frames can be read".

    Args:
        short_side: scale the frames of a video file to it while they are decoded, by the mean over areas and before
            they become RGB, as the released loader of Kinetics does; None keeps their size. Images keep theirs.

    Returns:
        [T, H, W, 3] RGB, uint8, with T the number of indices that `sample` returned.

    Raises:
        MediaError: the file cannot be decoded up to the last wanted frame, or holds no frame.

    >>> from morphmlp.data.clips.sampling import sparse_indices
    >>> read_clip("juggle.mp4", lambda num_frames, fps: sparse_indices(num_frames, frames=16)).shape
    (16, 720, 1280, 3)
    """
    sample = cache(sample)
    if isinstance(path, Stretch):
        with _named(path):
            return _read_stretch(path, sample, incomplete, short_side)
    if is_frame_folder(path):
        files = list_frames(path)
        return read_frame_files(path, files, sample(len(files), UNKNOWN_FPS))
    if is_image(path):
        return read_image_frames(path, sample, stills=stills)
    frames = _decode_wanted(path, sample, incomplete, short_side)
    if frames is not None:
        return frames
    info = probe(path)
    frames, num_decoded = _decode(path, sample(info.num_frames, info.fps), short_side)
    if frames is None:
        frames, again = _decode(path, sample(num_decoded, info.fps), short_side)
        if frames is None:
            raise MediaError(path, f"gave {num_decoded} frames at first and {again} then; it may be changing")
        incomplete(of_stated(num_decoded, info.num_frames + info.num_missing))
    elif info.incomplete:
        incomplete(info.incomplete)
    return frames


def _read_stretch(
    stretch: Stretch,
    sample: Callable[[int, float], Sequence[int]],
    incomplete: Callable[[str], None],
    short_side: int | None,
) -> np.ndarray:
    if not is_counted(stretch.file):
        frames = _decode_wanted(stretch, sample, incomplete, short_side)
        if frames is not None:
            return frames
    numbers, _, fps, note = _number(stretch)
    indices = sample(len(numbers), fps)
    if max(indices) >= len(numbers):
        raise MediaError(stretch, f"holds {len(numbers)} frames, so there is no frame {max(indices)} (the first is 0)")
    chosen = [numbers[index] for index in indices]
    if note:
        incomplete(note)
    if is_counted(stretch.file):
        return read_frames(stretch.file, chosen)
    frames, num_decoded = _decode(stretch.file, chosen, short_side)
    if frames is None:
        raise MediaError(stretch, f"its file gave {num_decoded} frames, and more before; it may be changing")
    return frames


def _number(stretch: Stretch) -> Numbered:
    """The numbers of a stretch's frames; those of a folder or an animation have no times."""
    if not is_counted(stretch.file):
        return number_frames(stretch)
    info = probe(stretch.file)
    if stretch.unit == "seconds":
        what = "a folder of frames" if info.codec == "frames" else "an image"
        raise MediaError(stretch, f"is {what}, whose frames have no times; give the stretch in frames")
    note = past_end(stretch, num_frames=info.num_frames, end_s=info.duration_s, fps=info.fps)
    return Numbered(list(range(info.num_frames))[int(stretch.start) : int(stretch.end)], [], info.fps, note)


@contextmanager
def _named(stretch: Stretch) -> Iterator[None]:
    """What is wrong with the file of a stretch is said of the stretch."""
    try:
        yield
    except MediaError as error:
        raise MediaError(stretch, error.reason) from None


def _decode_wanted(
    path: str | os.PathLike[str],
    sample: Callable[[int, float], Sequence[int]],
    incomplete: Callable[[str], None] = lambda note: None,
    short_side: int | None = None,
) -> np.ndarray | None:
    """`read_clip` of a file or a stretch of one, without decoding frames that the wanted ones do not need; or None.

    None is returned where the packets leave anything unsure, see `seeking`, and where anything is wrong with the file,
    which decoding all of it will name.
    """
    with _planned(path, short_side) as (video, plan):
        if plan is None:
            return None
        times = plan.times
        indices = [int(index) for index in sample(len(times), plan.fps)]
        if not indices or min(indices) < 0 or max(indices) >= len(times):
            return None
        try:
            found = pictures_at(video, plan, {times[index] for index in indices})
        except (FFmpegError, OSError, ValueError):
            return None
    if found is None:
        return None
    if plan.note:
        incomplete(plan.note)
    return np.stack([found[times[index]] for index in indices])


@contextmanager
def _planned(path: str | os.PathLike[str], short_side: int | None = None) -> Iterator[tuple[OpenVideo, Plan | None]]:
    """A file or a stretch of one that is open, with its frames where the packets tell them without doubt."""
    stretch = path if isinstance(path, Stretch) else None
    with opened(path if stretch is None else stretch.file, short_side=short_side) as video:
        try:
            found = plan(video, stretch)
        except MediaError:
            raise
        except (FFmpegError, OSError, ValueError):
            found = None
        yield video, found


def _decode(
    path: str | os.PathLike[str], indices: Sequence[int], short_side: int | None = None
) -> tuple[np.ndarray | None, int]:
    """Return the wanted frames [T, H, W, 3] and the number decoded; None if the video ended before the last of them."""
    positions: dict[int, list[int]] = {}  # index in the video -> where it goes in the result
    for position, index in enumerate(indices):
        positions.setdefault(int(index), []).append(position)
    wanted: np.ndarray | None = None
    num_decoded = 0
    with opened(path, short_side=short_side) as video:
        for frame in video.frames():
            if num_decoded in positions:
                picture = video.to_rgb(frame)
                if wanted is None:
                    wanted = np.empty((len(indices), *picture.shape), dtype=np.uint8)
                wanted[positions.pop(num_decoded)] = picture
            num_decoded += 1
            if not positions:
                break
        video.require_little_damage()
    return (None if positions else wanted), num_decoded
