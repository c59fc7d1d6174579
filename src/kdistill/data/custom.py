"""A data set of one's own: anything with a length that gives (image, label) by number."""

from collections.abc import Callable
from typing import Any

from pydantic import ConfigDict, validate_call

from kdistill.base.types import ImageSide
from kdistill.data.gathered import Part, gather
from kdistill.data.items import read_items
from kdistill.data.parted import PartedDataModule
from kdistill.data.partition import ALL, Samples
from kdistill.data.pixels import read_labels


class CustomData(PartedDataModule):
    """Reads it whole into memory at each start, so that order, views and replay are as for every data set."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        make: Callable[..., Any],
        *,
        label: str,
        train: dict[str, Any] | None = None,
        val: dict[str, Any] | None = None,
        test: dict[str, Any] | None = None,
        image_size: ImageSide | None = None,
        **serving: Any,
    ) -> None:
        """What it is, and how it is served.

        Args:
            make: makes it from a partition's arguments.
            label: what messages call it.
            train, val, test: the arguments of each partition, as {split: train}; all of None: it has no partitions.
            image_size: side of the square that is served, in pixels; None: as the images come, if all are alike.
            serving: also the arguments of `PartedDataModule`.
        """
        super().__init__(**serving)
        self.make = make
        self.label = label
        self.given = {"train": train, "val": val, "test": test}
        self.image_size = image_size

    @property
    def source(self) -> str:
        return self.label

    def read(self, *, training: bool) -> Samples:
        parts = {part: own for part, own in self.given.items() if own is not None} or {ALL: {}}
        wanted = parts if training or "test" not in parts else {"test": parts["test"]}
        datasets = {part: self.make(**own) for part, own in wanted.items()}
        names = {part: self.label if part == ALL else f"{self.label}.{part}" for part in wanted}
        items = {part: read_items(one, names[part], image_size=self.image_size) for part, one in datasets.items()}
        own = getattr(next(iter(datasets.values())), "classes", None)
        known = tuple(map(str, own)) if isinstance(own, list | tuple) and own else None
        labels = read_labels([one.labels for one in items.values()], self.label, self.classes, known)
        found = {
            part: Part(names[part], one.image, label.target, label.soft_target)
            for (part, one), label in zip(items.items(), labels, strict=True)
            if one.image is not None
        }
        order = self.ordered(self.classes or labels[0].class_names)
        return gather(found, labels[0].class_names, order=order, source=self.label, training=training)
