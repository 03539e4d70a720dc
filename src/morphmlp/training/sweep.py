"""What is known of a sweep of `--tune`: its trials, the best of them, and how they are kept and shown."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from morphmlp.config import RunConfig
from morphmlp.display.tables import number_columns, table, text_columns
from morphmlp.formatting import percent
from morphmlp.training.halving import Candidate, Cost, Space, Trial, cost_of

TUNED = "tuned: "  # begins what a sweep has come to, among what was chosen for a run


@dataclass
class Sweep:
    """What is known of a sweep; `tune.json` is this as plain values.

    Attributes:
        config: of the run, before anything is chosen.
        num_candidates, epochs: as planned when the time of a trial was known: of the first rung, and of each rung.
        chosen: None until the sweep is done.
        samples: tells whether the set is the one that the sweep began with; None of an earlier version.
    """

    config: RunConfig
    minutes: float
    space: Space
    trials: list[Trial] = field(default_factory=list)
    num_candidates: int | None = None
    epochs: dict[str, int] = field(default_factory=dict)
    chosen: Candidate | None = None
    samples: str | None = None

    @property
    def configured(self) -> Candidate:
        """The run as it is without a sweep."""
        return Candidate(self.config.init, self.config.train.lr)

    @property
    def seconds_left(self) -> float:
        return 60 * self.minutes - sum(trial.seconds for trial in self.trials)

    def rung(self, number: int) -> list[Trial]:
        """The trainings of a rung; those that measure the time are rung 0."""
        return [trial for trial in self.trials if trial.rung == number and trial.epochs]

    @property
    def num_done(self) -> int:
        """The trials that were done: the one that measures the time is of rung 0 and of rung 1, and was done once."""
        return len({(trial.candidate, trial.epochs) for trial in self.trials})

    @property
    def probes(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.epochs]

    @property
    def cost(self) -> Cost:
        """Of a training, by those that were done."""
        return cost_of([trial for trial in self.trials if trial.epochs])

    def predicted_s(self, epochs: int) -> float:
        """How long another trial takes, a probe where it has no epochs; 0 where there was none like it."""
        return self.cost.seconds(epochs) if epochs else cost_of(self.probes).seconds(0)

    @property
    def best(self) -> Trial | None:
        """The best training of the last rung that has any; None where nothing was compared.

        Two trainings are a comparison, and so are the probes of two starts where nothing else is to be chosen.
        """
        trainings = [trial for trial in self.trials if trial.epochs]
        only_starts = self.num_candidates == 1 and len(self.probes) > 1
        if not trainings or (len({trial.candidate for trial in trainings}) < 2 and not only_starts):
            return None
        last = max(trial.rung for trial in trainings)
        return max(self.rung(last), key=lambda trial: trial.rank)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Sweep":
        def candidate(found: dict[str, Any]) -> Candidate:
            return Candidate(**found)

        trials = [
            Trial(**{**found, "candidate": candidate(found["candidate"]), "loss": _loss(found["loss"])})
            for found in values["trials"]
        ]
        space = Space(**values["space"] | {"starts": tuple(values["space"]["starts"])})
        chosen = None if values["chosen"] is None else candidate(values["chosen"])
        known = {"config": RunConfig.from_dict(values["config"]), "space": space, "trials": trials, "chosen": chosen}
        return cls(**values | known)


def _loss(value: float | None) -> float:
    return math.inf if value is None else value  # JSON has no infinity


def conclusion(sweep: Sweep) -> str:
    """What the trials have come to, for people."""
    assert sweep.chosen is not None
    chosen = sweep.chosen.describe()
    if sweep.best is None and sweep.chosen == sweep.configured:
        return f"not tuned: {sweep.minutes:g} minutes are too few to compare two candidates; as configured: {chosen}"
    return f"{TUNED}{chosen}, by {sweep.num_done} trials on samples held out of the training part"


def trial_table(sweep: Sweep) -> Any:
    """The trials, a section for each rung, best first; what goes into the training is marked."""
    best = sweep.best
    columns = [*text_columns("", "start"), *number_columns("lr"), *text_columns("augmentation")]
    columns += number_columns("epochs", "held-out top-1", "loss", "seconds")

    def row(trial: Trial) -> tuple[str, ...]:
        candidate, training = trial.candidate, trial.epochs > 0
        loss = f"{trial.loss:.3f}" if math.isfinite(trial.loss) else "diverged"
        return (
            "->" if trial is best else "",
            candidate.start or "fresh weights",
            f"{candidate.lr:.2g}" if training else "",
            candidate.strength if training else "",
            f"{trial.epochs}" if training else "probe",
            percent(trial.score),
            loss,
            f"{trial.seconds:.0f}",
        )

    rungs = [
        sweep.probes,
        *(sweep.rung(number) for number in range(max((t.rung for t in sweep.trials), default=0) + 1)),
    ]
    sections = [map(row, sorted(rung, key=lambda trial: trial.rank, reverse=True)) for rung in rungs if rung]
    return table("Trials", columns, *sections)
