"""Whether every class has a pixel in the annotations that a training sees.

A value that was meant as a class and is read as none, such as the 255 of masks in black and white, leaves its class
without a pixel: the model learns never to answer it, and no figure of the training says so.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from morphmlp.errors import DataError, MediaError
from morphmlp.formatting import shortened
from morphmlp.tasks.segmentation.annotations import (
    UNKNOWN,
    MaskSample,
    MaskSet,
    class_of_values,
    describe_values,
    values_in,
)

_MOST_READ = 2000  # annotations, if a class stays without a pixel so long
_BLOCK = 64  # that are read before it is asked whether all classes have been seen
_THREADS = 4


def note_on_classes(masks: MaskSet, *, seed: int = 0) -> str:
    """What to say of classes without a pixel; "" where each has one. Reading ends as soon as all have been seen.

    Raises:
        DataError: not even two classes have a pixel, so that there is nothing to learn.
    """
    values, num_read = _values(masks, seed)
    known = class_of_values(masks.config, len(masks.classes))[values]
    missing = [name for label, name in enumerate(masks.classes) if label not in known]
    if not missing or not num_read:
        return ""
    some = f"{num_read:,} of the {len(masks.samples):,}" if num_read < len(masks.samples) else f"the {num_read:,}"
    note = (
        f"{len(missing)} of {len(masks.classes)} classes without a pixel in {some} training annotations: "
        f"{shortened(missing)}; {_meaning(masks, values, known)}"
    )
    if len(masks.classes) - len(missing) < 2:
        raise DataError(f"{note}; mend the annotations or these options: there is nothing to tell apart")
    return note


def _values(masks: MaskSet, seed: int) -> tuple[np.ndarray, int]:
    """The values that occur, and the number of annotations that they were found in; unreadable ones are left out."""
    order = np.random.default_rng(seed).permutation(len(masks.samples))[:_MOST_READ]
    table = class_of_values(masks.config, len(masks.classes))
    found, num_read = np.zeros(0, dtype=np.int64), 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(order), _BLOCK):
            read = list(pool.map(_readable, (masks.samples[i] for i in order[start : start + _BLOCK])))
            good = [values for values in read if values is not None]
            found = np.unique(np.concatenate([found, *good]))
            num_read += len(good)
            if len(np.intersect1d(table[found], np.arange(len(masks.classes)))) == len(masks.classes):
                break
    return found, num_read


def _readable(sample: MaskSample) -> np.ndarray | None:
    try:
        return values_in(sample.mask)
    except MediaError:  # it is counted as broken when the training comes to it
        return None


def _meaning(masks: MaskSet, values: np.ndarray, known: np.ndarray) -> str:
    """The values that occur, and what those without a class are by."""
    config, num_classes = masks.config, len(masks.classes)
    reasons = []
    if 255 in values and 255 not in config.values:
        given = ",".join(map(str, values)) if len(values) == num_classes else "..."
        reasons.append(f"255 has a class only where --masks.values says so (--masks.values [{given}])")
    if config.ignore_index != 255 and config.ignore_index in values:
        reasons.append(f"{config.ignore_index} has none by --masks.ignore_index")
    if config.reduce_zero_label and 0 in values:
        reasons.append("0 has none by --masks.reduce_zero_label")
    if (known == UNKNOWN).any():
        reasons.append("see --masks.values, --masks.ignore_index and --masks.reduce_zero_label for the other values")
    shown = shortened([str(value) for value in values], limit=8)
    meant = describe_values(config, num_classes)
    return "; ".join([f"the values found are {shown}, those of the classes {meant}", *reasons])
