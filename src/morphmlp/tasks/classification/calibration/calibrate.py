"""From a checkpoint and held-out samples to its temperature and threshold, and what they change."""

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from morphmlp.checkpoints.folder import CheckpointInfo, rewrite_info
from morphmlp.config import InputConfig, ListConfig, SplitConfig
from morphmlp.data.media.remote import place_of, remote_file
from morphmlp.data.media.sources import Source, part_of
from morphmlp.data.sets.background import NOTHING
from morphmlp.data.sets.find import expand_sources
from morphmlp.data.sets.labelled import LabelledSet, Sample
from morphmlp.data.sets.read import read_training_sets
from morphmlp.errors import ConfigError, DataError, UserError
from morphmlp.inference.device import AS_USUAL, Execution, show_nothing
from morphmlp.inference.optimize import for_inference
from morphmlp.tasks.classification.calibration.fitting import (
    COLDEST,
    HOTTEST,
    fit_temperature,
    fit_threshold,
    negative_log_likelihood,
)
from morphmlp.tasks.classification.calibration.logits import ViewLogits, read_logits
from morphmlp.tasks.classification.calibration.measures import (
    Bin,
    Outcomes,
    Refusal,
    auroc,
    calibration_error,
    reliability_bins,
)
from morphmlp.tasks.classification.calibration.probes import write_probes
from morphmlp.tasks.classification.prediction import (
    answer_of,
    input_for_test,
    load_classifier,
    model_kind,
)
from morphmlp.tasks.classification.samples import labelled_samples


@dataclass(frozen=True)
class ProbeAnswer:
    """What a checkpoint says of a clip that shows nothing: its best class, the probability, and the answer."""

    probe: str
    label: str
    probability: float
    answer: str


@dataclass(frozen=True)
class Measures:
    """A checkpoint with a temperature and a threshold, on the samples.

    Attributes:
        nll: mean negative log-likelihood of the labels.
        ece: expected calibration error; `bins` are what it is computed from.
        refusal: of the labelled and the unknown samples together.
        auroc: of the winning probability, labelled samples against unknown ones; NaN without unknown ones.
        auroc_energy: of the energy, in the place of the probability; see `docs/calibration.md`.
        unknown_refused: share of the unknown samples that are not answered.
    """

    temperature: float
    threshold: float | None
    nll: float
    ece: float
    bins: list[Bin]
    refusal: Refusal
    auroc: float
    auroc_energy: float
    unknown_refused: float
    probes: list[ProbeAnswer]


@dataclass(frozen=True)
class Calibration:
    """A checkpoint's fitted temperature and threshold.

    Attributes:
        before: as the checkpoint was.
        after: with what was fitted.
        num_samples: labelled samples that could be read.
        num_unknown: samples of no class that could be read.
        wanted_precision: of the answers; None where the threshold is the one of the best F1.
        likeliest: the temperature of the best likelihood, which is not taken where that is at the cold end.
        broken: path and reason of the samples that could not be read.
    """

    before: Measures
    after: Measures
    data: str
    unit: str
    num_samples: int
    num_unknown: int
    wanted_precision: float | None
    likeliest: float
    broken: list[tuple[Source, str]]

    @property
    def at_bound(self) -> bool:
        """Whether the likelihood wanted a temperature beyond the range that is searched."""
        return is_at(self.likeliest, COLDEST) or is_at(self.likeliest, HOTTEST)


def calibrate_checkpoint(
    checkpoint: str | Path,
    data: str | Path,
    *,
    at_precision: float | None = None,
    unknown: Sequence[str] = (),
    split: str | None = None,
    lists: dict[str, Any] | None = None,
    execution: Execution = AS_USUAL,
) -> Calibration:
    """Fits temperature and threshold of a checkpoint folder, by its own test protocol; `write_calibration` keeps them.

    Args:
        data: labelled samples that the checkpoint was not trained on; which part of them is as in `evaluate`.
        at_precision: the precision that the answers shall have; None takes the threshold of the best F1.
        unknown: files, folders or globs of samples that belong to no class: to answer one of them is wrong.
        split, lists: as in `evaluate_checkpoint`.

    Raises:
        CheckpointError, DataError: the data does not fit the checkpoint, was trained on, or has not one readable
            sample; the precision cannot be reached.
        NotFiniteError: an output is NaN or infinite.
    """
    if at_precision is not None and not 0 < at_precision <= 1:
        raise ConfigError(f"at_precision is {at_precision!r}; allowed: above 0, at most 1")
    model, info = load_classifier(checkpoint)
    labelled = labelled_samples(data, split, lists or {}, model, info, checkpoint)
    _refuse_trained(labelled, info, data)
    others = [Sample(path) for path in (expand_sources(list(unknown), model_kind(model)) if unknown else [])]
    fast, execution = for_inference(model, execution)
    config, frames = input_for_test(model, info), model.config.frames
    views = read_logits(fast, [*labelled.samples, *others], frames=frames, config=config, execution=execution)
    known = views.of(views.labels >= 0)
    if not len(known):
        raise DataError(
            f"none of the {labelled.unit} of {data} can be read; {views.broken[0][0]}: {views.broken[0][1]}"
        )
    labels = info.class_names(model.config.num_classes)
    probes = probe_logits(fast, frames=frames, config=config, moving=model.config.temporal, execution=execution)

    likeliest = fit_temperature(known)
    # Where all answers are right, their labels do not tell how sure to be, and the coldest is as sure of noise.
    temperature = 1.0 if is_at(likeliest, COLDEST) else likeliest
    outcomes = outcomes_of(views, labels, temperature)
    threshold = fit_threshold(outcomes, num_classes=len(labels), precision=at_precision)
    return Calibration(
        before=measure(views, probes, labels, temperature=info.temperature, threshold=info.threshold),
        after=measure(views, probes, labels, temperature=temperature, threshold=threshold),
        data=str(data),
        unit=labelled.unit,
        num_samples=len(known),
        num_unknown=len(views) - len(known),
        wanted_precision=at_precision,
        likeliest=likeliest,
        broken=views.broken,
    )


