"""What an evaluation says beside its figures: how sure they are, what they are worth, and what went wrong."""
