"""What became of each step of a sweep, and the summary of all."""
