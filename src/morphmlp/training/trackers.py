"""Figures sent to the trackers that accelerate knows, by its names; the run's own log is written in any case."""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from accelerate.tracking import (
    AimTracker,
    ClearMLTracker,
    CometMLTracker,
    DVCLiveTracker,
    MLflowTracker,
    SwanLabTracker,
    TensorBoardTracker,
    TrackioTracker,
    WandBTracker,
)

from morphmlp.config import RunConfig
from morphmlp.data.media.remote import web_address
from morphmlp.data.media.remote_store import shown_address
from morphmlp.errors import ConfigError
from morphmlp.files import read_text, replace_json
from morphmlp.formatting import one_line
from morphmlp.output import tell
from morphmlp.training.run_folder import RunFolder

PROJECT = "morphmlp"
EXTRAS = ("tensorboard", "wandb")  # of this package


Tracked: TypeAlias = Any  # one of accelerate's trackers, whose base class declares neither `name` nor `tracker`


@dataclass(frozen=True)
class Start:
    """What a tracker is started with.

    Attributes:
        step: after which the run goes on; 0 of a new one.
        earlier: the tracker's own id of the run, where the run was tracked before and it gives such ids.
    """

    folder: RunFolder
    step: int
    earlier: str | None

    @property
    def name(self) -> str:
        return self.folder.path.name

    @property
    def run_id(self) -> str:
        """The same after each resume, so that the curves go on, and another after --overwrite: 64 digits."""
        return hashlib.sha256(self.folder.first_start().encode()).hexdigest()


def _clearml(start: Start) -> Tracked:
    # 0: steps count from the start of the run already.
    again = {"reuse_last_task_id": start.earlier, "continue_last_task": 0} if start.earlier else {}
    return ClearMLTracker(PROJECT, task_name=start.name, **again)


def _tensorboard(start: Start) -> Tracked:
    """TensorBoard drops what was sent of later steps."""
    board = start.folder.tensorboard
    return TensorBoardTracker(board.name, logging_dir=board.parent, purge_step=start.step + 1 if start.step else None)


# By accelerate's names, which are those of the modules. Most go on with a run that they are given the id of; those of
# `OWN_IDS` give it an id themselves. Weights & Biases takes no steps below its last.
MAKERS: dict[str, Callable[[Start], Tracked]] = {
    "aim": lambda start: AimTracker(start.name, logging_dir=start.folder.path, run_hash=start.earlier),
    "clearml": _clearml,
    "comet_ml": lambda start: CometMLTracker(PROJECT, experiment_key=start.run_id[:32]),
    "dvclive": lambda start: DVCLiveTracker(dir=str(start.folder.dvclive), resume=start.step > 0),
    "mlflow": lambda start: MLflowTracker(PROJECT, run_id=start.earlier, run_name=start.name),
    "swanlab": lambda start: SwanLabTracker(
        PROJECT,
        experiment_name=start.name,
        id=start.run_id[:21],
        resume="allow",
        logdir=str(start.folder.swanlab),
    ),
    "tensorboard": _tensorboard,
    "trackio": lambda start: TrackioTracker(PROJECT, name=f"{start.name}-{start.run_id[:8]}", resume="allow"),
    "wandb": lambda start: WandBTracker(
        PROJECT, dir=str(start.folder.path), id=start.run_id[:16], name=start.name, resume="allow"
    ),
}
OWN_IDS: dict[str, Callable[[Any], str]] = {
    "aim": lambda run: run.hash,
    "clearml": lambda task: task.id,
    "mlflow": lambda run: run.info.run_id,
}


def require_trackers(names: tuple[str, ...]) -> None:
    """Raises ConfigError where a tracker is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            package = f"'morphmlp[{name}]'" if name in EXTRAS else name
            raise ConfigError(f"train.trackers is {names}, but {name} is not installed: pip install {package}")


@contextmanager
def started_trackers(config: RunConfig, folder: RunFolder, *, step: int, enabled: bool) -> Iterator[list[Tracked]]:
    """The trackers that the configuration names, finished when the run ends; none where they are not enabled.

    Args:
        step: after which the run goes on.

    Raises:
        ConfigError: a tracker cannot be started, such as for a missing login.
    """
    trackers: list[Tracked] = []
    try:
        for name in config.train.trackers if enabled else ():
            trackers.append(_started(name, folder, step, flat(config.to_dict())))
        yield trackers
    finally:
        for tracker in trackers:
            try:
                tracker.finish()
            except Exception as error:  # the libraries' own
                tell(f"the tracker {tracker.name} cannot be finished: {_shown(error)}")


def send(trackers: list[Tracked], figures: dict[str, Any], *, step: int) -> None:
    """Sends figures; a tracker that fails is left out from then on, as a run must not end for one."""
    for tracker in list(trackers):
        try:
            tracker.log(figures, step=step)
        except Exception as error:  # the libraries' own, such as for a network that is gone
            trackers.remove(tracker)
            tell(f"the tracker {tracker.name} gets no more figures from step {step} on: {_shown(error)}")


def _started(name: str, folder: RunFolder, step: int, values: dict[str, Any]) -> Tracked:
    ids = _known_ids(folder)
    try:
        tracker = MAKERS[name](Start(folder, step, ids.get(name)))
        tracker.start()
        tracker.store_init_configuration(values)
    except Exception as error:  # the libraries' own
        reason = f"the tracker {name} cannot be started: {_shown(error)}; mend that, or leave it out"
        raise ConfigError(reason) from None
    if name in OWN_IDS:
        replace_json(folder.tracker_ids, ids | {name: OWN_IDS[name](tracker.tracker)})
    return tracker


def _known_ids(folder: RunFolder) -> dict[str, str]:
    """The ids that trackers have given the run."""
    try:
        return json.loads(read_text(folder.tracker_ids))
    except (OSError, ValueError):
        return {}


def _shown(error: Exception) -> str:
    return one_line(error)[:300] or type(error).__name__


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names, as trackers take them; addresses without their passwords and queries.

    >>> flat({"train": {"lr": 0.1, "trackers": []}, "init": None})
    {'train.lr': 0.1, 'train.trackers': '[]', 'init': 'None'}
    """
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            result[prefix + name] = shown_address(value) if web_address(value) else value
        else:
            result[prefix + name] = value if isinstance(value, bool | int | float) else str(value)
    return result
