"""The server that most tests share, and a video."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Running, running


@pytest.fixture(scope="package")
def served(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server that most tests share; they leave it able to answer."""
    with running(checkpoint, tmp_path_factory.mktemp("served") / "uploads") as found:
        yield found


@pytest.fixture
def video(data: Path) -> Path:
    return data / "val" / "moving_up" / "moving_up_0001.mp4"
