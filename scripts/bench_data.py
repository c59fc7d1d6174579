"""How fast JPEGs that do not fit decoded become training batches, beside the loaders that people use; and the memory.

    uv run python scripts/bench_data.py --images 20000

Made-up JPEGs of about 400 x 350 in class folders, random resized crops to 224 px, flipped, in batches of 64: the first
200 batches of each loader, as a process of its own. The others give normalised floats by two worker processes; ours are
normalised here, too, as a network's first step does. Then ours on the same files repeated to 1.3 million: how long a
start takes with the pack there, to the first batch, and the memory once batches were read. What is made is kept in
`--folder` for the next time.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE, BATCH, WORKERS, CLASSES = 224, 64, 2, 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MANY = 1_300_000
MB = 2**20


def write_jpegs(root: Path, count: int) -> None:
    """Soft shapes under noise: about 40 kB each, a tenth of them in each class."""
    done = root / "done"
    if done.is_file() and done.read_text() == str(count):
        return
    shutil.rmtree(root, ignore_errors=True)
    for number in range(CLASSES):
        (root / "train" / f"class{number}").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(-6, 7, (700, 800, 3), dtype=np.int16)

    def write(number: int) -> None:
        random = np.random.default_rng(number)
        width, height = int(random.integers(340, 460)), int(random.integers(300, 400))
        few = random.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
        left, top = random.integers(0, 300, 2)
        pixels = np.asarray(Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC))
        pixels = (pixels + noise[top : top + height, left : left + width]).clip(0, 255).astype(np.uint8)
        path = root / "train" / f"class{number % CLASSES}" / f"{number:06}.jpg"
        Image.fromarray(pixels).save(path, quality=92)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(write, range(count)):
            pass
    for number in range(CLASSES):  # ours asks for test images
        (root / "test" / f"class{number}").mkdir(parents=True)
        shutil.copy(next((root / "train" / f"class{number}").iterdir()), root / "test" / f"class{number}")
    done.write_text(str(count))


def ours(root: Path, cache: Path, repeat: int = 1) -> tuple[float, Iterator[Any]]:
    """The epoch of a data module; and the seconds that it took to start."""
    from kdistill.data import image_folder
    from kdistill.data.augment import Augment
    from kdistill.modules.normalize import Normalize
    from kdistill.training.allocator import settle_process

    if repeat > 1:
        listed = image_folder.read_class_folders

        def repeated(*given: Any, **options: Any) -> Any:
            found = listed(*given, **options)
            found.files["train"] *= repeat
            return found

        image_folder.read_class_folders = repeated
        logging.disable(logging.WARNING)  # which would say that pictures are there more than once
    settle_process("cpu")  # as every training on a CPU does
    begun = time.perf_counter()
    augment = Augment(flip=True, random_resized_crop=(0.08, 1.0))
    data = image_folder.ImageFolder(
        str(root), cache=str(cache), image_size=SIZE, storage="encoded", val_fraction=1e-3, batch_size=BATCH,
        augment=augment,
    )  # fmt: skip
    loader, normalize = data.train_dataloader(), Normalize(MEAN, STD)
    batches = ([batch] if not isinstance(batch, list) else batch for batch in loader)
    shown = (normalize(data.prepare(one, view=0).image) for some in batches for one in some)
    first = next(shown)
    seconds = time.perf_counter() - begun
    return seconds, (image for part in ((first,), shown) for image in part)


def of_torchvision(root: Path, cache: Path) -> tuple[float, Iterator[Any]]:
    """ImageFolder and a DataLoader, as its examples have it."""
    import torch
    from torchvision import datasets, transforms

    chain = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    data = datasets.ImageFolder(str(root / "train"), chain)
    loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True, num_workers=WORKERS)
    return 0.0, (image for image, _ in loader)


def of_timm(root: Path, cache: Path) -> tuple[float, Iterator[Any]]:
    """timm's data set and loader, as its training script builds them."""
    from timm.data import create_dataset, create_loader

    data = create_dataset("", root=str(root / "train"))
    loader = create_loader(
        data, (3, SIZE, SIZE), BATCH, is_training=True, use_prefetcher=False, num_workers=WORKERS, color_jitter=None,
        interpolation="bilinear", mean=MEAN, std=STD, persistent_workers=False,
    )  # fmt: skip
    return 0.0, (image for image, _ in loader)


