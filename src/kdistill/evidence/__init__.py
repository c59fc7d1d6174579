"""What test predictions prove: metrics, their uncertainty, tests of pairs, verdicts. NumPy and SciPy, never torch."""
