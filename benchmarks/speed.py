"""Video S and image T beside the released way of computing them and beside models of torchvision, on this machine.

    python benchmarks/speed.py [--training] [--compile] [--json results.json] [--plot speed.png]
    python benchmarks/speed.py --apart [--training] | --growth [--json results.json]

All take turns on the same random input: 1 clip of 16 x 224 x 224, and 16 images of 224 x 224. 1 x is the naive form of
the same network (`naive.py`) in fp32. `--apart` compares it with the optimized form in processes of their own, which
take turns: only the optimized form keeps freed memory then, as for a user; in one process, all rows keep it. With
`--training`, the same of a training step: only ours keeps freed memory, as `morphmlp train` does. `--growth`
shows how seconds and memory of the optimized video S grow with frames, size and batch, each point in a process of its
own. `--quick` does the same with small models.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from naive import as_released

from morphmlp.analysis.bench.bench import Report, bench, input_for, load_model, published_accuracy, references_for
from morphmlp.analysis.bench.candidates import Candidate, Subject, TrainingStep, predict, training_candidates
from morphmlp.analysis.bench.memory import peak_bytes
from morphmlp.analysis.bench.report import machine_text, plot_speed, report_tables
from morphmlp.analysis.bench.timing import Machine, describe_machine, growth_exponent, measure
from morphmlp.display.tables import print_all
from morphmlp.inference.allocator import ALL_BYTES, keep_freed_memory
from morphmlp.inference.device import resolve_device
from morphmlp.inference.optimize import optimize
from morphmlp.models.morphmlp import MorphMLP

RELEASED = "as released, "


@dataclass(frozen=True)
class Point:
    """A model, its form and its input, whose cost is measured in a process of its own."""

    model: str
    frames: int | None
    size: int
    batch: int
    dtype: str = "bf16"
    released: bool = False
    training: bool = False
    recomputes: bool | str = False  # `ModelConfig.gradient_checkpointing`


@dataclass(frozen=True)
class Plan:
    """What is measured: models with their batches, the first point of `--growth`, and the values it grows to."""

    models: dict[str, int]
    size: int
    base: Point
    growth: dict[str, tuple[int, ...]]


FULL = Plan(
    {"morphmlp_video_s": 1, "morphmlp_image_t": 16},
    224,
    Point("morphmlp_video_s", 16, 224, 1),
    {"frames": (8, 16, 32, 64), "size": (112, 160, 224, 320, 448), "batch": (1, 2, 4, 8, 16, 32)},
)
QUICK = Plan(
    {"morphmlp_video_nano": 1, "morphmlp_image_nano": 2},
    32,
    Point("morphmlp_video_nano", 8, 32, 1),
    {"frames": (4, 8), "size": (32, 64), "batch": (1, 2)},
)


def main() -> None:
    options = _parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    if options.point:
        print(json.dumps(measure_point(Point(**json.loads(options.point)), turns=options.turns, device=device)))
        return
    plan = QUICK if options.quick else FULL
    machine = describe_machine(device)
    results: dict[str, Any] = {"machine": asdict(machine)}
    if options.apart:
        print(machine_text(machine))
        results["apart"] = [row for name in plan.models for row in measure_apart(name, plan, options)]
    elif options.growth:
        print(machine_text(machine))
        results["growth"] = list(measure_growth(plan, options))
        results["exponents"] = exponents(results["growth"])
        print_exponents(results["exponents"])
    else:
        reports = [
            measure_model(name, machine, options, batch=batch, size=plan.size) for name, batch in plan.models.items()
        ]
        results["reports"] = [report.to_dict() for report in reports]
        if options.plot:
            plot_speed(reports, options.plot)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", action="store_true", help="time a training step instead of a prediction")
    parser.add_argument("--compile", action="store_true", help="time compiled models too; compiling takes minutes")
    parser.add_argument("--apart", action="store_true", help="released and optimized, each in its own process")
    parser.add_argument("--growth", action="store_true", help="how the cost grows, instead of the comparison")
    parser.add_argument("--quick", action="store_true", help="small models and inputs")
    parser.add_argument("--turns", type=int, default=5, help="turns that are compared (default: 5)")
    parser.add_argument("--threads", type=int, help="of the CPU (default: what PyTorch takes)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--plot", type=Path, help="draw published accuracy over speed, as PNG; for the comparison only")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: there is no such folder")
    if options.turns < 1 or (options.threads is not None and options.threads < 1):
        parser.error("--turns and --threads are 1 or more")
    if options.compile and options.training:
        parser.error("--compile is for prediction; leave it out, or leave --training out")
    if options.growth and options.apart:
        parser.error("--growth and --apart: give one of them")
    if (options.growth or options.apart) and (options.plot or options.compile):
        parser.error("--growth and --apart: leave --plot and --compile out")
    if options.growth and options.training:
        parser.error("--growth measures predictions only; leave --training out")
    return options


# ------------------------------------------------------------------------------------------------------- comparison


def measure_model(name: str, machine: Machine, options: argparse.Namespace, *, batch: int, size: int) -> Report:
    """A model as released, as it is here, and those of torchvision; prints the table."""
    model, _ = load_model(name, None, None)
    fed = input_for(model, batch=batch, size=size)
    report = bench(
        model,
        fed,
        published=published_accuracy(name, fed),
        against=references_for(model),
        training=options.training,
        compiled=options.compile,
        turns=options.turns,
        device=torch.device(machine.device),
        machine=machine,
        before=released_training if options.training else released_inference,
    )
    print_all(report_tables(report))
    return report


def released_inference(model: MorphMLP, subject: Subject, clips: torch.Tensor) -> list[Candidate]:
    """The naive form in fp32 and bf16 autocast."""
    naive = as_released(model)
    return [
        Candidate(subject, f"{RELEASED}fp32", partial(predict, naive, clips), "fp32"),
        Candidate(subject, f"{RELEASED}bf16 autocast", partial(predict, naive, clips, "bf16"), "bf16"),
    ]


def released_training(model: MorphMLP, subject: Subject, clips: torch.Tensor) -> list[Candidate]:
    """The naive form in fp32 and bf16 autocast, with and without gradient checkpointing."""
    candidates = training_candidates(as_released(model), subject, clips)
    return [
        replace(candidate, setting=RELEASED + candidate.setting)
        for candidate in candidates
        if "cheap" not in candidate.setting  # the naive layers keep their copies and sums
    ]


# ------------------------------------------------------------------------------------------- processes of their own


def measure_apart(name: str, plan: Plan, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A model as released and optimized, each turn a process; prints and returns medians, and ratios within a turn."""
    frames = plan.base.frames if "video" in name else None
    base = Point(name, frames, plan.size, plan.models[name], training=options.training)
    forms = training_forms(base) if options.training else inference_forms(base)
    costs: dict[str, list[dict[str, Any]]] = {form: [] for form in forms}
    try:
        for _ in range(options.turns):
            for form, point in forms.items():
                costs[form].append(run_apart(point, options))
    except RuntimeError as error:  # perhaps out of memory; the other model may still run
        print(f"{name}  left out: {error}", flush=True)
        return []
    rows = []
    first = [cost["seconds"] for cost in next(iter(costs.values()))]
    for form, own in costs.items():
        seconds, peak = [cost["seconds"] for cost in own], own[0]["peak_bytes"]
        ratio = median(theirs / ours for theirs, ours in zip(first, seconds, strict=True))
        row = {"seconds": median(seconds), "turns_s": seconds, "ratio": ratio, "peak_bytes": peak}
        rows.append({**asdict(forms[form]), **row})
        print(f"{name:<20}{form:<30}{1000 * median(seconds):>9.1f} ms{ratio:>8.2f} x{peak / 1e6:>9.1f} MB", flush=True)
    return rows