def of_datasets(root: Path, cache: Path) -> tuple[float, Iterator[Any]]:
    """The library `datasets` with torchvision's transforms, as its guide has it."""
    import datasets
    import torch
    from torchvision import transforms

    datasets.disable_progress_bars()
    chain = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    rows = datasets.load_dataset(str(root / "train"), split="train", cache_dir=str(cache / "datasets"))
    rows = rows.with_transform(lambda some: {**some, "image": [chain(one.convert("RGB")) for one in some["image"]]})
    loader = torch.utils.data.DataLoader(rows, BATCH, shuffle=True, num_workers=WORKERS)
    return 0.0, (batch["image"] for batch in loader)


CONTENDERS: dict[str, Callable[..., tuple[float, Iterator[Any]]]] = {
    "kdistill": ours,
    "torchvision ImageFolder": of_torchvision,
    "timm": of_timm,
    "datasets": of_datasets,
}


def memory() -> float:
    """MB that this process and its workers hold for themselves: without files' pages, which the system may drop."""
    import psutil

    own = psutil.Process()
    return sum(one.memory_full_info().uss for one in (own, *own.children(recursive=True))) / MB


def cpu() -> float:
    """Seconds of CPU that this process and its workers have used."""
    import psutil

    own = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (own, *own.children(recursive=True)))


def measure(name: str, root: Path, cache: Path, repeat: int, most: int) -> dict[str, float]:
    """One epoch, or so many batches of it: images a second behind the first batch, seconds of start, and memory."""
    import torch

    begun = time.perf_counter()
    started, batches = CONTENDERS[name](root, cache, **({"repeat": repeat} if repeat > 1 else {}))
    images, held, spent, counted = 0, 0.0, 0.0, 0
    first = next(batches)
    assert tuple(first.shape[1:]) == (3, SIZE, SIZE) and first.dtype == torch.float32
    ready, used = time.perf_counter(), cpu()
    for number, image in enumerate(batches):
        images += len(image)
        if number % 40 == 4 or number == most - 2:
            held, spent, counted = max(held, memory()), cpu(), images
        if number == most - 1:
            break
    seconds = time.perf_counter() - ready
    return {"start": started or ready - begun, "rate": images / seconds, "memory": held or memory(),
            "cpu": 1e3 * (spent - used) / max(counted, 1)}  # fmt: skip


def run(name: str, folder: Path, *, repeat: int = 1, most: int = 10**9) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder), "--repeat", str(repeat)]
    done = subprocess.run([*command, "--most", str(most)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--many", type=int, default=MANY, help="images of the last part; 0 leaves it out")
    parser.add_argument("--folder", type=Path, default=Path("outputs/bench_data"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--most", type=int, default=10**9, help=argparse.SUPPRESS)
    given = parser.parse_args()
    root, cache = given.folder / "jpegs", given.folder / "cache"
    if given.one:
        print(json.dumps(measure(given.one, root, cache, given.repeat, given.most)))
        return
    begun = time.perf_counter()
    write_jpegs(root, given.images)
    sizes = [path.stat().st_size for path in (root / "train").rglob("*.jpg")]
    print(f"{len(sizes):,} JPEGs, {np.mean(sizes) / 1e3:.0f} kB each ({time.perf_counter() - begun:.0f} s)", flush=True)
    begun = time.perf_counter()
    run("kdistill", given.folder, most=2)
    print(f"packed, and each decoded once: {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"{'':26}{'images/s':>10}{'CPU, ms/image':>15}{'first batch, s':>16}{'memory, MB':>12}")
    found = {}
    for name in CONTENDERS:
        one = found[name] = run(name, given.folder, most=200)
        print(f"{name:26}{one['rate']:10.0f}{one['cpu']:15.2f}{one['start']:16.1f}{one['memory']:12.0f}", flush=True)
    best = max(one["rate"] for name, one in found.items() if name != "kdistill")
    print(f"kdistill / best of the others: {found['kdistill']['rate'] / best:.2f}")
    if given.many:
        repeat = round(given.many / len(sizes))
        begun = time.perf_counter()
        run("kdistill", given.folder, repeat=repeat, most=2)
        print(f"repeated to {repeat * len(sizes):,}: packed in {time.perf_counter() - begun:.0f} s")
        few, many = (run("kdistill", given.folder, repeat=times, most=80) for times in (1, repeat))
        print(f"start with the pack there, to the first batch: {few['start']:.1f} s; repeated {many['start']:.1f} s")
        print(f"memory: {few['memory']:.0f} MB; repeated {many['memory']:.0f} MB, {many['rate']:.0f} images/s")


if __name__ == "__main__":
    main()
