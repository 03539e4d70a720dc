"""What the paper printed, what is counted here, and its comparisons run again."""
