"""Images and labels in NumPy's files: one .npz, as MedMNIST's, or two .npy."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, validate_call

from kdistill.base.bounded import read_arrays
from kdistill.base.errors import UserError
from kdistill.base.limits import ARRAYS_BYTES
from kdistill.base.space import free_memory
from kdistill.base.types import ImageSide
from kdistill.data.array_names import class_names_in, pair_up
from kdistill.data.gathered import Part, check_lengths, gather
from kdistill.data.parted import PartedDataModule
from kdistill.data.partition import ALL, Samples, increasing
from kdistill.data.pixels import channels_first, read_labels, resized, to_bytes, value_range_of

log = logging.getLogger(__name__)

_LAYOUT = """an .npz file with train_images, train_labels, test_images and test_labels (and val_..., as MedMNIST's files
  have them; x_train and y_train, or X and y alone, will do), or dataset.file=images.npy dataset.target=labels.npy"""


class ArrayFile(PartedDataModule):
    """Images of one size as (N, H, W), (N, H, W, C) or (N, C, H, W), labels as numbers, words or probabilities."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        file: str | None,
        *,
        image: str | None = None,
        target: str | None = None,
        image_size: ImageSide | None = None,
        value_range: tuple[float, float] | None = None,
        **serving: Any,
    ) -> None:
        """Where the arrays are, and how they are served.

        Args:
            file: an .npz file, or the .npy file of the images.
            image: in an .npz file the name of the images; None: by the names that are there.
            target: that of the labels; beside an .npy file of images, the .npy file of the labels.
            image_size: side of the square that is served, in pixels; None: as the images come.
            value_range: what becomes 0 and 255 in images that are no bytes; None: 0 and 1 where all values are between
                them, else the least and the greatest of the training images.
            serving: also the arguments of `PartedDataModule`.
        """
        super().__init__(**serving)
        self.file = file
        self.image = image
        self.target = target
        self.image_size = image_size
        self.value_range = increasing(value_range)

    @property
    def source(self) -> str:
        return str(self.file)

    def read(self, *, training: bool) -> Samples:
        path = self._path()
        arrays = self._content(path)
        words = {name: one.tolist() for name, one in arrays.items() if one.ndim == 1 and one.dtype.kind == "U"}
        # Words are labels where there is no other array of so many: of class names there is one a class.
        own = class_names_in(words)
        shapes = {name: one.shape for name, one in arrays.items() if own is None or words.get(name) != list(own)}
        image, target = (self.image, self.target) if path.suffix == ".npz" else ("image", "target")
        pairs = pair_up(shapes, image=image, target=target, source=str(path))
        pictures = {part: channels_first(arrays[name], name) for part, (name, _) in pairs.items()}
        for part, (name, other) in pairs.items():
            check_lengths(name, len(pictures[part]), other, len(arrays[other]))
        named = ", ".join(other for _, other in pairs.values())
        labels = read_labels([arrays[other] for _, other in pairs.values()], named, self.classes, own)
        measured = pictures.get("train", pictures.get(ALL, next(iter(pictures.values()))))
        scaled = self._range(pictures, measured, str(path))
        parts = {
            part: Part(pairs[part][0], resized(to_bytes(image, scaled), self.image_size), own.target, own.soft_target)
            for (part, image), own in zip(pictures.items(), labels, strict=True)
        }
        names = labels[0].class_names
        return gather(
            parts,
            names,
            order=self.ordered(self.classes or names),
            source=str(path),
            training=training,
            value_range=scaled,
        )

    def _path(self) -> Path:
        if self.file is None:
            raise UserError(f"dataset.file is not set: give {_LAYOUT}")
        path = Path(self.file).expanduser()
        if not path.is_file() or path.suffix not in (".npz", ".npy"):
            raise UserError(f"dataset.file={self.file} is no .npz or .npy file: give {_LAYOUT}")
        if path.suffix == ".npy" and self.target is None:
            raise UserError(f"dataset.file={self.file} has the images: give dataset.target=<.npy file of the labels>")
        return path

    def _content(self, path: Path) -> dict[str, np.ndarray]:
        try:
            if path.suffix == ".npz":
                return read_arrays(path, max(ARRAYS_BYTES, (free_memory() or 0) // 2), mend="get the file again")
            beside = path.parent / Path(str(self.target)).name
            other = Path(str(self.target)).expanduser()
            return {"image": _one(path), "target": _one(other if other.is_file() else beside)}
        except OSError as error:
            raise UserError(f"{path} can't be read: {error}") from error

    def _range(self, pictures: dict[str, np.ndarray], measured: np.ndarray, name: str) -> tuple[float, float] | None:
        if len({one.dtype if one.dtype.kind != "f" else "floating point" for one in pictures.values()}) > 1:
            said = ", ".join(f"{part} {one.dtype}" for part, one in pictures.items())
            raise UserError(f"{name}: images of unlike types ({said}), of which no one scale can hold: give one type")
        if measured.dtype == np.uint8:
            return None
        if self.value_range is not None:
            return self.value_range
        for one in pictures.values():
            value_range_of(one, name)  # whatever is no number is refused in every partition
        scaled = value_range_of(measured, name)
        if scaled not in (None, (0.0, 1.0)):
            log.info("%s: %g..%g, the range of the training images, become 0..255 (dataset.value_range)", name, *scaled)
        return scaled


def _one(path: Path) -> np.ndarray:
    """The array of an .npy file, mapped; it holds no Python objects.

    Raises:
        UserError: it is damaged, or no such file.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it is damaged"
        raise UserError(f"{path} cannot be read as an array: {reason}; get the file again") from error
