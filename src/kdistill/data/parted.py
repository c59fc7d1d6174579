"""A data set whose source brings some of its partitions: what is missing is cut, stratified, from the others."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ConfigDict, validate_call

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted, did_you_mean
from kdistill.base.types import NonNegativeInt, UnitInterval
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.cuts import cut
from kdistill.data.module import ArrayDataModule
from kdistill.data.partition import ALL, Samples, image_arrays

log = logging.getLogger(__name__)


class PartedDataModule(ArrayDataModule):
    """Serves what its heir's `read` finds."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        *,
        classes: list[str] | None = None,
        positive: str | None = None,
        val_fraction: UnitInterval = 0.15,
        test_fraction: UnitInterval = 0.2,
        split_seed: NonNegativeInt = 0,
        **serving: Any,
    ) -> None:
        """How the samples are split and numbered, and how they are served.

        Args:
            classes: the names of the classes in the order of their numbers; None: as the source has them.
            positive: of two classes, the one that F1 and average precision are of; it becomes class 1.
            val_fraction: share of the training images that is validation, stratified by class; must be inside 0..1.
                Unused where the source has validation images.
            test_fraction: share of all images (of train, where there is one) that is test, stratified by class; must
                be inside 0..1. Unused where the source has test images.
            split_seed: which images those are.
        """
        super().__init__(**serving)
        if classes is not None and len(set(classes)) < len(classes):
            raise UserError(f"dataset.classes={classes}: a class is named twice")
        self.classes = classes
        self.positive = positive
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed

    @abstractmethod
    def read(self, *, training: bool) -> Samples:
        """All samples, checked; for evaluation (not `training`) there need be no training images.

        Raises:
            UserError: listing all that is wrong.
        """

    def load(self) -> ImageArrays:
        samples = self.read(training=True)
        return image_arrays(self._with_test(samples), val_fraction=self.val_fraction, split_seed=self.split_seed)

    def read_test(self) -> tuple[Split, Sequence[str]]:
        """The test partition; with `test_fraction` 1, all of a source that has no partitions."""
        samples = self.read(training=False)
        if self.test_fraction == 1 and samples.parts.keys() == {ALL}:
            return samples.whole, samples.class_names
        if self.test_fraction == 1 and "test" not in samples.parts:
            there = ", ".join(samples.parts)
            raise UserError(f"{self.source} has no test images, only {there}; to test on one of them {self.how_alone}")
        return samples.whole.take(self._with_test(samples).parts["test"]), samples.class_names

    @property
    @abstractmethod
    def source(self) -> str:
        """What messages call the source: its folder or file."""

    @property
    def how_alone(self) -> str:
        """How one partition is given as a whole data set, for a message."""
        return "give it as a data set of its own"

    def _with_test(self, samples: Samples) -> Samples:
        """The samples with the partitions train and test: where test is not there, it is cut from train, or from all.

        Raises:
            UserError: no images to train on or to cut from.
        """
        parts = samples.parts
        if "test" in parts:
            return samples
        pool = ALL if ALL in parts else "train"
        options: dict[str, Any] = {"name": "test_fraction", "fraction": self.test_fraction, "seed": self.split_seed}
        train, test = cut(parts[pool], samples.whole, **options, class_names=samples.class_names, groups=samples.groups)
        source = "all" if pool == ALL else "train, for there is no test partition,"
        count = counted(len(test), "image")
        log.info("test: %s, cut from %s by dataset.test_fraction=%g", count, source, self.test_fraction)
        return replace(samples, parts=parts | {"train": train, "test": test})

    def ordered(self, names: Sequence[str]) -> tuple[str, ...]:
        """The classes with the positive one last, as class 1 of two.

        Raises:
            UserError: it is none of them, or there are more than two.
        """
        if self.positive is None:
            return tuple(names)
        if self.positive not in names:
            near = did_you_mean(self.positive, names)
            raise UserError(f"dataset.positive={self.positive} is none of the classes {', '.join(names)}{near}")
        if len(names) != 2:
            raise UserError(
                f"dataset.positive={self.positive}: one class is positive where there are two, and here are "
                f"{len(names)} ({', '.join(names)}); leave it out: figures are then means over the classes"
            )
        return tuple(sorted(names, key=lambda name: name == self.positive))
