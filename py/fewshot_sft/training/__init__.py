"""One training: the trainer's log, its output checked, and how a step is computed."""
