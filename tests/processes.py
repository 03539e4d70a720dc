"""What each process of `test_processes.py` runs: `python processes.py WHAT DATA OUT KEY=VALUE...`."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny
import torch
from torch import distributed

from morphmlp.config import AugmentConfig
from morphmlp.distributed import is_main, rank
from morphmlp.tasks.registry import TASKS
from morphmlp.training.initial_weights import initial_model
from morphmlp.training.run import read_sets, resume, train
from morphmlp.training.run_folder import RunFolder
from morphmlp.training.stopping import Interrupted
from morphmlp.training.trainer import Trainer

STEADY = AugmentConfig(color=0.0, mixup=0.0).to_dict()  # mixing pairs the clips of one process


def main() -> None:
    what, data, out, *pairs = sys.argv[1:]
    settings: dict[str, Any] = {name: eval(value) for name, value in (pair.split("=") for pair in pairs)}
    if what == "gradients":
        for name, of_step in settings.items():
            gradients(Path(data), Path(out) / name, of_step)
    else:
        {"train": train_here, "train_twice": train_twice, "resume": resume_here}[what](Path(data), Path(out), settings)


def gradients(data: Path, out: Path, settings: dict[str, Any]) -> None:
    """Writes the gradients of the first step, and the batch statistics after it."""
    config = tiny.run_config(data, augment=STEADY, **settings)
    sets = read_sets(config)
    model, _ = initial_model(config, sets[0].classes)
    trainer = Trainer(config, RunFolder(out), TASKS[config.model.task].for_training(config, sets), model)
    learner = trainer.learner
    trainer.batches.start_at(epoch=0)
    parts = [part for part, _ in zip(trainer.loader, range(trainer.settings.accumulate), strict=False)]
    weights, _ = trainer._agree_on(parts, None)  # type: ignore[arg-type]
    learner.model.train()
    found = {}

    def note(*_: Any, **__: Any) -> None:
        for name, parameter in learner.raw_model.named_parameters():
            gradient = parameter.grad
            found[name] = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient

    learner.optimizer.step = note  # type: ignore[method-assign]
    line = learner.step(parts, weights, lr=0.1, number=1)
    buffers = {name: buffer for name, buffer in learner.raw_model.named_buffers() if buffer.is_floating_point()}
    if is_main():
        torch.save({"gradients": found, "buffers": buffers, "line": line}, out)


def train_twice(data: Path, out: Path, settings: dict[str, Any]) -> None:
    """To the end, and in another folder to where it is stopped."""
    end = distributed.destroy_process_group
    distributed.destroy_process_group = lambda: None  # the second run needs the connections of the first
    train_here(data, out / "whole", settings | {"stop": 0})
    distributed.destroy_process_group = end
    train_here(data, out / "run", settings)


def train_here(data: Path, out: Path, settings: dict[str, Any]) -> None:
    """Trains; `stop` and `die` are the step after which the second process is stopped or killed.

    It dies once the main process has come as far, which has then saved the step: a file says so.
    """
    stop, die = settings.pop("stop", 0), settings.pop("die", 0)
    stop_in_evaluation = settings.pop("stop_in_evaluation", False)
    step = Trainer._agree_on

    def agree_and(self: Trainer, *arguments: Any) -> Any:
        if rank() == 1 and self.progress.step == stop > 0:
            signal.raise_signal(signal.SIGTERM)
        if self.progress.step == die > 0:
            die_after(out.with_suffix(".reached"))
        return step(self, *arguments)

    def evaluate_and(self: Trainer, *arguments: Any) -> Any:
        if rank() == 1 and stop_in_evaluation:
            signal.raise_signal(signal.SIGTERM)
        return evaluate(self, *arguments)

    evaluate = Trainer._evaluate_and_save
    Trainer._agree_on = agree_and  # type: ignore[method-assign]
    Trainer._evaluate_and_save = evaluate_and  # type: ignore[method-assign]
    try:
        config = tiny.run_config(data, **settings)
        train(replace(config, data=str(data)), out)
    except Interrupted as stopped:
        print(stopped)


def die_after(reached: Path) -> None:
    if rank() == 0:
        reached.touch()
        return
    while not reached.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def resume_here(_: Path, out: Path, __: dict[str, Any]) -> None:
    resume(out)


if __name__ == "__main__":
    main()
