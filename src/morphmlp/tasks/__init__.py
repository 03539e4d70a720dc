"""Logits become an answer: one folder a task, alike inside."""
