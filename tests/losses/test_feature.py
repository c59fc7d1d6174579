"""What every loss between layers of student and teacher keeps; shapes that it refuses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.losses.at import AT
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.cc import CC, cc
from kdistill.losses.crd import CRD
from kdistill.losses.feature import FeatureLoss, pooled, same_size
from kdistill.losses.hint import Hint, hint
from kdistill.losses.logit import CrossEntropy
from kdistill.losses.nst import NST
from kdistill.losses.ofd import OFD, margin_relu, ofd
from kdistill.losses.pkt import PKT, pkt
from kdistill.losses.reviewkd import ReviewKD, hcl
from kdistill.losses.rkd import RKD, rkd
from kdistill.losses.sp import SP, sp
from kdistill.losses.vid import VID

N, STUDENT, TEACHER = 6, (3, 4, 4), (5, 2, 2)
MAPS = (Hint, AT, NST, VID, OFD, ReviewKD)
VECTORS = (SP, RKD, PKT, CC)
LAYERS = [("s1", "t1"), ("s2", "t2")]
EVERY = [pytest.param(loss, id=loss.__name__) for loss in (*MAPS, *VECTORS)]
PLAIN = [pytest.param(loss, id=loss.__name__) for loss in (AT, NST, *VECTORS[:3])]  # without a layer of their own
Make = type[FeatureLoss]


def made(loss: Make, **options: Any) -> FeatureLoss:
    """A loss between two pairs of layers, bound to the shapes of `batch`, past all warm-up."""
    torch.manual_seed(0)
    module = loss(layers=LAYERS, **options)  # type: ignore[call-arg]
    module.bind(dict.fromkeys(module.student_layers, STUDENT), dict.fromkeys(module.teacher_layers, TEACHER))
    return module


def of_features(student: list[Tensor], teacher: list[Tensor]) -> DistillBatch:
    target = torch.arange(len(student[0])) % 3
    logits = torch.zeros(len(target), 3, dtype=student[0].dtype)
    return DistillBatch(
        logits, target, torch.arange(len(target)), 100, None, logits,
        {f"s{number}": features for number, features in enumerate(student, start=1)},
        {f"t{number}": features for number, features in enumerate(teacher, start=1)},
    )  # fmt: skip


@pytest.fixture
def batch() -> DistillBatch:
    random = np.random.default_rng(0)
    student = [torch.from_numpy(random.normal(size=(N, *STUDENT))) for _ in LAYERS]
    return of_features(student, [torch.from_numpy(random.normal(size=(N, *TEACHER))) for _ in LAYERS])


def cast(batch: DistillBatch, change: Callable[[Tensor], Tensor]) -> DistillBatch:
    """The batch with all features changed."""
    return replace(
        batch,
        student_features={name: change(features) for name, features in batch.student_features.items()},
        teacher_features={name: change(features) for name, features in batch.teacher_features.items()},
    )


@pytest.mark.parametrize("loss", EVERY)
def test_a_loss_of_float64_is_a_float64_scalar(loss: Make, batch: DistillBatch) -> None:
    value = made(loss).double()(batch).detach()
    assert value.shape == () and value.dtype == torch.float64 and float(value) > 0


@pytest.mark.parametrize("loss", PLAIN)
def test_a_loss_without_layers_of_its_own_is_zero_when_student_equals_teacher(loss: Make, batch: DistillBatch) -> None:
    same = [features.clone() for features in batch.teacher_features.values()]
    assert made(loss)(of_features(same, [x.clone() for x in same])).item() == pytest.approx(0.0, abs=1e-12)


def test_hint_cc_ofd_and_review_are_zero_at_equal_features(batch: DistillBatch) -> None:
    """Behind what they learn; VID is a density and CRD a cross-entropy: neither is 0."""
    maps = batch.teacher_features["t1"]
    assert hint(maps, maps.clone()).item() == hcl(maps, maps.clone()).item() == 0
    assert cc(maps, maps.clone(), gamma=0.4, order=2).item() == 0
    assert ofd(margin_relu(maps), maps).item() == 0


@pytest.mark.parametrize("loss", EVERY)
@pytest.mark.slow
def test_a_loss_passes_gradcheck(loss: Make, batch: DistillBatch) -> None:
    module = made(loss).double()
    students = [x.clone().requires_grad_() for x in batch.student_features.values()]
    teachers = list(batch.teacher_features.values())
    assert torch.autograd.gradcheck(lambda *student: module(of_features(list(student), teachers)), students)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [1e4, 1e-20, 0.0])
@pytest.mark.parametrize("loss", EVERY)
def test_a_loss_and_its_gradient_are_finite_at_extreme_features(loss: Make, scale: float, n: int) -> None:
    """Also of a batch of one, at features that are all equal, and at none."""
    random = torch.Generator().manual_seed(0)
    drawn = [torch.randn(n, *shape, generator=random) * scale for shape in (STUDENT, TEACHER)]
    equal = [torch.full((n, *shape), scale) for shape in (STUDENT, TEACHER)]
    for student, teacher in ((s, t) for s in (drawn[0], -drawn[0], equal[0]) for t in (drawn[1], equal[1])):
        module, own = made(loss), [student.clone().requires_grad_() for _ in LAYERS]
        value = module(of_features(own, [teacher, teacher]))
        value.backward()
        assert torch.isfinite(value)
        assert all(torch.isfinite(x.grad).all() for x in own if x.grad is not None)
        assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("loss", [SP, RKD, PKT])
def test_relations_of_a_batch_of_one_are_zero(loss: Make, batch: DistillBatch) -> None:
    assert made(loss)(cast(batch, lambda features: features[:1])).item() == 0


@pytest.mark.parametrize("loss", EVERY)
def test_no_gradient_reaches_the_teacher(loss: Make, batch: DistillBatch) -> None:
    batch = cast(batch, lambda features: features.clone().requires_grad_())
    made(loss).double()(batch).backward()
    assert all(features.grad is None for features in batch.teacher_features.values())
    for features in batch.student_features.values():
        assert features.grad is not None and features.grad.abs().max() > 0


@pytest.mark.parametrize("loss", PLAIN)
def test_bf16_features_are_computed_in_float32(loss: Make, batch: DistillBatch) -> None:
    rounded = cast(batch, lambda features: features.bfloat16())
    value, exact = made(loss)(rounded), made(loss)(cast(rounded, lambda features: features.double()))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=2e-5)


@pytest.mark.parametrize("loss", EVERY)
def test_mixed_precision_is_close(loss: Make, batch: DistillBatch) -> None:
    """What a loss learns runs in bfloat16 then; what it compares does not."""
    single, module = cast(batch, lambda features: features.float()), made(loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = module(single)
    assert value.dtype == torch.float32
    close = 1e-5 if not list(module.parameters()) else 2e-2
    assert value.item() == pytest.approx(made(loss).double()(batch).item(), rel=close)


@pytest.mark.parametrize("loss", EVERY)
def test_the_order_of_samples_changes_nothing(loss: Make, batch: DistillBatch) -> None:
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    other = made(loss).double()(cast(batch, lambda features: features[order]))
    assert other.item() == pytest.approx(made(loss).double()(batch).item(), rel=1e-9)


@pytest.mark.parametrize("loss", PLAIN)
def test_the_order_of_channels_changes_nothing_where_no_layer_learns(loss: Make, batch: DistillBatch) -> None:
    other = cast(batch, lambda features: features.flip(1))
    assert made(loss)(other).item() == pytest.approx(made(loss)(batch).item(), rel=1e-9)


@pytest.mark.parametrize("loss", EVERY)
def test_the_factor_multiplies_and_pairs_add_up(loss: Make, batch: DistillBatch) -> None:
    plain, thrice = made(loss, factor=1.0).double()(batch), made(loss, factor=3.0).double()(batch)
    assert thrice.item() == pytest.approx(3 * plain.item(), rel=1e-12)
    if loss in (AT, NST, *VECTORS[:3]):
        one, two = (
            loss(layers=[pair], factor=1.0)(batch).item()  # type: ignore[call-arg]
            for pair in LAYERS
        )
        assert plain.item() == pytest.approx(one + two, rel=1e-12)


def test_the_size_of_a_relation_does_not_depend_on_the_size_of_features(batch: DistillBatch) -> None:
    student, teacher = batch.student_features["s1"], batch.teacher_features["t1"]
    for relation in (sp, pkt, lambda s, t: rkd(s, t, distance=25.0, angle=50.0)):
        assert relation(student * 100, teacher / 7).item() == pytest.approx(relation(student, teacher).item(), rel=1e-9)


@pytest.mark.parametrize("loss", [*EVERY, pytest.param(lambda **o: CRD(num_samples=9, **o), id="CRD")])
def test_a_loss_without_a_teacher_says_so(loss: Any, batch: DistillBatch) -> None:
    with pytest.raises(UserError, match="role=distill, or loss=ce"):
        loss()(replace(batch, teacher_logits=None))


def test_the_larger_maps_are_averaged_to_the_smaller() -> None:
    large = torch.arange(16.0).view(1, 1, 4, 4)
    own, other = same_size(large, torch.zeros(1, 1, 2, 4))
    assert own.tolist() == [[[[2.0, 3.0, 4.0, 5.0], [10.0, 11.0, 12.0, 13.0]]]] and other.shape == (1, 1, 2, 4)


@pytest.mark.parametrize(("size", "grid"), [((23, 17), (11, 5)), ((7, 7), (3, 2)), ((9, 4), (1, 4)), ((3, 3), (2, 5))])
def test_pooled_maps_and_their_gradient_are_those_of_adaptive_pooling(
    size: tuple[int, int], grid: tuple[int, int]
) -> None:
    maps, same = (torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).double() for _ in range(2))
    found, expected = pooled(maps.requires_grad_(), *grid), F.adaptive_avg_pool2d(same.requires_grad_(), grid)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(maps.grad, same.grad)


@pytest.mark.parametrize("loss", [pytest.param(loss, id=loss.__name__) for loss in MAPS if loss is not Hint])
def test_a_loss_of_maps_refuses_vectors(loss: Make) -> None:
    module = loss(layers=[("3:input", "layer4")])  # type: ignore[call-arg]
    with pytest.raises(UserError, match=r"compares feature maps \(C, H, W\), and layer '3:input' of the student gives"):
        module.bind({"3:input": (784,)}, {"layer4": (64, 7, 7)})


def test_a_hint_takes_vectors_but_not_vectors_with_maps() -> None:
    module = Hint(layers=[("3:input", "fc:input")])
    module.bind({"3:input": (784,)}, {"fc:input": (64,)})
    assert module.projections[0].weight.shape == (64, 784)
    with pytest.raises(UserError, match="with maps, or vectors with vectors; these layers give"):
        module.bind({"3:input": (784,)}, {"fc:input": (64, 7, 7)})


@pytest.mark.parametrize("loss", [OFD, ReviewKD])
def test_a_loss_with_batch_norm_refuses_maps_of_one_position(loss: Make) -> None:
    with pytest.raises(UserError, match="needs maps larger than 1 x 1"):
        loss(layers=[("a", "b")]).bind({"a": (8, 1, 1)}, {"b": (8, 1, 1)})  # type: ignore[call-arg]


def test_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layers=\[\]"):
        SP(layers=[])
    with pytest.raises(ValueError, match="one pair"):
        CRD(layers=LAYERS, num_samples=9)


def test_a_sum_names_each_layer_of_its_parts_once_and_in_order() -> None:
    parts = {"ce": CrossEntropy(), "at": AT(layers=LAYERS), "hint": Hint(layers=[("s2", "t1"), ("s0", "t0")])}
    total = WeightedSum(parts, {"ce": 0.5, "at": 0.3, "hint": 0.2})
    assert total.student_layers == ("s1", "s2", "s0") and total.teacher_layers == ("t1", "t2", "t0")
    assert WeightedSum({"ce": CrossEntropy()}, {"ce": 1.0}).student_layers == ()


def test_binding_a_sum_makes_what_its_parts_learn() -> None:
    total = WeightedSum({"ce": CrossEntropy(), "hint": Hint(layers=LAYERS)}, {"ce": 0.5, "hint": 0.5})
    assert list(total.parameters()) == []
    total.bind({"s1": (3, 4, 4), "s2": (6, 2, 2)}, {"t1": (5, 4, 4), "t2": (7, 2, 2)})
    assert [tuple(p.shape) for p in total.parameters()] == [(5, 3, 1, 1), (5,), (7, 6, 1, 1), (7,)]
