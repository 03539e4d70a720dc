"""`morphmlp evaluate`."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from morphmlp.commands.parsing import (
    Parser,
    add_cache,
    add_protocol,
    add_segments,
    make_parser,
    precision_of,
    print_json,
    use_limits,
    write_and_show,
)
from morphmlp.errors import ConfigError
from morphmlp.files import require_own_folder
from morphmlp.output import tell
from morphmlp.tasks.classification.task import REVIEW_OPTIONS, TIMELINE_FILES, TIMELINE_OPTIONS, timeline_report
from morphmlp.tasks.registry import TASKS, readings
from morphmlp.tasks.task import Task

_FILES = {name for task in TASKS.values() for name in task.output_files}  # of any evaluation, but for a timeline


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "evaluate",
        "CHECKPOINT DIR",
        "Evaluates on DIR's test or validation part. Where DIR has no parts: on what was held out when the checkpoint\n"
        "was trained on DIR, or on all of another folder.\n"
        "Shown are the accuracy of whole videos, their views joined, and that of single views.\n"
        "With --timeline: what happens when in the whole recordings whose stretches DIR names.\n"
        "On several GPUs: torchrun --nproc-per-node 8 -m morphmlp.cli evaluate CHECKPOINT DIR",
        "morphmlp evaluate runs/mine my_videos --clips 4 --crops 1\n"
        "  morphmlp evaluate runs/ssv2/best frames --lists.val val.txt --lists.labels ssv2\n"
        "  morphmlp evaluate runs/mine recordings --timeline --length 2 --step 0.5",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder, or hf://owner/name of the hub")
    parser.add_argument("data", type=str, help="labelled data, in any layout that train takes")
    parser.add_argument("--split", type=str | None, help="train, val, test or all")
    parser.add_argument("--shuffle_frames", action="store_true", help="destroy the order of a video's frames")
    parser.add_argument(
        "--out", type=str | None, help="folder for the results; default CHECKPOINT-evaluation, or -timeline"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_protocol(parser)
    add_cache(parser)
    _add_review(parser)
    _add_timeline(parser)
    for part, reading in readings().items():
        parser.add_class_arguments(reading, part, help="How the data is read; what is not given is as in training")
    options = parser.parse_args(arguments)
    given = parser.parse_args(arguments, defaults=False).as_dict()

    from morphmlp.checkpoints.hub import folder_name
    from morphmlp.checkpoints.info import load_config

    use_limits(options)
    task = TASKS[load_config(options.checkpoint)[0].task]
    own_options = _own_options(task, given, options.checkpoint)
    kind, article, files = ("timeline", "a", set(TIMELINE_FILES)) if options.timeline else ("evaluation", "an", _FILES)
    out = Path(options.out or f"{folder_name(options.checkpoint)}-{kind}")
    require_own_folder(out, files, what=f"{article} {kind}")
    _evaluate(task, options, own_options, out)
    return 0


def _add_review(parser: Parser) -> None:
    group = parser.add_argument_group("the page, index.html in --out")
    group.add_argument(
        "--baseline",
        type=bool | None,
        help="compare with a classifier of shrunk pixels, and look for copies: decodes up to 3,000 training files; "
        "default: true, but for data at an address",
    )
    group.add_argument(
        "--group_pattern",
        type=str | None,
        help="regular expression on the file name: files of one group, such as a speaker, count as one for the "
        "intervals; default: as in training",
    )
    group.add_argument(
        "--out_of_fold",
        type=str | None,
        metavar="FOLDS",
        help="the folder of `train --folds`: look for wrong labels among its predictions",
    )


def _add_timeline(parser: Parser) -> None:
    group = add_segments(parser, "whole recordings")
    group.add_argument("--timeline", action="store_true", help="find what happens when in the recordings of stretches")


def _own_options(task: Task, given: dict[str, Any], checkpoint: str) -> dict[str, Any]:
    """Of the options that not every task takes, those that were given.

    Raises:
        ConfigError: the checkpoint's task does not take one of them.
    """
    own = {name for task in TASKS.values() for name in task.options}
    values = {name: value for name, value in given.items() if name in own and value not in (None, {})}
    if refused := [f"--{name}" for name in values if name not in task.options]:
        raise ConfigError(
            f"{checkpoint} is a {task.model_noun}, which does not take {', '.join(refused)}: leave it out"
        )
    _require_fitting(values)
    return values


def _require_fitting(values: dict[str, Any]) -> None:
    """Raises ConfigError where an option has no meaning with, or without, `--timeline`."""
    if values.get("timeline"):
        if meaningless := [name for name in ("shuffle_frames", *REVIEW_OPTIONS) if name in values]:
            raise ConfigError(f"--{meaningless[0]} has no meaning with --timeline: leave one of them out")
    elif alone := [f"--{name}" for name in TIMELINE_OPTIONS if name in values]:
        raise ConfigError(f"{', '.join(alone)}: of windows over whole recordings; give --timeline too, or leave it out")


def _evaluate(task: Task, options: Namespace, own_options: dict[str, Any], out: Path) -> None:
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.distributed import is_main
    from morphmlp.inference.device import Execution

    with counting(task.unit, enabled=not options.json and is_main()) as progress:
        execution = Execution(options.device, precision_of(options), options.workers, progress, options.engine)
        asked = {"split": options.split, "options": own_options, "execution": execution}
        result = task.evaluate(options.checkpoint, options.data, **asked)
        if not is_main():
            return
        report = timeline_report() if options.timeline else task.report()
        try:
            result = task.review(result, options.checkpoint, options.data, **asked)
        except BaseException:  # Ctrl-C, too: what was evaluated is not lost
            report.write_evaluation(result, out)
            raise

    def show() -> None:
        if options.json:
            print_json(report.summary(result))
        else:
            print_all(report.evaluation_tables(result))

    write_and_show(lambda: report.write_evaluation(result, out), show)
    files = TIMELINE_FILES if options.timeline else task.output_files
    *names, last = [name for name in files if (out / name).exists()]
    tell(f"{', '.join(names)} and {last} are in {out}")
