"""The command line: each verb's options and the function that runs it.

Modules that import torch are imported inside the verbs, so that `--help` answers at once.
"""

import io
import json
import os
import re
import signal
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NoReturn

from jsonargparse import SUPPRESS, ArgumentParser, DefaultHelpFormatter, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from morphmlp.config import PUBLISHED_INPUTS, InputConfig, SplitConfig, TrainConfig
from morphmlp.errors import ConfigError, UserError

USER_ERROR, USAGE_ERROR, INTERRUPTED = 1, 2, 130


class Parser(ArgumentParser):
    """Reports a wrong option in one line, without the long list of options."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        print(f"{self.prog}: {_usage_reason(message)} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit status: 0, 1 for a user's mistake, 2 for usage, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # names may hold what the terminal's encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else USAGE_ERROR
    if arguments[0] == "--version":
        print(version("morphmlp"))
        return 0
    verb = VERBS.get(arguments[0])
    if verb is None:
        print(f"morphmlp: no verb {arguments[0]!r}; verbs: {', '.join(VERBS)} (see morphmlp --help)", file=sys.stderr)
        return USAGE_ERROR
    try:
        return verb(_with_underscores(arguments[1:]))
    except UserError as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            sys.stderr.close()
            return 0
        name = f"{error.filename}: " if error.filename else ""
        print(f"error: {name}{error.strerror or error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (RuntimeError, MemoryError) as error:
        reason = _machine_failure(error)
        if reason is None:
            raise
        print(f"error: {reason}", file=sys.stderr)
        return USER_ERROR


def train(arguments: list[str]) -> int:
    """train a model on a folder of your own videos"""
    parser = _parser(
        "train",
        "DIR --out RUN",
        "Trains on DIR, which holds DIR/<class>/*.mp4 (split here), DIR/train and DIR/val with class folders, or\n"
        "DIR/train.csv and DIR/val.csv with `path,label` rows.",
        "morphmlp train my_videos --model morphmlp_video_nano --out runs/mine --epochs 30",
    )
    # SUPPRESS: with a default of None, a `data` in the configuration file would be lost.
    parser.add_argument("data", nargs="?", type=str, default=SUPPRESS, help="the videos; not with --resume")
    parser.add_argument("--out", type=str, required=True, help="folder of the run")
    parser.add_argument("--config", action="config", help="YAML file with any of these options; those behind it win")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, as it was configured")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in --out")
    parser.add_argument("--init", type=str | None, help="checkpoint folder to fine-tune; sets model and input")
    parser.add_argument("--model", type=str, default="morphmlp_video_nano", help="see `morphmlp models`")
    parser.add_argument("--arch", type=dict[str, Any], default={}, help="fields of the model, as --arch.frames 32")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_class_arguments(TrainConfig, as_group=True)
    parser.add_class_arguments(
        InputConfig, "input", help="How a video becomes clips; what is not given follows from the model or from --init"
    )
    parser.add_class_arguments(SplitConfig, "split")
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
        _print_json(asdict(result) | {"best": str(result.best)})
        return 0
    print(
        f"best top-1 {result.best_top1:.3f} on {result.num_val} validation videos, at epoch {result.best_epoch}; "
        f"{result.clips_per_s:.0f} clips/s\ncheckpoint: {result.best}"
    )
    return 0


def evaluate(arguments: list[str]) -> int:
    """test a checkpoint on labelled videos, with the published protocol"""
    parser = _parser(
        "evaluate",
        "CHECKPOINT DIR",
        "Evaluates on DIR's test or validation part. Where DIR has no parts: on the videos that were held out when\n"
        "the checkpoint was trained on DIR, or on all of another folder.",
        "morphmlp evaluate runs/mine/best my_videos --clips 4 --crops 1",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder")
    parser.add_argument("data", type=str, help="labelled videos, in any layout that train takes")
    parser.add_argument("--split", type=str | None, help="train, val, test or all")
    parser.add_argument("--shuffle_frames", action="store_true", help="destroy the order of the frames")
    parser.add_argument("--out", type=str | None, help="folder for figures and tables; default CHECKPOINT-evaluation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_protocol(parser)
    options = parser.parse_args(arguments)

    from morphmlp import evaluate as evaluation
    from morphmlp.console import counting
    from morphmlp.figures import plot_confusion
    from morphmlp.tables import evaluation_tables, print_all

    out = Path(options.out or f"{os.path.realpath(options.checkpoint)}-evaluation")
    evaluation.require_own_folder(out)
    with counting("videos", enabled=not options.json) as progress:
        result = evaluation.evaluate_checkpoint(
            options.checkpoint,
            options.data,
            split=options.split,
            shuffle_frames=options.shuffle_frames,
            progress=progress,
            workers=options.workers,
            **_protocol(options),
        )
    # Shown first: a folder that cannot be written must not cost the figures.
    if options.json:
        _print_json(evaluation.summary(result))
    else:
        print_all(evaluation_tables(result))
    evaluation.write_summary(result, out / "summary.json")
    evaluation.write_predictions(result, out / "predictions.csv")
    plot_confusion(result, out / "confusion.png")
    print(f"summary.json, predictions.csv and confusion.png are in {out}", file=sys.stderr)
    return 0


def predict(arguments: list[str]) -> int:
    """say what videos show"""
    parser = _parser(
        "predict",
        "CHECKPOINT PATH...",
        "Predicts files, folders and globs.",
        "morphmlp predict runs/mine/best clip.mp4 more_clips --top 3 --csv predictions.csv",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder")
    parser.add_argument("paths", type=str, nargs="+", help="video files, folders or globs")
    parser.add_argument("--top", type=PositiveInt, default=5, help="classes to show")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=str | None, help="write a csv file too")
    _add_protocol(parser)
    options = parser.parse_args(arguments)

    from morphmlp import predict as prediction
    from morphmlp.console import counting
    from morphmlp.errors import VideoError
    from morphmlp.tables import prediction_table, print_all

    paths = prediction.expand_paths(options.paths)
    predictor = prediction.Predictor(options.checkpoint, **_protocol(options))
    results = []
    with counting("videos", enabled=not options.json) as progress:
        for result in predictor.many(paths, workers=options.workers):
            results.append(result)
            progress(len(results), len(paths))
    rows = [prediction.as_row(result, options.top) for result in results]
    failures = [result for result in results if isinstance(result, VideoError)]
    if options.json:
        _print_json(rows)
    else:
        good = [result for result in results if not isinstance(result, VideoError)]
        if good:
            print_all([prediction_table([(str(result.path), result.top(options.top)) for result in good])])
        for failure in failures:
            print(f"error: {' '.join(str(failure).splitlines())}", file=sys.stderr)
    if options.csv:
        prediction.write_csv(rows, options.csv)
    return USER_ERROR if failures else 0


def convert(arguments: list[str]) -> int:
    """turn an authors' released file into a checkpoint folder"""
    parser = _parser(
        "convert",
        "FILE FOLDER --labels k400",
        "Converts a released .pth or .pyth file. --labels names the data set that it was trained on, whose class\n"
        "names and test protocol come with the package, or a text file with one class name a line.",
        "morphmlp convert K400_S16.pyth k400_s16 --labels k400",
    )
    parser.add_argument("file", type=str, help="released file")
    parser.add_argument("folder", type=str, help="new checkpoint folder")
    parser.add_argument("--labels", type=str | None, help="k400, ssv1, ssv2, or a text file")
    parser.add_argument("--protocol", type=str | None, help=f"how to test: {', '.join(PUBLISHED_INPUTS)}")
    parser.add_argument("--frames", type=int | None, help="only for lengths that the shapes do not tell")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier checkpoint in FOLDER")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.checkpoints import convert_released

    if Path(options.folder).exists() and not options.overwrite:
        raise ConfigError(f"{options.folder} exists already; choose another folder, or --overwrite")
    model, info = convert_released(
        options.file, options.folder, labels=options.labels, protocol=options.protocol, frames=options.frames
    )
    if options.json:
        _print_json({"folder": options.folder, "model": model.config.to_dict(), "input": info.input.to_dict()})
        return 0
    kind = f"{model.config.frames} frames" if model.config.temporal else "images"
    names = "with" if info.labels else "without"
    print(
        f"{options.folder}: {model.config.name}, {kind}, {model.config.num_classes} classes {names} names, "
        f"tested as {info.training['protocol']}"
    )
    return 0


