"""Keys under which teachers and stores are found again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdistill.building.data import build_data
from kdistill.config.compose import compose_config
from kdistill.models.weights import fingerprint
from kdistill.replay.store import ReplayStore
from kdistill.teachers.recipe import recipe_key, recipe_of

EXPERIMENTS = ("mnist_distill", "mnist_takd", "mnist_born_again", "mnist_function_matching")


def teacher_key(*overrides: str) -> str:
    return recipe_key(recipe_of(compose_config(["+experiment=mnist_distill", *overrides])), "data", 100)


def all_keys(root: str, cache: str) -> list[str]:
    """The keys of the experiments' teachers, and of a store of answers on some data."""
    recipes = [recipe_of(compose_config([f"+experiment={name}"])) for name in EXPERIMENTS]
    small = [f"dataset.root={root}", "dataset.verify=false", "dataset.val_size=200", "dataset.limit=20"]
    data = build_data(compose_config(["+experiment=mnist_distill", *small]))
    torch.manual_seed(0)
    key = {"weights": fingerprint(torch.nn.Linear(3, 2)), **data.view_key()}
    store = ReplayStore(Path(cache), "teacher", key, shapes={"logits": (10,), "a": (2,)}, samples=20, dtype="fp32")
    return [*(recipe_key(recipe, data.arrays.fingerprint, 20) for recipe in recipes), store.folder.name]


@pytest.mark.slow
def test_the_same_config_gives_the_same_keys_in_two_processes(blocks: Path, tmp_path: Path) -> None:
    call = f"all_keys({str(blocks)!r}, {str(tmp_path)!r})"
    code = f"import json; from test_keys import all_keys; print(json.dumps({call}))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": path}
    other = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert json.loads(other.stdout) == all_keys(str(blocks), str(tmp_path))


@pytest.mark.parametrize(
    "override",
    ["callbacks.resume.minutes=5", "dataset.eval_batch_size=10", "decision_threshold=f1", "trainer.progress_bar=false"],
)
def test_what_does_not_change_weights_does_not_change_a_teachers_key(override: str) -> None:
    assert teacher_key(f"teacher.recipe_overrides=['{override}']") == teacher_key()


def test_how_it_is_trained_changes_a_teachers_key() -> None:
    given = ("optimizer.lr=0.5", "trainer.max_epochs=3", "dataset.batch_size=64", "dataset.augment.shift=1", "seed=3")
    keys = {teacher_key(f"teacher.recipe_overrides=['{override}']") for override in given}
    assert len({*keys, teacher_key()}) == 1 + len(given)


@pytest.mark.slow
def test_pictures_without_labels_are_part_of_the_key_of_a_teacher_that_learned_from_them(tmp_path: Path) -> None:
    def key(name: str, *more: str, unlabelled: str = "") -> str:
        return recipe_key(recipe_of(compose_config([f"+experiment={name}", *more])), "data", 100, unlabelled)

    given = f"dataset.unlabeled={tmp_path}"
    assert key("mnist_distill", given, unlabelled="a") == key("mnist_distill")
    assert key("mnist_takd") != key("mnist_takd", given, unlabelled="a") != key("mnist_takd", given, unlabelled="b")
