"""kdistill in Python: `distill` and `Run`, on top of the same code as the commands."""
