"""What is wrong is said before anything is trained and before a folder is made; a corrected command goes on."""

import copy
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from tiny_runs import tiny

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.runs.folder import RunFolder
from kdistill.training.plan import check_layer_names
from kdistill.training.run import run


def config(blocks: Path, kept: Path, *overrides: str) -> DictConfig:
    named = any("experiment=" in text for text in overrides)
    own = [
        *([] if named else ["+experiment=mnist_scratch"]),
        "device=cpu",
        *tiny(blocks, kept),
    ]
    own += ["dataset.limit=200", "trainer.max_epochs=1"]
    return compose_config([*own, *overrides])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["decision_threshold=f1"], "decision_threshold=f1 needs two classes, and these data have 10"),
        (["+experiment=mnist_distill", "decision_threshold=f1"], "needs two classes"),
        (["dataset.limit=100000"], "dataset.limit=100000 of 600 training images: "),
        (["+optimizer.betas=[0.9,1.5]"], "optimizer=torch.optim.AdamW: Invalid beta parameter"),
        (["scheduler.pct_start=1.5"], "scheduler=torch.optim.lr_scheduler.OneCycleLR: .*pct_start"),
        (["+callbacks.checkpoint.every_n_train_steps=-1"], "callbacks: Invalid value for every_n_train_steps=-1"),
        (["student.trainable=[fc9]"], "no parameter or module is called 'fc9'"),
    ],
)
def test_a_refused_run_has_made_no_folder_and_trained_no_teacher(
    blocks: Path, tmp_path: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        run(config(blocks, tmp_path, *overrides), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def begun(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, DictConfig]:
    """An unfinished run's folder, and its config."""
    place = tmp_path_factory.mktemp("begun")
    folder, its = RunFolder(place / "run"), config(blocks, place)
    folder.begin(its)
    folder.checkpoints.mkdir()
    (folder.checkpoints / "last.ckpt").touch()
    return folder, its


def changed(config: DictConfig, key: str, value: Any) -> DictConfig:
    other = copy.deepcopy(config)
    OmegaConf.update(other, key, value, force_add=True)
    return other


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("decision_threshold", "f1"), ("device", "auto"), ("logger", {"tensorboard": {"_target_": "x"}})),
        *(("trainer.progress_bar", True), ("replay.teacher", "off"), ("callbacks.resume.minutes", 5)),
        *(("dataset.eval_batch_size", 10), ("trainer.tune_cache", "elsewhere")),
    ],
)
def test_what_does_not_change_the_training_may_change_while_a_run_is_unfinished(
    begun: tuple[RunFolder, DictConfig], key: str, value: Any
) -> None:
    folder, its = begun
    folder.check(changed(its, key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 7), ("optimizer.lr", 0.1), ("trainer.max_epochs", 3), ("dataset.batch_size", 32)],
)
def test_what_changes_the_training_is_refused_in_an_unfinished_folder_and_named(
    begun: tuple[RunFolder, DictConfig], key: str, value: Any
) -> None:
    folder, its = begun
    with pytest.raises(UserError, match=rf"differs in: .*{key}: \S+ then, {value} now"):
        folder.check(changed(its, key, value))


def test_a_folder_that_cannot_be_is_refused(blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file is no folder; give hydra.run.dir="):
        RunFolder(tmp_path / "file" / "run").check(config(blocks, tmp_path))


def test_a_run_whose_callbacks_keep_no_checkpoint_is_not_lost(blocks: Path, tmp_path: Path) -> None:
    summary = run(config(blocks, tmp_path, "+callbacks.checkpoint.every_n_epochs=5"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").finished and summary.best_epoch == 1


def test_a_run_that_ends_before_its_first_epoch_leaves_no_folder(blocks: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing of it is frozen"):
        run(config(blocks, tmp_path, "replay.prefix=on"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(UserError, match="nothing of it is frozen"):
        run(config(blocks, tmp_path, "replay.prefix=on"), tmp_path / "other")
    assert (tmp_path / "other" / "mine.txt").is_file()


def test_a_layer_that_nobody_has_is_said_before_images_are_decoded(blocks: Path, tmp_path: Path) -> None:
    mine = config(blocks, tmp_path, "student.name=mnist_cnn")
    with pytest.raises(UserError, match=r"unknown layer 'convolution'.*student=mnist_cnn"):
        check_layer_names(changed(mine, "loss.layers", [["convolution", "x"]]))
    for layers in ("auto", [":input"], [[":maps", "anything"]]):
        check_layer_names(changed(mine, "loss.layers", layers))
