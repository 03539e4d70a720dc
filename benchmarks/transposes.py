"""How many transposes a model's graph has as the engines run it, and the bytes that they move.

    python benchmarks/transposes.py [--models nano,s,t]

`morphmlp bench --engines onnxruntime openvino` times the same graphs.
"""

import argparse
import math
import tempfile
from pathlib import Path

from morphmlp.export.formats import Shape, write_onnx
from morphmlp.models.zoo import create_model

MODELS: dict[str, tuple[str, tuple[int, ...]]] = {
    "nano": ("morphmlp_video_nano", (1, 3, 16, 64, 64)),
    "s": ("morphmlp_video_s", (1, 3, 16, 224, 224)),
    "t": ("morphmlp_image_t", (16, 3, 224, 224)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(MODELS)} (default: all)")
    names = parser.parse_args().models.split(",")
    if unknown := set(names) - set(MODELS):
        parser.error(f"--models {', '.join(unknown)}: allowed are {', '.join(MODELS)}")
    for name in names:
        print_transposes(*MODELS[name])


def print_transposes(name: str, shape: tuple[int, ...]) -> None:
    model = create_model(name, **({"frames": shape[2]} if len(shape) == 5 else {})).eval()
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(model, Path(folder), Shape(shape[-2], shape[-1]), "fp32")
        path = Path(folder) / "model.onnx"
        count, num_bytes = openvino_transposes(path, shape)
        print(f"{name}, OpenVINO: {count} transposes, {num_bytes / 1e6:.1f} MB read and written in fp32")
        print(f"{name}, ONNX Runtime: {onnxruntime_transposes(path)} transposes", flush=True)


def openvino_transposes(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    """How many transposes OpenVINO runs, and the bytes that they read and write in fp32."""
    import openvino

    model = openvino.convert_model(path)
    model.reshape(list(shape))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    operators = compiled.get_runtime_model().get_ops()
    moved = [node for node in operators if node.get_rt_info()["layerType"].astype(str) == "Transpose"]
    return len(moved), sum(2 * 4 * math.prod(node.get_output_partial_shape(0).to_shape()) for node in moved)


def onnxruntime_transposes(path: Path) -> int:
    """How many transposes ONNX Runtime runs."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_name("optimized.onnx"))
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath, load_external_data=False).graph.node
    return sum(node.op_type == "Transpose" for node in nodes)


if __name__ == "__main__":
    main()
