"""`morphmlp check-data`."""

from typing import TYPE_CHECKING

from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt

from morphmlp.commands.parsing import USER_ERROR, add_cache, add_max_damage, make_parser, print_json, use_limits
from morphmlp.config import SplitConfig
from morphmlp.errors import ConfigError
from morphmlp.output import tell
from morphmlp.signals import Terminated
from morphmlp.tasks.registry import readings

if TYPE_CHECKING:
    from morphmlp.analysis.data_check.report import CheckReport


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = _read_options(arguments)

    from morphmlp.analysis.data_check.check import check_data, results_folder
    from morphmlp.analysis.data_check.tables import check_tables
    from morphmlp.display.progress_bar import counting
    from morphmlp.display.tables import print_all
    from morphmlp.tasks.classification.copies import COPIES_ABOVE

    use_limits(options)
    plain = options.as_dict()
    folder = results_folder(options.data, options.out)
    try:
        with counting("files", enabled=not options.json) as progress:
            report = check_data(
                options.data,
                folder,
                frames=options.frames,
                all_frames=options.all_frames,
                workers=options.workers,
                timeout_s=options.timeout,
                fresh=options.fresh,
                copies=options.copies,
                copies_above=COPIES_ABOVE if options.copies_above is None else options.copies_above,
                split=SplitConfig.from_dict(plain["split"]),
                progress=progress,
                **{part: reading.from_dict(plain[part]) for part, reading in readings().items()},
            )
    except (KeyboardInterrupt, Terminated):
        tell(f"what was found so far is in {folder}; the same command goes on from there")
        raise
    if options.json:
        print_json(report.to_dict())
    else:
        print_all(check_tables(report))
    _say_where(report, str(folder))
    return 0 if report.sound else USER_ERROR


def _read_options(arguments: list[str]) -> Namespace:
    parser = make_parser(
        "check-data",
        "DIR",
        "Opens every file of DIR and decodes it at sampled frames. DIR is anything that train takes, or a folder of\n"
        "loose files. Writes report.json, files.csv (a row for each file) and lists of the readable files, on which\n"
        "train can be started. It can be stopped: the same command goes on. Exit status 1 if files are broken, or if\n"
        "train does not take the set; it takes no loose files.",
        "morphmlp check-data my_videos --frames 16 --workers 8\n  morphmlp check-data my_videos --copies runs/mine",
    )
    parser.add_argument("data", type=str, help="folder, or list of `path,label` rows")
    parser.add_argument("--out", type=str | None, help="folder for the results; default DIR-check")
    parser.add_argument("--frames", type=PositiveInt, default=16, help="of a clip; shorter videos are named")
    parser.add_argument("--all_frames", action="store_true", help="decode every frame, not up to the last sampled one")
    parser.add_argument("--workers", type=PositiveInt, help="processes that decode; default: one a core")
    parser.add_argument("--timeout", type=PositiveFloat, default=60.0, help="seconds after which a file is given up")
    add_max_damage(parser)
    add_cache(parser)
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier check found out")
    parser.add_argument(
        "--copies", type=str | None, help="checkpoint of a classifier: name near copies in other splits or classes"
    )
    parser.add_argument("--copies_above", type=ClosedUnitInterval, help="how alike those are, 0 to 1; default: 0.975")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_class_arguments(SplitConfig, "split")
    for part, reading in readings().items():
        parser.add_class_arguments(reading, part)
    options = parser.parse_args(arguments)
    if options.copies_above is not None and options.copies is None:
        raise ConfigError(f"--copies_above {options.copies_above:g} is that of --copies: give --copies CHECKPOINT too")
    return options


def _say_where(report: "CheckReport", folder: str) -> None:
    """Where the results are, on standard error."""
    tell(f"report.json and files.csv are in {folder}")
    if report.clean_note:
        tell(report.clean_note)
    elif report.clean:
        names = " and ".join(path.name for path in report.clean)
        rest = f", without the {len(report.broken):,} broken" if report.broken else ""
        several = " --lists.multi_label true" if report.multi_label else ""
        tell(f"lists of the readable files{rest}: {names}; use them with: morphmlp train {folder}{several}")
