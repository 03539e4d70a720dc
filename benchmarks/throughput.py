"""Clips a second of loading and of training, and the memory that decoding a long video takes, on this machine.

    python benchmarks/throughput.py [--json results.json]

Loading is measured in one process with one thread, as in one worker. Ratios are to decoding alone in the same run.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLIPS = 60
REPEATS = 5
LONG_VIDEO_S = (10, 600)


def main() -> None:
    from morphmlp.training.environment import processor_name

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        print(_peak_of_reading(options.peak_of))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "machine": {"processor": processor_name(), "cores": os.cpu_count()},
            # First: a process inherits the peak memory of the one that starts it, and this one will import torch.
            "memory": measure_memory(Path(folder)),
            "loading": measure_loading(Path(folder)),
            "training": measure_training(),
        }
    for section, rows in results.items():
        print(section)
        for name, value in rows.items():
            print(f"  {name:<44} {value}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def measure_loading(folder: Path) -> dict[str, str]:
    """Embedded videos (80 x 96 px, 20 to 28 frames): clips of 16 frames at 64 px."""
    import torch

    from morphmlp.config import AugmentConfig, InputConfig
    from morphmlp.data.batches.loaders import TestClips, TrainingClips
    from morphmlp.data.clips.sampling import sparse_indices
    from morphmlp.data.media.video import read_clip
    from morphmlp.data.sets.read import read_set
    from morphmlp.demo.synthetic import write_dataset

    torch.set_num_threads(1)
    write_dataset(folder / "data", train_per_class=CLIPS // 10, val_per_class=1)
    samples = read_set(folder / "data", split="train").samples
    config = InputConfig(crop=(64, 64), resize=72)
    training = TrainingClips(samples, 16, config, AugmentConfig(), seed=0)
    test = TestClips(samples, 16, config)
    ways: dict[str, Callable[[int], Any]] = {
        "decode": lambda i: read_clip(samples[i].path, lambda n, fps: sparse_indices(n, frames=16)),
        "decode + test transform": lambda i: test[i],
        "decode + training augmentation": lambda i: training[i],
    }
    rates = {name: CLIPS / seconds for name, seconds in _interleaved(ways, CLIPS).items()}
    return {name: f"{rate:6.0f} clips/s a core, {rate / rates['decode']:.2f} x decode" for name, rate in rates.items()}


def measure_training() -> dict[str, str]:
    """Training steps of the nano model on clips in memory."""
    import torch

    from morphmlp.models.zoo import create_model

    rows = {}
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        for precision, dtype in (("float32", None), ("bf16", torch.bfloat16)):
            model = create_model("morphmlp_video_nano", num_classes=10)
            optimizer = torch.optim.AdamW(model.parameters())
            clips, labels = torch.randn(16, 3, 16, 64, 64), torch.randint(10, (16,))

            def step(_: int, model=model, optimizer=optimizer, clips=clips, labels=labels, dtype=dtype) -> None:
                with torch.autocast("cpu", dtype, enabled=dtype is not None):
                    loss = torch.nn.functional.cross_entropy(model(clips), labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()

            seconds = _interleaved({"step": step}, 1)["step"]
            rows[f"morphmlp_video_nano, {precision}, {threads} thread(s)"] = f"{16 / seconds:6.0f} clips/s"
    return rows


def measure_memory(folder: Path) -> dict[str, str]:
    """Peak memory of a process that reads 16 frames spread over a 320 x 240 video."""
    rows = {}
    for duration_s in LONG_VIDEO_S:
        path = folder / f"{duration_s}.mp4"
        _write_video(path, duration_s)
        command = [sys.executable, __file__, "--peak-of", str(path)]
        peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        rows[f"16 frames of a video of {duration_s} s"] = f"{peak} MiB"
    return rows


def _interleaved(ways: dict[str, Callable[[int], Any]], count: int) -> dict[str, float]:
    """Median seconds of `count` calls of each way; the ways take turns, so that drift slows all of them alike."""
    for way in ways.values():
        way(0)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            started = time.perf_counter()
            for i in range(count):
                way(i)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def _write_video(path: Path, duration_s: int) -> None:
    import av
    import numpy as np

    pictures = np.random.default_rng(0).integers(0, 255, (30, 240, 320, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(30 * duration_s):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pictures[i % 30 // 10], format="rgb24")))
        container.mux(stream.encode())


def _peak_of_reading(path: Path) -> str:
    from morphmlp.data.clips.sampling import sparse_indices
    from morphmlp.data.media.video import read_clip

    read_clip(path, lambda n, fps: sparse_indices(n, frames=16))
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}"


if __name__ == "__main__":
    main()
