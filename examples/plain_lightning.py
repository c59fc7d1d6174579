"""kdistill's modules in a script of one's own: any Trainer, any DataLoader of (image, target), any network.

`python examples/plain_lightning.py`: made-up pictures, a minute on a laptop.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kdistill.losses.base import WeightedSum
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.modules import DistillModule, FrozenTeacher, StudentModule


def pictures(count: int, seed: int) -> DataLoader:  # type: ignore[type-arg]
    """Three classes, each with a bright block in its own place, under noise."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(count) % 3
    image = torch.rand(count, 1, 12, 12, generator=generator)
    for row, label in zip(image, target.tolist(), strict=True):
        row[:, 4 * label : 4 * label + 4] += 0.5
    return DataLoader(TensorDataset(image, target), batch_size=32, shuffle=seed == 0)


def main(epochs: int = 4) -> dict[str, float]:
    """Trains a teacher and a student from it; returns the student's figures on test."""
    pl.seed_everything(0, verbose=False)
    train, val, test = pictures(900, 0), pictures(300, 1), pictures(300, 2)
    quiet = {"max_epochs": epochs, "logger": False, "enable_checkpointing": False, "enable_model_summary": False}

    big = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 3))
    pl.Trainer(**quiet).fit(StudentModule(big, loss=CrossEntropy()), train, val)

    small = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
    loss = WeightedSum({"ce": CrossEntropy(), "kd": KD(temperature=4)}, {"ce": 0.1, "kd": 0.9})
    student = DistillModule(small, teacher=FrozenTeacher(big), loss=loss)
    trainer = pl.Trainer(**quiet, accumulate_grad_batches=2, gradient_clip_val=1.0)
    trainer.fit(student, train, val)
    return dict(trainer.test(student, test)[0])


if __name__ == "__main__":
    print(main())
