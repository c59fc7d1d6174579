"""What it costs to check what is stored: sums of a replay store's chunks and of decoded images, against an epoch.

    python scripts/bench_checked.py [--json checked.json]

    sums         GB/s of hashing memory, for what could have been taken
    replay       an epoch that reads every sample once in random order, from a store of which nothing was looked at,
                 against one that trusts it; and what that is of the epoch that the smallest student of the tree trains
    images       opening the array of 3,152 images of 224 px, with its check, against an epoch of that student's peer

Files lie in the page cache, so that disks do not count; the median of five.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from xxhash import xxh3_64_intdigest

from kdistill.base.checked import CheckedArray
from kdistill.models.mnist import MnistMLP
from kdistill.replay.store import ReplayStore


def seconds_of(call: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def sums() -> dict[str, float]:
    """GB/s on chunks of 64 KiB."""
    data = np.random.default_rng(0).integers(0, 256, 2**26, dtype=np.uint8)
    ways = {"xxh3": xxh3_64_intdigest, "crc32": zlib.crc32, "sha256": lambda part: hashlib.sha256(part).digest()}
    found = {}
    for name, way in ways.items():
        found[name] = data.nbytes / seconds_of(lambda way=way: [way(part.data) for part in np.split(data, 1024)]) / 1e9
    return found


def replay(samples: int, shape: Sequence[int], dtype: str, batch: int) -> tuple[float, float]:
    """Seconds of an epoch's reading, checked and trusted."""
    values = torch.randn(samples, *shape)
    with tempfile.TemporaryDirectory() as folder:

        def opened(checked: bool) -> ReplayStore:
            store = ReplayStore(Path(folder), "t", {}, shapes={"x": shape}, samples=samples, dtype=dtype)
            store.fill([0], lambda view, index: {"x": values[index]}, batch_size=batch, what="x")
            store.read(0, torch.arange(0))
            if not checked:
                store._open[0]["x"][0]._unread[:] = False
            return store

        def epoch(checked: bool) -> float:
            store, order = opened(checked), torch.randperm(samples)
            started = time.perf_counter()
            for index in order.split(batch):
                store.read(0, index)
            return time.perf_counter() - started

        taken = [(epoch(True), epoch(False)) for _ in range(5)]
    checked, trusted = (statistics.median(column) for column in zip(*taken, strict=True))
    return checked, trusted


def training(samples: int, batch: int) -> float:
    """Seconds of an epoch of the smallest student, all else left out."""
    network, image = MnistMLP(), torch.randn(batch, 1, 28, 28)
    target: Tensor = torch.zeros(batch, dtype=torch.long)
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(image), target).backward()
        optimizer.step()

    return seconds_of(step, 200) * samples / batch


def images(count: int, size: int) -> float:
    """Seconds of the check of an array of images."""
    row = 3 * size * size
    with tempfile.TemporaryDirectory() as folder:
        options = {"shape": (count, 3, size, size), "dtype": "|u1", "chunk": max(1, 2**20 // row), "key": "k"}
        array = CheckedArray(Path(folder) / "a.npy", **options)
        array.create()
        pixels = np.random.default_rng(0).integers(0, 256, (array.chunk, 3, size, size), dtype=np.uint8)
        for start in range(0, count, array.chunk):
            array.write(start, pixels[: count - start])
        return seconds_of(lambda: CheckedArray(Path(folder) / "a.npy", **options).damaged())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    json_file = parser.parse_args().json
    found: dict[str, float] = {f"{name}, GB/s": value for name, value in sums().items()}
    train = training(60_000, 128)
    found["an epoch of mnist_mlp, s"] = train
    for name, (samples, shape, dtype, batch) in {
        "60,000 x 10 fp32 (MNIST's answers)": (60_000, (10,), "fp32", 128),
        "3,152 x 1280 x 7 x 7 bf16 (a frozen part's outputs)": (3_152, (1280, 7, 7), "bf16", 32),
    }.items():
        checked, trusted = replay(samples, shape, dtype, batch)
        found[f"{name}: read, s"], found[f"{name}: of that checks, s"] = trusted, checked - trusted
        if samples == 60_000:
            found[f"{name}: checks, % of the epoch"] = 100 * (checked - trusted) / (train + trusted)
    found["3,152 images of 224 px: check, s"] = images(3_152, 224)
    for name, value in found.items():
        print(f"{name:70} {value:10.4f}")
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
