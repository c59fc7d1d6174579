"""kdistill: distil a heavy image classifier into a small one, prove that it helped, count the cost."""

__version__ = "0.1.0"
