"""Losses that change the student: what is trained is what is counted, saved, evaluated and loaded as a teacher."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch import nn

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.data.batch import Batch
from kdistill.evaluate import evaluate
from kdistill.losses.base import WeightedSum
from kdistill.losses.deit import DeiT
from kdistill.losses.logit import CrossEntropy
from kdistill.losses.subclass import Subclass
from kdistill.models.build import create_model
from kdistill.models.subclass import split_classes
from kdistill.models.taps import tapped
from kdistill.modules.distill import DistillModule
from kdistill.modules.layers import bind_loss
from kdistill.modules.teacher import FrozenTeacher, TeacherModule
from kdistill.replay.prefix import CannotSplit, split_frozen
from kdistill.training.run import run

# A transformer with a class head and a distillation head, on images of 28 x 28.
DISTILLED = {"img_size": 28, "patch_size": 14, "embed_dim": 12, "depth": 1, "num_heads": 2}
PARAMETERS = (784 * 784 + 784) + (784 * 128 + 128) + (128 * 10 + 10)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained teacher: what it knows does not matter here."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    torch.save(create_model("mnist_cnn", num_classes=10, in_chans=1).state_dict(), path)
    return path


def distilled_transformer() -> nn.Module:
    return create_model("deit_tiny_distilled_patch16_224", num_classes=10, in_chans=1, **DISTILLED)


def config_of(root: Path, teacher: Path, tmp_path: Path, *more: str) -> DictConfig:
    small = ["dataset.limit=320", "dataset.val_size=500", "trainer.max_epochs=2", "trainer.tune=off"]
    given = [f"dataset.root={root}", f"teacher.checkpoint={teacher}", "teacher.gate=off", f"replay.cache={tmp_path}"]
    return compose_config(["+experiment=mnist_distill", *small, *given, *more])


def bind(name: str, part: nn.Module, student: nn.Module, teacher: nn.Module) -> WeightedSum:
    loss = WeightedSum({"ce": CrossEntropy(), name: part}, {"ce": 0.5, name: 0.5})
    bind_loss(loss, student, teacher, (1, 28, 28), student_name="student=s", teacher_name="teacher=t")
    return loss


@pytest.fixture(scope="module")
def reused(mnist_root: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished run of simkd whose teacher's features are replayed."""
    folder = tmp_path_factory.mktemp("runs") / "simkd"
    views = ["loss=simkd", "dataset.views=1", "replay.teacher=on", "optimizer.lr=0.01"]
    return folder, run(config_of(mnist_root, teacher, folder.parent, *views), folder)


@pytest.mark.slow
def test_simkd_counts_and_saves_the_projector_and_the_teachers_head(
    reused: tuple[Path, dict[str, Any]], teacher: Path
) -> None:
    folder, found = reused
    assert found.cost.params_total == PARAMETERS
    assert found.cost.params_trainable == PARAMETERS - 1290, "the teacher's head is frozen"
    assert found.cost.flops == 2 * (784 * 784 + 784 * 128 + 128 * 10)
    saved, given = load_file(folder / "student.safetensors"), torch.load(teacher, weights_only=True)
    assert torch.equal(saved["3.classify.weight"], given["11.weight"])
    assert sum(value.numel() for value in saved.values()) == PARAMETERS
    assert any(folder.parent.glob("teacher-mnist_cnn-*/view-00000.1.bin")), "the teacher's last features are stored"
    rows = (folder / "metrics.csv").read_text()
    assert "train/simkd" in rows


@pytest.mark.slow
def test_simkd_is_evaluated_from_its_files(reused: tuple[Path, dict[str, Any]]) -> None:
    folder, found = reused
    result = evaluate(compose_config([f"run={folder}"], "evaluate"))
    assert result.test == found.test


@pytest.mark.slow
@pytest.mark.parametrize("file", ["", "student.safetensors"])
def test_a_student_of_simkd_is_a_teacher(
    reused: tuple[Path, dict[str, Any]], mnist_root: Path, tmp_path: Path, file: str
) -> None:
    folder, first = reused
    more = ["teacher.name=mnist_mlp", "loss=kd", "dataset.limit=32", "trainer.max_epochs=1"]
    found = run(config_of(mnist_root, folder / file, tmp_path, *more), tmp_path / "run")
    assert found.teacher.fingerprint == first.fingerprint
    assert found.teacher.test["nll"] == pytest.approx(first.test["nll"], abs=1e-6)
    with pytest.raises(UserError, match=r"that of teacher=mnist_mlp is a ReusedHead"):
        run(config_of(mnist_root, folder / file, tmp_path, *more, "loss=simkd"), tmp_path / "refused")


