"""Files that are not what they should be: every door answers in words, or does without them."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from faults.doors import run_door
from faults.workload import RUN, TRAIN, Reference, Trial

_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1e400, float("nan"), 10**30, "", "x", "x" * 5000, "\u202e", "a\nb", "[/red]", "<script>",
    [], {}, [[]], [1] * 300, {"a": {"b": None}}, "../..", "$(touch canary)", "\x1b[2J",
)  # fmt: skip
_READERS = {
    "report": ["run"],
    "compare": ["runs=[run]", "output=out"],
    "evaluate": ["run=run", "output=figures.json"],
    "train": [*TRAIN, "hydra.run.dir=new"],
}
Doors = tuple[str, ...]


def malformed(reference: Reference, chance: random.Random, count: int) -> Iterator[Trial]:
    """One seeded change each of a JSON, yaml, npz or csv file, of a picture, of weights, of the command line."""
    kinds: list[tuple[str, Doors, Callable[[Path, random.Random], None]]] = [
        ("summary.json of a run", ("report", "compare", "evaluate"), _json("run/summary.json")),
        ("config.yaml of a run", ("report", "compare", "evaluate"), _yaml("run/config.yaml")),
        ("predictions.npz", ("report", "compare"), _npz("run/predictions.npz")),
        ("val_predictions.npz", ("report", "compare"), _npz("run/val_predictions.npz")),
        ("metrics.csv", ("report",), _csv),
        ("a teacher's summary.json", ("train",), _json("teachers/*/summary.json")),
        ("a teacher's config.yaml", ("train",), _yaml("teachers/*/config.yaml")),
        ("a picture", ("train", "evaluate"), _picture),
        ("folders of pictures", ("train",), _folders),
        ("bytes in front of a file", ("report", "compare", "evaluate"), _noise),
    ]
    for number in range(count):
        seed = chance.randrange(1 << 30)
        if number % 8 == 7:
            yield Trial("malformed", f"the command line, seed {seed}", _command(seed))
            continue
        what, doors, change = kinds[number % len(kinds)]
        door = random.Random(seed).choice(doors)
        yield Trial("malformed", f"{what}, seed {seed}, then {door}", _changed(reference, change, seed, door))


def _changed(
    reference: Reference, change: Callable[[Path, random.Random], None], seed: int, door: str
) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        reference.copy(folder)
        change(folder, random.Random(seed))
        for sums in folder.rglob("sums.json"):  # what is malformed with intent has fitting ones
            sums.unlink()
        done = run_door(door, _READERS[door], folder)
        if (folder / "canary").exists():
            return "a text was run as a command"
        if done.broken or done.code in (0, 2):
            return done.broken
        return f"exit {done.code}: {done.text.strip()[-300:]}"

    return run


def _command(seed: int) -> Callable[[Path], str]:
    """A value that some key cannot have, or a key that there is not."""

    def run(folder: Path) -> str:
        chance = random.Random(seed)
        words = list(RUN)
        place = chance.randrange(1, len(words))
        key = words[place].partition("=")[0]
        words[place] = chance.choice((f"{key}={_shown(chance)}", f"{key[:-1]}=1", f"{key}.x=1", f"~{key}", f"{key}"))
        done = run_door("train", words, folder)
        return done.broken or ("" if done.code == 2 else f"exit {done.code} of {words[place]!r}: {done.text[-300:]}")

    return run


def _shown(chance: random.Random) -> str:
    return json.dumps(chance.choice(_VALUES)).replace("NaN", "nan").replace("Infinity", "inf")


def _json(pattern: str) -> Callable[[Path, random.Random], None]:
    def change(folder: Path, chance: random.Random) -> None:
        path = sorted(folder.glob(pattern))[0]
        path.write_text(json.dumps(_with_change(json.loads(path.read_text()), chance)))

    return change


def _yaml(pattern: str) -> Callable[[Path, random.Random], None]:
    def change(folder: Path, chance: random.Random) -> None:
        path = sorted(folder.glob(pattern))[0]
        path.write_text(yaml.safe_dump(_with_change(yaml.safe_load(path.read_text()), chance)))

    return change


def _with_change(content: Any, chance: random.Random) -> Any:
    """One leaf, or one branch, is another value or is gone."""
    node = content
    while isinstance(node, dict | list) and node:
        key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        child = node[key]
        if not (isinstance(child, dict | list) and child) or chance.random() < 0.25:
            if chance.random() < 0.3:
                del node[key]
            else:
                node[key] = chance.choice(_VALUES)
            break
        node = child
    return content


def _npz(name: str) -> Callable[[Path, random.Random], None]:
    def change(folder: Path, chance: random.Random) -> None:
        path = folder / name
        with np.load(path) as file:
            arrays = {key: file[key] for key in file}
        key = chance.choice(list(arrays))
        array = arrays[key]
        changes: list[Callable[[], Any]] = [
            lambda: array[:-1], lambda: array[None], lambda: array.astype("U8"), lambda: array.astype(complex),
            lambda: array.astype(object), lambda: np.full_like(array, -1), lambda: np.concatenate([array, array]),
            lambda: np.zeros(0), lambda: array.astype(float) * np.nan, lambda: array.astype(np.float64) * 1e300,
            lambda: array.astype(np.uint8),
        ]  # fmt: skip
        if chance.random() < 0.15:
            del arrays[key]
        else:
            arrays[key] = chance.choice(changes)()
        np.savez(path, **arrays)

    return change


def _csv(folder: Path, chance: random.Random) -> None:
    path = folder / "run" / "metrics.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    row = chance.choice(rows)
    row[chance.randrange(len(row))] = str(chance.choice(_VALUES))
    path.write_text("\n".join(",".join(cells) for cells in rows)[: chance.randrange(20, 100_000)])


def _picture(folder: Path, chance: random.Random) -> None:
    part = chance.choice(("train", "val", "test"))
    path = sorted((folder / "photos" / part / "dogs").iterdir())[chance.randrange(10)]
    content = path.read_bytes()
    modes = ("1", "L", "LA", "P", "I;16", "I", "F", "CMYK", "RGBA")
    kind = chance.randrange(5)
    if kind == 0:
        path.write_bytes(content[: chance.randrange(len(content))])
    elif kind == 1:
        path.write_bytes(bytes(chance.randrange(256) for _ in range(200)))
    elif kind == 2:
        Image.new(chance.choice(modes), (chance.randrange(1, 40), 32)).save(path.with_suffix(".tiff"))
    elif kind == 3:
        path.unlink()
        path.mkdir()
    else:
        path.unlink()
        path.symlink_to("gone.png")


def _folders(folder: Path, chance: random.Random) -> None:
    root = folder / "photos"
    changes: list[Callable[[], Any]] = [
        lambda: (root / "test").rename(root / "tset"),
        lambda: (root / "test" / "eels").rename(root / "test" / "eel"),
        lambda: (root / "train" / "x").mkdir(),
        lambda: [path.unlink() for path in (root / "val" / "cats").iterdir()],
        lambda: root.rename(folder / "elsewhere"),
        lambda: (root / "train" / "cats" / "nested").mkdir(),
        lambda: (root / "train" / "cats").rename(root / "train" / ("c" * 200)),
    ]
    chance.choice(changes)()


def _noise(folder: Path, chance: random.Random) -> None:
    files = ("summary.json", "config.yaml", "predictions.npz", "val_predictions.npz", "metrics.csv")
    path = folder / "run" / chance.choice((*files, "student.safetensors", "mistakes.npz"))
    path.write_bytes(bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40))) + path.read_bytes())
