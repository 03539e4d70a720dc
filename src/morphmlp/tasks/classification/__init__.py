"""Which class a video or an image shows."""
