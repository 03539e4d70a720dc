"""Which engine computes a model fastest: `--engine auto` follows figures that were measured before.

The package brings figures of a few machines (`engine_speeds.json`), and `morphmlp bench --save` adds those of the
machine at hand. Nothing is measured when a model is used, and nothing here loads torch.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from morphmlp.config import ModelConfig
from morphmlp.errors import ConfigError
from morphmlp.files import read_text, replace_json
from morphmlp.output import tell
from morphmlp.system import cache_folder, processor_kind

ENGINES = ("auto", "torch", "optimized", "onnxruntime", "openvino")
EXPORTED = {"onnxruntime": "onnx", "openvino": "openvino"}  # engines that need an export, and its format
# What makes an export: PyTorch's exporter goes through ONNX for both.
NEEDED = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}
PRECISIONS = {"onnxruntime": ("fp32", "fp16"), "openvino": ("fp32", "fp16", "bf16")}
LEAST_GAIN = 1.05  # how many times as fast as plain PyTorch an engine must be: less is within what runs differ by
MOST_CLIPS_AT_A_TIME = 32
SHIPPED = Path(__file__).with_name("engine_speeds.json")


@dataclass(frozen=True)
class Speeds:
    """What a clip of a model takes in each engine on a machine.

    Attributes:
        processor: as `system.processor_kind` says.
        work: of a clip, see `work_per_clip`.
        batch: clips at a time.
        precision: "fp32" or "bf16".
        ms: milliseconds a clip by engine; "torch" is plain PyTorch, in bf16 under autocast.
        export_s: seconds that the export for an engine takes, once.
        source: where the figures are from, for people.
    """

    processor: str
    model: str
    work: float
    batch: int
    precision: str
    ms: Mapping[str, float]
    export_s: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    def distance(self, work: float, batch: int) -> float:
        """How far another model and batch are from these: by factors, 4 times the work counts as 1/4 of it."""
        return abs(math.log(self.work / work)) + abs(math.log(self.batch / batch))


@dataclass(frozen=True)
class Job:
    """What is to be computed.

    Attributes:
        work: of a clip, see `work_per_clip`.
        num_clips: how many there will be; 1 where that is not known.
    """

    work: float
    precision: str
    num_clips: int = 1


def work_per_clip(model: ModelConfig, height: int, width: int) -> float:
    """The products of a clip's blocks in relation to other models': tokens times width squared, in 10^9.

    The named nano on 16 frames of 64 px: 2,048 tokens of width 32 in 2 blocks, 512 of 64 in 2, 128 of 128 in 4 and 32
    of 256 in 2, which all take the same part: 2,097,152 * (2 + 2 + 4 + 2) = 0.021 x 10^9.
    """
    frames = math.ceil(model.frames / 2) if model.temporal else 1
    total = 0
    for stage, (depth, channels) in enumerate(zip(model.depths, model.widths, strict=True)):
        side = 4 * 2**stage
        total += depth * frames * math.ceil(height / side) * math.ceil(width / side) * channels**2
    return total / 1e9


def fastest(job: Job, *, free: Collection[str], payable: Iterable[str] = (), processor: str | None = None) -> str:
    """The engine in which a job is done soonest; plain PyTorch where none is known to be `LEAST_GAIN` times as fast.

    Args:
        free: engines that can start at once, beside "torch".
        payable: engines whose export has to be made first.
        processor: by default this one.
    """
    processor, payable = processor or processor_kind(), set(payable)
    speeds = known_speeds()
    kinds = {s.processor for s in speeds if s.precision == job.precision}
    # Of another kind of machine nothing is known: what pays on all that are known will pay there too.
    asked = [processor] if processor in kinds else sorted(kinds)
    seconds = [_seconds_on(kind, speeds, job, free=free, payable=payable) for kind in asked]
    paying = [engine for engine in ENGINES if seconds and all(engine in on_kind for on_kind in seconds)]
    ratios = {engine: sum(on_kind[engine] / on_kind["torch"] for on_kind in seconds) for engine in paying}
    return min(paying, key=lambda engine: ratios[engine], default="torch")


def _seconds_on(
    processor: str, speeds: Sequence[Speeds], job: Job, *, free: Collection[str], payable: Collection[str]
) -> dict[str, float]:
    """What a job takes on a kind of machine in plain PyTorch, and in the engines that are known to do it sooner."""
    rows = [s for s in speeds if (s.processor, s.precision) == (processor, job.precision)]
    if not rows or job.work < 0.99 * min(row.work for row in rows):
        return {"torch": 1.0}  # of less work than was ever measured, calls cost more than products
    batch = min(job.num_clips, MOST_CLIPS_AT_A_TIME)
    near = min(rows, key=lambda row: row.distance(job.work, batch))  # the first of equals: the user's own figures
    scale = job.work / near.work
    torch_s = job.num_clips * near.ms["torch"] * scale / 1000
    seconds = {"torch": torch_s}
    for engine in ENGINES:
        if engine not in near.ms or near.ms[engine] * LEAST_GAIN > near.ms["torch"]:
            continue
        export_s = 0.0 if engine in free else _export_s(engine, near, speeds) if engine in payable else None
        computing = job.num_clips * near.ms[engine] * scale / 1000
        if export_s is not None and computing + export_s < torch_s:
            seconds[engine] = computing + export_s
    return seconds


def _export_s(engine: str, near: Speeds, speeds: Sequence[Speeds]) -> float | None:
    """Seconds that the export for an engine takes; None where they are not known.

    A row without them takes the longest of the same model: they follow from its layers, hardly from the batch, the
    precision and the size of a clip. Those of another machine are an estimate.
    """
    rows = [near] if engine in near.export_s else [row for row in speeds if row.model == near.model]
    return max((row.export_s[engine] for row in rows if engine in row.export_s), default=None)


def can_export(engine: str) -> bool:
    """Whether the packages are installed that an export for an engine needs, beside PyTorch."""
    return all(find_spec(name) is not None for name in NEEDED[engine])


def can_run(engine: str) -> bool:
    """Whether the engine is installed."""
    return find_spec(engine) is not None


def require_engine(engine: str) -> None:
    """Raises ConfigError for a name that is none of an engine."""
    if engine not in ENGINES:
        raise ConfigError(f"engine is {engine!r}; allowed: {', '.join(ENGINES)}")


# ------------------------------------------------------------------------------------------------------ the figures


def own_speeds_file() -> Path:
    """Where `morphmlp bench --save` keeps figures of the user's machine."""
    return cache_folder("engines") / "speeds.json"


