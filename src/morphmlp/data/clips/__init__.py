"""Frames become a clip."""
