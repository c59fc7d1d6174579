"""docs/adding.md's worked examples, read from the page and run as they stand."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.config_store import ConfigStore
from scipy.special import softmax

from kdistill.base.errors import UserError
from kdistill.base.metric_catalogue import METRICS, Metric
from kdistill.config.compose import check_overrides, compose_config
from kdistill.evaluate import evaluate
from kdistill.measuring.metrics import BY_TARGET
from kdistill.reporting.screen import result_columns
from kdistill.training.run import run

PAGE = Path(__file__).parents[1] / "docs" / "adding.md"
STRIPES = ["+experiment=mnist_scratch", "dataset=stripes", "student.name=mnist_small_cnn", "optimizer.lr=0.01"]


def examples(heading: str) -> list[str]:
    """The code under a heading of the page, block by block."""
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(f"{heading}\n"))
    return re.findall(r"```\w+\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with the page's data set, its metric and a finished run."""
    place = tmp_path_factory.mktemp("adding")
    (place / "conf" / "dataset").mkdir(parents=True)
    module, yaml = examples("A data set")
    (place / "stripes.py").write_text(module)
    (place / "conf" / "dataset" / "stripes.yaml").write_text(yaml)
    described, computed = examples("A metric")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        (metric,) = eval(described, {"Metric": Metric})
        patch.setitem(METRICS, metric.key, metric)
        for key, figure in eval(f"{{{computed}}}", {"np": np, "softmax": softmax}).items():
            patch.setitem(BY_TARGET, key, figure)
        quick = ["trainer.max_epochs=3", "trainer.tune=off", "callbacks.checkpoint.monitor=val/brier"]
        config, problems = check_overrides([*STRIPES, *quick], search_path=[str(place / "conf")])
        assert config is not None and problems == []
        run(config, place / "run")
        yield place


def kept(folder: Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The run's summary, and its probabilities and targets on test."""
    with np.load(folder / "run" / "predictions.npz") as found:
        odds = np.exp(found["logits"].astype(np.float64))
        return json.loads((folder / "run" / "summary.json").read_text()), odds / odds.sum(1)[:, None], found["target"]


def test_a_data_set_is_a_module_and_a_yaml(folder: Path) -> None:
    summary, probability, target = kept(folder)
    assert summary["data"]["class_names"] == ["upright", "level"] and len(target) == 60
    assert (probability.argmax(1) == target).mean() == summary["test"]["accuracy"] > 0.9
    wrong = [*STRIPES, "dataset.count=0", "dataset.batchsize=3"]
    problems = check_overrides(wrong, search_path=[str(folder / "conf")])[1]
    assert "dataset.count: must be greater than 0, not 0" in problems
    assert any("did you mean 'dataset.batch_size'?" in problem for problem in problems), problems


def test_a_run_on_a_data_set_of_ones_own_is_evaluated(folder: Path) -> None:
    words = [f"run={folder / 'run'}", "allow=[stripes]"]
    found = evaluate(compose_config(words, "evaluate"))
    assert found.test["accuracy"] == kept(folder)[0]["test"]["accuracy"]
    with pytest.raises(UserError, match=r"dataset.root=.*: the run's data set, stripes.Stripes, takes no root"):
        evaluate(compose_config([*words, f"dataset.root={folder}"], "evaluate"))


def test_a_metric_is_a_line_in_the_catalogue_and_one_in_measuring(folder: Path) -> None:
    summary, probability, target = kept(folder)
    assert summary["test"]["brier"] == pytest.approx(2 * np.square(probability[:, 1] - target).mean(), rel=1e-9)
    assert "val/brier" in (folder / "run" / "metrics.csv").read_text().splitlines()[0]
    assert result_columns()[1:5] == ["accuracy", "F1", "AUROC", "Brier score"]


@pytest.mark.slow
def test_a_door_is_a_module_with_its_yamls_and_its_dataclass(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, knobs, shown, schema = examples("A door")
    (folder / "conf" / "door").mkdir()
    (folder / "conf" / "door" / "which.yaml").write_text(shown)
    (folder / "conf" / "which.yaml").write_text(knobs)
    exec(schema, {"dataclass": dataclass, "field": field, "store": ConfigStore.instance(), "__name__": __name__})
    door: dict[str, Any] = {"__name__": "kdistill.which"}
    exec(module, door)
    monkeypatch.setattr(sys, "argv", ["which", "--config-dir", str(folder / "conf"), str(folder)])
    door["main"]()
    assert capsys.readouterr().out == f"{folder / 'run'}: mnist_scratch, seed 0\n"
    monkeypatch.setattr(sys, "argv", ["which", "--config-dir", str(folder / "conf"), "runz=[a]"])
    with pytest.raises(SystemExit, match="2"):
        door["main"]()
    assert "unknown key 'runz'; did you mean 'runs'?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_device_format_is_a_module_and_a_yaml(folder: Path) -> None:
    from kdistill.export import export
    from kdistill.exporting.load import load

    module, yaml = examples("A device format")
    (folder / "onnx_half.py").write_text(module)
    (folder / "conf" / "format").mkdir()
    (folder / "conf" / "format" / "onnx_half.yaml").write_text(yaml)
    words = [f"run={folder / 'run'}", "format=[onnx,onnx_half]", "allow=[stripes]", f"output={folder / 'export'}"]
    config, problems = check_overrides(words, "export", search_path=[str(folder / "conf")])
    assert config is not None and problems == []
    whole, half = export(config)
    assert half["size_bytes"] < whole["size_bytes"] and half["agreement"] > 0.9
    assert 0 < half["largest_logit_difference"] < 0.1 and load(half["folder"]).facts.format == "onnx_half"
