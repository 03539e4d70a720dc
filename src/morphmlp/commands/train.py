"""`morphmlp train`."""

import signal
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import SUPPRESS, Namespace
from jsonargparse.typing import PositiveFloat, restricted_number_type

from morphmlp.commands.option_files import files_first, refuse_second_data, without_files
from morphmlp.commands.parsing import INTERRUPTED, Parser, add_cache, make_parser, print_json
from morphmlp.config import InputConfig, RunConfig, SplitConfig, TrainConfig
from morphmlp.errors import ConfigError
from morphmlp.formatting import encodable
from morphmlp.output import tell
from morphmlp.tasks.registry import figure_names, readings, task_of_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from morphmlp.tasks.task import Compared, TrainingSet
    from morphmlp.training.folds import FoldsResult
    from morphmlp.training.halving import Space
    from morphmlp.training.run import TrainResult

FIRST_SCREEN = ("data", "out", "recipe", "model", "init", "resume")
FIRST_SCREEN += ("probe", "folds", "tune", "epochs", "batch_size", "lr", "precision", "workers")
NumFolds = restricted_number_type("NumFolds", int, [(">=", 2), ("<=", 1_000)])
OF_STEPS = ("epochs", "lr", "layer_decay", "ema", "balanced", "class_weights", "focal", "select_fraction", "patience")


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = _parser()
    arguments = files_first(parser, arguments)
    options = parser.parse_args(arguments)
    given = parser.parse_args(arguments, defaults=False)
    refuse_second_data(parser, arguments)
    if not options.resume:
        _refuse_at_odds(options, parser.parse_args(without_files(arguments)[1], defaults=False))

    from morphmlp.data.media.limits import set_cache_size
    from morphmlp.distributed import is_main
    from morphmlp.training import folds
    from morphmlp.training import run as training

    set_cache_size(options.cache_gb)
    try:
        if options.resume:
            _refuse_beside_resume(given)
            result = _resumed(options)
        else:
            result = _start_training(options, given)
    except training.Interrupted as stop:
        if is_main():
            tell(stop)
        return INTERRUPTED if stop.signal_number == signal.SIGINT else 0
    if not is_main():
        return 0
    if isinstance(result, folds.FoldsResult):
        _show_folds(result, options)
        return 0
    _show(result, options)
    return 0


def _show(result: "TrainResult", options: Namespace) -> None:
    from morphmlp.training.ending import compare_finished

    if not options.json:
        print(encodable(_ending(result)), flush=True)
    _show_comparisons(partial(compare_finished, result), result.to_dict(), result.unit, options)


def _show_comparisons(
    compare: "Callable[..., Compared | None]", values: dict[str, Any], unit: str, options: Namespace
) -> None:
    """What is finished is shown, whatever becomes of the comparison: Ctrl-C then only ends that."""
    from morphmlp.display.progress_bar import counting

    compared = None
    try:
        with counting(f"{unit} of simple means", enabled=not options.json) as progress:
            compared = compare(asked=options.baseline, progress=progress)
    finally:
        if options.json:
            print_json(values | {"comparisons": None if compared is None else compared.values})
    if compared is not None and not options.json:
        print(encodable("\n".join(compared.lines)))


def _resumed(options: Namespace) -> "TrainResult | FoldsResult":
    """Goes on with what the folder holds: folds, a sweep, or a run."""
    from morphmlp.training import folds, tune
    from morphmlp.training import run as training

    if folds.holds_folds(options.out):
        return folds.resume_folds(options.out)
    if tune.holds_tuning(options.out):
        return tune.resume_tuning(options.out, show=_show_trials(options))
    return training.resume(options.out)


def _show_trials(options: Namespace) -> "Callable[[list[Any]], None]":
    """Prints tables, unless standard output is for JSON."""
    from morphmlp.display.tables import print_all

    return (lambda tables: None) if options.json else print_all


def _show_folds(result: "FoldsResult", options: Namespace) -> None:
    from morphmlp.display.tables import print_all
    from morphmlp.training.ending import compare_folds

    figures = result.figures
    if not options.json:
        print_all(result.tables)
        print(
            f"{figure_names()[figures['metric']]} {figures['mean']:.3f}, standard deviation {figures['spread']:.3f} "
            f"over {len(figures['scores'])} folds, by the {result.checkpoint} checkpoint of each; the predictions of "
            f"all are in {encodable(str(result.folder / 'predictions.csv'))}",
            flush=True,
        )
    values = {"folder": str(result.folder), "checkpoint": result.checkpoint, **figures}
    _show_comparisons(partial(compare_folds, result), values, result.joined.evaluation.unit, options)


