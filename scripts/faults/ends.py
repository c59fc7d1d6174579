"""Kills and signals at random moments: nothing is lost, and the same command goes on to the same result."""

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.doors import run_door
from faults.workload import RUN, Reference, Trial, finish, make_pictures, moments

_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
_READERS = {
    "compare": (["runs=[run]", "output=out"], "out/comparison.json"),
    "report": (["run"], "run/report.html"),
    "evaluate": (["run=run", "output=figures.json"], "figures.json"),
}


def kills(reference: Reference, chance: random.Random, count: int) -> Iterator[Trial]:
    """kill -9 of a training (decoding, teacher, store, student) and of what writes about it."""
    for number, moment in zip(range(count), moments(reference, chance), strict=False):
        if number % 5 == 4:
            door = list(_READERS)[number // 5 % len(_READERS)]
            yield Trial("kill", f"{door} after {moment / 4:.2f} s", _reader(reference, door, moment / 4))
        else:
            again = chance.random() < 0.3
            yield Trial("kill", f"train after {moment:.2f} s", _train(reference, moment, signal.SIGKILL, again))


def signals(reference: Reference, chance: random.Random, count: int) -> Iterator[Trial]:
    """Signals that ask a training to end."""
    for number, moment in zip(range(count), moments(reference, chance), strict=False):
        sent = list(_CODES)[number % len(_CODES)]
        yield Trial("signal", f"{sent.name} after {moment:.2f} s", _train(reference, moment, sent, again=False))


def _train(reference: Reference, moment: float, sent: signal.Signals, again: bool) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        make_pictures(folder)
        for _ in range(1 + again):
            done = run_door("train", RUN, folder, interruption=(moment, sent))
            if sent is not signal.SIGKILL and (done.broken or done.code not in (0, _CODES[sent])):
                return done.broken or f"exit code {done.code} instead of {_CODES[sent]}: {done.text.strip()[-300:]}"
            if sent is not signal.SIGKILL and done.code and (folder / "run" / "summary.json").is_file():
                return "says that it was ended, and is finished"
        return finish(folder, reference) or _leftovers(folder)

    return run


def _leftovers(folder: Path) -> str:
    """Files that a killed writer has begun and nobody needs."""
    places = ("run", "teachers", "replay", "decoded")
    temporary = [path for place in places for path in (folder / place).rglob(".*") if _is_temporary(path)]
    return f"left over: {', '.join(str(path.relative_to(folder)) for path in temporary)}" if temporary else ""


def _is_temporary(path: Path) -> bool:
    return path.is_file() and not path.name.endswith(("lock", ".log")) and path.stat().st_size > 0


def _reader(reference: Reference, door: str, moment: float) -> Callable[[Path], str]:
    words, written = _READERS[door]

    def run(folder: Path) -> str:
        reference.copy(folder)
        whole = run_door(door, words, folder)
        if whole.broken or whole.code:
            return whole.broken or f"{door} ends with {whole.code}: {whole.text.strip()[-300:]}"
        expected = (folder / written).read_bytes()
        place = folder / written.split("/")[0]
        shutil.rmtree(place) if place.name == "out" else (folder / written).unlink()
        run_door(door, words, folder, interruption=(moment, signal.SIGKILL))
        if (folder / written).is_file() and (folder / written).read_bytes() != expected:
            return f"wrong result: {written} after the kill is neither whole nor absent"
        done = run_door(door, words, folder)
        same = (folder / written).is_file() and (folder / written).read_bytes() == expected
        return done.broken or ("" if same else f"wrong result: {written} differs after a kill")

    return run
