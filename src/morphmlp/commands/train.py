"""`morphmlp train`."""

import signal
import sys
from dataclasses import asdict
from typing import Any

from jsonargparse import SUPPRESS, Namespace

from morphmlp.commands.parsing import INTERRUPTED, make_parser, print_json
from morphmlp.config import InputConfig, MaskConfig, SplitConfig, TrainConfig
from morphmlp.errors import ConfigError


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "train",
        "DIR --out RUN",
        "Trains on DIR, which holds DIR/<class>/*.mp4 (split here), DIR/train and DIR/val with class folders, or\n"
        "DIR/train.csv and DIR/val.csv with `path,label` rows: of videos or of images. DIR/images and DIR/annotations\n"
        "train a segmenter.",
        "morphmlp train my_videos --model morphmlp_video_nano --out runs/mine --epochs 30",
    )
    # SUPPRESS: with a default of None, a `data` in the configuration file would be lost.
    parser.add_argument("data", nargs="?", type=str, default=SUPPRESS, help="the data; not with --resume")
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    parser.add_argument("--config", action="config", help="YAML file with any of these options; those behind it win")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, as it was configured")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in --out")
    parser.add_argument("--init", type=str | None, help="checkpoint folder to start from; sets model and input")
    parser.add_argument("--model", type=str | None, help="see `morphmlp models`; default: the nano model of the data")
    parser.add_argument("--arch", type=dict[str, Any], default={}, help="fields of the model, as --arch.frames 32")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_class_arguments(TrainConfig, as_group=True)
    parser.add_class_arguments(
        InputConfig, "input", help="How a video becomes clips; what is not given follows from the model or from --init"
    )
    parser.add_class_arguments(SplitConfig, "split")
    parser.add_class_arguments(MaskConfig, "masks")
    options = parser.parse_args(arguments)
    given = parser.parse_args(arguments, defaults=False)

    from morphmlp import train as training

    try:
        if options.resume:
            _refuse_beside_resume(given)
            result = training.resume(options.out)
        else:
            result = _start_training(options, given)
    except training.Interrupted as stop:
        print(stop, file=sys.stderr)
        return INTERRUPTED if stop.signal_number == signal.SIGINT else 0
    if options.json:
        print_json(asdict(result) | {"best": str(result.best)})
        return 0
    print(
        f"best {training.METRIC_NAMES[result.metric]} {result.best_score:.3f} on {result.num_val} validation "
        f"{result.unit}, at epoch {result.best_epoch}; {result.clips_per_s:.0f} {result.unit}/s\n"
        f"checkpoint: {result.best}"
    )
    return 0


def _start_training(options: Namespace, given: Namespace) -> Any:
    """Starts a run with the options as its recipe; what was not given is left to the model or checkpoint."""
    from morphmlp import train as training
    from morphmlp.recipes import run_config

    if options.get("data") is None:
        raise ConfigError("no data: give the folder of videos or images, or --resume to go on with a run")
    plain, named = options.as_dict(), given.as_dict()
    recipe = {name: plain[name] for name in (*TrainConfig.__dataclass_fields__, "arch", "split", "masks")}
    recipe |= {name: named.get(name) for name in ("model", "init", "input")}
    sets = training.read_sets(options.data, SplitConfig.from_dict(plain["split"]), MaskConfig.from_dict(plain["masks"]))
    config = run_config(options.data, num_classes=len(sets[0].classes), recipe=recipe, kind=sets[0].kind)
    return training.train(config, options.out, overwrite=options.overwrite, sets=sets)


def _refuse_beside_resume(given: Namespace) -> None:
    extra = [name for name, value in given.as_dict().items() if value is not None and name not in ("out", "resume")]
    if extra:
        raise ConfigError(f"--resume goes on as the run was configured; leave out {', '.join(sorted(extra))}")
