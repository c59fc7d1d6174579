"""The command of a run composes the run's own config again."""

import shlex
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from kdistill.config.compose import compose_config
from kdistill.reporting.again import command, overrides

CASES = [
    ["+experiment=mnist_distill"],
    ["+experiment=mnist_distill", "seed=3", "loss.temperature=8", "loss.alpha=0.25", "dataset.limit=2000"],
    ["+experiment=mnist_distill", "seed=3", "dataset.seed=0"],
    ["+experiment=mnist_distill", "dataset.root='a \"b\", [c]'", "teacher.recipe_overrides=['trainer.max_epochs=1']"],
    ["+experiment=mnist_scratch", "dataset.augment=null", "trainer.gradient_clip_val=1.5", "~callbacks.lr"],
    ["+experiment=mnist_scratch", "student=custom", "student._target_=kdistill.models.mnist.MnistCNN"],
    ["+experiment=mnist_scratch", "teacher=mnist_cnn", "teacher.checkpoint=a.pt"],
    ["+experiment=mnist_teacher", "logger=tensorboard", "optimizer.lr=1e-05"],
    ["+experiment=distill", "dataset=custom", "dataset._target_=torchvision.datasets.FakeData", "+dataset.size=100"],
    ["+experiment=distill", "dataset=csv", f"dataset.file={__file__}", "dataset.views=2"],
    ["+experiment=distill", "dataset=cifar10", "teacher=answers", f"teacher.file={__file__}"],
]


def as_run_folder_holds_it(config: DictConfig) -> DictConfig:
    found = OmegaConf.create(OmegaConf.to_yaml(config, resolve=True))
    assert isinstance(found, DictConfig)
    return found


OTHER = ["+experiment=mnist_distill", "name=another_name", "optimizer=sgd", "scheduler=none", "loss=dkd"]


@pytest.mark.parametrize(
    "given",
    [*CASES, pytest.param(OTHER, marks=pytest.mark.slow)],  # which is held against all experiments
    ids=lambda given: " ".join(given[1:]).replace(__file__, "file") or "as it is",
)
def test_the_command_composes_the_same_config(given: list[str]) -> None:
    config = as_run_folder_holds_it(compose_config(given))
    words = shlex.split(command(config))
    assert words[:3] == ["python", "-m", "kdistill.train"]
    assert as_run_folder_holds_it(compose_config(words[3:])) == config


def test_what_follows_from_another_value_is_not_said_twice() -> None:
    config = as_run_folder_holds_it(compose_config(["+experiment=mnist_distill", "seed=3"]))
    assert config.dataset.seed == 3 and overrides(config) == ["+experiment=mnist_distill", "seed=3"]


def test_keys_that_an_older_kdistill_did_not_have_are_passed_over() -> None:
    config = as_run_folder_holds_it(compose_config(["+experiment=mnist_distill"]))
    for section, key in ((config, "replay"), (config.trainer, "precision"), (config.student, "trainable")):
        del section[key]
    assert overrides(config) == ["+experiment=mnist_distill"]


def test_every_experiment_is_known_without_a_list(tmp_path: Path) -> None:
    config = as_run_folder_holds_it(compose_config(["+experiment=mhist_lite_distill", f"dataset.root={tmp_path}"]))
    assert overrides(config) == ["+experiment=mhist_lite_distill", f"dataset.root={tmp_path}"]
