"""Seconds per epoch of distilling: plain loops, peers, kdistill, and the floor that no framework gets below.

    python scripts/bench_distill.py --job mnist [--root outputs/data/mnist] [--teacher teacher.safetensors]
    python scripts/bench_distill.py --job mhist [--trainable head|all]

Arms, each in a process of its own, one after another, on the same images, networks, loss, batch size and optimizer:

    plain        a PyTorch loop: a DataLoader that makes each sample in Python, teacher online, float32
    lightning    the same in plain Lightning
    torchdistill the same by torchdistill 1.1.5, if it is installed
    online       kdistill, teacher online
    replay       kdistill with replay: teacher's answers, and the frozen part's outputs where there is one
    compiled     the same with the student compiled, as the probe has it in trainings of many minutes; only if asked for
    floor        by hand: data in memory, stored logits (and features), forward, backward, optimizer and nothing else;
                 the faster of float32 and bfloat16

job mnist: mnist_cnn to mnist_mlp, 55,000 images, batch 256. job mhist: resnetv2_50 to mobilenetv2_100, 512 made-up
pictures of 224 x 224, batch 32, two augmented views (the plain arms flip at random); random weights, so its accuracy
means nothing and is not printed. An epoch is training alone, without validation; the first of an arm is left out of the
median where there are more than two (it is the one that compiles). `once` is what an arm does once before its first
epoch, imports and data included.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
ARMS = ("plain", "lightning", "torchdistill", "online", "replay", "compiled", "floor")
EPOCHS = {
    "mnist": {"plain": 3, "lightning": 3, "torchdistill": 3, "online": 3, "replay": 3, "compiled": 3, "floor": 3},
    "mhist": {"plain": 1, "lightning": 1, "torchdistill": 1, "online": 2, "replay": 4, "compiled": 4, "floor": 4},
}
ACCELERATORS = {"cpu": "cpu", "cuda": "gpu"}
LR, WEIGHT_DECAY, TEMPERATURE, ALPHA = 1e-3, 1e-2, 2.0, 0.5


@dataclass(frozen=True)
class Job:
    """What all arms have in common.

    Attributes:
        config: kdistill's config of it.
        data: kdistill's data module, for the arms that read arrays.
        teacher, student: networks; the teacher with its weights, the student as training starts.
        mean, std: of teacher and student.
    """

    name: str
    config: Any
    data: Any
    teacher: Any
    student: Any
    mean: list[float]
    std: list[float]


def overrides(name: str, given: argparse.Namespace, folder: Path) -> list[str]:
    common = [
        f"teacher.checkpoint={given.teacher}", "teacher.gate=off", f"loss.temperature={TEMPERATURE}",
        f"loss.alpha={ALPHA}",
        "optimizer=adamw", f"optimizer.lr={LR}", f"optimizer.weight_decay={WEIGHT_DECAY}", "scheduler=none",
        "trainer.progress_bar=false", f"trainer.tune_cache={folder}/tuned", f"replay.cache={folder}/replay",
    ]  # fmt: skip
    if name == "mnist":
        return ["+experiment=mnist_distill", f"dataset.root={given.root}", "dataset.augment=null", *common]
    return [
        "+experiment=mhist_distill", "dataset=tissue_demo", f"dataset.root={given.demo}",
        f"dataset.cache={given.demo}/decoded",
        "dataset.count=830", "dataset.size=224", "dataset.image_size=224", "dataset.limit=512", "dataset.views=2",
        "student.weights=none", f"student.trainable={given.trainable}", *common,
    ]  # fmt: skip


def make_job(given: argparse.Namespace, folder: Path) -> Job:
    import torch

    from kdistill.building.data import build_data
    from kdistill.building.networks import build_bare_network, build_network, input_normalisation
    from kdistill.config.compose import compose_config
    from kdistill.models.weights import load_weights

    config = compose_config(overrides(given.job, given, folder))
    data = build_data(config)
    shape = {"num_classes": data.arrays.num_classes, "image_shape": data.arrays.image_shape}
    teacher = build_bare_network(config.teacher, "teacher", **shape)
    load_weights(teacher, Path(given.teacher), owner="the teacher")
    torch.manual_seed(0)
    student = build_network(config.student, "student", data)
    mean, std = input_normalisation(config.student, student, data.arrays)
    teacher = teacher.eval().requires_grad_(False)
    return Job(given.job, config, data, teacher.to(given.device), student.to(given.device), mean, std)


def now(given: argparse.Namespace) -> float:
    """Seconds of the clock, once the device has done all that it was given."""
    if given.device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def loss_of(logits: Any, answers: Any, target: Any) -> Any:
    import torch.nn.functional as F

    soft = F.kl_div(
        F.log_softmax(logits.float() / TEMPERATURE, 1),
        F.log_softmax(answers.float() / TEMPERATURE, 1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - ALPHA) * F.cross_entropy(logits.float(), target) + ALPHA * TEMPERATURE**2 * soft


def pictures(job: Job, given: argparse.Namespace, folder: Path) -> Any:
    """The data set of the plain arms: one sample at a time, as torchvision does it."""
    from torch.utils.data import Dataset
    from torchvision import datasets
    from torchvision.transforms import v2

    normalise = [v2.PILToTensor(), v2.ToDtype(_float32(), scale=True), v2.Normalize(job.mean, job.std)]
    if job.name == "mnist":
        raw = folder / "torchvision" / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for file in Path(given.root).glob("*-ubyte*"):
            if not (raw / file.name).exists():
                (raw / file.name).symlink_to(file.resolve())
        whole = datasets.MNIST(str(folder / "torchvision"), train=True, transform=v2.Compose(normalise))
        return _first(whole, len(job.data.arrays.train))
    flips = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), *normalise[1:]])
    split = job.data.arrays.train

    class Pictures(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(split)

        def __getitem__(self, index: int) -> Any:
            row = index if split.rows is None else int(split.rows[index])
            return flips(split.image[row]), int(split.target[index])

    return Pictures()


def _float32() -> Any:
    import torch

    return torch.float32


def _first(dataset: Any, count: int) -> Any:
    from torch.utils.data import Subset

    return Subset(dataset, range(count))


def freeze(student: Any) -> Any:
    """Training mode, with what is frozen in eval mode, as in kdistill."""
    from kdistill.models.freeze import settle_frozen

    student.train()
    settle_frozen(student)
    return student


def optimizer_of(student: Any) -> Any:
    import torch

    return torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=LR, weight_decay=WEIGHT_DECAY)


def plain(job: Job, given: argparse.Namespace, folder: Path, epochs: int) -> Iterator[float]:
    import torch
    from torch.utils.data import DataLoader

    loader = DataLoader(pictures(job, given, folder), batch_size=job.data.serving.batch_size, shuffle=True)
    student, optimizer = freeze(job.student), optimizer_of(job.student)
    for _ in range(epochs):
        started = now(given)
        for image, target in loader:
            image, target = image.to(given.device), target.to(given.device)
            with torch.no_grad():
                answers = job.teacher(image)
            loss = loss_of(student(image), answers, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield now(given) - started


def lightning(job: Job, given: argparse.Namespace, folder: Path, epochs: int) -> Iterator[float]:
    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader

    class Distil(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.student, self.teacher = job.student, job.teacher

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.teacher.eval()
            freeze(self.student) if batch_idx == 0 else None
            image, target = batch
            with torch.no_grad():
                answers = self.teacher(image)
            loss = loss_of(self.student(image), answers, target)
            self.log("train/loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return optimizer_of(self.student)

    times = epoch_times(given)
    loader = DataLoader(pictures(job, given, folder), batch_size=job.data.serving.batch_size, shuffle=True)
    trainer = pl.Trainer(
        accelerator=ACCELERATORS[given.device], max_epochs=epochs, callbacks=[times], default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Distil(), loader)
    yield from times.seconds


def torchdistill(job: Job, given: argparse.Namespace, folder: Path, epochs: int) -> Iterator[float]:
    import torch
    from torch.utils.data import RandomSampler, SequentialSampler
    from torchdistill.core.distillation import get_distillation_box

    loader = {"dataset_id": "train", "kwargs": {"batch_size": job.data.serving.batch_size, "num_workers": 0}}
    ends = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
    }
    kd = {"key": "KDLoss", "kwargs": {**ends, "temperature": TEMPERATURE, "alpha": 1 - ALPHA, "reduction": "batchmean"}}
    hooks = {"forward_proc": "forward_batch_only"}  # a model's own output needs no hook
    box = get_distillation_box(
        job.teacher,
        freeze(job.student),
        {"train": pictures(job, given, folder)},
        {
            "num_epochs": epochs,
            "train_data_loader": {**loader, "sampler": {"class_or_func": RandomSampler, "kwargs": {}}},
            "val_data_loader": {**loader, "dataset_id": None, "sampler": {"class_or_func": SequentialSampler}},
            "teacher": {**hooks, "requires_grad": False},
            "student": {**hooks, "requires_grad": True},
            "optimizer": {"key": "AdamW", "kwargs": {"lr": LR, "weight_decay": WEIGHT_DECAY}},
            "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": kd, "weight": 1.0}}}},
        },
        torch.device(given.device),
        None,
        False,
        1,
    )
    for epoch in range(epochs):
        started = now(given)
        box.pre_epoch_process(epoch=epoch)
        freeze(job.student)  # the box puts the whole student in training mode
        for image, target, supplement in box.train_data_loader:
            box.pre_forward_process()
            box.post_forward_process(loss=box.forward_process(image, target, supplement))
        box.post_epoch_process()
        yield now(given) - started


def by_kdistill(
    job: Job, given: argparse.Namespace, folder: Path, epochs: int, replay: str, compiled: bool = False
) -> Iterator[float]:
    import pytorch_lightning as pl
    import torch

    from kdistill.building.instantiate import build
    from kdistill.building.losses import build_loss
    from kdistill.models.faster import make_faster
    from kdistill.modules.distill import DistillModule
    from kdistill.modules.teacher import FrozenTeacher, TeacherModule
    from kdistill.training.allocator import settle_process
    from kdistill.training.compute_mode import tune
    from kdistill.training.replays import replay_prefix, replay_teacher

    config, data = job.config, job.data
    config.replay.teacher = config.replay.prefix = replay
    config.trainer.max_epochs = epochs
    data.place(given.device)
    settle_process(given.device)
    way = tune(config, job.student, data, given.device)
    facts = {"mean": job.mean, "std": job.std}
    teacher = FrozenTeacher(TeacherModule(job.teacher, channels_last=True, **facts))
    asked = replay_teacher(config, teacher, data, device=given.device, precision=way.precision)
    module = DistillModule(
        job.student,
        teacher=asked,
        loss=build_loss(config.loss),
        optimizer=build(config.optimizer, "optimizer"),
        channels_last=way.channels_last,
        **facts,
    )
    if any(not p.requires_grad for p in job.student.parameters()):
        cut = replay_prefix(config, "student", module, data, device=given.device, precision=way.precision)
        data.serves_images = not (cut and asked is not teacher)
    make_faster(job.student, precision=way.precision, device=given.device)
    if compiled:
        job.student.compile()
    times = epoch_times(given)
    trainer = pl.Trainer(
        accelerator=ACCELERATORS[given.device], max_epochs=epochs, precision=way.precision, callbacks=[times],  # type: ignore[arg-type]
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    torch.set_grad_enabled(True)
    yield from times.seconds


def online(job: Job, given: argparse.Namespace, folder: Path, epochs: int) -> Iterator[float]:
    yield from by_kdistill(job, given, folder, epochs, "off")


def replay(job: Job, given: argparse.Namespace, folder: Path, epochs: int) -> Iterator[float]:
    yield from by_kdistill(job, given, folder, epochs, "on")


def compiled(job: Job, given: argparse.Namespace, folder: Path, epochs: int) -> Iterator[float]:
    yield from by_kdistill(job, given, folder, epochs, "on", compiled=True)


def floor(job: Job, given: argparse.Namespace, folder: Path, epochs: int) -> Iterator[float]:
    """In float32 or, where this is faster in the first steps, in bfloat16."""
    import torch

    from kdistill.models.faster import make_faster
    from kdistill.training.allocator import settle_process

    settle_process(given.device)
    job.data.place(given.device)
    data, split = job.data, job.data.arrays.train
    views = 1 if data.serving.augment is None else data.serving.views
    bf16 = given.bf16 == "on"
    network = freeze(job.student).to(memory_format=torch.channels_last)
    make_faster(network, precision="bf16-mixed" if bf16 else "32-true", device=given.device)
    teacher = job.teacher.to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(values, device=given.device).view(1, -1, 1, 1) for values in (job.mean, job.std))

    def normalised(view: int, index: Any) -> Any:
        image = data.prepare(split.read(index).to(given.device), view=view).image
        image = ((image / 255 if image.dtype == torch.uint8 else image) - mean) / std
        return image.contiguous(memory_format=torch.channels_last)

    headless = given.trainable == "head" and job.name == "mhist"
    stored = []
    with torch.no_grad(), torch.autocast(given.device, torch.bfloat16):
        for view in range(views):
            parts = [normalised(view, index) for index in torch.arange(len(split)).split(data.serving.batch_size)]
            answers = torch.cat([teacher(part).float() for part in parts])
            if headless:
                features = [network.forward_head(network.forward_features(p), pre_logits=True).float() for p in parts]
                inputs = torch.cat(features)
            else:
                inputs = torch.cat(parts).contiguous(memory_format=torch.channels_last)
            stored.append((inputs, answers))
    trained: Callable[[Any], Any] = network.get_classifier() if headless else network
    optimizer = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad], lr=LR, weight_decay=WEIGHT_DECAY, fused=True
    )
    for epoch in range(epochs):
        started = now(given)
        inputs, answers = stored[epoch % views]
        for index in torch.randperm(len(split)).to(split.target.device).split(data.serving.batch_size):
            with torch.autocast(given.device, torch.bfloat16, enabled=bf16):
                loss = loss_of(trained(inputs[index]), answers[index], split.target[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield now(given) - started


def epoch_times(given: argparse.Namespace) -> Any:
    import pytorch_lightning as pl

    class EpochTimes(pl.Callback):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self.started = now(given)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.seconds.append(now(given) - self.started)

    return EpochTimes()


def accuracy(job: Job) -> float:
    """Of the trained student on the test set, on a CPU."""
    import torch

    test = job.data.arrays.test.read(torch.arange(len(job.data.arrays.test))).to("cpu")
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (job.mean, job.std))
    job.student.cpu().eval()
    with torch.no_grad():
        found = torch.cat([job.student((part / 255 - mean) / std).argmax(1) for part in test.image.split(1000)])
    return float((found == test.target).float().mean())


def run_arm(given: argparse.Namespace) -> dict[str, Any]:
    """This process is one arm."""
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(given, Path(folder))
        seconds = list(globals()[given.arm](job, given, Path(folder), given.epochs))
        total = time.perf_counter() - STARTED
        found = {"total": total, "once": total - sum(seconds), "epochs": seconds}
        if job.name == "mnist":
            found["accuracy"] = accuracy(job)
        if given.device == "cuda":
            import torch

            found["peak_gpu_gb"] = torch.cuda.max_memory_allocated() / 1e9
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found["seconds_per_epoch"] = statistics.median(seconds[1:] if len(seconds) > 2 else seconds)
    return found


def call_arm(arm: str, arguments: list[str]) -> dict[str, Any] | None:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, __file__, *arguments, "--arm", arm, "--json", file.name]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            missing = "No module named 'torchdistill'" in process.stderr
            print(f"{arm}: {'torchdistill is not installed' if missing else process.stderr[-2000:]}", flush=True)
            return None
        return json.loads(Path(file.name).read_text())


def make_teacher(given: argparse.Namespace, folder: Path) -> Path:
    """Weights for the teacher, where none are given: MNIST's by one epoch of its recipe; the other job's at random."""
    import torch

    from kdistill.config.compose import compose_config
    from kdistill.models.build import create_model
    from kdistill.models.weights import write_weights
    from kdistill.training.run import run

    if given.job == "mnist":
        recipe = [
            "+experiment=mnist_teacher",
            f"dataset.root={given.root}",
            f"device={given.device}",
            "trainer.max_epochs=1",
            "dataset.augment=null",
        ]
        run(compose_config(recipe), folder / "teacher")
        return folder / "teacher" / "teacher.safetensors"
    torch.manual_seed(0)
    write_weights(folder / "teacher.safetensors", create_model("resnetv2_50", num_classes=2, in_chans=3), {})
    return folder / "teacher.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", choices=("mnist", "mhist"), default="mnist")
    parser.add_argument("--trainable", choices=("head", "all"), default="head", help="of the student of job mhist")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[arm for arm in ARMS if arm != "compiled"])
    parser.add_argument("--repeats", type=int, default=1, help="times that all arms are gone through")
    parser.add_argument("--root", default="outputs/data/mnist", help="folder of MNIST's four files")
    parser.add_argument("--demo", default="outputs/data/tissue_demo", help="folder of the made-up pictures")
    parser.add_argument("--teacher", help="weights of the teacher")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--epochs", type=int, help="of every arm")
    parser.add_argument("--device", choices=tuple(ACCELERATORS), default="cpu")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--bf16", choices=("on", "off"), default="off", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        given.json.write_text(json.dumps(run_arm(given)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.job == "mnist":
            from kdistill.data.mnist import MNIST

            MNIST(given.root).load()  # fetched, if it is not there
        teacher = given.teacher or make_teacher(given, Path(folder))
        shared = ["--job", given.job, "--trainable", given.trainable, "--root", given.root, "--demo", given.demo]
        shared += ["--teacher", str(teacher), "--device", given.device]
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(given.repeats):
            for arm in given.arms:
                epochs = ["--epochs", str(given.epochs or EPOCHS[given.job][arm])]
                ways = ("off", "on") if arm == "floor" else ("off",)
                tried = [result for way in ways if (result := call_arm(arm, [*shared, *epochs, "--bf16", way]))]
                if tried:
                    best = min(tried, key=lambda result: result["seconds_per_epoch"])
                    found.setdefault(arm, []).append(best)
                    print(f"{arm:13} {best['seconds_per_epoch']:9.4f} s an epoch", flush=True)
    report(given, {arm: median_of(results) for arm, results in found.items()})


def median_of(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several turns the median of each figure."""
    names = [name for name in results[0] if name != "epochs"]
    medians = {name: statistics.median(result[name] for result in results) for name in names}
    return medians | {"epochs": [result["epochs"] for result in results]}


