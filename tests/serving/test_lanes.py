"""Decoding processes that die, hang or take too much: the next file gets an answer."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dying
import pytest
import tiny

from morphmlp.serving.decoding import HowToRead
from morphmlp.serving.lanes import Lane, Lanes, ProcessEnded
from morphmlp.serving.limits import Limits, Refusal
from morphmlp.system import limit_memory


def with_lane(use: Callable[[Lane], Awaitable[Any]], **limits: Any) -> Any:
    """What a test does with a lane of its own."""

    async def run() -> Any:
        lane = Lane(HowToRead("video", 4, tiny.INPUT, Limits(**limits), 8))
        await lane.start()
        try:
            return await use(lane)
        finally:
            lane.stop()

    return asyncio.run(run())


def test_a_process_goes_on_from_file_to_file():
    async def use(lane: Lane) -> list[int]:
        return [await lane.run(dying.process_id) for _ in range(3)]

    assert len(set(with_lane(use))) == 1


def test_a_task_whose_process_dies_is_tried_once_more(tmp_path: Path):
    async def use(lane: Lane) -> None:
        assert await lane.run(dying.be_killed_once, tmp_path / "mark") == "done"
        assert lane.num_restarts == 1
        for number, status in ((signal.SIGKILL, 503), (signal.SIGSEGV, 422)):
            with pytest.raises(ProcessEnded, match=rf"^ended the decoding process \({number.name}\)$") as ended:
                await lane.run(dying.be_sent, number)
            assert ended.value.status == status
        assert lane.num_restarts == 5
        assert await lane.run(dying.process_id) > 0

    with_lane(use)


def test_a_process_that_died_while_it_had_nothing_to_do_is_replaced():
    async def use(lane: Lane) -> None:
        first = await lane.run(dying.process_id)
        os.kill(first, signal.SIGKILL)
        assert await lane.run(dying.process_id) != first

    with_lane(use)


def test_a_process_that_dies_within_its_answer_leaves_the_next_one_alone():
    async def use(lane: Lane) -> None:
        with pytest.raises(ProcessEnded):
            await lane.run(dying.write_half_a_message)
        assert await lane.run(dying.process_id) > 0

    with_lane(use)


def test_a_process_that_takes_too_long_is_ended():
    async def use(lane: Lane) -> None:
        with pytest.raises(Refusal, match=r"^was not decoded within 0\.2 s$"):
            await lane.run(dying.sleep, 600)
        assert lane.num_restarts == 1

    with_lane(use, decode_s=0.2)


def test_the_process_of_a_client_that_has_gone_is_ended():
    async def use(lane: Lane) -> None:
        first = await lane.run(dying.process_id)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lane.run(dying.sleep, 600), 0.2)
        assert await lane.run(dying.process_id) != first

    with_lane(use)


def test_a_client_that_goes_while_its_task_is_handed_over_leaves_no_task_to_the_next_file(
    monkeypatch: pytest.MonkeyPatch,
):
    begun, go_on, handed_over = (threading.Event() for _ in range(3))
    schedule = Lane._schedule

    def slowly(self: Lane, *arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        try:
            return schedule(self, *arguments)
        finally:
            handed_over.set()

    async def use(lane: Lane) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Lane, "_schedule", slowly)
            gone = asyncio.ensure_future(lane.run(dying.sleep, 600))
            await asyncio.to_thread(begun.wait, 20)
            gone.cancel()
            await asyncio.wait([gone], timeout=0.1)
            go_on.set()
            await asyncio.wait([gone])
            await asyncio.to_thread(handed_over.wait, 20)
        assert await asyncio.wait_for(lane.run(dying.process_id), 20) > 0

    with_lane(use, decode_s=600)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not count the memory of a process")
def test_a_process_has_so_much_memory_and_no_more():
    async def use(lane: Lane) -> None:
        assert await lane.run(dying.allocate, 20) == 20_000_000
        with pytest.raises(MemoryError):
            await lane.run(dying.allocate, 200)

    with_lane(use, decode_mb=100)


def test_a_system_that_does_not_count_memory_has_no_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("builtins.open", lambda *_: (_ for _ in ()).throw(FileNotFoundError))
    limit_memory(1)


def test_a_lane_is_for_one_at_a_time():
    async def run() -> None:
        lanes = Lanes(HowToRead("video", 4, tiny.INPUT, Limits(), 8), 1)
        lanes._free.put_nowait(lanes._all[0])
        async with lanes.free():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(lanes._free.get(), 0.01)
        async with lanes.free():
            assert lanes.num_busy == 1
        assert lanes.num_busy == 0

    asyncio.run(run())


def test_a_pool_that_two_find_ended_is_ended_once(monkeypatch: pytest.MonkeyPatch):
    """As the loop and the thread that schedules do, if a client goes away twice: the pipes would be closed twice."""
    ended: list[Any] = []
    monkeypatch.setattr("morphmlp.serving.lanes._end", ended.append)
    lane, both = Lane(HowToRead("video", 4, tiny.INPUT, Limits(), 8)), threading.Barrier(2)
    new_pool = lane._new_pool

    def when_both_are_there() -> Any:
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.2)
        return new_pool()

    monkeypatch.setattr(lane, "_new_pool", when_both_are_there)
    threads = [threading.Thread(target=lane._renew) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lane.stop()
    assert (len(ended), len(set(map(id, ended)))) == (3, 3)
