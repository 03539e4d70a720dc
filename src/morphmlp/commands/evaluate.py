"""`morphmlp evaluate`."""

import os
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from morphmlp.commands.parsing import add_protocol, make_parser, print_json, write_and_show
from morphmlp.errors import ConfigError
from morphmlp.files import require_own_folder
from morphmlp.output import tell
from morphmlp.tasks.registry import TASKS
from morphmlp.tasks.task import Task


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "evaluate",
        "CHECKPOINT DIR",
        "Evaluates on DIR's test or validation part. Where DIR has no parts: on what was held out when the checkpoint\n"
        "was trained on DIR, or on all of another folder.\n"
        "Shown are the accuracy of whole videos, their views joined, and that of single views.\n"
        "On several GPUs: torchrun --nproc-per-node 8 -m morphmlp.cli evaluate CHECKPOINT DIR",
        "morphmlp evaluate runs/mine/best my_videos --clips 4 --crops 1\n"
        "  morphmlp evaluate runs/ssv2/best frames --lists.val val.txt --lists.labels ssv2",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder")
    parser.add_argument("data", type=str, help="labelled data, in any layout that train takes")
    parser.add_argument("--split", type=str | None, help="train, val, test or all")
    parser.add_argument("--shuffle_frames", action="store_true", help="destroy the order of a video's frames")
    parser.add_argument("--out", type=str | None, help="folder for figures and tables; default CHECKPOINT-evaluation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_protocol(parser)
    for task in TASKS.values():
        parser.add_class_arguments(
            task.reading, task.reading_part, help="How the data is read; what is not given is as in training"
        )
    options = parser.parse_args(arguments)
    given = parser.parse_args(arguments, defaults=False).as_dict()

    from morphmlp.checkpoints.info import load_config

    out = Path(options.out or f"{os.path.realpath(options.checkpoint)}-evaluation")
    require_own_folder(out, {name for task in TASKS.values() for name in task.output_files}, what="an evaluation")
    task = TASKS[load_config(options.checkpoint)[0].task]
    _evaluate(task, options, _own_options(task, given, options.checkpoint), out)
    return 0


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
    return values


def _evaluate(task: Task, options: Namespace, own_options: dict[str, Any], out: Path) -> None:
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.distributed import is_main
    from morphmlp.inference.device import Execution

    with counting(task.unit, enabled=not options.json and is_main()) as progress:
        execution = Execution(options.device, options.precision, options.workers, progress)
        result = task.evaluate(
            options.checkpoint, options.data, split=options.split, options=own_options, execution=execution
        )
    if not is_main():
        return
    report = task.report()

    def show() -> None:
        if options.json:
            print_json(report.summary(result))
        else:
            print_all(report.evaluation_tables(result))

    write_and_show(lambda: report.write_evaluation(result, out), show)
    *names, last = task.output_files
    tell(f"{', '.join(names)} and {last} are in {out}")