def inference_forms(base: Point) -> dict[str, Point]:
    return {
        f"{RELEASED}fp32": replace(base, dtype="fp32", released=True),
        "fp32, optimized": replace(base, dtype="fp32"),
        "bf16, optimized": base,
    }


def training_forms(base: Point) -> dict[str, Point]:
    return {
        f"{RELEASED}bf16 autocast": replace(base, released=True),
        "bf16 autocast": base,
        "bf16 autocast, cheap": replace(base, recomputes="cheap"),
        "bf16 autocast, checkpointing": replace(base, recomputes=True),
    }


def run_apart(point: Point, options: argparse.Namespace) -> dict[str, Any]:
    """The cost of a point, from a process of its own.

    Raises:
        RuntimeError: the process failed; the last line that it printed.
    """
    command = [sys.executable, __file__, "--point", json.dumps(asdict(point)), "--device", options.device]
    command += ["--turns", str(options.turns)]
    command += ["--threads", str(options.threads)] if options.threads else []
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError((child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1])
    return json.loads(child.stdout)


# ----------------------------------------------------------------------------------------------------------- growth


def measure_growth(plan: Plan, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Seconds and memory at each point; prints a line for each as soon as it is measured."""
    print(f"{'grows':<8}{'frames':>8}{'size':>8}{'batch':>8}{'s':>10}{'peak MB':>10}")
    for grows, values in plan.growth.items():
        for value in values:
            point = replace(plan.base, **{grows: value})
            line = f"{grows:<8}{point.frames:>8}{point.size:>8}{point.batch:>8}"
            try:
                cost = run_apart(point, options)
            except RuntimeError as error:  # perhaps out of memory; the other points may still run
                print(f"{line}  left out: {error}", flush=True)
                continue
            yield {"grows": grows, **asdict(point), **cost}
            print(f"{line}{cost['seconds']:>10.4f}{cost['peak_bytes'] / 1e6:>10.1f}", flush=True)


def exponents(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The p of cost ~ x^p for seconds and memory, by what grows, where there are two points or more.

    >>> exponents([{"grows": "batch", "batch": x, "seconds": 2 * x, "peak_bytes": x * x} for x in (1, 2, 4)])
    {'batch': {'seconds': 1.0, 'peak_bytes': 2.0}}
    """
    fitted: dict[str, dict[str, float]] = {}
    for grows in dict.fromkeys(row["grows"] for row in rows):
        for cost in ("seconds", "peak_bytes"):
            points = [(row[grows], row[cost]) for row in rows if row["grows"] == grows]
            if len(points) > 1:
                fitted.setdefault(grows, {})[cost] = round(growth_exponent(*zip(*points, strict=True)), 3)
    return fitted


def print_exponents(fitted: dict[str, dict[str, float]]) -> None:
    for grows, costs in fitted.items():
        for cost, exponent in costs.items():
            print(f"{cost} ~ {grows}^{exponent:.2f}")


def measure_point(point: Point, *, turns: int, device: torch.device) -> dict[str, Any]:
    """Median seconds of a prediction or a training step, and the most memory that its tensors take."""
    model, _ = load_model(point.model, None, point.frames)
    model.to(device)
    clips = input_for(model, batch=point.batch, size=point.size).random(device)
    call = training_call(model, clips, point) if point.training else inference_call(model, clips, point)
    seconds = measure({"": call}, turns, device=device).timings[""].median_s
    return {"seconds": seconds, "peak_bytes": peak_bytes(call, device)}


def inference_call(model: MorphMLP, clips: torch.Tensor, point: Point) -> Callable[[], Any]:
    form: torch.nn.Module = as_released(model) if point.released else optimize(model, dtype=point.dtype)
    return partial(predict, form, clips)


def training_call(model: MorphMLP, clips: torch.Tensor, point: Point) -> Callable[[], Any]:
    if clips.is_cpu and not point.released:
        keep_freed_memory(ALL_BYTES)  # as `training.learner` does
    form = (as_released(model) if point.released else model).train()
    optimizer = torch.optim.AdamW(form.parameters(), lr=1e-6, fused=True)
    dtype: Any = point.dtype
    return TrainingStep(form, optimizer, clips, precision=dtype, gradient_checkpointing=point.recomputes)


if __name__ == "__main__":
    main()
