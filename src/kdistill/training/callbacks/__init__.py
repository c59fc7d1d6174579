"""Lightning callbacks of a run: checkpoints, progress, two phases."""
