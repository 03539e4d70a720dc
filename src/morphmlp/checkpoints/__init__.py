"""Weights on disk: our folders, the released files, and how one model starts from another."""
