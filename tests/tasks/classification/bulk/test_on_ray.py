"""`predict --ray`: what a cluster predicts is what one process does."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny

from morphmlp.data.sets.find import find_media
from morphmlp.errors import CheckpointError, ConfigError, DataError
from morphmlp.tasks.classification.bulk import on_ray


class RunningCluster:
    """A cluster of `ray_cluster.py`."""

    def __init__(self, process: subprocess.Popen[str], address: str):
        self.process, self.address = process, address

    def kill(self, what: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "killed\n"


@contextmanager
def cluster(workers: int) -> Iterator[RunningCluster]:
    script = Path(tiny.__file__).with_name("ray_cluster.py")
    process = subprocess.Popen(
        [sys.executable, script, str(workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=tiny.environment(),
    )
    assert process.stdout is not None
    try:
        address = next((line.strip() for line in process.stdout if ":" in line), None)
        assert address, "the cluster has not started: Ray gives its own processes limited time for that"
        yield RunningCluster(process, address)
    finally:
        process.communicate(timeout=120)


def predict(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    texts = list(map(str, arguments))
    return subprocess.Popen(
        [sys.executable, "-m", "morphmlp.cli", "predict", *texts],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.environment(),
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def shelf(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 small videos, of which some cannot be read."""
    folder, videos = tmp_path_factory.mktemp("shelf"), find_media(data)
    for number in range(500):
        if number % 50 == 7:
            (folder / f"{number:03d}.mp4").write_text("no video")
        else:
            shutil.copy(videos[number % len(videos)], folder / f"{number:03d}.mp4")
    return folder


def wait_for_rows(out: Path, number: int, process: subprocess.Popen[str]) -> None:
    while not out.exists() or out.read_bytes().count(b"\n") < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_predicts_what_one_process_does(checkpoint: Path, shelf: Path, tmp_path: Path):
    alone = predict(checkpoint, shelf.name, "--workers", 0, "--out", tmp_path / "alone.jsonl", cwd=shelf.parent)
    alone.communicate()
    assert alone.returncode == 1  # some files cannot be read
    with cluster(2) as ray:
        process = predict(
            checkpoint, shelf.name, "--ray", ray.address, "--out", tmp_path / "ray.jsonl", cwd=shelf.parent
        )
        wait_for_rows(tmp_path / "ray.jsonl", 100, process)
        ray.kill("worker")
        shown, told = process.communicate()
    assert process.returncode == 1, told
    assert "490 of 500 videos predicted" in shown
    lines = [(tmp_path / name).read_bytes().splitlines() for name in ("alone.jsonl", "ray.jsonl")]
    assert len(lines[0]) == 500
    assert sorted(lines[0]) == sorted(lines[1])


@pytest.mark.slow
def test_a_head_that_goes_away_is_one_line_and_another_process_goes_on(checkpoint: Path, shelf: Path, tmp_path: Path):
    out = tmp_path / "rows.jsonl"
    with cluster(1) as ray:
        process = predict(checkpoint, shelf.name, "--ray", ray.address, "--out", out, cwd=shelf.parent)
        wait_for_rows(out, 60, process)
        ray.kill("head")
        _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    assert told.splitlines()[-1].startswith(f"error: the Ray head at {ray.address} is gone; what is known is kept")
    known = out.read_bytes().count(b"\n")
    assert known >= 60
    process = predict(checkpoint, shelf.name, "--workers", 0, "--out", out, cwd=shelf.parent)
    shown, _ = process.communicate()
    assert "490 of 500 videos predicted" in shown
    assert "of them by earlier runs" in shown


@pytest.mark.parametrize("address", ["clip.mp4", "host", "host:x", "a b:1"])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(ConfigError, match="give host:port of its head"):
        on_ray.RayCluster(address)


@pytest.mark.parametrize(
    ("answers", "copies", "rows", "message"),
    [
        (lambda s: s < 100, 2, False, "the Ray head at host:1 is gone"),
        (lambda s: True, 0, False, "has no machine left for the model"),
        (lambda s: True, 2, False, "no row has come from the Ray cluster at host:1 for 30 minutes"),
        (lambda s: s % 10 < 5, 1, True, None),  # it answers now and then
    ],
)
def test_a_cluster_that_is_gone_is_told_in_time(
    monkeypatch: pytest.MonkeyPatch, answers: Callable[[float], bool], copies: int, rows: bool, message: str | None
):
    clock = {"s": 0.0}
    monkeypatch.setattr(on_ray, "monotonic", lambda: clock["s"])
    monkeypatch.setattr(on_ray, "_answers", lambda head: answers(clock["s"]))
    watch, told = on_ray.Watch("host:1", lambda: ("host", 1), lambda: copies), None
    while clock["s"] < 3000 and told is None:
        try:
            watch.check()
        except DataError as error:
            told = str(error)
        if rows:
            watch.row_came()
        clock["s"] += 2
    assert message is None if told is None else message is not None and message in told
    assert clock["s"] == {"the Ray head at host:1 is gone": 122, "has no machine left for the model": 124}.get(
        message or "", 3000 if message is None else 1804
    )


def test_a_cluster_that_cannot_be_joined_is_told_in_time(monkeypatch: pytest.MonkeyPatch):
    times_s = iter([0.0, 1.0, 91.0])
    monkeypatch.setattr(on_ray, "monotonic", lambda: next(times_s))
    watch = on_ray.Watch("auto", lambda: None, lambda: 0)
    watch.check()
    with pytest.raises(DataError, match=r"the Ray cluster \(auto\) cannot be joined within 90 s"):
        watch.check()


def test_the_cause_of_an_error_is_told_where_it_is_a_users_mistake():
    class TaskError(Exception):
        cause = CheckpointError("x is no checkpoint")

    def fail(error: Exception) -> Iterator[int]:
        yield 1
        raise error

    for error, kind, message in (
        (TaskError("trace"), CheckpointError, "x is no checkpoint"),
        (RuntimeError("lost\nlong"), DataError, "Ray has given up: RuntimeError: lost; what is known is kept"),
    ):
        items = on_ray.in_background(lambda error=error: fail(error), check=lambda: None)
        assert next(items) == 1
        with pytest.raises(kind, match=message):
            next(items)


def test_what_is_made_in_a_thread_that_hangs_is_not_waited_for():
    def never() -> Iterator[int]:
        time.sleep(3600)
        yield 1

    def gone() -> None:
        raise DataError("gone")

    with pytest.raises(DataError, match="gone"):
        next(on_ray.in_background(never, check=gone, every_s=0.01))


def test_of_what_ray_says_a_line_of_each_sort_is_told(capfd: pytest.CaptureFixture[str]):
    said = on_ray.Complaints()
    for node in ("1", "2"):
        said.write(f"\x1b[33m(raylet)\x1b[0m A task of a lost actor is done again: {node}\nlong\nlonger")
        said.write("\n")
    assert capfd.readouterr().err == "Ray says: (raylet) A task of a lost actor is done again: 1\n"


def test_another_version_of_the_package_on_a_worker_is_refused(checkpoint: Path):
    model = on_ray.Model(str(checkpoint), {}, 5, ".", "0.0.1")
    with pytest.raises(ConfigError, match=r"and the process that writes the rows 0\.0\.1"):
        _ = model.predictor
