"""`morphmlp bench`."""

import os
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

from morphmlp.commands.parsing import Parser, make_parser, write_and_show
from morphmlp.output import tell

if TYPE_CHECKING:
    from morphmlp.analysis.bench.bench import Report

MOST_THREADS = 1024


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = _parser().parse_args(arguments)

    import torch

    from morphmlp.analysis.bench import bench
    from morphmlp.analysis.bench.engines import require_engines
    from morphmlp.analysis.bench.report import plot_speed, report_tables
    from morphmlp.checkpoints.hub import local_checkpoint
    from morphmlp.display.tables import print_all
    from morphmlp.files import replace_json
    from morphmlp.inference.device import resolve_device
    from morphmlp.inference.runtimes import is_exported

    _check_values(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    require_engines(options.engines or [], device)
    if options.checkpoint and is_exported(folder := local_checkpoint(options.checkpoint)):
        _check_exported(options)
        model, size = bench.load_exported(folder)
    else:
        model, size = bench.load_model(options.model, options.checkpoint, options.frames, options.arch)
    fed = bench.input_for(model, batch=options.batch, size=options.size or size)
    published = None if options.checkpoint or options.arch else bench.published_accuracy(model.config.name, fed)
    against = bench.references_for(model) if options.against else []
    _check_plot(options, has_accuracy=fed.size == bench.PUBLISHED_SIZE and any([published, *against]))
    report = bench.bench(
        model,
        fed,
        published=published,
        against=against,
        training=options.training,
        compiled=options.compile,
        engines=options.engines or [],
        turns=options.turns,
        device=device,
    )

    def write() -> None:
        if options.json:
            replace_json(options.json, report.to_dict())
        if options.plot:
            plot_speed([report], options.plot)
        if options.save:
            _save(model, report)

    write_and_show(write, lambda: print_all(report_tables(report)))
    return 0


def _parser() -> Parser:
    parser = make_parser(
        "bench",
        "",
        "Times a model on random clips or images: plain, optimized in fp32 and in bf16, and on demand compiled, in\n"
        "other engines, or beside models of torchvision. All take turns; a ratio is the median of the ratios within a\n"
        "turn.",
        "morphmlp bench --model morphmlp_video_s --against torchvision --json speed.json\n"
        "  morphmlp bench --checkpoint runs/mine --engines onnxruntime openvino --save",
    )
    parser.add_argument("--model", type=str | None, help="a named model; default: morphmlp_video_s")
    parser.add_argument("--checkpoint", type=str | None, help="a checkpoint folder, or an exported one, instead")
    parser.add_argument("--arch", type=dict[str, Any], default={}, help="fields of the model, as --arch.branches hw")
    parser.add_argument("--frames", type=PositiveInt, help="frames of a clip; default: the model's")
    parser.add_argument("--size", type=PositiveInt, help="height and width in px; default: the model's")
    parser.add_argument("--batch", type=PositiveInt, default=1, help="clips or images at a time")
    parser.add_argument("--against", type=Literal["torchvision"] | None, help="time other people's models too")
    parser.add_argument(
        "--engines",
        type=Literal["onnxruntime", "openvino"],
        nargs="+",
        help="export every model for these, and time it there too",
    )
    parser.add_argument(
        "--save", action="store_true", help="keep the figures for `--engine auto` of predict, evaluate, segment, watch"
    )
    parser.add_argument("--training", action="store_true", help="time a training step instead of a prediction")
    parser.add_argument("--compile", action="store_true", help="time the compiled model too; compiling takes minutes")
    parser.add_argument("--turns", type=PositiveInt, default=5, help="turns that are compared")
    parser.add_argument("--threads", type=PositiveInt, help="of the CPU; default: what PyTorch takes")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, mps or xpu")
    parser.add_argument("--json", type=str | None, help="write the results to this file")
    parser.add_argument("--plot", type=str | None, help="draw published accuracy over speed, as PNG")
    return parser


def _check_values(options: Namespace) -> None:
    from morphmlp.errors import ConfigError

    for option in ("json", "plot"):
        path = getattr(options, option)
        if path is not None and (not path or os.path.isdir(path)):
            raise ConfigError(f"--{option} is {path!r}; give the name of a file")
    if options.threads and options.threads > MOST_THREADS:
        raise ConfigError(f"--threads is {options.threads}; allowed: 1 to {MOST_THREADS}")
    if options.compile and options.training:
        raise ConfigError("--compile is for prediction; leave it out, or leave --training out")
    if options.engines and options.training:
        raise ConfigError("--engines are for prediction; leave them out, or leave --training out")
    if options.save and not options.engines:
        raise ConfigError("--save keeps figures of engines: give --engines onnxruntime openvino too, or leave it out")


def _check_plot(options: Namespace, *, has_accuracy: bool) -> None:
    """Before anything is timed."""
    from morphmlp.errors import ConfigError

    if options.plot and not has_accuracy:
        raise ConfigError(
            "--plot draws published accuracies, and none is known here; use a named model of the paper at 224 px and "
            "its own frames, or --against torchvision"
        )


def _check_exported(options: Namespace) -> None:
    """Raises ConfigError for options that an exported folder has no use for."""
    from morphmlp.errors import ConfigError

    names = ("model", "arch", "frames", "training", "compile", "engines", "save")
    if given := [f"--{name}" for name in names if getattr(options, name)]:
        raise ConfigError(
            f"{options.checkpoint} is an exported model, which is timed as it is: leave out {', '.join(given)}, or "
            "give the checkpoint that it was exported from"
        )


def _save(model: Any, report: "Report") -> None:
    from morphmlp.analysis.bench.engines import speeds_of
    from morphmlp.inference.engines import save_speeds

    machine = report.machine
    source = f"{machine.processor}, {machine.threads} threads, torch {machine.torch}, {report.turns} turns"
    path = save_speeds(speeds_of(model, report.input, report.rows, source=source))
    tell(f"{path}: what `--engine auto` follows from now on")
