"""`kdistill.distill` and `Run`: what is given as an object, and that nothing of the calling program is changed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import kdistill
from kdistill.api.objects import callback_section, data_section, loss_section, network_section
from kdistill.api.words import data_words, network_words, words_of
from kdistill.building import given
from kdistill.building.trust import is_trusted

QUICK: dict[str, Any] = {
    "trainer.tune": "off", "trainer.precision": "32-true", "trainer.progress_bar": False, "dataset.augment": None,
}  # fmt: skip


class Band(nn.Module):
    """One layer that knows where the bright band is without being trained, or learns it."""

    def __init__(self, knows: bool = False) -> None:
        super().__init__()
        self.head = nn.Linear(144, 3)
        if knows:
            with torch.no_grad():
                self.head.weight.copy_(torch.arange(3).view(3, 1) == torch.arange(144).view(1, 144) // 48)
                self.head.bias.zero_()

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image.mean(1).flatten(1))


def pictures(count: int, seed: int) -> TensorDataset:
    """(3, 12, 12) uint8 with a bright band that tells the class."""
    target = torch.arange(count) % 3
    image = torch.randint(0, 60, (count, 3, 12, 12), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    for row, label in zip(image, target.tolist(), strict=True):
        row[:, 4 * label : 4 * label + 4] += 150
    return TensorDataset(image, target)


def test_importing_kdistill_imports_nothing_heavy() -> None:
    seen = "import kdistill, sys; print({'torch', 'numpy', 'hydra', 'omegaconf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
    assert set(kdistill.__all__) <= {name for name in dir(kdistill) if hasattr(kdistill, name)}


def test_what_is_missing_or_of_a_wrong_kind_is_said_with_what_may_be_given(tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"teacher": Band()}, "lacks student and data"),
        ({"teacher": 3, "student": "resnet18", "data": "mnist"}, "teacher=3: give an nn.Module"),
        ({"teacher": "resnet19", "student": "resnet18", "data": "mnist"}, "did you mean 'resnet18'"),
        ({"teacher": "resnet18", "student": "resnet18", "data": "nowhere"}, "no such folder or file"),
        ({"experiment": "mnist_distill", "epohcs": 3}, "epohcs"),
        ({"experiment": "mnist_distill", "loss": {"temprature": 3}}, "did you mean 'loss.temperature'"),
        ({"experiment": "mnist_distill", "callbacks": [3]}, "3 is no callback"),
    ]
    for arguments, words in wrong:
        with pytest.raises(kdistill.UserError, match=words):
            kdistill.distill(folder=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_keys_are_words_of_the_command_line() -> None:
    keys = {"loss": "kd", "scheduler": None, "optimizer": {"lr": 0.1}, "dataset.classes": ("a", "b c"), "seed": 3}
    assert words_of(keys) == [
        "loss=kd", "scheduler=none", "++optimizer.lr=0.1", '++dataset.classes=[a,"b c"]', "++seed=3",
    ]  # fmt: skip
    with pytest.raises(kdistill.UserError, match=r"optimizer.lr=.*plain|text, numbers"):
        words_of({"optimizer.lr": object()})
    assert network_words("student", "mnist_mlp") == ["student=mnist_mlp"]
    assert "++student.weights=hub" in network_words("student", "resnet18")


def test_folders_and_files_are_data_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\n")
    assert data_words("mnist") == ["dataset=mnist"]
    assert data_words(tmp_path)[0] == "dataset=image_folder"
    assert data_words(tmp_path / "labels.csv")[0] == "dataset=csv"
    (tmp_path / "annotations.csv").touch()
    assert data_words(str(tmp_path))[0] == "dataset=mhist"


def test_an_object_is_named_by_what_it_is_and_kept_as_it_was_given(tmp_path: Path) -> None:
    network = Band(knows=True)
    section = network_section(network)
    assert section == network_section(Band(knows=True)) and section["name"] == "Band"
    assert section != network_section(Band())
    before = network.head.weight.clone()
    with torch.no_grad():
        network.head.weight.zero_()  # trained on by its owner
    kept = given.network(section["name"], section["fingerprint"])
    assert isinstance(kept, Band) and torch.equal(kept.head.weight, before)
    taught = network_section(Band(knows=True), weights_in=tmp_path)
    assert Path(taught["checkpoint"]).is_file() and taught["recipe"] is None
    with pytest.raises(kdistill.UserError, match="was given in Python as an object"):
        given.network("Band", "0" * 64)


def test_objects_that_differ_in_an_attribute_alone_are_two() -> None:
    def warmed(temperature: float) -> nn.Module:
        network = Band()
        network.head.weight.data.zero_(), network.head.bias.data.zero_()
        network.scale = {"temperature": [temperature]}
        network.hook = lambda image: image * temperature
        return network

    assert network_section(warmed(1.0)) == network_section(warmed(1.0)) != network_section(warmed(8.0))
    assert loss_section(warmed(1.0))["fingerprint"] != loss_section(warmed(8.0))["fingerprint"]

    class Watch(pl.Callback):
        def __init__(self, alpha: float) -> None:
            self.alpha = alpha

    assert callback_section(Watch(0.2))["fingerprint"] != callback_section(Watch(0.8))["fingerprint"]


def test_data_sets_have_a_fingerprint_of_what_is_in_them() -> None:
    one, other = (data_section((pictures(30, 0), pictures(9, seed))) for seed in (1, 2))
    assert one == data_section({"train": pictures(30, 0), "test": pictures(9, 1)})
    assert one["fingerprint"] != other["fingerprint"]
    with pytest.raises(kdistill.UserError, match="2 loaders"):
        data_section((DataLoader(pictures(9, 0)), DataLoader(pictures(9, 1))))
    with pytest.raises(kdistill.UserError, match="data has 4 parts"):
        data_section((1, 2, 3, 4))


def test_a_file_may_name_what_looks_objects_up_and_nothing_else_there() -> None:
    assert is_trusted("kdistill.building.given.network") and is_trusted("kdistill.building.given.dataset")
    assert not is_trusted("kdistill.building.given.keep")
    assert not is_trusted("kdistill.building.given.callback")
    assert is_trusted("kdistill.building.given.callback", watches=True)


@pytest.mark.slow
def test_three_lines_of_python_distil_predict_and_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = Band(knows=True)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    as_it_is = {"teacher.mean": [0.0] * 3, "teacher.std": [1.0] * 3}
    data = (pictures(120, 0), pictures(30, 1))
    run = kdistill.distill(teacher, make := (lambda: Band()), data, epochs=2, **as_it_is, **QUICK)
    assert run.figures["teacher_test"]["accuracy"] == 1.0 and 0 <= run.figures["test"]["accuracy"] <= 1
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
    image = pictures(6, 5).tensors[0]
    assert len(run.student.predict(list(image.numpy()))) == 6
    network = run.network
    assert isinstance(network, Band)
    result = run.compare(seeds=1, controls=["scratch"])
    assert {arm.name for arm in result.arms} >= {"distilled", "scratch"}
    assert list(Path("outputs/compare").glob("*/comparison.html"))
    data[0].tensors[1][3] += 1  # of an image that the fingerprint of the data does not look at
    relabelled = kdistill.distill(teacher, make, data, epochs=2, **as_it_is, **QUICK)
    with pytest.raises(kdistill.UserError, match="was trained on other data than were given now"):
        relabelled.compare(seeds=1, controls=["scratch"])
    monkeypatch.setattr(given, "_objects", {})  # as in another process
    again = kdistill.Run(run.folder, student=Band())
    assert torch.equal(again.network.head.weight, network.head.weight)
    # What the folder's config names is looked at before anything of it is built.
    config, _ = OmegaConf.load(run.folder / "config.yaml"), (run.folder / "sums.json").unlink()
    config.callbacks.evil = {"_target_": "subprocess.check_output", "args": ["touch", "evil"]}
    OmegaConf.save(config, run.folder / "config.yaml")
    with pytest.raises(kdistill.UserError, match="subprocess"):
        kdistill.Run(run.folder, student=Band()).compare(seeds=1)
    del config.callbacks.evil
    config.student["kwargs"] = {"_target_: subprocess.check_output, a": 1}
    OmegaConf.save(config, run.folder / "config.yaml")
    with pytest.raises(kdistill.UserError, match="has the key"):
        kdistill.distill(run.folder, lambda: Band(), data, epochs=2, **as_it_is, **QUICK)
    assert not Path("evil").exists()
