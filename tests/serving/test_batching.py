"""Videos of different requests in one batch."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from morphmlp.data.batches.views import TestViews
from morphmlp.data.sets.labelled import Sample
from morphmlp.serving import batching
from morphmlp.serving.batching import Batcher, predict_clips
from morphmlp.tasks.classification.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return Predictor(checkpoint, device="cpu", num_clips=2)


@pytest.fixture(scope="module")
def views(predictor: Predictor, data: Path) -> list[np.ndarray]:
    videos = [Sample(path) for path in sorted((data / "val").rglob("*.mp4"))[:5]]
    clips = TestViews(videos, predictor.config.frames, predictor.input)
    return [clips[i].clips for i in range(5)]  # type: ignore[union-attr]


def batched(predictor: Predictor, views: list[np.ndarray]) -> tuple[list[np.ndarray | BaseException], list[int]]:
    """The answers to requests that come at one time, and the sizes of the batches."""
    sizes: list[int] = []

    async def run() -> list[np.ndarray | BaseException]:
        batcher = Batcher(predictor, wait_ms=20, observe=lambda size, _: sizes.append(size))
        await batcher.start()
        try:
            return await asyncio.gather(*map(batcher.predict, views), return_exceptions=True)
        finally:
            await batcher.stop()

    return asyncio.run(run()), sizes


def test_requests_that_come_together_are_one_batch_with_the_answers_of_each(
    predictor: Predictor, views: list[np.ndarray], data: Path
):
    answers, sizes = batched(predictor, views)
    assert sizes == [5]
    videos = sorted((data / "val").rglob("*.mp4"))[:5]
    for answer, video in zip(answers, videos, strict=True):
        assert isinstance(answer, np.ndarray)
        np.testing.assert_allclose(answer, predictor(video).probabilities, atol=1e-6)


def test_a_batch_has_no_more_videos_than_the_model_takes(
    predictor: Predictor, views: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batching, "videos_per_batch", lambda _: 2)
    assert batched(predictor, views)[1] == [2, 2, 1]


def test_a_video_on_which_the_model_fails_costs_no_other(predictor: Predictor, views: list[np.ndarray]):
    answers, sizes = batched(predictor, [views[0], np.full_like(views[1], np.nan), views[2]])
    assert sizes == [1, 1]
    assert "not finite" in str(answers[1])
    np.testing.assert_array_equal(answers[0], predict_clips(predictor, [views[0]])[0])
    np.testing.assert_array_equal(answers[2], predict_clips(predictor, [views[2]])[0])


def test_views_that_cannot_be_joined_cost_no_other(predictor: Predictor, views: list[np.ndarray]):
    answers, _ = batched(predictor, [views[0], views[1][..., :30, :30]])
    np.testing.assert_array_equal(answers[0], predict_clips(predictor, [views[0]])[0])


def test_a_request_whose_client_has_gone_is_left_out(predictor: Predictor, views: list[np.ndarray]):
    sizes: list[int] = []

    async def run() -> None:
        batcher = Batcher(predictor, wait_ms=20, observe=lambda size, _: sizes.append(size))
        await batcher.start()
        requests = [asyncio.ensure_future(batcher.predict(clips)) for clips in views[:3]]
        await asyncio.sleep(0)
        requests[1].cancel()
        await asyncio.wait(requests)
        await batcher.stop()

    asyncio.run(run())
    assert sizes == [2]
