"""What the server takes, and the one way in which it refuses: a status and a line."""

import math
from dataclasses import dataclass, fields

from morphmlp.errors import ConfigError

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What one client, one file and all of them together may ask for.

    Attributes:
        upload_mb: of a request's body, in megabytes (10^6 bytes).
        upload_s: seconds that a body may take to arrive.
        files: in one request.
        duration_s: of a video, in seconds.
        pixels: of a frame or an image.
        windows: of one video.
        decode_s: seconds that the decoding of a file, or of the next windows of one, may take.
        decode_mb: memory that a decoding process may take, in megabytes.
        queue: requests with files that are received, wait or are worked on at one time.
        batch_ms: milliseconds that a decoded file waits for others, to go through the model together.
        drain_s: seconds that the requests in work have after SIGTERM.

    Raises:
        ConfigError: one of them is infinite or not above 0; `batch_ms` and `drain_s` may be 0.
    """

    upload_mb: float = 100.0
    upload_s: float = 60.0
    files: int = 16
    duration_s: float = 600.0
    pixels: int = 4096 * 2304
    windows: int = 2000
    decode_s: float = 30.0
    decode_mb: float = 2000.0
    queue: int = 64
    batch_ms: float = 4.0
    drain_s: float = 30.0

    def __post_init__(self):
        for field in fields(self):
            value, may_be_0 = getattr(self, field.name), field.name in ("batch_ms", "drain_s")
            if not math.isfinite(value) or not (value >= 0 if may_be_0 else value > 0):
                raise ConfigError(
                    f"{field.name} is {value}; give a finite one {'of 0 or more' if may_be_0 else 'above 0'}"
                )


class Refusal(Exception):
    """A request that gets no answer but a status and a line that says why.

    Attributes:
        file: the file of the request that it is about, as the client named it.
    """

    def __init__(self, status: int, reason: str, *, file: str | None = None):
        super().__init__(reason)
        self.status, self.reason, self.file = status, reason, file
