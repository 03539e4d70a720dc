"""Freed memory stays in the process where the C library can keep it."""

import platform
import subprocess
import sys

import pytest
import tiny

FAULTS = """
import resource
import torch
from morphmlp.allocator import keep_freed_memory

print(KEEP and keep_freed_memory())
for _ in range(10):
    torch.ones(10 * 2**20)  # 40 MiB: 10,240 pages
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_tensor_takes_the_pages_of_the_one_before():
    kept, pages = run(keep=True)
    assert kept
    assert pages < 10_240
    assert run(keep=False)[1] > 90_000


@pytest.mark.parametrize(
    "setting", [{"MALLOC_TRIM_THRESHOLD_": "1000"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000"}]
)
def test_setting_of_the_user_stays(setting: dict[str, str]):
    assert not run(keep=True, **setting)[0]
