"""Milliseconds of a training step with every loss of conf/loss/, beside plain kd's.

    python scripts/bench_losses.py [--losses kd dkd] [--repeats 15] [--markdown] [--json figures.json]

A step is what a replayed run does: the student's forward pass on a batch of 256 random images, the loss with the
teacher's answers given, its gradient, and the optimizer; mnist_cnn teaches mnist_small_cnn, in float32, by the module
that trains in a run. Other networks:
--pair student=timm student.name=resnet10t teacher=timm teacher.name=resnet34 --shape 3 64 64 --batch 64. The losses
take turns, a few steps each, so that whatever else the machine does meets all alike;
the figures are medians over the turns. `loss` is the loss alone, with its gradient and that of what it learns; `step`
less `loss` is the student's own. The student is tiny and its teacher's maps are large: beside a larger student the same
loss is a smaller part of a step, so `x kd` is the worst case. A loss that needs other networks is measured on those,
beside kd on the same.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.building.device import choose_channels_last
from kdistill.building.instantiate import build, network_label
from kdistill.building.losses import build_loss
from kdistill.building.networks import build_bare_network
from kdistill.config.compose import compose_config
from kdistill.config.paths import conf_dir
from kdistill.data.batch import Batch
from kdistill.losses.base import DistillBatch
from kdistill.models.taps import tapped
from kdistill.modules.distill import DistillModule
from kdistill.modules.layers import bind_loss
from kdistill.modules.teacher import TeacherAnswers
from kdistill.training.allocator import settle_process

KD, MARK = "kd", 1.5
CLASSES, IMAGES = 10, 55_000
STEPS = 3  # of a turn
PAIR = ("student=mnist_small_cnn", "teacher=mnist_cnn")
# Losses that these two networks can't show, and the networks that can.
_TRANSFORMER = ("img_size=28", "patch_size=7", "embed_dim=24", "depth=1", "num_heads=2")
_SUBCLASSES = (*PAIR, "+student.subclasses=3", "+teacher.subclasses=3")
OTHER_PAIRS = {
    "deit": (
        "student=timm",
        "student.name=deit_tiny_distilled_patch16_224",
        *(f"+student.{word}" for word in _TRANSFORMER),
        "teacher=mnist_cnn",
    ),
    "subclass": _SUBCLASSES,
    "spread": _SUBCLASSES,
}
LEFT_OUT = {
    "sdd": "needs networks that end in the mean of maps",
    "vote_bins": "counts annotators' votes, which digits have not",
}
OPTIONS = ("kd,standardize=true", "mlkd,second_view=true")  # that cost something
# Losses that are dearer than MARK because of what they compute, beside a student of .4 MFLOPs an image.
FORCED = {
    "at": "reads the teacher's maps, all of them",
    "crd": "products with 2 x 16,384 negatives",
    "hint": "predicts the teacher's maps",
    "mlkd,second_view=true": "the student sees two views",
    "nst": "products of all channels' maps, beside reading the teacher's",
    "ofa": "exits of convolutions that train",
    "ofd": "predicts and compares the teacher's channels at each position",
    "reviewkd": "predicts the teacher's maps by 3 x 3 convolutions",
    "rkd": "angles of every three samples of a batch",
    "vid": "predicts the teacher's maps by three layers of convolutions",
}


@dataclass
class Entry:
    """One loss on one pair: a whole step, and the loss alone; with the seconds that each took in each turn."""

    name: str
    pair: tuple[str, ...]
    step: Callable[[], None]
    loss: Callable[[], None]
    step_s: list[float]
    loss_s: list[float]

    @property
    def step_ms(self) -> float:
        return 1000 * statistics.median(self.step_s)

    @property
    def loss_ms(self) -> float:
        return 1000 * statistics.median(self.loss_s)


def prepare(name: str, pair: tuple[str, ...], shape: tuple[int, ...], samples: int) -> Entry:
    """A student, its loss and its optimizer, ready to step on one batch of so many images of shape (C, H, W).

    Raises:
        UserError: the loss can't be computed with these networks.
    """
    config = compose_config(["+experiment=mnist_distill", *pair])
    file, *changed = name.split(",")
    section = OmegaConf.merge(OmegaConf.load(Path(conf_dir(), "loss", f"{file}.yaml")), OmegaConf.from_dotlist(changed))
    assert isinstance(section, DictConfig)
    torch.manual_seed(0)
    networks = {
        kind: build_bare_network(config[kind], kind, num_classes=CLASSES, image_shape=shape)
        for kind in ("student", "teacher")
    }
    teacher = networks["teacher"].eval()
    loss = build_loss(section, [IMAGES // CLASSES] * CLASSES, IMAGES)
    names = {f"{kind}_name": f"{kind}={network_label(config[kind])}" for kind in networks}
    bind_loss(loss, networks["student"], teacher, shape, **names)
    batch = Batch(
        image=torch.rand(samples, *shape),
        target=torch.randint(CLASSES, (samples,)),
        index=torch.randperm(IMAGES)[:samples],
    )
    if loss.views > 1:
        batch = replace(batch, second=batch)
    with torch.no_grad(), tapped(teacher, loss.teacher_layers, owner="teacher") as features:
        answers = TeacherAnswers(teacher(batch.image), features)
    module = DistillModule(
        networks["student"],
        teacher=lambda _: answers,
        loss=loss,
        optimizer=build(config.optimizer, "optimizer"),
        mean=[0.5] * shape[0],
        std=[0.5] * shape[0],
        channels_last=choose_channels_last("auto", networks["student"]),
    )
    optimizer = module.configure_optimizers()

    def minimise(seen: DistillBatch) -> None:
        total = loss.total(loss.values(seen))
        optimizer.zero_grad()
        total.backward()

    def step() -> None:
        minimise(module.loss_input(batch))
        optimizer.step()

    seen = module.loss_input(batch)
    return Entry(name, pair, step, lambda: minimise(cut_off(seen)), [], [])


def cut_off(seen: DistillBatch) -> DistillBatch:
    """The same for a loss, and the gradient ends at what the student gave."""
    second = seen.distillation_logits
    return replace(
        seen,
        student_logits=_leaf(seen.student_logits),
        student_features={layer: _leaf(value) for layer, value in seen.student_features.items()},
        distillation_logits=None if second is None else _leaf(second),
        second=None if seen.second is None else cut_off(seen.second),
    )


def _leaf(value: torch.Tensor) -> torch.Tensor:
    return value.detach().requires_grad_()


def measure(entries: Sequence[Entry], turns: int) -> None:
    """All of them in turn, again and again; the first turn warms up and does not count."""
    for turn in range(turns + 1):
        for entry in entries:
            for work, seconds in ((entry.step, entry.step_s), (entry.loss, entry.loss_s)):
                started = time.perf_counter()
                for _ in range(STEPS):
                    work()
                if turn:
                    seconds.append((time.perf_counter() - started) / STEPS)


def figures(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Plain data of each loss, the cheapest first."""
    base = {entry.pair: entry.step_ms for entry in entries if entry.name == KD}
    rows = [
        {
            "loss": entry.name,
            "pair": list(entry.pair),
            "step_ms": entry.step_ms,
            "loss_ms": entry.loss_ms,
            "times_kd": entry.step_ms / base[entry.pair],
        }
        for entry in entries
    ]
    return sorted(rows, key=lambda row: row["times_kd"])


