"""Samples without a label: the labels' part sees none of them, and no loss takes what stands for a label for one."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from every_loss import OPTIONS, bound, drawn
from torch import nn

from kdistill.base.classes import NO_LABEL
from kdistill.base.errors import UserError
from kdistill.data.arrays import Split
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.losses.targets import NoTarget, learns_from
from kdistill.modules.fit_checks import check_loss_of_data

LABELLED = 4
TRAIN = Split(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))


def some_labelled() -> DistillBatch:
    target = drawn().target.clone()
    target[LABELLED:] = NO_LABEL
    return drawn(target=target, labelled=LABELLED)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_a_loss_says_it_learns_from_is_what_it_looks_at(name: str) -> None:
    """And whoever needs each sample's label is refused before anything is trained."""
    loss, batch = bound(name), some_labelled()
    for part in loss.parts.values():
        if learns_from(part) == "teacher":
            assert torch.equal(deepcopy(part)(batch.of_all()), deepcopy(part)(drawn()))
        else:
            with pytest.raises(UserError, match="looks at targets"):
                deepcopy(part)(batch.of_all())
    kinds = [learns_from(part) for part in loss.parts.values()]
    if "both" in kinds or "teacher" not in kinds:
        with pytest.raises(UserError, match=r"dataset\.unlabeled has none"):
            check_loss_of_data(loss, TRAIN, unlabelled=True)
    else:
        check_loss_of_data(loss, TRAIN, unlabelled=True)
    check_loss_of_data(loss, TRAIN)


def test_the_labels_part_is_a_mean_over_labelled_samples_and_the_teachers_over_all() -> None:
    weight, plain = torch.arange(1.0, 7.0).double(), drawn()
    batch = replace(some_labelled(), sample_weight=weight)
    whole = replace(batch, second=batch)
    values = WeightedSum({"ce": CrossEntropy(), "kd": KD()}, {"ce": 0.5, "kd": 0.5}).values(whole)
    wanted = F.cross_entropy(plain.student_logits[:4], plain.target[:4], reduction="none") * weight[:4]
    torch.testing.assert_close(values[0], 2 * wanted.mean())
    torch.testing.assert_close(values[1], KD()(replace(plain, sample_weight=weight)))


class Wrapped(nn.Module):
    """A loss of someone's own that says nothing of targets, and looks at them."""

    def forward(self, batch: DistillBatch) -> torch.Tensor:
        return F.nll_loss(batch.student_logits, batch.target)


def test_a_loss_of_ones_own_that_looks_at_targets_is_told_so_whatever_it_does_with_them() -> None:
    logits, nothing = torch.zeros(2, 3), NoTarget()
    with pytest.raises(UserError, match="learns_from = 'labels'"):
        WeightedSum({"own": Wrapped()}, {"own": 1.0}).values(some_labelled())
    for use in (
        lambda: F.cross_entropy(logits, nothing),  # type: ignore[arg-type]
        lambda: F.one_hot(nothing, 3),  # type: ignore[arg-type]
        lambda: logits.gather(1, nothing),  # type: ignore[call-overload]
        lambda: logits[nothing],  # type: ignore[index]
        lambda: nothing[:, None],
        lambda: nothing == torch.zeros(2),
        lambda: torch.zeros(2) == nothing,
        lambda: nothing.float(),
        lambda: torch.as_tensor(nothing),
        lambda: len(nothing),
    ):
        with pytest.raises(UserError, match="looks at targets"):
            use()
