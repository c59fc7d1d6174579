"""CRD: the noise-contrastive loss, its negatives, its memory."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, logsumexp

from kdistill.losses.base import DistillBatch
from kdistill.losses.crd import CRD, nce


def batch(n: int = 4, seed: int = 0) -> DistillBatch:
    random = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(n, 6, generator=random), torch.randn(n, 9, generator=random)
    index, logits = torch.randperm(40, generator=random)[:n], torch.zeros(n, 3)
    return DistillBatch(logits, index % 3, index, 0, None, logits, {"s": student}, {"t": teacher})


def made(**options: object) -> CRD:
    torch.manual_seed(0)
    module = CRD(layers=[("s", "t")], num_samples=40, negatives=30, dim=5, **options)  # type: ignore[arg-type]
    module.bind({"s": (6,)}, {"t": (9,)})
    return module


def test_nce_by_hand() -> None:
    """One true pair and two others that are as likely as not, one of which does not count: 2 ln 2."""
    value = nce(torch.zeros(1), torch.zeros(1, 2), torch.tensor([[False, True]]), log_prior=0.0)
    assert value.item() == pytest.approx(2 * math.log(2), abs=1e-6)


def test_nce_is_the_formula() -> None:
    random = np.random.default_rng(0)
    positive, negative, prior = random.normal(size=4), random.normal(size=(4, 7)), 0.3
    wrong = random.random((4, 7)) < 0.3
    true, false = expit(positive - math.log(prior)), expit(negative - math.log(prior))
    expected = -(np.log(true) + np.where(wrong, 0, np.log(1 - false)).sum(1)).mean()
    found = nce(
        *(torch.from_numpy(x) for x in (positive, negative, wrong)),
        log_prior=math.log(prior),
    )
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_nce_passes_gradcheck_and_is_finite_at_extreme_scores() -> None:
    positive, negative = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((3,), (3, 5)))
    wrong = torch.eye(3, 5).bool()
    assert torch.autograd.gradcheck(lambda p, n: nce(p, n, wrong, log_prior=-0.5), (positive, negative))
    for scale in (1e4, -1e4):
        value = nce(torch.full((3,), -scale), torch.full((3, 5), scale), wrong, log_prior=0.0)
        assert torch.isfinite(value)


def test_two_steps_are_the_formula_with_memories_and_z() -> None:
    """Equations 18 and 19 in NumPy, both ways: first of random memories, then of those that the first step moved."""
    module = made(momentum=0.3, temperature=0.2).double()
    memory, known = module.memory.numpy().copy(), np.full(40, -1)
    log_z = [0.0, 0.0]
    for step in range(2):
        seen = batch(seed=0 if step == 0 else 1)
        index, target = seen.index.numpy(), seen.target.numpy()
        drawn = torch.randint(40, (30,), generator=torch.Generator().manual_seed(module.seed + step)).numpy()
        own = []
        for embed, side in zip(
            module.embeddings, (seen.student_features["s"], seen.teacher_features["t"]), strict=True
        ):
            weight, bias = (p.detach().numpy() for p in embed.parameters())
            vectors = side.double().numpy() @ weight.T + bias
            own.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        counts = (known[drawn][None] != target[:, None]) & (drawn[None] != index[:, None])
        expected = 0.0
        for side in range(2):
            other = memory[1 - side]
            positive, negative = (own[side] * other[index]).sum(1) / 0.2, own[side] @ other[drawn].T / 0.2
            if step == 0:
                scores = np.append(positive, negative)
                log_z[side] = logsumexp(scores) - np.log(len(scores) / 40)
            true, false = (np.exp(x - log_z[side]) / (np.exp(x - log_z[side]) + 30 / 40) for x in (positive, negative))
            expected -= (np.log(true) + (np.log(1 - false) * counts).sum(1)).mean()
        found = module(replace(
            seen, student_features={"s": seen.student_features["s"].double()},
            teacher_features={"t": seen.teacher_features["t"].double()},
        ))  # fmt: skip
        assert found.item() == pytest.approx(0.8 * expected, abs=1e-9)
        moved = 0.3 * memory[:, index] + 0.7 * np.stack(own)
        memory[:, index] = moved / np.linalg.norm(moved, axis=2, keepdims=True)
        known[index] = target


def test_both_embeddings_train_and_no_gradient_reaches_the_teacher() -> None:
    module, seen = made(), batch()
    seen.student_features["s"].requires_grad_()
    seen.teacher_features["t"].requires_grad_()
    module(seen).backward()
    assert seen.teacher_features["t"].grad is None
    assert seen.student_features["s"].grad is not None and seen.student_features["s"].grad.abs().max() > 0
    assert len(list(module.parameters())) == 4
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


@pytest.mark.parametrize("scale", [1e4, 0.0])
@pytest.mark.parametrize("n", [1, 4])
def test_it_is_finite_at_extreme_features_and_in_a_batch_of_one(scale: float, n: int) -> None:
    module, seen = made(), batch(n)
    seen.student_features["s"].mul_(scale).requires_grad_()
    value = module(seen)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(seen.student_features["s"].grad).all()


def test_the_memory_of_the_batch_moves_and_no_other() -> None:
    module, seen = made(momentum=0.5), batch()
    before = module.memory.clone()
    module(seen)
    student = torch.nn.functional.normalize(module.embeddings[0](seen.student_features["s"]), dim=1)
    moved = torch.nn.functional.normalize(0.5 * before[0, seen.index] + 0.5 * student, dim=1)
    torch.testing.assert_close(module.memory[0, seen.index], moved.detach())
    rest = torch.ones(40, dtype=torch.bool)
    rest[seen.index] = False
    assert torch.equal(module.memory[:, rest], before[:, rest])
    assert torch.equal(module.known_class[seen.index], seen.target) and (module.known_class[rest] == -1).all()


def test_samples_of_the_same_class_are_no_negatives() -> None:
    """With one class there is nothing to be told from, but for what is not yet known to be of that class."""
    module, seen = made(), batch()
    module.known_class[:] = 0
    one_class = DistillBatch(
        seen.student_logits, torch.zeros(4).long(), seen.index, 0, None, seen.student_logits,
        seen.student_features, seen.teacher_features,
    )  # fmt: skip
    memory = module.memory.clone()
    value = module(one_class)
    log_prior, expected = math.log(30 / 40), 0.0
    sides = (seen.student_features["s"], seen.teacher_features["t"])
    for number, (embed, side) in enumerate(zip(module.embeddings, sides, strict=True)):
        embedding = torch.nn.functional.normalize(embed(side), dim=1)
        score = (embedding * memory[1 - number, seen.index]).sum(1) / 0.07 - module.log_z[1 - number]
        expected += -(torch.sigmoid(score - log_prior)).log().mean().item()
    assert value.item() == pytest.approx(0.8 * expected, rel=1e-4)


def test_a_resumed_run_goes_on_as_it_would_have() -> None:
    module, other = made(), made()
    module(batch())
    other.load_state_dict(module.state_dict())
    first = module(batch(seed=1))
    assert other(batch(seed=1)).item() == first.item(), "its negatives too"


def test_negatives_are_no_more_than_the_samples() -> None:
    assert CRD(num_samples=50).negatives == 50
    assert CRD(num_samples=55_000).negatives == 16384


def test_a_teacher_alike_lowers_the_loss() -> None:
    """Trained on one batch, both sides find each other."""
    module = made(momentum=0.0)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    values = []
    for _ in range(60):
        value = module(batch())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.5 * values[0]
