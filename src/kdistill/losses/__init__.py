"""Losses: pure functions first, thin modules second; every one takes a `DistillBatch` and returns a scalar."""
