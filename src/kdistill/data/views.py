"""What a model sees of a stored batch: a view, a pure function of (seed, sample, view)."""

from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from kdistill.base.classes import NO_LABEL
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.batch import Batch
from kdistill.data.mixup import draw_mix, drawn_from
from kdistill.data.pool import Pool
from kdistill.data.serving import Serving


class Read(Protocol):
    """Gives training samples by their numbers, as `ArrayDataModule.read_for`."""

    def __call__(self, index: Tensor, view: int, *, images: bool = True) -> Batch: ...


def show(arrays: ImageArrays, serving: Serving, batch: Batch, *, view: int, pool: Split | Pool, read: Read) -> Batch:
    """A stored batch with its view filled in.

    Args:
        arrays: the data, whose training samples may be mixed in.
        serving: what a view is.
        batch: image (N, C, H, W) uint8; where it has no images only the rest is filled in.
        view: its number.
        pool: what training batches are drawn from.
        read: gives training samples by their numbers (N,), of encoded images the part that a view shows.

    Returns:
        image float32 in 0..1 where a view is more than the stored image, else uint8 as stored; soft targets where
        images are mixed.
    """
    image = _augmented(arrays, serving, batch, view, read) if serving.changes else batch.image
    if not serving.mixes:
        return replace(batch, image=image, view=view)
    first, samples = drawn_from(batch, pool)
    mix = draw_mix(
        batch.index, mixup=serving.mixup, cutmix=serving.cutmix, size=arrays.image_shape[1:], samples=samples,
        seed=serving.seed, view=view,
    )  # fmt: skip
    other = read(first + mix.partner, view, images=len(image) > 0).to(batch.target.device)
    if len(image):
        image = torch.lerp(_augmented(arrays, serving, other, view, read), image, mix.weight)
    mixed: dict[str, Any] = {
        "soft_target": torch.lerp(_probabilities(arrays, other), _probabilities(arrays, batch), mix.share.view(-1, 1))
    }
    if batch.sample_weight is not None and other.sample_weight is not None:
        mixed["sample_weight"] = torch.lerp(other.sample_weight, batch.sample_weight, mix.share)
    return replace(batch, image=image, view=view, **mixed)


def _augmented(arrays: ImageArrays, serving: Serving, batch: Batch, view: int, read: Read) -> Tensor:
    """One view of each image of a batch, float32 in 0..1; nothing where the batch has no images."""
    augment, transform = serving.augment, serving.transform
    if len(batch.image) == 0:
        return batch.image
    if augment is not None and augment.crops and arrays.train.is_encoded and batch.cropped != view:
        batch = read(batch.index, view).to(batch.target.device)  # it was read whole, or for another view
    keyed: dict[str, Any] = {"seed": serving.seed, "index": batch.index, "view": view}
    image = batch.image
    if augment is not None and batch.cropped != view:
        image = augment.cropped(image, **keyed)
    image = image * (1.0 / 255.0) if transform is None else transform(image, **keyed)
    return image if augment is None else augment(image, **keyed)


def _probabilities(arrays: ImageArrays, batch: Batch) -> Tensor:
    """A batch's targets as (N, K) probabilities; of a sample without a label, all 0."""
    if batch.soft_target is not None:
        return batch.soft_target
    known = (batch.target != NO_LABEL)[:, None]
    return one_hot(batch.target.clamp_min(0), arrays.num_classes).float() * known
