"""All engines beside one another on this machine: PyTorch, `optimize`, ONNX Runtime and OpenVINO.

    python benchmarks/engines.py [--turns 9] [--threads 2] [--models nano,s,t] [--json results.json]

Three tables: nano on a clip of 16 x 64 x 64, video S on one of 16 x 224 x 224, image T on 16 images of 224 x 224. The
models of torchvision take the same input, in PyTorch and exported to OpenVINO. All rows of a table take turns in one
run, and a ratio is the median of the ratios within a turn to the plain model. `--processor-time` counts the time that
the process computes instead of the time that passes: give it with `--threads 1` on a machine that others use too.
`--transposes` counts those of a graph as the engine runs it, and the bytes that they read and write.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from morphmlp.analysis.bench.report import machine_text
from morphmlp.analysis.bench.timing import describe_machine, measure
from morphmlp.analysis.bench.torchvision_models import Reference, image_references, video_references
from morphmlp.export.formats import OPSET, Shape, quiet, write_onnx
from morphmlp.inference.optimize import optimize
from morphmlp.models.zoo import create_model

Call = Callable[[], Any]
MODELS: dict[str, tuple[str, tuple[int, ...]]] = {
    "nano": ("morphmlp_video_nano", (1, 3, 16, 64, 64)),
    "s": ("morphmlp_video_s", (1, 3, 16, 224, 224)),
    "t": ("morphmlp_image_t", (16, 3, 224, 224)),
}


def main() -> None:
    options = _parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    results: dict[str, Any] = {}
    if not options.transposes:
        machine = describe_machine(torch.device("cpu"))
        print(machine_text(machine))
        results["machine"] = asdict(machine)
    for name in options.models.split(","):
        results[name] = measure_engines(name, options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9, help="turns that are compared (default: 9)")
    parser.add_argument("--threads", type=int, help="of the CPU, for all engines (default: what PyTorch takes)")
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(MODELS)} (default: all)")
    parser.add_argument("--no-references", action="store_true", help="leave torchvision's models out")
    parser.add_argument("--processor-time", action="store_true", help="count the time that the process computes")
    parser.add_argument("--transposes", action="store_true", help="count transposes and their bytes, time nothing")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    if unknown := set(options.models.split(",")) - set(MODELS):
        parser.error(f"--models {', '.join(unknown)}: allowed are {', '.join(MODELS)}")
    return options


def measure_engines(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One table; prints it and returns its rows."""
    full_name, shape = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.onnx"
        model = create_model(full_name, **({"frames": shape[2]} if len(shape) == 5 else {})).eval()
        write_onnx(model, path.parent, Shape(*shape[-2:]), "fp32")
        (path.parent / "model.onnx").rename(path)
        if options.transposes:
            return _print_transposes(full_name, path, shape)
        clips = torch.randn(shape)
        rows = dict(own_calls(full_name, model, path, clips))
        if not options.no_references and name != "nano":
            for reference in video_references() if len(shape) == 5 else image_references():
                rows |= reference_calls(reference, Path(folder), clips)
        clock = time.process_time if options.processor_time else time.perf_counter
        measured = measure(rows, options.turns, clock=clock)
    for row, timing in measured.timings.items():
        print(f"{row:<48}{1000 * timing.median_s:>10.2f} ms{timing.ratio:>8.2f} x", flush=True)
    for row, reason in measured.refused.items():
        print(f"{row:<48}  left out: {reason}")
    return {row: {"turns_s": timing.turns_s, "ratio": timing.ratio} for row, timing in measured.timings.items()}


def own_calls(name: str, model: Any, path: Path, clips: Tensor) -> Iterator[tuple[str, Call]]:
    """The plain model first: it is the 1 of the ratios."""
    yield f"{name}, plain fp32", partial(_without_gradients, model, clips)
    for dtype in ("fp32", "bf16"):
        yield f"{name}, optimized {dtype}", partial(_without_gradients, optimize(model, dtype), clips)
    yield f"{name}, ONNX Runtime fp32", onnxruntime_call(path, clips)
    for hint in ("f32", "bf16"):
        yield f"{name}, OpenVINO {hint}", openvino_call(path, clips, hint)


def reference_calls(reference: Reference, folder: Path, clips: Tensor) -> dict[str, Call]:
    """A model of torchvision, plain and in OpenVINO; its graph is for this one shape, which favours it."""
    model = reference.build().eval()
    calls: dict[str, Call] = {f"{reference.name}, plain fp32": partial(_without_gradients, model, clips)}
    path = folder / f"{reference.name}.onnx"
    try:
        with quiet(), torch.no_grad():
            exported = torch.onnx.export(model, (clips,), dynamo=True, opset_version=OPSET)
        assert exported is not None
        exported.save(path, external_data=False)
    except Exception as error:  # whatever the exporter raises: the other rows still count
        print(f"{reference.name}: cannot be exported: {str(error).splitlines()[0]}")
        return calls
    return calls | {f"{reference.name}, OpenVINO {hint}": openvino_call(path, clips, hint) for hint in ("f32", "bf16")}


@torch.no_grad()
def _without_gradients(model: nn.Module, clips: Tensor) -> Tensor:
    return model(clips)


def onnxruntime_call(path: Path, clips: Tensor) -> Call:
    """A prediction by ONNX Runtime, on as many threads as PyTorch has."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, _session_options(), providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: clips.numpy()}
    return lambda: session.run(None, feed)


def _session_options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    return options


def openvino_call(path: Path, clips: Tensor, hint: str) -> Call:
    """The same by OpenVINO, which computes in the precision of the hint."""
    request, array = _compiled(path, hint).create_infer_request(), clips.numpy()
    return lambda: request.infer({0: array}, share_inputs=True)


def _compiled(path: Path, hint: str, shape: tuple[int, ...] | None = None) -> Any:
    import openvino

    model = openvino.convert_model(path)
    if shape:
        model.reshape(list(shape))
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint, **threads})


def _print_transposes(name: str, path: Path, shape: tuple[int, ...]) -> dict[str, Any]:
    counted = {"OpenVINO": openvino_transposes(path, shape), "ONNX Runtime": onnxruntime_transposes(path)}
    for engine, (count, num_bytes) in counted.items():
        moved = "" if num_bytes is None else f", {num_bytes / 1e6:.1f} MB read and written in fp32"
        print(f"{name}, {engine}: {count} transposes{moved}")
    return {engine: {"transposes": count, "bytes": num_bytes} for engine, (count, num_bytes) in counted.items()}


def openvino_transposes(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    """How many transposes OpenVINO runs, and the bytes that they read and write in fp32."""
    operators = _compiled(path, "f32", shape).get_runtime_model().get_ops()
    moved = [node for node in operators if node.get_rt_info()["layerType"].astype(str) == "Transpose"]
    return len(moved), sum(2 * 4 * math.prod(node.get_output_partial_shape(0).to_shape()) for node in moved)


def onnxruntime_transposes(path: Path) -> tuple[int, None]:
    """How many transposes ONNX Runtime runs."""
    import onnx
    import onnxruntime

    options = _session_options()
    optimized = path.with_name("optimized.onnx")
    options.optimized_model_filepath = str(optimized)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(optimized).graph.node
    return sum(node.op_type == "Transpose" for node in nodes), None


if __name__ == "__main__":
    main()
