"""An export from beginning to end: the model's files, their check against the checkpoint, and `config.json`."""

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morphmlp.checkpoints.folder import CheckpointInfo, load_with_info
from morphmlp.checkpoints.hub import local_checkpoint
from morphmlp.checkpoints.info import CONFIG_FILE, WEIGHTS_FILE, config_values
from morphmlp.config import InputConfig, ModelConfig
from morphmlp.data.batches.views import BrokenSample, TestViews
from morphmlp.data.media.sources import Source
from morphmlp.data.sets.labelled import Sample
from morphmlp.errors import ConfigError, DataError
from morphmlp.export.formats import FORMATS, INPUT_NAME, Outputs, Shape, outputs_of
from morphmlp.export.quantize import quantize_onnx, quantize_openvino
from morphmlp.export.triton import write_triton
from morphmlp.export.verify import Output, Verified, allowed_drop, compare, ms_per_clip, require_near
from morphmlp.files import replaced_folder, require_own_folder
from morphmlp.formatting import as_json
from morphmlp.inference.runtimes import (
    ENGINES,
    FEATURES,
    LEAST_SIZE_PX,
    LOGITS,
    MODEL_FILES,
    PRECISIONS,
    SIZE_STEP_PX,
    Runtime,
    file_digest,
    load_runtime,
    require_package,
)
from morphmlp.models.morphmlp import MIN_SIZE_PX, MorphMLP

