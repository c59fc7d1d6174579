"""The losses beside public reference implementations: the numbers that those gave for the inputs made here.

A line of reference_values.csv is the value, and the length of its gradient by the student's side, that the named
function of the named repository gave at that commit, in float64, for one of the inputs; none of that code is here.
`factor` is what the reference is of ours.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kdistill.losses.at import at
from kdistill.losses.base import DistillBatch
from kdistill.losses.cc import cc
from kdistill.losses.crd import CRD
from kdistill.losses.ctkd import ctkd, reversal_at
from kdistill.losses.deit import DeiT
from kdistill.losses.dist import dist
from kdistill.losses.dkd import dkd
from kdistill.losses.feature import FeatureLoss
from kdistill.losses.hint import hint
from kdistill.losses.logit import cross_entropy, kd
from kdistill.losses.mlkd import mlkd
from kdistill.losses.mse import mse
from kdistill.losses.nkd import nkd
from kdistill.losses.nst import nst
from kdistill.losses.ofa import ofa
from kdistill.losses.ofd import OFD, ofd
from kdistill.losses.pkt import pkt
from kdistill.losses.reviewkd import ReviewKD, hcl
from kdistill.losses.rkd import rkd
from kdistill.losses.sdd import sdd
from kdistill.losses.skd import direction_gap
from kdistill.losses.sp import sp
from kdistill.losses.srd import SRD
from kdistill.losses.standardize import standardize
from kdistill.losses.subclass import Subclass, spread
from kdistill.losses.vid import VID
from kdistill.losses.wsld import wsld

Pair = tuple[float, float]
TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)


def normal(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=shape)) for shape in shapes]


def logits(samples: int, classes: int) -> list[Tensor]:
    """The student's and the teacher's, (N, K), and the samples' classes (N,)."""
    target = torch.from_numpy(np.random.default_rng(1).integers(classes, size=samples))
    return [3 * values for values in normal((samples, classes), (samples, classes))] + [target]


def batch(students: Sequence[Tensor], teachers: Sequence[Tensor]) -> DistillBatch:
    """Features by the names s0, s1, ... and t0, t1, ...; each sample is of a class of its own."""
    index = torch.arange(len(students[0]))
    student, teacher = (
        {f"{side}{n}": x for n, x in enumerate(given)} for side, given in (("s", students), ("t", teachers))
    )
    none = torch.zeros(len(index), 2)
    return DistillBatch(none, index, index, teacher_logits=none, student_features=student, teacher_features=teacher)


def pairs(count: int) -> list[tuple[str, str]]:
    return [(f"s{n}", f"t{n}") for n in range(count)]


def fill(loss: FeatureLoss, seen: DistillBatch) -> None:
    """Makes what a loss learns: its parameters, in their order, from one generator of numbers."""
    sides = (seen.student_features, seen.teacher_features)
    loss.bind(*({name: tuple(values.shape[1:]) for name, values in side.items()} for side in sides))
    loss.double()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=parameter.shape) / 2))


def whole(loss: FeatureLoss, *features: Tensor) -> Tensor:
    """A loss of features: the student's, then as many of the teacher."""
    half = len(features) // 2
    seen = batch(features[:half], features[half:])
    fill(loss, seen)
    value = loss(seen)
    assert isinstance(value, Tensor)
    return value


def token(student: Tensor, teacher: Tensor, target: Tensor, *, hard: bool) -> Tensor:
    """DeiT's loss of a distillation head; the class head says nothing."""
    none = torch.zeros_like(student)
    seen = DistillBatch(none, target, torch.arange(len(none)), teacher_logits=teacher, distillation_logits=student)
    return DeiT(hard=hard)(seen)


def subclass(student: Tensor, teacher: Tensor) -> Tensor:
    """The reference has the cross-entropy with the teacher, which is larger than KL by the teacher's entropy."""
    loss = Subclass(temperature=4.0)
    loss.layers = pairs(1)
    soft = (teacher / 4).softmax(1)
    return whole(loss, student, teacher) - 16 * (soft * soft.log()).sum(1).mean()


def measured(loss: Callable[..., Tensor], student: Tensor, *others: Tensor) -> Pair:
    student = student.clone().requires_grad_()
    value = loss(student, *others)
    (gradient,) = torch.autograd.grad(value, student)
    return float(value.detach()), float(gradient.norm())


