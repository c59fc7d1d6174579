"""A search over any knobs with Optuna: `python -m kdistill.train -m hydra/sweeper=optuna ...`."""
