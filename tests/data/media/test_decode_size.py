"""Scaling while decoding: the size of the frames, and that they are the mean over areas of the full ones."""

from pathlib import Path

import av
import numpy as np
import pytest

from morphmlp.config import PUBLISHED_INPUTS, InputConfig
from morphmlp.data.batches.loaders import SampleClips, TestClips
from morphmlp.data.media.video import read_clip
from morphmlp.data.sets.labelled import Sample


def write_video(path: Path, *, width: int, height: int, codec: str = "libx264") -> Path:
    """Four frames of smooth colours."""
    rows, columns = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for shift in range(4):
            picture = np.stack([rows * 200 // height, columns * 200 // width, rows * 0 + 40 * shift], axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["quick.mp4", "sequential.avi"])  # two ways of reading
@pytest.mark.parametrize(
    ("size", "scaled"), [((320, 240), (64, 85)), ((240, 320), (85, 64)), ((322, 242), (64, 85)), ((48, 32), (64, 96))]
)
def test_frames_have_the_short_side_and_are_means_over_areas(
    name: str, size: tuple[int, int], scaled: tuple[int, int], tmp_path: Path
):
    path = write_video(tmp_path / name, width=size[0], height=size[1])
    frames = read_clip(path, lambda num_frames, fps: [0, 2], short_side=64)
    assert frames.shape == (2, *scaled, 3)
    full = read_clip(path, lambda num_frames, fps: [0, 2])
    rows = (np.arange(scaled[0]) + 0.5) * full.shape[1] / scaled[0]
    columns = (np.arange(scaled[1]) + 0.5) * full.shape[2] / scaled[1]
    nearest = full[:, rows.astype(int)[:, None], columns.astype(int)]
    assert np.abs(frames.astype(int) - nearest).mean() < 3  # of 255; the picture is smooth


def test_test_views_decode_at_the_published_size(tmp_path: Path):
    path = write_video(tmp_path / "video.mp4", width=640, height=480)
    config = InputConfig(crop=(64, 64), resize=72, decode_size=72)
    assert (config.decoded_short_side, InputConfig(num_crops=3, decode_size=256).decoded_short_side) == (72, 224)
    clips = TestClips([Sample(path, 0)], 2, config)[0]
    assert isinstance(clips, SampleClips)
    assert clips.clips.shape == (1, 3, 2, 64, 64)
    assert PUBLISHED_INPUTS["k400"].decoded_short_side == 256
    assert InputConfig().decoded_short_side is None
