"""How a network trains fastest on this machine: precision, memory format and compilation, by a short measured probe."""

import copy
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from kdistill.base.checked import read_note, write_note
from kdistill.base.storage import digest, one_at_a_time
from kdistill.building.device import autocast, choose_channels_last, choose_precision, has_bfloat16
from kdistill.config.trainer_arguments import epochs_of
from kdistill.data.module import ArrayDataModule
from kdistill.models.faster import make_faster, set_memory_format

log = logging.getLogger(__name__)

_PROBE_STEPS, _PROBE_SECONDS = 12, 1.5  # per mode, after one step that is not counted
_WORTH_IT = 0.95  # another mode than the default must take at most this share of its time
_MIN_STEPS = 200  # a shorter training is over before a probe pays
_MIN_SECONDS_TO_COMPILE = 600.0
_COMPILATIONS = 5  # for training, its smaller last batch, validation and its last batch, and the final figures


@dataclass(frozen=True)
class ComputeMode:
    """How to train.

    Attributes:
        precision: Lightning's name, 32-true or bf16-mixed.
        channels_last: memory format of images and weights.
        compile: torch.compile's mode, or None.
    """

    precision: str
    channels_last: bool
    compile: str | None = None

    def __str__(self) -> str:
        parts = [self.precision, "channels_last" if self.channels_last else "", "compiled" if self.compile else ""]
        return ", ".join(part for part in parts if part)


def tune(config: DictConfig, network: nn.Module, data: ArrayDataModule, device: str) -> ComputeMode:
    """How a run trains its network: as its config says; what that leaves to `auto`, as is fastest here."""
    trainer = config.trainer
    default = ComputeMode(
        choose_precision(trainer.precision, device), choose_channels_last(trainer.channels_last, network)
    )
    if trainer.tune == "off":
        return default
    precisions = [default.precision]
    if trainer.precision == "auto" and has_bfloat16(device):
        precisions = ["bf16-mixed", "32-true"]
    formats = [default.channels_last]
    if trainer.channels_last == "auto" and default.channels_last:
        formats = [True, False]
    others = [ComputeMode(precision, form) for precision in precisions for form in formats]
    compiled = [ComputeMode(default.precision, default.channels_last, mode) for mode in _compile_modes(device)]
    return tuned(
        network,
        default,
        [*others, *compiled],
        batch_shape=(data.serving.batch_size, *data.arrays.image_shape),
        num_classes=data.arrays.num_classes,
        steps=data.train_dataloader().steps * epochs_of(config),
        device=device,
        cache=Path(trainer.tune_cache),
    )


def epoch_seconds(network: nn.Module, mode: ComputeMode, data: ArrayDataModule, device: str) -> float:
    """Roughly how long an epoch will take, from a few steps of a copy and from reading a few batches."""
    loader, shape = data.train_dataloader(), data.arrays.image_shape
    size = min(data.serving.batch_size, len(data.arrays.train))
    seconds = _measure(network, replace(mode, compile=None), (size, *shape), data.arrays.num_classes, device, steps=3)[
        1
    ]

    def read() -> object:
        return data.prepare(data.read_for(torch.arange(size), data.view(0)).to(device), view=data.view(0))

    _, *reading = [_seconds_of(read, device) for _ in range(4)]  # the first makes kernels and tables ready
    return loader.steps * (seconds + statistics.mean(reading))


def _compile_modes(device: str) -> tuple[str, ...]:
    return ("default", "reduce-overhead") if device == "cuda" else ("default",)  # the latter: CUDA graphs


def tuned(
    network: nn.Module,
    default: ComputeMode,
    others: Sequence[ComputeMode],
    *,
    batch_shape: Sequence[int],
    num_classes: int,
    steps: int,
    device: str,
    cache: Path,
) -> ComputeMode:
    """The fastest mode to train a network in, measured now or found in the cache.

    A mode is measured by whole training steps (forward, backward, optimizer) of a copy of the network on random images.
    The default stays unless another is at least 5 % faster. Compiled modes are tried for long trainings only, and their
    compile time counts.

    Args:
        network: as training starts; it is not changed.
        default: what is taken without a probe.
        others: what else is allowed.
        batch_shape: (N, C, H, W) of a training step.
        num_classes: K.
        steps: how many the training has.
        device: cpu or cuda.
        cache: folder of what was measured before, by machine and network.

    Returns:
        The mode to train in.
    """
    modes = [default, *(mode for mode in others if mode != default)]
    if len(modes) == 1 or steps < _MIN_STEPS or not any(p.requires_grad for p in network.parameters()):
        return default
    key = _key(network, modes, batch_shape, device, steps)
    file = cache / f"{key[:24]}.json"
    # Runs that start together train in one mode; so does one that is killed and goes on from where it was.
    with one_at_a_time(file.with_suffix(".lock"), waiting="tune: another run is measuring here; waiting for it"):
        if (found := _measured_before(file, modes)) is not None:
            return found
        chosen, step_ms = _fastest(network, default, modes, batch_shape, num_classes, steps, device)
        write_note(file, {"chosen": asdict(chosen), "step_ms": step_ms})
    return chosen


