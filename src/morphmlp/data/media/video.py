"""From a video to RGB frames: probe it, read chosen frames, or let a sampling rule choose them.

A video is a file, a member of a tar shard, or a folder of frames; an image is a video of one frame, and `read_clip`
takes it too. Files are decoded by PyAV (FFmpeg inside the wheel), sequentially and in a single thread: a loader runs
one decoder a worker, where threads within each would only compete. Whatever is wrong with a video is one `MediaError`
that names it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from morphmlp.data.media.frame_folders import frame_size, is_frame_folder, list_frames, read_frame_files
from morphmlp.data.media.images import read_image, require_filled_file
from morphmlp.data.media.sources import TarMember, media_kind, read_member, require_whole_member
from morphmlp.errors import MediaError

# FFmpeg's names of the containers that hold the time of every frame; for others, such as AVI, it makes some up.
_TIMED_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
_UNKNOWN_FPS = 30.0  # the base rate of the recipes' strides: with it, a stride counts the frames of the video


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds out about the first video stream of a file, without decoding it all.

    `height` and `width` are in pixels as displayed, after the turn by `rotation_degrees` (counter-clockwise: 0, 90, 180
    or 270). `num_frames` counts packets, so a damaged file can hold fewer. `fps` is the average over the video.
    """

    num_frames: int
    fps: float
    height: int
    width: int
    rotation_degrees: int
    duration_s: float
    codec: str


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Describe a video: one frame is decoded, the rest is only counted.

    The count is that of the packets, as the one in the header may be missing or wrong. A folder of frames has no rate
    of its own: 30 a second are taken.

    Raises:
        MediaError: the file is missing, unreadable, not a video, or holds no frame that can be decoded.

    >>> probe("juggle.mp4")
    VideoInfo(num_frames=247, fps=24.0, height=720, width=1280, rotation_degrees=0, duration_s=10.2916..., codec='h264')
    """
    if is_frame_folder(path):
        return _probe_folder(path)
    with _open(path) as (container, stream):
        frame, packets = _scan(path, container, stream)
        rotation_degrees = _rotation_degrees(frame)
        on_its_side = rotation_degrees in (90, 270)
        fps = _average_fps(stream, packets)
        return VideoInfo(
            num_frames=packets.num_shown,
            fps=fps,
            height=frame.width if on_its_side else frame.height,
            width=frame.height if on_its_side else frame.width,
            rotation_degrees=rotation_degrees,
            duration_s=packets.num_shown / fps,
            codec=stream.codec_context.codec.canonical_name,
        )


def _probe_folder(folder: str | os.PathLike[str]) -> VideoInfo:
    files = list_frames(folder)
    height, width = frame_size(folder, files)
    return VideoInfo(
        num_frames=len(files),
        fps=_UNKNOWN_FPS,
        height=height,
        width=width,
        rotation_degrees=0,
        duration_s=len(files) / _UNKNOWN_FPS,
        codec="frames",
    )


def read_frames(path: str | os.PathLike[str], indices: Sequence[int]) -> np.ndarray:
    """Read the frames at `indices` in one pass over the video; 0 is the first frame shown.

    The indices may come in any order and repeat, so that several clips of a video are read at once: pass their
    concatenation and split the result. Decoding stops after the last wanted frame, and only wanted frames are kept. A
    turn asked for by the file is applied. If the size changes within the video, frames are scaled to the first's.

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
    if is_frame_folder(path):
        return read_frame_files(path, list_frames(path), indices)
    frames, num_decoded = _decode(path, indices)
    if frames is None:
        raise MediaError(path, f"holds {num_decoded} frames, so there is no frame {max(indices)} (the first is 0)")
    return frames


def read_clip(path: str | os.PathLike[str], sample: Callable[[int, float], Sequence[int]]) -> np.ndarray:
    """Read the frames that `sample(num_frames, fps)` chooses from a video, or from an image, which is one frame.

    `sample` is called with the counts of `probe`. Should the video decode without an error to fewer frames than that
    (packets that give no picture), it is called again with the number there really are. So `sample` must not count its
    own calls, but may draw random numbers.

    Returns:
        [T, H, W, 3] RGB, uint8, with T the number of indices that `sample` returned.

    Raises:
        MediaError: the file cannot be decoded up to the last wanted frame, or holds no frame.

    >>> read_clip("juggle.mp4", lambda num_frames, fps: sparse_indices(num_frames, frames=16)).shape
    (16, 720, 1280, 3)
    """
    if is_frame_folder(path):
        files = list_frames(path)
        return read_frame_files(path, files, sample(len(files), _UNKNOWN_FPS))
    if media_kind(path) == "image":
        content = read_member(path) if isinstance(path, TarMember) else None
        return read_image(path, content=content)[None][list(sample(1, _UNKNOWN_FPS))]
    frames = _decode_wanted(path, sample)
    if frames is not None:
        return frames
    info = probe(path)
    frames, num_decoded = _decode(path, sample(info.num_frames, info.fps))
    if frames is not None:
        return frames
    return read_frames(path, sample(num_decoded, info.fps))


