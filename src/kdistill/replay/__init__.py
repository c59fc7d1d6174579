"""Outputs of what never changes in a run, for every (view, sample): computed once, stored, replayed."""
