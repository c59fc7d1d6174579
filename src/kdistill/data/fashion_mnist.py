"""Fashion-MNIST: MNIST's files with clothes in them."""

from pathlib import Path
from typing import ClassVar

from kdistill.data.idx import read_idx
from kdistill.data.mnist import MNIST
from kdistill.data.mnist_files import TEST_FILES, TRAIN_FILES, IdxSet

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where the package dataset-fashion-mnist puts it
SHA256 = {
    TRAIN_FILES[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    TRAIN_FILES[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    TEST_FILES[0]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    TEST_FILES[1]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def _from_debian() -> dict[str, bytes]:
    return {name: read_idx(DEBIAN / f"{name}.gz") for name in SHA256}


class FashionMNIST(MNIST):
    """70,000 grey images of 28 x 28 in ten classes of clothes.

    Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", 2017.
    """

    files: ClassVar[IdxSet] = IdxSet(
        "FashionMNIST",
        SHA256,
        ("Debian's package dataset-fashion-mnist", _from_debian),
        "apt-get install dataset-fashion-mnist",
    )
    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
