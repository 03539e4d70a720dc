"""Freed memory stays in the process where the C library can keep it."""

import platform
import subprocess
import sys

import pytest
import tiny

import morphmlp
from morphmlp.inference import allocator

FAULTS = """
import resource
import torch
from morphmlp.inference.allocator import keep_freed_memory

print(KEEP and keep_freed_memory())
for _ in range(10):
    torch.ones(10 * 2**20)  # 40 MiB: 10,240 pages, where huge ones are not given out
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(10 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(*, keep: bool, **environment: str) -> tuple[bool, int]:
    """Whether freed memory was kept, and how many pages ten tensors of 10,240 each had mapped anew."""
    process = subprocess.run(
        [sys.executable, "-c", FAULTS.replace("KEEP", str(keep))],
        env=tiny.environment() | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, pages = process.stdout.split()
    return kept == "True", int(pages)


def has_the_setting() -> bool:
    """glibc, from the version that takes 40 MiB for a tensor that is not mapped apart."""
    name, version = platform.libc_ver()
    return name == "glibc" and tuple(int(part) for part in version.split(".")[:2]) >= (2, 35)


@pytest.mark.skipif(not has_the_setting(), reason="only glibc 2.35 and newer")
def test_tensor_takes_the_pages_of_the_one_before():
    kept, pages = run(keep=True)
    assert kept
    assert 10 * pages < run(keep=False)[1]


@pytest.mark.parametrize(
    "setting", [{"MALLOC_TRIM_THRESHOLD_": "1000"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000"}]
)
def test_setting_of_the_user_stays(setting: dict[str, str]):
    assert not run(keep=True, **setting)[0]


@pytest.mark.skipif(not has_the_setting(), reason="only glibc 2.35 and newer")
def test_other_settings_of_the_user_do_not_count():
    assert run(keep=True, GLIBC_TUNABLES="glibc.cpu.x86_rep_movsb_threshold=4096")[0]


@pytest.mark.skipif(not has_the_setting(), reason="only glibc 2.35 and newer")
def test_training_keeps_more_than_the_top_of_the_heap_that_prediction_keeps(monkeypatch: pytest.MonkeyPatch):
    # What is asked of glibc: how many pages it then takes again differs from run to run.
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(allocator, "c_function", lambda name: lambda *setting: asked.append(setting) or 1)
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    trim, mapped = -1, -3  # of malloc.h
    assert allocator.keep_freed_memory()
    assert asked == [(mapped, 2**26), (trim, 2**27)]
    asked.clear()
    assert allocator.keep_freed_memory(allocator.ALL_BYTES)
    assert asked == [(mapped, 2**30), (trim, -1)]


def test_optimizing_a_model_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr("morphmlp.inference.optimize.keep_freed_memory", lambda: calls.append("kept"))
    morphmlp.optimize(morphmlp.create_model("morphmlp_image_nano"))
    assert calls == ["kept"]