def _measured_before(file: Path, modes: Sequence[ComputeMode]) -> ComputeMode | None:
    if not file.is_file():
        return None
    note = read_note(file) or {}
    found = next((mode for mode in modes if asdict(mode) == note.get("chosen")), None)
    if found is None:
        log.warning("tune: %s is damaged: measuring again", file)
        return None
    log.info("tune: %s, measured before on this machine (%s)", found, file)
    return found


def _fastest(
    network: nn.Module,
    default: ComputeMode,
    modes: Sequence[ComputeMode],
    batch_shape: Sequence[int],
    num_classes: int,
    steps: int,
    device: str,
) -> tuple[ComputeMode, dict[str, float]]:
    """The mode that this machine is fastest in now, and the milliseconds that a step takes in each."""
    seconds: dict[ComputeMode, float] = {}
    costs: dict[ComputeMode, float] = {}
    for mode in modes:
        if mode.compile and min(seconds.values()) * steps < _MIN_SECONDS_TO_COMPILE:
            continue
        costs[mode], seconds[mode] = _measure(network, mode, batch_shape, num_classes, device)
    totals = {mode: _COMPILATIONS * costs[mode] * bool(mode.compile) + seconds[mode] * steps for mode in seconds}
    best = min(totals, key=totals.__getitem__)
    chosen = best if totals[best] <= _WORTH_IT * totals[default] else default
    shown = "; ".join(f"{mode} {1000 * value:.3g} ms" for mode, value in seconds.items())
    log.info("tune: %s (a step: %s)", chosen, shown)
    return chosen, {str(mode): 1000 * value for mode, value in seconds.items()}


def _measure(
    network: nn.Module,
    mode: ComputeMode,
    batch_shape: Sequence[int],
    num_classes: int,
    device: str,
    steps: int = _PROBE_STEPS,
) -> tuple[float, float]:
    """Seconds of the first training step, compilation included, and the median of those after it."""
    memory_format = torch.channels_last if mode.channels_last else torch.contiguous_format
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device == "cuda" else ()):
        trained = copy.deepcopy(network).to(device)
        set_memory_format(trained, memory_format)
        make_faster(trained, precision=mode.precision, device=device)
        if mode.compile:
            trained.compile(mode=mode.compile)
        image = torch.rand(*batch_shape, device=device).contiguous(memory_format=memory_format)
        target = torch.randint(num_classes, (batch_shape[0],), device=device)
        optimizer = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], lr=0.0)
        first = _step(trained, image, target, optimizer, mode, device)
        times: list[float] = []
        while len(times) < steps and sum(times) < _PROBE_SECONDS:
            times.append(_step(trained, image, target, optimizer, mode, device))
    return first, statistics.median(times)


def _step(
    network: nn.Module, image: Tensor, target: Tensor, optimizer: torch.optim.Optimizer, mode: ComputeMode, device: str
) -> float:
    def step() -> None:
        optimizer.zero_grad()
        with autocast(mode.precision, device):
            loss = F.cross_entropy(network(image).float(), target)
        loss.backward()
        optimizer.step()

    return _seconds_of(step, device)


def _seconds_of(work: Callable[[], object], device: str) -> float:
    """How long some work takes, until the device has done it."""
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _key(network: nn.Module, modes: Sequence[ComputeMode], batch_shape: Sequence[int], device: str, steps: int) -> str:
    machine = {
        "device": torch.cuda.get_device_name() if device == "cuda" else _cpu(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    trains = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    content = [machine, str(network), trains, [asdict(mode) for mode in modes], list(batch_shape), steps]
    return digest(content)


def _cpu() -> str:
    """The processor's model, as the kernel names it where it does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} x {os.cpu_count()}"
