"""The MHIST job on made-up tissue, with small networks: what is its own beside the MNIST job."""

from pathlib import Path

import pytest

from kdistill.base.errors import UserError
from kdistill.building.data import build_data
from kdistill.building.networks import build_network
from kdistill.config.compose import compose_config
from kdistill.data.tissue_demo import TissueDemo
from kdistill.evaluate import evaluate
from kdistill.training.run import run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Made-up tissue, small enough for seconds."""
    folder = tmp_path_factory.mktemp("demo")
    return [
        "dataset=tissue_demo",
        f"dataset.root={folder / 'tissue'}",
        f"dataset.cache={folder / 'decoded'}",
        f"teacher_cache={folder / 'teachers'}",
        "dataset.count=110",
        "dataset.size=48",
        "dataset.image_size=48",
        "trainer.max_epochs=2",
    ]


@pytest.mark.slow
def test_the_whole_job_runs_on_made_up_tissue(demo: list[str], tmp_path: Path) -> None:
    networks = ["teacher.name=test_resnet", "teacher.weights=none", "teacher.trainable=all"]
    networks += ["student.name=test_efficientnet", "student.weights=none", "student.trainable=head"]
    gate = ["teacher.gate=off", "teacher.recipe_overrides=['trainer.max_epochs=1']", "decision_threshold=f1"]
    found = run(compose_config(["+experiment=mhist_distill", *demo, *networks, *gate]), tmp_path / "run")
    assert found.data.class_names == ("HP", "SSA")
    assert found.data.image_shape == (3, 48, 48)
    assert {"f1", "auroc", "average_precision", "balanced_accuracy", "ece", "nll"} <= set(found.test)
    assert found.cost.params_trainable < found.cost.params_total
    assert found.teacher.cost.params_trainable <= found.teacher.cost.params_total
    assert sum(group["n"] for group in found.test_by_agreement.values()) == found.data.test
    assert 0 < found.threshold.value < 1 and {"f1", "balanced_accuracy"} <= set(found.threshold.test)
    assert (found.input.mean, found.input.std) != (found.data.mean, found.data.std), "the model's own, not the data's"
    assert evaluate(compose_config([f"run={tmp_path / 'run'}"], "evaluate")).test == found.test


@pytest.mark.slow
def test_votes_as_targets_and_balanced_classes_train(demo: list[str], tmp_path: Path) -> None:
    choices = ["dataset.targets=votes", "dataset.sampling=balanced", "loss.logit_adjustment=1.0"]
    network = ["student.name=test_resnet", "student.weights=none", "student.trainable=all"]
    found = run(compose_config(["+experiment=mhist_scratch", *demo, *network, *choices]), tmp_path / "run")
    assert 0 <= found.test["auroc"] <= 1


@pytest.mark.slow
def test_the_head_alone_first_then_all(demo: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = ["student.name=test_resnet", "student.weights=none", "student.trainable=all", "student.backbone_lr=0.1"]
    phases = ["callbacks=head_first", "callbacks.finetune.epochs=1", "callbacks.checkpoint.monitor=val/auroc"]
    found = run(compose_config(["+experiment=mhist_scratch", *demo, *network, *phases]), tmp_path / "run")
    assert found.cost.params_trainable == found.cost.params_total


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is out of reach, and nothing of it is in the cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://nowhere.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("no_hub")
def test_without_network_or_file_the_message_names_the_options(demo: list[str], tmp_path: Path) -> None:
    data = build_data(compose_config(["+experiment=mhist_scratch", *demo]))
    assert isinstance(data, TissueDemo)
    given = ["dataset=mhist", f"dataset.root={data.folder()}", f"dataset.cache={tmp_path / 'decoded'}"]
    options = r"student\.weights=<a \.safetensors or state-dict file, or a folder.*>, student\.weights=none"
    with pytest.raises(UserError, match=options):
        run(compose_config(["+experiment=mhist_scratch", *given]), tmp_path / "run")


@pytest.mark.usefixtures("no_hub")
def test_on_made_up_tissue_a_network_trains_from_random_where_there_is_no_hub(
    demo: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    config = compose_config(["+experiment=mhist_scratch", *demo])
    network = build_network(config.student, "student", build_data(config))
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert "these data are made up, so all of student mobilenetv2_100 trains from random" in caplog.text


def test_mhist_without_a_root_says_how_to_obtain_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MHIST_ROOT", raising=False)
    with pytest.raises(UserError, match=r"(?s)dataset\.root is not set.*annotations\.csv.*data use agreement"):
        run(compose_config(["+experiment=mhist_distill", "dataset.root=null"]), tmp_path / "run")
