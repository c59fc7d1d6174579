"""The data module of a config."""

import inspect
from typing import Any

import pytorch_lightning as pl
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.building.instantiate import build
from kdistill.building.transforms import build_transforms
from kdistill.config.sections import CUSTOM_DATA, custom_data_keys
from kdistill.config.tree import Tree, plain
from kdistill.data.module import ArrayDataModule
from kdistill.data.transforms import KeyedTransforms


def build_data(config: DictConfig) -> ArrayDataModule:
    """The data module of `dataset`; a data set of one's own, which gives items, is put into one.

    Raises:
        UserError: it is a LightningDataModule of one's own.
    """
    section = config.dataset
    target = get_object(section._target_)
    if inspect.isclass(target) and issubclass(target, ArrayDataModule):
        content = plain(section, resolve=True)
        return _built(content, build_transforms(content.pop("transform", None)))
    if inspect.isclass(target) and issubclass(target, pl.LightningDataModule):
        raise UserError(
            f"dataset._target_={section._target_} is a LightningDataModule, which is not taken here: give the Dataset "
            "that it serves, or train with kdistill.modules and a Trainer of your own (docs/lightning.md)"
        )
    content, own = plain(section, resolve=True), custom_data_keys()
    transform = build_transforms(content.pop("transform", None))
    items = OmegaConf.create({key: value for key, value in content.items() if key not in own})
    served = {key: value for key, value in content.items() if key in own} | {"_target_": CUSTOM_DATA}

    def make(**arguments: Any) -> Any:
        return build(OmegaConf.create({**plain(items), **arguments}), "dataset")

    return _built(served, transform, make=make, label=str(section._target_).rpartition(".")[2])


def _built(section: Tree, transform: KeyedTransforms | None, **given: Any) -> ArrayDataModule:
    """The data module of a section without its transforms, and with them."""
    transforms = {} if transform is None else {"transform": transform}
    data: ArrayDataModule = build(OmegaConf.create(dict(section)), "dataset", given={**given, **transforms})
    return data