def models(arguments: list[str]) -> int:
    """list the models with parameters and multiply-adds"""
    parser = _parser(
        "models",
        "",
        "Lists the named models: parameters, and multiply-adds of linear and convolution layers for one view, counted\n"
        "on the built model.",
        "morphmlp models --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.efficiency import model_rows
    from morphmlp.tables import model_table, print_all

    rows = model_rows()
    if options.json:
        _print_json(rows)
    else:
        print_all([model_table(rows)])
    return 0


def demo(arguments: list[str]) -> int:
    """watch a model learn on videos that the package renders itself"""
    parser = _parser(
        "demo",
        "",
        "Renders a small data set, trains morphmlp_video_nano on it, evaluates, predicts a held-out clip, and leaves\n"
        "a page with what came out.",
        "morphmlp demo --out runs/demo",
    )
    parser.add_argument("--out", type=str, default="runs/demo", help="folder for data, run and page")
    parser.add_argument("--seed", type=int, default=0, help="of the data and the training")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)

    from morphmlp import train as training
    from morphmlp.demo import run_demo

    try:
        figures = run_demo(options.out, seed=options.seed)
    except training.Interrupted as stop:
        print("stopped; run the same command again to start the training anew", file=sys.stderr)
        return INTERRUPTED if stop.signal_number == signal.SIGINT else 0
    if options.json:
        _print_json(figures)
    return 0


