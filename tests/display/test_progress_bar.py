"""What a long work says of itself while it goes on."""

from io import StringIO

import pytest
from rich.console import Console

from morphmlp.display import progress_bar
from morphmlp.display.progress_bar import Lines, counting


def test_lines_tell_the_rate_of_this_run_and_the_time_that_is_left(capfd: pytest.CaptureFixture[str]):
    times_s = iter([0.0, 1.0, 21.0, 31.0, 41.0, 81.0])
    lines = Lines("videos", clock=lambda: next(times_s))
    for done in (1000, 1010, 1300, 1400, 1400):  # 1000 of them by earlier runs
        lines(done, 4000)
    assert capfd.readouterr().err.splitlines() == [
        "1,300 of 4,000 videos, 10/s, 0:04:30 left",
        "1,400 of 4,000 videos, 5.0/s, 0:08:40 left",
    ]


def test_a_bar_shows_the_rate_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    shown = StringIO()
    terminal = Console(file=shown, force_terminal=True, width=120)
    times_s = iter(range(1000))
    monkeypatch.setattr(progress_bar, "Console", lambda file: terminal)
    monkeypatch.setattr(terminal, "get_time", lambda: float(next(times_s)))
    with counting("videos", lines=True) as progress:
        for done in (7, 27, 47):
            progress(done, 100)
    assert "47/100" in shown.getvalue()
    assert "/s " in shown.getvalue()


def test_nothing_is_shown_where_nobody_asked_for_lines(capfd: pytest.CaptureFixture[str]):
    with counting("videos") as progress:
        progress(1, 2)
    assert capfd.readouterr() == ("", "")