def report(given: argparse.Namespace, arms: dict[str, dict[str, Any]]) -> None:
    base = arms.get("plain", next(iter(arms.values())))["seconds_per_epoch"]
    print(f"\n{'':13}{'s/epoch':>10}{'x plain':>10}{'once s':>8}{'total s':>9}{'peak GB':>9}{'accuracy':>10}")
    for arm, found in arms.items():
        share = f"{found['accuracy']:.2%}" if "accuracy" in found else "-"
        print(
            f"{arm:13}{found['seconds_per_epoch']:10.4f}{base / found['seconds_per_epoch']:10.1f}{found['once']:8.1f}"
            f"{found['total']:9.1f}{found['peak_gb']:9.2f}{share:>10}"
        )
    if {"replay", "floor"} <= arms.keys():
        print(f"replay / floor {arms['replay']['seconds_per_epoch'] / arms['floor']['seconds_per_epoch']:.3f}")
    if {"replay", "online"} <= arms.keys():
        extra = arms["replay"]["once"] - arms["online"]["once"]
        saved = arms["online"]["seconds_per_epoch"] - arms["replay"]["seconds_per_epoch"]
        print(f"storing takes {extra:.1f} s at once; it has paid after {max(extra, 0) / saved:.1f} epochs")
    if {"replay", "torchdistill"} <= arms.keys():
        ratio = arms["torchdistill"]["total"] / arms["replay"]["total"]
        print(f"whole run, imports included: torchdistill / replay {ratio:.2f}")
    if given.json:
        given.json.write_text(
            json.dumps({"job": given.job, "trainable": given.trainable, "arms": arms}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
