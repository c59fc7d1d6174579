"""DOT: the authors' numbers, SGD at its ends, and the same steps however Lightning takes them."""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from tiny_runs import on_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from kdistill.base.errors import UserError
from kdistill.building.data import build_data
from kdistill.building.trust import is_trusted
from kdistill.config import compose
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.hint import Hint
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.modules import DOT, DistillModule, FrozenTeacher, StudentModule
from kdistill.modules.dot import note_teachers_gradient
from kdistill.modules.mutual import MutualModule

START = ([0.5, -1.0, 2.0], [1.0, 0.25, -0.5], [-1.0, 0.5, 0.75])
# megvii-research/mdistiller@a08d46f mdistiller/engine/dot.py after four steps with lr=.02. No weight decay there in the
# first step of a parameter that the teacher's part alone reaches.
REFERENCE = {
    0.075: [
        [0.183507178667, -0.660649271974, 0.541209366008],
        [1.085797439605, 0.079857206668, -0.16790650024],
        [-1.028518612692, 0.556436362969, 0.639336925078],
    ],
    0.09: [
        [0.169208790432, -0.67555251276, 0.529255126235],
        [1.085909351422, 0.079523131361, -0.167469951665],
        [-1.028515700964, 0.556435328017, 0.639340944894],
    ],
}


class Task(nn.Module):
    learns_from = "labels"

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        super().__init__()
        self.own = parameters

    def forward(self, batch: DistillBatch) -> Tensor:
        both, labels, _ = self.own
        return (both - 1).square().sum() + (both * labels).sum().square()


class Taught(Task):
    learns_from = "teacher"

    def forward(self, batch: DistillBatch) -> Tensor:
        both, _, teacher = self.own
        return 3 * (both + 2).square().sum() / 4 + (teacher * both).sum().square() / 2


def walked(make: Any, steps: int = 4) -> list[Tensor]:
    """The parameters that both, the labels or the teacher alone reach, after some steps."""
    learns = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in START]
    loss = WeightedSum({"ce": Task(learns), "kd": Taught(learns)}, {"ce": 1.0, "kd": 1.0})
    optimizer, batch = make(learns), DistillBatch(torch.zeros(1, 2), torch.zeros(1), torch.zeros(1))
    for _ in range(steps):
        values = loss.values(batch)
        total = loss.total(values)
        optimizer.zero_grad()
        if isinstance(optimizer, DOT):
            note_teachers_gradient(optimizer, total, values, loss)
        total.backward()
        optimizer.step()
    return [one.detach() for one in learns]


@pytest.mark.parametrize("delta", REFERENCE)
def test_the_steps_are_those_of_the_authors_code(delta: float) -> None:
    for found, expected in zip(walked(partial(DOT, lr=0.02, delta=delta)), REFERENCE[delta], strict=True):
        assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_without_a_gap_it_is_sgd() -> None:
    options = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.01}
    pairs = zip(walked(partial(DOT, delta=0.0, **options)), walked(partial(torch.optim.SGD, **options)), strict=True)
    assert all(torch.allclose(own, other, rtol=1e-12) for own, other in pairs)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def loader(batch_size: int = 8) -> DataLoader:  # type: ignore[type-arg]
    image = torch.rand(48, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(image, torch.arange(48) % 3), batch_size=batch_size)


def trained(module: pl.LightningModule, batches: Any, **options: Any) -> list[Tensor]:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=2, enable_model_summary=False, **quiet, **options)
    trainer.fit(module, batches)
    return [p.detach().clone() for p in module.parameters()]


def distilled(optimizer: Any, **options: Any) -> DistillModule:
    loss = WeightedSum({"ce": CrossEntropy(), "kd": KD()}, {"ce": 0.4, "kd": 0.6})
    teacher = network()
    nn.init.normal_(teacher[3].weight, generator=torch.Generator().manual_seed(3))  # type: ignore[arg-type, union-attr]
    return DistillModule(network(), teacher=FrozenTeacher(teacher), loss=loss, optimizer=optimizer, **options)


def alike(own: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(own, other, strict=True))


@pytest.mark.parametrize("clip", [None, ("norm", 0.5), ("value", 0.01)])
def test_in_a_training_it_is_sgd_without_a_gap_and_something_else_with_one(clip: Any) -> None:
    options = {} if clip is None else {"gradient_clip_algorithm": clip[0], "gradient_clip_val": clip[1]}
    plain, same, apart = (
        trained(distilled(partial(make, lr=0.1, momentum=0.9, **more), **options), loader())
        for make, more in ((torch.optim.SGD, {}), (DOT, {"delta": 0.0}), (DOT, {"delta": 0.075}))
    )
    assert alike(same, plain) and not alike(apart, plain)


def test_accumulated_gradients_make_the_step_of_the_larger_batch() -> None:
    dot = partial(DOT, lr=0.1)
    several = trained(distilled(dot), loader(), accumulate_grad_batches=2)
    assert alike(several, trained(distilled(dot), loader(16)))


