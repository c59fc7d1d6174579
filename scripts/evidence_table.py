"""Every method on MNIST with one budget: test accuracy of the checkpoint that validation chose, against scratch.

    python scripts/evidence_table.py [--seeds 3] [--epochs 20] [--limit 10000] [teacher.checkpoint=... dataset.root=...]

Losses on logits and on last features: mnist_cnn teaches mnist_mlp. Losses on feature maps: mnist_cnn teaches
mnist_small_cnn. deit: mnist_cnn teaches a small transformer with a distillation head. subclass: mnist_cnn with 3
subclasses of each class, trained with `spread`, teaches mnist_mlp with as many. kd, scratch and label smoothing are in
all four. All have the same images, augmented views, epochs and optimizer, and the settings of conf/loss/, chosen on
other data and not tuned here; only warm-ups are shortened in the field's proportion (so many of 240 epochs). Everything
runs in this process, seed by seed. A run that is there already
(in --folder) is not run again, one that was killed goes on, and one that fails is shown and keeps no other from
running. The teacher's answers are stored for a seed's runs and removed after them.

The tables are printed and written to <folder>/evidence.md. Validation and test are means over the seeds, test with the
lowest and the highest. The difference to scratch is taken seed by seed on the same test samples, with a 95 % interval
over new seeds and new samples (kdistill.evidence.spread); the verdict is Holm's over all rows of all tables.
"""

import argparse
import contextlib
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.config.key_identity import SAME_COMPARISON, that_count
from kdistill.config.paths import conf_dir
from kdistill.config.tree import as_written
from kdistill.evidence.measures import MEASURES, resampled, resamplings
from kdistill.evidence.spread import Estimate, estimate
from kdistill.evidence.verdict import Question, Verdict, verdicts
from kdistill.runs.finished import FinishedRun, check_fit, read_run
from kdistill.runs.folder import RunFolder

CONTROLS = {"scratch": "ce", "label smoothing": "label_smoothing"}
STUDENTS = ("mnist_mlp", "mnist_small_cnn", "vit", "mnist_mlp_subclasses")
ON_MAPS = ("hint", "at", "nst", "vid", "ofd", "reviewkd", "simkd", "ofa")
ON_TOKENS, ON_SUBCLASSES = ("deit",), ("subclass",)
LEFT_OUT = {
    "sdd": "needs networks that end in the mean of maps",
    "spread": "trains the teacher of subclass",
    "vote_bins": "needs annotators' votes",
}
_VIT = (
    "student=timm",
    "student.name=deit_tiny_distilled_patch16_224",
    "+student.img_size=28",
    "+student.patch_size=4",
    "+student.embed_dim=48",
    "+student.depth=4",
    "+student.num_heads=3",
)
_SPREAD = ("+teacher.subclasses=3", "teacher.recipe_overrides=['loss=spread']")
_FIELD_EPOCHS = 240  # that the warm-ups of conf/loss/ were meant for
_DRAWS = 2000

Runs = dict[str, list[FinishedRun]]  # by method


@dataclass(frozen=True)
class Group:
    """Methods that teach one student; `views` as in `dataset.views`, `teacher` overrides those of the command line."""

    student: str
    methods: tuple[str, ...]
    views: int
    overrides: tuple[str, ...]
    teacher: tuple[str, ...] | None = None


def groups(given: argparse.Namespace) -> list[Group]:
    losses = sorted(path.stem for path in Path(conf_dir(), "loss").glob("*.yaml"))
    losses = [name for name in losses if name not in (*CONTROLS.values(), *LEFT_OUT, "kd")]
    wanted = [name for name in losses if given.only is None or name in given.only.split(",")]
    methods: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name in wanted:
        kind = next((kind for kind in (ON_MAPS, ON_TOKENS, ON_SUBCLASSES) if name in kind), ())
        methods[kind] = (*methods.get(kind, (*CONTROLS, "kd")), name)
    halves = ("student=mnist_small_cnn", "replay.dtype=fp16")  # a teacher's maps fill gigabytes
    divided = ("student=mnist_mlp", "+student.subclasses=3")
    found = [
        Group("mnist_mlp", methods.get((), ()), given.views, ("student=mnist_mlp",)),
        Group("mnist_small_cnn", methods.get(ON_MAPS, ()), given.map_views, halves),
        Group("vit", methods.get(ON_TOKENS, ()), given.views, _VIT),
        Group("mnist_mlp_subclasses", methods.get(ON_SUBCLASSES, ()), given.views, divided, _SPREAD),
    ]
    return [group for group in found if group.methods and given.student in (None, group.student)]


