"""A clip becomes logits."""