def is_at(temperature: float, end: float) -> bool:
    """Whether the search ended at this end of its range."""
    return math.isclose(temperature, end, rel_tol=1e-5)


def write_calibration(checkpoint: str | Path, calibration: Calibration, out: str | Path | None = None) -> None:
    """Writes temperature and threshold into the checkpoint's `config.json`, or into a copy of the checkpoint, `out`."""
    after = calibration.after
    record = {
        "data": place_of(remote_file(calibration.data) or calibration.data),
        calibration.unit: calibration.num_samples,
        "unknown": calibration.num_unknown,
        "at_precision": calibration.wanted_precision,
        "nll": after.nll,
        "ece": after.ece,
    }
    rewrite_info(
        checkpoint,
        lambda info: replace(
            info,
            temperature=after.temperature,
            threshold=after.threshold,
            training=info.training | {"calibration": record},
        ),
        out=out,
    )


def probe_logits(
    model: nn.Module, *, frames: int, config: InputConfig, moving: bool, execution: Execution
) -> dict[str, ViewLogits]:
    """The logits of each clip of `probes.PROBES`, by its name."""
    quiet = replace(execution, workers=0, progress=show_nothing)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_probes(Path(folder), short_side=config.resize, moving=moving)
        samples = [Sample(path) for path in paths.values()]
        views = read_logits(model, samples, frames=frames, config=config, execution=quiet)
    return {name: views.of(np.arange(len(views)) == i) for i, name in enumerate(paths)}


def outcomes_of(views: ViewLogits, labels: Sequence[str], temperature: float) -> Outcomes:
    """The samples as a threshold sees them; where `(nothing)` is a class, it is as good as no class."""
    probabilities = views.probabilities(temperature)
    winners = probabilities.argmax(axis=1)
    is_answer = np.array([label != NOTHING for label in labels])
    return Outcomes(
        scores=np.where(is_answer[winners], probabilities.max(axis=1), 0),
        right=(winners == views.labels) & is_answer[winners],
        num_known=int(((views.labels >= 0) & is_answer[views.labels]).sum()),
    )


def measure(
    views: ViewLogits,
    probes: dict[str, ViewLogits],
    labels: Sequence[str],
    *,
    temperature: float,
    threshold: float | None,
) -> Measures:
    """The figures of one temperature and threshold, on labelled and unknown samples together."""
    known, unknown = views.of(views.labels >= 0), views.of(views.labels < 0)
    probabilities = known.probabilities(temperature)
    bins = reliability_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == known.labels)
    refused = outcomes_of(unknown, labels, temperature).refusal(threshold)
    return Measures(
        temperature,
        threshold,
        nll=negative_log_likelihood(known, temperature),
        ece=calibration_error(bins),
        bins=bins,
        refusal=outcomes_of(views, labels, temperature).refusal(threshold),
        auroc=auroc(probabilities.max(axis=1), unknown.probabilities(temperature).max(axis=1)),
        auroc_energy=auroc(known.energies(temperature), unknown.energies(temperature)),
        unknown_refused=refused.share_refused,
        probes=[
            _probe_answer(name, probe.probabilities(temperature)[0], labels, threshold)
            for name, probe in probes.items()
        ],
    )


def _probe_answer(name: str, probabilities: np.ndarray, labels: Sequence[str], threshold: float | None) -> ProbeAnswer:
    best = int(probabilities.argmax())
    answer = answer_of(labels[best], float(probabilities[best]), threshold)
    return ProbeAnswer(name, labels[best], float(probabilities[best]), answer)


def _refuse_trained(labelled: LabelledSet, info: CheckpointInfo, data: str | Path) -> None:
    """Raises DataError where the checkpoint was trained on one of the samples: of those it is too sure.

    Nothing is known of a checkpoint whose training's data is gone, or that came from elsewhere.
    """
    try:
        trained, _ = read_training_sets(
            info.training["data"],
            SplitConfig.from_dict(info.training["split"]),
            ListConfig.from_dict(info.training.get("lists") or {}),
        )
    except (KeyError, TypeError, UserError):
        return
    seen = {_place(sample.path) for sample in trained.samples}
    if count := sum(_place(sample.path) in seen for sample in labelled.samples):
        raise DataError(
            f"the checkpoint was trained on {count} of the {len(labelled.samples)} {labelled.unit} of {data}: a "
            "temperature is fitted on others; give its val or test part, or other data"
        )


def _place(source: Source) -> tuple[str, str]:
    return os.path.realpath(source), part_of(source)
