"""Class names in files of weights, and networks made to answer in another order."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.models.build import create_model
from kdistill.models.class_order import pick_classes, stored_class_names
from kdistill.models.subclass import split_classes

NAMES = ("ant", "bee", "cat")
STATE = {"weight": torch.zeros(3, 2)}


@pytest.mark.parametrize(
    "content",
    [
        {"class_names": list(NAMES)},
        {"classes": NAMES, "epoch": 3},
        {"class_to_idx": {"cat": 2, "ant": 0, "bee": 1}},  # torchvision's ImageFolder
        {"names": {0: "ant", 1: "bee", 2: "cat"}},  # Ultralytics
        {"hyper_parameters": {"classes": list(NAMES)}},  # Lightning's save_hyperparameters
    ],
)
def test_a_checkpoint_says_its_classes(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, **content}, tmp_path / "w.pt")
    assert stored_class_names(tmp_path / "w.pt") == NAMES


@pytest.mark.parametrize(
    "beside", [{"label_names": list(NAMES)}, {"id2label": {"2": "cat", "0": "ant", "1": "bee"}}, {"label2id": {"x": 0}}]
)
def test_a_config_beside_the_file_says_its_classes(beside: dict[str, Any], tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(beside))
    assert stored_class_names(tmp_path / "model.safetensors") == (None if "label2id" in beside else NAMES)


def test_a_files_own_word_counts_before_the_config_beside_it(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors", {"classes": json.dumps(NAMES[::-1])})
    (tmp_path / "config.json").write_text(json.dumps({"label_names": NAMES}))
    assert stored_class_names(tmp_path / "w.safetensors") == NAMES[::-1]


def test_what_names_no_classes_gives_none(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "bare.pt")
    torch.save({"classes": 3, "names": ["a", "a"], "labels": [[1], [2]], "state_dict": STATE}, tmp_path / "odd.pt")
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name in ("bare.pt", "odd.pt", "broken.pt", "broken.safetensors", "nowhere.pt"):
        assert stored_class_names(tmp_path / name) is None


class Scaled(nn.Module):
    """Does not end in its head."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 4)
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(image.mean((2, 3)).repeat(1, 4)) * self.scale


@pytest.mark.parametrize(
    "name", ["mnist_cnn", "test_resnet", "test_efficientnet", "test_vit", "test_mambaout", "mobilenetv3_small_050"]
)
@pytest.mark.parametrize("order", [[3, 0, 2, 1], [2, 0]])
def test_a_network_answers_for_the_picked_classes_in_their_order(name: str, order: list[int]) -> None:
    torch.manual_seed(0)
    size = (1, 28, 28) if name.startswith("mnist") else (3, 32, 32)
    size = (3, 160, 160) if name == "test_vit" else size
    network = create_model(name, num_classes=4, in_chans=size[0]).eval()
    images = torch.rand(3, *size)
    with torch.no_grad():
        before = network(images)
        pick_classes(network, order, size, owner="teacher=net")
        torch.testing.assert_close(network(images), before[:, order])


def test_both_heads_of_a_distilled_transformer_and_subclasses_go_along() -> None:
    torch.manual_seed(0)
    two_heads = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=4, img_size=32, depth=1).eval()
    divided = create_model("test_resnet", num_classes=4, in_chans=3).eval()
    split_classes(divided, 3, owner="net")
    for network in (two_heads, divided):
        nn.init.normal_(network.head.weight) if network is two_heads else None
        images = torch.rand(3, 3, 32, 32)
        with torch.no_grad():
            before = network(images)
            pick_classes(network, [1, 3, 0], (3, 32, 32), owner="teacher=net")
            torch.testing.assert_close(network(images), before[:, [1, 3, 0]])


def test_a_network_that_does_not_end_in_its_head_is_refused() -> None:
    with pytest.raises(UserError, match=r"teacher=net knows its classes in another order.*dataset.classes="):
        pick_classes(Scaled(), [1, 0, 2, 3], (3, 8, 8), owner="teacher=net")
