"""The data module of a config."""

from omegaconf import DictConfig

from kdistill.building.instantiate import build
from kdistill.data.module import ArrayDataModule


def build_data(config: DictConfig) -> ArrayDataModule:
    """The data module of `dataset`."""
    return build(config.dataset, "dataset")