VERBS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "convert": convert,
    "models": models,
}


def _start_training(options: Namespace, given: Namespace) -> Any:
    """Starts a run with the options as its recipe; what was not given is left to the model or checkpoint."""
    from morphmlp import train as training
    from morphmlp.data.datasets import read_training_sets
    from morphmlp.recipes import run_config

    if options.get("data") is None:
        raise ConfigError("no data: give the folder of videos, or --resume to go on with a run")
    plain, named = options.as_dict(), given.as_dict()
    recipe = {name: plain[name] for name in (*TrainConfig.__dataclass_fields__, "arch", "split")}
    recipe |= {name: named.get(name) for name in ("model", "init", "input")}
    sets = read_training_sets(options.data, SplitConfig.from_dict(plain["split"]))
    config = run_config(options.data, num_classes=len(sets[0].classes), recipe=recipe)
    return training.train(config, options.out, overwrite=options.overwrite, sets=sets)


def _machine_failure(error: Exception) -> str | None:
    """What to say where the machine gave out; None for anything else."""
    if "DataLoader worker" in str(error):
        return "a decoding process ended unexpectedly (out of memory?); try fewer --workers; a run can be resumed"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error):
        return "not enough memory; try a smaller --batch_size, --input.crop or model, or fewer views"
    return None


def _refuse_beside_resume(given: Namespace) -> None:
    extra = [name for name, value in given.as_dict().items() if value is not None and name not in ("out", "resume")]
    if extra:
        raise ConfigError(f"--resume goes on as the run was configured; leave out {', '.join(sorted(extra))}")


def _add_protocol(parser: Parser) -> None:
    group = parser.add_argument_group("test protocol (default: what the checkpoint was saved with)")
    group.add_argument("--clips", type=int | None, help="views of a video in time")
    group.add_argument("--crops", type=int | None, help="views of a video in space, 1 or 3")
    group.add_argument(
        "--aggregation",
        type=Literal["logits", "probabilities"] | None,
        help="what is joined: the sum of the logits, or the mean of the probabilities",
    )
    parser.add_argument("--workers", type=NonNegativeInt, default=2, help="processes that decode; 0: this one does")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--precision", type=Literal["fp32", "bf16", "fp16"], default="fp32", help="fp32, or mixed")


def _protocol(options: Namespace) -> dict[str, Any]:
    return {
        "num_clips": options.clips,
        "num_crops": options.crops,
        "aggregation": options.aggregation,
        "device": options.device,
        "precision": options.precision,
    }


def _parser(verb: str, usage: str, description: str, example: str) -> Parser:
    class Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
        def __init__(self, prog: str):
            super().__init__(prog, max_help_position=32, width=110)

    return Parser(
        prog=f"morphmlp {verb}",
        usage=f"morphmlp {verb} {usage} [options]".replace("  ", " "),
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=Formatter,
    )


def _print_json(values: Any) -> None:
    """For programs: other characters than ASCII are escaped, as names of files may hold bytes that are no text."""
    print(json.dumps(values, indent=2))


def _usage_reason(message: str) -> str:
    """The parser's message in one line, and in the user's words.

    >>> _usage_reason("Parser key \"epochs\":\\n  Expected a <class 'int'>. Got value: x")
    '--epochs: expected int; got x'
    """
    text = " ".join(message.split())
    text = re.sub(r'Parser key "([\w.]+)": ', r"--\1: ", text)
    text = re.sub(r"<class '(\w+)'>|typing\.", lambda match: match[1] or "", text)
    if choices := re.search(r"^(.*?)Does not validate .*? Errors: - (.*?) - .* Given value: (.*)$", text):
        text = f"{choices[1]}{choices[2]}. Got value: {choices[3]}"
    text = re.sub(r"Not of type \w+: (\S+) does not conform to restriction v", r"got \1; expected a number ", text)
    return text.replace("Expected a ", "expected ").replace(". Got value:", "; got")


def _overview() -> str:
    verbs = "\n".join(f"  {name:<10} {function.__doc__}" for name, function in VERBS.items())
    return (
        f"usage: morphmlp VERB ...\n\nMorphMLP: efficient video recognition without attention.\n\nverbs:\n{verbs}\n\n"
        "`morphmlp VERB --help` tells a verb's options, with an example."
    )


def _with_underscores(arguments: list[str]) -> list[str]:
    """`--batch-size=8` as `--batch_size=8`: both spellings of an option are taken; behind `--` are no options."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [re.sub(r"^--[^=]+", lambda name: "--" + name[0][2:].replace("-", "_"), a) for a in arguments[:end]]
    return options + arguments[end:]


if __name__ == "__main__":
    sys.exit(main())
