"""A class head of subclasses: its classes are their sums, on every kind of head."""

from pathlib import Path

import pytest
import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.models.build import create_model
from kdistill.models.freeze import set_trainable
from kdistill.models.head import head_name
from kdistill.models.pretrained import load_pretrained
from kdistill.models.subclass import SubclassHead, split_classes, subclass_layer
from kdistill.models.taps import tapped


@pytest.mark.parametrize(
    ("name", "layer"),
    [("mnist_cnn", "11.subclasses"), ("test_resnet", "fc.subclasses"), ("resnetv2_50", "head.fc.subclasses")],
)
def test_class_probabilities_are_the_sums_of_those_of_their_subclasses(name: str, layer: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=3, in_chans=1).eval()
    split_classes(network, 4, owner="test")
    assert subclass_layer(network) == layer and head_name(network) == layer.removesuffix(".subclasses")
    with torch.no_grad(), tapped(network, [layer], owner="test") as features:
        logits = network(torch.randn(5, 1, 28, 28))
    finer = features[layer].flatten(1).softmax(1)
    assert finer.shape == (5, 12)
    torch.testing.assert_close(logits.softmax(1), finer.view(5, 3, 4).sum(2))


def test_the_head_that_trains_is_that_of_the_subclasses() -> None:
    network = create_model("mnist_mlp", num_classes=10, in_chans=1)
    split_classes(network, 2, owner="test")
    set_trainable(network, "head", (1, 28, 28))
    assert [n for n, p in network.named_parameters() if p.requires_grad] == ["3.subclasses.weight", "3.subclasses.bias"]


def test_subclasses_start_unlike_also_on_a_pretrained_network(tmp_path: Path) -> None:
    """A head of zeros would give all subclasses of a class the same gradient for ever."""
    whole = create_model("test_resnet", num_classes=7, in_chans=3)
    torch.save(whole.state_dict(), tmp_path / "weights.pt")
    network = create_model("test_resnet", num_classes=2, in_chans=3)
    split_classes(network, 4, owner="test")
    load_pretrained(network, str(tmp_path / "weights.pt"), name="test_resnet", kind="student")
    given, kept = whole.state_dict(), network.state_dict()
    assert all(torch.equal(kept[name], given[name]) for name in given if not name.startswith("fc."))
    scores = network.get_submodule("fc.subclasses").weight
    assert isinstance(scores, torch.Tensor) and len(scores.unique(dim=0)) == 8


def test_a_head_that_is_not_linear_has_no_subclasses() -> None:
    network = create_model("mnist_mlp", num_classes=10, in_chans=1)
    split_classes(network, 2, owner="test")
    with pytest.raises(UserError, match=r"student=s can't have subclasses: its class head 3 is a SubclassHead"):
        split_classes(network, 2, owner="student=s")
    assert subclass_layer(nn.Linear(2, 2)) is None and isinstance(network[3], SubclassHead)  # type: ignore[index]
