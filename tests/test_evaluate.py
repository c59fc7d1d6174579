"""What `evaluate` tests of other people's folders: all of a flat one, scaled as the run's images were."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdistill.config.compose import compose_config
from kdistill.evaluate import evaluate
from kdistill.training.run import run


def fill(root: Path, count: int, top: int) -> Path:
    """Pictures of 16 bits in two classes, of which the second is brighter."""
    for number, label in enumerate(("dark", "light")):
        (root / label).mkdir(parents=True)
        for place in range(count):
            noise = np.random.default_rng([number, place]).integers(0, top // 2, (8, 8)) + number * top // 2
            Image.fromarray(noise.astype(np.uint16)).save(root / label / f"{place}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    fill(folder / "flat", 10, 4000)
    config = compose_config(
        [
            "+experiment=mnist_scratch", "student.name=mnist_mlp", "dataset=image_folder", "dataset.image_size=28",
            f"dataset.root={folder / 'flat'}", f"dataset.cache={folder / 'cache'}", "dataset.augment=null",
            "trainer.max_epochs=1", "trainer.tune=off",
        ]
    )  # fmt: skip
    run(config, folder / "run")
    return folder


def evaluated(folder: Path, root: Path, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level("INFO"):
        evaluate(compose_config([f"run={folder / 'run'}", f"dataset.root={root}"], "evaluate"))
    return caplog.text


def test_all_of_another_flat_folder_is_tested_and_the_share_of_the_runs_own(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = fill(trained / "other", 7, 1000)
    assert f"test: 14 images of {other}: dark 7, light 7" in evaluated(trained, other, caplog)
    own = trained / "flat"
    assert f"test: 4 images of {own}: dark 2, light 2" in evaluated(trained, own, caplog)


def test_the_range_of_the_runs_images_is_that_of_what_is_tested(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = evaluated(trained, fill(trained / "darker", 3, 500), caplog)
    highest = max(np.asarray(Image.open(path)).max() for path in (trained / "flat").rglob("*.png"))
    assert f"..{highest:g}, as given, become 0..255" in text
