"""The embedded data set: exact reversals in time, a fair and reproducible folder, nothing half-written."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from morphmlp.demo import synthetic
from morphmlp.demo.scenes import CLASSES, REVERSED
from morphmlp.demo.synthetic import FRAME_SIZE, render_clip, write_dataset
from morphmlp.errors import DataError

FORWARD_CLASSES = CLASSES[::2]


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("synthetic") / "set", train_per_class=2, val_per_class=1, seed=3)


def _decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_every_class_has_one_reverse_and_none_is_its_own():
    assert len(CLASSES) == len(set(CLASSES)) >= 8
    assert set(REVERSED) == set(CLASSES)
    for name in CLASSES:
        assert REVERSED[name] != name
        assert REVERSED[REVERSED[name]] == name


@pytest.mark.parametrize("name", CLASSES)
def test_a_clip_depends_on_its_seed_alone(name: str):
    clip = render_clip(name, seed=5)
    assert clip.dtype == np.uint8
    assert synthetic.SHORTEST <= len(clip) <= synthetic.LONGEST
    assert clip.shape[1:] == (*FRAME_SIZE, 3)
    assert np.array_equal(clip, render_clip(name, seed=5))
    other, again = (render_clip(name, seed=seed, frames=6) for seed in (6, 5))
    assert np.abs(other.astype(int) - again).mean() > 5


def test_the_length_varies_with_the_seed_and_can_be_asked_for():
    assert len({len(render_clip(CLASSES[0], seed=seed)) for seed in range(12)}) > 3
    assert render_clip(CLASSES[0], seed=0, frames=7, size=(48, 64)).shape == (7, 48, 64, 3)


@pytest.mark.parametrize("name", FORWARD_CLASSES)
def test_a_pair_is_the_same_world_forwards_and_backwards(name: str):
    forward, backward = render_clip(name, seed=11), render_clip(REVERSED[name], seed=11)
    assert np.array_equal(forward[::-1], backward)
    assert not np.array_equal(forward, backward)


@pytest.mark.parametrize("name", FORWARD_CLASSES)
def test_the_files_of_a_pair_hold_the_same_frames(name: str, tmp_path: Path):
    for class_name in (name, REVERSED[name]):
        synthetic.encode(tmp_path / f"{class_name}.mp4", render_clip(class_name, seed=2))
    forward, backward = (_decode(tmp_path / f"{class_name}.mp4") for class_name in (name, REVERSED[name]))
    assert np.array_equal(forward[::-1], backward)  # the coding does not tell the direction either


def test_the_main_thing_moves_as_the_class_says():
    def centre_of_colour(picture: np.ndarray) -> tuple[float, float]:
        colourful = np.ptp(picture.astype(float), axis=2) ** 4
        rows, columns = np.indices(colourful.shape)
        return (columns * colourful).sum() / colourful.sum(), (rows * colourful).sum() / colourful.sum()

    for name, axis, sign in [("moving_left_to_right", 0, 1), ("moving_up", 1, -1), ("moving_down", 1, 1)]:
        clips = [render_clip(name, seed=seed) for seed in range(8)]
        travel = [centre_of_colour(clip[-1])[axis] - centre_of_colour(clip[0])[axis] for clip in clips]
        assert sign * np.mean(travel) > 15


def test_the_set_is_balanced_and_named_after_its_classes(small_set: Path):
    for split, count in [("train", 2), ("val", 1)]:
        assert sorted(folder.name for folder in (small_set / split).iterdir()) == sorted(CLASSES)
        for name in CLASSES:
            files = sorted(file.name for file in (small_set / split / name).iterdir())
            assert files == [f"{name}_{number:04d}.mp4" for number in range(1, count + 1)]


def test_a_file_is_h264_and_looks_like_the_rendered_clip(small_set: Path):
    name = CLASSES[1]
    path = small_set / "val" / name / f"{name}_0001.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == synthetic.FPS
    decoded, rendered = _decode(path), render_clip(name, seed=synthetic._clip_seed("val", name, 1, seed=3))
    assert decoded.shape == rendered.shape
    assert np.abs(decoded.astype(float) - rendered).mean() < 8
    assert all(side % 2 == 0 for side in decoded.shape[1:3])


def test_no_two_clips_share_a_scene():
    seeds = [
        synthetic._clip_seed(split, name, number, seed=seed)
        for seed in range(3)
        for split in synthetic.SPLITS
        for name in CLASSES
        for number in (1, 2, synthetic._MOST_PER_CLASS)
    ]
    assert len(set(seeds)) == len(seeds)
    assert synthetic._clip_seed("val", CLASSES[3], 7, seed=0) == 130007


def test_the_same_seed_writes_the_same_set_whatever_the_workers(small_set: Path, tmp_path: Path):
    again = write_dataset(tmp_path / "again", train_per_class=1, val_per_class=1, seed=3, workers=1)
    for path in sorted(again.rglob("*.mp4")):
        assert np.array_equal(_decode(path), _decode(small_set / path.relative_to(again)))


def test_a_complete_set_is_reused(small_set: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthetic, "encode", None)  # writing would fail
    assert write_dataset(small_set, train_per_class=2, val_per_class=1, seed=3) == small_set


def test_a_set_made_otherwise_is_refused(small_set: Path):
    with pytest.raises(DataError, match=r"other arguments.*another folder"):
        write_dataset(small_set, train_per_class=2, val_per_class=1, seed=4)


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(DataError, match="not a data set written by morphmlp"):
        write_dataset(tmp_path, train_per_class=1, val_per_class=1)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]
    with pytest.raises(DataError, match="not a data set written by morphmlp"):
        write_dataset(tmp_path / "holiday.txt", train_per_class=1, val_per_class=1)


def test_a_set_with_a_missing_clip_is_refused(tmp_path: Path):
    arguments = {"train": 1, "val": 1, "seed": 0}
    manifest = {"made_by": "morphmlp", "version": synthetic._MANIFEST_VERSION, **arguments, "classes": list(CLASSES)}
    (tmp_path / synthetic.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"damaged.*_0001\.mp4 is missing"):
        write_dataset(tmp_path, train_per_class=1, val_per_class=1)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_leaves_nothing(
    interruption: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encode, written = synthetic.encode, []

    def encode_three(path: Path, clip: np.ndarray) -> None:
        if len(written) == 3:
            raise interruption
        written.append(path)
        encode(path, clip)

    monkeypatch.setattr(synthetic, "encode", encode_three)
    (tmp_path / "set").mkdir()  # an empty folder may be there beforehand
    with pytest.raises(interruption):
        write_dataset(tmp_path / "set", train_per_class=1, val_per_class=1, workers=1)
    assert written
    assert [path.name for path in tmp_path.rglob("*")] == ["set"]
    monkeypatch.setattr(synthetic, "encode", lambda path, clip: path.touch())
    assert write_dataset(tmp_path / "set", train_per_class=1, val_per_class=1, workers=1).is_dir()


def test_wrong_arguments_are_named_with_what_is_allowed(tmp_path: Path):
    with pytest.raises(DataError, match=r"'moving_sideways' is not one of .*moving_left_to_right"):
        render_clip("moving_sideways", seed=0)
    with pytest.raises(DataError, match="frames=1"):
        render_clip(CLASSES[0], seed=0, frames=1)
    with pytest.raises(DataError, match="'train': 0"):
        write_dataset(tmp_path / "set", train_per_class=0)
