"""Windows of recordings and streams through a model: the same numbers as files and stretches of files give."""

import json
import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import tiny

from morphmlp.checkpoints.folder import rewrite_info
from morphmlp.config import InputConfig
from morphmlp.data.clips.protocol import clip_indices
from morphmlp.data.clips.windows import USUAL_LENGTH_S, usual_length_s, window_times
from morphmlp.data.media.live import Reader
from morphmlp.data.media.runs import Run, TimedFrame
from morphmlp.data.media.streams import Stream
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import probe, read_clip
from morphmlp.errors import ConfigError, MediaError
from morphmlp.tasks.classification.predictor import Predictor
from morphmlp.tasks.classification.timeline.watching import Watch, sampled_pictures

SPARSE = InputConfig(crop=(32, 32), resize=32, num_clips=2)
DENSE = replace(SPARSE, sampling="dense", stride=3, decode_size=40)


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor(checkpoint)


def write_long(path: Path, *, codec: str = "libx264", uneven: bool = False) -> Path:
    """85 frames of 48 x 64 px that differ, at 20 a second, in groups of 12 with B-frames; or at uneven times."""
    y, x = np.mgrid[:48, :64]
    with av.open(str(path), "w") as container:
        options = {"g": "12", "bf": "2"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=20, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(85):
            grey = (120 + 100 * np.sin(x / 5 + number / 3) * np.cos(y / 6 - number / 7)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=-1), format="rgb24")
            if uneven:
                frame.pts = number + number // 10 * 15  # a pause after every tenth
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module", params=["x.mp4", "x.mkv", "uneven.mp4", "x.ts", "x.avi"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec = "mpeg4" if request.param == "x.avi" else "libx264"
    path = tmp_path_factory.mktemp("long") / request.param
    return write_long(path, codec=codec, uneven=request.param == "uneven.mp4")


def cut(path: Path, predictor: Predictor, config: InputConfig, *, length_s: float, step_s: float):
    watch = Watch(predictor, Stream(path, short_side=config.decoded_short_side), length_s=length_s, step_s=step_s)
    windows = []
    with Reader(watch.stream, keep_s=1) as reader:
        while frames := reader.take():
            windows += [window for frame in frames for window in watch._cutter.add(frame)]
    return windows + watch._cutter.finish()


def test_a_window_that_is_the_whole_file_gives_the_numbers_of_predict(path: Path, predictor: Predictor):
    (window,) = predictor.windows(path, length_s=60)
    np.testing.assert_array_equal(window.prediction.probabilities, predictor(path).probabilities)
    assert (window.start_s, window.prediction.path) == (0, path)
    assert window.end_s == pytest.approx(probe(path).duration_s, abs=0.2)  # the last pause of uneven times
    assert window.top(2) == predictor(path).top(2)


@pytest.mark.parametrize("config", [SPARSE, DENSE])
def test_a_window_gives_the_frames_of_the_same_stretch(path: Path, predictor: Predictor, config: InputConfig):
    windows = cut(path, predictor, config, length_s=0.7, step_s=0.33)
    assert len(windows) > 10

    def sample(num_frames: int, fps: float) -> list[int]:
        return clip_indices(num_frames, fps, frames=4, config=config)

    for window in windows[:-1]:
        stretch = Stretch(path, window.start_s, window.end_s)
        expected = read_clip(stretch, sample, short_side=config.decoded_short_side)
        np.testing.assert_array_equal(sampled_pictures(window, frames=4, config=config), expected)


def test_windows_come_in_order_and_cover_the_file(predictor: Predictor, tmp_path: Path):
    path = write_long(tmp_path / "x.mp4")
    windows = list(predictor.windows(path, length_s=1.5, step_s=0.5))
    times = [(window.start_s, window.end_s) for window in windows]
    assert times == window_times(4.25, length_s=1.5, step_s=0.5)
    assert all(window.prediction.probabilities.sum() == pytest.approx(1) for window in windows)


def test_each_frame_is_decoded_and_converted_once(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, converted = write_long(tmp_path / "x.mp4"), []
    picture = TimedFrame.picture

    def counted(frame: TimedFrame) -> np.ndarray:
        if frame.frame is not None:
            converted.append(frame.tick)
        return picture(frame)

    monkeypatch.setattr(TimedFrame, "picture", counted)
    list(predictor.windows(path, length_s=1.0, step_s=0.2))
    assert len(converted) == len(set(converted)) > 10


def test_the_usual_length_is_that_of_a_dense_clip_and_else_that_of_the_training(predictor: Predictor):
    assert usual_length_s(predictor.input, frames=4) == 2
    dense = replace(predictor.input, sampling="dense", stride=4, target_fps=30)
    assert usual_length_s(dense, frames=4, training={"median_duration_s": 9.0}) == 4 * 4 / 30
    known = {0.576: 0.6, 3.971: 4.0, 0.01: 0.1, 300.0: 10.0, None: 2.0, "x": 2.0, -1.0: 2.0}
    for median_s, length_s in known.items():
        assert usual_length_s(predictor.input, frames=4, training={"median_duration_s": median_s}) == length_s


def test_watch_features_and_the_predictor_take_the_same_windows(predictor: Predictor, checkpoint: Path, tmp_path: Path):
    path, own = write_long(tmp_path / "x.mp4"), tmp_path / "own"
    rewrite_info(checkpoint, lambda info: replace(info, training={"median_duration_s": 1.26}), out=own)
    windows = [(window.start_s, window.end_s) for window in Predictor(own).windows(path, step_s=0.5)]
    assert windows == window_times(4.25, length_s=1.3, step_s=0.5)
    shown = tiny.run_command("watch", own, path, "--step", 0.5, "--json")
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(row["start"], row["end"]) for row in rows] == [(start, round(end, 6)) for start, end in windows]
    done = tiny.run_command("features", own, path, "--step", 0.5, "--out", tmp_path / "out", "--workers", 0)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "features.json").read_text())["settings"]["window_length_s"] == 1.3


