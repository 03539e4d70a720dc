"""Clips a second that one core decodes and augments, with the K400 recipe, beside the way of older code bases.

    python benchmarks/loader.py [--folder videos] [--json results.json]

The videos are made first: 10 s of 340 x 256 px at 30 frames a second, H.264 of some 550 kbit/s, moving textures. The
ways take turns in one process with one thread. Processor time is measured, so that other programs count for little; a
ratio is the median of the ratios within a turn. The yardstick decodes a video for every clip. Each frame goes through
timm's rand-augment as a Pillow image, then through normalisation as floats, all at full size; the crop, the flip and
the erasing come last.

Beside them are short clips of a small set, 8 frames of 126 x 96 px, cut from the same videos and loaded as `train` does
by default where it sees each of them 40 times or more: read anew each time, and from the memory of earlier times.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torchvision.transforms import v2

from morphmlp.config import AugmentConfig, InputConfig
from morphmlp.data.batches.loaders import TestClips, TrainingClips, make_loader
from morphmlp.data.clips.sampling import random_dense_indices
from morphmlp.data.media.kept_frames import KeptFrames
from morphmlp.data.media.video import read_clip
from morphmlp.data.sets.labelled import Sample
from morphmlp.recipes import load_recipe
from morphmlp.training.environment import processor_name

HEIGHT, WIDTH, FPS, DURATION_S = 256, 340, 30, 10
YARDSTICK = "yardstick"

RECIPE = load_recipe("k400_s16")
FRAMES = RECIPE["arch"]["frames"]
INPUT = InputConfig.from_dict(RECIPE["input"] | {"num_clips": 1})
AUGMENT = RECIPE["augment"]
SHORT_INPUT = InputConfig(fit="stretch", crop=(48, 64), antialias=True)
QUIET = {"libx265": {"x265-params": "log-level=none"}}  # options of encoders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the videos are kept (default: made anew each time)")
    parser.add_argument("--files", type=int, default=200, help="videos to make (default: 200)")
    parser.add_argument("--turns", type=int, default=20, help="turns that are compared (default: 20)")
    parser.add_argument("--clips", type=int, default=2000, help="clips over which memory is watched (default: 2000)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        samples = make_videos(options.folder or Path(temporary), options.files)
        size = sum(Path(sample.path).stat().st_size for sample in samples)
        results = {
            "machine": {"processor": processor_name(), "cores": os.cpu_count()},
            "videos": {"files": len(samples), "kbit/s": round(size * 8 / 1000 / DURATION_S / len(samples))},
            "one core": measure_core(samples, turns=options.turns),
            "short clips on one core": measure_kept(samples, Path(temporary), turns=options.turns),
            "workers": measure_workers(samples),
            "memory of a worker": measure_memory(samples, num_clips=options.clips),
        }
    for section, rows in results.items():
        print(section)
        for name, value in rows.items():
            text = ", ".join(f"{key} {number}" for key, number in value.items()) if isinstance(value, dict) else value
            print(f"  {name:<44} {text}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


# What is measured


def measure_core(samples: list[Sample], *, turns: int, videos_a_turn: int = 8) -> dict[str, Any]:
    """Clips of each way in a second of processor time, and the ratio to the yardstick."""
    repeats = AUGMENT["repeats"]
    decoder = training_clips(samples)
    ways: dict[str, tuple[int, Callable[[int], Any]]] = {  # clips of a video, and what is done
        "decode": (1, lambda i: read_clip(samples[i].path, lambda n, fps: draw(n, fps, np.random.default_rng(i)))),
        "decode + test transform": (1, TestClips(samples, FRAMES, INPUT).__getitem__),
        "training, published order": (repeats, decoder.__getitem__),
        "training, published order, no repeats": (1, training_clips(samples, repeats=1).__getitem__),
        "training, crop first": (repeats, training_clips(samples, crop_first=True).__getitem__),
        YARDSTICK: (1, lambda i: yardstick_clip(Path(samples[i].path), seed=i)),
    }
    for _, way in ways.values():
        way(0)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns):
        positions = [(turn * videos_a_turn + i) % len(samples) for i in range(videos_a_turn)]
        for name, (clips, way) in ways.items():
            started = time.process_time()
            for position in positions:
                way(position)
            rates[name].append(clips * videos_a_turn / (time.process_time() - started))
    return {
        name: {
            "clips/s": round(statistics.median(values), 1),
            "x yardstick": round(statistics.median(np.divide(values, rates[YARDSTICK]).tolist()), 2),
        }
        for name, values in rates.items()
    }


def measure_kept(samples: list[Sample], folder: Path, *, turns: int, num_clips: int = 40) -> dict[str, Any]:
    """Short clips in a second of processor time with and without keeping their frames, after the two first epochs."""
    augment = AugmentConfig(flip=0.5, color=0.4)
    rows: dict[str, Any] = {}
    for codec, name in (("libx264", "H.264"), ("libx265", "H.265")):
        clips = [make_short_clip(sample, folder / codec, codec=codec) for sample in samples[:num_clips]]
        kept = KeptFrames(1e9 / len(clips), len(clips))
        anew, again = (TrainingClips(clips, 8, SHORT_INPUT, augment, seed=0, kept=memory) for memory in (None, kept))
        for position in range(2 * len(clips)):
            again[position]
        rates: dict[str, list[float]] = {"read anew": [], "kept": []}
        for turn in range(2, 2 + turns):
            for way, dataset in (("read anew", anew), ("kept", again)):
                started = time.process_time()
                for index in range(len(clips)):
                    dataset[turn * len(clips) + index]
                rates[way].append(len(clips) / (time.process_time() - started))
        ratios = np.divide(rates["kept"], rates["read anew"]).tolist()
        rows[f"{name}, read anew"] = {"clips/s": round(statistics.median(rates["read anew"]), 1)}
        rows[f"{name}, kept"] = {
            "clips/s": round(statistics.median(rates["kept"]), 1),
            "x read anew": round(statistics.median(ratios), 2),
            "kB a clip": round(kept.num_bytes / 1000 / len(clips)),
        }
    return rows


def measure_workers(samples: list[Sample], *, num_videos: int = 120) -> dict[str, Any]:
    """Clips a second of a loader in the published order, by its workers, without the time that they take to start."""
    rows: dict[str, Any] = {}
    first = 0.0
    for workers in range(1, min(os.cpu_count() or 1, 4) + 1):
        loader = make_loader(training_clips((samples * num_videos)[:num_videos]), batch_size=4, workers=workers)
        batches = iter(loader)
        warm_up = 2 * workers + 2  # the batches that are ready at most
        for _ in range(warm_up):
            next(batches)
        started = time.perf_counter()
        num_clips = sum(len(batch.labels) for batch in batches)
        rate = num_clips / (time.perf_counter() - started)
        first = first or rate
        rows[f"{workers} worker(s)"] = {"clips/s": round(rate, 1), "x one": round(rate / first, 2)}
    return rows


def measure_memory(samples: list[Sample], *, num_clips: int) -> dict[str, Any]:
    """Resident memory of one worker over many clips: the medians of the first and of the last quarter."""
    num_videos = num_clips // AUGMENT["repeats"]
    loader = make_loader(training_clips((samples * num_videos)[:num_videos]), batch_size=4, workers=1)
    sizes = []
    for _ in loader:
        (worker,) = multiprocessing.active_children()
        sizes.append(_resident_mib(worker.pid or 0))
    quarter = max(1, len(sizes) // 4)
    first, last = statistics.median(sizes[:quarter]), statistics.median(sizes[-quarter:])
    return {"first quarter (MiB)": round(first), "last quarter (MiB)": round(last), "clips": num_clips}


def _resident_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def training_clips(samples: list[Sample], **changes: Any) -> TrainingClips:
    return TrainingClips(samples, FRAMES, INPUT, AugmentConfig.from_dict(AUGMENT | changes), seed=0)


def draw(num_frames: int, fps: float, generator: np.random.Generator) -> list[int]:
    return random_dense_indices(
        num_frames, fps=fps, frames=FRAMES, stride=INPUT.stride, target_fps=INPUT.target_fps, generator=generator
    )


# The yardstick

TIMM = rand_augment_transform(AUGMENT["rand_augment"], {"interpolation": Image.Resampling.BICUBIC})
CROP = v2.RandomResizedCrop(INPUT.crop, scale=(AUGMENT["crop_area"], 1.0), antialias=False)
NOISE: Any = "random"  # torchvision's annotation allows numbers only
ERASE = v2.RandomErasing(AUGMENT["erase"], scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3), value=NOISE)


def yardstick_clip(path: Path, *, seed: int) -> torch.Tensor:
    """One clip `[3, T, h, w]`, step by step as video code bases made it."""
    frames = _decode(path, np.random.default_rng(seed))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - timm draws from the global states
    torch.manual_seed(seed)
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    images = []
    for frame in frames:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        images.append(v2.functional.pil_to_tensor(TIMM(Image.fromarray(frame))).float() / 255)
    clip = torch.stack(images).permute(0, 2, 3, 1)  # [T, 3, H, W] -> [T, H, W, 3]
    clip = (clip - torch.tensor(INPUT.mean)) / torch.tensor(INPUT.std)
    clip = CROP(clip.permute(3, 0, 1, 2))  # [T, H, W, 3] -> [3, T, H, W]
    if random.random() < AUGMENT["flip"]:
        clip = clip.flip(-1)
    return ERASE(clip.transpose(0, 1)).transpose(0, 1)


def _decode(path: Path, generator: np.random.Generator) -> list[np.ndarray]:
    """The frames of a random stretch, decoding from the start to the last of them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        wanted = draw(stream.frames, float(stream.average_rate or FPS), generator)
        frames = {}
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                frames[index] = frame.to_ndarray(format="rgb24")
            if index == wanted[-1]:
                break
    return [frames[index] for index in wanted]


