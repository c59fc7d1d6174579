"""Whether decoded images and batches of them fit, by their sizes alone: said before anything is allocated."""

from math import prod
from pathlib import Path

from kdistill.base.cores import usable_cores
from kdistill.base.space import check_disk, check_memory
from kdistill.base.spelling import counted
from kdistill.data.arrays import ImageArrays
from kdistill.data.serving import Serving

_CHANNELS, _FLOAT = 3, 4
_COPIES = 3  # of an image: resized, as an array, and as it waits to be written


def check_decoding(image_size: int) -> None:
    """Refuses images of so large a side that decoding them, one a core, does not fit into memory.

    Raises:
        UserError: with how much is needed, how much there is, and how to shrink it.
    """
    needed = usable_cores() * _COPIES * _CHANNELS * image_size**2
    what = f"decoding {usable_cores()} images at once to dataset.image_size={image_size}"
    check_memory(needed, what, "give a smaller dataset.image_size")


def check_array(count: int, image_size: int, cache: Path) -> None:
    """Refuses images that do not fit where they are kept.

    Raises:
        UserError: with how much is needed, how much there is, and how to shrink it.
    """
    what = f"{counted(count, 'decoded image')} of {image_size} x {image_size}"
    mend = "give a smaller dataset.image_size, fewer images, or another dataset.cache"
    check_disk(count * _CHANNELS * image_size**2, cache, what, mend)


def check_batches(arrays: ImageArrays, serving: Serving) -> None:
    """Refuses batches whose images alone, as floating point, do not fit into memory.

    Raises:
        UserError: with how much is needed, how much there is, and how to shrink it.
    """
    kinds = {
        "batch_size": (serving.batch_size, len(arrays.train)),
        "eval_batch_size": (serving.eval_batch_size, max(len(arrays.val), len(arrays.test))),
    }
    for key, (asked, there) in kinds.items():
        count = min(asked, there)
        needed = count * prod(arrays.image_shape) * _FLOAT
        shape = " x ".join(map(str, arrays.image_shape))
        what = f"a batch of {counted(count, 'image')} of {shape} (dataset.{key}={asked})"
        check_memory(needed, what, f"give a smaller dataset.{key} or dataset.image_size")
