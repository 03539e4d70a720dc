"""The test protocol against a slow loop over views, written from the description of the released code alone.

"Frames x crops x clips": 16x1x4 are four clips of 16 frames, one crop of each; in short, 3x10 are ten clips with three.
"""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F

from morphmlp.config import PUBLISHED_INPUTS, InputConfig
from morphmlp.data.batches.loaders import TestClips
from morphmlp.data.clips.sampling import frames_at_rate
from morphmlp.data.sets.labelled import Sample
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.classification.prediction import make_test_loader, predict_samples

CROP = 224
FRAMES = 4
VIDEOS = {  # frames, height, width, frames a second
    "tall": (40, 96, 54, 30),
    "wide": (45, 54, 96, 25),
    "square": (21, 64, 64, 30),
    "tiny": (9, 6, 10, 12),
    "one frame": (1, 48, 64, 30),
    "larger than the crop": (30, 300, 402, 60),
}
PROTOCOLS = [("k400", 1, 4), ("k400", 3, 1), ("k400", 3, 10), ("ssv1", 1, 1), ("ssv2", 3, 1), ("ssv2", 3, 2)]
with_protocols = pytest.mark.parametrize(
    ("family", "crops", "clips"), PROTOCOLS, ids=[f"{family} {crops}x{clips}" for family, crops, clips in PROTOCOLS]
)


@pytest.fixture(scope="module", params=list(VIDEOS))
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A file of moving noise, and its frame rate."""
    num_frames, height, width, fps = VIDEOS[request.param]
    path = tmp_path_factory.mktemp("videos") / "video.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for i in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, (i, 2 * i), axis=(0, 1)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path, fps


def published(family: str, *, crops: int, clips: int) -> InputConfig:
    return replace(PUBLISHED_INPUTS[family], num_crops=crops, num_clips=clips)


def all_frames(path: Path, short_side: int | None) -> np.ndarray:
    """All frames; where a side is given, scaled by an area filter as the released loader of Kinetics decodes them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        width, height = stream.width, stream.height
        scale = short_side / min(width, height) if short_side else 1
        size = {"width": math.floor(width * scale), "height": math.floor(height * scale)}
        frames = [frame.reformat(**size, format="rgb24", interpolation="AREA") for frame in container.decode(video=0)]
        return np.stack([frame.to_ndarray() for frame in frames])


def slow_dense(num_frames: int, fps: int, clip: int, clips: int) -> list[int]:
    span = FRAMES * 4 * fps / 30
    room = max(num_frames - span, 0)
    start = math.floor(room / 2) if clips == 1 else clip * math.floor(room / (clips - 1))
    points = torch.linspace(start, start + span - 1, FRAMES)
    return [min(max(int(point), 0), num_frames - 1) for point in points]


def slow_sparse(num_frames: int, clip: int, clips: int) -> list[int]:
    segment = (num_frames - 1) / FRAMES
    return [round(segment * i) + int(segment / (clips + 1) * (clip + 1)) for i in range(FRAMES)]


def slow_view(frames: np.ndarray, family: str, *, crop: int, crops: int) -> torch.Tensor:
    """One crop of one clip: `[T, H, W, 3]` -> `[3, T, 224, 224]`."""
    pixels = [((torch.from_numpy(frame).permute(2, 0, 1).float() / 255) - 0.45) / 0.225 for frame in frames]
    if family != "k400":
        pixels = [frame[[2, 1, 0]] for frame in pixels]  # the loaders of Something-Something feed BGR
    short_side = 256 if (family, crops) == ("k400", 1) else CROP
    height, width = frames.shape[1:3]
    if height < width:
        size = (short_side, math.floor(width / height * short_side))
    else:
        size = (math.floor(height / width * short_side), short_side)
    pixels = [F.interpolate(frame[None], size=size, mode="bilinear", align_corners=False)[0] for frame in pixels]
    centre = [math.ceil((side - CROP) / 2) for side in size]
    along = int(height <= width)  # the axis that the crops are spread over
    last = size[along] - CROP
    place = [0, centre[along], last][crop] if crops == 3 else (centre[along] if family == "k400" else 0)
    top, left = (centre[0], place) if along else (place, centre[1])
    return torch.stack([frame[:, top : top + CROP, left : left + CROP] for frame in pixels], dim=1)


def slow_views(path: Path, fps: int, family: str, *, crops: int, clips: int) -> torch.Tensor:
    frames = all_frames(path, (256 if crops == 1 else CROP) if family == "k400" else None)
    views = []
    for clip in range(clips):
        if family == "k400":
            indices = slow_dense(len(frames), fps, clip, clips)
        else:
            shown = frames_at_rate(len(frames), fps=fps, rate=30)  # the released frames were extracted at 30 a second
            indices = [shown[i] for i in slow_sparse(len(shown), clip, clips)]
        views += [slow_view(frames[indices], family, crop=crop, crops=crops) for crop in range(crops)]
    return torch.stack(views)


@with_protocols
def test_views_are_those_of_the_slow_loop(family: str, crops: int, clips: int, video: tuple[Path, int]):
    path, fps = video
    given = TestClips([Sample(path, 0)], FRAMES, published(family, crops=crops, clips=clips))[0]
    torch.testing.assert_close(given.clips, slow_views(path, fps, family, crops=crops, clips=clips), rtol=0, atol=1e-5)


@pytest.mark.parametrize("video", ["tall", "wide"], indirect=True)
def test_logits_of_all_views_are_those_of_one_view_after_the_other(
    video: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
):
    """Thirty views, more than a batch holds: the forward passes stay within the batch."""
    path, fps = video
    torch.manual_seed(0)
    model = MorphMLP(tiny.model_config(5)).eval()
    torch.nn.init.normal_(model.head.weight, std=2.0)
    logits, sizes = [], []

    def keep(module: torch.nn.Module, clips: tuple[torch.Tensor], out: torch.Tensor) -> None:
        sizes.append(len(clips[0]))
        logits.append(out)

    monkeypatch.setattr("morphmlp.tasks.classification.prediction.VIEWS_PER_BATCH", 7)
    dataset = TestClips([Sample(path, 0)], FRAMES, published("k400", crops=3, clips=10))
    handle = model.register_forward_hook(keep)
    [(index, result)] = predict_samples(model, make_test_loader(dataset, workers=0))
    handle.remove()
    assert (index, sizes) == (0, [7, 7, 7, 7, 2])
    with torch.no_grad():
        slow = torch.cat([model(view[None]) for view in slow_views(path, fps, "k400", crops=3, clips=10)])
    torch.testing.assert_close(torch.cat(logits), slow, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(result.views, slow.softmax(dim=1), atol=1e-4)
    np.testing.assert_allclose(result.joined, (slow.sum(dim=0) / 30).softmax(dim=0), atol=1e-4)


@pytest.mark.parametrize("video", ["tiny"], indirect=True)
def test_views_of_a_video_share_one_decoding(video: tuple[Path, int], monkeypatch: pytest.MonkeyPatch):
    import morphmlp.data.batches.views as views

    read, calls = views.read_clip, []
    monkeypatch.setattr(
        views, "read_clip", lambda *sources, **options: calls.append(sources[0]) or read(*sources, **options)
    )
    clips = TestClips([Sample(video[0], 0)], FRAMES, published("k400", crops=3, clips=10))[0].clips
    assert (len(calls), len(clips)) == (1, 30)
