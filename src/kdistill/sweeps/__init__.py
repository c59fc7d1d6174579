"""Sweeps (`-m`): folders that a restart finds again, jobs that fail alone, and a ranking at the end."""
