"""Figures sent to TensorBoard or Weights & Biases, by accelerate's trackers; the run's log is written in any case."""

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker

from morphmlp.config import RunConfig
from morphmlp.errors import ConfigError
from morphmlp.training.run_folder import RunFolder


def require_trackers(names: tuple[str, ...]) -> None:
    """Raises ConfigError where a tracker is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"train.trackers is {names}, but {name} is not installed: pip install 'morphmlp[{name}]'")


@contextmanager
def started_trackers(
    config: RunConfig, folder: RunFolder, *, step: int, enabled: bool
) -> Iterator[list[GeneralTracker]]:
    """The trackers that the configuration names, finished when the run ends; none where they are not enabled.

    Args:
        step: after which the run goes on. TensorBoard drops what was sent of later ones; Weights & Biases keeps it, and
            takes no steps below its last.
    """
    trackers: list[GeneralTracker] = []
    try:
        for name in config.train.trackers if enabled else ():
            trackers.append(_start(name, folder, step))
            trackers[-1].store_init_configuration(flat(config.to_dict()))
        yield trackers
    finally:
        for tracker in trackers:
            tracker.finish()


def _start(name: str, folder: RunFolder, step: int) -> GeneralTracker:
    if name == "tensorboard":
        purge_step = step + 1 if step else None
        board = folder.tensorboard
        tracker: GeneralTracker = TensorBoardTracker(board.name, logging_dir=board.parent, purge_step=purge_step)
    else:
        # The same after each resume, so that the curves go on, and another after --overwrite.
        run_id = hashlib.sha256(folder.first_start().encode()).hexdigest()[:16]
        tracker = WandBTracker("morphmlp", dir=str(folder.path), id=run_id, name=folder.path.name, resume="allow")
    try:
        tracker.start()
    except Exception as error:  # the libraries' own, such as for a missing login
        raise ConfigError(f"the tracker {name} cannot be started: {error}; mend that, or leave it out") from None
    return tracker


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names, as trackers take them.

    >>> flat({"train": {"lr": 0.1, "trackers": []}, "init": None})
    {'train.lr': 0.1, 'train.trackers': '[]', 'init': 'None'}
    """
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value if isinstance(value, bool | int | float | str) else str(value)
    return result
