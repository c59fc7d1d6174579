"""A network that answers for groups of its classes: the sum of their probabilities, in its own head."""

import pytest
import torch
from torch import nn

from kdistill.models.build import create_model
from kdistill.models.class_groups import group_classes, teachers_names
from kdistill.models.weights import fingerprint


@pytest.mark.parametrize("name", ["mnist_cnn", "test_vit"])
def test_a_group_has_the_sum_of_its_classes_probabilities(name: str) -> None:
    torch.manual_seed(0)
    shape = (1, 28, 28) if name == "mnist_cnn" else (3, 160, 160)
    network = create_model(name, num_classes=6, in_chans=shape[0]).eval()
    image = torch.rand(3, *shape)
    with torch.no_grad():
        before, was = network(image).softmax(1), fingerprint(network)
        group_classes(network, [(3,), (0, 5), (1, 2)], shape, owner="it")
        after = network(image).softmax(1)
    wanted = torch.stack([before[:, 3], before[:, [0, 5]].sum(1), before[:, [1, 2]].sum(1)], 1)
    torch.testing.assert_close(after, wanted / wanted.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)
    assert fingerprint(network) != was


def test_other_groups_of_the_same_rows_are_another_teacher() -> None:
    torch.manual_seed(0)
    networks = [create_model("mnist_mlp", num_classes=4, in_chans=1) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    for network, groups in zip(networks, ([(0, 1), (2,)], [(0,), (1, 2)]), strict=True):
        group_classes(network, groups, (1, 28, 28), owner="it")
    assert fingerprint(networks[0]) != fingerprint(networks[1])


def test_a_thousand_nameless_classes_go_by_the_names_of_imagenet() -> None:
    names, said = teachers_names(None, 1000)
    assert {"n01440764", "tench", "Tinca tinca"} <= set(names[0]) and "ImageNet-1k" in said
    assert teachers_names(None, 7)[0] == [[]] * 7 and teachers_names(["a"], 1) == ([["a"]], "")


def test_nn_sequential_heads_are_grouped_too() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    group_classes(network, [(2, 0), (1,)], (1, 2, 2), owner="it")
    assert network(torch.rand(2, 1, 2, 2)).shape == (2, 2)
