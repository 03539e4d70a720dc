"""Long recordings: what happens when, from the probabilities of windows to answers with times."""
