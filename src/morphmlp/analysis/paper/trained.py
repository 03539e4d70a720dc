"""Small-scale proxies of the paper's Tables 6 to 10: a table's designs trained side by side on the same batches.

The paper trains full-size models for 100 epochs of ImageNet or on Something-Something V1. Here small models see a few
hundred batches. The results are about the designs on that data and at that size, not about the published figures.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from morphmlp.analysis.paper.published import DESIGNS, Design
from morphmlp.config import ModelConfig, RunConfig
from morphmlp.data.batches.samplers import EpochBatches
from morphmlp.data.sets.labelled import LabelledSet
from morphmlp.distributed import world_size
from morphmlp.errors import ConfigError, DataError
from morphmlp.files import replaced_file
from morphmlp.inference.device import show_nothing
from morphmlp.models.cost import count
from morphmlp.tasks.classification.training import ClassificationTask
from morphmlp.training.initial_weights import fresh_parts, initial_model, require_start, start_config
from morphmlp.training.learner import Learner, NotFinite
from morphmlp.training.optim import lr_at

PAPER_SIZE = 224  # px, which the chunk lengths of Table 6 were chosen for
NEEDS_VIDEO = (7, 10)  # tables of temporal designs


@dataclass(frozen=True)
class ProxyResult:
    """A design of a table, trained once for each seed.

    Attributes:
        overrides: of the small model, see `proxy_overrides`.
        published: the paper's figures by name.
        top1: by seed; None where the loss or the gradient became NaN or infinite.
        training_s: of all seeds together.
    """

    name: str
    overrides: dict[str, Any]
    published: dict[str, float]
    parameters: int
    multiply_adds: int
    top1: list[float | None]
    training_s: float


@dataclass(frozen=True)
class Proxy:
    """A design of a table, and the small model that is trained in its place."""

    design: Design
    overrides: dict[str, Any]
    model: ModelConfig


def train_designs(
    table: int,
    config: RunConfig,
    sets: tuple[LabelledSet, LabelledSet],
    out: str | Path,
    *,
    steps: int,
    seeds: int,
    say: Callable[[str], None],
) -> list[ProxyResult]:
    """Trains every design of a table for `steps` batches, once for each seed.

    With a seed, every design starts from the same random state, or from the checkpoint `config.init`. All designs see
    the same clips in the same order, mixed alike. The results of each seed are kept in `out`: the same call goes on
    there after an interruption.

    Args:
        config: of the data, the input and the training; the designs are changes of its model. Its epochs and its
            averaged weights are not used, and each step is one part.
        say: takes a line of progress.

    Raises:
        ConfigError: the table has no designs, `out` holds another ablation, or torchrun has started several processes.
        DataError: the table compares designs over time, and the data is images.
        CheckpointError: a design cannot start from `config.init`, as those of Tables 6, 8 and 9 that change its layers.
    """
    rows = proxies(table, config.model)
    if world_size() > 1:
        raise ConfigError(f"ablate trains in one process, and {world_size()} were started; start it without torchrun")
    if table in NEEDS_VIDEO and not config.model.temporal:
        raise DataError(f"table {table} compares designs over time, and {config.data} holds images; give videos")
    if config.init is not None:
        start, info = start_config(config.init)
        for row in rows:
            require_start(start, row.model, config.init, fresh=fresh_parts(info))
    results = _Results(Path(out), {"table": table, "steps": steps, "config": config.to_dict()})
    for seed in range(seeds):
        if not results.has(seed):
            results.add(seed, _train_rows(rows, _with_seed(config, seed), sets, steps=steps, say=say))
    return results.by_row(rows, seeds)


def proxies(table: int, base: ModelConfig) -> list[Proxy]:
    """The designs of a table, 6 to 10, as changes of a model that may be smaller than the paper's."""
    require_designs(table)
    rows = []
    for design in DESIGNS[table]:
        overrides = proxy_overrides(dict(design.overrides), base)
        rows.append(Proxy(design, overrides, ModelConfig.from_dict(base.to_dict() | overrides)))
    return rows


def require_designs(table: int) -> None:
    """Raises ConfigError where a table compares no designs."""
    if table not in DESIGNS:
        raise ConfigError(f"table {table} compares no designs; allowed: {', '.join(map(str, DESIGNS))}")


def proxy_overrides(overrides: dict[str, Any], base: ModelConfig) -> dict[str, Any]:
    """A design's changes for a model of another size than the paper's 224 px.

    Chunk lengths keep their proportion to a row of tokens, and are at most the map. At 64 px a row has 16, 8, 4 and 2
    tokens in the four stages, at 224 px 56, 28, 14 and 7:

    >>> from morphmlp.models.zoo import model_config
    >>> proxy_overrides({"chunk_lengths": (14, 28, 28, 49)}, model_config("morphmlp_video_nano"))
    {'chunk_lengths': (4, 8, 8, 4)}

    At 64 px a chunk of 3 tokens becomes one of 1, whose FCs mix no tokens. Stage 4's 14 becomes the whole map, so that
    the stage has one spatial branch. The depths and widths of a ResNet-50 (Table 9) are left out: the small model keeps
    its own.
    """
    if base.image_size == PAPER_SIZE:
        return overrides
    overrides = {name: value for name, value in overrides.items() if name not in ("depths", "widths")}
    if "chunk_lengths" in overrides:
        overrides["chunk_lengths"] = tuple(
            _proportional(length, math.ceil(PAPER_SIZE / stride), math.ceil(base.image_size / stride))
            for length, stride in zip(overrides["chunk_lengths"], (4, 8, 16, 32), strict=True)
        )
    return overrides


