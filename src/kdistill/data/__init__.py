"""Data sets as decoded arrays, keyed augmentation, and the Lightning data modules that serve them."""
