"""One look for all that people see."""
