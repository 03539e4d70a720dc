"""Videos that the tests of this folder encode themselves."""

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from morphmlp.data.media.packets import packet_of

HEIGHT, WIDTH = 48, 64


def moving_frames(num_frames: int, *, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """[T, H, W, 3]: a pattern that differs everywhere from frame to frame, brighter at the top left."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 3 + t) * np.cos(y / 4 - 2 * t) * 60 + 90 for t in range(num_frames)]
    grey = np.stack(waves) + 80 * ((y < height // 2) & (x < width // 2))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def write_video(
    path: Path,
    *tracks: np.ndarray,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    default: int = 0,
) -> Path:
    """A file with a video stream for each track of frames, of which one is the default."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        streams = []
        for number, frames in enumerate(tracks):
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
            streams.append(stream)
        for stream, frames in zip(streams, tracks, strict=True):
            for array in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")))
            container.mux(stream.encode())
    return path


def copy_video(
    source: Path,
    path: Path,
    change: Callable[[int, bytes], bytes | None] = lambda number, data: data,
    *,
    bitstream: str | None = None,
) -> Path:
    """The packets of a video in another file: each as `change` says, or left out; or through a filter of FFmpeg."""
    with av.open(str(source)) as original, av.open(str(path), "w") as container:
        theirs = original.streams.video[0]
        stream = container.add_stream_from_template(theirs)
        through = BitStreamFilterContext(bitstream, theirs, stream) if bitstream else None
        number = 0
        for packet in original.demux(video=0):
            if not packet.size:
                continue
            data = change(number, bytes(packet))
            number += 1
            if data is None:
                continue
            copy = packet_of(data)
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
            for filtered in through.filter(copy) if through else [copy]:
                filtered.stream = stream
                container.mux(filtered)
    return path


def with_times(path: Path, times: Sequence[int], *, sound_s: float = 0.0) -> Path:
    """Frames at these times, in 12ths of a second and with B-frames, beside sound from 0 s on."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=12, options={"bf": "2", "g": "12"})
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000) if sound_s else None
        for time, picture in zip(times, moving_frames(len(times)), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = time
            container.mux(track.encode(frame))
        container.mux(track.encode())
        if sound is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, int(8000 * sound_s)), np.int16), layout="mono")
            samples.sample_rate, samples.pts = 8000, 0
            container.mux(sound.encode(samples))
            container.mux(sound.encode())
    return path
