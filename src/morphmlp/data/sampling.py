"""The public place of the published test-time sampling; it lives in `clips/sampling.py`."""

from morphmlp.data.clips.sampling import dense_indices, sparse_indices

__all__ = ["dense_indices", "sparse_indices"]
