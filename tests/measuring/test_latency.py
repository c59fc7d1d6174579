"""Latency against a network whose time is known, and what it leaves as it was."""

import time

import torch
from torch import Tensor, nn

from kdistill.measuring.latency import measure_latency


class Sleeper(nn.Module):
    """Takes a known time, and notes how it was called."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[object, ...]] = []

    def __deepcopy__(self, memo: object) -> "Sleeper":
        copied = Sleeper(self.seconds)
        copied.seen = self.seen
        return copied

    def forward(self, image: Tensor) -> Tensor:
        grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
        self.seen.append((tuple(image.shape), image.dtype, self.weight.dtype, self.training, grad, threads))
        time.sleep(self.seconds)
        return image.flatten(1) * self.weight


def test_a_network_of_twenty_milliseconds_is_measured_as_one_image_in_eval_mode_on_one_thread() -> None:
    network = Sleeper(0.02).train().to(torch.bfloat16)
    found = measure_latency(network, (3, 4, 4))
    assert 20 <= found["latency_ms"] < 100 and 0 <= found["latency_iqr_ms"] < 100
    assert found["latency_on"] == "cpu, 1 thread"
    assert set(network.seen) == {((1, 3, 4, 4), torch.float32, torch.float32, False, False, 1)}
    assert len(network.seen) <= 40, "at most .8 s of it"


def test_a_slow_network_is_not_repeated_for_long() -> None:
    network = Sleeper(0.1)
    assert measure_latency(network, (1, 2, 2))["latency_ms"] >= 100
    assert len(network.seen) <= 40, "at most 4 s of it"


def test_measuring_leaves_network_and_threads_as_they_were() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2)).train()
    network.to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    threads = torch.get_num_threads()
    found = measure_latency(network, (2, 6, 6))
    assert 0 < found["latency_ms"] < 50
    assert torch.get_num_threads() == threads and torch.is_grad_enabled()
    assert all(module.training for module in network.modules())
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