def config_of(group: Group, method: str, seed: int, given: argparse.Namespace) -> DictConfig:
    """The `train` config of one run."""
    loss = CONTROLS.get(method, method)
    others = [word for word in given.overrides if not word.startswith("teacher.")]
    teacher = [word for word in given.overrides if word not in others] if group.teacher is None else group.teacher
    config = compose_config(
        [
            f"+experiment={'mnist_scratch' if method in CONTROLS else 'mnist_distill'}",
            f"loss={loss}",
            f"seed={seed}",
            f"dataset.limit={given.limit}",
            f"dataset.views={group.views}",
            f"trainer.max_epochs={given.epochs}",
            "trainer.progress_bar=false",
            f"replay.cache={given.folder / 'replay'}",
            *group.overrides,
            *others,
            *(() if method in CONTROLS else teacher),
        ]
    )
    for key in ("warmup_epochs", "reversal_epochs"):
        if key in config.loss:
            config.loss[key] = max(1, round(config.loss[key] * given.epochs / _FIELD_EPOCHS))
    return config


def train(path: Path, config: DictConfig, log: Path) -> str:
    """One run, in its folder; what it says goes to a file. Returns what became of it in a few words."""
    folder = RunFolder(path)
    if folder.finished:
        return f"{folder.record().test['accuracy']:.2%}, finished before"
    from kdistill.training.run import run

    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with log.open("w") as file, contextlib.redirect_stdout(file):
        found = run(config, path)
    seconds = found.time_s
    spent = f"{time.perf_counter() - started:.0f} s (fit {seconds.fit:.0f}, replay {seconds.replay:.0f})"
    return f"{found.test['accuracy']:.2%}, {spent}"


def check_settings(path: Path, config: DictConfig) -> None:
    """Refuses a finished run of other settings; a key that it lacks is one of a newer kdistill.

    Raises:
        UserError: there is one.
    """
    before, now = (that_count(as_written(one), SAME_COMPARISON) for one in (RunFolder(path).config(), config))
    for key in before.keys() & now.keys():
        if before[key] != now[key]:
            raise UserError(f"{path} was run with {key}={before[key]}, not {now[key]}; give another --folder")


def place(group: Group, method: str, seed: int, given: argparse.Namespace) -> Path:
    """The folder of a run."""
    return given.folder / f"{group.student}-{method.replace(' ', '_')}-seed{seed}"


def train_all(group: Group, given: argparse.Namespace) -> list[str]:
    """Trains what is missing of a group; returns what failed, in words."""
    failed = []
    for seed in range(given.seeds):
        for number, method in enumerate(group.methods, start=1):
            path = place(group, method, seed, given)
            log = given.folder / "logs" / f"{path.name}.log"
            try:
                said = train(path, config_of(group, method, seed, given), log)
            except Exception as error:  # whatever it is: it is shown, and the other methods have their turn
                said = f"FAILED: {error or type(error).__name__}"
                failed.append(f"{group.student}, {method}, seed {seed}: {error}")
                log.parent.mkdir(parents=True, exist_ok=True)
                with log.open("a") as file:
                    traceback.print_exc(file=file)
            print(f"[seed {seed + 1}/{given.seeds}, {number}/{len(group.methods)}] {path.name}: {said}", flush=True)
        shutil.rmtree(given.folder / "replay", ignore_errors=True)  # the next seed has views of its own
    return failed


def finished_runs(group: Group, given: argparse.Namespace) -> Runs:
    places = {m: [place(group, m, seed, given) for seed in range(given.seeds)] for m in group.methods}
    runs = {m: [read_run(path) for path in paths if RunFolder(path).finished] for m, paths in places.items()}
    return {method: found for method, found in runs.items() if found}


def effects(runs: Runs) -> dict[str, Estimate]:
    """Test accuracy of each method less that of scratch, over the seeds that both have."""
    weights = resamplings(len(runs["scratch"][0].test["target"]), draws=_DRAWS, seed=0)

    def draw(run: FinishedRun) -> np.ndarray:
        return resampled(MEASURES["accuracy"], run.test["logits"], run.test["target"], weights)

    drawn = {method: {run.seed: draw(run) for run in found} for method, found in runs.items()}
    scratch, result = drawn.pop("scratch"), {}
    for method, values in drawn.items():
        if seeds := sorted(values.keys() & scratch.keys()):
            differences = np.stack([values[seed] - scratch[seed] for seed in seeds], axis=1)
            result[method] = estimate(differences[0], differences[1:])
    return result