MOST_CLIPS = 64  # of those for calibration and verification
NOISE_CLIPS = 4
REFUSED = {
    ("torch", "int8"): "torch has no int8 export here; use --format onnx or openvino",
    ("onnx", "bf16"): "ONNX Runtime computes no bf16 on a CPU; use --format openvino or torch",
}
OUTPUT_FILES = {CONFIG_FILE, "config.pbtxt"} | {name for names in MODEL_FILES.values() for name in names}
PACKAGES = ("morphmlp", "torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
        format: "onnx", "openvino" or "torch".
        precision: "fp32", "fp16", "bf16" or "int8".
        size: height and width in px; None takes the checkpoint's crop, and any size where it shows whole frames.
        any_size: whether the export takes other sizes as well, as `Shape` says.
        max_drop: share of the clips for which the best class may be another; None takes `verify.MOST_DROP`.
    """

    format: str = "onnx"
    precision: str = "fp32"
    size: tuple[int, int] | None = None
    any_size: bool = False
    max_drop: float | None = None


@dataclass(frozen=True)
class Exported:
    """What an export gave.

    Attributes:
        verified: how near it is to the checkpoint.
        ms, fp32_ms: milliseconds a clip, and those of the same format in fp32; the same number for fp32 itself.
        num_bytes: of the model's files.
        products, products_in_int8: how many products and convolutions there are, and how many in 8 bits, where NNCF
            has chosen which; None elsewhere.
    """

    folder: Path
    verified: Verified
    ms: float
    fp32_ms: float
    num_bytes: int
    products: int | None = None
    products_in_int8: int | None = None


def export_checkpoint(
    checkpoint: str | Path,
    folder: str | Path,
    options: ExportOptions,
    *,
    files: Sequence[Source] | None,
    source: str,
    stage: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Exports a checkpoint's model into a folder, after checking it against the checkpoint.

    Args:
        files: videos or images, of which the first `MOST_CLIPS` that can be read are used to verify, and for int8 to
            calibrate; None verifies on noise, which says whether the export computes the same.
        source: where they come from, for `config.json`.
        stage: is told what is being done.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the format does not allow the precision or the size, or `folder` holds something else.
        DataError: none of the files can be read.
        UserError: a package is missing, or the exported model is not near enough; nothing is written then.
    """
    folder = Path(folder)
    _refuse(options)
    require_own_folder(folder, OUTPUT_FILES, what="an export", option="OUT")
    model, info = load_with_info(checkpoint)
    shape = _shape(options, info.input)
    info = replace(info, input=exported_input(info.input, shape))
    stage("reading clips")
    first, *others = [
        noise_clips(model.config, s)
        if files is None
        else read_clips(files, model.config, _verification_input(info.input, s))
        for s in _shapes_to_verify(shape)
    ]
    clips = first + [clip for more in others for clip in more]
    with tempfile.TemporaryDirectory(prefix="morphmlp-export-") as work, replaced_folder(folder) as out:
        fp32 = Path(work)
        stage(f"exporting {model.config.name}")
        details = FORMATS[options.format](model, fp32, shape, "fp32")
        baseline = _finished(fp32, model, info, options=replace(options, precision="fp32"), shape=shape, export=details)
        if options.precision == "int8":
            stage(f"calibrating int8 on {len(clips)} clips")
            details |= _quantize(fp32, out, model, clips, options=options, stage=stage)
        elif options.precision == "fp32":
            for name in MODEL_FILES[options.format]:
                shutil.copy(fp32 / name, out / name)
        else:
            stage(f"exporting in {options.precision}")
            FORMATS[options.format](model, out, shape, options.precision)
        runtime = _finished(out, model, info, options=options, shape=shape, export=details)
        stage("verifying")
        verified = compare(_outputs(model, clips), _exported(model, runtime), clips)
        require_near(verified, options.precision, max_drop=options.max_drop)
        speeds = ms_per_clip([runtime.logits, baseline.logits], clips[0])
        weights = {"checkpoint_sha256": file_digest(local_checkpoint(checkpoint) / WEIGHTS_FILE)}
        figures = {"source": source, **verified.values(), "ms_per_clip": speeds[0], "fp32_ms_per_clip": speeds[1]}
        _write_config(out, model, info, options=options, shape=shape, export=details | weights | {"verified": figures})
        if options.format == "onnx":
            write_triton(out, model.config, shape, name=folder.name)
        num_bytes = sum((out / name).stat().st_size for name in MODEL_FILES[options.format])
    counts = {name: details.get(name) for name in ("products", "products_in_int8")}
    return Exported(folder, verified, speeds[0], speeds[1], num_bytes, **counts)


def _refuse(options: ExportOptions) -> None:
    """What cannot be exported, before anything is done."""
    for name, value, allowed in (("format", options.format, FORMATS), ("precision", options.precision, PRECISIONS)):
        if value not in allowed:
            raise ConfigError(f"--{name} is {value!r}; allowed: {', '.join(allowed)}")
    if reason := REFUSED.get((options.format, options.precision)):
        raise ConfigError(f"--precision {options.precision} with --format {options.format}: {reason}")
    if options.max_drop is not None and not 0 <= options.max_drop <= 1:
        raise ConfigError(f"--max-drop is {options.max_drop}; allowed: 0 to 1")
    if options.precision == "bf16" and not _computes_bf16():
        raise ConfigError("this processor computes no bf16 (AVX-512 BF16 or AMX), so it cannot be verified; use fp32")
    require_package(ENGINES[options.format], why=f"--format {options.format} is verified in its engine")
    if (options.format, options.precision) == ("openvino", "int8"):
        require_package("nncf", why="--precision int8 with --format openvino")


def _computes_bf16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _shape(options: ExportOptions, config: InputConfig) -> Shape:
    """The size that is asked for, else the checkpoint's, which is rounded up to one that an export for any size takes.

    Whole frames have sizes of their own: an export for them takes any.
    """
    height, width = options.size or config.crop
    any_size = options.any_size or (config.fit == "whole" and options.size is None)
    if any_size and options.size is None:
        height, width = (max(LEAST_SIZE_PX, -(-side // SIZE_STEP_PX) * SIZE_STEP_PX) for side in (height, width))
    least = LEAST_SIZE_PX if any_size else MIN_SIZE_PX
    if min(height, width) < least:
        kind = " with --dynamic-size" if any_size else ""
        raise ConfigError(f"--size is {height} x {width} px; allowed{kind}: {least} px or more a side")
    if any_size and (height % SIZE_STEP_PX or width % SIZE_STEP_PX):
        raise ConfigError(
            f"--size is {height} x {width} px; allowed with --dynamic-size: multiples of {SIZE_STEP_PX} px"
        )
    return Shape(height, width, any_size)


def _shapes_to_verify(shape: Shape) -> list[Shape]:
    """The shape, and of an export for any size one that is higher and one that is wider: none may be built in."""
    if not shape.any_size:
        return [shape]
    step = SIZE_STEP_PX
    return [shape, replace(shape, height=shape.height + step), replace(shape, width=shape.width + 3 * step)]


def exported_input(config: InputConfig, shape: Shape) -> InputConfig:
    """The checkpoint's input, changed to give the size that the export takes.

    A square crop shows the same share of a frame as before; into another shape the whole frame is squeezed. An export
    of 96 x 96 px of a checkpoint that resizes to 256 and crops 224 px resizes to 256 * 96 / 224 = 110 px.
    """
    if config.crop == (shape.height, shape.width) or (config.fit == "whole" and shape.any_size):
        return config
    crop = (shape.height, shape.width)
    if config.fit == "crop" and shape.height == shape.width:
        return replace(config, crop=crop, resize=round(config.resize * shape.height / config.crop[0]))
    return replace(config, fit="stretch", crop=crop, num_crops=1)


def _verification_input(config: InputConfig, shape: Shape) -> InputConfig:
    """One view of exactly this size."""
    config = replace(exported_input(config, shape), num_clips=1, num_crops=1)
    return replace(config, fit="stretch", crop=(shape.height, shape.width)) if config.fit == "whole" else config


def read_clips(files: Sequence[Source], model: ModelConfig, config: InputConfig) -> list[np.ndarray]:
    """A clip `[1, 3, T, h, w]`, or image `[1, 3, h, w]`, of each of the first files that can be read.

    Raises:
        DataError: there is none.
    """
    views = TestViews([Sample(file) for file in files], model.frames, config)
    clips, broken = [], ""
    for index in _spread(len(views), MOST_CLIPS):
        sample = views[index]
        if isinstance(sample, BrokenSample):
            broken = f"; {sample.path}: {sample.reason}"
        else:
            clips.append(sample.clips if model.temporal else sample.clips[:, :, 0])
    if not clips:
        raise DataError(f"none of the {len(files)} files for verification can be read{broken}; give others as --data")
    return clips


def noise_clips(model: ModelConfig, shape: Shape) -> list[np.ndarray]:
    """Clips `[1, 3, T, h, w]`, or images `[1, 3, h, w]`, of random values: normal, as normalised pixels nearly are."""
    frames = (model.frames,) if model.temporal else ()
    generator = np.random.default_rng(0)
    clip_shape = (1, 3, *frames, shape.height, shape.width)
    return [generator.standard_normal(clip_shape, dtype=np.float32) for _ in range(NOISE_CLIPS)]


def _spread(num_files: int, most: int) -> list[int]:
    """At most so many of the files, evenly from first to last.

    >>> _spread(10, 4)
    [0, 2, 5, 7]
    """
    count = min(num_files, most)
    return [i * num_files // count for i in range(count)]


def _outputs(model: MorphMLP, clips: Sequence[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """What the checkpoint's model gives for each clip, by the names of its outputs."""
    outputs, names = Outputs(model), outputs_of(model)
    for clip in clips:
        with torch.no_grad():
            found = outputs(torch.from_numpy(clip))
        yield {name: output.numpy() for name, output in zip(names, found, strict=True)}


def _exported(model: MorphMLP, runtime: Runtime) -> dict[str, Output]:
    """What gives each output of the export of a model."""
    if FEATURES not in outputs_of(model):
        return {LOGITS: runtime.logits}
    return {LOGITS: runtime.logits, FEATURES: load_runtime(runtime.folder, output=FEATURES).features}


def _quantize(
    fp32: Path,
    out: Path,
    model: MorphMLP,
    clips: Sequence[np.ndarray],
    *,
    options: ExportOptions,
    stage: Callable[[str], None],
) -> dict[str, Any]:
    """Writes the model in int8; returns what `config.json` says of that."""
    if options.format == "onnx":
        quantize_onnx(fp32, out, clips)
        return {}
    best = [outputs[LOGITS].argmax(axis=1) for outputs in _outputs(model, clips)]
    drop = allowed_drop("int8", options.max_drop)
    return quantize_openvino(fp32, out, clips, best=best, max_drop=drop, stage=stage)


def _finished(
    folder: Path, model: MorphMLP, info: CheckpointInfo, *, options: ExportOptions, shape: Shape, export: dict[str, Any]
) -> Runtime:
    """The model's files, opened as a user will."""
    _write_config(folder, model, info, options=options, shape=shape, export=export)
    return load_runtime(folder)


def _write_config(
    folder: Path, model: MorphMLP, info: CheckpointInfo, *, options: ExportOptions, shape: Shape, export: dict[str, Any]
) -> None:
    """The checkpoint's `config.json`, and a part `export`."""
    size = {"height": None, "width": None} if shape.any_size else {"height": shape.height, "width": shape.width}
    part = {
        "format": options.format,
        "precision": options.precision,
        "computed_in": _computed_in(options),
        "files": {name: file_digest(folder / name) for name in MODEL_FILES[options.format]},
        "input": {"name": INPUT_NAME, "frames": model.config.frames, **size},
        "outputs": list(outputs_of(model)),
        **export,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "machine": f"{platform.machine()}, {platform.system()}, {torch.get_num_threads()} threads",
    }
    values = config_values(model.config, info) | {"export": part}
    (folder / CONFIG_FILE).write_text(as_json(values, indent=2) + "\n", encoding="utf-8")


def _computed_in(options: ExportOptions) -> str:
    """What the engine is told, in words: OpenVINO would choose by itself."""
    if options.format == "openvino":
        weights = "float16" if options.precision == "fp16" else "int8" if options.precision == "int8" else "float32"
        hint = {"fp32": "float32", "int8": "float32", "bf16": "bfloat16", "fp16": "float16"}[options.precision]
        return f"weights stored as {weights}; inference precision hint {hint}"
    if options.precision in ("fp16", "bf16"):
        return f"weights and products in {options.precision}; LayerNorm in float32"
    return {"fp32": "float32", "int8": "8-bit products, all else in float32"}[options.precision]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
