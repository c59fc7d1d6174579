"""A picture of what the student sees, in place of a training: some images, and their views in the first epochs."""

import logging
from pathlib import Path

import torch
from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.building.data import build_data
from kdistill.config.validate import validate
from kdistill.data.arrays import Split
from kdistill.data.batch import Batch
from kdistill.data.module import ArrayDataModule
from kdistill.training.view_sheet import Cell, draw_sheet

log = logging.getLogger(__name__)

_IMAGES, _EPOCHS = 8, 8


def show_views(config: DictConfig, path: Path) -> Path:
    """Writes `views.png` into a run's folder: 8 training images of different classes, and 8 views of each.

    Args:
        config: a composed `train` config.
        path: the folder.

    Returns:
        The file.

    Raises:
        UserError: what a run would refuse of the config or of the data; or samples have no numbers.
    """
    validate(config)
    data = build_data(config)
    split = data.arrays.train
    if not data.is_numbered:
        raise UserError(
            f"debug=views shows some images in several epochs, and {config.dataset._target_} serves batches of its "
            "own, of images without numbers: look at what its loader gives"
        )
    samples = spread_over_classes(split)
    rows = [[_cell(data, split.read(samples), row, "as stored")] for row in range(len(samples))]
    for epoch in range(_EPOCHS):
        view = data.view(epoch)
        shown = data.prepare(data.read_for(samples, view), view=view)
        for row, cells in enumerate(rows):
            cells.append(_cell(data, shown, row, f"epoch {epoch}" + f", view {view}" * (view != epoch)))
    file = path / "views.png"
    path.mkdir(parents=True, exist_ok=True)
    draw_sheet(rows).save(file)
    same = (
        "" if data.serving.changes else "; nothing is augmented or mixed (dataset.augment=null), so they are all alike"
    )
    log.info(f"views: {counted(len(samples), 'training image')} as stored and in {_EPOCHS} epochs: {file}{same}")
    log.info("nothing was trained: leave out debug=views for that")
    return file


def spread_over_classes(split: Split) -> torch.Tensor:
    """(n,) int64 numbers of up to 8 samples: the first of each class, then the second, and so on."""
    order = split.target.cpu().sort(stable=True)
    first = torch.searchsorted(order.values, order.values)
    turn = torch.arange(len(split)) - first  # which of its class a sample is
    return (
        order.indices[(turn * (int(order.values.max()) + 1) + order.values).argsort(stable=True)][:_IMAGES]
        .sort()
        .values
    )


def _cell(data: ArrayDataModule, batch: Batch, row: int, title: str) -> Cell:
    """One picture of a batch, with its class or the shares of its classes."""
    names, image = data.arrays.class_names, batch.image[row].cpu()
    if not image.is_floating_point():
        image = image / 255.0
    if batch.soft_target is None:
        return Cell(title, names[int(batch.target[row])], image)
    shares = batch.soft_target[row].cpu()
    best = [number for number in shares.argsort(descending=True)[:2].tolist() if shares[number] > 0.005]
    return Cell(title, ", ".join(f"{names[number]} {float(shares[number]):.2f}" for number in best), image)