def table(rows: Sequence[dict[str, Any]], usual: tuple[str, ...], *, markdown: bool) -> str:
    pairs = list(dict.fromkeys([usual, *(tuple(row["pair"]) for row in rows)]))
    notes = [f"[{number}] {' '.join(pair)}" for number, pair in enumerate(pairs) if number]
    lines = [["loss", "step ms", "x kd", "loss ms", "share", ""]]
    for row in rows:
        pair = tuple(row["pair"])
        name = row["loss"] if pair == usual else f"{row['loss']} [{pairs.index(pair)}]"
        dear = row["times_kd"] > MARK
        mark = f"> {MARK} x: {FORCED.get(row['loss'], 'not forced by the maths')}" if dear else ""
        share = f"{row['loss_ms'] / row['step_ms']:.0%}"
        lines.append([name, f"{row['step_ms']:.2f}", f"{row['times_kd']:.2f}", f"{row['loss_ms']:.2f}", share, mark])
    if markdown:
        rule = "|---|---:|---:|---:|---:|---|"
        shown = [f"| {' | '.join(line)} |" for line in lines]
        return "\n".join([shown[0], rule, *shown[1:], "", *notes])
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    aligned = [
        "  ".join(cell.rjust(widths[n]) if 0 < n < 5 else cell.ljust(widths[n]) for n, cell in enumerate(line)).rstrip()
        for line in lines
    ]
    return "\n".join([*aligned, *notes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", help="names of conf/loss/, or kd,temperature=8; all by default")
    parser.add_argument("--pair", nargs="+", default=PAIR, metavar="KEY=VALUE", help="student and teacher")
    parser.add_argument("--shape", nargs=3, type=int, default=(1, 28, 28), metavar=("C", "H", "W"))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=15, help="turns of every loss")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    every = sorted([path.stem for path in Path(conf_dir(), "loss").glob("*.yaml")] + list(OPTIONS))
    names = [name for name in given.losses or every if name not in LEFT_OUT]
    usual, shape = tuple(given.pair), tuple(given.shape)
    others = OTHER_PAIRS if usual == PAIR else {}
    wanted = [(name, others.get(name, usual)) for name in names]
    wanted = list(dict.fromkeys([*((KD, pair) for _, pair in wanted), *wanted]))
    settle_process("cpu")
    entries, refused = [], [f"{name}: left out, {reason}" for name, reason in LEFT_OUT.items()]
    for name, pair in wanted:
        try:
            entries.append(prepare(name, pair, shape, given.batch))
        except UserError as reason:
            refused.append(f"{name}: not measured, {reason}")
    measure(entries, given.repeats)
    rows = figures(entries)
    print(f"batch {given.batch} of {shape}, float32, {torch.get_num_threads()} threads; {', '.join(usual)}")
    print("\n".join([table(rows, usual, markdown=given.markdown), *refused]))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
