"""`predict --ray`: what a cluster predicts is what one process does."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny

from morphmlp.data.sets.find import find_media
from morphmlp.errors import ConfigError
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
        address = next(line.strip() for line in process.stdout if ":" in line)
        yield RunningCluster(process, address)
    finally:
        process.communicate(timeout=120)


def predict(*arguments: object) -> subprocess.Popen[str]:
    texts = list(map(str, arguments))
    return subprocess.Popen(
        [sys.executable, "-m", "morphmlp.cli", "predict", *texts],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.environment(),
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
    alone = predict(checkpoint, shelf, "--workers", 0, "--out", tmp_path / "alone.jsonl")
    alone.communicate()
    assert alone.returncode == 1  # some files cannot be read
    with cluster(2) as ray:
        process = predict(checkpoint, shelf, "--ray", ray.address, "--out", tmp_path / "ray.jsonl")
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
        process = predict(checkpoint, shelf, "--ray", ray.address, "--out", out)
        wait_for_rows(out, 60, process)
        ray.kill("head")
        _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    assert told.splitlines()[-1].startswith(f"error: the Ray head at {ray.address} is gone; what is known is kept")
    known = out.read_bytes().count(b"\n")
    assert known >= 60
    process = predict(checkpoint, shelf, "--workers", 0, "--out", out)
    shown, _ = process.communicate()
    assert "490 of 500 videos predicted" in shown
    assert "of them by earlier runs" in shown


@pytest.mark.parametrize("address", ["clip.mp4", "host", "host:x", "a b:1"])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(ConfigError, match="give host:port of its head"):
        on_ray.RayCluster(address)
