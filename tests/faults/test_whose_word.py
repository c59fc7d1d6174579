"""What the user alone may allow: callables of a run folder, writing into a data folder, reading outside of it."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_tables import picture, table
from omegaconf import OmegaConf
from records import DATA, record
from tiny_runs import tiny

from kdistill.base.errors import UserError
from kdistill.building.stored import stored_data
from kdistill.config.compose import compose_config
from kdistill.config.key_identity import SAME_JOB, counts
from kdistill.evaluate import evaluate
from kdistill.runs.folder import RunFolder
from kdistill.teachers.recipe import teacher_configs
from kdistill.training.run import run

NETS = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, num_classes))
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that a run folder may name where the user says so."""
    (tmp_path / "others_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "others_nets", raising=False)
    return "others_nets.Net"


def finished(folder: Path, words: list[str]) -> Path:
    """A finished run's folder that says what it likes; it has no weights."""
    folder.mkdir()
    OmegaConf.save(compose_config(words), folder / "config.yaml", resolve=True)
    RunFolder(folder).write_record(record(data=replace(DATA, class_names=("HP", "SSA"))))
    return folder


@pytest.mark.parametrize("door", ["train", "compare"])
def test_a_members_own_network_is_built_where_the_user_allows_it_and_in_no_other_door_but_by_that_key(
    door: str, theirs: str, tmp_path: Path
) -> None:
    folder = finished(
        tmp_path / "member", ["+experiment=mnist_scratch", "student=custom", f"student._target_={theirs}"]
    )
    words = ["+experiment=mnist_distill", "teacher=several", f"teacher.members=['{folder}']"]
    with pytest.raises(UserError, match=r"names others_nets\.Net.*say allow=\[others_nets\]"):
        teacher_configs(compose_config(words, door))
    for allowed in ("others_nets", theirs):
        (one,) = teacher_configs(compose_config([*words, f"allow=[{allowed}]"], door))
        assert one.teacher._target_ == theirs and one.teacher.checkpoint == str(folder)
    assert "others_nets" not in sys.modules, "a check imports nothing of theirs"
    assert not counts("allow", SAME_JOB), "it is the same run with and without"


@pytest.mark.slow
def test_a_run_learns_from_a_network_of_the_users_own_that_only_its_folder_names(
    theirs: str, blocks: Path, tmp_path: Path
) -> None:
    sizes = tiny(blocks, tmp_path)
    own = ["student=custom", f"student._target_={theirs}"]
    run(compose_config(["+experiment=mnist_scratch", *sizes, *own]), tmp_path / "own")
    words = ["+experiment=mnist_distill", *sizes, "teacher=several", f"teacher.members=['{tmp_path / 'own'}']"]
    found = run(compose_config([*words, "teacher.gate=off", "allow=[others_nets]"]), tmp_path / "pupil")
    assert found.teacher is not None and found.teacher.members[0].label == "Net"


def test_evaluate_paints_nothing_into_a_folder_that_a_runs_config_names(tmp_path: Path) -> None:
    root = tmp_path / "somebodys"
    words = ["+experiment=mhist_lite_scratch", "dataset=tissue_demo", f"dataset.root={root}", "dataset.count=60"]
    folder = finished(tmp_path / "run", [*words, "dataset.size=32", "dataset.image_size=32", "student.weights=none"])
    config = compose_config([f"run={folder}", f"dataset.cache={tmp_path / 'cache'}"], "evaluate")
    for there in (False, True):
        if there:
            root.mkdir()
            (root / "mine.txt").write_text("x")
        with pytest.raises(UserError, match=r"nothing is painted .* say it yourself, dataset\.root="):
            evaluate(config)
        assert (os.listdir(root) == ["mine.txt"]) if there else not root.exists()
    typed = compose_config([f"run={folder}", f"dataset.cache={tmp_path / 'cache'}", f"dataset.root={root}"], "evaluate")
    with pytest.raises(UserError, match="test images are"):  # the made-up record is of 8 x 8
        evaluate(typed)
    painted = sorted(os.listdir(root))
    assert any(name.startswith("v1-60x32px") for name in painted)
    with pytest.raises(UserError, match="test images are"):
        evaluate(config)  # what is there is read
    assert sorted(os.listdir(root)) == painted


def test_what_a_runs_config_leaves_out_fetches_nothing(tmp_path: Path) -> None:
    root = tmp_path / "somebodys"
    serving = {"batch_size": 4, "eval_batch_size": 4, "limit": None, "views": None, "seed": 0, "augment": None}
    section = {"_target_": "kdistill.data.mnist.MNIST", "root": str(root), **serving}  # no `verify`, which is then true
    data = stored_data(RunFolder(tmp_path), OmegaConf.create({"dataset": section}), record(), cache=str(tmp_path))
    with pytest.raises(UserError, match="verify=false fetches nothing"):
        data.load_test()
    assert not root.exists()


@pytest.mark.parametrize("key", ["allow_outside", "max_pixels"])
def test_what_may_be_read_is_not_for_a_runs_config_to_say(key: str, tmp_path: Path) -> None:
    picture(tmp_path / "data" / "other.png", 99)
    table(tmp_path / "data", *["../other.png,HP,0,test"] * (key == "allow_outside"))
    words = ["+experiment=mhist_lite_scratch", f"dataset.root={tmp_path / 'data'}", "student.weights=none"]
    said = {"allow_outside": "true", "max_pixels": "10"}
    folder = finished(tmp_path / "run", [*words, f"dataset.{key}={said[key]}"])
    others = "test images are"  # the made-up record is of 8 x 8: so far it comes
    refused, read = ("outside of images", others) if key == "allow_outside" else (others, "allows 10 pixels")
    with pytest.raises(UserError, match=refused):
        evaluate(compose_config([f"run={folder}", f"dataset.cache={tmp_path / 'one'}"], "evaluate"))
    typed = [f"run={folder}", f"dataset.cache={tmp_path / 'two'}", f"dataset.{key}={said[key]}"]
    with pytest.raises(UserError, match=read):
        evaluate(compose_config(typed, "evaluate"))
