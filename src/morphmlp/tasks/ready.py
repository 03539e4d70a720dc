"""A checkpoint or an exported folder, made ready for a job by the engine that does it soonest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphmlp.checkpoints.hub import local_checkpoint
from morphmlp.checkpoints.info import load_config
from morphmlp.distributed import world_size
from morphmlp.errors import ConfigError, UserError
from morphmlp.inference.engines import (
    EXPORTED,
    PRECISIONS,
    Job,
    can_export,
    can_run,
    fastest,
    require_engine,
    work_per_clip,
)
from morphmlp.output import tell
from morphmlp.tasks.registry import load_for_task, require_task

if TYPE_CHECKING:
    from morphmlp.inference.device import Execution


class Ready:
    """What computes the logits of a checkpoint: modules for inference, or a `Runtime`, each made when it is needed.

    An exported folder, and a checkpoint whose export is in the cache, need no torch, unless the format is torch's.

    Attributes:
        info: what is written beside the model.
        model: what computes a single clip.
        execution: of the model; its precision is what is left to autocast.
        asked: the execution as it was asked for.

    Raises:
        CheckpointError: the folder cannot be read, or is of another task.
        ConfigError, UserError: the engine does not run on the device or in the precision, or is not installed.
    """

    def __init__(self, checkpoint: str | Path, name: str, execution: "Execution"):
        require_engine(execution.engine)
        self.asked = execution
        self._checkpoint, self._name = checkpoint, name
        self._folder = local_checkpoint(checkpoint)
        config, self.info = load_config(checkpoint)
        require_task(checkpoint, config, name)
        self._work = work_per_clip(config, *self.info.input.crop)
        self._forms: dict[str, tuple[Any, Execution]] = {}
        self._given_up: set[str] = set()  # engines whose export failed
        self.model, self.execution = self._form(self._engine(num_clips=1))

    def for_clips(self, num_clips: int) -> "tuple[Any, Execution]":
        """What computes so many clips, over all processes, soonest; an export is made where that pays."""
        engine = self._engine(num_clips=-(-num_clips // world_size()))
        try:
            return self._form(engine)
        except (UserError, OSError) as error:
            if self.asked.engine != "auto" or engine not in EXPORTED:
                raise
            tell(f"{self._checkpoint} is not exported for {engine}, and computed without: {error}")
            self._given_up.add(engine)
            return self.for_clips(num_clips)

    def _engine(self, *, num_clips: int) -> str:
        asked = self.asked
        if self.info.exported or asked.engine != "auto":
            return asked.engine
        if not _on_cpu(asked.device):
            return "torch"
        fit = {e for e in EXPORTED if asked.precision in PRECISIONS[e] and can_run(e)} - self._given_up
        kept = {engine for engine in fit if self._is_kept(engine)}
        job = Job(self._work, asked.precision, max(num_clips, 1))
        engine = fastest(job, free={"optimized", *kept}, payable=filter(can_export, fit))
        if engine in kept and not self._opened(engine):
            return self._engine(num_clips=num_clips)
        return engine

    def _is_kept(self, engine: str) -> bool:
        from morphmlp.export.cache import entry_folder, exports_folder

        if not exports_folder().is_dir():
            return False
        return entry_folder(self._folder, engine, self.asked.precision).is_dir()

    def _opened(self, engine: str) -> bool:
        """Whether an export in the cache is whole; it is opened then."""
        from morphmlp.export.cache import cached_runtime

        if engine not in self._forms:
            runtime = cached_runtime(self._folder, engine, self.asked.precision)
            if runtime is None:
                self._given_up.add(engine)
                return False
            self._forms[engine] = runtime, self.asked
        return True

    def _form(self, engine: str) -> "tuple[Any, Execution]":
        if engine not in self._forms:
            make: Callable[[str], Any] = self._exported if self.info.exported or engine in EXPORTED else self._module
            self._forms[engine] = make(engine)
        return self._forms[engine]

    def _exported(self, engine: str) -> "tuple[Any, Execution]":
        from morphmlp.inference.runtimes import ENGINES, load_runtime, read_export

        if not self.info.exported:
            return self._cached(engine), self.asked
        found = ENGINES[read_export(self._folder)[1].format]
        if engine not in ("auto", found):
            raise ConfigError(f"--engine is {engine}, but {self._checkpoint} was exported for {found}: leave it out")
        return load_runtime(self._folder, self.asked), self.asked

    def _cached(self, engine: str) -> Any:
        from morphmlp.export.cache import exported_runtime
        from morphmlp.inference.runtimes import require_package

        device, precision = self.asked.device, self.asked.precision
        if device not in ("auto", "cpu"):
            raise ConfigError(f"--engine {engine} runs on the cpu, not on {device}: leave out --device, or --engine")
        if precision not in PRECISIONS[engine]:
            allowed = ", ".join(PRECISIONS[engine])
            raise ConfigError(f"--engine {engine} computes no {precision} here; allowed: {allowed}")
        require_package(engine, why=f"--engine {engine}")
        return exported_runtime(self._folder, engine, precision, tell=tell)

    def _module(self, engine: str) -> "tuple[Any, Execution]":
        from morphmlp.inference.optimize import for_inference

        model, self.info = load_for_task(self._checkpoint, self._name)
        return for_inference(model, replace(self.asked, engine=engine))


def _on_cpu(device: str) -> bool:
    if device == "cpu":
        return True
    from morphmlp.inference.device import resolve_device

    return resolve_device(device).type == "cpu"
