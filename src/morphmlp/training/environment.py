"""What a run is started with: versions, source, machine and command, so that it can be repeated years later."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from morphmlp.system import command_line

PACKAGES = ("morphmlp", "torch", "torchvision", "accelerate", "timm", "av", "numpy", "pillow", "safetensors")


def describe_environment(*, num_processes: int) -> dict[str, Any]:
    """Plain values, ready for JSON."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return {
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": command_line(sys.argv),
        "processes": num_processes,
        "git": source_commit(),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "host": platform.node(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "accelerator": None if accelerator is None else accelerator.type,
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def source_commit() -> str | None:
    """The commit of the package's source, with "-dirty" where it was changed; None outside a git checkout."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() if tracked.returncode == 0 else None  # installed below some other project's checkout


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
