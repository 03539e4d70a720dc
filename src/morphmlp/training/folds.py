"""`train --folds K`: every sample is held out once, in K runs whose folders are `fold_1`, `fold_2`, ... of one folder.

The fold is part of a run's configuration (`split.folds` and `split.fold`), so that each of them is a run like any
other: it can be resumed and evaluated by itself, and trained on another machine.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from morphmlp.config import RunConfig
from morphmlp.distributed import world_size
from morphmlp.errors import CheckpointError, ConfigError, DataError, UserError
from morphmlp.files import read_text, replace_json
from morphmlp.inference.device import Execution
from morphmlp.output import tell
from morphmlp.signals import Terminated
from morphmlp.tasks.registry import TASKS
from morphmlp.training.run import Interrupted, TrainingSets, names_of, read_sets, refuse_inside, resume, train
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.stopping import resume_command

FOLDS_FILE, RESULT_FILE = "folds.json", "summary.json"
FOLD = re.compile("fold_[0-9]+")
OUTPUTS = (RESULT_FILE, "predictions.csv", "confusion.png", "comparisons.json")


@dataclass(frozen=True)
class FoldsResult:
    """How the folds ended.

    Attributes:
        folder: of the runs, of `summary.json`, and of `predictions.csv` with the predictions of all.
        config: of the runs, but for the fold of each.
        checkpoint: which one of each run was evaluated: "best", or "last" where the best epoch was chosen on the fold
            itself, whose figure would be too good.
        figures: `mean` and `spread` (standard deviation) of the metric over the folds, their `scores`, and `all`.
        tables: the same for the terminal.
        joined: the predictions of all folds, as the task has them.
    """

    folder: Path
    config: RunConfig
    checkpoint: str
    figures: dict[str, Any]
    tables: list[Any]
    joined: Any


def train_folds(config: RunConfig, out: str | Path, *, overwrite: bool = False) -> FoldsResult:
    """Trains and evaluates `config.split.folds` runs in a new folder.

    Raises:
        UserError: data, configuration or folder cannot be used, or a run cannot go on.
        Interrupted: after Ctrl-C or SIGTERM; the finished folds and the state of the current one are kept.
    """
    out = Path(out)
    _require_task(config)
    _require_unseen(config)
    refuse_inside(config.data, out)
    with RunFolder(out).locked():
        _clear(out, overwrite=overwrite)
        replace_json(out / FOLDS_FILE, {"config": config.to_dict()})
        try:
            with _told_to_go_on(out):
                return _run_all(config, out)
        except (UserError, OSError):
            if not list(out.glob("fold_*/config.json")):  # nothing that could be resumed
                (out / FOLDS_FILE).unlink()
            raise


def holds_folds(out: str | Path) -> bool:
    """Whether a folder is one of `train_folds`."""
    return (Path(out) / FOLDS_FILE).is_file()


def resume_folds(out: str | Path) -> FoldsResult:
    """Goes on with stopped folds; those that are done are not done again.

    Raises:
        CheckpointError: the configuration is damaged.
    """
    path = Path(out) / FOLDS_FILE
    try:
        config = RunConfig.from_dict(json.loads(read_text(path))["config"])
    except (ValueError, KeyError, TypeError) as error:  # ConfigError is a ValueError
        raise CheckpointError(f"{path} is damaged ({error}); start anew with --overwrite") from None
    _require_task(config)
    with RunFolder(out).locked(), _told_to_go_on(Path(out)):
        return _run_all(config, Path(out))


@contextmanager
def _told_to_go_on(out: Path) -> Iterator[None]:
    """Says at a signal that comes between two trainings how to go on; within one, the run says it."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        tell(f"folds that are done are kept; go on with: {resume_command(out)}")
        raise


def _require_task(config: RunConfig) -> None:
    """Raises ConfigError where the task has no folds, or there are several processes, whose group ends with a run."""
    TASKS[config.model.task].out_of_fold()
    if world_size() > 1:
        raise ConfigError(
            "--folds runs in one process; under torchrun train each fold by itself, with --split.folds K "
            "--split.fold I --out OUT_I"
        )