def _decode_wanted(path: str | os.PathLike[str], sample: Callable[[int, float], Sequence[int]]) -> np.ndarray | None:
    """`read_clip` of an H.264 file, without decoding unwanted frames that no other frame refers to; or None.

    By the standard these can be left out without a change to the others; they are a third of the frames of an ordinary
    file. Which frame is which is told by the timestamps, here alone. So None is returned where they are not plain: the
    container has none of its own, one is missing, is there twice or is out of order, a frame does not come out, or
    anything else is wrong with the file, which decoding all of it will name.
    """
    with _open(path) as (container, stream):
        if stream.codec_context.name != "h264" or container.format.name not in _TIMED_FORMATS:
            return None
        try:
            packets = _Packets()
            times = []
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    packets.add(packet)
                    times.append(packet.pts)
            if None in times or not times or len(set(times)) < len(times):
                return None
            times.sort()
            indices = [int(index) for index in sample(len(times), _average_fps(stream, packets))]
            if not indices or min(indices) < 0 or max(indices) >= len(times):
                return None
            container.seek(times[0], stream=stream)
            found = _pictures_at(path, container, stream, {times[index] for index in indices})
        except (FFmpegError, OSError, ValueError):
            return None
    return None if found is None else np.stack([found[times[index]] for index in indices])


def _pictures_at(
    path: str | os.PathLike[str], container: InputContainer, stream: av.VideoStream, wanted: set[int]
) -> dict[int, np.ndarray] | None:
    """The frames [H, W, 3] with these timestamps, or None where frames come out in another order, or not at all."""
    found: dict[int, np.ndarray] = {}
    first: av.VideoFrame | None = None
    last_time: int | None = None
    reformatter = VideoReformatter()
    for packet in container.demux(stream):
        # The first frame too: it gives size and turn.
        needed = first is None or packet.pts in wanted
        stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
        for frame in stream.decode(packet):
            if frame.pts is None or (last_time is not None and frame.pts <= last_time):
                return None
            first, last_time = first or frame, frame.pts
            if frame.pts in wanted:
                found[frame.pts] = _to_rgb(path, frame, first=first, reformatter=reformatter)
        if len(found) == len(wanted):
            return found
    return None


def _decode(path: str | os.PathLike[str], indices: Sequence[int]) -> tuple[np.ndarray | None, int]:
    """Return the wanted frames [T, H, W, 3] and the number decoded; None if the video ended before the last of them."""
    positions: dict[int, list[int]] = {}  # index in the video -> where it goes in the result
    for position, index in enumerate(indices):
        positions.setdefault(int(index), []).append(position)
    wanted: np.ndarray | None = None
    first: av.VideoFrame | None = None
    num_decoded = 0
    reformatter = VideoReformatter()  # one for all frames: setting it up costs more than converting a small frame
    with _open(path) as (container, stream):
        for frame in _iterate_frames(path, container, stream):
            first = first or frame
            if num_decoded in positions:
                picture = _to_rgb(path, frame, first=first, reformatter=reformatter)
                if wanted is None:
                    wanted = np.empty((len(indices), *picture.shape), dtype=np.uint8)
                wanted[positions.pop(num_decoded)] = picture
            num_decoded += 1
            if not positions:
                return wanted, num_decoded
    if num_decoded == 0:
        raise MediaError(path, "no frame can be decoded")
    return None, num_decoded


