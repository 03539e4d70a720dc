"""Models that `bench` times outside PyTorch: exported for other engines, and folders that were exported before."""

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from morphmlp.analysis.bench.candidates import Candidate, Dtype, Input, Subject
from morphmlp.errors import ConfigError
from morphmlp.export.formats import read_openvino, save_openvino, write_onnx_file
from morphmlp.formatting import first_line
from morphmlp.inference.engines import EXPORTED, NEEDED, Speeds, work_per_clip
from morphmlp.inference.optimize import Agreement
from morphmlp.inference.runtimes import ENGINES, OPENERS, Compute, ExportInfo, Runtime, openvino_core, require_package
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.system import processor_kind

PRECISIONS = {"onnxruntime": ("fp32",), "openvino": ("fp32", "bf16")}  # that are timed
AUTOCAST = "bf16 autocast"
# The settings of our own model that `--engine` chooses among, by precision.
SETTINGS = {
    "fp32": {"torch": "fp32", "optimized": "fp32, optimized"},
    "bf16": {"torch": AUTOCAST, "optimized": "bf16, optimized"},
}
for _engine, _precisions in PRECISIONS.items():
    for _precision in _precisions:
        SETTINGS[_precision][_engine] = f"{_precision}, {_engine}"


def require_engines(engines: Sequence[str], device: torch.device) -> None:
    """Raises UserError where a package is missing, or the device is none of the engines', before anything is timed."""
    if engines and device.type != "cpu":
        raise ConfigError(
            f"--engines {' '.join(engines)}: they are timed on the cpu, not on {device}; give --device cpu"
        )
    for engine in engines:
        for package in NEEDED[engine]:
            require_package(package, why=f"--engines {engine}")


def engine_candidates(model: nn.Module, subject: Subject, clips: Tensor, engines: Sequence[str]) -> list[Candidate]:
    """A model in each engine and precision: exported once, for any number of clips of this size.

    A model that cannot be exported, or that an engine refuses, becomes a candidate that says so when it is called.
    """
    if not engines:
        return []
    settings = [(engine, precision) for engine in engines for precision in PRECISIONS[engine]]
    with tempfile.TemporaryDirectory(prefix="morphmlp-bench-") as name:
        folder, start = Path(name), time.perf_counter()
        try:
            write_onnx_file(model.eval(), clips, folder / "model.onnx")
        except Exception as error:  # the exporter raises many kinds, for models that are not ours too
            reason = f"cannot be exported: {first_line(error)}"
            return [_refusing(subject, engine, precision, reason) for engine, precision in settings]
        exported_s = time.perf_counter() - start
        return [
            _engine_candidate(folder, model, subject, clips, engine, precision, exported_s)
            for engine, precision in settings
        ]


def _engine_candidate(
    folder: Path, model: nn.Module, subject: Subject, clips: Tensor, engine: str, precision: str, exported_s: float
) -> Candidate:
    start = time.perf_counter()
    try:
        compute = _opened(folder, model, clips, engine, precision)
    except Exception as error:  # the engines raise kinds of their own, for models that are not ours
        if isinstance(model, MorphMLP) and not isinstance(error, (RuntimeError, ValueError, OSError)):
            raise
        return _refusing(subject, engine, precision, first_line(error))
    array = clips.numpy()
    return Candidate(
        subject,
        SETTINGS[precision][engine],
        partial(compute, array),
        cast("Dtype", precision),
        compiled=True,
        agreement=partial(_agreement, model, compute, array),
        export_s=exported_s + time.perf_counter() - start,
    )


def _opened(folder: Path, model: nn.Module, clips: Tensor, engine: str, precision: str) -> Compute:
    """The engine with the model, as `runtimes` opens it."""
    package = require_package(engine, why=f"--engines {engine}")
    if engine == "openvino":
        if precision == "bf16" and "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ValueError("this processor computes no bf16")
        if not (folder / "model.xml").exists():
            save_openvino(_openvino_model(package, folder, model, clips), folder, "fp32")
    height, width = clips.shape[-2:]
    return OPENERS[EXPORTED[engine]](package, folder, ExportInfo(EXPORTED[engine], precision, {}, height, width))


def _openvino_model(openvino: Any, folder: Path, model: nn.Module, clips: Tensor) -> Any:
    """From ONNX, as `export` makes ours. Another's, whose ONNX file OpenVINO cannot read (swin3d's), is traced."""
    try:
        return read_openvino(folder / "model.onnx")
    except Exception:  # openvino's own kinds
        if isinstance(model, MorphMLP):
            raise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer: the logits are compared
            return openvino.convert_model(model, example_input=clips, input=[[-1, *clips.shape[1:]]])


def _refusing(subject: Subject, engine: str, precision: str, reason: str) -> Candidate:
    def call() -> None:
        raise RuntimeError(reason)

    return Candidate(subject, SETTINGS[precision][engine], call, cast("Dtype", precision), compiled=True)


def _agreement(model: nn.Module, compute: Compute, clips: np.ndarray) -> Agreement:
    with torch.no_grad():
        expected = model(torch.from_numpy(clips)).numpy()
    actual = compute(clips)
    same = (expected.argmax(axis=1) == actual.argmax(axis=1)).mean()
    return Agreement(float(same), float(np.abs(expected - actual).max() / np.abs(expected).max()))


def exported_candidates(runtime: Runtime, subject: Subject, clips: Tensor) -> list[Candidate]:
    """A folder that was exported before, as it is."""
    call: Callable[[], Any] = partial(runtime.logits, clips.numpy())
    precision, engine = runtime.export.precision, ENGINES[runtime.export.format]
    return [Candidate(subject, f"{precision}, {engine}", call, cast("Dtype", precision), compiled=True)]


def speeds_of(model: MorphMLP, fed: Input, rows: Sequence[Any], *, source: str) -> list[Speeds]:
    """What `--engine auto` follows from now on: the rows of a model whose plain form was timed.

    Args:
        rows: of `bench.SpeedRow`.
        source: of the figures, for people.
    """
    timed = {row.setting: row for row in rows if row.model == model.config.name and row.median_s is not None}
    found = []
    for precision, settings in SETTINGS.items():
        own = {engine: timed[setting] for engine, setting in settings.items() if setting in timed}
        if "torch" not in own or len(own) < 2:
            continue
        found.append(
            Speeds(
                processor_kind(),
                model.config.name,
                work_per_clip(model.config, fed.size, fed.size),
                fed.batch,
                precision,
                {engine: round(1000 * row.median_s / fed.batch, 4) for engine, row in own.items()},
                {engine: round(row.export_s, 1) for engine, row in own.items() if row.export_s},
                source,
            )
        )
    return found
