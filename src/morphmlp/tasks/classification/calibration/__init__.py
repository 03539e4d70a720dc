"""When a classifier had better not answer: a temperature and a threshold, fitted on held-out samples."""