def given(name: str) -> list[Pair]:
    """What the reference gave for each input, by its factor."""
    with Path(__file__).with_name("reference_values.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["loss"] == name]
    return [(float(row["value"]) / float(row["factor"]), float(row["gradient"]) / float(row["factor"])) for row in rows]


LOGITS = [logits(6, 5), logits(32, 100), logits(8, 2)]
MAPS = [normal((6, 3, 8, 8), (6, 4, size, size)) for size in (8, 4)]
LIKE_MAPS = [normal((6, 3, size, size), (6, 3, size, size)) for size in (8, 4, 2)]
VECTORS = [normal((samples, 5), (samples, 7)) for samples in (6, 20)]
SCORES = [[3 * maps for maps in normal((6, 5, 8, 8), (6, 5, 4, 4))] + [torch.arange(6) % 5]]
TWO_STAGES = [normal((6, 3, 8, 8), (6, 4, 4, 4), (6, 5, 8, 8), (6, 6, 4, 4))]
THREE_STAGES = [normal((6, 4, 16, 16), (6, 5, 8, 8), (6, 6, 4, 4), (6, 6, 16, 16), (6, 7, 8, 8), (6, 8, 4, 4))]

# With two classes, standardised logits have no gradient but a rounding error, and dist's rows none but an epsilon's;
# so it is with `spread` of two subclasses.
OURS: dict[str, tuple[list[list[Tensor]], Callable[..., Tensor]]] = {
    "kd": (LOGITS, lambda s, t, y: kd(s, t, temperature=4.0)),
    "kd without T^2": (LOGITS, lambda s, t, y: kd(s, t, temperature=4.0)),
    "kd, standardised": (LOGITS[:2], lambda s, t, y: kd(standardize(s), standardize(t), temperature=2.0)),
    "label smoothing": (LOGITS, lambda s, t, y: cross_entropy(s, y, label_smoothing=0.1)),
    "dkd": (LOGITS, lambda s, t, y: dkd(s, t, y, temperature=4.0, target_weight=1.0, beta=8.0)),
    "dist": (LOGITS[:2], lambda s, t, y: dist(s, t, temperature=1.0, beta=2.0, gamma=3.0)),
    "dist, T = 4": (LOGITS[:2], lambda s, t, y: dist(s, t, temperature=4.0, beta=2.0, gamma=3.0)),
    "dist, sure logits": (
        LOGITS[:2],
        lambda s, t, y: dist(6 * s, 6 * t, temperature=1.0, beta=2.0, gamma=3.0, epsilon=1e-8),
    ),
    "nkd": (LOGITS, lambda s, t, y: nkd(s, t, y, temperature=1.0, gamma=1.5)),
    "nkd, T = 3": (LOGITS, lambda s, t, y: nkd(s, t, y, temperature=3.0, gamma=3.5)),
    "sdd": (SCORES, lambda s, t, y: sdd(s, t, y, grids=(1, 2, 4), temperature=4.0, complementary=2.0)),
    "sdd, two grids": (SCORES, lambda s, t, y: sdd(s, t, y, grids=(1, 2), temperature=4.0, complementary=2.0)),
    "skd, directions": (LOGITS, lambda s, t, y: direction_gap(s, t, ridge=0.1)),
    "skd, small ridge": (LOGITS, lambda s, t, y: direction_gap(s, t, ridge=1e-4)),
    "mse": (LOGITS, lambda s, t, y: mse(s, t)),
    "mlkd": (
        LOGITS,
        lambda s, t, y: mlkd(s, t, temperatures=TEMPERATURES, class_correlation=1.0, batch_correlation=1.0),
    ),
    "ofa": (LOGITS, lambda s, t, y: ofa(s, t, y, eps=1.0, temperature=1.0)),
    "ofa, eps = 1.5": (LOGITS, lambda s, t, y: ofa(s, t, y, eps=1.5, temperature=2.0)),
    "deit, hard": (LOGITS, lambda s, t, y: token(s, t, y, hard=True)),
    "deit, soft": (LOGITS, lambda s, t, y: token(s, t, y, hard=False)),
    "subclass": (LOGITS, lambda s, t, y: subclass(s, t)),
    "spread": (LOGITS[:2], lambda s, t, y: spread(s, temperature=1.0)),
    "hint": (LIKE_MAPS, hint),
    "at": (MAPS, lambda s, t: at(s, t, power=2.0)),
    "sp": (MAPS, sp),
    "nst": (MAPS, nst),
    "rkd": (VECTORS, lambda s, t: rkd(s, t, distance=25.0, angle=50.0)),
    "pkt": (VECTORS, pkt),
    # The reference has |K_s - K_t| / N^2, where the paper has its square.
    "cc": (VECTORS, lambda s, t: cc(s, t, gamma=0.4, order=2).sqrt() / len(s)),
    "vid": (MAPS, lambda *maps: whole(VID(layers=pairs(1)), *maps)),
    "srd": (VECTORS, lambda *features: whole(SRD(layers=pairs(1)), *features)),
    "ofd": (LIKE_MAPS, ofd),
    "ofd of two stages": (TWO_STAGES, lambda *maps: whole(OFD(layers=pairs(2)), *maps)),
    "reviewkd, its hcl": (LIKE_MAPS, hcl),
    "reviewkd of three stages": (
        THREE_STAGES,
        lambda *maps: whole(ReviewKD(layers=pairs(3), warmup_epochs=0, factor=1.0), *maps),
    ),
}


@pytest.mark.parametrize("name", OURS)
def test_a_loss_and_its_gradient_are_what_the_reference_gave(name: str) -> None:
    inputs, ours = OURS[name]
    for values, expected in zip(inputs, given(name), strict=True):
        assert measured(ours, *values) == pytest.approx(expected, rel=1e-5)


def test_dkd_is_finite_where_the_reference_is_not() -> None:
    """megvii-research/mdistiller@a08d46f dkd_loss takes log(0) of this student and gives inf."""
    student, teacher, target = torch.tensor([[3000.0, 0.0, 0.0]]), torch.zeros(1, 3), torch.tensor([0])
    value, gradient = measured(lambda s: dkd(s, teacher, target, temperature=4.0, target_weight=1.0, beta=8.0), student)
    # TCKD: (p, 1 - p) is (1/3, 2/3) of the teacher, and log (0, ln 2 - 750) of the student; T^2 = 16.
    expected = 16 * (1 / 3 * np.log(1 / 3) + 2 / 3 * np.log(2 / 3) - 2 / 3 * (np.log(2) - 750))
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(gradient)


def test_wsld_has_the_references_gradient_and_its_value_less_the_teachers_weighed_entropy() -> None:
    for (student, teacher, target), (value, gradient) in zip(LOGITS, given("wsld"), strict=True):
        soft = (teacher / 2).softmax(1)
        own, other = (torch.nn.functional.cross_entropy(z, target, reduction="none") for z in (student, teacher))
        entropy = 4 * ((1 - torch.exp(-own / other)) * -(soft * soft.log()).sum(1)).mean()
        mine = measured(lambda s, t, y: wsld(s, t, y, temperature=2.0), student, teacher, target)
        assert mine == pytest.approx((value - float(entropy), gradient), rel=1e-5)


def test_ctkd_turns_the_temperatures_gradient_as_the_reference_does() -> None:
    """The inputs are the first, the fifth and the eleventh epoch of ten in which the reversal grows."""
    student, teacher, _ = LOGITS[0]
    for epoch, expected in zip((0, 4, 10), given("ctkd"), strict=True):
        reversal = torch.tensor(reversal_at(epoch, reversal_epochs=10), dtype=torch.float64)
        found = measured(
            lambda theta, turn: ctkd(
                student, teacher, theta, reversal=float(turn), temperature_min=1.0, temperature_span=20.0
            ),
            torch.tensor(1.0, dtype=torch.float64),
            reversal,
        )
        assert found == pytest.approx(expected, rel=1e-5)


def test_crd_and_its_memory_over_two_steps_are_the_references() -> None:
    """The reference was given the same memories, and for each sample the same negatives."""
    student, teacher = normal((6, 5), (6, 7), seed=2)
    (memory,) = normal((2, 50, 4), seed=3)
    loss = CRD(layers=pairs(1), dim=4, negatives=9, num_samples=50, factor=1.0)
    fill(loss, batch([student], [teacher]))
    loss.memory = memory / memory.norm(dim=2, keepdim=True)
    loss._draw = lambda device: torch.arange(10, 46, 4)  # type: ignore[method-assign]
    for expected in given("crd"):
        assert measured(lambda s: loss(batch([s], [teacher])), student) == pytest.approx(expected, rel=1e-5)
    assert float(loss.memory[:, :6].sum()) == pytest.approx(0.5918425, rel=1e-5)
