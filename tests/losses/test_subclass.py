"""Subclass distillation: hand values, independent formulas, what every loss keeps."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, rel_entr, softmax
from torch import Tensor, nn
from weighted import weighted

from kdistill.base.errors import UserError
from kdistill.losses.base import OUTPUT, DistillBatch, WeightedSum
from kdistill.losses.logit import CrossEntropy
from kdistill.losses.subclass import Spread, Subclass, VoteBins, spread, vote_bins

K, S, N = 2, 4, 6
Make = Callable[[], nn.Module]


def bound(loss: Subclass | Spread | VoteBins) -> nn.Module:
    loss.layers = [("s", "t")] if isinstance(loss, Subclass) else ["s"]  # type: ignore[assignment]
    loss.bind({"s": (K * S,), OUTPUT: (K,)}, {"t": (K * S,), OUTPUT: (K,)})
    return loss


EVERY = [
    pytest.param(lambda: bound(Subclass(temperature=2.0)), id="Subclass"),
    pytest.param(lambda: bound(Spread(temperature=0.5, weight=0.7)), id="Spread"),
    pytest.param(lambda: bound(VoteBins(annotators=7)), id="VoteBins"),
]


def of_scores(student: Tensor, teacher: Tensor) -> DistillBatch:
    """What a network with subclasses gives: its class logits are sums of these."""
    n = len(student)
    votes = torch.arange(n) * 5 % 8
    own, other = (scores.unflatten(1, (K, S)).logsumexp(2) for scores in (student, teacher))
    seen = DistillBatch(own, (votes > 3).long(), torch.arange(n), 0, None, other, {"s": student}, {"t": teacher})
    return replace(seen, votes=votes)


@pytest.fixture
def batch() -> DistillBatch:
    random = np.random.default_rng(0)
    return of_scores(*(torch.from_numpy(random.normal(size=(N, K * S)) * 2) for _ in range(2)))


def test_spread_by_hand() -> None:
    """Two samples alike: 0. At right angles, T = 1: log(e + 1) - 1 - log 2. Opposed: log(e + 1/e) - 1 - log 2."""
    alike, across, opposed = [1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0], [-1.0, 1.0, 0.0, 0.0]
    for other, expected in ((alike, math.e), (across, 1.0), (opposed, 1 / math.e)):
        value = spread(torch.tensor([alike, other]), temperature=1.0).item()
        assert value == pytest.approx(math.log(math.e + expected) - 1 - math.log(2), abs=1e-6)


def test_spread_is_the_formula() -> None:
    scores = np.random.default_rng(0).normal(size=(7, 6)) * 3
    z = (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)
    expected = logsumexp(z @ z.T / (6 * 0.5), axis=1).mean() - 1 / 0.5 - np.log(7)
    assert spread(torch.from_numpy(scores), temperature=0.5).item() == pytest.approx(expected, abs=1e-9)


def test_subclass_by_hand() -> None:
    """Teacher (1/2, 1/4, 1/8, 1/8) over two subclasses of each of two classes, student all 1/4, T = 1.

    1/2 ln 2 + 0 + 2 (1/8 ln 1/2) = 1/4 ln 2. Its classes would be (3/4, 1/4) and (1/2, 1/2).
    """
    teacher = torch.tensor([[math.log(4.0), math.log(2.0), 0.0, 0.0]])
    loss = Subclass(temperature=1.0)
    loss.layers = [("s", "t")]
    seen = of_scores(torch.zeros(1, 8), torch.zeros(1, 8))
    seen = replace(seen, student_features={"s": torch.zeros(1, 4)}, teacher_features={"t": teacher})
    assert loss(seen).item() == pytest.approx(math.log(2) / 4, abs=1e-6)


def test_vote_bins_by_hand() -> None:
    """One of eight scores is ln 8 and seven are 0: 8/15 for it. Votes 5 name it, votes 2 another one of 1/15."""
    scores = torch.zeros(2, 8)
    scores[:, 5] = math.log(8.0)
    seen = replace(of_scores(scores, scores), votes=torch.tensor([5, 2]), target=torch.tensor([1, 0]))
    expected = (math.log(15 / 8) + math.log(15)) / 2
    assert bound(VoteBins(annotators=7))(seen).item() == pytest.approx(expected, abs=1e-6)


def test_subclass_is_the_formula_and_zero_where_both_are_equal(batch: DistillBatch) -> None:
    s, t = batch.student_features["s"], batch.teacher_features["t"]
    expected = 9 * rel_entr(softmax(t.numpy() / 3, axis=1), softmax(s.numpy() / 3, axis=1)).sum(1).mean()
    loss = bound(Subclass(temperature=3.0))
    assert loss(batch).item() == pytest.approx(expected, abs=1e-9)
    assert loss(of_scores(s, s.clone())).item() == 0


def test_spread_and_vote_bins_are_cross_entropies_of_classes_and_of_votes(batch: DistillBatch) -> None:
    s = batch.student_features["s"].numpy()
    assert batch.votes is not None
    probability = softmax(s, axis=1)
    bins = -np.log(probability[np.arange(N), batch.votes.numpy()]).mean()
    assert bound(VoteBins(annotators=7))(batch).item() == pytest.approx(bins, abs=1e-9)
    classes = -np.log(probability.reshape(N, K, S).sum(2)[np.arange(N), batch.target.numpy()]).mean()
    expected = classes + 0.7 * spread(batch.student_features["s"], temperature=0.5).item()
    assert bound(Spread(temperature=0.5, weight=0.7))(batch).item() == pytest.approx(expected, abs=1e-9)
    soft = replace(batch, soft_target=torch.full((N, K), 0.5, dtype=torch.float64))
    halves = -np.log(probability.reshape(N, K, S).sum(2)).mean()
    assert bound(Spread(weight=0.0))(soft).item() == pytest.approx(halves, abs=1e-9)


@pytest.mark.parametrize(
    ("annotators", "votes", "labels", "bins"),
    [
        (7, [0, 3, 4, 7], [0, 0, 1, 1], [0, 3, 4, 7]),
        (6, [0, 3, 3, 6], [0, 0, 1, 1], [0, 3, 4, 7]),  # 3 of 6 are a tie: the label says whose
        (7, [6, 1], [0, 1], [3, 4]),  # a label against its majority
    ],
)
def test_votes_are_numbered_class_by_class(
    annotators: int, votes: list[int], labels: list[int], bins: list[int]
) -> None:
    assert vote_bins(torch.tensor(labels), torch.tensor(votes), annotators=annotators).tolist() == bins


@pytest.mark.parametrize("make", EVERY)
def test_a_loss_passes_gradcheck_and_no_gradient_reaches_the_teacher(make: Make, batch: DistillBatch) -> None:
    s, t = (x.clone().requires_grad_() for x in (batch.student_features["s"], batch.teacher_features["t"]))
    assert torch.autograd.gradcheck(lambda scores: make()(of_scores(scores, t.detach())), (s,))
    make()(of_scores(s, t)).backward()
    assert t.grad is None and s.grad is not None and s.grad.abs().max() > 0


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("make", EVERY)
def test_a_loss_is_finite_at_extreme_and_equal_scores_and_in_a_batch_of_one(make: Make, scale: float, n: int) -> None:
    scores = (scale * torch.linspace(-1, 1, K * S)).repeat(n, 1).requires_grad_()
    value = make()(of_scores(scores, -scores.detach()))
    value.backward()
    assert torch.isfinite(value) and scores.grad is not None and torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("make", EVERY)
def test_bf16_is_close_and_the_order_of_samples_changes_nothing(make: Make, batch: DistillBatch) -> None:
    exact = make()(batch).item()
    rounded = of_scores(batch.student_features["s"].bfloat16(), batch.teacher_features["t"].bfloat16())
    value = make()(replace(rounded, student_logits=batch.student_logits.float()))
    assert value.dtype == torch.float32 and value.item() == pytest.approx(exact, rel=2e-2)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert batch.votes is not None
    shuffled = replace(
        of_scores(batch.student_features["s"][order], batch.teacher_features["t"][order]),
        target=batch.target[order],
        votes=batch.votes[order],
    )
    assert make()(shuffled).item() == pytest.approx(exact, rel=1e-10)


def test_alpha_zero_is_the_limit_of_small_alpha(batch: DistillBatch) -> None:
    zero, small = (
        weighted(WeightedSum({"ce": CrossEntropy(), "sub": bound(Subclass())}, {"ce": 1 - alpha, "sub": alpha}), batch)[
            0
        ].item()
        for alpha in (0.0, 1e-9)
    )
    plain = torch.nn.functional.cross_entropy(batch.student_logits, batch.target).item()
    assert zero == pytest.approx(plain, rel=1e-12) and small == pytest.approx(plain, abs=1e-6)


def test_what_does_not_fit_is_refused(batch: DistillBatch) -> None:
    with pytest.raises(UserError, match="role=distill, or loss=ce"):
        bound(Subclass())(replace(batch, teacher_logits=None))
    loss = Subclass()
    loss.layers = [("s", "t")]
    with pytest.raises(UserError, match="the student has 8 subclasses in all, the teacher 6; give both as many"):
        loss.bind({"s": (8,), OUTPUT: (2,)}, {"t": (6,), OUTPUT: (2,)})
    with pytest.raises(UserError, match="make 3 subclasses of each of two classes, not 4 of 2"):
        bound(VoteBins(annotators=5))
    with pytest.raises(UserError, match="needs votes, and this data set has none"):
        bound(VoteBins())
