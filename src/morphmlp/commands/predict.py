"""`morphmlp predict`."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt

from morphmlp.commands.parsing import (
    USER_ERROR,
    Parser,
    add_cache,
    add_protocol,
    make_parser,
    print_json,
    protocol,
    use_limits,
    write_and_show,
)
from morphmlp.errors import ConfigError, DataError
from morphmlp.files import DISK_FULL, require_apart
from morphmlp.output import tell, until_closed
from morphmlp.signals import Terminated

if TYPE_CHECKING:
    from morphmlp.data.media.sources import MediaKind
    from morphmlp.tasks.classification.bulk.run import Compute, Predicted, Share
    from morphmlp.tasks.classification.predictor import Predictor

NOWHERE = "nowhere"  # the value of --ray where it is not given
OF_SHELVES = {"ordered": False, "fresh": False, "share": None, "ray": NOWHERE}  # options beside --out, unset


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = _read_options(arguments)

    from morphmlp.tasks.classification import predictor as prediction

    use_limits(options)
    predictor = prediction.Predictor(options.checkpoint, **protocol(options), threshold=options.threshold)
    return _write_table(options, predictor) if options.out else _show(options, predictor)


def _read_options(arguments: list[str]) -> Namespace:
    listed = any(argument.partition("=")[0] == "--list" for argument in arguments)
    options = _parser(paths="*" if listed else "+").parse_args(arguments)
    if options.out is None:
        _refuse_without_out(options)
    return options


def _refuse_without_out(options: Namespace) -> None:
    from morphmlp.distributed import world_size

    for name, unset in OF_SHELVES.items():
        if options[name] != unset:
            raise ConfigError(f"--{name} is for results that are written as they come; give --out too")
    if world_size() > 1:
        raise ConfigError("several processes share the files only where they write results; give --out too")


def _parser(*, paths: str) -> Parser:
    parser = make_parser(
        "predict",
        "CHECKPOINT PATH...",
        "Predicts files, folders and globs: videos or images, as the checkpoint takes them.\n"
        "With --out it is for very many: rows are written as they come, and the same command goes on where a run was\n"
        "stopped. On several GPUs: torchrun --nproc-per-node 8 -m morphmlp.cli predict CHECKPOINT PATH... --out FILE",
        "morphmlp predict runs/mine clip.mp4 more_clips --top 3 --csv predictions.csv\n"
        "  morphmlp predict runs/mine clip.mp4 --threshold 0.7\n"
        "  morphmlp predict runs/mine --list files.txt --out results.csv",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder, or hf://owner/name of the hub")
    parser.add_argument("paths", type=str, nargs=paths, help="files, folders or globs")
    parser.add_argument("--list", type=str | None, help="file with a path in each line; -: standard input")
    parser.add_argument("--top", type=PositiveInt, default=5, help="classes to show")
    parser.add_argument(
        "--threshold",
        type=ClosedUnitInterval,
        help="answer 'none of these' where the best class is less probable, 0 to 1; default: as `morphmlp calibrate` "
        "has set it; 0 always answers; of a multi-label classifier: for every class in place of its own thresholds",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=str | None, help="write a csv file too")
    add_protocol(parser)
    add_cache(parser)
    _add_shelf(parser)
    return parser


def _add_shelf(parser: Parser) -> None:
    group = parser.add_argument_group("very many files")
    group.add_argument("--out", type=str | None, help="write rows as they come: x.csv, x.jsonl or x.parquet")
    group.add_argument("--ordered", action="store_true", help="rows in the order of the files, also while they come")
    group.add_argument("--fresh", action="store_true", help="forget what is in --out")
    group.add_argument("--share", type=str | None, metavar="K/N", help="only the K-th of N equal shares, K from 1")
    group.add_argument(
        "--ray",
        type=str,
        nargs="?",
        const="auto",
        default=NOWHERE,
        metavar="ADDRESS",
        help="on a Ray cluster, host:port of its head; without ADDRESS, the cluster of this machine, or a new one",
    )
    group.add_argument("--ray_cpus", type=PositiveFloat, default=1.0, help="CPU cores of each copy of the model")
    group.add_argument("--ray_gpus", type=NonNegativeFloat, default=0.0, help="GPUs of each copy of the model")


def _names(options: Namespace, kind: "MediaKind") -> Iterator[str]:
    from morphmlp.tasks.classification.bulk.shelf import lines_of, names_of

    return names_of(chain(options.paths, lines_of(options.list) if options.list else ()), kind)


def _show(options: Namespace, predictor: "Predictor") -> int:
    """Predicts some files and shows what they are."""
    from morphmlp.data.media.remote import remote_file
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.errors import MediaError
    from morphmlp.tasks.classification.report import as_row, prediction_table, write_csv

    names = dict.fromkeys(_names(options, predictor.kind))
    require_apart([("--csv", options.csv)] if options.csv else [], names)
    paths = [remote_file(name) or Path(name) for name in names]
    results = []
    with counting(f"{predictor.kind}s", enabled=not options.json) as progress:
        for result in predictor.many(paths, workers=options.workers):
            results.append(result)
            progress(len(results), len(paths))
    rows = [as_row(result, options.top) for result in results]
    failures = [result for result in results if isinstance(result, MediaError)]

    def write() -> None:
        if options.csv and len(failures) < len(results):  # a source that is not there costs no earlier result
            write_csv(rows, options.csv)

    def show() -> None:
        if options.json:
            print_json(rows)
            return
        for failure in failures:
            tell(f"error: {failure}")
        for result in results:
            if not isinstance(result, MediaError) and result.note:
                tell(f"incomplete: {result.path}: {result.note}")
        good = [result for result in results if not isinstance(result, MediaError)]
        if good:
            print_all([prediction_table([(str(r.path), r.answers, r.shown(options.top)) for r in good])])

    write_and_show(write, show)
    return USER_ERROR if failures else 0


def _write_table(options: Namespace, predictor: "Predictor") -> int:
    """Predicts very many files, row by row into a file."""
    from morphmlp.checkpoints.hub import local_checkpoint
    from morphmlp.display.progress_bar import counting
    from morphmlp.distributed import is_main
    from morphmlp.tasks.classification.bulk.computing import batch_size, what_rows_depend_on
    from morphmlp.tasks.classification.bulk.outputs import row_file
    from morphmlp.tasks.classification.bulk.run import predict_shelf

    if options.csv:
        raise ConfigError(f"--csv {options.csv} is for a few files; --out {options.out} is written as rows come")
    file = row_file(options.out)
    require_apart([("--out", options.out)], [options.list] if options.list else [])
    checkpoint = local_checkpoint(options.checkpoint)
    settings = what_rows_depend_on(predictor, checkpoint, top=options.top)
    try:
        with counting(f"{predictor.kind}s", enabled=not options.json and is_main(), lines=True) as progress:
            predicted = predict_shelf(
                lambda: _names(options, predictor.kind),
                file,
                compute=_computing(options, predictor, checkpoint),
                batch_size=batch_size(predictor),
                settings=settings,
                share=_share(options.share),
                ordered=options.ordered,
                fresh=options.fresh,
                progress=progress,
            )
    except (KeyboardInterrupt, Terminated):
        tell(f"what was predicted so far is in {file.parts}; the same command goes on from there")
        raise
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise DataError(
            f"{error.filename}: {error.strerror}; what is known is kept: make room, and the same command goes on"
        ) from None
    if is_main():
        _report(predicted, options, noun=predictor.kind)
    return USER_ERROR if predicted.unreadable else 0


def _share(text: str | None) -> "Share":
    """The share of "3/8"."""
    from morphmlp.tasks.classification.bulk.run import Share

    if text is None:
        return Share()
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"--share {text}: give K/N with K from 1 to N, such as 3/8 for the third of eight shares")
    return Share(int(match[1]), int(match[2]))


def _computing(options: Namespace, predictor: "Predictor", checkpoint: Path) -> "Compute":
    """What predicts the batches: this process, or a Ray cluster."""
    if options.ray == NOWHERE:
        from morphmlp.tasks.classification.bulk.computing import predict_batches

        return lambda shelf, batches: predict_batches(
            predictor, shelf, batches, top=options.top, workers=options.workers
        )
    from morphmlp.distributed import world_size
    from morphmlp.tasks.classification.bulk.on_ray import RayCluster

    if world_size() > 1:
        raise ConfigError("the machines of --ray share the work already; leave out torchrun")
    cluster = RayCluster(options.ray, num_cpus=options.ray_cpus, num_gpus=options.ray_gpus)
    how = {**protocol(options), "threshold": options.threshold}
    return lambda shelf, batches: cluster.predict_batches(
        shelf, batches, checkpoint=checkpoint, how=how, top=options.top
    )


def _report(predicted: "Predicted", options: Namespace, *, noun: str) -> None:
    """Says what was written."""
    for error in predicted.errors:
        tell(f"error: {error}")
    if (more := predicted.unreadable - len(predicted.errors)) > 0:
        tell(f"and {more:,} more that cannot be read: all are in {predicted.out}")
    with until_closed():
        if options.json:
            print_json(predicted.as_values())
            return
        print(_ending(predicted, noun))


def _ending(predicted: "Predicted", noun: str) -> str:
    from morphmlp.display.progress_bar import shown_rate
    from morphmlp.formatting import encodable

    good, now = predicted.files - predicted.unreadable, predicted.files - predicted.known_before
    before = f", {predicted.known_before:,} of them by earlier runs" if predicted.known_before else ""
    damaged = f"; {predicted.incomplete:,} are incomplete" if predicted.incomplete else ""
    rate = f" ({shown_rate(now / predicted.seconds)})" if now and predicted.seconds else ""
    return encodable(f"{good:,} of {predicted.files:,} {noun}s predicted{before}{damaged}{rate}: {predicted.out}")
