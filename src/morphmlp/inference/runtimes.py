"""Exported models in use: the folder that `morphmlp export` wrote, run by ONNX Runtime, OpenVINO or torch.

Arrays go in and come out, and nothing but the engine itself is imported: ONNX Runtime and OpenVINO need no torch.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from morphmlp.config import ModelConfig
from morphmlp.errors import CheckpointError, ConfigError, UserError
from morphmlp.files import read_text, require_file
from morphmlp.formatting import first_line
from morphmlp.inference.device import Execution
from morphmlp.inference.openvino_model import OpenVinoModel
from morphmlp.output import tell

CONFIG_FILE = "config.json"  # as of a checkpoint
MODEL_FILES = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin"), "torch": ("model.pt2",)}
ENGINES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}  # the packages that run them
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
# What OpenVINO computes in, which it would choose by itself: bf16 wherever the processor has it.
OPENVINO_PRECISIONS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
OUTPUTS = LOGITS, FEATURES = "logits", "features"  # of a classifier; a segmenter has logits alone
CLIPS_PER_RUN = 32
# Height and width that an export for any size takes. Of one token a side, torch.export makes a case of its own.
SIZE_STEP_PX, LEAST_SIZE_PX = 32, 64

Compute = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ExportInfo:
    """The part `export` of an exported folder's `config.json`, as far as running the model depends on it.

    Attributes:
        format: "onnx", "openvino" or "torch".
        precision: "fp32", "fp16", "bf16" or "int8".
        files: SHA-256 of each file of the model, by its name.
        height, width: of the frames in px; None of an export that takes any.
        outputs: what it can give, of `OUTPUTS`; an earlier version wrote no features.
    """

    format: str
    precision: str
    files: dict[str, str]
    height: int | None
    width: int | None
    outputs: tuple[str, ...] = (LOGITS,)


class Runtime:
    """An exported model, ready for clips.

    Attributes:
        config: of the model that was exported.
        export: how it was exported.
        output: what it was opened for, of `OUTPUTS`.
    """

    def __init__(self, folder: Path, config: ModelConfig, export: ExportInfo, compute: Compute, output: str = LOGITS):
        self.folder = folder
        self.config = config
        self.export = export
        self.output = output
        self._compute = compute

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Normalised clips `[B, 3, T, H, W]`, or images `[B, 3, H, W]`, -> float32 logits `[B, classes, ...]`.

        Raises:
            ConfigError: the frames are not as many, or not of the size, that the export takes.
        """
        assert self.output == LOGITS
        return self._run(clips)

    def features(self, clips: np.ndarray) -> np.ndarray:
        """Clips as of `logits` -> what a classifier's head is given, float32 `[B, C]`.

        Raises:
            ConfigError: as of `logits`.
        """
        assert self.output == FEATURES
        return self._run(clips)

    def _run(self, clips: np.ndarray) -> np.ndarray:
        if clips.ndim == 5 and not self.config.temporal and clips.shape[2] == 1:
            clips = clips[:, :, 0]  # an image may come as a clip of one frame
        self._check(clips.shape)
        clips = np.ascontiguousarray(clips, dtype=np.float32)
        parts = [self._compute(clips[i : i + CLIPS_PER_RUN]) for i in range(0, len(clips), CLIPS_PER_RUN)]
        return np.concatenate(parts).astype(np.float32, copy=False)

    def _check(self, shape: Sequence[int]) -> None:
        frames = (self.config.frames,) if self.config.temporal else ()
        wanted = (3, *frames, self.export.height, self.export.width)
        if shape[0] and len(shape) == 1 + len(wanted) and all(map(_fits, shape[1:], wanted)):
            return
        text = " x ".join("any" if side is None else str(side) for side in wanted)
        hint = "for other sizes, export again with --dynamic-size or --size"
        if self.export.height is None:
            hint = f"any is a multiple of {SIZE_STEP_PX} px from {LEAST_SIZE_PX} px on"
        raise ConfigError(
            f"input of {' x '.join(map(str, shape[1:]))} (channels, frames if any, height, width): the model in "
            f"{self.folder} was exported for {text}; {hint}"
        )


def _fits(side: int, wanted: int | None) -> bool:
    if wanted is None:
        return side >= LEAST_SIZE_PX and side % SIZE_STEP_PX == 0
    return side == wanted


def is_exported(folder: str | Path) -> bool:
    """Whether a folder is one that `morphmlp export` wrote: its `config.json` has a part `export`."""
    try:
        return "export" in json.loads(read_text(Path(folder) / CONFIG_FILE))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def load_runtime(folder: str | Path, execution: Execution | None = None, *, output: str = LOGITS) -> Runtime:
    """Loads an exported folder's model.

    Args:
        execution: only "auto" and "cpu" are devices of an exported model, and its precision is in the file.
        output: what it shall compute, of `OUTPUTS`.

    Raises:
        CheckpointError: the folder is not exported, a file is missing, model and config do not belong together, or it
            was exported without this output.
        ConfigError: another device or precision is asked for.
        UserError: the engine is not installed.

    Example:
        >>> load_runtime("exported").logits(np.zeros((2, 3, 16, 64, 64), np.float32)).shape
        (2, 8)
    """
    folder = Path(folder)
    config, export = read_export(folder)
    _require_usual(folder, export, execution or Execution())
    if output not in export.outputs:
        raise CheckpointError(
            f"{folder} was exported without {output}, by an earlier version; export its checkpoint again, or give the "
            "checkpoint"
        )
    engine = _engine(folder, export)
    for name, digest in export.files.items():
        if file_digest(folder / name) != digest:
            raise CheckpointError(
                f"{folder / name} is not the model that {CONFIG_FILE} was written for (another digest); export again"
            )
    try:
        compute = OPENERS[export.format](engine, folder, export, output)
    except Exception as error:  # ONNX Runtime raises kinds of its own, as for a file of a later version
        reason = first_line(error)
        raise CheckpointError(
            f"{folder} cannot be opened by {ENGINES[export.format]}: {reason}; export again"
        ) from None
    return Runtime(folder, config, export, compute, output)


