"""Peers that teach each other: the values, whose gradient goes where, and a checkpoint that holds all."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from kdistill.data.arrays import Split
from kdistill.data.batch import Batch
from kdistill.data.loader import BatchLoader
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.ctkd import CTKD
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.losses.mlkd import MLKD
from kdistill.modules.mutual import MutualModule, mutual_values
from kdistill.modules.student import StudentModule

OPTIONS = {"mean": [0.4], "std": [0.2]}
TARGET = [0, 1, 2, 3, 4, 0]


def loss(alpha: float = 0.5) -> WeightedSum:
    return WeightedSum({"ce": CrossEntropy(), "kd": KD(temperature=1.0)}, {"ce": 1 - alpha, "kd": alpha})


def seen(logits: Tensor) -> DistillBatch:
    return DistillBatch(logits, torch.tensor(TARGET[: len(logits)]), torch.arange(len(logits)))


def peers_logits(peers: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).normal(size=(6, 5)) * 3 for seed in range(peers)]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


@pytest.mark.parametrize("peers", [2, 3])
def test_each_peer_s_value_is_the_papers_formula(peers: int) -> None:
    logits = peers_logits(peers)
    found = mutual_values([loss()] * peers, [seen(torch.from_numpy(z)) for z in logits])
    logs = [log_softmax(z) for z in logits]
    for own in range(peers):
        ce = -logs[own][np.arange(6), TARGET].mean()
        kl = [(np.exp(q) * (q - logs[own])).sum(1).mean() for other, q in enumerate(logs) if other != own]
        assert found[own].tolist() == pytest.approx([ce, np.mean(kl)], rel=1e-10)


def test_a_hand_value() -> None:
    """p = (.5, .5), q = (.8, .2): KL(q || p) = .8 log 1.6 + .2 log .4 and KL(p || q) = .5 log .625 + .5 log 2.5."""
    one, other = torch.zeros(1, 2), torch.tensor([[0.8, 0.2]]).log()
    found = mutual_values([loss(), loss()], [seen(one), seen(other)])
    expected = [0.8 * np.log(1.6) + 0.2 * np.log(0.4), 0.5 * np.log(0.625) + 0.5 * np.log(2.5)]
    assert found[:, 1].tolist() == pytest.approx(expected, rel=1e-5)
    assert found[:, 0].tolist() == pytest.approx([np.log(2), -np.log(0.8)], rel=1e-5)


def test_equal_peers_teach_each_other_nothing_and_extremes_stay_finite() -> None:
    logits = torch.from_numpy(peers_logits(1)[0])
    assert mutual_values([loss()] * 3, [seen(logits)] * 3)[:, 1].tolist() == pytest.approx([0.0] * 3, abs=1e-12)
    sure = [torch.tensor([[1e4, -1e4, 0.0]]), torch.tensor([[-1e4, 1e4, 0.0]])]
    assert torch.isfinite(mutual_values([loss()] * 2, [seen(z) for z in sure])).all()


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
def test_every_peer_s_gradient_is_finite_at_extremes(scale: float, n: int) -> None:
    patterns = ([scale, 0.0, -scale], [-scale, 0.0, scale], [0.0, scale, 0.0])
    logits = [torch.tensor([pattern]).repeat(n, 1).requires_grad_() for pattern in patterns]
    values = mutual_values([loss()] * 3, [seen(z) for z in logits])
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert all(z.grad is not None and torch.isfinite(z.grad).all() for z in logits)


def test_peers_in_bf16_are_compared_in_float32_and_the_order_of_samples_changes_nothing() -> None:
    logits = [torch.from_numpy(z).bfloat16() for z in peers_logits(3)]
    exact = mutual_values([loss()] * 3, [seen(z.double()) for z in logits])
    found = mutual_values([loss()] * 3, [seen(z) for z in logits])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-7)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    moved = [replace(seen(z.double()[order]), target=torch.tensor(TARGET)[order]) for z in logits]
    torch.testing.assert_close(mutual_values([loss()] * 3, moved), exact, rtol=1e-10, atol=0)


def test_a_peer_s_loss_has_a_gradient_in_its_own_logits_alone() -> None:
    logits = [torch.from_numpy(z).requires_grad_() for z in peers_logits(3)]
    values = mutual_values([loss()] * 3, [seen(z) for z in logits])
    values[1].sum().backward()
    assert logits[0].grad is None or not logits[0].grad.any()
    assert logits[1].grad is not None and logits[1].grad.any()
    assert logits[2].grad is None or not logits[2].grad.any()
    others = [z.detach() for z in logits]

    def own(z: Tensor) -> Tensor:
        return mutual_values([loss()] * 3, [seen(others[0]), seen(z), seen(others[2])])[1]

    assert torch.autograd.gradcheck(own, (logits[1],))


def test_a_loss_that_looks_at_two_views_gets_the_others_answers_to_both() -> None:
    """MLKD's second view adds T^2 KL there: at T = 2 alone, 4 KL(p_j || p_i) of the second view's softened logits."""
    first, second = peers_logits(2), [z + 1.0 * np.arange(5) for z in peers_logits(2)[::-1]]
    both = [
        replace(seen(torch.from_numpy(z)), second=seen(torch.from_numpy(s))) for z, s in zip(first, second, strict=True)
    ]
    one, two = (
        WeightedSum({"mlkd": MLKD(temperatures=[2.0], second_view=views)}, {"mlkd": 1.0}) for views in (False, True)
    )
    found = mutual_values([two] * 2, both) - mutual_values([one] * 2, both)
    logs = [log_softmax(s / 2) for s in second]
    expected = [4 * (np.exp(q) * (q - own)).sum(1).mean() for own, q in (logs, logs[::-1])]
    assert found[:, 0].tolist() == pytest.approx(expected, rel=1e-9)


def batches(together: int | None = None) -> BatchLoader:
    """Eight batches of eight whose class is the brightest of three rows; in training they come `together`."""
    image = torch.rand(64, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    return BatchLoader(Split(image, image.mean((1, 3)).argmax(1)), 8, together=together)


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))


def mutual(peers: int = 2, *, make_loss: object = loss, **options: object) -> MutualModule:
    torch.manual_seed(0)
    every = [net() for _ in range(peers)]
    shared = {**OPTIONS, "optimizer": partial(torch.optim.Adam, lr=0.02), **options}
    assert callable(make_loss)
    others = [StudentModule(one, loss=make_loss(), **shared) for one in every[1:]]
    return MutualModule(every[0], peers=others, loss=make_loss(), **shared)


def fit(module: pl.LightningModule, tmp_path: object, epochs: int, **options: object) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=str(tmp_path),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, batches(together=3), batches(), **options)  # type: ignore[arg-type]
    return trainer


def whole() -> Batch:
    image = torch.rand(64, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    return Batch(image, image.mean((1, 3)).argmax(1), torch.arange(64))


def test_all_peers_learn_and_each_from_the_others(tmp_path: object) -> None:
    module = mutual(3)
    before = [one.step_loss(whole())[1] for one in [module]]
    right = [float((one(whole().image).argmax(1) == whole().target).float().mean()) for one in module.everyone()]
    fit(module, tmp_path, 12)
    after = [float((one(whole().image).argmax(1) == whole().target).float().mean()) for one in module.everyone()]
    assert all(late > early + 0.1 for early, late in zip(right, after, strict=True)), (right, after)
    assert module.step_loss(whole())[1][0] < before[0][0]


def test_with_alpha_0_a_peer_trains_as_if_alone(tmp_path: object) -> None:
    def labels() -> WeightedSum:
        return loss(alpha=0.0)

    together = mutual(2, make_loss=labels, gradient_clip_val=0.5)
    alone = StudentModule(
        copy.deepcopy(together.network),
        loss=WeightedSum({"ce": CrossEntropy()}, {"ce": 1.0}),
        optimizer=partial(torch.optim.Adam, lr=0.02),
        gradient_clip_val=0.5,
        **OPTIONS,
    )
    fit(together, tmp_path, 2)
    fit(alone, tmp_path, 2)
    for own, other in zip(together.network.parameters(), alone.network.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_holds_every_peer_with_its_optimizer_state(tmp_path: object) -> None:
    module = mutual(2)
    trainer = fit(module, tmp_path, 1)
    path = f"{tmp_path}/half.ckpt"
    trainer.save_checkpoint(path)
    other = mutual(2)
    fit(other, tmp_path, 2, ckpt_path=path)
    straight = mutual(2)
    fit(straight, tmp_path, 2)
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0)
    assert sum(name.startswith("peers.0.network.") for name in straight.state_dict()) == 4


def test_what_a_loss_learns_is_each_peer_s_own(tmp_path: object) -> None:
    def learning() -> WeightedSum:
        return WeightedSum({"ce": CrossEntropy(), "ctkd": CTKD()}, {"ce": 0.5, "ctkd": 0.5})

    module = mutual(2, make_loss=learning)
    own = [p for one in module.everyone() for p in one.loss.parameters()]  # type: ignore[union-attr]
    assert len(own) == 2 and own[0] is not own[1]
    known = {id(p) for group in module._parameter_groups() for p in group["params"]}
    assert {id(p) for p in own} <= known
    fit(module, tmp_path, 1)
