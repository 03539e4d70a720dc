"""Videos whose frames are counted, and have no times of their own: folders of frames, images and animations."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from morphmlp.data.media.animations import content_of, describe_animation, is_animation, read_animation
from morphmlp.data.media.formats import head_of, is_image_content
from morphmlp.data.media.frame_folders import first_frame_size, is_frame_folder, list_frames
from morphmlp.data.media.images import describe_image, read_image
from morphmlp.data.media.open_video import UNKNOWN_FPS
from morphmlp.data.media.packets import of_stated
from morphmlp.data.media.sources import media_kind
from morphmlp.errors import MediaError


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds out about the video stream of a file that players show, without decoding it all.

    `height` and `width` are in stored pixels, after the turn by `rotation_degrees` (counter-clockwise: 0, 90, 180 or
    270); pixels that are not square are not stretched. `num_frames` counts packets, so a damaged file can hold fewer.
    `fps` is the average over the video, and `duration_s` what the frames take at that rate. `end_s` is when the last
    one ends, from where players start: 5 s where 3 s of pictures begin 2 s after the sound; of a stretch, from where it
    starts. `num_missing` frames are stated by the header, but not there, as after half a download; where it is one or
    two of many, 0.
    """

    num_frames: int
    fps: float
    height: int
    width: int
    rotation_degrees: int
    duration_s: float
    end_s: float
    codec: str
    num_missing: int = 0

    @property
    def incomplete(self) -> str | None:
        """What the header states and is not there, in words; None where all is there."""
        return of_stated(self.num_frames, self.num_frames + self.num_missing) if self.num_missing else None


def is_counted(path: str | os.PathLike[str]) -> bool:
    """Whether the frames of a source are counted and have no times: a folder of frames, an image or an animation."""
    return is_frame_folder(path) or is_image(path)


def probe_folder(folder: str | os.PathLike[str]) -> VideoInfo:
    files = list_frames(folder)
    height, width = first_frame_size(folder, files)
    return VideoInfo(
        num_frames=len(files),
        fps=UNKNOWN_FPS,
        height=height,
        width=width,
        rotation_degrees=0,
        duration_s=len(files) / UNKNOWN_FPS,
        end_s=len(files) / UNKNOWN_FPS,
        codec="frames",
    )


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an image or an animation by its ending, or by its content, whatever its ending says.

    FFmpeg reads some images too, but neither their turn nor their transparency, and of a HEIC only the first tile.
    """
    if media_kind(path) == "image":
        return True
    return is_image_content(head_of(path))


def probe_image(path: str | os.PathLike[str]) -> VideoInfo:
    if is_animation(path):
        info = describe_animation(path)
        duration_s = info.num_frames / info.fps
        return VideoInfo(info.num_frames, info.fps, info.height, info.width, 0, duration_s, duration_s, info.format)
    info = describe_image(path)
    return VideoInfo(
        num_frames=1,
        fps=UNKNOWN_FPS,
        height=info.height,
        width=info.width,
        rotation_degrees=info.rotation_degrees,
        duration_s=1 / UNKNOWN_FPS,
        end_s=1 / UNKNOWN_FPS,
        codec=info.format,
    )


def read_image_frames(
    path: str | os.PathLike[str], sample: Callable[[int, float], Sequence[int]], *, stills: bool
) -> np.ndarray:
    if not stills and is_animation(path):
        info = describe_animation(path)
        return read_animation(path, sample(info.num_frames, info.fps))
    indices = list(sample(1, UNKNOWN_FPS))
    if max(indices) > 0:
        raise MediaError(path, f"is an image, so there is no frame {max(indices)} (the first is 0)")
    return read_image(path, content=content_of(path))[None][indices]
