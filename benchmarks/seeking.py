"""Processor time of 16 frames of a stretch, and of 16 frames spread over a file, as the file grows.

    python benchmarks/seeking.py [--folder videos] [--turns 7] [--json results.json]

The files are made first: one encoded minute of 320 x 240 px at 30 frames a second, H.264 with a key frame every 2 s,
whose packets are repeated up to 300 and 3,600 s. The reads take turns in one process with one thread. A ratio is the
median of the ratios within a turn, of the time for each group of pictures that holds a wanted frame, to that of the
60 s file. The full decode, up to the last wanted frame of the 300 s file, is the yardstick.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from morphmlp.data.media import video as reading
from morphmlp.data.media.packets import packet_of
from morphmlp.data.media.stretches import Stretch
from morphmlp.training.environment import processor_name

FPS, GROUP_S, MINUTE_S, LENGTHS_S = 30, 2, 60, (60, 300, 3600)
HEIGHT, WIDTH, FRAMES, STRETCH_S = 240, 320, 16, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the videos are kept (default: made anew each time)")
    parser.add_argument("--turns", type=int, default=7, help="turns that are compared (default: 7)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        reads = {
            (ending, kind, length_s): read
            for ending in ("mp4", "mkv")
            for length_s, path in make_files(folder, ending).items()
            for kind, read in reads_of(path, length_s).items()
        }
        turns = [{key: processor_seconds(read) for key, read in reads.items()} for _ in range(options.turns)]
    rows = [row(key, turns) for key in reads]
    print(f"{processor_name()}, {options.turns} turns\n")
    print("| file | frames | length | groups | ms | ms a group | ratio to 60 s |\n|---|---|---|---|---|---|---|")
    for each in rows:
        print("| " + " | ".join(str(value) for value in each.values()) + " |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def make_files(folder: Path, ending: str) -> dict[int, Path]:
    """Files of all lengths, by the length in seconds."""
    paths = {length_s: folder / f"{length_s}.{ending}" for length_s in LENGTHS_S}
    if not paths[MINUTE_S].exists():
        encode_minute(paths[MINUTE_S])
    for length_s, path in paths.items():
        if not path.exists():
            repeat(paths[MINUTE_S], path, length_s // MINUTE_S)
    return paths


def encode_minute(path: Path) -> None:
    """A moving texture with noise and a square whose grey level says which frame it is."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).normal(0, 12, (HEIGHT, WIDTH))
    texture = np.clip(128 + 60 * np.sin(x / 17) * np.cos(y / 13) + noise, 0, 255).astype(np.uint8)
    group = str(FPS * GROUP_S)
    with av.open(str(path), "w") as container:
        options = {"g": group, "keyint_min": group, "sc_threshold": "0", "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FPS * MINUTE_S):
            picture = np.roll(texture, (number, 2 * number), (0, 1))
            picture[:40, :40] = 3 * number % 256
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, -1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def repeat(source: Path, path: Path, times: int) -> None:
    """The packets of a file several times over, one after the other."""
    with av.open(str(source)) as original, av.open(str(path), "w") as container:
        theirs = original.streams.video[0]
        stream = container.add_stream_from_template(theirs)
        packets = [packet for packet in original.demux(theirs) if packet.size]
        assert theirs.time_base is not None
        ticks = round(MINUTE_S / theirs.time_base)
        for number in range(times):
            for packet in packets:
                copy = packet_of(bytes(packet))
                copy.pts, copy.dts = (packet.pts or 0) + number * ticks, (packet.dts or 0) + number * ticks
                copy.duration, copy.time_base, copy.is_keyframe = packet.duration, theirs.time_base, packet.is_keyframe
                copy.stream = stream
                container.mux(copy)


def reads_of(path: Path, length_s: int) -> dict[str, Callable[[], object]]:
    """What is timed: a stretch near the end, frames spread over all, and in the 300 s MP4 file all decoded as well."""
    stretch = Stretch(path, length_s - STRETCH_S, length_s)
    reads: dict[str, Callable[[], object]] = {
        "stretch": lambda: reading.read_clip(stretch, spread),
        "spread": lambda: reading.read_clip(path, spread),
    }
    if path.name == "300.mp4":
        reads["all decoded"] = lambda: reading._decode(path, spread(length_s * FPS, FPS))
    return reads


def spread(num_frames: int, fps: float) -> list[int]:
    """Frames in the middle of equal parts."""
    return [(2 * part + 1) * num_frames // (2 * FRAMES) for part in range(FRAMES)]


def num_groups(kind: str, length_s: int) -> int:
    """The groups of pictures that hold wanted frames, or that are decoded: 300 s have 16 of 150."""
    part_s = STRETCH_S if kind == "stretch" else length_s
    chosen = spread(part_s * FPS, FPS)
    return len({index // (FPS * GROUP_S) for index in (range(chosen[-1] + 1) if kind == "all decoded" else chosen)})


def processor_seconds(read: Callable[[], object]) -> float:
    start = time.process_time()
    read()
    return time.process_time() - start


def row(key: tuple[str, str, int], turns: list[dict[tuple[str, str, int], float]]) -> dict[str, object]:
    ending, kind, length_s = key
    groups, shortest = num_groups(kind, length_s), (ending, "spread" if kind == "all decoded" else kind, MINUTE_S)
    shortest_groups = num_groups(shortest[1], MINUTE_S)
    median_s = statistics.median(turn[key] for turn in turns)
    ratio = statistics.median(turn[key] / groups / (turn[shortest] / shortest_groups) for turn in turns)
    return {
        "file": ending,
        "frames": kind,
        "length": f"{length_s} s",
        "groups": groups,
        "ms": f"{1000 * median_s:.0f}",
        "ms a group": f"{1000 * median_s / groups:.1f}",
        "ratio": f"{ratio:.2f}",
    }


if __name__ == "__main__":
    main()
