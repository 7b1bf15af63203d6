"""The rooms of a call, one a file. Their order is written in :mod:`elanus.stages` and nowhere else."""
