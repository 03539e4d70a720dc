"""Burns the label and score of each segment into a copy of the video; its sound is kept."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from PIL import Image, ImageDraw, ImageFont

from morphmlp.data.media.streams import Stream
from morphmlp.errors import ConfigError
from morphmlp.files import replaced_bytes, require_replaceable
from morphmlp.formatting import one_line, percent
from morphmlp.output import tell
from morphmlp.signals import end_if_asked
from morphmlp.tasks.classification.timeline.segments import Segment

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_TIME_BASE = Fraction(1, 90_000)  # s, of the times of the copy: every usual rate is a whole number of it
_MOST_LINES = 3  # segments that are shown at a time


def require_render(source: Path, path: str | Path) -> None:
    """What can be known of a copy before the work on it.

    Raises:
        ConfigError: the copy would take the place of the video, or its ending names no container.
        OSError: no file can be written there.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise ConfigError(f"--render {path}: its ending names no video; give one of {', '.join(FORMATS)}")
    if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
        raise ConfigError(f"--render {path} is the source itself; give another name")
    require_replaceable(path)


def render(source: Path, segments: Sequence[Segment], path: str | Path) -> None:
    """Writes a copy of a video, upright, with the segments that go on at each frame at its top.

    Raises:
        MediaError: the video cannot be read.
        ConfigError: see `require_render`.
        OSError: the copy cannot be written.
    """
    require_render(source, path)
    try:
        _copy(source, segments, path, with_sound=True)
    except (FFmpegError, ValueError) as error:  # what a container does not take may show itself only at the end
        end_if_asked()
        if (unwritten := _file_error(error)) is not None:
            raise OSError(unwritten.errno, unwritten.strerror, str(path)) from error
        cause = getattr(error, "strerror", error)
        tell(f"{source}: its sound does not fit {Path(path).suffix} ({cause}) and is left out; .mkv takes any sound")
        _copy(source, segments, path, with_sound=False)


def _file_error(error: BaseException | None) -> OSError | None:
    """The error of the disk that came first, where another one of FFmpeg followed when it closed the copy."""
    while error is not None:
        if isinstance(error, OSError) and not isinstance(error, FFmpegError):
            return error
        error = error.__context__
    return None


def _copy(source: Path, segments: Sequence[Segment], path: str | Path, *, with_sound: bool) -> None:
    with ExitStack() as stack:
        file = stack.enter_context(replaced_bytes(path))
        copy = stack.enter_context(av.open(file, "w", format=FORMATS[Path(path).suffix.lower()]))
        frames = stack.enter_context(closing(Stream(source, say=_said_before).frames()))
        _write(copy, frames, segments, _Sound(source, copy, stack, wanted=with_sound), rate=_rate(source))


def _said_before(line: str) -> None:
    """What there is to say of the video was said when it was watched."""


def _rate(source: Path) -> Fraction:
    with av.open(os.path.abspath(source), metadata_errors="ignore") as container:
        return container.streams.video[0].average_rate or Fraction(30)


def _write(
    copy: OutputContainer, frames: Iterator, segments: Sequence[Segment], sound: "_Sound", *, rate: Fraction
) -> None:
    stream = None
    for timed in frames:
        picture = timed.picture()
        height, width = (side - side % 2 for side in picture.shape[:2])  # the usual colours are kept for 2 x 2 pixels
        if stream is None:
            stream = copy.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = _TIME_BASE
            sound.add_stream()
        shown = [segment for segment in segments if segment.start_s <= timed.time_s + 1e-6 < segment.end_s]
        frame = av.VideoFrame.from_ndarray(_labelled(picture[:height, :width], shown), format="rgb24")
        frame.pts, frame.time_base = round(timed.time_s / _TIME_BASE), _TIME_BASE
        copy.mux(stream.encode(frame))
        sound.write_until(timed.time_s)
    if stream is not None:
        copy.mux(stream.encode())
        sound.write_until(float("inf"))


def _labelled(picture: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """The picture with a line of text for each segment, the most probable ones first, on dark ground."""
    if not segments:
        return np.ascontiguousarray(picture)
    best = sorted(segments, key=lambda segment: -segment.score)[:_MOST_LINES]
    text = "\n".join(f"{one_line(segment.label)} {percent(segment.score, digits=0)}" for segment in best)
    image = Image.fromarray(np.ascontiguousarray(picture))
    draw = ImageDraw.Draw(image, "RGBA")
    size = image.height / 18
    width = draw.multiline_textbbox((0, 0), text, font=ImageFont.load_default(size))[2]
    size *= min(1, (image.width - 2 * size) / width)
    font = ImageFont.load_default(max(size, 6))
    box = draw.multiline_textbbox((size / 2, size / 2), text, font=font)
    draw.rectangle((box[0] - size / 3, box[1] - size / 3, box[2] + size / 3, box[3] + size / 3), fill=(0, 0, 0, 160))
    draw.multiline_text((size / 2, size / 2), text, font=font, fill=(255, 255, 255, 255))
    return np.asarray(image)


class _Sound:
    """The packets of the first sound track, which go into the copy as they are, where its container takes them."""

    def __init__(self, source: Path, copy: OutputContainer, stack: ExitStack, *, wanted: bool):
        self._copy = copy
        self._container = stack.enter_context(av.open(os.path.abspath(source), metadata_errors="ignore"))
        self._track = self._container.streams.best("audio") if wanted else None
        self._written = None

    def add_stream(self) -> None:
        """To be called once the video's stream is there."""
        if self._track is None:
            return
        self._written = self._copy.add_stream_from_template(self._track)
        self._packets = self._container.demux(self._track)
        self._next = next(self._packets, None)

    def write_until(self, time_s: float) -> None:
        """Writes the packets that begin before a time."""
        while self._written is not None and self._next is not None and self._seconds(self._next) <= time_s:
            packet, self._next = self._next, next(self._packets, None)
            if packet.size and packet.pts is not None:
                start = round(self._start_s() / packet.time_base)
                packet.pts, packet.dts = packet.pts - start, (packet.dts or packet.pts) - start
                packet.stream = self._written
                self._copy.mux(packet)

    def _seconds(self, packet: av.Packet) -> float:
        return 0.0 if packet.pts is None else float(packet.pts * packet.time_base) - self._start_s()

    def _start_s(self) -> float:
        """What the clock of the source says where players start."""
        return (self._container.start_time or 0) / av.time_base
