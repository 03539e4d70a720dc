"""Which class each pixel of an image shows (Sec. 4.4)."""