def known_speeds() -> list[Speeds]:
    """The user's own figures, and then those of the package."""
    own = own_speeds_file()
    return [*_own_speeds(own), *shipped_speeds()]


@cache
def shipped_speeds() -> tuple[Speeds, ...]:
    """The figures that the package brings."""
    return tuple(read_speeds(SHIPPED))


def _own_speeds(path: Path) -> list[Speeds]:
    """A damaged file costs speed, not the answer."""
    try:
        return read_speeds(path)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        tell(f"{path} cannot be read, so its figures do not count: remove it, or write it anew by `bench --save`")
        return []


def read_speeds(path: Path) -> list[Speeds]:
    """The figures of a file.

    Raises:
        OSError, ValueError, TypeError, KeyError: it cannot be read, or holds something else.
    """
    rows = [Speeds(**values) for values in json.loads(read_text(path))["speeds"]]
    for row in rows:
        figures = [row.work, row.batch, row.ms["torch"], *row.ms.values(), *row.export_s.values()]
        if not all(isinstance(figure, int | float) and figure > 0 for figure in figures):
            raise ValueError(f"{path}: a figure is not above 0")
    return rows


def save_speeds(rows: Sequence[Speeds], path: Path | None = None) -> Path:
    """Adds figures to the user's file, in the place of earlier ones of the same model, batch and machine."""
    path = path or own_speeds_file()
    new = {_identity(row) for row in rows}
    kept = [row for row in _own_speeds(path) if _identity(row) not in new]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_json(path, {"speeds": [_plain(row) for row in [*rows, *kept]]})
    return path


def _identity(row: Speeds) -> tuple[Any, ...]:
    return row.processor, row.model, row.work, row.batch, row.precision


def _plain(row: Speeds) -> dict[str, Any]:
    return asdict(row)
