"""Stored content that has changed: it is made again, or refused by the file's name, and never used without a word."""

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.doors import run_door
from faults.workload import RUN, TRAIN, Reference, Trial

_STORED = (
    "replay/*/*.bin",
    "replay/*/view-*.json",
    "replay/*/key.json",
    "decoded/*.npy",
    "decoded/*.json",
    "teachers/*/teacher.safetensors",
    "teachers/*/summary.json",
    "teachers/*/config.yaml",
)
_OF_A_RUN = ("run/checkpoints/last.ckpt", "run/checkpoints/best.ckpt", "run/metrics.csv", "run/config.yaml")
_EVALUATED = (
    "run/student.safetensors",
    "run/predictions.npz",
    "run/summary.json",
    "run/sums.json",
    "teachers/*/teacher.safetensors",
)


def damages(reference: Reference, chance: random.Random, count: int) -> Iterator[Trial]:
    """A flipped bit, a cut, an emptied file, a stretch of zeros; in what a new run, a resumed run, evaluate use."""
    hurts = {"a flipped bit in": _flip, "cut:": _cut, "emptied:": _emptied, "zeros in": _zeros}
    uses = {"new run": (_STORED, _new_run), "resume": (_OF_A_RUN, _resumed), "evaluate": (_EVALUATED, _evaluated)}
    for number in range(count):
        use = list(uses)[0 if number % 2 else chance.randrange(1, 3)]
        pattern, hurt, seed = chance.choice(uses[use][0]), chance.choice(list(hurts)), chance.randrange(1 << 30)
        run = uses[use][1](
            reference, pattern, lambda path, hurt=hurt, seed=seed: hurts[hurt](path, random.Random(seed))
        )
        yield Trial("damage", f"{hurt} {pattern}, then {use}", run)


def _done(hurt: Callable[[Path, random.Random], None], seed: int, path: Path) -> None:
    hurt(path, random.Random(seed))


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(1, max(2, path.stat().st_size))])


def _emptied(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def _zeros(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = chance.randrange(len(content))
    content[start : start + 64] = bytes(len(content[start : start + 64]))
    path.write_bytes(content)


Hurt = Callable[[Path], None]


def _hurt(folder: Path, pattern: str, hurt: Hurt) -> Path:
    path = sorted(folder.glob(pattern))[0]
    hurt(path)
    return path


def _told(text: str, path: Path) -> bool:
    """Whether a message names the file, or the folder of a store or a teacher that it lies in."""
    return path.name in text or path.parent.name in text


def _new_run(reference: Reference, pattern: str, hurt: Hurt) -> Callable[[Path], str]:
    """A run that finds teacher, store and decoded pictures there."""

    def run(folder: Path) -> str:
        reference.copy(folder)
        path = _hurt(folder, pattern, hurt)
        done = run_door("train", [*TRAIN, "hydra.run.dir=new"], folder)
        if done.broken or done.code == 0:
            return done.broken or reference.difference(folder, "new")
        return "" if done.code == 2 and _told(done.text, path) else f"exit {done.code}: {done.text.strip()[-300:]}"

    return run


def _resumed(reference: Reference, pattern: str, hurt: Hurt) -> Callable[[Path], str]:
    """A run that was killed in its last epoch, as far as its folder shows."""

    def run(folder: Path) -> str:
        reference.copy(folder)
        shutil.rmtree(folder / "run")
        for share in (0.75, 0.6, 0.5, 0.4):
            run_door("train", RUN, folder, interruption=(share * reference.seconds, signal.SIGKILL))
            if (folder / "run" / "checkpoints" / "last.ckpt").is_file():
                break
        if not list(folder.glob(pattern)) or (folder / "run" / "summary.json").is_file():
            return ""  # it was done, or not begun
        path = _hurt(folder, pattern, hurt)
        done = run_door("train", RUN, folder)
        if done.broken or done.code == 0:
            return done.broken or reference.difference(folder)
        return "" if done.code == 2 and _told(done.text, path) else f"exit {done.code}: {done.text.strip()[-300:]}"

    return run


def _evaluated(reference: Reference, pattern: str, hurt: Hurt) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        reference.copy(folder)
        whole = run_door("evaluate", ["run=run", "output=whole.json"], folder)
        path = _hurt(folder, pattern, hurt)
        done = run_door("evaluate", ["run=run", "output=now.json"], folder)
        if done.broken or whole.broken:
            return done.broken or whole.broken
        if done.code == 0:
            same = (folder / "whole.json").read_text() == (folder / "now.json").read_text()
            return "" if same or path.name == "summary.json" else f"wrong result: {path.name} was used"
        return "" if done.code == 2 and _told(done.text, path) else f"exit {done.code}: {done.text.strip()[-300:]}"

    return run
