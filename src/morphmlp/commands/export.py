"""`morphmlp export`."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from morphmlp.commands.parsing import make_parser, print_json
from morphmlp.formatting import encodable, percent
from morphmlp.output import tell

if TYPE_CHECKING:
    from morphmlp.data.media.sources import Source
    from morphmlp.export.run import Exported


def run(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    parser = make_parser(
        "export",
        "CHECKPOINT OUT",
        "Writes a checkpoint's model for ONNX Runtime, OpenVINO or torch.export, in a folder that predict, evaluate\n"
        "and segment take in place of a checkpoint; predict needs no PyTorch for the first two. It is compared with\n"
        "the checkpoint before it is written: on the files of --data, or on videos that the package renders itself.",
        "morphmlp export runs/mine mine_onnx\n"
        "  morphmlp export runs/mine mine_int8 --format openvino --precision int8 --data my_videos/train",
    )
    parser.add_argument("checkpoint", type=str, help="checkpoint folder, or hf://owner/name of the hub")
    parser.add_argument("out", type=str, help="new folder, or one of an earlier export")
    parser.add_argument("--format", type=Literal["onnx", "openvino", "torch"], default="onnx", help="of the model")
    parser.add_argument(
        "--precision", type=Literal["fp32", "fp16", "bf16", "int8"], default="fp32", help="of the computation"
    )
    parser.add_argument(
        "--data", type=str | None, help="folder of videos or images to verify on, and to calibrate int8"
    )
    parser.add_argument(
        "--size", type=tuple[int, int] | None, help="height and width in px; default: the checkpoint's crop"
    )
    parser.add_argument(
        "--dynamic_size",
        action="store_true",
        help="take all multiples of 32 px from 64 px on as height and width; a segmenter does without --size",
    )
    parser.add_argument(
        "--max_drop",
        type=float | None,
        help="share of the clips, 0 to 1, whose best class may be another than the checkpoint's; default: 0 in fp32, "
        "0.05 in fp16, 0.1 in bf16 and int8. OpenVINO's int8 keeps layers in fp32 until no more do, which takes "
        "minutes; ONNX's int8, and all other precisions, are refused where more do",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    from morphmlp.checkpoints.info import load_config
    from morphmlp.export.run import ExportOptions, export_checkpoint

    start = time.monotonic()
    model, info = load_config(options.checkpoint)
    wanted = ExportOptions(options.format, options.precision, options.size, options.dynamic_size, options.max_drop)
    with _files(options.data, "video" if model.temporal else "image", info.labels) as (files, source):
        exported = export_checkpoint(
            options.checkpoint,
            options.out,
            wanted,
            files=files,
            source=source,
            stage=lambda text: tell(f"{time.monotonic() - start:5.1f} s  {text}"),
        )
    values = _values(exported, wanted.format, wanted.precision, seconds=time.monotonic() - start)
    if options.json:
        print_json(values)
    else:
        print(encodable(_summary(values)))
    if exported.ms > 0.95 * exported.fp32_ms and wanted.precision != "fp32":
        tell(
            f"{wanted.precision} is not faster than fp32 on this machine: {exported.ms:.1f} against "
            f"{exported.fp32_ms:.1f} ms a clip"
        )
    return 0


@contextmanager
def _files(data: str | None, kind: Any, labels: Sequence[str]) -> "Iterator[tuple[Sequence[Source], str]]":
    """Files to verify on, and where they are from; rendered ones are gone afterwards.

    Raises:
        DataError: there is none, or the classes of a labelled set are not the checkpoint's.
    """
    from morphmlp.data.sets.find import expand_paths

    if data is not None:
        _require_classes(data, labels)
        yield expand_paths([data], kind), data
        return
    from morphmlp.demo.synthetic import write_dataset

    with tempfile.TemporaryDirectory(prefix="morphmlp-rendered-") as folder:
        videos = sorted(write_dataset(Path(folder) / "set", train_per_class=1, val_per_class=1).rglob("*.mp4"))
        yield (videos if kind == "video" else _pictures(videos)), "videos rendered by the package"


def _require_classes(data: str, labels: Sequence[str]) -> None:
    """Raises DataError where a folder has class folders, and not one is a class of the checkpoint."""
    from morphmlp.errors import DataError
    from morphmlp.formatting import shortened

    folder = Path(data)
    parts = [folder / name for name in ("train", "val", "test") if (folder / name).is_dir()] or [folder]
    classes = {entry.name for part in parts if part.is_dir() for entry in part.iterdir() if entry.is_dir()}
    if classes and labels and not classes & set(labels):
        raise DataError(
            f"{data} has folders named {shortened(sorted(classes))}, but the checkpoint's classes are "
            f"{shortened(list(labels))}: calibrate and verify on data of its own classes"
        )


def _pictures(videos: Sequence[Path]) -> list[Path]:
    """The middle frame of each video as a file beside it."""
    from PIL import Image

    from morphmlp.data.media.video import read_clip

    paths = []
    for video in videos:
        frame = read_clip(video, lambda num_frames, fps: [num_frames // 2])[0]
        paths.append(video.with_suffix(".png"))
        Image.fromarray(frame).save(paths[-1])
    return paths


def _values(exported: "Exported", format: str, precision: str, *, seconds: float) -> dict[str, Any]:
    return {
        "folder": str(exported.folder),
        "format": format,
        "precision": precision,
        "bytes": exported.num_bytes,
        "products": exported.products,
        "products_in_int8": exported.products_in_int8,
        **exported.verified.values(),
        "ms_per_clip": exported.ms,
        "fp32_ms_per_clip": exported.fp32_ms,
        "seconds": seconds,
        "peak_memory_bytes": _peak_memory_bytes(),
    }


def _peak_memory_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _features(values: dict[str, Any]) -> str:
    share = values["features_difference"]
    return "" if share is None else f", of a feature {share:.2g} of the largest"


def _summary(values: dict[str, Any]) -> str:
    products, in_int8 = values["products"], values["products_in_int8"]
    kept = "" if products is None else f"{in_int8} of {products} products are in int8, the rest in fp32\n"
    return (
        f"{values['folder']}: {values['format']} in {values['precision']}, {values['bytes'] / 1e6:.1f} MB, "
        f"{values['ms_per_clip']:.1f} ms a clip on this machine\n{kept}"
        f"on {values['clips']} clips: largest difference of a logit {values['largest_difference']:.2g} "
        f"({values['relative_difference']:.2g} of the largest){_features(values)}, the same best class for "
        f"{percent(values['top1_agreement'])}\n"
        f"took {values['seconds']:.0f} s and {values['peak_memory_bytes'] / 1e9:.1f} GB"
    )