def read_export(folder: Path) -> tuple[ModelConfig, ExportInfo]:
    """What `config.json` says of the model and of its export.

    Raises:
        CheckpointError: it is missing or damaged, or of a format that this version does not know.
    """
    path = folder / CONFIG_FILE
    try:
        values = json.loads(read_text(path))
        export, size = values["export"], values["export"]["input"]
        if export["format"] not in MODEL_FILES or export["precision"] not in PRECISIONS:
            raise CheckpointError(
                f"{path}: format {export['format']!r} in precision {export['precision']!r} is unknown; "
                f"known: {', '.join(MODEL_FILES)}; {', '.join(PRECISIONS)}"
            )
        files = {name: str(export["files"][name]) for name in MODEL_FILES[export["format"]]}
        outputs = tuple(map(str, export.get("outputs", [LOGITS])))
        info = ExportInfo(export["format"], export["precision"], files, size["height"], size["width"], outputs)
        model = ModelConfig.from_dict(values["model"])
        if size["frames"] != model.frames:
            raise CheckpointError(
                f"{path}: the model takes {model.frames} frames, but was exported for {size['frames']}; export again"
            )
        return model, info
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not that of an exported model ({error!r}); export again") from None


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        require_file(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: the folder is not complete; copy or make it again") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None


def require_precision(folder: Path, export: ExportInfo, precision: str) -> None:
    """Raises ConfigError where a folder was exported in another precision."""
    if precision != export.precision:
        raise ConfigError(
            f"{folder} was exported in {export.precision}, not {precision}: leave out --precision, or export again "
            f"with --precision {precision}"
        )


def _require_usual(folder: Path, export: ExportInfo, execution: Execution) -> None:
    if execution.precision != Execution().precision:
        require_precision(folder, export, execution.precision)
    if execution.device not in ("auto", "cpu"):
        raise ConfigError(f"--device is {execution.device!r}; an exported model runs on the cpu: {folder}")


def _engine(folder: Path, export: ExportInfo) -> Any:
    return require_package(ENGINES[export.format], why=f"{folder} is exported for {export.format}")


def require_package(name: str, *, why: str) -> Any:
    """Imports a package that an extra brings.

    From 1.32 on ONNX Runtime sends events to its makers unless it is told not to: we tell it, and a value of the
    user's own in `ORT_DISABLE_TELEMETRY` counts.

    Raises:
        UserError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"{why}, which needs {name}: pip install {name}") from None


def _open_onnx(onnxruntime: Any, folder: Path, export: ExportInfo, output: str = LOGITS) -> Compute:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    # By itself its threads go on in a loop for a while after each run, and take the cores from what comes next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda clips: session.run([output], {name: clips})[0]


def _open_openvino(openvino: Any, folder: Path, export: ExportInfo, output: str = LOGITS) -> Compute:
    """A second output would change how OpenVINO computes the first in bf16, so that the file has the logits alone.

    The features are a value within the graph, by their name; they become an output where they are asked for.
    """
    asked = OPENVINO_PRECISIONS[export.precision]
    inner = None if output == LOGITS else output
    model = OpenVinoModel(openvino_core(), folder / "model.xml", precision=asked, inner=inner)
    # Without a word it takes another precision where the processor has not the one it was told: bf16 for fp16, say.
    if model.precision != asked:
        _tell_once(f"{folder}: this processor computes no {asked}, so OpenVINO takes {model.precision}")
    return model


@cache
def openvino_core() -> Any:
    """OpenVINO's core with the plugin of the CPU: one for the process, which is kept to its end.

    Each core lets the plugin set a stack of its own for the handlers of signals. Where two overlap, the end of the
    second gives the thread back the stack of the first, which is freed by then: the next signal, such as Ctrl-C or the
    end of a process of a loader, is a segmentation fault (OpenVINO 2026.4).
    """
    core = require_package("openvino", why="the engine openvino").Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # which loads the plugin, before another core can
    return core


_tell_once = cache(tell)  # a folder may be opened for each of its outputs


def _open_torch(torch: Any, folder: Path, export: ExportInfo, output: str = LOGITS) -> Compute:
    import torch.export

    # Of an export for any size, torch's guards also ask whether maps need padding as those did that it was made with;
    # the graph computes the padding, and `Runtime` checks the size.
    module = torch.export.load(folder / "model.pt2").module(check_guards=export.height is not None)

    def compute(clips: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            outputs = module(torch.from_numpy(clips))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)  # an earlier version exported no tuple
        return outputs[OUTPUTS.index(output)].numpy()

    return compute


OPENERS = {"onnx": _open_onnx, "openvino": _open_openvino, "torch": _open_torch}
