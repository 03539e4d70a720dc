"""A run: its settings, its loop, and what it writes."""