def _iterate_frames(
    path: str | os.PathLike[str], container: InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    """Yield the frames in the order in which they are shown, which is the one in which decoders give them out.

    Their timestamps are not used: an AVI file has none, and those made up for it are not in order.
    """
    num_decoded = 0
    with _errors_as_video_error(path, lambda: f"the stream breaks after {num_decoded} good frame(s)"):
        for frame in container.decode(stream):
            yield frame
            num_decoded += 1


def _to_rgb(
    path: str | os.PathLike[str], frame: av.VideoFrame, *, first: av.VideoFrame, reformatter: VideoReformatter
) -> np.ndarray:
    """Convert a frame of any pixel format, matrix, range and depth to RGB [H, W, 3] uint8, sized and turned as `first`.

    Matrix (BT.601, BT.709, ...) and range are those written in the stream; an unknown matrix is taken as BT.601.
    """
    with _errors_as_video_error(path, lambda: f"a frame in {frame.format.name} cannot be converted to RGB"):
        # Left to itself, the conversion starts a thread for every core.
        picture = reformatter.reformat(
            frame, width=first.width, height=first.height, format="rgb24", threads=1
        ).to_ndarray()
    return np.rot90(picture, k=_rotation_degrees(first) // 90)


def _rotation_degrees(frame: av.VideoFrame) -> int:
    """Return the counter-clockwise turn to the nearest quarter; PyAV's -90 is 270, as is a camera's -90.5."""
    return round(frame.rotation / 90) % 4 * 90


@dataclass
class _Packets:
    """What counting the packets of a stream tells; the ends are in units of the stream's time base."""

    num_shown: int = 0
    start: int | None = None
    end: int | None = None

    def add(self, packet: av.Packet) -> None:
        self.num_shown += 1
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            until = time + (packet.duration or 0)
            self.start = time if self.start is None else min(self.start, time)
            self.end = until if self.end is None else max(self.end, until)


def _scan(
    path: str | os.PathLike[str], container: InputContainer, stream: av.VideoStream
) -> tuple[av.VideoFrame, _Packets]:
    """Count the packets to be shown and return the first frame, which alone knows the display rotation."""
    packets = _Packets()
    first_frame: av.VideoFrame | None = None
    with _errors_as_video_error(path, lambda: f"the stream breaks at packet {packets.num_shown} (the first is 0)"):
        for packet in container.demux(stream):
            if first_frame is None:
                # The packet without data that ends the stream is decoded too: it makes the decoder give out its rest.
                first_frame = next(iter(stream.decode(packet)), None)
            if packet.size and not packet.is_discard:  # an edit list discards what it cuts off
                packets.add(packet)
    if first_frame is None or packets.num_shown == 0:
        raise MediaError(path, "no frame can be decoded")
    return first_frame, packets


def _average_fps(stream: av.VideoStream, packets: _Packets) -> float:
    """Return frames a second: the header's rate if the packets bear it out, else what they say (variable rates).

    310 packets over 10.333 s, rounded to milliseconds by the container, are 30.001 a second: the header's 30 holds.
    """
    header = float(stream.average_rate or 0)
    if packets.start is None or packets.end is None or packets.end == packets.start or stream.time_base is None:
        return header or _UNKNOWN_FPS
    measured = packets.num_shown / float((packets.end - packets.start) * stream.time_base)
    return header if abs(header - measured) < 0.02 * measured else measured


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a file and its first video stream that is not a cover picture."""
    address = _address(path)
    with _errors_as_video_error(path, lambda: "cannot be opened as a video"):
        # A title in an unknown encoding is no reason to refuse the video.
        container = av.open(address, metadata_errors="ignore")
    with container:
        if container.format.name == "tty":  # FFmpeg would draw the text, as a terminal does
            raise MediaError(path, "is a text file, not a video")
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                break
        else:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
            raise MediaError(path, f"holds no video stream (streams: {kinds})")
        if stream.codec_context is None:
            raise MediaError(path, "there is no decoder for its video stream")
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def _address(path: str | os.PathLike[str]) -> str:
    """What FFmpeg is to open: a part of a shard, or a file by its absolute name, whose colons are no protocol."""
    if isinstance(path, TarMember):
        require_whole_member(path)
        return f"subfile,,start,{path.offset},end,{path.offset + path.size},,:{os.path.abspath(path.shard)}"
    require_filled_file(path)
    return os.path.abspath(path)


@contextmanager
def _errors_as_video_error(path: str | os.PathLike[str], describe: Callable[[], str]) -> Iterator[None]:
    """Turn what FFmpeg, PyAV and the file system raise into a `MediaError` that starts with `describe()`."""
    try:
        yield
    except MediaError:
        raise
    except (FFmpegError, OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise MediaError(path, f"{describe()} ({cause})") from None
