"""A sweep as jobs of Slurm."""
