"""Arms trained with the same settings, compared with intervals and paired tests."""