def _ending(result: "TrainResult") -> str:
    """The figures of the checkpoint that the run is for, and its folder."""
    from morphmlp.formatting import rate

    metric, on = figure_names()[result.metric], f"on {result.num_val} validation {result.unit}"
    checkpoint = result.last if result.report == "last" else result.best
    if not result.last_epoch:
        return f"{metric} {result.best_score:.3f} {on}, by a linear probe\ncheckpoint: {checkpoint}"
    figures = f"best {metric} {result.best_score:.3f} {on}, at epoch {result.best_epoch}"
    if result.report == "last" and result.last_score is not None:
        figures = (
            f"last {metric} {result.last_score:.3f} {on}, at epoch {result.last_epoch} "
            f"(best {result.best_score:.3f}, at epoch {result.best_epoch})"
        )
    cost = f"{result.device_hours:.2f} device hours, {rate(result.clips_per_s, result.unit)}"
    return f"{figures}; {cost}\n{result.selection}\ncheckpoint: {checkpoint}"


def _parser() -> Parser:
    parser = make_parser(
        "train",
        "DIR --out RUN",
        "Trains on the videos or images of DIR, which holds\n"
        "  DIR/<class>/*.mp4                 class folders, split here, or DIR/train and DIR/val with class folders\n"
        "  DIR/train.csv, DIR/val.csv        lists, also .txt and .json: those of Kinetics and Something-Something\n"
        "  DIR/train/*.tar, DIR/val/*.tar    WebDataset shards\n"
        "  DIR/images, DIR/annotations       images with masks: trains a segmenter\n"
        "A folder of frames counts as a video in lists, and in class folders with --lists.frame_folders true.\n"
        "More on the formats: docs/data.md; on the recipes of the paper: docs/recipes.md.",
        "morphmlp train my_videos --model morphmlp_video_nano --out runs/mine --epochs 30\n"
        "  morphmlp train --recipe k400_s16 --data kinetics --init runs/imagenet_s/last --out runs/k400_s16",
    )
    # SUPPRESS: with a default of None, a `data` in the configuration file would be lost.
    parser.add_argument("data", nargs="?", type=str, default=SUPPRESS, help="the data; not with --resume")
    parser.add_argument("--data", type=str, default=SUPPRESS, help="the same as an option")
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    parser.add_argument(
        "--recipe", type=str | None, help="one of the package, as k400_s16, or a YAML file of these options"
    )
    parser.add_argument("--config", action="config", help="YAML file of these options, which wins over --recipe")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, as it was configured")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in --out")
    parser.add_argument(
        "--init",
        type=str | None,
        help="checkpoint folder, hf://owner/name, released file, rendered (weights of the package), or none (fresh "
        "ones) to start from; without --model, sets model and input too",
    )
    parser.add_argument("--model", type=str | None, help="see `morphmlp models`; default: the nano model of the data")
    parser.add_argument("--arch", type=dict[str, Any], default={}, help="fields of the model, as --arch.frames 32")
    parser.add_argument(
        "--defaults",
        type=Literal["auto", "fixed"],
        default="auto",
        help="auto: without --recipe and --config, what is not given is chosen by the data (docs/defaults.md); fixed: "
        "it is as --help-all shows",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    _add_stretches(parser)
    add_cache(parser)
    _add_ways(parser)
    parser.add_class_arguments(TrainConfig, as_group=True, skip={"probe"})
    parser.add_class_arguments(
        InputConfig, "input", help="How a video becomes clips; what is not given follows from the model or from --init"
    )
    parser.add_class_arguments(SplitConfig, "split")
    for part, reading in readings().items():
        parser.add_class_arguments(reading, part)
    parser.show_first(*FIRST_SCREEN)
    return parser


def _add_stretches(parser: Parser) -> None:
    """How labelled stretches become clips."""
    parser.add_argument(
        "--background",
        type=float | None,
        metavar="SHARE",
        help="the same as --lists.background: share of clips from between labelled stretches, of class (nothing)",
    )
    parser.add_argument(
        "--window",
        type=float | str | None,
        metavar="auto|SECONDS",
        help="the same as --lists.window: clips of stretches are windows with their middle in them, as `watch` sees; "
        "auto: twice the median stretch",
    )


def _add_ways(parser: Parser) -> None:
    """What to do instead of one training, or beside it."""
    parser.add_argument(
        "--baseline",
        type=bool | None,
        help="in the end, compare with the commonest class and a classifier of shrunk pixels, in the time of decoding "
        "up to 5,000 files once; default: true, but for data at an address",
    )
    parser.add_argument(
        "--folds",
        type=NumFolds,
        metavar="K",
        help="K runs, each with other samples held out",
    )
    parser.add_argument(
        "--tune",
        type=PositiveFloat,
        metavar="MINUTES",
        help="first try learning rates, augmentations and starts on held-out training samples",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="fit the head alone, to features of --init: a linear probe",
    )


def _refuse_at_odds(options: Namespace, typed: Namespace) -> None:
    """Raises ConfigError where one option would be ignored for another; beside `--probe` those of a recipe may be."""
    given = {name for name, value in vars(typed.clone().as_flat()).items() if value is not None}
    if options.probe:
        changes = [name for name in given if name.startswith("augment.") and name != "augment.flip"]
        if idle := [f"--{name}" for name in (*OF_STEPS, *sorted(changes)) if name in given]:
            raise ConfigError(f"--probe fits the head without steps: leave out {', '.join(idle)}, or --probe")
    if options.folds and (one := sorted(given & {"split.fold", "split.folds"})):
        names = " and ".join(f"--{name}" for name in one)
        raise ConfigError(
            f"--folds {options.folds} trains all of its folds: leave out {names}, or train one of them with "
            "--split.folds K --split.fold I"
        )
    if options.balanced and options.class_weights != "none":
        raise ConfigError(
            f"--balanced and --class_weights {options.class_weights}: both make up for rare classes, which would "
            "become the commonest; give one of them"
        )


def _start_training(options: Namespace, given: Namespace) -> Any:
    """Starts a run with the options as its recipe; what was not given is chosen, or left to the model or checkpoint."""
    from morphmlp.training import run as training
    from morphmlp.training.folds import train_folds
    from morphmlp.training.settings import run_config
    from morphmlp.training.tune import tune

    if options.get("data") is None:
        raise ConfigError("no data: give the folder of videos or images, or --resume to go on with a run")
    if options.recipe is not None:
        raise ConfigError(f"recipe {options.recipe!r} is in the configuration file; give it as --recipe")
    plain, named = options.as_dict(), given.as_dict()
    if options.background is not None:
        plain["lists"]["background"] = options.background
    if options.window is not None:
        plain["lists"]["window"] = _window(options.window)
    if options.probe:  # there is no epoch to choose
        named |= {"select_fraction": 0.0, "report": "last"}
    if options.folds is not None:
        if options.tune is not None:
            raise ConfigError("--folds and --tune: what is chosen would be chosen in each fold anew; give one of them")
        plain["split"] |= {"folds": options.folds, "fold": 1}
    task = task_of_data(options.data)
    reading = task.reading.from_dict(plain[task.reading_part])
    sets = task.read_sets(options.data, SplitConfig.from_dict(plain["split"]), reading)
    chosen, lines = _chosen(sets[0], options, named)
    recipe = _recipe_of(plain, named, chosen)
    config = run_config(options.data, num_classes=len(sets[0].classes), recipe=recipe, kind=sets[0].kind)
    config = replace(config, chosen=lines)
    if options.folds is not None:
        return train_folds(config, options.out, overwrite=options.overwrite)
    if options.tune is not None:
        return tune(
            config,
            options.out,
            minutes=options.tune,
            space=_space(config, named),
            sets=sets,
            overwrite=options.overwrite,
            show=_show_trials(options),
        )
    return training.train(config, options.out, overwrite=options.overwrite, sets=sets)


def _chosen(train: "TrainingSet", options: Namespace, named: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is chosen for this set where no recipe says it, as a recipe has it, and a line on each topic."""
    from morphmlp.training.defaults import choose
    from morphmlp.training.set_facts import machine_facts, set_facts

    if options.defaults == "fixed" or options.config:
        return {}, ()
    choices = choose(set_facts(train), machine_facts(), named)
    return choices.values, choices.lines


def _recipe_of(plain: dict[str, Any], named: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """All values of a run: those that were given, over those that were chosen, over the fixed defaults."""
    from morphmlp.recipes import merged
    from morphmlp.training.defaults import FRESH

    recipe = {name: plain[name] for name in (*TrainConfig.names(), "arch", "split", *readings())}
    recipe |= dict.fromkeys(("model", "init", "input"))
    over = {name: value for name, value in named.items() if name in recipe and name not in ("split", *readings())}
    recipe = merged(merged(recipe, chosen), over)
    return recipe | {"init": None if recipe["init"] == FRESH else recipe["init"]}


def _space(config: RunConfig, named: dict[str, Any]) -> "Space":
    """What `--tune` may vary: all that was not given; and, beside `--init`, the packaged start and fresh weights."""
    from morphmlp.training.defaults import FRESH, packaged_start
    from morphmlp.training.halving import Space
    from morphmlp.training.initial_weights import fits

    packaged = packaged_start()
    others = [packaged] if packaged is not None and fits(packaged, config.model) else []
    fresh = [None] if config.train.freeze is None else []  # what is frozen must come from somewhere
    starts = (None,) if named.get("init") == FRESH else tuple(dict.fromkeys([config.init, *others, *fresh]))
    space = Space(starts, lr="lr" not in named, strength="augment" not in named)
    if starts[1:] or space.lr or space.strength:
        return space
    raise ConfigError(
        "--tune has nothing to choose: the learning rate, the augmentation and the start are given, by options, "
        "--recipe or --config; leave one of them out"
    )


def _window(value: float | str) -> float:
    """As `lists.window` has it, where 0 is auto."""
    if value == "auto":
        return 0.0
    if not isinstance(value, float) or not value > 0:
        raise ConfigError(f"--window is {value}; allowed: auto, or seconds above 0, such as 1.5")
    return value


def _refuse_beside_resume(given: Namespace) -> None:
    kept = ("out", "resume", "cache_gb", "baseline", "json")
    extra = [name for name, value in given.as_dict().items() if value is not None and name not in kept]
    if extra:
        raise ConfigError(f"--resume goes on as the run was configured; leave out {', '.join(sorted(extra))}")
