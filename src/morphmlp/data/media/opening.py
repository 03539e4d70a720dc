"""Which stream of which container: a file is opened at the video stream that players show, and at nothing else."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.error import FFmpegError
from av.format import ContainerFormat
from av.stream import Discard, Disposition

from morphmlp.data.media.formats import head_of, require_filled_file
from morphmlp.data.media.limits import MOST_FRAME_PIXELS, most_pixels, refuse_giant
from morphmlp.data.media.remote import on_disk
from morphmlp.data.media.tar_members import TarMember
from morphmlp.errors import MediaError

# Texts that name other files, which opening them would read, and addresses of devices and of the network.
_NOT_READ = {
    *("concat", "concatf", "dash", "hls", "imf", "lavfi", "mlv", "rtp", "rtsp", "sap", "sdp"),
    *("vobsub", "webm_dash_manifest"),
}


@contextmanager
def open_stream(path: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a file at its video stream, whose decoder is set up; other streams are left out.

    Raises:
        MediaError: the file is missing, no video, larger than is read, or encrypted.
    """
    address = _address(path)
    options = {**reading_options(), "format_whitelist": read_formats(), "protocol_whitelist": "file,subfile"}
    with errors_named(path, lambda: _why_not_opened(path)):
        # A title in an unknown encoding is no reason to refuse the video.
        container = av.open(address, metadata_errors="ignore", options=options)
    with container:
        yield container, video_stream(path, container)


def reading_options() -> dict[str, str]:
    """FFmpeg's options for all that is opened. Opening may decode frames to learn of them."""
    return {"max_pixels": str(most_pixels(MOST_FRAME_PIXELS)), "threads": "1"}


def video_stream(path: str | os.PathLike[str], container: InputContainer) -> av.VideoStream:
    """The video stream that players show, whose decoder is set up; other streams are left out.

    Raises:
        MediaError: there is none, or it is larger than is read.
    """
    if container.format.name == "tty":  # FFmpeg would draw the text, as a terminal does
        raise MediaError(path, "is a text file, not a video")
    stream = _best_stream(path, container)
    width, height = stream.codec_context.width, stream.codec_context.height
    refuse_giant(path, width, height, default=MOST_FRAME_PIXELS, what="pixels of a frame")
    _set_up(container, stream, most_pixels(MOST_FRAME_PIXELS))
    return stream


def _address(path: str | os.PathLike[str]) -> str:
    """What FFmpeg is to open: a part of a shard, or a file by its absolute name, whose colons are no protocol."""
    if isinstance(path, TarMember):
        return path.address()
    require_filled_file(path)
    return os.path.abspath(on_disk(path))


@cache
def read_formats() -> str:
    """All containers that FFmpeg reads but for `_NOT_READ`."""
    names = sorted(name for name in av.formats_available if name not in _NOT_READ)
    return ",".join(name for name in names if ContainerFormat(name).is_input)


def _why_not_opened(path: str | os.PathLike[str]) -> str:
    if head_of(path).lstrip(b"\xef\xbb\xbf").startswith((b"ffconcat", b"#EXTM3U")):
        return "is a text that names other files, which are not read; give the files themselves"
    return "cannot be opened as a video"


def _best_stream(path: str | os.PathLike[str], container: InputContainer) -> av.VideoStream:
    """The stream that FFmpeg calls the best: the default one, then the one with the most frames; no cover picture."""
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        raise MediaError(path, _why_no_stream(container))
    best = container.streams.best("video")
    stream = next((stream for stream in videos if best is not None and stream.index == best.index), videos[0])
    if stream.codec_context is None:
        raise MediaError(path, "there is no decoder for its video stream")
    return stream


def _why_no_stream(container: InputContainer) -> str:
    kinds = [stream.type for stream in container.streams]
    if kinds.count("video"):
        others = ", ".join(sorted({kind for kind in kinds if kind != "video"})) or "nothing else"
        return f"is no video: it holds {others} and a cover picture"
    return f"holds no video stream (streams: {', '.join(sorted(set(kinds))) or 'none'})"


def _set_up(container: InputContainer, stream: av.VideoStream, limit: int) -> None:
    """One thread, crops to the pixel, a limit on the size, and no packet of another stream."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    context = stream.codec_context
    stream.thread_type = "NONE"
    context.thread_count = 1
    context.flags |= Flags.unaligned  # else a crop on the left is rounded down to what the memory is aligned to
    context.options = {**context.options, "max_pixels": str(limit)}


@contextmanager
def errors_named(path: str | os.PathLike[str], describe: Callable[[], str]) -> Iterator[None]:
    """Turn what FFmpeg, PyAV and the file system raise into a `MediaError` that starts with `describe()`."""
    try:
        yield
    except MediaError:
        raise
    except (FFmpegError, OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise MediaError(path, f"{describe()} ({cause})") from None
