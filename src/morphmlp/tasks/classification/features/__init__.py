"""What a classifier sees in a file or a window, as a vector: computed, kept, compared."""
