"""A file becomes a batch: sets (which files) -> media (frames) -> clips -> batches."""

from morphmlp.data import sampling

__all__ = ["sampling"]
