"""A tiny run, exported once, and the same pictures as PNG files."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# OpenVINO imports absl, whose handler closes, when Hydra sets logging up, the stream that it found as stderr: pytest's.
with suppress(ImportError):
    from absl import logging as absl_logging

    absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture(scope="session", autouse=True)
def one_registry() -> Iterator[None]:
    """torch's table of ONNX operators, which it reads anew for each export, read once: a second less of each."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and test/ with two classes of pictures, the second brighter: grey and colour, of several sizes."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 30)):
        for number, label in enumerate(("dark", "light")):
            (root / part / label).mkdir(parents=True)
            for place in range(count):
                size = (40, 40 + place % 3 * 8, 3) if place % 4 else (40, 44)
                pixels = random.integers(0, 200, size) + 30 * number + random.integers(0, 30)
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                exif = image.getexif()
                exif[0x0112] = 6 if place % 5 == 0 else 1  # turned by a quarter
                image.save(root / part / label / f"{place}.png", exif=exif)
    return root


@pytest.fixture(scope="session")
def trained(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on those pictures, with a decision threshold."""
    from kdistill.config.compose import compose_config
    from kdistill.training.run import run

    place = tmp_path_factory.mktemp("exported")
    config = compose_config(
        [
            "+experiment=mnist_scratch", "student=mnist_small_cnn", "dataset=image_folder", "dataset.image_size=32",
            f"dataset.root={folders}", f"dataset.cache={place / 'cache'}", "dataset.augment=null",
            "trainer.max_epochs=4", "trainer.tune=off", "trainer.precision=32-true", "decision_threshold=f1",
            "optimizer.lr=0.01", "seed=3",
        ]
    )  # fmt: skip
    run(config, place / "run")
    return place / "run"


@pytest.fixture(scope="session")
def exported(trained: Path) -> dict[str, dict[str, Any]]:
    """The manifests of onnx and onnx_int8 of that run, by name."""
    from kdistill.config.compose import compose_config
    from kdistill.export import export

    words = [f"run={trained}", "format=[onnx,onnx_int8]", f"dataset.cache={trained.parent / 'cache'}"]
    return {manifest["format"]: manifest for manifest in export(compose_config(words, "export"))}
