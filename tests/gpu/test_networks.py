"""What is computed, counted and timed of a network on a GPU."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdistill.building.device import choose_device, choose_precision
from kdistill.measuring.cost import count_cost
from kdistill.measuring.latency import measure_latency
from kdistill.models.build import create_model
from kdistill.models.exact import without_tf32
from kdistill.models.faster import Float32Conv2d, make_faster, set_memory_format
from kdistill.models.freeze import set_trainable, settle_frozen
from kdistill.replay.prefix import CannotSplit, split_frozen
from kdistill.training.compute_mode import ComputeMode, _measure, tuned

pytestmark = pytest.mark.gpu

IMAGES = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_auto_is_the_gpu_and_bfloat16(device: str) -> None:
    assert choose_device("auto") == device
    if device == "cuda":
        assert choose_precision("auto", device) == ("bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true")


@pytest.mark.parametrize("name", ["mobilenetv2_100", "resnet18", "tf_efficientnet_lite0", "convnext_atto"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_float32_logits_are_a_cpus(name: str, memory_format: torch.memory_format, device: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=5, in_chans=3).eval()
    there = copy.deepcopy(network).to(device)
    set_memory_format(there, memory_format)
    with torch.no_grad(), without_tf32():
        expected = network(IMAGES)
        found = there(IMAGES.to(device, memory_format=memory_format)).cpu()
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_depthwise_convolutions_stay_in_bfloat16(device: str) -> None:
    """The rule is for CPUs, which are slow at them."""
    network = create_model("mobilenetv2_100", num_classes=2, in_chans=3).to(device).train()
    set_memory_format(network, torch.channels_last)
    make_faster(network, precision="bf16-mixed", device=device)
    assert any(isinstance(m, Float32Conv2d) for m in network.modules()) == (device == "cpu")
    with torch.autocast(device, torch.bfloat16):
        loss = network(IMAGES.to(device).contiguous(memory_format=torch.channels_last)).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["mobilenetv2_100", "test_vit", "convnext_atto"])
def test_the_cost_does_not_depend_on_the_device(name: str, device: str) -> None:
    network = create_model(name, num_classes=2, in_chans=3, **({"img_size": 64} if "vit" in name else {}))
    here, there = (count_cost(network, (3, 64, 64), device=where) for where in ("cpu", device))
    assert replace(there, uncounted_ops=(), heavy_uncounted_ops=()) == replace(
        here, uncounted_ops=(), heavy_uncounted_ops=()
    )
    assert next(network.parameters()).device.type == "cpu"


def test_latency_waits_for_the_result_and_names_the_device(device: str) -> None:
    network = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(4)))
    size = 512 if device == "cuda" else 32
    found = measure_latency(network, (64, size, size), device=device)
    flops = 4 * 2 * 64 * 64 * 9 * size * size
    if device == "cuda":
        assert found["latency_on"] == f"cuda, {torch.cuda.get_device_name()}"
    assert found["latency_ms"] > 1000 * flops / 1e15, "no GPU computes a petaflop a second: it was not waited for"


class Drawing(nn.Module):
    """Adds random numbers of its device in a way that no trace shows."""

    def forward(self, image: Tensor) -> Tensor:
        return image + torch.empty_like(image).normal_()


def test_a_frozen_part_is_cut_off_on_the_device(device: str) -> None:
    torch.manual_seed(0)
    network = create_model("mobilenetv2_100", num_classes=5, in_chans=3)
    set_trainable(network, "head", (3, 64, 64))
    network.train().to(device)
    settle_frozen(network)
    set_memory_format(network, torch.channels_last)
    image, state = IMAGES.to(device).contiguous(memory_format=torch.channels_last), _random(device)
    parts = split_frozen(network, image)
    assert torch.equal(_random(device), state)
    with torch.no_grad():
        assert torch.equal(parts.rest(*parts.prefix(image)), network(image))


def test_a_frozen_part_that_draws_on_the_device_is_not_cut(device: str) -> None:
    network = nn.Sequential(Drawing(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 62 * 62, 5)).to(device)
    network[1].requires_grad_(False)
    with pytest.raises(CannotSplit, match="draws random numbers"):
        split_frozen(network, IMAGES.to(device))


def _random(device: str) -> Tensor:
    return torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()


def test_the_probe_measures_on_the_device_and_leaves_no_trace(tmp_path: Path, device: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Dropout(), nn.Linear(8 * 900, 4))
    before, state = copy.deepcopy(network.state_dict()), _random(device)
    ways = [ComputeMode(precision, last) for precision in ("32-true", "bf16-mixed") for last in (False, True)]
    shape = (16, 3, 32, 32)
    found = tuned(
        network, ways[0], ways, batch_shape=shape, num_classes=4, steps=1000, device=device, cache=tmp_path
    )  # fmt: skip
    assert found in ways and len(list(tmp_path.glob("*.json"))) == 1
    assert torch.equal(_random(device), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_network_trains_on_the_device(mode: str, device: str) -> None:
    """The second way replays CUDA graphs."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 64), nn.ReLU(), nn.Linear(64, 4))
    first, step = _measure(network, ComputeMode("bf16-mixed", False, mode), (32, 3, 16, 16), 4, device, steps=5)
    assert 0 < step < first
