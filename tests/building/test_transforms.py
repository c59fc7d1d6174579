"""dataset.transform: checked before anything is imported, built from names and sections, trusted by a closed list."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.building.data import build_data
from kdistill.building.transforms import build_transforms
from kdistill.building.trust import check_trusted
from kdistill.config.arguments import section_problems
from kdistill.config.compose import compose_config
from kdistill.training.show_views import show_views


def test_names_sections_and_nested_ones_are_built_with_words_for_what_the_library_counts() -> None:
    keyed = build_transforms(
        [
            "RandomHorizontalFlip",
            {"_target_": "RandomRotation", "degrees": 10, "interpolation": "bilinear"},
            {"_target_": "RandomApply", "transforms": ["RandomEqualize", {"_target_": "ColorJitter", "hue": 0.1}]},
            {"_target_": "torchvision.transforms.v2.ToDtype", "dtype": "float32", "scale": True},
        ]
    )
    assert keyed is not None
    flip, rotation, applied, last = (step for _, step in keyed.steps)
    assert [label for label, _ in keyed.steps][1] == "RandomRotation"
    assert rotation.interpolation.value == "bilinear" and last.dtype == torch.float32 and flip.p == 0.5
    assert [type(one).__name__ for one in applied.transforms] == ["RandomEqualize", "ColorJitter"]
    assert build_transforms([]) is None
    function = build_transforms([{"_target_": "torchvision.transforms.v2.functional.adjust_hue", "hue_factor": 0.5}])
    assert function is not None  # of a picture: the transform itself
    function.check(torch.zeros(3, 8, 8, dtype=torch.uint8), seed=0)
    with pytest.raises(UserError, match="must be a list"):
        build_transforms({"os.getcwd": None})
    for wrong, words in (
        ({"_target_": "RandomRotation", "degrees": 5, "interpolation": "linear"}, "must be one of nearest, .*bicubic"),
        ({"_target_": "ColorJitter", "hue": 3}, r"dataset.transform\[0\], ColorJitter"),
    ):
        with pytest.raises(UserError, match=words):
            build_transforms([wrong])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("RandomHorizontalFlip", "must be a list, as dataset.transform=.RandomHorizontalFlip"),
        (["RandomHorizontalFlop"], r"dataset.transform\[0\]._target_.*RandomHorizontalFlip"),
        ([{"_target_": "ColorJitter", "hew": 0.1}], r"dataset.transform\[0\].hew.*ColorJitter takes brightness"),
        ([{"_target_": "RandomApply", "transforms": ["Colour"]}], r"transform\[0\].transforms\[0\]._target_"),
        (["RandomRotation"], r"'dataset.transform\[0\].degrees' is not set"),
        ([3], r"dataset.transform\[0\]=3: must be the name"),
    ],
)
def test_a_wrong_list_is_told_before_anything_is_imported(given: Any, words: str) -> None:
    section = {"_target_": "kdistill.data.mnist.MNIST", "root": "x", "transform": given}
    (problem,) = section_problems("dataset", section, [])
    assert re.search(words, problem), problem


def test_a_file_may_name_transforms_of_torchvisions_alone_and_none_that_runs_code() -> None:
    def check(entries: list[Any]) -> None:
        check_trusted(OmegaConf.create({"dataset": {"transform": entries}}), [], Path("config.yaml"))

    check(["ColorJitter", {"_target_": "RandomApply", "transforms": [{"_target_": "ColorJitter"}]}])
    for strange in ("os.system", "Lambda", "torchvision.transforms.v2.Lambda", "torch.nn.Linear", "my.Transform",
                    "torchvision.datasets.FakeData", "timm.create_model", "kdistill.data.augment.Augment"):  # fmt: skip
        for entry in (strange, {"_target_": strange}, {"_target_": "RandomApply", "transforms": [strange]}):
            with pytest.raises(UserError, match="a file may name"):
                check([entry])
    with pytest.raises(UserError, match="a file may name"):
        check_trusted(OmegaConf.create({"loss": {"_target_": "torchvision.transforms.v2.ColorJitter"}}), [], Path("x"))


def test_transforms_change_the_key_of_the_views_and_debug_views_draws_them(tmp_path: Path, caplog: Any) -> None:
    for number in range(30):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number * 8, 90, 200)).save(path)
    words = ["name=test", "role=student", "student=mnist_mlp", "dataset=image_folder", "dataset.image_size=20",
             f"dataset.root={tmp_path / 'images'}", f"dataset.cache={tmp_path / 'cache'}", "dataset.cutmix=1",
             "dataset.augment=null", "debug=views"]  # fmt: skip
    plain, turned = (compose_config([*words, f"dataset.transform={one}"]) for one in ("null", "[RandomInvert]"))
    assert build_data(plain).view_key() != build_data(turned).view_key()
    assert not turned.trainer.fit and turned.show == "views"
    caplog.set_level("INFO")
    with Image.open(show_views(turned, tmp_path / "run")) as sheet:
        assert sheet.width > 9 * 112 and sheet.height > 8 * 112
    assert str(tmp_path / "run" / "views.png") in caplog.text
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["views.png"]
