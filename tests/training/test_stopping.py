"""A run can always be ended: by one signal where it can save, by a second one where it cannot."""

import signal
import threading
import time

import pytest

from morphmlp.training.stopping import Stop, StopSignal

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Ended(BaseException):
    pass


@pytest.fixture
def ending():
    """Handlers that were there before the run's."""

    def end(number: int, _: object) -> None:
        raise Ended

    before = {number: signal.signal(number, end) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_a_later_one_ends_at_once(ending, number: int):
    stop = StopSignal()
    with stop.caught():
        signal.raise_signal(number)
        assert stop.number == number
        stop.came_at -= 1.5
        with pytest.raises(Ended):
            signal.raise_signal(number)


def test_sigterm_that_is_sent_twice_in_a_moment_is_one(ending):
    stop = StopSignal()
    with stop.caught():
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
    assert stop.number == signal.SIGTERM


def test_two_ctrl_c_in_a_moment_are_two(ending):
    stop = StopSignal()
    with stop.caught():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Ended):
            signal.raise_signal(signal.SIGINT)


def test_of_several_processes_what_torchrun_passes_on_is_taken_for_the_first(ending, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    stop = StopSignal()
    with stop.caught():
        signal.raise_signal(signal.SIGINT)
        stop.came_at -= 5
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == signal.SIGINT
        stop.came_at -= 6
        with pytest.raises(Ended):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_waits_for_a_batch_stops_there(ending, number: int):
    stop = StopSignal()
    never = threading.Event()
    sender = threading.Timer(0.05, lambda: signal.pthread_kill(threading.main_thread().ident or 0, number))
    started = time.monotonic()
    with stop.caught():
        sender.start()
        with pytest.raises(Stop) as stopped, stop.raises(Stop(unsaved=True)):
            never.wait(30)
        assert stopped.value.unsaved
        assert time.monotonic() - started < 20
        with pytest.raises(Stop), stop.raises(Stop(unsaved=True)):  # it came before the wait
            pytest.fail("the run waits for ever")
        with stop.raises(None):
            pass
