"""A model with its optimizer, in one process or in many: it takes steps, and its state can be saved and resumed."""

import math
import os
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from morphmlp.config import RunConfig
from morphmlp.distributed import local_world_size, rank, world_size
from morphmlp.errors import ConfigError
from morphmlp.inference.allocator import ALL_BYTES, keep_freed_memory
from morphmlp.inference.device import resolve_device
from morphmlp.models.morphmlp import MorphMLP
from morphmlp.tasks.task import TrainingTask
from morphmlp.training.freeze import freeze
from morphmlp.training.optim import make_optimizer, set_lr
from morphmlp.training.seeding import seed_step
from morphmlp.training.state import collect_state, put_state, shard, whole_model
from morphmlp.training.sync_norm import set_synced, synchronise_norms


class NotFinite(ArithmeticError):
    """The loss or its gradient is NaN or infinite; the weights are as before the step."""


class Learner:
    """All that a training step changes: the weights, their average, and the optimizer. Every process has one.

    On a CPU with glibc the process keeps all memory that it frees from then on, see `allocator.keep_freed_memory`.

    Attributes:
        raw_model: the model itself.
        model: the model that training calls: the same one, or wrapped so that processes exchange gradients.

    Raises:
        ConfigError: the processes cannot train together, or not in this precision.
    """

    def __init__(self, config: RunConfig, task: TrainingTask, model: MorphMLP):
        settings = config.train
        self.config, self.settings, self.task = config, settings, task
        self._check_precision()
        AcceleratorState._reset_state()  # it keeps the precision of the process's first run
        precision = settings.precision.replace("fp32", "no")
        on_cpu = resolve_device(settings.device).type == "cpu"
        self.accelerator = Accelerator(mixed_precision=precision, cpu=on_cpu)
        self.device = self.accelerator.device
        self._check_processes()
        self._limit_threads()
        if self.device.type == "cpu":
            keep_freed_memory(ALL_BYTES)
        if settings.sync_batchnorm and world_size() > 1:
            synchronise_norms(model)
        freeze(model, settings.freeze)  # after the norms are replaced
        self.raw_model = model.to(self.device)
        if settings.fsdp:
            shard(model, self.device)  # before the optimizer, which holds the shards
        self.raw_optimizer = make_optimizer(model, settings)
        optimizer = self.accelerator.prepare_optimizer(self.raw_optimizer)
        assert isinstance(optimizer, AcceleratedOptimizer)
        self.optimizer = optimizer
        self.model = model if settings.fsdp else self.accelerator.prepare_model(model)
        self.averaged = None
        if settings.ema:
            self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)

    def step(self, parts: list[Any], weights: torch.Tensor, *, lr: float, number: int) -> dict[str, float | None]:
        """One optimizer step: loss and gradient norm, over all processes; None where the scaler skips the step.

        Args:
            parts: the batches of this process.
            weights: the clips or pixels that each loss is the mean of, `[processes, parts]`; their sum is above 0.
            number: of the step, from 1.

        Raises:
            NotFinite: on all processes alike.
        """
        set_lr(self.optimizer, lr)
        mean_loss = self._backward(parts, weights, number=number)
        if not math.isfinite(mean_loss):
            raise NotFinite(f"loss is {mean_loss}")
        norm = self._clip_gradients()
        if self.accelerator.scaler is None and not math.isfinite(norm):  # a scaler skips such a step itself
            raise NotFinite(f"gradient norm is {norm}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.averaged is not None and not self.optimizer.step_was_skipped:
            self.averaged.update_parameters(self.raw_model)
        return {"loss": mean_loss, "grad_norm": norm if math.isfinite(norm) else None}

    def _backward(self, parts: list[Any], weights: torch.Tensor, *, number: int) -> float:
        """Adds up the gradients of all parts; returns the mean loss over all processes."""
        settings, total = self.settings, float(weights.sum())
        loss_sum = 0.0
        for i, part in enumerate(parts):
            is_last = i == len(parts) - 1
            seed_step(settings.seed, number, rank=rank(), part=i)
            set_synced(self.raw_model, bool((weights[:, i] > 0).all()))
            share = float(weights[rank(), i]) / total
            with nullcontext() if is_last or settings.fsdp else self.accelerator.no_sync(self.model):
                # Gradients are averaged over the processes, but the loss is a mean over all of the step's clips.
                loss = self._loss(part) * (share * world_size())
                self.accelerator.backward(loss)
            loss_sum += loss.item() / world_size()
        return float(self.over_processes([loss_sum]).sum())

    def _loss(self, part: Any) -> torch.Tensor:
        """The loss of a part; zero, but with a gradient, where this process has no sample for it."""
        with self.accelerator.autocast():
            if part.indices:
                return self.task.loss(self.model, part, self.device)
            # The others wait for this process's gradients. In evaluation mode, so that no statistics are touched.
            model = self.config.model
            size = (model.frames, *self.config.input.crop) if model.temporal else self.config.input.crop
            self.model.eval()
            loss = self.model(torch.zeros(1, 3, *size, device=self.device)).float().sum() * 0.0
            self.model.train()
            return loss

    def _clip_gradients(self) -> float:
        """Clips the gradients; returns their norm before that, whole where they are sharded."""
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip_grad or math.inf)
        assert norm is not None  # DeepSpeed alone clips inside its own step
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def model_to_save(self) -> MorphMLP:
        """The weights to evaluate and save, whole; under FSDP all processes must ask together."""
        if self.settings.fsdp:
            return whole_model(self.raw_model, self.config.model, self.device)
        if self.averaged is None or self.settings.ema_aside:
            return self.raw_model
        return self.averaged_model()

    def averaged_model(self) -> MorphMLP:
        """The averaged weights."""
        assert self.averaged is not None
        assert isinstance(self.averaged.module, MorphMLP)
        return self.averaged.module

    def state(self) -> dict[str, Any]:
        """All that `put_state` needs; under FSDP all processes must ask together."""
        return {
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        } | collect_state(self.raw_model, self.raw_optimizer, fsdp=self.settings.fsdp)

    def put_state(self, state: dict[str, Any]) -> None:
        """Goes on from a state that `state` gave."""
        put_state(self.raw_model, self.raw_optimizer, state)
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def over_processes(self, values: list[float]) -> torch.Tensor:
        """The values of every process, `[processes, values]`, float64."""
        mine = torch.tensor([values], dtype=torch.float64)
        if world_size() == 1:
            return mine
        # As pairs of int32, bit for bit: not every device has float64.
        gathered = self.accelerator.gather(mine.view(torch.int32).to(self.device))
        assert isinstance(gathered, torch.Tensor)  # as what it was given
        return gathered.cpu().view(torch.float64)

    def _check_precision(self) -> None:
        """Raises ConfigError for fp16 without a GPU, which accelerate would leave out without a word."""
        if self.settings.precision == "fp16" and not torch.cuda.is_available():
            raise ConfigError(
                "train.precision is 'fp16', which needs a CUDA device, and none is here; allowed: 'fp32' or 'bf16'"
            )

    def _check_processes(self) -> None:
        """Raises ConfigError where the processes cannot train together; never falls back to a single one."""
        found, started = self.accelerator.num_processes, world_size()
        if found != started:
            raise ConfigError(f"{started} processes were started, but {found} found one another; start with torchrun")
        parts = started * self.settings.accumulate
        if self.settings.batch_size < parts:
            raise ConfigError(
                f"train.batch_size is {self.settings.batch_size}; allowed: at least {parts}, as {started} process(es) "
                f"share it in {self.settings.accumulate} part(s) each"
            )
        if self.settings.fsdp and started == 1:
            raise ConfigError("train.fsdp shards over several processes; start with torchrun, or leave it out")

    def _limit_threads(self) -> None:
        """Threads that wait for a core in use by a decoding worker slow every matrix product down."""
        if self.accelerator.device.type == "cpu":
            cores = (os.cpu_count() or 1) // local_world_size()
            torch.set_num_threads(max(1, cores - self.settings.workers))