# The videos


def make_videos(folder: Path, num_files: int) -> list[Sample]:
    """Renders the videos that the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed:03}.mp4" for seed in range(num_files)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_write_video, [path for path in paths if not path.exists()]))
    return [Sample(path, 0) for path in paths]


def make_short_clip(sample: Sample, folder: Path, *, codec: str, num_frames: int = 8) -> Sample:
    """The first frames of a video, shrunk, as a file of their own."""
    folder.mkdir(exist_ok=True)
    path = folder / Path(sample.path).name
    frames = read_clip(sample.path, lambda n, fps: range(num_frames), short_side=96)[:, :96, :126]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=FPS, options=QUIET.get(codec, {}))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return Sample(path, 0)


def _write_video(path: Path) -> None:
    """A camera that sweeps over a texture, three discs that move in front of it, and some noise."""
    generator = np.random.default_rng(int(path.stem))
    background, foreground = (_texture(generator, exponent) for exponent in (1.15, 1.0))
    phases, speeds = generator.uniform(0, 2 * np.pi, (4, 2)), generator.uniform(0.3, 1.2, (4, 2))
    noise = generator.normal(0, 1.5, (2 * HEIGHT, 2 * WIDTH, 1))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    with av.open(str(path.with_suffix(".part")), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "medium", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for i in range(FPS * DURATION_S):
            swing = np.sin(speeds * i / FPS * [[1], [3], [3], [3]] + phases)  # of camera and discs, -1..1
            top, left = (0.5 * (1 + 0.6 * swing[0]) * (HEIGHT, WIDTH)).astype(int)
            picture = background[top : top + HEIGHT, left : left + WIDTH].copy()
            for disc in range(3):
                middle_y, middle_x = ((1 + 0.7 * swing[1 + disc]) * (HEIGHT / 2, WIDTH / 2)).astype(int)
                mask = (y - middle_y) ** 2 + (x - middle_x) ** 2 < (25 + 12 * disc) ** 2
                picture[mask] = foreground[y[mask] - middle_y + HEIGHT, x[mask] - middle_x + WIDTH]
            shift_y, shift_x = generator.integers(0, (HEIGHT, WIDTH))
            picture += noise[shift_y : shift_y + HEIGHT, shift_x : shift_x + WIDTH]
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.with_suffix(".part").rename(path)


def _texture(generator: np.random.Generator, exponent: float) -> np.ndarray:
    """Coloured noise `[2 H, 2 W, 3]` whose amplitude falls with its frequency, as that of photographs does."""
    height, width = 2 * HEIGHT, 2 * WIDTH
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    shape = (3, *frequency.shape)
    spectrum = (generator.normal(size=shape) + 1j * generator.normal(size=shape)) / frequency**exponent
    channels = np.fft.irfft2(spectrum, s=(height, width))
    channels /= channels.std(axis=(1, 2), keepdims=True)
    mixed = 0.6 * channels[:1] + 0.4 * channels
    return (128 + 45 * mixed.transpose(1, 2, 0)).clip(0, 255)


if __name__ == "__main__":
    main()
