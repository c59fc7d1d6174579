"""The comparison of a run with its controls, by the code of `python -m kdistill.compare`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kdistill.api.calling import called
from kdistill.base.errors import NothingFinished, UserError
from kdistill.compare import of_an_experiment, write
from kdistill.config.schema import CompareConfig
from kdistill.config.sections import given_objects
from kdistill.config.tree import plain
from kdistill.config.validate import validate
from kdistill.reporting.comparison_forms import print_comparison

if TYPE_CHECKING:
    from kdistill.runs.comparison import Comparison


def compare_run(config: DictConfig, *, seeds: int, allow: Sequence[str], keys: Mapping[str, Any]) -> "Comparison":
    """Trains the arms of a run's own settings and compares them.

    Args:
        config: the run's.
        seeds: of each arm.
        allow: what else the config may name: the caller's own code, which other processes may not find.
        keys: further ones of `kdistill.compare`.

    Raises:
        UserError: the run does not distill, a key is wrong, or all trainings failed.
    """
    compared = _asked(config, {"seeds": seeds, **keys})
    is_own = bool(given_objects(plain(config)) or allow)
    with called():
        try:
            result, folder, failed = of_an_experiment(compared, _train if is_own else None)
        except NothingFinished as error:
            raise UserError(str(error)) from error
        write(result, folder)
        print_comparison(result, str(folder))
        if failed:
            raise UserError(f"a training failed (see above); {folder} has the comparison of what finished")
        return result


def _asked(config: DictConfig, keys: Mapping[str, Any]) -> DictConfig:
    """A run's config as one of `kdistill.compare`, with what follows the seed following it again."""
    content = plain(config)
    if content["dataset"].get("seed") == content["seed"]:
        content["dataset"]["seed"] = "${seed}"
    schema = OmegaConf.structured(CompareConfig)
    OmegaConf.set_struct(schema.trainer, False)  # any argument of Lightning's Trainer may stand there
    try:
        compared = OmegaConf.merge(schema, content)
        for key, value in keys.items():
            OmegaConf.update(compared, key, value)
    except OmegaConfBaseException as error:
        raise UserError(f"compare: {str(error).splitlines()[0]}") from error
    assert isinstance(compared, DictConfig)
    validate(compared)
    return compared


def _train(config: DictConfig, folder: Path) -> None:
    """An arm in this process, which has the objects: its figures of test stay off the screen."""
    from kdistill.train import train

    train(config, folder, None, in_sweep=True)
