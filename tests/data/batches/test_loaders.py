"""What comes out of the loaders: the right frames, in the right order, whoever decodes them, and broken files aside."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.batches.loaders import (
    Batch,
    BrokenSample,
    SampleClips,
    TestClips,
    TrainingClips,
    collate,
    make_loader,
    random_indices,
)
from morphmlp.data.batches.samplers import EpochBatches
from morphmlp.data.clips import views as transforms
from morphmlp.data.clips.protocol import clip_indices
from morphmlp.data.clips.sampling import dense_indices, frames_at_rate, sparse_indices
from morphmlp.data.media import kept_frames
from morphmlp.data.media.images import read_image
from morphmlp.data.media.kept_frames import KeptFrames
from morphmlp.data.media.stretches import Stretch, StretchWindow
from morphmlp.data.media.video import probe, read_clip, read_frames
from morphmlp.data.sets.labelled import Sample
from morphmlp.data.sets.read import read_set
from morphmlp.demo.synthetic import write_dataset

# These say something of the machine that the tests run on, not of the loaders.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

FRAMES = 4
SPARSE = InputConfig(crop=(32, 32), resize=36)
DENSE = InputConfig(sampling="dense", stride=2, target_fps=12.0, crop=(32, 32), resize=36)
AUGMENT = AugmentConfig(flip=0.5, erase=0.5)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Two videos of each class, 20 to 28 frames of 80 x 96 px at 12 fps."""
    root = write_dataset(tmp_path_factory.mktemp("loaders") / "set", train_per_class=2, val_per_class=1, workers=1)
    return read_set(root, split="train").samples


@pytest.fixture
def broken(tmp_path: Path) -> Sample:
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    return Sample(tmp_path / "broken.mp4", 1)


def training_clips(samples: list[Sample], *, seed: int = 0, config: InputConfig = SPARSE) -> TrainingClips:
    return TrainingClips(samples, FRAMES, config, AUGMENT, seed)


def clips_of(item: SampleClips | BrokenSample) -> torch.Tensor:
    assert isinstance(item, SampleClips)
    return item.clips


def same(first: Batch, second: Batch) -> bool:
    return (
        torch.equal(first.clips, second.clips)
        and torch.equal(first.labels, second.labels)
        and first.indices == second.indices
        and first.broken == second.broken
    )


def test_an_epoch_can_be_started_while_the_workers_live_on(samples: list[Sample]):
    steps = EpochBatches(6, batch_size=2, seed=0)
    loader = make_loader(training_clips(samples[:6]), batches=steps, workers=1)
    seen = []
    for epoch in (0, 1):
        steps.start_at(epoch=epoch, step=1)
        seen.append([batch.indices for batch in loader])
        assert seen[-1] == [[position % 6 for position in step] for step in steps]
    assert seen[0] != seen[1]


# Training clips


