"""CIFAR's batches: pickles, read without running anything that they name, and verified by torchvision's sums."""

import hashlib
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from kdistill.base.bounded import read_bounded
from kdistill.base.errors import UserError
from kdistill.data.pickled import ArrayUnpickler

_SIDE, _CHANNELS = 32, 3
_BROKEN = (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError)
_MOST = 500_000_000  # bytes of a batch; CIFAR-100's largest has 155 MB


class Cifar:
    """One partition of CIFAR-10 or CIFAR-100: what its torchvision class has, (image, number) by sample.

    Attributes:
        data: (N, 32, 32, 3) uint8.
        targets: N class numbers.
        classes: their names.
    """

    def __init__(self, kind: Any, root: Path, *, train: bool, coarse: bool = False, verify: bool = True) -> None:
        """Reads it.

        Args:
            kind: torchvision's class, for the files' names and sums.
            root: the folder that holds the folder of the batches, or that folder.
            train: which partition.
            coarse: of CIFAR-100, the 20 superclasses.
            verify: only the original content will do.

        Raises:
            FileNotFoundError: a file is not there.
            UserError: it is another, or damaged.
        """
        folder = root / kind.base_folder if (root / kind.base_folder).is_dir() else root
        key = "coarse_labels" if coarse else "fine_labels"
        entries = [
            _entry(folder / name, md5 if verify else None)
            for name, md5 in (kind.train_list if train else kind.test_list)
        ]
        try:
            data = np.concatenate([np.asarray(entry["data"]) for entry in entries])
            self.data = data.reshape(-1, _CHANNELS, _SIDE, _SIDE).transpose(0, 2, 3, 1)
            self.targets = [
                int(label) for entry in entries for label in (entry["labels"] if "labels" in entry else entry[key])
            ]
            names = _entry(folder / kind.meta["filename"], kind.meta["md5"] if verify else None)
            self.classes = [str(name) for name in names["coarse_label_names" if coarse else kind.meta["key"]]]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder} holds no batches of CIFAR: {error!r}; get them again") from error

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        return self.data[number], self.targets[number]


def _entry(path: Path, md5: str | None) -> dict[str, Any]:
    """What a pickle of CIFAR's holds.

    Args:
        path: the file.
        md5: of the original content; None: any.

    Raises:
        FileNotFoundError: it is not there.
        UserError: it is not the original, or more than arrays.
    """
    content = read_bounded(path, _MOST)
    if md5 is not None and (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
        raise UserError(
            f"{path} is not the original (md5 {found[:12]}..., {len(content):,} bytes): remove it, and it is fetched "
            "again; dataset.verify=false takes any file of CIFAR's form"
        )
    try:
        entry = ArrayUnpickler(BytesIO(content), encoding="latin1").load()
    except _BROKEN as error:
        raise UserError(f"{path} can't be read as a batch of CIFAR: {error}; get it again") from error
    if not isinstance(entry, dict):
        raise UserError(f"{path} can't be read as a batch of CIFAR: it holds a {type(entry).__name__}; get it again")
    return entry
