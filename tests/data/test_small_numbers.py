"""Few images, few steps: what the smallest trainings do."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.data.arrays import Split
from kdistill.data.loader import BatchLoader
from kdistill.data.sampling import ShuffledSampler
from kdistill.models.batch_of_one import check_batch_of_one
from kdistill.modules.base import ClassifierModule


def split_of(count: int) -> Split:
    return Split(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize(
    ("count", "size", "together", "expected"),
    [
        (33, 32, None, [33]),
        (65, 32, None, [32, 33]),
        (66, 32, None, [32, 32, 2]),
        (64, 32, None, [32, 32]),
        (31, 32, None, [31]),
        (1, 32, None, [1]),
        (3, 1, None, [1, 1, 1]),
        (3, 2, None, [3]),
        (65, 16, 3, [16, 16, 16, 17]),
    ],
)
def test_in_training_a_last_batch_of_one_joins_the_one_before(
    count: int, size: int, together: int | None, expected: list[int]
) -> None:
    loader = BatchLoader(split_of(count), size, sampler=ShuffledSampler(count, seed=0), together=together)
    items = list(loader)
    batches = items if together is None else [batch for item in items for batch in item]
    assert [len(batch.target) for batch in batches] == expected
    assert loader.steps == len(expected) and len(loader) == len(items)
    assert sorted(number for batch in batches for number in batch.index.tolist()) == list(range(count))


def test_evaluation_keeps_its_last_batch_of_one() -> None:
    assert [len(batch.target) for batch in BatchLoader(split_of(33), 32)] == [32, 1]


class Steps:
    """What `configure_optimizers` asks of a trainer."""

    def __init__(self, steps: int) -> None:
        self.max_epochs = 1
        self.fit_loop = self
        self._data_source = self
        self.instance = BatchLoader(split_of(1), 1)  # of kdistill's own, whose steps the module takes
        self.steps = steps
        self.callbacks: list[pl.Callback] = []
        self.accumulate_grad_batches, self.limit_train_batches, self.max_steps = 1, 1.0, -1
        self.check_val_every_n_epoch = 1

    def dataloader(self) -> "Steps":
        return self


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 10, 20])
@pytest.mark.parametrize(
    ("start", "three"),
    # With three phases the fall is as long as the rise, which so takes half of the steps at most.
    [
        (start, three)
        for three in (False, True)
        for start in (0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0)
        if not three or start <= 0.5
    ],
)
def test_one_cycle_runs_over_any_number_of_steps(steps: int, start: float, three: bool) -> None:
    make = partial(torch.optim.lr_scheduler.OneCycleLR, pct_start=start, three_phase=three)
    network = nn.Linear(2, 2)
    module = ClassifierModule(
        network, mean=[0.0], std=[1.0], optimizer=partial(torch.optim.AdamW, lr=0.01), scheduler=make
    )
    module._trainer = Steps(steps)  # type: ignore[assignment]
    found = module.configure_optimizers()
    optimizer, scheduler, rates = found["optimizer"], found["lr_scheduler"]["scheduler"], []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert all(0 < rate <= 0.01 * (1 + 1e-6) for rate in rates)
    if start * steps == 1 < steps and not three:
        assert rates[0] == pytest.approx(0.01), "the rise is over with the first step"


def batch_normed(side: int) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    network(torch.zeros(2, 3, side, side))
    return network


def test_a_batch_of_one_is_refused_where_batch_norm_has_one_value_and_said_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(UserError, match=r"student=x can't train on batches of one image.*batch_size=2"):
        check_batch_of_one(batch_normed(2), (3, 2, 2), owner="student=x")
    assert not caplog.text
    check_batch_of_one(batch_normed(8), (3, 8, 8), owner="student=x")
    assert "take their statistics from each by itself" in caplog.text
    caplog.clear()
    check_batch_of_one(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2), owner="student=x")
    assert not caplog.text
