"""A file becomes frames."""
