"""Every file of a data set, looked at before a training does."""
