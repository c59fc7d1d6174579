"""Samples that count more than others: in every loss that is a mean over samples; every other one is refused."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from every_loss import OPTIONS, N, bound, drawn
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.data.arrays import Split
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.logit import CrossEntropy
from kdistill.modules.fit_checks import check_loss_of_data

PARTS = {name: bound(name) for name in OPTIONS}
WEIGHED = {name: loss for name, loss in PARTS.items() if not loss.unweighed}


def value(part: nn.Module, batch: DistillBatch, weight: Tensor | None) -> Tensor:
    """Of a copy, for a loss may remember."""
    return deepcopy(part)(replace(batch, sample_weight=weight)).detach()


@pytest.mark.parametrize("name", WEIGHED)
def test_a_weighted_loss_is_the_sum_of_what_each_sample_adds(name: str) -> None:
    batch, ones = drawn(), torch.ones(N, dtype=torch.float64)
    weight = torch.tensor([0.0, 0.5, 3.0, 1.0, 0.25, 1.25], dtype=torch.float64)
    for part in WEIGHED[name].parts.values():
        alone = torch.stack([value(part, batch, one) for one in torch.eye(N, dtype=torch.float64)])
        plain = value(part, batch, None)
        torch.testing.assert_close(alone.sum(), plain)
        torch.testing.assert_close(value(part, batch, ones), plain)
        torch.testing.assert_close(value(part, batch, weight), (weight * alone).sum())
        assert alone.abs().min() > 0 or name == "ofd"  # what costs nothing there may be all that a sample has


@pytest.mark.parametrize("options", [{"class_weights": "balanced"}, {"label_smoothing": 0.1}])
def test_weights_of_samples_and_of_classes_multiply(options: dict[str, object]) -> None:
    """By classes the mean is over the weights of the classes, whatever the samples'."""
    loss, batch = CrossEntropy(**options, class_counts=[2, 4]).double(), drawn()
    alone = [value(loss, batch, one) for one in torch.eye(N, dtype=torch.float64)]
    torch.testing.assert_close(torch.stack(alone).sum(), value(loss, batch, None))


def test_every_other_loss_needs_the_batch_and_is_refused_beside_weights() -> None:
    split = Split(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]), sample_weight=torch.ones(2))
    refused = [name for name in OPTIONS if name not in WEIGHED]
    assert {"dist", "mlkd", "rkd", "several", "spread"} <= set(refused)
    for name in refused:
        assert set(PARTS[name].unweighed) <= set(PARTS[name].needing_batch)
        with pytest.raises(UserError, match=f"loss {PARTS[name].unweighed[0]} compares the samples of a batch"):
            check_loss_of_data(PARTS[name], split)
        check_loss_of_data(PARTS[name], replace(split, sample_weight=None))
    own = WeightedSum({"own": nn.L1Loss()}, {"own": 1.0})
    with pytest.raises(UserError, match="loss own does not say that it does so"):
        check_loss_of_data(own, split)
