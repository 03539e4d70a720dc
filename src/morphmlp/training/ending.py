"""The end of a run: what the model is worth beside simple means, on the same validation part."""

import json
from collections.abc import Callable
from dataclasses import replace

from morphmlp.config import RunConfig
from morphmlp.data.media.remote import remote_file
from morphmlp.files import read_text, replace_json
from morphmlp.formatting import one_line
from morphmlp.inference.device import show_nothing
from morphmlp.output import tell
from morphmlp.tasks.registry import TASKS
from morphmlp.tasks.task import Compared
from morphmlp.training.folds import FoldsResult
from morphmlp.training.run import TrainResult
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.sweep import TUNED


def compare_finished(
    result: TrainResult, *, asked: bool | None = None, progress: Callable[[int, int], None] = show_nothing
) -> Compared | None:
    """Compares a finished run with simple means, and writes that into its folder as `comparisons.json`.

    Nothing that goes wrong here is an error: the run is finished and kept. Its reason is told.

    Args:
        asked: False skips it; None skips it for data at an address, which would be fetched once more.
        progress: called with the files decoded and all files.

    Returns:
        What was found before, where the run was over already. None where it was skipped, the task has nothing simple to
        be compared with, or it failed.
    """
    folder = RunFolder(result.best.parent)
    if result.evaluation is None:
        found = None if asked is False else _found_before(folder)
        if asked and found is None:
            tell(f"the run was over already; `morphmlp evaluate {folder.path / result.report} DIR` compares it")
        return found
    folder.comparisons.unlink(missing_ok=True)  # of an earlier end of the run
    return _kept(folder, asked, folder.read_config, lambda config: _compare(config, result, progress))


def compare_folds(
    result: FoldsResult, *, asked: bool | None = None, progress: Callable[[int, int], None] = show_nothing
) -> Compared | None:
    """`compare_finished` of all folds: for each of them, the simple means learn from the samples of the others."""
    folder = RunFolder(result.folder)
    if asked is not False and (found := _found_before(folder)):  # a fold that is trained anew removes it
        return found

    def compare(config: RunConfig) -> Compared:
        out_of_fold = TASKS[config.model.task].out_of_fold()
        return out_of_fold.compare(result.joined, split=config.split, workers=config.train.workers, progress=progress)

    return _kept(folder, asked, lambda: result.config, compare)


def _kept(
    folder: RunFolder,
    asked: bool | None,
    read_config: Callable[[], RunConfig],
    compare: Callable[[RunConfig], Compared | None],
) -> Compared | None:
    """What `compare` finds, which is written; None where it is skipped, finds nothing, or fails."""
    if asked is False:
        return None
    try:
        config = read_config()
        if asked is None and remote_file(config.data):
            return None
        found = compare(config)
        if found is not None:
            if found.values["not_beaten"]:
                found = replace(found, lines=[*found.lines, advice(config)])
            replace_json(folder.comparisons, found.values | {"lines": found.lines})
        elif asked:
            tell(
                "--baseline: there are no simple means to compare this model with; they answer with one class a sample"
            )
        return found
    except Exception as error:  # whatever it is, hours of training are not to end in a traceback
        tell(f"the run is complete, but was not compared with simple means: {type(error).__name__}: {one_line(error)}")
        return None


def _found_before(folder: RunFolder) -> Compared | None:
    """What `_kept` has written; None where that is missing, damaged, or of a version that kept no lines."""
    try:
        values = json.loads(read_text(folder.comparisons))
        return Compared([str(line) for line in values.pop("lines")], values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def advice(config: RunConfig) -> str:
    """What to try where a run has not beaten the simple means: what it has not done, and can be asked for beside it."""
    tried = ["more clips of more people and places" if config.model.temporal else "more images"]
    if config.init is None:
        tried.append("--init with weights")
    if config.train.probe:
        tried.append("a training of more than the head, without --probe")
    else:
        is_tuned = any(line.startswith(TUNED) for line in config.chosen)
        tried += [] if is_tuned or config.split.folds is not None else ["--tune MINUTES"]
        tried.append("more --epochs")
    return f"What to try: {', '.join(tried)}; docs/few_clips.md has the order."


def _compare(config: RunConfig, result: TrainResult, progress: Callable[[int, int], None]) -> Compared | None:
    return TASKS[config.model.task].compare(
        result.evaluation, result.train_set, split=config.split, workers=config.train.workers, progress=progress
    )
