"""The training samples that a run cannot read: each is left out, and too many of them stop the run."""

from collections.abc import Iterable

from morphmlp.data.batches.loaders import BrokenSample
from morphmlp.errors import DataError

FEW_BROKEN = 3  # so many samples may be unreadable in any case


class BrokenSamples:
    """The unreadable samples that a run has met so far.

    Args:
        total: number of training samples.
        unit: what they are, in the plural.
        max_share: of `total`; more are too many.
    """

    def __init__(self, total: int, *, unit: str, max_share: float):
        self.total, self.unit, self.max_share = total, unit, max_share
        self.paths: set[str] = set()  # as the log has them

    def add(self, samples: Iterable[BrokenSample]) -> list[BrokenSample]:
        """Adds samples; returns those that are met for the first time."""
        new = []
        for sample in samples:
            if str(sample.path) not in self.paths:
                self.paths.add(str(sample.path))
                new.append(sample)
        return new

    def require_few(self) -> None:
        """Raises DataError where they are all samples, or too many."""
        if len(self.paths) == self.total or len(self.paths) > max(FEW_BROKEN, self.max_share * self.total):
            raise DataError(
                f"{len(self.paths)} of {self.total} training {self.unit} cannot be read, among them "
                f"{min(self.paths)}: more than {self.max_share:.0%} (--max_broken); those met so far are named above, "
                "`morphmlp check-data` finds all"
            )
