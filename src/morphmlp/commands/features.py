"""`morphmlp features`."""

from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveFloat, PositiveInt

from morphmlp.commands.parsing import (
    USER_ERROR,
    add_cache,
    add_execution,
    make_parser,
    precision_of,
    print_json,
    use_limits,
)
from morphmlp.config import ListConfig
from morphmlp.errors import ConfigError
from morphmlp.output import tell
from morphmlp.signals import Terminated
from morphmlp.tasks.classification.features.settings import Format, Layer, Pooling

if TYPE_CHECKING:
    from morphmlp.tasks.classification.features.run import Features
    from morphmlp.tasks.classification.features.sources import FeatureFile

MOST_NAMED = 10  # broken files on the terminal; all are in features.json


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = _read_options(arguments)

    from morphmlp.display.progress_bar import counting
    from morphmlp.distributed import is_main
    from morphmlp.tasks.classification.features.extractor import FeatureExtractor
    from morphmlp.tasks.classification.features.run import write_features

    use_limits(options)
    extractor = FeatureExtractor(
        options.checkpoint,
        layer=options.layer,
        pooling=options.pooling,
        num_clips=options.clips,
        num_crops=options.crops,
        device=options.device,
        precision=precision_of(options),
    )
    files, classes = _files(options, extractor.kind)
    unit = f"{extractor.kind}s" if options.step is None else "windows"
    try:
        with counting(unit, enabled=not options.json and is_main(), lines=True) as progress:
            features = write_features(
                extractor,
                files,
                options.out,
                step_s=options.step,
                length_s=options.length,
                format=options.format,
                classes=classes,
                workers=options.workers,
                fresh=options.fresh,
                progress=progress,
            )
    except (KeyboardInterrupt, Terminated):
        tell(f"what was computed so far is in {options.out}; the same command goes on from there")
        raise
    if is_main():
        _report(features, options)
    return USER_ERROR if features.broken else 0


def _read_options(arguments: list[str]) -> Namespace:
    parser = make_parser(
        "features",
        "CHECKPOINT SOURCE...",
        "Writes what a classifier sees as vectors: one a file, or one a window every --step seconds, with a table\n"
        "and a JSON file that say what each is of. SOURCE is a file, a folder or a glob; --data takes labelled data.\n"
        "It can be stopped: the same command goes on. Exit status 1 if files could not be read; the rest is written.\n"
        "On several GPUs: torchrun --nproc-per-node 8 -m morphmlp.cli features CHECKPOINT SOURCE...",
        "morphmlp features runs/mine my_videos --out features --nearest 5\n"
        "  morphmlp features runs/mine long.mp4 --step 1 --length 2 --format npz",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder, or hf://owner/name of the hub")
    parser.add_argument("sources", type=str, nargs="*", help="files, folders or globs")
    parser.add_argument("--data", type=str | None, help="labelled data, in any layout that train takes")
    parser.add_argument("--out", type=str, default="features", help="folder for the results")
    parser.add_argument("--step", type=PositiveFloat, help="seconds from one window to the next")
    parser.add_argument("--length", type=PositiveFloat, help="seconds of a window; default: as `morphmlp watch`")
    parser.add_argument(
        "--layer",
        type=Layer,
        default="head",
        help="head: what the classifier is given; a stage: its output",
    )
    parser.add_argument("--pooling", type=Pooling, default="mean", help="over the tokens of a stage")
    parser.add_argument("--format", type=Format, default="safetensors", help="of the vectors")
    parser.add_argument("--nearest", type=PositiveInt, help="write which so many others are most alike to each")
    parser.add_argument("--fresh", action="store_true", help="forget what is in --out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    group = parser.add_argument_group("views, whose mean is taken (default: what the checkpoint was saved with)")
    group.add_argument("--clips", type=PositiveInt, help="views of a video in time")
    group.add_argument("--crops", type=Literal[1, 3] | None, help="views of a video in space")
    add_execution(parser)
    add_cache(parser)
    parser.add_class_arguments(ListConfig, "lists", help="How --data is read")
    options = parser.parse_args(arguments)
    if bool(options.sources) == bool(options.data):
        raise ConfigError("give files, folders or globs, or labelled data as --data DIR: one of the two")
    return options


def _files(options: Namespace, kind: Literal["video", "image"]) -> "tuple[list[FeatureFile], list[str]]":
    """What there is to look at, and the names of its classes."""
    from morphmlp.analysis.data_check.inventory import WHOLE, take_inventory
    from morphmlp.data.sets.find import expand_sources
    from morphmlp.tasks.classification.features.sources import FeatureFile

    if options.sources:
        return [FeatureFile(path) for path in expand_sources(options.sources, kind)], []
    lists = ListConfig.from_dict(options.as_dict()["lists"])
    found = take_inventory(options.data, readings={"lists": lists})
    if found.multi_label:
        tell(f"{options.data} has several labels a row: the features are written without labels")
    files = [
        FeatureFile(file.job.path, -1 if file.label is None else file.label, "" if file.split == WHOLE else file.split)
        for file in found.files
    ]
    return files, found.classes


def _report(features: "Features", options: Namespace) -> None:
    """Says what was written; the neighbours come now."""
    if options.nearest is not None:
        from morphmlp.tasks.classification.features.neighbours import write_nearest

        write_nearest(features, options.nearest)
    broken = features.broken
    for entry in broken[:MOST_NAMED]:
        times = f" ({entry['start_s']:g} to {entry['end_s']:g} s)" if "start_s" in entry else ""
        tell(f"error: {entry['path']}{times}: {entry['reason']}")
    if len(broken) > MOST_NAMED:
        tell(f"and {len(broken) - MOST_NAMED:,} more that cannot be read: all are in features.json")
    if options.json:
        print_json({"folder": str(features.folder), **features.info})
        return
    shape = " x ".join(map(str, features.info["shape"]))
    print(f"{shape} features of {features.info['settings']['layer']} are in {features.folder}")
