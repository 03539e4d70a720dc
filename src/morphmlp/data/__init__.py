"""From files to clips: decode -> sampling -> transforms -> datasets -> loaders; the embedded set in `synthetic`."""

from morphmlp.data import sampling

__all__ = ["sampling"]
