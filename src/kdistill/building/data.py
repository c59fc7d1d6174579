"""The data module of a config."""

import inspect
from typing import Any

import pytorch_lightning as pl
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.building.given import data_module
from kdistill.building.instantiate import build
from kdistill.building.transforms import build_transforms
from kdistill.config.sections import CUSTOM_DATA, GIVEN, OWN_MODULE, custom_data_keys
from kdistill.config.tree import Tree, plain
from kdistill.data.module import ArrayDataModule
from kdistill.data.transforms import KeyedTransforms


def build_data(config: DictConfig) -> ArrayDataModule:
    """The data module of `dataset`; a data set of one's own, which gives items, is put into one, and so is a
    LightningDataModule, which gives batches.

    Raises:
        UserError: it can't be made, or what it is made of is said of the other kind.
    """
    section = config.dataset
    target = get_object(section._target_)
    if inspect.isclass(target) and issubclass(target, ArrayDataModule):
        content = plain(section, resolve=True)
        return _built(content, build_transforms(content.pop("transform", None)))
    is_module = target is data_module or (inspect.isclass(target) and issubclass(target, pl.LightningDataModule))
    content, own = plain(section, resolve=True), custom_data_keys()
    transform = build_transforms(content.pop("transform", None))
    items = OmegaConf.create({key: value for key, value in content.items() if key not in own})
    served = {key: value for key, value in content.items() if key in own}
    served["_target_"] = OWN_MODULE if is_module else CUSTOM_DATA
    if not is_module and served.pop("normalized", None) is not None:
        raise UserError(
            f"dataset.normalized is of a LightningDataModule, and {section._target_} gives items: leave out the "
            "transform that normalises, each network normalises its own input"
        )
    if is_module and transform is not None:
        raise UserError(f"{section._target_} serves its own batches: leave out dataset.transform, it has its own")

    def make(**arguments: Any) -> Any:
        return build(OmegaConf.create({**plain(items), **arguments}), "dataset")

    is_given = str(section._target_).startswith(GIVEN)
    label = str(section.name) if is_given else str(section._target_).rpartition(".")[2]
    return _built(served, transform, make=make, label=label)


def _built(section: Tree, transform: KeyedTransforms | None, **given: Any) -> ArrayDataModule:
    """The data module of a section without its transforms, and with them."""
    transforms = {} if transform is None else {"transform": transform}
    data: ArrayDataModule = build(OmegaConf.create(dict(section)), "dataset", given={**given, **transforms})
    return data
