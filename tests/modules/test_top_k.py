"""Which losses may learn from a teacher's k likeliest classes: those that say so, and no other."""

from typing import Any

import pytest

from kdistill.base.errors import UserError
from kdistill.losses.base import WeightedSum
from kdistill.losses.ctkd import CTKD
from kdistill.losses.dist import DIST
from kdistill.losses.dkd import DKD
from kdistill.losses.hint import Hint
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.losses.mlkd import MLKD
from kdistill.losses.mse import MSE
from kdistill.losses.nkd import NKD
from kdistill.losses.ofa import OFA
from kdistill.losses.skd import SKD
from kdistill.losses.wsld import WSLD
from kdistill.modules.fit_checks import check_loss_of_top_k


def beside_labels(part: Any) -> WeightedSum:
    return WeightedSum({"ce": CrossEntropy(), "one": part}, {"ce": 0.1, "one": 0.9})


@pytest.mark.parametrize("part", [KD(), CTKD()])
def test_whole_distributions_may_be_compared(part: Any) -> None:
    check_loss_of_top_k(beside_labels(part), 50)


@pytest.mark.parametrize("part", [MSE(), DKD(), NKD(), DIST(), MLKD(), SKD(), WSLD(), OFA()])
def test_what_needs_all_logits_is_refused_with_what_to_take(part: Any) -> None:
    with pytest.raises(UserError, match=r"50 likeliest classes, and loss one needs .*loss=kd.*replay\.keep=all"):
        check_loss_of_top_k(beside_labels(part), 50)


def test_standardised_logits_and_layers_are_refused() -> None:
    with pytest.raises(UserError, match="standardises logits"):
        check_loss_of_top_k(beside_labels(KD(standardize=True)), 50)
    with pytest.raises(UserError, match="looks at layers"):
        check_loss_of_top_k(beside_labels(Hint(layers=[["a", "b"]])), 50)
