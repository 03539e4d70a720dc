"""Clips become batches."""
