"""What OpenVINO gives for batches that are divided among its streams."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphmlp.inference.openvino_model import OpenVinoModel, Share, shares
from morphmlp.inference.runtimes import openvino_core


def test_the_example_of_the_docstring():
    assert list(shares(23, 2)) == [Share(4, 4, True), Share(6, 1, True), Share(1, 1, False)]


@given(num_clips=st.integers(1, 200), num_streams=st.integers(1, 64))
def test_all_clips_are_shared_out_and_streams_get_alike(num_clips: int, num_streams: int):
    found = list(shares(num_clips, num_streams))
    assert sum(share.num_parts * share.clips_per_part for share in found) == num_clips
    assert all(share.num_parts % num_streams == 0 for share in found[:-1])
    rest = found[-1]
    assert rest.num_parts % num_streams == 0 or rest.num_parts < num_streams
    # One by one is for a few that would leave half of the streams without work.
    assert rest.side_by_side == (2 * rest.num_parts > num_streams)


def saved(folder: Path, shape: list[int]) -> Path:
    """A model whose output is the sum of each clip, and that has a value `inner` within: the doubled clip."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    clips = ops.parameter(shape, np.float32, name="clips")
    inner = ops.multiply(clips, ops.constant(np.float32(2)))
    inner.output(0).set_names({"inner"})
    logits = ops.reduce_sum(inner, ops.constant(np.array([2, 3])), keep_dims=False)
    openvino.save_model(openvino.Model([logits], [clips], "sums"), folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def opened(file: Path, **options: Any) -> OpenVinoModel:
    return OpenVinoModel(openvino_core(), file, precision="f32", **options)


CLIPS = np.random.default_rng(0).integers(-8, 8, (21, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("shape", [[-1, 3, 4, 5], [-1, 3, -1, -1]])  # the second is an export for any size
def test_every_number_of_clips_gives_the_outputs_in_their_order(tmp_path: Path, shape: list[int]):
    model = opened(saved(tmp_path, shape))
    for num_clips in [*range(1, 12), 21, 2, 1]:  # again, with what is compiled by then
        outputs = model(CLIPS[:num_clips])
        np.testing.assert_array_equal(outputs, 2 * CLIPS[:num_clips].sum(axis=(2, 3)))


def test_outputs_stay_when_the_next_batch_is_computed(tmp_path: Path):
    model = opened(saved(tmp_path, [-1, 3, 4, 5]))
    one, many = model(CLIPS[:1]), model(CLIPS)
    model(-CLIPS[:1])
    model(-CLIPS)
    np.testing.assert_array_equal(one, 2 * CLIPS[:1].sum(axis=(2, 3)))
    np.testing.assert_array_equal(many, 2 * CLIPS.sum(axis=(2, 3)))


def test_outputs_are_let_go_with_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those of 32 images of a segmenter may be gigabytes."""
    model, made = opened(saved(tmp_path, [-1, 3, 4, 5])), []

    def empty(*arguments: Any) -> np.ndarray:
        array = np.zeros(*arguments)
        made.append(weakref.ref(array))
        return array

    monkeypatch.setattr(np, "empty", empty)
    model(CLIPS)
    assert made
    assert all(array() is None for array in made)


def test_a_model_for_one_number_of_clips_takes_them_at_once(tmp_path: Path):
    np.testing.assert_array_equal(opened(saved(tmp_path, [3, 3, 4, 5]))(CLIPS[:3]), 2 * CLIPS[:3].sum(axis=(2, 3)))


@pytest.mark.parametrize("num_clips", [1, 9])
def test_a_value_within_the_graph_is_given_in_the_place_of_the_output(tmp_path: Path, num_clips: int):
    inner = opened(saved(tmp_path, [-1, 3, 4, 5]), inner="inner")
    np.testing.assert_array_equal(inner(CLIPS[:num_clips]), 2 * CLIPS[:num_clips])


def test_clips_that_must_not_be_written_to_are_taken(tmp_path: Path):
    clips = CLIPS[:9].copy()
    clips.flags.writeable = False
    np.testing.assert_array_equal(opened(saved(tmp_path, [-1, 3, 4, 5]))(clips), 2 * clips.sum(axis=(2, 3)))


def test_several_threads_get_the_outputs_of_their_own_clips(tmp_path: Path):
    model = opened(saved(tmp_path, [-1, 3, 4, 5]))

    def is_right(thread: int) -> bool:
        clips = CLIPS * (thread + 1)
        counts = [1, 5, 9, 21, 2] * 8
        return all(np.array_equal(model(clips[:n]), 2 * clips[:n].sum(axis=(2, 3))) for n in counts)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(is_right, range(4))) == [True] * 4


@pytest.mark.parametrize("num_clips", [1, 2, 9])
def test_a_batch_that_fails_does_not_stop_the_next(tmp_path: Path, num_clips: int):
    """Without a new queue, each failure takes a stream away, and the batch after the last one waits for ever."""
    model = opened(saved(tmp_path, [-1, 3, 4, 5]))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            model(np.zeros((num_clips, 2, 4, 5), np.float32))
    np.testing.assert_array_equal(model(CLIPS), 2 * CLIPS.sum(axis=(2, 3)))


def test_nothing_is_computed_any_more_when_ctrl_c_comes_out_of_a_batch(tmp_path: Path):
    """What still ran would read clips that are let go by then."""
    model = opened(saved(tmp_path, [-1, 3, 4, 5]))
    queue = model._queue(4)
    interrupted = Interrupted(queue, after=2)
    model._queues[4] = interrupted
    with pytest.raises(KeyboardInterrupt):
        model(CLIPS)
    assert interrupted.has_waited
    np.testing.assert_array_equal(model(CLIPS), 2 * CLIPS.sum(axis=(2, 3)))


class Interrupted:
    """A queue that Ctrl-C reaches after so many parts were started."""

    def __init__(self, queue: Any, *, after: int):
        self.queue, self.left, self.has_waited = queue, after, False
        self.set_callback = queue.set_callback

    def __getitem__(self, number: int) -> Any:
        return self.queue[number]

    def start_async(self, *arguments: Any, **options: Any) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.queue.start_async(*arguments, **options)

    def wait_all(self) -> None:
        self.queue.wait_all()
        self.has_waited = True
