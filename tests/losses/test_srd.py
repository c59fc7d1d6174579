"""SRD: a hand value, NumPy's formula, what the log begins from."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.losses.srd import SRD, srd


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_srd_by_hand() -> None:
    """(0, 2) is -1 and 1 by sqrt(1.0001), its reverse 1 and -1: twice a gap of 2."""
    expected = math.log(1e-5 + 2 * (2 / math.sqrt(1.0001)) ** 4)
    assert float(srd(column(0, 2), column(2, 0), power=4.0)) == pytest.approx(expected, rel=1e-12)


def test_equal_features_and_a_batch_of_one_are_where_the_log_begins_and_teach_nothing() -> None:
    for student, teacher in ((column(1, 2, 4), column(1, 2, 4)), (column(3), column(5))):
        student.requires_grad_()
        value = srd(student, teacher, power=4.0)
        value.backward()
        assert float(value.detach()) == pytest.approx(math.log(1e-5)) and not student.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("power", [1.0, 4.0])
def test_srd_is_the_formula_and_its_gradient_passes_gradcheck(
    student: np.ndarray, teacher: np.ndarray, power: float
) -> None:
    own, other = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-4) for z in (student, teacher))
    expected = np.log(1e-5 + (np.abs(own - other) ** power).sum())
    z, t = torch.from_numpy(student).requires_grad_(), torch.from_numpy(teacher)
    assert float(srd(z, t, power=power).detach()) == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda z: srd(z, t, power=power), (z,))


def test_a_power_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"power=0\.5: must be 1 or more"):
        SRD(power=0.5)


def test_large_maps_are_refused_for_their_linear_layer_would_be_as_large_as_they_are_squared() -> None:
    with pytest.raises(UserError, match=r"linear layer of 629,407,744 weights .* Take layers=auto"):
        SRD().adapt([((512, 7, 7), (512, 7, 7))])
    SRD().adapt([((512, 1, 1), (1280,))])
