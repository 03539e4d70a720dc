"""Which files a data set has, and which labels."""