def test_a_duration_ends_the_source_there(predictor: Predictor, tmp_path: Path):
    path = write_long(tmp_path / "x.mp4")
    watch = Watch(predictor, Stream(path), length_s=1, step_s=1, duration_s=2.5)
    assert [(window.start_s, window.end_s) for window in watch.windows()] == [(0, 1), (1, 2), (2, 2.5)]


def test_windows_before_an_error_come_first(predictor: Predictor, tmp_path: Path):
    class Broken(Stream):
        def frames(self):
            yield from islice(super().frames(), 30)
            raise MediaError(self.path, "breaks off")

    watch = Watch(predictor, Broken(write_long(tmp_path / "x.mp4")), length_s=1, step_s=1)
    windows = watch.windows()
    assert [next(windows).start_s for _ in range(2)] == [0, 1]
    with pytest.raises(MediaError, match="breaks off"):
        next(windows)


def test_a_slow_model_leaves_out_old_windows_and_counts_them(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_long(tmp_path / "x.mp4")
    all_sent, first_done = threading.Event(), threading.Event()

    class Live(Stream):
        """Sends a first window, waits until the model has begun with it, and then sends all the rest at once."""

        def frames(self):
            for number, frame in enumerate(super().frames()):
                if number == 21:
                    assert first_done.wait(30)
                yield frame
            all_sent.set()

    class Slow(Watch):
        def _probabilities(self, windows):
            first_done.set()
            assert all_sent.wait(30)
            return super()._probabilities(windows)

    watch = Slow(predictor, Live(path, live=True), length_s=1, step_s=0.5)
    times = [window.start_s for window in watch.windows()]
    pace = watch.pace()
    assert times[0] == 0
    assert times[-1] == 3.5  # the newest one
    assert 1.0 not in times
    assert pace.num_dropped > 0
    assert pace.num_skipped + len(times) == 8


def test_windows_do_not_cross_a_break(predictor: Predictor, tmp_path: Path):
    path = write_long(tmp_path / "x.mp4")

    class Broken(Stream):
        def frames(self):
            for frame in super().frames():
                if frame.time_s >= 1.2:
                    late = Run(frame.run.video, 10.0, 13.0) if frame.tick and not late_runs else late_runs[0]
                    late_runs[:] = [late]
                    frame = replace(frame, run=late, time_s=frame.time_s + 8.8)
                else:
                    frame.run.end_s = 1.2
                yield frame

    late_runs: list[Run] = []
    watch = Watch(predictor, Broken(path), length_s=1, step_s=0.5)
    times = [(window.start_s, window.end_s) for window in watch.windows()]
    assert times[0] == (0, 1)
    assert (10.0, 11.0) in times
    assert all(end <= 4.25 or start >= 10 for start, end in times)


def test_too_many_frames_for_the_memory_are_one_clear_line(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MORPHMLP_MAX_WINDOW_BYTES", "100000")
    with pytest.raises(MediaError, match="give a shorter --length, or set MORPHMLP_MAX_WINDOW_BYTES"):
        list(predictor.windows(write_long(tmp_path / "x.mp4"), length_s=3))


def test_an_image_model_has_no_windows(image_checkpoint: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="takes images, which have no windows in time"):
        Predictor(image_checkpoint).windows(tmp_path / "x.mp4", length_s=1)


def test_an_image_and_a_folder_are_refused(predictor: Predictor, tmp_path: Path):
    with pytest.raises(MediaError, match="is a folder of frames, which have no times"):
        list(predictor.windows(tmp_path, length_s=1))
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(MediaError, match="is an image, which has no windows in time"):
        list(predictor.windows(tmp_path / "x.png", length_s=1))


def test_the_default_window_length_is_used(predictor: Predictor, tmp_path: Path):
    windows = list(predictor.windows(write_long(tmp_path / "x.mp4")))
    assert (windows[0].end_s, windows[1].start_s) == (USUAL_LENGTH_S, USUAL_LENGTH_S / 2)
