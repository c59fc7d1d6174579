"""One for all: hand value, the independent formula, exits of maps, tokens and vectors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor
from weighted import weighted

from kdistill.base.errors import UserError
from kdistill.losses.base import OUTPUT, DistillBatch, WeightedSum
from kdistill.losses.logit import CrossEntropy
from kdistill.losses.ofa import OFA, ofa

SHAPES = {"maps": (3, 4, 4), "later": (6, 2, 2), "tokens": (7, 5), "vector": (9,)}


def made(**options: float) -> OFA:
    torch.manual_seed(0)
    module = OFA(layers=list(SHAPES), **options)
    module.bind({**SHAPES, OUTPUT: (5,)}, {OUTPUT: (5,)})
    return module


def batch(n: int = 6, scale: float = 1.0) -> DistillBatch:
    random = np.random.default_rng(0)

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(scale * random.normal(size=shape)).requires_grad_()

    features = {name: draw(n, *shape) for name, shape in SHAPES.items()}
    return DistillBatch(draw(n, 5), torch.arange(n) % 5, torch.arange(n), 0, None, draw(n, 5), features)


def test_ofa_by_hand() -> None:
    """Teacher (3/4, 1/4), student (1/2, 1/2), label 0: ((7/4)^2 - 1 + (1/4)^2) ln 2 = (33/16 + 1/16) ln 2."""
    logits = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    value = ofa(*logits, torch.tensor([0]), eps=2.0, temperature=1.0)
    assert value.item() == pytest.approx(34 / 16 * math.log(2), abs=1e-6)


@pytest.mark.parametrize(("eps", "temperature"), [(1.0, 1.0), (1.4, 2.0)])
def test_ofa_is_the_formula(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray, eps: float, temperature: float
) -> None:
    p, label = softmax(teacher / temperature, axis=1), np.eye(5)[target]
    expected = -(((p + label) ** eps - label) * log_softmax(student / temperature, axis=1)).sum(1).mean()
    value = ofa(*map(torch.from_numpy, (student, teacher, target)), eps=eps, temperature=temperature)
    assert value.item() == pytest.approx(expected, abs=1e-9)


def test_at_eps_one_the_gradient_is_zero_where_both_are_equal(teacher: np.ndarray, target: np.ndarray) -> None:
    """The loss itself is then the teacher's entropy."""
    logits = torch.from_numpy(teacher).requires_grad_()
    ofa(logits, torch.from_numpy(teacher), torch.from_numpy(target), eps=1.0, temperature=1.0).backward()
    assert logits.grad is not None and logits.grad.abs().max() < 1e-15


def test_the_loss_is_that_of_the_logits_plus_those_of_the_exits() -> None:
    seen, module = batch(), made(eps=1.3, temperature=2.0, exit_weight=0.5).double()
    logits = [seen.student_logits]
    for branch, values in zip(module.exits, seen.student_features.values(), strict=True):
        logits.append(branch(values.mean(1) if values.ndim == 3 else values))
    assert all(z.shape == (6, 5) for z in logits)
    values = [ofa(z, seen.from_teacher, seen.target, eps=1.3, temperature=2.0).item() for z in logits]
    assert module(seen).item() == pytest.approx(values[0] + 0.5 * sum(values[1:]), rel=1e-12)


@pytest.mark.slow
def test_ofa_passes_gradcheck() -> None:
    seen, module = batch(), made(eps=1.3).double()
    names = list(seen.student_features)

    def value(logits: Tensor, *features: Tensor) -> Tensor:
        return module(replace(seen, student_logits=logits, student_features=dict(zip(names, features, strict=True))))

    assert torch.autograd.gradcheck(value, (seen.student_logits, *seen.student_features.values()))


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
def test_ofa_is_finite_at_extreme_and_equal_values_and_in_a_batch_of_one(scale: float, n: int) -> None:
    seen, module = batch(n, scale), made(eps=1.5)
    seen = replace(
        seen,
        student_logits=seen.student_logits.detach().float().requires_grad_(),
        student_features={name: value.detach().float() for name, value in seen.student_features.items()},
    )
    value = module(seen)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(seen.student_logits.grad).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


def test_every_exit_trains_and_no_gradient_reaches_the_teacher() -> None:
    seen, module = batch(), made().double()
    module(seen).backward()
    assert seen.from_teacher.grad is None
    inputs = [seen.student_logits, *seen.student_features.values(), *module.parameters()]
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in inputs)


def test_mixed_precision_is_close_and_the_order_of_samples_changes_nothing() -> None:
    seen = batch()
    exact = made().double()(seen).item()
    single = replace(
        seen,
        student_logits=seen.student_logits.float(),
        student_features={name: value.float() for name, value in seen.student_features.items()},
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert made()(single).item() == pytest.approx(exact, rel=2e-2)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = DistillBatch(
        seen.student_logits[order], seen.target[order], seen.index[order], 0, None, seen.from_teacher[order],
        {name: value[order] for name, value in seen.student_features.items()},
    )  # fmt: skip
    assert made().double()(shuffled).item() == pytest.approx(exact, rel=1e-10)


def test_alpha_zero_is_the_limit_of_small_alpha() -> None:
    seen = batch()
    zero, small = (
        weighted(WeightedSum({"ce": CrossEntropy(), "ofa": made().double()}, {"ce": 1 - alpha, "ofa": alpha}), seen)[
            0
        ].item()
        for alpha in (0.0, 1e-9)
    )
    assert zero == pytest.approx(torch.nn.functional.cross_entropy(seen.student_logits, seen.target).item(), rel=1e-12)
    assert small == pytest.approx(zero, abs=1e-6)


def test_shapes_and_runs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"layer 'a' gives \(2, 3, 4, 5\); name others: loss\.layers="):
        OFA(layers=["a"]).bind({"a": (2, 3, 4, 5), OUTPUT: (5,)}, {})
    with pytest.raises(ValueError, match=r"layers=\[\]"):
        OFA(layers=[])
    with pytest.raises(UserError, match="role=distill, or loss=ce"):
        made().double()(replace(batch(), teacher_logits=None))


def test_bf16_logits_are_computed_in_float32() -> None:
    own, other = (torch.from_numpy(np.random.default_rng(seed).normal(size=(6, 5))).bfloat16() for seed in range(2))
    target = torch.arange(6) % 5
    value = ofa(own, other, target, eps=1.3, temperature=2.0)
    exact = ofa(own.double(), other.double(), target, eps=1.3, temperature=2.0)
    assert value.dtype == torch.float32 and value.item() == pytest.approx(exact.item(), rel=1e-5)
    seen = batch()
    features = {name: x.bfloat16() for name, x in seen.student_features.items()}
    half = replace(
        seen, student_logits=seen.student_logits.bfloat16(), teacher_logits=seen.from_teacher.bfloat16(),
        student_features=features,
    )  # fmt: skip
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = made()(half)
    assert value.dtype == torch.float32 and value.item() == pytest.approx(made().double()(seen).item(), rel=2e-2)
