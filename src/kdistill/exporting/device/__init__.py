"""Scripts that are handed over with a file; they import its runtime and NumPy, nothing of kdistill."""
