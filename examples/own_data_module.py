"""A LightningDataModule of one's own, for `python -m kdistill.train`: made-up pictures, three classes.

    cd examples
    python -m kdistill.train +experiment=distill dataset=custom dataset._target_=own_data_module.Blocks \
        'dataset.normalized={mean: [.5,.5,.5], std: [.25,.25,.25]}' teacher.name=test_resnet student.name=test_resnet \
        teacher.weights=none student.weights=none trainer.max_epochs=5
"""

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(N, 3, 12, 12) uint8 with a bright band that tells the class, and (N,) class numbers."""
    target = torch.arange(count) % 3
    image = torch.randint(0, 60, (count, 3, 12, 12), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    for row, label in zip(image, target.tolist(), strict=True):
        row[:, 4 * label : 4 * label + 4] += 150
    return image, target


class Blocks(pl.LightningDataModule):
    """Batches of (image, target), images normalised as most transforms do it."""

    num_classes = 3

    def __init__(self, mean: float = 0.5, std: float = 0.25) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.parts: dict[str, TensorDataset] = {}

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.parts |= {"train": self.part(70, 0), "val": self.part(31, 1)}
        if stage == "test":
            self.parts["test"] = self.part(32, 2)

    def part(self, count: int, seed: int) -> TensorDataset:
        image, target = pictures(count, seed)
        return TensorDataset((image / 255 - self.mean) / self.std, target)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.parts["train"], batch_size=16, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.parts["val"], batch_size=10)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.parts["test"], batch_size=10)
