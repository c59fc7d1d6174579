"""The losses on logits: hand values, independent formulas, limits."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import log_softmax, rel_entr, softmax

from kdistill.base.errors import UserError
from kdistill.losses.base import DistillBatch
from kdistill.losses.logit import KD, CrossEntropy, cross_entropy, kd


def random_logits(seed: int, n: int = 6, k: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, k)) * 3


def distill_batch(**changes: object) -> DistillBatch:
    plain = {
        "student_logits": torch.from_numpy(random_logits(0)),
        "teacher_logits": torch.from_numpy(random_logits(1)),
        "target": torch.tensor([0, 1, 2, 3, 4, 0]),
        "index": torch.arange(6),
    }
    return DistillBatch(**{**plain, **changes})  # type: ignore[arg-type]


def test_kd_of_two_classes_by_hand() -> None:
    """Teacher (3/4, 1/4), student (1/2, 1/2), T = 1: 3/4 ln(3/2) + 1/4 ln(1/2)."""
    value = kd(torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]]), temperature=1.0)
    assert float(value) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_kd_is_scipys_relative_entropy(temperature: float) -> None:
    student, teacher = random_logits(0), random_logits(1)
    p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
    expected = temperature**2 * rel_entr(p, q).sum(axis=1).mean()
    value = kd(torch.from_numpy(student), torch.from_numpy(teacher), temperature=temperature)
    assert float(value) == pytest.approx(expected, abs=1e-9)


def test_kd_is_zero_when_student_equals_teacher() -> None:
    logits = torch.from_numpy(random_logits(2))
    assert float(kd(logits, logits.clone(), temperature=4.0)) == pytest.approx(0.0, abs=1e-12)


def test_kd_passes_gradcheck() -> None:
    teacher = torch.from_numpy(random_logits(1))
    student = torch.from_numpy(random_logits(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: kd(z, teacher, temperature=3.0), (student,))


def test_kd_at_high_temperature_is_the_squared_difference_of_centred_logits() -> None:
    """T^2 KL -> |z_t - z_s|^2 / (2 K) for centred logits (Hinton et al., section 2.1)."""
    student, teacher = (z - z.mean(axis=1, keepdims=True) for z in (random_logits(0), random_logits(1)))
    expected = ((student - teacher) ** 2).sum(axis=1).mean() / (2 * 5)
    value = kd(torch.from_numpy(student), torch.from_numpy(teacher), temperature=1e4)
    assert float(value) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("scale", [0.0, 1e4, -1e4])
@pytest.mark.parametrize("n", [1, 4])
def test_kd_and_its_gradient_are_finite_at_extreme_logits(scale: float, n: int) -> None:
    student = torch.zeros(n, 3).requires_grad_()
    teacher = torch.tensor([[scale, 0.0, -scale]]).expand(n, -1)
    for pair in ((student, teacher), (student + teacher.flip(1), teacher)):
        value = kd(*pair, temperature=1.0)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(student.grad).all()


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.from_numpy(random_logits(1)).requires_grad_()
    student = torch.from_numpy(random_logits(0)).requires_grad_()
    KD(temperature=2.0)(distill_batch(student_logits=student, teacher_logits=teacher)).backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_bf16_logits_are_summed_in_float32() -> None:
    student, teacher = (torch.from_numpy(random_logits(s)).bfloat16() for s in (0, 1))
    for value, exact in (
        (kd(student, teacher, temperature=4.0), kd(student.double(), teacher.double(), temperature=4.0)),
        (
            cross_entropy(student, torch.zeros(6, dtype=torch.long)),
            cross_entropy(student.double(), torch.zeros(6).long()),
        ),
    ):
        assert value.dtype == torch.float32
        assert float(value) == pytest.approx(float(exact), rel=1e-5)


def test_the_order_of_the_batch_changes_nothing() -> None:
    student, teacher = (torch.from_numpy(random_logits(s)) for s in (0, 1))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert float(kd(student, teacher, temperature=2.0)) == pytest.approx(
        float(kd(student[order], teacher[order], temperature=2.0)), abs=1e-12
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_the_independent_formula(smoothing: float) -> None:
    logits, target = random_logits(0), np.array([0, 1, 2, 3, 4, 0])
    wanted = (1 - smoothing) * np.eye(5)[target] + smoothing / 5
    expected = -(wanted * log_softmax(logits, axis=1)).sum(axis=1).mean()
    batch = distill_batch(teacher_logits=None)
    assert float(CrossEntropy(label_smoothing=smoothing)(batch)) == pytest.approx(expected, abs=1e-9)


def test_cross_entropy_uses_the_soft_targets_that_the_data_carry() -> None:
    wanted = softmax(random_logits(3), axis=1)
    expected = -(wanted * log_softmax(random_logits(0), axis=1)).sum(axis=1).mean()
    assert float(CrossEntropy()(distill_batch(soft_target=torch.from_numpy(wanted)))) == pytest.approx(
        expected, abs=1e-9
    )


def test_balanced_weights_and_logit_adjustment_are_their_formulas() -> None:
    logits, target, counts = random_logits(0), np.array([0, 1, 2, 3, 4, 0]), np.array([50, 20, 10, 15, 5])
    batch = distill_batch(teacher_logits=None)
    weight = (counts.sum() / (5 * counts))[target]
    expected = -(weight * log_softmax(logits, axis=1)[np.arange(6), target]).sum() / weight.sum()
    loss = CrossEntropy(class_weights="balanced", class_counts=counts.tolist())
    assert float(loss(batch)) == pytest.approx(expected, abs=1e-9)
    shifted = log_softmax(logits + 1.5 * np.log(counts / counts.sum()), axis=1)
    loss = CrossEntropy(logit_adjustment=1.5, class_counts=counts.tolist())
    assert float(loss(batch)) == pytest.approx(-shifted[np.arange(6), target].mean(), abs=1e-9)
    assert not loss.state_dict(), "the class counts are not weights"
    with pytest.raises(ValueError, match="need images of every class"):
        CrossEntropy(logit_adjustment=1.0, class_counts=[3, 0])


def test_kd_without_a_teacher_says_so() -> None:
    with pytest.raises(UserError, match="role=distill, or loss=ce"):
        KD()(distill_batch(teacher_logits=None))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValidationError, match="temperature"):
        KD(temperature=temperature)
