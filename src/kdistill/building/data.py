"""The data module of a config."""

import inspect
from typing import Any

import pytorch_lightning as pl
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.building.instantiate import build
from kdistill.config.sections import CUSTOM_DATA, custom_data_keys
from kdistill.config.tree import plain
from kdistill.data.module import ArrayDataModule


def build_data(config: DictConfig) -> ArrayDataModule:
    """The data module of `dataset`; a data set of one's own, which gives items, is put into one.

    Raises:
        UserError: it is a LightningDataModule of one's own.
    """
    section = config.dataset
    target = get_object(section._target_)
    if inspect.isclass(target) and issubclass(target, ArrayDataModule):
        return build(section, "dataset")
    if inspect.isclass(target) and issubclass(target, pl.LightningDataModule):
        raise UserError(
            f"dataset._target_={section._target_} is a LightningDataModule, which is not taken here: give the Dataset "
            "that it serves, or train with kdistill.modules and a Trainer of your own (docs/lightning.md)"
        )
    content, own = plain(section, resolve=True), custom_data_keys()
    items = OmegaConf.create({key: value for key, value in content.items() if key not in own})
    served = OmegaConf.create({key: value for key, value in content.items() if key in own} | {"_target_": CUSTOM_DATA})

    def make(**arguments: Any) -> Any:
        return build(OmegaConf.create({**plain(items), **arguments}), "dataset")

    return build(served, "dataset", given={"make": make, "label": str(section._target_).rpartition(".")[2]})
