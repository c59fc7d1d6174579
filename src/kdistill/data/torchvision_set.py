"""Data sets of torchvision by name, read by its own readers, CIFAR's batches without unpickling what could run."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, validate_call

from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.types import ImageSide, PositiveFloat, PositiveInt
from kdistill.data.arrays import Split
from kdistill.data.cifar_files import Cifar
from kdistill.data.gathered import Part, gather
from kdistill.data.items import Items, read_items
from kdistill.data.keeping import MAX_DECODED_GB, Storage, open_images
from kdistill.data.parted import PartedDataModule
from kdistill.data.partition import ALL, Samples
from kdistill.data.pixels import read_labels
from kdistill.data.problems import Problems
from kdistill.data.torchvision_names import download_of, find, not_there, options_of, partitions

log = logging.getLogger(__name__)


class TorchvisionSet(PartedDataModule):
    """Any of torchvision's that gives (PIL image, class number); what holds files is decoded once and kept."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        root: str | None,
        *,
        name: str | None,
        cache: str,
        verify: bool = True,
        options: dict[str, Any] | None = None,
        train: dict[str, Any] | None = None,
        val: dict[str, Any] | None = None,
        test: dict[str, Any] | None = None,
        image_size: ImageSide | None = None,
        max_pixels: PositiveInt = IMAGE_PIXELS,
        storage: Storage = "auto",
        max_decoded_gb: PositiveFloat = MAX_DECODED_GB,
        **serving: Any,
    ) -> None:
        """Which one, where it is, and how it is served.

        Args:
            root: the folder that torchvision keeps it in; it is fetched into it if it is not there.
            name: of its class in torchvision.datasets, in any case.
            cache: folder of the decoded images.
            verify: of what has sums refuse content other than the original; False also fetches nothing.
            options: further arguments of the class, as `annotation_level: family`; of CIFAR100 `coarse: true`.
            train, val, test: the arguments of each partition; None: by what the class takes.
            image_size: side of the square that is served, in pixels; None: as the images come, if all are alike.
            max_pixels: the most that a file may hold, by its header; a larger image is refused before it is decoded.
            storage: "decoded" once into an array; "encoded" as the files came, decoded batch by batch; "auto": decoded
                where that takes no more than `max_decoded_gb`.
            max_decoded_gb: in 10^9 bytes.
            serving: also the arguments of `PartedDataModule`.
        """
        super().__init__(**serving)
        self.root = Path(root or "").expanduser()
        self.is_placed = root is not None
        self.name = name
        self.cache = Path(cache).expanduser()
        self.verify = verify
        self.options = options or {}
        self.given = {"train": train, "val": val, "test": test}
        self.image_size = image_size
        self.max_pixels = max_pixels
        self.storage: Storage = storage
        self.max_decoded_gb = max_decoded_gb

    @property
    def source(self) -> str:
        return f"{self.name} in {self.root}"

    def read(self, *, training: bool) -> Samples:
        if self.name is None:
            raise UserError("dataset.name is not set: give the name of a data set of torchvision, as dataset.name=DTD")
        if not self.is_placed:
            raise UserError(f"dataset.root is not set: give the folder that torchvision keeps {self.name} in")
        kind = find(self.name)
        is_cifar = kind.__name__ in ("CIFAR10", "CIFAR100")
        options = options_of(kind, self.options)
        parts = partitions(kind, self.given) or {ALL: {}}
        wanted = parts if training or "test" not in parts else {"test": parts["test"]}
        datasets = {
            part: self._cifar(kind, **options, **own) if is_cifar else self._open(kind, {**options, **own})
            for part, own in wanted.items()
        }
        items = self._items(kind.__name__, datasets, by_file=True)
        if len({bool(one.paths) for one in items.values()}) > 1:
            items = self._items(kind.__name__, datasets, by_file=False)
        if kind.__name__ == "EMNIST":  # whose files hold each letter on its side
            items = {part: replace(one, image=_upright(one.image)) for part, one in items.items()}
        names = _class_names(next(iter(datasets.values())))
        labels = read_labels([one.labels for one in items.values()], kind.__name__, self.classes, names)
        own, order = labels[0].class_names, self.ordered(self.classes or labels[0].class_names)
        if any(one.paths for one in items.values()):
            return self._of_files(items, [one.target for one in labels], own, order)
        found = {
            part: Part(f"{kind.__name__}.{part}", one.image, label.target)
            for (part, one), label in zip(items.items(), labels, strict=True)
            if one.image is not None
        }
        return gather(found, own, order=order, source=self.source, training=training)

    def _items(self, name: str, datasets: dict[str, Any], *, by_file: bool) -> dict[str, Items]:
        return {
            part: read_items(one, f"{name}.{part}", image_size=self.image_size, by_file=by_file)
            for part, one in datasets.items()
        }

    def _open(self, kind: Any, arguments: dict[str, Any]) -> Any:
        """A data set of torchvision, fetched where it is not there."""
        download = {"download": False} if download_of(kind) else {}
        return self._had(
            kind,
            lambda: kind(self.root, **arguments, **download),
            lambda: kind(self.root, **arguments, download=True),
        )

    def _cifar(self, kind: Any, *, train: bool, coarse: bool = False) -> Cifar:
        def read() -> Cifar:
            return Cifar(kind, self.root, train=train, coarse=coarse, verify=self.verify)

        def fetch() -> Cifar:
            from torchvision.datasets.utils import download_and_extract_archive

            download_and_extract_archive(kind.url, str(self.root), filename=kind.filename, md5=kind.tgz_md5)
            return read()

        return self._had(kind, read, fetch)

    def _had(self, kind: Any, read: Callable[[], Any], fetch: Callable[[], Any]) -> Any:
        """What is there, or is fetched where that is allowed.

        Raises:
            UserError: neither can be done.
        """
        try:
            return read()
        except (RuntimeError, OSError) as error:  # torchvision's words, or a file's, that it is not there
            reason, may_fetch = str(error).split("You can use")[0].strip(" .") or type(error).__name__, False
        except (TypeError, ValueError) as error:
            raise UserError(f"{kind.__name__} does not take its arguments: {error}") from error
        if self.verify and download_of(kind):
            may_fetch = True
            log.info("%s is not in %s: it is fetched, and its archive verified", kind.__name__, self.root)
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                return fetch()
            except (RuntimeError, OSError, ValueError) as error:
                reason = f"{reason}; {error}"
        raise not_there(kind, self.root, reason, may_fetch=may_fetch)

    def _of_files(
        self, items: dict[str, Items], targets: list[np.ndarray], own: tuple[str, ...], order: tuple[str, ...]
    ) -> Samples:
        """Samples that are files: decoded once, and kept."""
        if self.image_size is None:
            raise UserError(f"{self.source} holds files of any size: give dataset.image_size=<pixels>")
        problems = Problems()
        paths = [path for one in items.values() for path in one.paths]
        stored = open_images(
            paths,
            storage=self.storage,
            max_decoded_gb=self.max_decoded_gb,
            cache=self.cache,
            image_size=self.image_size,
            problems=problems,
            max_pixels=self.max_pixels,
        )
        problems.raise_if_any(f"the images of {self.source} can't be used")
        assert stored is not None, "no images would have been a problem"
        target = torch.from_numpy(np.concatenate(targets))
        renumber = torch.tensor([order.index(name) for name in own])
        starts = np.cumsum([0, *(len(one.paths) for one in items.values())]).tolist()
        numbers = {part: torch.arange(starts[n], starts[n + 1]) for n, part in enumerate(items)}
        return Samples(stored, paths, Split(stored.image, renumber[target]), order, numbers)


def _upright(image: np.ndarray | None) -> np.ndarray | None:
    return None if image is None else image.transpose(0, 1, 3, 2)


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    """The names that a data set gives its class numbers; of several for one, the first."""
    names = getattr(dataset, "classes", None)
    if not isinstance(names, list | tuple) or not names:
        return None
    words = tuple(str(name[0]) if isinstance(name, tuple) else str(name) for name in names)
    return words if len(set(words)) == len(words) else tuple(f"{number} {word}" for number, word in enumerate(words))
