"""Whether a network can train on a batch of one image: BatchNorm may have but one value for each channel then."""

import copy
import logging
from collections.abc import Sequence

import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.models.freeze import settle_frozen

log = logging.getLogger(__name__)


def check_batch_of_one(network: nn.Module, image_shape: Sequence[int], *, owner: str) -> None:
    """Tries a copy of a network on one image, as it trains; warns where BatchNorm takes its statistics from that image.

    Args:
        network: as training starts.
        image_shape: (C, H, W).
        owner: `student=resnet18`, for the message.

    Raises:
        UserError: one of its BatchNorms has one value for each channel, of which it can take no variance.
    """
    tried = copy.deepcopy(network).train()
    settle_frozen(tried)
    normed = [m for m in tried.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    if not normed:
        return
    device = next(tried.parameters()).device
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            tried(torch.zeros(1, *image_shape, device=device))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            f"{owner} can't train on batches of one image: a BatchNorm has one value for each channel then; give "
            "dataset.batch_size=2 or more, two training images or more, or a larger dataset.image_size"
        ) from error
    log.warning("%s trains on batches of one image: its BatchNorms take their statistics from each by itself", owner)
