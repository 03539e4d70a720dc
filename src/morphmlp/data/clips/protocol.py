"""The clips of a video at test time: which of its frames, and the views of them. See `InputConfig` for the settings.

Whole files, stretches of files and windows of streams all go through these two functions.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from morphmlp.config import InputConfig
from morphmlp.data.clips import sampling
from morphmlp.data.clips.views import view_arrays


def clip_indices(num_frames: int, fps: float, *, frames: int, config: InputConfig) -> list[int]:
    """The frames of all clips in time, one clip after the other: `config.num_clips` x `frames` of them.

    Args:
        num_frames, fps: of the video.
        frames: in a clip.
    """
    return [index for clip in _clips(num_frames, fps, frames=frames, config=config) for index in clip]


def _clips(num_frames: int, fps: float, *, frames: int, config: InputConfig) -> Iterator[list[int]]:
    num_clips = config.num_clips
    shown = on_clock(num_frames, fps, config) if config.sampling == "sparse" else ()
    for clip in range(num_clips):
        if config.sampling == "sparse":
            indices = sampling.sparse_indices(len(shown), frames=frames, clip=clip, num_clips=num_clips)
            yield [shown[i] for i in indices]
        else:
            yield sampling.dense_indices(
                num_frames,
                fps=fps,
                frames=frames,
                stride=config.stride,
                clip=clip,
                num_clips=num_clips,
                target_fps=config.target_fps,
            )


def on_clock(num_frames: int, fps: float, config: InputConfig) -> Sequence[int]:
    """The video's frames on the clock of `config.sparse_fps`; each once where there is none."""
    if config.sparse_fps in (None, fps):
        return range(num_frames)
    return sampling.frames_at_rate(num_frames, fps=fps, rate=config.sparse_fps)


def views_of(frames: np.ndarray, config: InputConfig) -> np.ndarray:
    """The views of the frames at `clip_indices`: `[num_clips * T, H, W, 3]` uint8 -> `[views, 3, T, h, w]` float32."""
    clips = np.split(frames, config.num_clips)
    return np.concatenate([view_arrays(clip, config, num_crops=config.num_crops) for clip in clips])