def _require_unseen(config: RunConfig) -> None:
    """Raises ConfigError where the samples that a fold holds out would decide when its training ends."""
    if config.train.patience is not None and not config.train.select_fraction and not config.train.probe:
        raise ConfigError(
            "--folds and --patience: each fold would end by the samples that it is measured on; give --select_fraction "
            "0.1 too, which holds others out to end by, or leave --patience out"
        )


def _clear(out: Path, *, overwrite: bool) -> None:
    """Makes room for new folds; removes those that are there only where that is asked for."""
    if holds_folds(out):
        if not overwrite:
            raise ConfigError(
                f"{out} holds folds already: --resume goes on with them, --overwrite starts anew, "
                "or choose another --out"
            )
        for folder in out.glob("fold_*"):
            if folder.is_dir() and FOLD.fullmatch(folder.name):  # and nothing of the user's, such as fold_notes
                shutil.rmtree(folder)
        for name in OUTPUTS:
            (out / name).unlink(missing_ok=True)
    elif {path.name for path in out.iterdir()} - {".lock"}:
        raise ConfigError(f"{out} is not empty and holds no folds; choose another --out")


def _run_all(config: RunConfig, out: Path) -> FoldsResult:
    assert config.split.folds is not None
    report = TASKS[config.model.task].out_of_fold()
    # The best epoch counts where it was chosen on a part of the training samples, and not on the fold itself.
    checkpoint = "best" if config.train.report == "best" and config.train.select_fraction else "last"
    folders = [out / f"fold_{number}" for number in range(1, config.split.folds + 1)]
    for number, folder in enumerate(folders, start=1):
        if not report.is_written(folder):
            of_fold = replace(config, split=replace(config.split, fold=number))
            tell(f"fold {number} of {len(folders)}, in {folder}")
            RunFolder(out).comparisons.unlink(missing_ok=True)  # of other predictions
            report.write_fold(_evaluation(of_fold, folder, checkpoint, out), folder)
    joined = report.join_folds(folders, out, unit=f"{'video' if config.model.temporal else 'image'}s")
    figures = report.figures(joined)
    replace_json(out / RESULT_FILE, figures)
    return FoldsResult(out, config, checkpoint, figures, report.fold_tables(joined), joined)


def _evaluation(config: RunConfig, folder: Path, checkpoint: str, out: Path) -> Any:
    """Trains a fold, from where it is, and evaluates it on what it held out."""
    sets = _same_sets(config, out)
    try:
        if RunFolder(folder).config.is_file():
            resume(folder)
        else:
            train(config, folder, sets=sets)
    except Interrupted as stop:
        raise Interrupted(stop.signal_number, out) from None
    train_config = RunFolder(folder).read_config().train  # whose precision is never "auto"
    execution = Execution(train_config.device, train_config.precision, train_config.workers)
    task = TASKS[config.model.task]
    evaluation = task.evaluate(folder / checkpoint, config.data, split="val", options={}, execution=execution)
    _same_sets(config, out)  # the evaluation has read them again
    return evaluation


def _same_sets(config: RunConfig, out: Path) -> TrainingSets:
    """The parts of a fold.

    Raises:
        DataError: the samples are not those of the first fold, which this keeps: others are divided otherwise, so that
            some would be held out twice, by models that have seen them, and some never.
    """
    sets = read_sets(config)
    found, kept = names_of(config, sets), json.loads(read_text(out / FOLDS_FILE))
    if kept.get("samples", found) != found:
        raise DataError(
            f"what is in {config.data} has changed since the folds in {out} were begun, and would be divided "
            "otherwise; restore it and go on with --resume, or start anew with --overwrite"
        )
    if "samples" not in kept:
        replace_json(out / FOLDS_FILE, kept | {"samples": found})
    return sets
