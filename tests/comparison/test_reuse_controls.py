"""A control's finished run is taken over from another comparison where all that trains is equal, and only there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from records import DATA, record
from tiny_runs import on_digits

from kdistill.building.data import build_data
from kdistill.comparison.controls import compose_arms
from kdistill.comparison.reuse_controls import reuse_control
from kdistill.config.compose import compose_config
from kdistill.runs.folder import RunFolder
from kdistill.runs.versions import versions


@pytest.fixture(scope="module")
def sizes(blocks: Path) -> list[str]:
    return ["+experiment=mnist_distill", *on_digits(blocks)]


@pytest.fixture(scope="module")
def fingerprint(sizes: list[str]) -> str:
    return build_data(compose_config(sizes)).arrays.fingerprint


def arm(overrides: list[str], name: str = "scratch", seed: int = 1) -> DictConfig:
    found = OmegaConf.merge(compose_arms(compose_config(overrides, "compare"))[name], {"seed": seed})
    assert isinstance(found, DictConfig)
    return found


def finished(path: Path, config: DictConfig, fingerprint: str, **more: Any) -> Path:
    """What such a run leaves, without its training."""
    folder = RunFolder.create(path, config)
    folder.write_predictions("test", {"index": np.arange(2), "target": np.arange(2), "logits": np.eye(2)})
    (path / "wandb").mkdir()
    data = replace(DATA, fingerprint=fingerprint, test=2, class_names=DATA.class_names[:2])
    folder.write_record(record("student", **{"data": data, "versions": versions(), **more}))
    return path


def test_a_control_that_another_comparison_has_finished_is_copied(
    sizes: list[str], fingerprint: str, tmp_path: Path
) -> None:
    source = finished(tmp_path / "kd-aaaa" / "scratch-seed1", arm([*sizes, "name=other"]), fingerprint)
    place = tmp_path / "kd-bbbb" / "scratch-seed1"
    place.parent.mkdir()
    asked = arm([*sizes, "loss.temperature=8", "logger=tensorboard"])
    assert reuse_control(asked, place) == source
    assert {path.name for path in place.iterdir()} == {"config.yaml", "predictions.npz", "summary.json", "sums.json"}
    assert RunFolder(place).record() == RunFolder(source).record() and RunFolder(place).begun_by(
        arm([*sizes, "name=other"])
    )
    assert [path.name for path in place.parent.iterdir()] == ["scratch-seed1"]
    assert reuse_control(asked, place) is None, "it is there"


@pytest.mark.parametrize(
    "differing",
    [
        "optimizer.lr=0.5",
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in ("trainer.max_epochs=3", "dataset.limit=99", "dataset.views=2", "loss.ce.label_smoothing=0.2")
        ),
    ],
)
def test_where_a_setting_that_trains_differs_nothing_is_taken(
    differing: str, sizes: list[str], fingerprint: str, tmp_path: Path
) -> None:
    finished(tmp_path / "kd-aaaa" / "scratch-seed1", arm([*sizes, differing]), fingerprint)
    assert (
        reuse_control(arm(sizes), tmp_path / "kd-bbbb" / "scratch-seed1") is None
        and not (tmp_path / "kd-bbbb").exists()
    )


@pytest.mark.slow
def test_another_arm_seed_version_or_content_of_the_data_is_not_taken(
    sizes: list[str], fingerprint: str, tmp_path: Path
) -> None:
    place = tmp_path / "kd-bbbb" / "scratch-seed1"
    finished(tmp_path / "a" / "scratch-seed1", arm(sizes, "smoothed"), fingerprint)
    finished(tmp_path / "b" / "scratch-seed1", arm(sizes, seed=2), fingerprint)
    finished(tmp_path / "c" / "scratch-seed1", arm(sizes), fingerprint, versions={"torch": "1.0"})
    finished(tmp_path / "d" / "scratch-seed1", arm(sizes), "other images")
    (finished(tmp_path / "e" / "scratch-seed1", arm(sizes), fingerprint) / "summary.json").unlink()
    assert reuse_control(arm(sizes), place) is None and not place.parent.exists()


@pytest.mark.slow
def test_what_settings_do_not_tell_is_trained_again(sizes: list[str], fingerprint: str, tmp_path: Path) -> None:
    weights = tmp_path / "first.safetensors"
    weights.touch()
    place = tmp_path / "kd-bbbb" / "scratch-seed1"
    for number, control in enumerate(
        [
            arm([*sizes, f"student.weights={weights}"]),
            arm([*sizes, "+callbacks.mine._target_=abc.ABC"]),
            arm(sizes, "distilled"),
        ]
    ):
        finished(tmp_path / str(number) / "scratch-seed1", control, fingerprint)
        assert reuse_control(control, place) is None and not place.parent.exists()