def test_both_heads_of_a_distilled_transformer_learn_and_it_predicts_with_their_mean() -> None:
    torch.manual_seed(0)
    network, teacher = distilled_transformer(), create_model("mnist_mlp", num_classes=10, in_chans=1)
    loss = bind("deit", DeiT(), network, teacher)
    inputs = {"mean": [0.1], "std": [0.3]}
    module = DistillModule(network, teacher=FrozenTeacher(TeacherModule(teacher, **inputs)), loss=loss, **inputs)
    batch = Batch(torch.rand(6, 1, 28, 28), torch.arange(6), torch.arange(6))
    with tapped(network, ["head", "head_dist"], owner="test") as heads:
        seen = module.loss_input(batch)
    assert torch.equal(seen.student_logits, heads["head"])
    assert seen.distillation_logits is not None and torch.equal(seen.distillation_logits, heads["head_dist"])
    total, values = module.step_loss(batch)
    assert values[0].item() == pytest.approx(F.cross_entropy(heads["head"], batch.target).item(), rel=1e-6)
    named = F.cross_entropy(heads["head_dist"], seen.from_teacher.argmax(1)).item()
    assert values[1].item() == pytest.approx(named, rel=1e-6)
    total.backward()
    for head in (network.head, network.head_dist):
        assert head.weight.grad.abs().max() > 0  # type: ignore[union-attr, operator]
    module.eval()
    with torch.no_grad(), tapped(network, ["head", "head_dist"], owner="test") as heads:
        torch.testing.assert_close(module(batch.image), (heads["head"] + heads["head_dist"]) / 2)


def test_a_network_that_gives_two_outputs_in_training_is_not_cut() -> None:
    network = distilled_transformer()
    network.set_distilled_training(True)  # type: ignore[operator]
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    with pytest.raises(CannotSplit, match="more than one output"):
        split_frozen(network, torch.rand(2, 1, 28, 28))


def test_a_student_without_a_distillation_head_is_refused() -> None:
    student, teacher = (create_model("mnist_mlp", num_classes=10, in_chans=1) for _ in range(2))
    with pytest.raises(UserError, match=r"loss deit needs a student with a distillation head, not student=s; take one"):
        bind("deit", DeiT(), student, teacher)
    bind("deit", DeiT(token=False), student, teacher)


SUBCLASSES = ["+teacher.subclasses=2", "+student.subclasses=2"]


@pytest.mark.slow
def test_a_teacher_invents_subclasses_and_a_student_learns_them(mnist_root: Path, tmp_path: Path) -> None:
    cache = f"teacher_cache={tmp_path / 'teachers'}"
    recipe = "teacher.recipe_overrides=['loss=spread','trainer.max_epochs=1','trainer.tune=off']"
    given = [
        "loss=subclass",
        *SUBCLASSES,
        "teacher.name=mnist_small_cnn",
        recipe,
        cache,
        "teacher.checkpoint=null",
        "trainer.max_epochs=1",
    ]
    found = run(config_of(mnist_root, Path("none"), tmp_path, *given), tmp_path / "run")
    assert found.cost.params_total == 784 * 784 + 784 + 784 * 20 + 20, "two subclasses for each of ten classes"
    assert "train/subclass" in (tmp_path / "run" / "metrics.csv").read_text()
    (teacher,) = (tmp_path / "teachers").glob("mnist_small_cnn-*")
    assert load_file(teacher / "teacher.safetensors")["7.subclasses.weight"].shape == (20, 400)
    assert "train/spread" in (teacher / "metrics.csv").read_text()
    assert evaluate(compose_config([f"run={tmp_path / 'run'}"], "evaluate")).test == found.test


@pytest.mark.parametrize("divided", [False, True])
def test_networks_without_subclasses_are_refused(divided: bool) -> None:
    student, teacher = (create_model("mnist_mlp", num_classes=10, in_chans=1) for _ in range(2))
    if divided:
        split_classes(student, 2, owner="student")
    with pytest.raises(UserError, match=r"subclass looks at subclasses, and (student=s|teacher=t) has none: \+student"):
        bind("subclass", Subclass(), student, teacher)


@pytest.mark.slow
def test_votes_are_subclasses_of_two_classes(tmp_path: Path) -> None:
    """Of 7 annotators: 0 to 3 votes are of one class, 4 to 7 of the other."""
    data = [
        "dataset=tissue_demo", f"dataset.root={tmp_path / 'tissue'}", f"dataset.cache={tmp_path / 'cache'}",
        "dataset.count=110", "dataset.size=32", "dataset.image_size=32",
    ]  # fmt: skip
    alone = ["+experiment=mhist_lite_teacher", *data, "teacher=timm", "teacher.name=test_resnet", "loss=vote_bins"]
    alone += ["trainer.max_epochs=4", "trainer.tune=off", "callbacks=default", "optimizer.lr=0.01"]
    with pytest.raises(
        UserError, match=r"make 4 subclasses of each of two classes, not 3 of 2: \+teacher.subclasses=4"
    ):
        run(compose_config([*alone, "+teacher.subclasses=3"]), tmp_path / "wrong")
    found = run(compose_config([*alone, "+teacher.subclasses=4"]), tmp_path / "run")
    assert set(found.test) >= {"auroc", "f1"}, "metrics are those of the two classes"
    saved = load_file(tmp_path / "run" / "teacher.safetensors")
    assert saved["fc.subclasses.weight"].shape[0] == 8
    with (tmp_path / "run" / "metrics.csv").open() as rows:
        losses = [float(row["train/votebins"]) for row in csv.DictReader(rows) if row["train/votebins"]]
    assert len(losses) == 4 and losses[-1] < losses[0], losses
