"""Networks of other people are fitted to the data, or refused in one sentence that says what they give."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import timm
import torch
from torch import Tensor, fx, nn

from kdistill.base.errors import UserError
from kdistill.models.fitting import fit_network
from kdistill.models.stages import find_stages
from kdistill.models.taps import tapped

CLASSES, SHAPE = 3, (3, 8, 8)


class Pair(NamedTuple):
    logits: Tensor
    aux: Tensor


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


def flat(classes: int = CLASSES, channels: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))


class Net(nn.Module):
    """A plain classifier, and what a subclass or a function makes of its logits."""

    def __init__(self, make: Any = lambda logits, net: logits, classes: int = CLASSES, channels: int = 3) -> None:
        super().__init__()
        self.body = flat(classes, channels)
        self.make = make

    def forward(self, image: Tensor) -> Any:
        return self.make(self.body(image), self)


def fitted(network: nn.Module, shape: tuple[int, int, int] = SHAPE, **options: Any) -> tuple[nn.Module, list[str]]:
    lines: list[str] = []
    fit_network(network, num_classes=CLASSES, image_shape=shape, owner="student=net", say=lines.append, **options)
    return network, lines


MISC = {
    "tensor": (lambda y, net: y, ""),
    "tuple": (lambda y, net: (y, y.mean()), "output[0] is taken as the logits"),
    "features first": (lambda y, net: (y.repeat(1, 3), y), "output[1]"),
    "list": (lambda y, net: [y], "output[0]"),
    "dict": (lambda y, net: {"features": y.repeat(1, 3), "scores": y}, "output['scores']"),
    "dict of several": (lambda y, net: {"aux": -y, "logits": y}, "output['logits']"),
    "dict in a tuple": (lambda y, net: ({"logits": y}, None), "output[0]['logits']"),
    "named tuple": (lambda y, net: Pair(y, -y), "output.logits"),
    "dataclass": (lambda y, net: Output(None, y), "output.logits"),
    "a tuple in training alone": (lambda y, net: (y, -y) if net.training else y, "in training its output[0]"),
    "maps of one position": (lambda y, net: y[:, :, None, None], "flattened"),
}


@pytest.mark.parametrize("name", MISC)
def test_of_a_tuple_a_dict_or_a_dataclass_the_logits_are_taken_and_it_is_said(name: str) -> None:
    make, said = MISC[name]
    network, lines = fitted(Net(make))
    image = torch.rand(2, *SHAPE)
    names = list(network.state_dict())
    for mode in (False, True):
        assert torch.equal(network.train(mode)(image), network.body(image)), "one adapter, in training and evaluation"
    assert [said in line for line in lines] == [True] * bool(said)
    assert names == list(Net().state_dict()) and isinstance(network, Net), "names of weights and layers stay"
    traced = fx.symbolic_trace(network.eval())
    assert torch.equal(traced(image), network(image)), "a part of it can be replayed"


@pytest.mark.parametrize(
    ("make", "logits", "said"),
    [
        (lambda y, net: y.softmax(1), lambda y: y.log_softmax(1), "probabilities"),
        (lambda y, net: {"out": y.softmax(1)}, lambda y: y.log_softmax(1), "probabilities"),
        (lambda y, net: y.sigmoid(), lambda y: y, "sigmoid"),
        (lambda y, net: y.log_softmax(1), lambda y: y.log_softmax(1), ""),
    ],
)
def test_probabilities_are_made_into_the_logits_that_have_them_as_their_softmax(
    make: Any, logits: Any, said: str
) -> None:
    network, lines = fitted(Net(make))
    image = torch.rand(2, *SHAPE)
    assert torch.allclose(network(image), logits(network.body(image)), atol=1e-5)
    assert [said in line for line in lines] == [True] * bool(said)


def test_the_first_convolution_and_the_head_are_made_anew_for_the_data() -> None:
    network, lines = fitted(flat(classes=1000, channels=3), (1, 8, 8))
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, CLASSES)
    assert lines == [
        "student=net: its first convolution 0 is adapted from 3 to 1 channels",
        "student=net: its class head 3 is made anew for 3 classes in place of 1000",
    ]
    colour = flat()
    grey = fitted(flat(), (1, 8, 8))[0]
    grey.load_state_dict({**colour.state_dict(), "0.weight": colour[0].weight.sum(1, keepdim=True)})
    image = torch.rand(2, 1, 8, 8)
    assert torch.allclose(grey(image), colour(image.expand(-1, 3, -1, -1)), atol=1e-6)


@pytest.mark.parametrize("make", [lambda y, net: y, lambda y, net: y.squeeze(1)])
def test_one_logit_for_two_classes_becomes_two(make: Any) -> None:
    network = Net(make, classes=1)
    fit_network(network, num_classes=2, image_shape=SHAPE, owner="student=net")
    assert network(torch.rand(5, *SHAPE)).shape == (5, 2)


def test_lazy_layers_are_made_and_a_change_of_the_input_in_place_hurts_nobody() -> None:
    lazy, lines = fitted(nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(CLASSES)))
    assert lazy[2].weight.shape == (CLASSES, 144) and not lines
    assert not fitted(nn.Sequential(nn.ReLU(inplace=True), flat()))[1]


def test_fitting_draws_no_random_numbers_and_leaves_norms_and_modes_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3))
    network[1].eval()
    state, before = torch.get_rng_state(), {name: value.clone() for name, value in network.state_dict().items()}
    fitted(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and not network[1].training


def test_what_depends_on_the_batch_is_said() -> None:
    _, lines = fitted(Net(lambda y, net: y - y.mean(0)))
    assert len(lines) == 1 and "depends on the other images of its batch" in lines[0]


def test_the_images_are_resized_to_the_networks_own_size() -> None:
    network, lines = fitted(flat(), (3, 20, 16), image_size=(8, 8))
    image = torch.rand(2, 3, 20, 16)
    small = nn.functional.interpolate(image, size=(8, 8), mode="bilinear", antialias=True)
    assert torch.equal(network(image), nn.Sequential.forward(network, small))
    assert lines == ["student=net: images are resized from 20 x 16 to 8 x 8 before it"]


def test_maps_of_a_network_that_resizes_its_images_have_the_grid_of_what_it_sees() -> None:
    network = timm.create_model("test_vit", num_classes=CLASSES, img_size=64).eval()
    image = torch.rand(2, 3, 32, 32)
    seen = nn.functional.interpolate(image, size=(64, 64), mode="bilinear", antialias=True)
    expected = network.forward_intermediates(seen, indices=[0], norm=False, intermediates_only=True)[0]
    fitted(network, (3, 32, 32), image_size=(64, 64))
    with tapped(network, ["blocks.0"], owner="net") as maps:
        network(image)
    assert torch.equal(maps["blocks.0"], expected) and expected.shape[2:] == (4, 4)
    assert find_stages(network, (3, 32, 32))[0].layer == "blocks.0"


class Failing(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        raise KeyError("my own mistake")


REFUSED = {
    "maps": (nn.Conv2d(3, CLASSES, 3), r"gives \(2, 3, 6, 6\); the logits \(N, 3\) are needed"),
    "two equal in a dict": (Net(lambda y, net: {"a": y, "b": -y}), r"a dict of a \(2, 3\), b \(2, 3\)"),
    "nothing": (Net(lambda y, net: None), "it gives a NoneType"),
    "text": (Net(lambda y, net: "yes"), "it gives a str"),
    "maps in a list": (Net(lambda y, net: [torch.zeros(2, 4, 5, 5)]), r"a list of \(2, 4, 5, 5\)"),
    "one for the batch": (Net(lambda y, net: y.sum(0, keepdim=True)), r"it gives \(1, 3\)"),
    "NaN": (Net(lambda y, net: y / 0 * 0), "gives NaN or infinite values"),
    "whole numbers": (Net(lambda y, net: y.argmax(1)), "gives torch.int64 values"),
    "another size": (flat(), r"on 2 images of \(3, 9, 9\), torch.float32, fails: RuntimeError: .*mat1 and mat2"),
    "doubles": (flat().double(), "torch.float32, fails: RuntimeError"),
    "its own mistake": (Failing(), r"fails: KeyError: 'my own mistake' \(.*test_fitting.py, line"),
    "no head": (nn.Sequential(nn.Conv2d(3, 9, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "cannot be re-made"),
    "more than one in evaluation": (
        nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        "on one image alone .* fails: ValueError: Expected more than 1 value",
    ),
    "fails in training": (Net(lambda y, net: y.nothing if net.training else y), "in training mode fails: Attribute"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_fitted_is_refused_in_a_sentence_that_says_what_it_gives(name: str) -> None:
    network, said = REFUSED[name]
    with pytest.raises(UserError, match=f"student=net.*{said}") as caught:
        fitted(network, (3, 9, 9) if name == "another size" else SHAPE)
    assert "\n" not in str(caught.value)
