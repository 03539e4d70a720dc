"""How long the samples of a training are, in seconds."""

import statistics
from collections.abc import Sequence

from morphmlp.data.media.counted import is_counted
from morphmlp.data.media.sources import Source, file_of
from morphmlp.data.media.stretches import Stretch
from morphmlp.data.media.video import probe
from morphmlp.data.sets.spaced import evenly_spaced
from morphmlp.errors import MediaError

MOST_LOOKED_AT = 64


def median_duration_s(sources: Sequence[Source], *, most: int = MOST_LOOKED_AT) -> float | None:
    """The median length of videos and stretches; of many, of some that are evenly spaced over all of them.

    What has no times, as folders of frames and images, and what cannot be read is left out; None where nothing is left.
    """
    looked_at = evenly_spaced(sources, most)
    durations = [duration for source in looked_at if (duration := _duration_s(source)) is not None]
    return statistics.median(durations) if durations else None


def _duration_s(source: Source) -> float | None:
    if isinstance(source, Stretch) and source.unit == "seconds":
        return source.end - source.start
    try:
        if is_counted(file := file_of(source)):
            return None
        info = probe(file)
    except MediaError:
        return None
    return (source.end - source.start) / info.fps if isinstance(source, Stretch) else info.duration_s
