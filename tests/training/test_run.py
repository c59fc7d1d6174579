"""The whole job on a few made-up digits: teacher, student, run folder, evaluation."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from tiny_runs import TINY_RECIPE, tiny

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.data.idx import encode_idx
from kdistill.data.mnist_files import TEST_FILES, read_partition
from kdistill.evaluate import evaluate
from kdistill.models.build import create_model
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import DataFacts, RunRecord
from kdistill.training.run import run

Slice = list[str]


@pytest.fixture(scope="session")
def small(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Slice:
    """Overrides that make any MNIST experiment a matter of a second or two."""
    return tiny(blocks, tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="session")
def distill_overrides(small: Slice) -> Slice:
    return ["+experiment=mnist_distill", f"teacher.recipe_overrides=[{TINY_RECIPE}]", *small]


@pytest.fixture(scope="session")
def distilled(distill_overrides: Slice, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished `mnist_distill` run whose teacher had to be trained first."""
    folder = tmp_path_factory.mktemp("runs") / "distilled"
    run(compose_config(distill_overrides), folder)
    return folder


def summary(folder: Path) -> RunRecord:
    return RunFolder(folder).record()


def test_a_run_folder_holds_what_is_promised(distilled: Path) -> None:
    for name in ("config.yaml", "metrics.csv", "predictions.npz", "val_predictions.npz", "student.safetensors"):
        assert (distilled / name).stat().st_size > 0
    assert sorted(path.name for path in (distilled / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    found = summary(distilled)
    figures = {"accuracy", "f1", "auroc", "nll", "ece", "agreement_top1", "agreement_kl"}
    assert (found.experiment, found.role, found.seed) == ("mnist_distill", "distill", 0)
    assert all(figures <= set(part) for part in (found.val, found.test, found.test_last))
    assert found.cost.params_total == 623_290
    assert found.cost.flops == 2 * found.cost.macs == 1_244_992
    assert found.teacher.cost.flops == 21_875_456
    for cost in (found.cost, found.teacher.cost):
        assert 0.01 < cost.latency_ms < 100 and cost.latency_iqr_ms >= 0 and cost.latency_on.startswith("c")
    assert found.time_s.total > found.time_s.fit > 0 and found.time_s.teacher > 0
    assert {"torch", "python", "kdistill"} <= set(found.versions)
    sizes = {"train": 600, "val": 100, "test": 200, "image_shape": (1, 28, 28)}
    own = {"fingerprint": found.data.fingerprint, "mean": found.data.mean, "std": found.data.std}
    assert found.data == DataFacts(**sizes, **own, class_names=tuple("0123456789"))


def test_the_student_learnt_and_its_curves_are_in_the_csv(distilled: Path) -> None:
    assert summary(distilled).test["accuracy"] > 0.6
    with (distilled / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert {"train/ce", "train/kd", "val/accuracy", "val/nll"} <= set(rows[0])


def test_the_stored_test_logits_give_the_stored_figures(distilled: Path) -> None:
    stored = np.load(distilled / "predictions.npz")
    assert stored["index"].tolist() == list(range(200))
    assert stored["logits"].shape == stored["teacher_logits"].shape == (200, 10)
    right = stored["logits"].argmax(1) == stored["target"]
    same = stored["logits"].argmax(1) == stored["teacher_logits"].argmax(1)
    assert right.mean() == pytest.approx(summary(distilled).test["accuracy"], abs=1e-7)
    assert same.mean() == pytest.approx(summary(distilled).test["agreement_top1"], abs=1e-7)


def test_the_student_loads_without_its_teacher(distilled: Path) -> None:
    state = load_file(distilled / "student.safetensors")
    create_model("mnist_mlp", num_classes=10, in_chans=1).load_state_dict(state)
    checkpoint = torch.load(distilled / "checkpoints" / "best.ckpt", weights_only=True)
    assert sum(value.numel() for value in checkpoint["state_dict"].values()) == 623_290 + 2
    assert (distilled / "checkpoints" / "best.ckpt").stat().st_size < 3.1 * 4 * 623_290, "weights and two Adam moments"


@pytest.mark.slow
def test_the_same_seed_gives_identical_figures_and_finds_the_teacher_again(
    distilled: Path, distill_overrides: Slice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        again = run(compose_config(distill_overrides), tmp_path / "again")
    first = summary(distilled)
    assert "found, trained before by the same recipe" in caplog.text
    assert again.teacher.fingerprint == first.teacher.fingerprint
    assert again.fingerprint == first.fingerprint, "the weights are the same to the bit"
    assert (again.val, again.test, again.test_last) == (first.val, first.test, first.test_last)
    np.testing.assert_array_equal(
        np.load(tmp_path / "again" / "predictions.npz")["logits"], np.load(distilled / "predictions.npz")["logits"]
    )


@pytest.mark.slow
def test_a_teacher_that_another_run_is_training_is_waited_for(
    distilled: Path, distill_overrides: Slice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(summary(distilled).teacher.checkpoint).parent
    other = FileLock(folder.parent / f".{folder.name}.lock")

    class Release(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "another run is training it; this one waits" in record.getMessage():
                other.release()

    caplog.set_level(logging.INFO)
    logging.getLogger("kdistill").addHandler(handler := Release())
    try:
        other.acquire()
        found = run(compose_config(distill_overrides), tmp_path / "second")
    finally:
        logging.getLogger("kdistill").removeHandler(handler)
    assert not other.is_locked and found.fingerprint == summary(distilled).fingerprint


@pytest.mark.slow
def test_another_seed_gives_another_student_of_the_same_teacher(
    distilled: Path, distill_overrides: Slice, tmp_path: Path
) -> None:
    other = run(compose_config([*distill_overrides, "seed=1"]), tmp_path / "other")
    assert other.teacher.fingerprint == summary(distilled).teacher.fingerprint
    assert other.fingerprint != summary(distilled).fingerprint


def test_a_finished_run_is_not_written_over(distilled: Path, distill_overrides: Slice) -> None:
    before = (distilled / "summary.json").read_bytes()
    with pytest.raises(UserError, match=r"holds a finished run; give another folder \(hydra\.run\.dir=\.\.\., with -m"):
        run(compose_config(distill_overrides), distilled)
    assert (distilled / "summary.json").read_bytes() == before


def test_the_student_without_a_teacher_runs_and_evaluates(small: Slice, tmp_path: Path) -> None:
    found = run(compose_config(["+experiment=mnist_scratch", *small]), tmp_path / "scratch")
    assert found.role == "student"
    assert found.teacher is None and "teacher" not in json.loads((tmp_path / "scratch" / "summary.json").read_text())
    result = evaluate(compose_config([f"run={tmp_path / 'scratch'}"], "evaluate"))
    assert result.test == found.test == result.recorded


def test_evaluate_reproduces_the_test_figures_from_the_files(distilled: Path) -> None:
    result = evaluate(compose_config([f"run={distilled}"], "evaluate"))
    assert result.test == summary(distilled).test, "agreement with the teacher included"


def test_evaluate_takes_other_data_of_the_same_shape(distilled: Path, blocks: Path, tmp_path: Path) -> None:
    images, labels = read_partition(blocks, TEST_FILES, verify=False)
    for name, part in zip(TEST_FILES, (images[:50], labels[:50]), strict=True):
        (tmp_path / name).write_bytes(encode_idx(part))
    result = evaluate(compose_config([f"run={distilled}", f"dataset.root={tmp_path}"], "evaluate"))
    stored = np.load(distilled / "predictions.npz")
    right = stored["logits"][:50].argmax(1) == stored["target"][:50]
    assert result.test["accuracy"] == pytest.approx(right.mean(), abs=1e-7)
    assert result.recorded is None
    for name, part in zip(TEST_FILES, (images[:50, :20], labels[:50]), strict=True):
        (tmp_path / name).write_bytes(encode_idx(part))
    with pytest.raises(UserError, match=r"test images are \(1, 20, 28\), the run's were \(1, 28, 28\)"):
        evaluate(compose_config([f"run={distilled}", f"dataset.root={tmp_path}"], "evaluate"))


def test_evaluate_imports_nothing_that_a_run_folder_names(distilled: Path, tmp_path: Path) -> None:
    text = (distilled / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("kdistill.models.build.create_model", "subprocess.check_output"))
    (tmp_path / "summary.json").write_bytes((distilled / "summary.json").read_bytes())
    with pytest.raises(UserError, match=r"names subprocess\.check_output.*allow=\[subprocess\]"):
        evaluate(compose_config([f"run={tmp_path}"], "evaluate"))


def test_evaluate_of_no_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a finished run's folder.*it lacks config\.yaml and summary\.json"):
        evaluate(compose_config([f"run={tmp_path}"], "evaluate"))


def test_a_given_teacher_that_does_not_fit_is_refused_before_training(
    distilled: Path, distill_overrides: Slice, tmp_path: Path
) -> None:
    for given, reason in (
        (distilled, r"student\.safetensors does not fit teacher=mnist_cnn: it is of another network.*it lacks 0\.bias"),
        (tmp_path / "nothing.ckpt", r"nothing\.ckpt: there is no such file or folder"),
        (tmp_path, "holds no weights"),
    ):
        with pytest.raises(UserError, match=reason):
            run(compose_config([*distill_overrides, f"teacher.checkpoint={given}"]), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["loss=at"], "loss at compares feature maps, and student=mnist_mlp has none"),
        (["loss=hint"], "loss hint compares feature maps"),
        (["loss=deit"], "loss deit needs a student with a distillation head, not student=mnist_mlp"),
        (["loss=subclass"], "loss subclass looks at subclasses"),
        (
            ["loss=at", "student=mnist_small_cnn", "loss.layers=[['3','99']]"],
            r"unknown layer '99'; did you mean '9'\? \(teacher=mnist_cnn\)",
        ),
        (["loss=at", "loss.power=0.5"], r"loss=kdistill\.losses\.at\.AT: power=0\.5: must be 1 or more"),
    ],
)
def test_a_loss_that_does_not_fit_the_networks_is_refused_before_a_teacher_is_trained(
    small: Slice, tmp_path: Path, wrong: list[str], said: str
) -> None:
    overrides = ["+experiment=mnist_distill", *small, f"teacher_cache={tmp_path / 'teachers'}", *wrong]
    with pytest.raises(UserError, match=said):
        run(compose_config(overrides), tmp_path / "run")
    assert not (tmp_path / "teachers").exists()


def test_a_link_of_a_chain_that_does_not_fit_is_refused_before_the_first_is_trained(
    small: Slice, tmp_path: Path
) -> None:
    """The run's own loss fits; that of the assistant, which teaches it, does not fit its own teacher."""
    chain = ["teacher.name=mnist_mlp2", "teacher.recipe=mnist_distill", "teacher.recipe_overrides=['loss=at']"]
    overrides = ["+experiment=mnist_distill", *small, f"teacher_cache={tmp_path / 'teachers'}", *chain]
    with pytest.raises(UserError, match="loss at compares feature maps, and student=mnist_mlp2 has none"):
        run(compose_config(overrides), tmp_path / "run")
    assert not (tmp_path / "teachers").exists()


@pytest.mark.slow
def test_a_given_teacher_that_knows_nothing_is_refused(distill_overrides: Slice, tmp_path: Path) -> None:
    network = create_model("mnist_cnn", num_classes=10, in_chans=1)
    torch.save({name: torch.zeros_like(value) for name, value in network.state_dict().items()}, tmp_path / "zero.pt")
    config = compose_config([*distill_overrides, f"teacher.checkpoint={tmp_path / 'zero.pt'}"])
    with pytest.raises(UserError, match="no better than naming the commonest class"):
        run(config, tmp_path / "run")


@pytest.mark.slow
def test_a_given_teacher_that_fits_is_used(distilled: Path, distill_overrides: Slice, tmp_path: Path) -> None:
    first = summary(distilled).teacher
    config = compose_config([*distill_overrides, f"teacher.checkpoint={first.checkpoint}", "loss.alpha=1.0"])
    found = run(config, tmp_path / "run")
    assert found.teacher.fingerprint == first.fingerprint
    assert found.teacher.test == first.test


def test_a_network_of_the_users_own_needs_no_code_of_ours(
    small: Slice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_nets.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, num_classes: int, width: int = 8) -> None:\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, num_classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    overrides = ["+experiment=mnist_scratch", *small, "student=custom", "student._target_=their_nets.Net"]
    found = run(compose_config([*overrides, "+student.width=16"]), tmp_path / "run")
    assert found.cost.params_total == 784 * 16 + 16 + 16 * 10 + 10
    with pytest.raises(UserError, match=r"allow=\[their_nets\]"):
        evaluate(compose_config([f"run={tmp_path / 'run'}"], "evaluate"))
    result = evaluate(compose_config([f"run={tmp_path / 'run'}", "allow=[their_nets]"], "evaluate"))
    assert result.test == found.test


def test_a_timm_name_is_a_student(small: Slice, tmp_path: Path) -> None:
    config = compose_config(["+experiment=mnist_scratch", *small, "student.name=test_resnet", "dataset.limit=300"])
    found = run(config, tmp_path / "run")
    assert found.label == "test_resnet"
    assert any("batch_norm" in name for name in found.cost.uncounted_ops)
    assert found.data.train == 300


@pytest.mark.slow
def test_another_teacher_is_trained_by_the_same_recipe(distill_overrides: Slice, tmp_path: Path) -> None:
    other = ["teacher=timm", "teacher.name=test_resnet", "dataset.limit=300", "teacher.gate=off"]
    found = run(compose_config([*distill_overrides, *other]), tmp_path / "run")
    assert found.teacher.label == "test_resnet"
    assert "test_resnet" in found.teacher.checkpoint


def test_a_training_that_blows_up_and_stays_finite_is_marked_as_no_result(
    small: Slice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = ["+experiment=mnist_scratch", *small, "optimizer=sgd", "optimizer.lr=1", "scheduler=none"]
    found = run(compose_config(overrides), tmp_path / "run")
    assert found.diverged is not None and found.diverged.startswith("validation's NLL is ")
    assert summary(tmp_path / "run").diverged == found.diverged
    assert "the training has diverged" in caplog.text
    assert run(compose_config([*overrides, "optimizer.lr=.1"]), tmp_path / "fine").diverged is None
