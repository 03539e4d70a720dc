"""`morphmlp predict`."""

from jsonargparse.typing import ClosedUnitInterval, PositiveInt

from morphmlp.commands.parsing import USER_ERROR, add_protocol, make_parser, print_json, protocol, write_and_show
from morphmlp.files import require_apart
from morphmlp.output import tell


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "predict",
        "CHECKPOINT PATH...",
        "Predicts files, folders and globs: videos or images, as the checkpoint takes them.",
        "morphmlp predict runs/mine/best clip.mp4 more_clips --top 3 --csv predictions.csv\n"
        "  morphmlp predict runs/mine/best clip.mp4 --threshold 0.7",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder")
    parser.add_argument("paths", type=str, nargs="+", help="files, folders or globs")
    parser.add_argument("--top", type=PositiveInt, default=5, help="classes to show")
    parser.add_argument(
        "--threshold",
        type=ClosedUnitInterval,
        help="answer 'none of these' where the best class is less probable, 0 to 1; default: as `morphmlp calibrate` "
        "has set it; 0 always answers",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=str | None, help="write a csv file too")
    add_protocol(parser)
    options = parser.parse_args(arguments)

    from morphmlp.data.media.limits import set_most_damage
    from morphmlp.data.sets.find import expand_paths
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.errors import MediaError
    from morphmlp.tasks.classification import predictor as prediction
    from morphmlp.tasks.classification.report import as_row, prediction_table, write_csv

    set_most_damage(options.max_damage)
    predictor = prediction.Predictor(options.checkpoint, **protocol(options), threshold=options.threshold)
    paths = expand_paths(options.paths, predictor.kind)
    require_apart([("--csv", options.csv)] if options.csv else [], paths)
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
            print_all([prediction_table([(str(r.path), r.answer, r.top(options.top)) for r in good])])

    write_and_show(write, show)
    return USER_ERROR if failures else 0
