"""`hydra/sweeper=optuna`: Hydra looks for plugins in the namespace package `hydra_plugins` only, and imports it whole.

So the class is here, and imports nothing that takes time; the work is in `kdistill.search`.
"""

from collections.abc import Mapping
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Hands what Optuna wants tried next to the launcher; `conf/hydra/sweeper/optuna.yaml` says what each is."""

    def __init__(
        self,
        n_trials: int,
        sampler: str | Mapping[str, Any],
        pruner: str | Mapping[str, Any],
        seed: int,
        n_jobs: int,
        storage: str | None,
        study_name: str,
    ) -> None:
        self.options = {
            "n_trials": n_trials,
            "sampler": sampler,
            "pruner": pruner,
            "seed": seed,
            "n_jobs": n_jobs,
            "storage": storage,
            "study_name": study_name,
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def _make_launcher(self, config: DictConfig) -> Launcher:
        from kdistill.config.hydra_setup import make_launcher

        assert self.context is not None and self.task_function is not None
        return make_launcher(self.context, self.task_function, config)

    def sweep(self, arguments: list[str]) -> None:
        """Runs the search.

        Raises:
            UserError: Optuna is not installed, or the space or a setting is wrong; nothing was trained.
        """
        from kdistill.base.errors import UserError
        from kdistill.base.packages import how_to_install
        from kdistill.sweeps.job import SweepJob

        if self.config is None or not isinstance(self.task_function, SweepJob):
            raise UserError("hydra/sweeper=optuna searches the settings of python -m kdistill.train")
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise UserError(f"hydra/sweeper=optuna needs the package optuna: {how_to_install('optuna')}") from error
        from kdistill.search.loop import search

        sweep = self.task_function.sweep
        search(self.config, arguments, self.options, self.context.config_loader, self._make_launcher, sweep)
