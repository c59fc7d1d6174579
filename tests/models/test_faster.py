"""Layers in another form compute the same and keep their names."""

import copy

import pytest
import torch
from torch import nn

from kdistill.models.build import create_model
from kdistill.models.faster import Float32Conv2d, make_faster, set_memory_format
from kdistill.models.weights import fingerprint


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_names_weights_outputs_and_gradients_stay_what_they_were(precision: str) -> None:
    network = create_model("mobilenetv2_100", num_classes=2, in_chans=3).train()
    other = copy.deepcopy(network)
    make_faster(other, precision=precision, device="cpu")
    assert list(other.state_dict()) == list(network.state_dict())
    assert fingerprint(other) == fingerprint(network)
    image = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits, same = network(image), other(image)
    assert torch.equal(logits, same), "outside of autocast there is nothing to change"
    logits.sum().backward()
    same.sum().backward()
    for own, its in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(own.grad, its.grad)


def test_only_depthwise_convolutions_that_bfloat16_is_slow_at_run_in_float32() -> None:
    layers = {
        "stride": nn.Conv2d(8, 8, 3, stride=2, groups=8),
        "large kernel": nn.Conv2d(8, 8, 5, groups=8),
        "fast": nn.Conv2d(8, 8, 3, groups=8),
        "grouped": nn.Conv2d(8, 8, 3, stride=2, groups=2),
        "dense": nn.Conv2d(8, 8, 3, stride=2),
        "one channel": nn.Conv2d(1, 1, 3, stride=2),
    }
    for precision, device in (("32-true", "cpu"), ("bf16-mixed", "cuda"), ("bf16-mixed", "cpu")):
        make_faster(nn.ModuleDict(layers), precision=precision, device=device)
        expected = {"stride", "large kernel"} if (precision, device) == ("bf16-mixed", "cpu") else set()
        assert {name for name, layer in layers.items() if isinstance(layer, Float32Conv2d)} == expected


def test_in_autocast_it_computes_in_float32_and_answers_in_bfloat16() -> None:
    plain = nn.Conv2d(16, 16, 3, stride=2, groups=16)
    layer = nn.Sequential(copy.deepcopy(plain))
    make_faster(layer, precision="bf16-mixed", device="cpu")
    image = torch.rand(2, 16, 9, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(image)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, plain(image.float()).bfloat16())
    found.float().sum().backward()
    assert layer[0].weight.grad.dtype == torch.float32


def test_activations_that_need_their_input_again_leave_it_alone() -> None:
    network = nn.Sequential(nn.ReLU6(inplace=True), nn.SiLU(inplace=True), nn.ReLU(inplace=True))
    make_faster(network, precision="32-true", device="cpu")
    assert [layer.inplace for layer in network] == [False, False, True]  # ReLU's backward needs its output alone


def test_weights_that_are_not_4d_stay_as_they_are() -> None:
    """torch's own conversion refuses a network of these."""
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3), nn.Conv1d(2, 3, 3))
    before = network[1].weight.stride()
    parameters = list(network.parameters())
    set_memory_format(network, torch.channels_last)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.stride() == before and list(network.parameters()) == parameters
    expected = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)
    given = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    set_memory_format(given, torch.channels_last)
    assert [v.stride() for v in given.state_dict().values()] == [v.stride() for v in expected.state_dict().values()]
