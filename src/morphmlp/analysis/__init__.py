"""Looking at a data set, a model, its speed and the paper."""
