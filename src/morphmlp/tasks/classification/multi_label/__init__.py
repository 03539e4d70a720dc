"""Which classes a video or an image shows: any number of them."""