@pytest.mark.slow
def test_several_steps_a_call_are_the_same_steps(blocks: Path) -> None:
    config = compose.compose_config(["+experiment=mnist_scratch", *on_digits(blocks), "dataset.limit=200"])
    weights = []
    for alone in (False, True):
        data = build_data(config)
        data.one_step_a_call = alone
        torch.manual_seed(0)
        student, teacher = (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)) for _ in "12")
        loss = WeightedSum({"ce": CrossEntropy(), "kd": KD()}, {"ce": 0.4, "kd": 0.6})
        module = DistillModule(student, teacher=FrozenTeacher(teacher), loss=loss, optimizer=partial(DOT, lr=0.1))
        weights.append(trained(module, data, limit_val_batches=0))
        assert module.optimizers(use_pl_optimizer=False).state[student[1].weight].keys() == {"task", "teacher"}  # type: ignore[union-attr, index]
    assert alike(*weights)


def test_a_student_without_a_teacher_has_plain_sgd() -> None:
    plain, own = (
        trained(StudentModule(network(), loss=CrossEntropy(), optimizer=partial(make, lr=0.1, momentum=0.9)), loader())
        for make in (torch.optim.SGD, DOT)
    )
    assert alike(own, plain)


def test_what_a_loss_learns_and_peers_have_the_gradients_that_are_theirs() -> None:
    hint = WeightedSum({"ce": CrossEntropy(), "hint": Hint(layers=[("0", "0")])}, {"ce": 0.5, "hint": 0.01})
    dot = partial(DOT, lr=0.01)
    module = DistillModule(network(), teacher=FrozenTeacher(network()), loss=hint, optimizer=dot, image_shape=(1, 8, 8))
    trained(module, loader())
    state: Any = module.optimizers(use_pl_optimizer=False).state  # type: ignore[union-attr]
    assert state[module.network[0].weight].keys() == {"task", "teacher"}  # type: ignore[index, union-attr]
    assert state[module.network[3].weight].keys() == {"all"}  # type: ignore[index, union-attr]
    assert all(state[p].keys() == {"all"} for p in hint.parameters())

    def peer() -> StudentModule:
        loss = WeightedSum({"ce": CrossEntropy(), "kd": KD()}, {"ce": 0.5, "kd": 0.5})
        return StudentModule(network(), loss=loss, optimizer=dot)

    both = MutualModule(network(), peers=[peer()], loss=peer().loss, optimizer=dot)
    trained(both, loader())
    state = both.optimizers(use_pl_optimizer=False).state  # type: ignore[union-attr]
    assert all(state[p].keys() == {"task", "teacher"} for p in both.parameters())


def test_a_checkpoint_goes_on_with_both_momenta(tmp_path: Path) -> None:
    def run(epochs: int, begun: Path | None = None) -> tuple[pl.Trainer, DistillModule]:
        module = distilled(partial(DOT, lr=0.1))
        options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = pl.Trainer(accelerator="cpu", max_epochs=epochs, enable_model_summary=False, **options)
        trainer.fit(module, loader(), ckpt_path=begun, weights_only=False)
        return trainer, module

    run(1)[0].save_checkpoint(tmp_path / "half.ckpt")
    on, whole = run(2, tmp_path / "half.ckpt")[1], run(2)[1]
    assert alike(list(on.parameters()), list(whole.parameters()))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.delta=0.2", "0.7 and 1.1"),
        ("optimizer.momentum=0.05", "-0.025 and 0.125"),
        ("optimizer.lr=-1", "lr"),
    ],
)
def test_momenta_that_grow_without_end_are_refused(override: str, said: str) -> None:
    section = OmegaConf.to_container(
        OmegaConf.merge(OmegaConf.load("conf/optimizer/dot.yaml"), OmegaConf.from_dotlist([override.partition(".")[2]]))
    )
    assert isinstance(section, dict)
    with pytest.raises(ValueError, match=said):
        DOT([nn.Parameter(torch.zeros(1))], **{str(key): value for key, value in section.items() if key[0] != "_"})  # type: ignore[index]


def test_scaled_gradients_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = distilled(partial(DOT, lr=0.1))
    monkeypatch.setattr(pl.Trainer, "precision", "16-mixed")
    with pytest.raises(UserError, match="takes no scaled gradients"):
        trained(module, loader())


def test_a_class_head_of_zeros_hides_nothing(tmp_path: Path) -> None:
    """Its first gradient stops there, so that what comes to the layers before it is 0 on both sides."""
    module = distilled(partial(DOT, lr=0.1))
    nn.init.zeros_(module.network[3].weight)  # type: ignore[arg-type, index, union-attr]
    trained(module, loader())
    state: Any = module.optimizers(use_pl_optimizer=False).state  # type: ignore[union-attr]
    assert all(state[p].keys() == {"task", "teacher"} for p in module.parameters())


def test_a_copy_has_noted_nothing() -> None:
    copied = copy.deepcopy(DOT([nn.Parameter(torch.zeros(1))]))
    copied.zero_grad()
    copied.step()
    assert copied.noted == {}


def test_a_file_may_name_it() -> None:
    assert is_trusted("kdistill.modules.dot.DOT")
