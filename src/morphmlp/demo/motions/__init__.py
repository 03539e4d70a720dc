"""Rendered clips to start from: many kinds of motion, for weights that know movement."""