def table(group: Group, runs: Runs, answers: Mapping[str, Verdict]) -> str:
    """The Markdown table of a group: the teacher, then the methods from the best mean on test."""
    lines = [
        "| method | seeds | validation | test | against scratch, pp | p (Holm) | verdict |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    facts = next((run.record.teacher for found in runs.values() for run in found if run.record.teacher), None)
    if facts is not None:
        lines.append(f"| teacher {facts.label} | | {facts.val['accuracy']:.2%} | {facts.test['accuracy']:.2%} | | | |")
    means = {method: mean(run.record.test["accuracy"] for run in found) for method, found in runs.items()}
    for method in sorted(means, key=means.__getitem__, reverse=True):
        found = [run.record for run in runs[method]]
        validation = f"{mean(one.val['accuracy'] for one in found):.2%}"
        cells = [method, str(len(found)), validation, _spread([one.test["accuracy"] for one in found])]
        lines.append(f"| {' | '.join([*cells, *_against(answers.get(method))])} |")
    return "\n".join(lines)


def _against(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["", "", ""]
    effect = verdict.question.effect
    interval = f"{100 * effect.mean:+.2f} ({100 * effect.low:+.2f} .. {100 * effect.high:+.2f})"
    word = f"**{verdict.word}**" if verdict.word != "inconclusive" else verdict.word
    below = ", below scratch" if effect.mean < 0 else ""
    return [interval, f"{verdict.p_holm:.3f}".removeprefix("0"), word + below]


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2%} ({100 * min(values):.2f} to {100 * max(values):.2f})"


def report(found: Mapping[Group, Runs], failed: Sequence[str], given: argparse.Namespace) -> str:
    """All tables, and what a reader must know of them."""
    tested = {group: effects(runs) for group, runs in found.items() if "scratch" in runs}
    questions = [
        Question(f"{group.student}/{method}", "accuracy", effect, effect.p)
        for group, methods in tested.items()
        for method, effect in methods.items()
    ]
    answers = {verdict.question.pair: verdict for verdict in verdicts(questions)}
    parts = []
    for group, runs in found.items():
        budget = f"{given.limit:,} training images, {group.views} views, {given.epochs} epochs, {given.seeds} seeds"
        own = {method: answers[pair] for method in runs if (pair := f"{group.student}/{method}") in answers}
        parts += [f"**{group.student}**: {budget}", table(group, runs, own)]
    notes = [f"- not here: {name}, {reason}" for name, reason in LEFT_OUT.items()]
    if given.seeds == 1:
        notes.insert(0, "- one seed: intervals and verdicts are about these very networks, not about the methods")
    return "\n\n".join([*parts, "\n".join([*notes, *(f"- failed: {line}" for line in failed)])]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="for all runs; those of the teacher for the ones that have it")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--limit", type=int, default=10_000, help="training images")
    parser.add_argument("--views", type=int, default=4, help="augmented views of each, for mnist_mlp")
    parser.add_argument("--map-views", type=int, default=2, help="the same for mnist_small_cnn: maps take gigabytes")
    parser.add_argument("--only", help="losses beside scratch, label smoothing and kd, with commas between")
    parser.add_argument("--student", choices=STUDENTS, help="one of the tables")
    parser.add_argument("--folder", type=Path, default=Path("outputs/evidence"), help="where the runs go")
    given = parser.parse_intermixed_args()
    given.folder = given.folder.resolve()
    failed: list[str] = []
    found: dict[Group, Runs] = {}
    wanted = [
        (group, method, seed) for group in groups(given) for method in group.methods for seed in range(given.seeds)
    ]
    for group, method, seed in wanted:
        if RunFolder(path := place(group, method, seed, given)).finished:
            check_settings(path, config_of(group, method, seed, given))
    for group in groups(given):
        failed += train_all(group, given)
        runs = finished_runs(group, given)
        if runs:
            check_fit(runs)
            found[group] = runs
    text = report(found, failed, given)
    (given.folder / "evidence.md").write_text(text)
    print(text)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
