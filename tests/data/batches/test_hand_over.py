"""A batch comes over whole from a decoding process, whatever room shared memory has; one that cannot is heard of."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor
from torch.utils.data import Dataset

from morphmlp.data.batches import hand_over
from morphmlp.data.batches.hand_over import workers_that_fit
from morphmlp.data.batches.loaders import Batch, BrokenSample, SampleClips, make_loader
from morphmlp.tasks.segmentation.batches import TestMask, _only

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


class Numbers(Dataset):
    """Clips of 1 MB, filled with their number; the last one is broken."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> SampleClips | BrokenSample:
        if index == 5:
            return BrokenSample(index, Path("lost.mp4"), "is empty")
        return SampleClips(torch.full((1, 3, 4, 146, 146), float(index)), [index], index)


class Masks(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> TestMask:
        return TestMask(torch.full((1, 3, 8, 8), float(index)), np.full((8, 8), index, np.uint8), index)


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    def share_memory_(self: Tensor) -> Tensor:
        raise RuntimeError("unable to write to file </torch_1_2_0>: No space left on device (28)")

    monkeypatch.setattr(Tensor, "share_memory_", share_memory_)  # the workers are forked


def values(batches: list[Batch]) -> list[Any]:
    return [(b.clips.mean(dim=(1, 2, 3, 4)).tolist(), b.labels.tolist(), b.indices, b.broken) for b in batches]


def test_batches_are_the_same_where_shared_memory_is_full(monkeypatch: pytest.MonkeyPatch):
    expected = list(make_loader(Numbers(), batch_size=2, workers=0))
    shared = list(make_loader(Numbers(), batch_size=2, workers=2))
    assert all(batch.clips.is_shared() for batch in shared)
    fill(monkeypatch)
    sent = list(make_loader(Numbers(), batch_size=2, workers=2))
    assert not any(batch.clips.is_shared() for batch in sent)
    assert values(sent) == values(shared) == values(expected)


def test_images_with_masks_are_the_same_where_shared_memory_is_full(monkeypatch: pytest.MonkeyPatch):
    fill(monkeypatch)
    items = list(make_loader(Masks(), workers=1, collate_fn=_only))
    assert [(item.image.unique().item(), item.mask[0, 0], item.index) for item in items] == [(0, 0, 0), (1, 1, 1)]


def test_no_worker_is_started_where_not_even_its_locks_fit(monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(hand_over.shutil, "disk_usage", lambda path: usage._replace(free=4096))
    assert make_loader(Numbers(), workers=2).num_workers == 0
    monkeypatch.undo()
    monkeypatch.setattr(hand_over, "SHARED_MEMORY", "/nowhere")
    assert workers_that_fit(3) == 3


LEFT_ALONE = """
import os, sys
from multiprocessing import process, resource_sharer
from multiprocessing.connection import Client
from morphmlp.data.batches.hand_over import end_on_lost_batch
if "worker" in sys.argv:
    end_on_lost_batch()
shared = resource_sharer.DupFd(os.dup(0))
with Client(resource_sharer._resource_sharer._address, authkey=process.current_process().authkey):
    pass  # goes without having asked for anything, as a main process that Ctrl-C interrupts
os.close(shared.detach())  # the thread that hands over goes on, and has dealt with the one before
"""


@pytest.mark.parametrize(("role", "num_tracebacks"), [("worker", 0), ("other", 1)])
def test_a_worker_says_nothing_where_the_main_process_stops_to_listen(role: str, num_tracebacks: int):
    command = [sys.executable, "-c", LEFT_ALONE, role]
    process = subprocess.run(
        command, capture_output=True, text=True, env=tiny.environment(), stdin=subprocess.DEVNULL, timeout=120
    )
    assert process.returncode == 0
    assert process.stderr.count("Traceback") == num_tracebacks
    assert bool(process.stderr) == bool(num_tracebacks)


@pytest.mark.parametrize("error", [BrokenPipeError(), ConnectionResetError(), EOFError()])
def test_a_batch_that_nobody_waits_for_is_lost_without_a_word(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    statuses = []
    monkeypatch.setattr(hand_over.os, "_exit", statuses.append)
    hand_over._end(error, None)
    hand_over._end(OSError(24, "Too many open files"), None)
    assert statuses == [1, 1]
    assert capsys.readouterr().err == "a decoding process cannot hand a batch over: [Errno 24] Too many open files\n"


FEW_FILES = """
import resource, sys
from test_hand_over import Numbers
from morphmlp.data.batches.loaders import make_loader
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
list(make_loader(Numbers(), batch_size=2, workers=2))
"""


def test_a_batch_that_cannot_be_sent_is_an_error_and_no_wait_for_ever():
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 16
    environment = tiny.environment()
    environment["PYTHONPATH"] = f"{Path(__file__).parent}:{environment['PYTHONPATH']}"
    process = subprocess.run(
        [sys.executable, "-c", FEW_FILES], capture_output=True, text=True, env=environment, timeout=120
    )
    assert process.returncode == 1
    assert "Too many open files" in process.stderr or "exited unexpectedly" in process.stderr


def test_train_works_with_a_full_dev_shm(data: Path, tmp_path: Path):
    """As in a container with little shared memory: of a batch of 3 MB, half fits there."""
    within = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1500k tmpfs /dev/shm && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("no name spaces here")
    options = [*tiny.OPTIONS, "--input.crop", "[128,128]", "--input.resize", 128, "--epochs", 1, "--workers", 2]
    train = tiny.command("train", data, "--out", tmp_path / "run", *options)
    process = subprocess.run([*within, *train], capture_output=True, text=True, env=tiny.environment(), timeout=200)
    assert process.returncode == 0, process.stderr
