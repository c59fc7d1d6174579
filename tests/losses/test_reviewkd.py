"""ReviewKD: hand values, the hierarchical context loss and the fusion of stages in NumPy."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from scipy.special import expit

from kdistill.losses.base import DistillBatch
from kdistill.losses.reviewkd import ReviewKD, hcl


def of_stages(students: list[torch.Tensor], teachers: list[torch.Tensor], epoch: int = 100) -> DistillBatch:
    n = len(students[0])
    logits = torch.zeros(n, 3)
    sides = ({f"{side}{i}": x for i, x in enumerate(part)} for side, part in (("s", students), ("t", teachers)))
    return DistillBatch(logits, torch.zeros(n), torch.arange(n), epoch, None, logits, *sides)


def bound(students: list[tuple[int, ...]], teachers: list[tuple[int, ...]], factor: float = 1.0) -> ReviewKD:
    torch.manual_seed(0)
    module = ReviewKD(layers=[(f"s{i}", f"t{i}") for i in range(len(students))], factor=factor)
    shapes = ({f"{side}{i}": x for i, x in enumerate(part)} for side, part in (("s", students), ("t", teachers)))
    module.bind(*shapes)
    return module.double()


def hcl_by_numpy(own: np.ndarray, other: np.ndarray) -> float:
    """A mean over blocks at each level that is coarser than the maps."""
    gap, size = own - other, own.shape[2]
    squares = [(gap**2).mean()]
    for level in (level for level in (4, 2, 1) if level < size):
        side = size // level
        means = gap.reshape(*gap.shape[:2], level, side, level, side).mean((3, 5))
        squares.append((means**2).mean())
    weights = 0.5 ** np.arange(len(squares))
    return float((weights * squares).sum() / weights.sum())


def normalised(maps: np.ndarray) -> np.ndarray:
    """BatchNorm in training, before it has learned anything."""
    mean, variance = (reduce(maps, axis=(0, 2, 3), keepdims=True) for reduce in (np.mean, np.var))
    return (maps - mean) / np.sqrt(variance + 1e-5)


def convolved(maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A convolution of stride 1 whose output has the input's size: what networks call so is a correlation."""
    return np.stack(
        [
            [sum(correlate(x, w, mode="same") for x, w in zip(image, kernel, strict=True)) for kernel in weight]
            for image in maps
        ]
    )


def larger(maps: np.ndarray, size: int) -> np.ndarray:
    return maps.repeat(size // maps.shape[2], axis=2).repeat(size // maps.shape[3], axis=3)


def test_hcl_by_hand() -> None:
    """2 x 2 maps that differ by 1 in one pixel: (1/4 + 1/2 (1/4)^2) / (1 + 1/2)."""
    difference = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    difference[..., 0, 0] = 1
    assert hcl(difference, torch.zeros_like(difference)).item() == pytest.approx((1 / 4 + 1 / 32) / 1.5, abs=1e-12)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_hcl_is_the_formula(size: int) -> None:
    own, other = (np.random.default_rng(seed).normal(size=(3, 5, size, size)) for seed in range(2))
    found = hcl(torch.from_numpy(own), torch.from_numpy(other))
    assert found.item() == pytest.approx(hcl_by_numpy(own, other), abs=1e-9)


def test_two_stages_by_hand() -> None:
    """Maps of one value each, weights that copy, and shares of one half.

    The deeper stage is 4 where the teacher has 1: 9. The earlier is 2, fused to (2 + 4) / 2 = 3, where the teacher has
    1: 4. Maps of a constant gap have the same gap at every level of `hcl`. The middle of a 3 x 3 kernel alone copies.
    """
    module = bound([(1, 4, 4), (1, 2, 2)], [(1, 4, 4), (1, 2, 2)], factor=5.0).eval()
    for fusion in module.fusions:
        fusion.reduce[0].weight.data.fill_(1)
        fusion.expand[0].weight.data.zero_()[..., 1, 1] = 1
    for parameter in module.fusions[0].weigh.parameters():
        parameter.data.zero_()
    own, other = (
        [torch.full((1, 1, size, size), v).double() for size, v in zip((4, 2), values, strict=True)]
        for values in ((2.0, 4.0), (1.0, 1.0))
    )
    assert module(of_stages(own, other)).item() == pytest.approx(5 * (4 + 9), rel=1e-4), (
        "BatchNorm divides by sqrt(1 + 1e-5)"
    )


def test_review_is_the_formula_with_fusion() -> None:
    """Three stages, the deepest first: reduced, fused with what is below it, brought to the teacher's channels."""
    own_shapes, other_shapes = [(3, 8, 8), (4, 4, 4), (6, 2, 2)], [(5, 8, 8), (4, 8, 8), (7, 4, 4)]
    module = bound(own_shapes, other_shapes, factor=2.0)
    random = np.random.default_rng(0)
    own, other = ([random.normal(size=(3, *shape)) for shape in shapes] for shapes in (own_shapes, other_shapes))
    expected, deeper = 0.0, None
    for fusion, maps, teacher in list(zip(module.fusions, own, other, strict=True))[::-1]:
        weight = {name: value.detach().numpy() for name, value in fusion.named_parameters()}
        maps = normalised(convolved(maps, weight["reduce.0.weight"]))
        if deeper is not None:
            deeper = larger(deeper, maps.shape[2])
            both = convolved(np.concatenate([maps, deeper], axis=1), weight["weigh.weight"])
            share = expit(both + weight["weigh.bias"][:, None, None])
            maps = maps * share[:, :1] + deeper * share[:, 1:]
        deeper = larger(maps, teacher.shape[2])
        expected += hcl_by_numpy(normalised(convolved(deeper, weight["expand.0.weight"])), teacher)
    found = module(of_stages(*([torch.from_numpy(x) for x in side] for side in (own, other))))
    assert found.item() == pytest.approx(2 * expected, abs=1e-9)


def test_review_grows_over_its_first_epochs() -> None:
    module = bound([(4, 8, 8)], [(5, 8, 8)]).float()
    own, other = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 8, 8)
    values = [module(of_stages([own], [other], epoch)) for epoch in (0, 9, 19, 50)]
    assert [(value / values[-1]).item() for value in values] == pytest.approx([0.05, 0.5, 1.0, 1.0], rel=1e-5)
