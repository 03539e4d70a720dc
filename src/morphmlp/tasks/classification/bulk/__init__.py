"""Predictions of many files: written as they come, resumed, shared by processes and machines."""