def _proportional(length: int, paper_row: int, row: int) -> int:
    return min(max(round(length * row / paper_row), 1), row * row)


def _with_seed(config: RunConfig, seed: int) -> RunConfig:
    """All steps are one epoch, so that the warm-up is a tenth of them; the trained weights are evaluated."""
    one_epoch = {"epochs": 1, "warmup_epochs": 0.1, "accumulate": 1, "ema": 0.0, "ema_aside": False}
    return replace(config, train=replace(config.train, seed=seed, **one_epoch))


def _train_rows(
    rows: list[Proxy],
    config: RunConfig,
    sets: tuple[LabelledSet, LabelledSet],
    *,
    steps: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Top-1 and seconds of each design, after training all of them on the same batches."""
    settings = config.train
    task = ClassificationTask(config, sets)
    order = EpochBatches(len(task.train_paths), batch_size=settings.batch_size, seed=settings.seed)
    contenders = [_Contender(row, config, task) for row in rows]
    for step, batch in enumerate(_batches(task.loader(order), order, steps)):
        for contender in contenders:
            contender.step(batch, lr=lr_at(step, settings, steps_per_epoch=steps), number=step + 1)
    outcomes = []
    for row, contender in zip(rows, contenders, strict=True):
        top1, seconds = contender.top1(), contender.training_s
        outcomes.append({"row": row.design.name, "top1": top1, "training_s": seconds})
        shown = "diverged" if top1 is None else f"top-1 {top1:.3f}"
        say(f"seed {settings.seed}: {row.design.name}: {shown}, {seconds:.0f} s")
    return outcomes


class _Contender:
    """A design in training, until its loss or its gradient is NaN or infinite."""

    def __init__(self, row: Proxy, config: RunConfig, task: ClassificationTask):
        config = replace(config, model=row.model)
        model, _ = initial_model(config, task.classes)
        self.learner = Learner(config, task, model)
        self.diverged = False
        self.training_s = 0.0

    def step(self, batch: Any, *, lr: float, number: int) -> None:
        """One optimizer step, unless the row has diverged or no clip of the batch could be read."""
        if self.diverged or not batch.indices:
            return
        started = time.perf_counter()
        try:
            self.learner.step([batch], torch.ones(1, 1), lr=lr, number=number)
        except NotFinite:
            self.diverged = True
        self.training_s += time.perf_counter() - started

    def top1(self) -> float | None:
        """On the validation samples; None where the training diverged."""
        if self.diverged:
            return None
        learner = self.learner
        return learner.task.evaluate(learner.raw_model, show_nothing).figures["top1"]


def _batches(loader: DataLoader, order: EpochBatches, steps: int) -> Iterator[Any]:
    """`steps` batches, epoch after epoch."""
    epoch = 0
    while steps > 0:
        order.start_at(epoch=epoch)
        for batch in loader:
            yield batch
            steps -= 1
            if steps == 0:
                return
        epoch += 1


class _Results:
    """The results of each seed, as lines of `results.jsonl` in a folder that belongs to one ablation."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.path = folder / "results.jsonl"
        settings_path = folder / "settings.json"
        if settings_path.is_file():
            if self._read(settings_path) != [settings]:
                raise ConfigError(f"{folder} holds an ablation with other settings; choose another --out")
        elif folder.exists() and any(entry.name != "data" for entry in folder.iterdir()):
            raise ConfigError(f"{folder} is not empty and holds no ablation; choose another --out")
        else:
            with replaced_file(settings_path) as file:
                file.write(json.dumps(settings) + "\n")
        lines = self._read(self.path) if self.path.is_file() else []
        self.seeds: dict[int, list[dict[str, Any]]] = {line["seed"]: line["rows"] for line in lines}

    @staticmethod
    def _read(path: Path) -> list[dict[str, Any]]:
        """The objects of a file of JSON lines."""
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            if not all(isinstance(line, dict) for line in lines):
                raise ValueError("no objects")
        except ValueError as error:
            raise ConfigError(f"{path} is damaged ({error}); remove {path.parent}, or choose another --out") from None
        return lines

    def has(self, seed: int) -> bool:
        return seed in self.seeds

    def add(self, seed: int, outcomes: list[dict[str, Any]]) -> None:
        """Keeps the results of all designs with a seed."""
        self.seeds[seed] = outcomes
        with replaced_file(self.path) as file:
            file.writelines(json.dumps({"seed": seed, "rows": rows}) + "\n" for seed, rows in self.seeds.items())

    def by_row(self, rows: list[Proxy], seeds: int) -> list[ProxyResult]:
        """The results of the first `seeds` seeds, design by design."""
        results = []
        for index, row in enumerate(rows):
            outcomes = [self.seeds[seed][index] for seed in range(seeds)]
            cost = count(row.model)
            results.append(
                ProxyResult(
                    name=row.design.name,
                    overrides=row.overrides,
                    published=dict(row.design.published),
                    parameters=cost.parameters,
                    multiply_adds=cost.multiply_adds,
                    top1=[outcome["top1"] for outcome in outcomes],
                    training_s=sum(outcome["training_s"] for outcome in outcomes),
                )
            )
        return results
