"""conf/dataset/: every file composes, passes the check of its arguments, and says each default as the class does."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from hydra.utils import get_object

from kdistill.base.errors import UserError
from kdistill.building.data import build_data
from kdistill.config.compose import compose_config
from kdistill.config.paths import conf_dir
from kdistill.config.tree import plain
from kdistill.data.augment import Augment
from kdistill.data.module import ArrayDataModule
from kdistill.data.parted import PartedDataModule
from kdistill.data.serving import Serving

# Those that say all; others start from one of them, and one's own has no class yet.
FILES = sorted(Path(conf_dir(), "dataset").glob("*.yaml"))
NAMES = [path.stem for path in FILES if "_target_: kdistill.data." in path.read_text().split("augment:")[0]]
SINGLE = ("arrays", "huggingface")  # a file or a path, and no root
BASE = ["name=test", "role=student", "student=mnist_mlp"]


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_config_composes_and_names_every_argument(name: str, tmp_path: Path) -> None:
    config = compose_config([*BASE, f"dataset={name}", *([] if name in SINGLE else [f"dataset.root={tmp_path}"])])
    data = build_data(config)
    assert isinstance(data, ArrayDataModule)
    assert isinstance(data.serving.augment, Augment)
    given = plain(config.dataset, resolve=True)
    kind = get_object(given.pop("_target_"))
    homes = [kind, PartedDataModule] if issubclass(kind, PartedDataModule) else [kind]
    own = {name for home in homes for name in inspect.signature(home).parameters} - {"serving"}
    assert set(given) == own | {field.name for field in fields(Serving)}


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("dataset.targets=vote", "did you mean 'votes'"),
        ("dataset.sampling=balancd", "balanced"),
        ("dataset.image_size=0", "dataset.image_size"),
        ("dataset.val_fraction=1.5", "dataset.val_fraction"),
        ("dataset.anotators=5", "dataset.annotators"),
    ],
)
def test_a_wrong_word_or_number_is_refused_before_anything_loads(override: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        compose_config([*BASE, "dataset=mhist", override.replace("dataset.an", "+dataset.an")])


def test_without_a_root_the_data_module_says_how_one_gets_mhist() -> None:
    data = build_data(compose_config([*BASE, "dataset=mhist", "dataset.root=null"]))
    with pytest.raises(UserError, match="registration"):
        _ = data.arrays