@pytest.mark.parametrize("config", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_a_training_clip_follows_from_seed_epoch_and_index(samples: list[Sample], config: InputConfig):
    num_samples = len(samples)

    def clip(*, seed: int, epoch: int, index: int) -> torch.Tensor:
        return clips_of(training_clips(samples, seed=seed, config=config)[epoch * num_samples + index])

    first = clip(seed=0, epoch=2, index=3)
    assert first.shape == (1, 3, FRAMES, 32, 32)
    torch.manual_seed(99)
    assert torch.equal(first, clip(seed=0, epoch=2, index=3))
    for other in ({"seed": 1}, {"epoch": 3}, {"index": 4}):
        assert not torch.equal(first, clip(**{"seed": 0, "epoch": 2, "index": 3} | other))


def test_a_position_carries_label_and_index_of_its_video(samples: list[Sample]):
    item = training_clips(samples)[3 * len(samples) + 5]
    assert isinstance(item, SampleClips)
    assert (item.index, item.labels) == (5, [samples[5].label])


def test_two_workers_give_the_batches_of_none(samples: list[Sample], broken: Sample):
    mixed = [*samples[:5], broken]
    batches = []
    for workers in (0, 2):
        steps = EpochBatches(len(mixed), batch_size=4, seed=4)
        steps.start_at(epoch=7)
        batches.append(list(make_loader(training_clips(mixed), batches=steps, workers=workers)))
    assert [len(batch.indices) + len(batch.broken) for batch in batches[0]] == [4, 2]
    assert all(same(*pair) for pair in zip(*batches, strict=True))


# Frames that are kept


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_kept_frames_are_those_of_frames_that_are_read(samples: list[Sample], broken: Sample, workers: int):
    mixed, batches = [*samples[:5], broken], []
    for kept in (None, KeptFrames(1e6, 6)):
        steps = EpochBatches(len(mixed), batch_size=4, seed=4)
        dataset = TrainingClips(mixed, FRAMES, SPARSE, AUGMENT, 0, kept=kept)
        loader = make_loader(dataset, batches=steps, workers=workers if kept else 0)
        batches.append([])
        for epoch in range(4):
            steps.start_at(epoch=epoch)
            batches[-1] += loader
        assert kept is None or (kept.num_bytes > 0) == (workers == 0)
    assert all(same(*pair) for pair in zip(*batches, strict=True))


@pytest.mark.parametrize("config", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_test_views_of_kept_frames_are_read_once(
    samples: list[Sample], config: InputConfig, monkeypatch: pytest.MonkeyPatch
):
    reads = []
    monkeypatch.setattr(
        kept_frames, "read_clip", lambda source, *args, **how: reads.append(source) or read_clip(source, *args, **how)
    )
    kept, plain = (TestClips(samples[:2], FRAMES, config, kept=k) for k in (KeptFrames(1e6, 2), None))
    for index in (0, 1, 0, 1):
        assert torch.equal(clips_of(kept[index]), clips_of(plain[index]))
    assert reads == [samples[0].path, samples[1].path]


def test_windows_that_are_drawn_around_a_stretch_are_not_kept(samples: list[Sample]):
    stretch = Sample(Stretch(samples[0].path, 0.5, 1.0), 0, StretchWindow(0.6, 1.5))
    kept = KeptFrames(1e9, 1)
    with_it, without = (TrainingClips([stretch], FRAMES, SPARSE, AUGMENT, 0, kept=k) for k in (kept, None))
    for position in range(3):
        assert torch.equal(clips_of(with_it[position]), clips_of(without[position]))
    assert kept.num_bytes == 0


# Repeated augmentation and flips


def changed(augment: AugmentConfig, **changes: Any) -> AugmentConfig:
    return AugmentConfig.from_dict(augment.to_dict() | changes)


@pytest.mark.parametrize("notation", [None, "rand-m7-n4-mstd0.5-inc1"])
def test_repeats_are_clips_of_the_same_frames_with_changes_of_their_own(samples: list[Sample], notation: str | None):
    augment = changed(AUGMENT, repeats=3, rand_augment=notation, color=0.0)
    clips = clips_of(TrainingClips(samples, FRAMES, SPARSE, augment, 0)[1])
    assert clips.shape == (3, 3, FRAMES, 32, 32)
    assert len({clip.numpy().tobytes() for clip in clips}) == 3
    single = clips_of(TrainingClips(samples, FRAMES, SPARSE, changed(augment, repeats=1), 0)[1])
    assert torch.equal(clips[:1], single)  # more repeats leave the first clip as it is


def test_a_video_is_decoded_once_for_all_its_repeats(samples: list[Sample], monkeypatch: pytest.MonkeyPatch):
    reads = []

    def read(path: Path, sample: Any, **options: Any) -> np.ndarray:
        reads.append(path)
        return np.zeros((FRAMES, 40, 40, 3), np.uint8)

    monkeypatch.setattr("morphmlp.data.batches.loaders.read_clip", read)
    assert len(clips_of(TrainingClips(samples, FRAMES, SPARSE, changed(AUGMENT, repeats=4), 0)[2])) == 4
    assert reads == [samples[2].path]


def test_a_training_batch_has_the_first_clip_of_every_video_before_the_second_ones(samples: list[Sample]):
    dataset = TrainingClips(samples, FRAMES, SPARSE, changed(AUGMENT, repeats=2), 0)
    steps = EpochBatches(len(samples), batch_size=3, seed=1)
    batch = next(iter(make_loader(dataset, batches=steps, workers=0)))
    items = [dataset[position] for position in next(iter(steps))]
    expected = torch.cat([clips_of(item)[i : i + 1] for i in (0, 1) for item in items])
    assert torch.equal(batch.clips, expected)
    assert batch.labels.tolist() == [samples[index].label for index in batch.indices] * 2
    assert len(batch.indices) == 3


def test_a_broken_video_takes_all_its_repeats_with_it(samples: list[Sample], broken: Sample):
    dataset = TrainingClips([samples[0], broken, samples[2]], FRAMES, SPARSE, changed(AUGMENT, repeats=2), 0)
    batch = collate([dataset[position] for position in range(3)])
    assert batch.clips.shape[0] == 4
    assert (batch.labels.tolist(), batch.indices) == ([samples[0].label, samples[2].label] * 2, [0, 2])
    assert [video.index for video in batch.broken] == [1]


@pytest.fixture
def half_white(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every video is white on its left and black on its right."""
    frames = np.zeros((FRAMES, 32, 32, 3), np.uint8)
    frames[:, :, :16] = 255
    monkeypatch.setattr("morphmlp.data.batches.loaders.read_clip", lambda path, sample, **_: frames)


FLIPS_ALONE = AugmentConfig(crop_area=1.0, crop_ratio=1.0, color=0.0, flip=0.5, repeats=16)


def test_a_flipped_clip_gets_the_label_of_the_other_side(samples: list[Sample], half_white: None):
    classes = ["left to right", "right to left", "up", "turning left"]
    videos = [Sample(samples[0].path, label) for label in range(4)]
    dataset = TrainingClips(videos, FRAMES, SPARSE, FLIPS_ALONE, 0, classes=classes)
    for label in range(4):
        item = dataset[label]
        assert isinstance(item, SampleClips)
        flipped = [bool(clip[..., 0].mean() < clip[..., -1].mean()) for clip in item.clips]
        assert any(flipped) == (label != 3)  # "turning left" has no other side, and is never flipped
        assert not all(flipped)
        other = {0: 1, 1: 0, 2: 2, 3: 3}[label]
        assert item.labels == [other if turned else label for turned in flipped]


def test_several_labels_are_a_row_of_zeros_and_ones_and_flip_together(samples: list[Sample], half_white: None):
    classes = ["left to right", "right to left", "up", "turning left"]
    videos = [Sample(samples[0].path, -1, labels=labels) for labels in ((0, 2), (2, 3), ())]
    dataset = TrainingClips(videos, FRAMES, SPARSE, FLIPS_ALONE, 0, classes=classes)
    for number, (own, other) in enumerate([([1, 0, 1, 0], [0, 1, 1, 0]), ([0, 0, 1, 1], None), ([0] * 4, [0] * 4)]):
        item = dataset[number]
        assert isinstance(item, SampleClips)
        flipped = [bool(clip[..., 0].mean() < clip[..., -1].mean()) for clip in item.clips]
        assert any(flipped) == (other is not None)  # "turning left" keeps all of its clip from being flipped
        assert item.labels == [other if turned else own for turned in flipped]
    batch = collate([item for i in range(2) if isinstance(item := dataset[i], SampleClips)])
    assert (batch.labels.dtype, batch.labels.shape) == (torch.int64, (32, 4))
    assert batch.labels[1].tolist() == [0, 0, 1, 1]  # the first clips of both videos come first


@pytest.mark.parametrize("config", [SPARSE, replace(SPARSE, sparse_fps=24.0), DENSE], ids=["sparse", "clock", "dense"])
def test_warped_clips_differ_in_pace_and_have_the_length_of_others(config: InputConfig):
    plain, warped = (
        [
            random_indices(100, 12.0, FRAMES, config, AugmentConfig(time_warp=strength), generator=rng)
            for rng in map(np.random.default_rng, range(200))
        ]
        for strength in (0.0, 0.5)
    )
    for indices in warped:
        assert indices == sorted(indices)
        assert 0 <= indices[0] <= indices[-1] < 100
    spans, warped_spans = (np.array([indices[-1] - indices[0] for indices in clips]) for clips in (plain, warped))
    assert warped_spans.std() > spans.std()
    assert 0.75 * spans.mean() < warped_spans.mean() < 1.1 * spans.mean()
    # The share of a clip's span that its first half takes.
    halves = [(i[FRAMES // 2] - i[0]) / max(i[-1] - i[0], 1) for i in warped]
    usual = np.mean([(i[FRAMES // 2] - i[0]) / max(i[-1] - i[0], 1) for i in plain])
    assert min(halves) < usual - 0.1
    assert max(halves) > usual + 0.1


def test_a_warped_clip_of_a_short_video_shows_its_frames_unequally_often():
    sparse = [
        tuple(random_indices(3, 12.0, 9, SPARSE, AugmentConfig(time_warp=strength), generator=rng))
        for strength in (0.0, 0.5)
        for rng in map(np.random.default_rng, range(20))
    ]
    assert len(set(sparse[:20])) == 1
    assert len(set(sparse[20:])) >= 4


def test_without_class_names_labels_stay_under_a_flip(samples: list[Sample], half_white: None):
    item = TrainingClips([Sample(samples[0].path, 0)], FRAMES, SPARSE, FLIPS_ALONE, 0)[0]
    assert isinstance(item, SampleClips)
    assert item.labels == [0] * 16
    assert len({clip.numpy().tobytes() for clip in item.clips}) == 2


# Test clips


def by_hand(path: Path, config: InputConfig) -> torch.Tensor:
    """The views of a video, clip by clip, each read on its own."""
    info = probe(path)
    views = []
    for clip in range(config.num_clips):
        if config.sampling == "sparse":
            indices = sparse_indices(info.num_frames, frames=FRAMES, clip=clip, num_clips=config.num_clips)
        else:
            indices = dense_indices(
                info.num_frames,
                fps=info.fps,
                frames=FRAMES,
                stride=config.stride,
                clip=clip,
                num_clips=config.num_clips,
                target_fps=config.target_fps,
            )
        views.append(transforms.eval_views(read_frames(path, indices), config, num_crops=config.num_crops))
    return torch.cat(views)


@pytest.mark.parametrize("config", [SPARSE, DENSE], ids=["sparse", "dense"])
@pytest.mark.parametrize(("num_clips", "num_crops"), [(1, 1), (4, 1), (1, 3), (2, 3)])
def test_the_views_of_a_video_are_those_read_by_hand_clip_after_clip(
    samples: list[Sample], config: InputConfig, num_clips: int, num_crops: int
):
    config = InputConfig.from_dict(config.to_dict() | {"num_clips": num_clips, "num_crops": num_crops})
    item = TestClips(samples, FRAMES, config)[3]
    assert isinstance(item, SampleClips)
    assert (item.index, item.labels) == (3, [samples[3].label])
    assert item.clips.shape == (num_clips * num_crops, 3, FRAMES, 32, 32)
    assert torch.equal(item.clips, by_hand(samples[3].path, config))


def test_shuffling_keeps_the_frames_of_each_clip_and_is_repeated(samples: list[Sample]):
    config = InputConfig.from_dict(DENSE.to_dict() | {"num_clips": 2, "num_crops": 3})
    in_order = clips_of(TestClips(samples, 8, config)[2])
    shuffled, again = (clips_of(TestClips(samples, 8, config, shuffle_frames=True)[2]) for _ in range(2))
    assert torch.equal(shuffled, again)
    assert not torch.equal(shuffled, in_order)

    def frames(clip: torch.Tensor) -> Counter[bytes]:
        return Counter(frame.numpy().tobytes() for frame in clip.unbind(1))

    assert [frames(clip) for clip in shuffled] == [frames(clip) for clip in in_order]
    # The crops of one clip have one order.
    positions = [
        [next(i for i, frame in enumerate(before.unbind(1)) if torch.equal(frame, after)) for after in clip.unbind(1)]
        for clip, before in zip(shuffled, in_order, strict=True)
    ]
    assert positions[0] == positions[1] == positions[2]


def test_videos_are_shuffled_each_in_its_own_way(samples: list[Sample]):
    same_video = [samples[0]] * 4
    dataset = TestClips(same_video, 8, SPARSE, shuffle_frames=True)
    assert len({clips_of(dataset[index]).numpy().tobytes() for index in range(4)}) == 4


def test_the_test_loader_keeps_the_order_of_the_set(samples: list[Sample]):
    batches = list(make_loader(TestClips(samples[:5], FRAMES, SPARSE), batch_size=2, workers=0))
    assert [batch.indices for batch in batches] == [[0, 1], [2, 3], [4]]
    assert [batch.labels.tolist() for batch in batches] == [[0, 0], [1, 1], [2]]


def test_names_with_spaces_and_other_scripts_are_read(samples: list[Sample], tmp_path: Path):
    path = tmp_path / "挥手 (čaj)" / "my clip, one.MP4"
    path.parent.mkdir()
    path.write_bytes(samples[0].path.read_bytes())
    assert torch.equal(
        clips_of(TestClips([Sample(path, 0)], FRAMES, SPARSE)[0]), clips_of(TestClips(samples, FRAMES, SPARSE)[0])
    )


# Images


IMAGES = InputConfig(crop=(32, 32), resize=36, interpolation="bicubic", antialias=True)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Sample]:
    """Four images of different sizes and modes."""
    samples = []
    for index, (mode, size) in enumerate([("RGB", (40, 60)), ("L", (60, 40)), ("RGBA", (32, 32)), ("CMYK", (9, 7))]):
        channels = len(Image.new(mode, (1, 1)).getbands())
        pixels = np.random.default_rng(index).integers(0, 256, (*size, channels), dtype=np.uint8).squeeze()
        path = tmp_path / f"{index}.tif"
        Image.fromarray(pixels, mode=mode).save(path)
        samples.append(Sample(path, index % 2))
    return samples


def test_images_become_batches_of_clips_of_one_frame(pictures: list[Sample]):
    steps = EpochBatches(len(pictures), batch_size=4, seed=0)
    training = TrainingClips(pictures, 1, IMAGES, AUGMENT, 0)
    (batch,) = make_loader(training, batches=steps, workers=0)
    assert batch.clips.shape == (4, 3, 1, 32, 32)
    assert batch.labels.tolist() == [pictures[index].label for index in batch.indices]
    (batch,) = make_loader(TestClips(pictures, 1, IMAGES), batch_size=4, workers=0)
    assert batch.clips.shape == (4, 3, 1, 32, 32)
    assert (batch.labels.tolist(), batch.broken) == ([0, 1, 0, 1], [])


@pytest.mark.parametrize("sampling", ["sparse", "dense"])
def test_the_view_of_an_image_is_that_of_its_pixels_however_videos_are_sampled(pictures: list[Sample], sampling: str):
    config = InputConfig.from_dict(IMAGES.to_dict() | {"sampling": sampling, "num_crops": 3})
    expected = transforms.eval_views(read_image(pictures[0].path)[None], config, num_crops=3)
    assert torch.equal(clips_of(TestClips(pictures, 1, config)[0]), expected)


def test_a_training_clip_of_an_image_follows_from_seed_epoch_and_index(pictures: list[Sample]):
    def clip(*, seed: int, position: int) -> torch.Tensor:
        return clips_of(TrainingClips(pictures, 1, IMAGES, AUGMENT, seed)[position])

    assert torch.equal(clip(seed=0, position=0), clip(seed=0, position=0))
    assert not torch.equal(clip(seed=0, position=0), clip(seed=1, position=0))
    assert not torch.equal(clip(seed=0, position=0), clip(seed=0, position=4))  # the next epoch


def test_a_broken_image_is_set_aside(pictures: list[Sample], tmp_path: Path):
    (tmp_path / "empty.jpg").touch()
    mixed = [pictures[0], Sample(tmp_path / "empty.jpg", 1)]
    for dataset in (TestClips(mixed, 1, IMAGES), TrainingClips(mixed, 1, IMAGES, AUGMENT, 0)):
        (batch,) = make_loader(dataset, batch_size=2, workers=0)
        assert batch.indices == [0]
        assert batch.broken == [BrokenSample(1, tmp_path / "empty.jpg", "is empty (0 bytes)")]


# Broken videos


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_set_aside_and_the_rest_of_the_batch_is_intact(
    samples: list[Sample], broken: Sample, workers: int
):
    config = InputConfig.from_dict(SPARSE.to_dict() | {"num_clips": 2})
    mixed = [samples[0], broken, samples[2]]
    (batch,) = make_loader(TestClips(mixed, FRAMES, config), batch_size=3, workers=workers)
    assert batch.indices == [0, 2]
    assert batch.labels.tolist() == [samples[0].label, samples[2].label]
    assert torch.equal(batch.clips, torch.cat([by_hand(sample.path, config) for sample in (samples[0], samples[2])]))
    (video,) = batch.broken
    assert (video.index, video.path) == (1, broken.path)
    assert video.reason


def test_a_missing_file_is_a_broken_video(tmp_path: Path):
    missing = [Sample(tmp_path / "gone.mp4", 0)]
    for dataset in (TestClips(missing, FRAMES, SPARSE), training_clips(missing)):
        item = dataset[0]
        assert isinstance(item, BrokenSample)
        assert item.path == tmp_path / "gone.mp4"
        assert "No such file" in item.reason


@pytest.mark.parametrize("size", [(2, 42), (42, 2)])
def test_a_strip_that_would_take_all_memory_is_a_broken_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
):
    frames = np.zeros((FRAMES, *size, 3), np.uint8)
    for module in ("loaders", "views"):
        monkeypatch.setattr(f"morphmlp.data.batches.{module}.read_clip", lambda path, sample, **_: frames)
    strip = [Sample(tmp_path / "strip.mp4", 0)]
    item = TestClips(strip, FRAMES, SPARSE)[0]
    assert isinstance(item, BrokenSample)
    assert item.reason == f"is {size[1]} x {size[0]} px: one side is more than 20 times the other"
    stretched = InputConfig.from_dict(SPARSE.to_dict() | {"fit": "stretch"})
    assert clips_of(TestClips(strip, FRAMES, stretched)[0]).shape == (1, 3, FRAMES, 32, 32)
    whole = InputConfig.from_dict(SPARSE.to_dict() | {"fit": "whole"})
    assert isinstance(TestClips(strip, FRAMES, whole)[0], BrokenSample)
    assert clips_of(training_clips(strip)[0]).shape == (1, 3, FRAMES, 32, 32)


def test_a_batch_of_broken_videos_alone_is_empty(broken: Sample):
    (batch,) = make_loader(training_clips([broken, broken]), batch_size=2, workers=0)
    assert batch.clips.numel() == 0
    assert (batch.labels.tolist(), batch.labels.dtype) == ([], torch.long)
    assert batch.indices == []
    assert [video.index for video in batch.broken] == [0, 1]


def test_collate_joins_views_labels_and_indices_in_order():
    def clips(value: float, views: int) -> torch.Tensor:
        return torch.full((views, 3, 1, 2, 2), value)

    lost = BrokenSample(1, Path("lost.mp4"), "is empty")
    videos: list[Any] = [SampleClips(clips(1, 2), [7], 0), lost, SampleClips(clips(2, 2), [4], 2)]
    batch = collate(videos)
    assert batch.clips[:, 0, 0, 0, 0].tolist() == [1, 1, 2, 2]
    assert (batch.labels.tolist(), batch.indices, batch.broken) == ([7, 4], [0, 2], [lost])


def test_collate_puts_clips_with_labels_of_their_own_by_repeat():
    def clips(*values: float) -> torch.Tensor:
        return torch.stack([torch.full((3, 1, 2, 2), value) for value in values])

    batch = collate([SampleClips(clips(1, 2), [7, 8], 0), SampleClips(clips(3, 4), [5, 5], 1)])
    assert batch.clips[:, 0, 0, 0, 0].tolist() == [1, 3, 2, 4]
    assert (batch.labels.tolist(), batch.indices) == ([7, 5, 8, 5], [0, 1])


def test_sparse_sampling_on_a_clock_takes_the_frames_of_an_extraction():
    config = InputConfig(sampling="sparse", sparse_fps=30.0, crop=(32, 32), resize=32)
    shown = frames_at_rate(47, fps=12, rate=30)
    assert len(shown) == 117
    indices = clip_indices(47, 12.0, frames=16, config=config)
    assert indices == [shown[i] for i in sparse_indices(117, frames=16)]
    assert indices != clip_indices(47, 12.0, frames=16, config=replace(config, sparse_fps=None))
    assert clip_indices(117, 30.0, frames=16, config=config) == sparse_indices(117, frames=16)
