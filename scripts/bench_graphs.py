"""Milliseconds of a whole training step by hand on a GPU: launched kernel by kernel, and replayed as one CUDA graph.

    python scripts/bench_graphs.py

What a graph takes is the device's own time; the difference is the time that the device waits for Python.
"""

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from kdistill.models.build import create_model

CASES = (  # network, images, shape, classes, steps
    ("mnist_mlp", 256, (1, 28, 28), 10, 1000),
    ("mnist_cnn", 256, (1, 28, 28), 10, 1000),
    ("mobilenetv2_100", 32, (3, 224, 224), 2, 100),
    ("resnetv2_50", 32, (3, 224, 224), 2, 60),
)
ROWS = 2048


def milliseconds(
    name: str, batch: int, shape: tuple[int, int, int], classes: int, steps: int, *, bf16: bool, graph: bool
) -> float:
    """Of a step: a batch by its index, forward, cross-entropy and KL with stored answers, backward, fused AdamW."""
    torch.manual_seed(0)
    memory_format = torch.channels_last if shape[0] == 3 else torch.contiguous_format
    network = create_model(name, num_classes=classes, in_chans=shape[0]).cuda().to(memory_format=memory_format).train()
    image = torch.rand(ROWS, *shape, device="cuda")
    answers = torch.randn(ROWS, classes, device="cuda")
    target = torch.randint(classes, (ROWS,), device="cuda")
    rate = torch.tensor(1e-3, device="cuda")
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, fused=True, capturable=True)
    index = torch.randint(ROWS, (batch,), device="cuda")

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16, cache_enabled=False):
            logits = network(image.index_select(0, index).contiguous(memory_format=memory_format)).float()
            loss = 0.5 * F.cross_entropy(logits, target[index]) + 0.5 * _kl(logits, answers[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    call = step
    if graph:
        captured = torch.cuda.CUDAGraph()
        optimizer.zero_grad()
        with torch.cuda.graph(captured):
            step()
        call = captured.replay
    order = torch.randint(ROWS, (steps, batch), device="cuda")
    torch.cuda.synchronize()
    started = time.perf_counter()
    for row in order:
        index.copy_(row)
        call()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started) / steps


def _kl(logits: Tensor, answers: Tensor) -> Tensor:
    own, its = (F.log_softmax(values / 2, 1) for values in (logits, answers))
    return 4 * F.kl_div(own, its, reduction="batchmean", log_target=True)


def main() -> None:
    for name, *case in CASES:
        for bf16 in (False, True):
            eager, graph = (milliseconds(name, *case, bf16=bf16, graph=graph) for graph in (False, True))
            print(f"{name} {'bfloat16' if bf16 else 'float32'}: {eager:.3f} ms, as a graph {graph:.3f} ms", flush=True)


if __name__ == "__main__":
    main()
