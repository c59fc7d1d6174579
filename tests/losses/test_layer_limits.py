"""Limits of every loss between layers: alpha of 0, bf16 features, gradients of what the loss itself learns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from weighted import weighted

from kdistill.losses.at import AT
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.cc import CC
from kdistill.losses.crd import CRD
from kdistill.losses.feature import FeatureLoss
from kdistill.losses.hint import Hint
from kdistill.losses.logit import CrossEntropy
from kdistill.losses.nst import NST
from kdistill.losses.ofd import OFD
from kdistill.losses.pkt import PKT
from kdistill.losses.reviewkd import ReviewKD
from kdistill.losses.rkd import RKD
from kdistill.losses.sp import SP
from kdistill.losses.srd import SRD
from kdistill.losses.vid import VID

N, STUDENT, TEACHER = 6, (3, 4, 4), (5, 2, 2)
Make = Callable[..., Any]


def crd(**options: Any) -> CRD:
    return CRD(num_samples=9, dim=4, **options)


def small_cc(**options: Any) -> CC:
    return CC(dim=4, **options)


LEARNING = [
    *(pytest.param(loss, id=loss.__name__) for loss in (Hint, VID, OFD, ReviewKD, SRD)),
    pytest.param(small_cc, id="CC"),
]
CONTRAST = pytest.param(crd, id="CRD")
EVERY = [*LEARNING, CONTRAST, *(pytest.param(loss, id=loss.__name__) for loss in (AT, NST, SP, RKD, PKT))]


def made(loss: Make) -> FeatureLoss:
    """A loss bound to the shapes of `batch`, past all warm-up; of two pairs of layers where it takes two."""
    torch.manual_seed(0)
    module: FeatureLoss = loss(layers=[("s1", "t1"), ("s2", "t2")][: 1 if loss is crd else 2])
    module.bind({"s1": STUDENT, "s2": STUDENT}, {"t1": TEACHER, "t2": TEACHER})
    return module.double()


def of_features(students: list[Tensor], teachers: list[Tensor]) -> DistillBatch:
    n = len(students[0])
    logits = torch.zeros(n, 3, dtype=torch.float64)
    sides = ({f"{side}{i}": x for i, x in enumerate(part, 1)} for side, part in (("s", students), ("t", teachers)))
    return DistillBatch(logits, torch.arange(n) % 3, torch.arange(n), 100, None, logits, *sides)


def drawn(scale: float = 1.0) -> tuple[list[Tensor], list[Tensor]]:
    random = np.random.default_rng(0)
    own, other = ([torch.from_numpy(scale * random.normal(size=(N, *s))) for _ in "12"] for s in (STUDENT, TEACHER))
    return own, other


@pytest.mark.parametrize("loss", EVERY)
def test_alpha_zero_is_the_limit_of_small_alpha(loss: Make) -> None:
    """All logits are equal, so the labels cost ln 3."""
    zero, small = (
        weighted(
            WeightedSum({"ce": CrossEntropy(), "other": made(loss)}, {"ce": 1 - alpha, "other": alpha}),
            of_features(*drawn()),
        )[0].item()
        for alpha in (0.0, 1e-10)
    )
    assert zero == pytest.approx(np.log(3), rel=1e-12)
    assert small != zero and small == pytest.approx(zero, abs=1e-6)


@pytest.mark.parametrize("loss", [*LEARNING, CONTRAST])
def test_bf16_features_under_mixed_precision_are_close_to_the_same_in_float64(loss: Make) -> None:
    """As a student in bf16 gives them: what a loss learns runs in bf16 too, what it compares in float32."""
    own, other = ([x.bfloat16() for x in side] for side in drawn())
    exact = made(loss)(of_features([x.double() for x in own], [x.double() for x in other])).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = made(loss).float()(of_features(own, other))
    assert value.dtype == torch.float32 and value.item() == pytest.approx(exact, rel=2e-2)


@pytest.mark.parametrize("loss", [*LEARNING, CONTRAST])
@pytest.mark.slow
def test_the_gradient_of_what_a_loss_learns_passes_gradcheck(loss: Make) -> None:
    """Projections, variances, embeddings. CRD's Z is a constant from its first batch on: this is its second."""
    module, batch = made(loss), of_features(*drawn())
    if isinstance(module, CRD):
        module(batch)
    buffers, names = dict(module.named_buffers()), [name for name, _ in module.named_parameters()]
    draws = getattr(module, "draws", 0)

    def value(*parameters: Tensor) -> Tensor:
        if isinstance(module, CRD):
            module.draws = draws  # the same negatives each time
        state = {**dict(zip(names, parameters, strict=True)), **{name: b.clone() for name, b in buffers.items()}}
        found: Tensor = functional_call(module, state, (batch,))
        return found

    assert torch.autograd.gradcheck(value, tuple(p.detach().clone().requires_grad_() for p in module.parameters()))


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [1e4, -1e4])
@pytest.mark.parametrize("loss", [*LEARNING, CONTRAST])
def test_at_extremes_of_both_sides_all_gradients_are_finite(loss: Make, scale: float, n: int) -> None:
    module = made(loss).float()
    own, other = ([x[:n].float().requires_grad_() for x in side] for side in drawn(scale))
    value = module(of_features(own, other))
    value.backward()
    assert torch.isfinite(value)
    seen = [x.grad for x in own[: len(module.pairs)]] + [p.grad for p in module.parameters()]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in seen)


def test_the_order_of_samples_changes_nothing_to_crd_nor_to_what_it_remembers() -> None:
    """Not in its first step, nor in the one after, when memories have moved and classes are known."""
    plain, shuffled, order = made(crd), made(crd), torch.tensor([3, 1, 5, 0, 2, 4])
    for _ in range(2):
        batch = of_features(*drawn())
        own, other = ([x[order] for x in side] for side in drawn())
        moved = replace(of_features(own, other), target=batch.target[order], index=batch.index[order])
        assert shuffled(moved).item() == pytest.approx(plain(batch).item(), rel=1e-10)
    torch.testing.assert_close(shuffled.memory, plain.memory, rtol=0, atol=1e-12)
