"""Training data and held-out splits: reading, cleaning, sampling, the manifest."""
