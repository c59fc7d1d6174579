"""What a finished run trained on, and what it trained, from its folder."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.run_paths import CONFIG
from kdistill.building.data import build_data
from kdistill.building.restore import Restored, restore
from kdistill.building.trust import check_trusted
from kdistill.config.sections import own_keys
from kdistill.config.signature import signature_of
from kdistill.config.specs import trained_kind
from kdistill.config.tree import plain
from kdistill.data.module import ArrayDataModule
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord
from kdistill.runs.stored_config import check_sections


def stored_config(folder: RunFolder, record: RunRecord, allowed: Sequence[str]) -> DictConfig:
    """A finished run's config, that something may be built of: trusted, whole, and fit for what it names.

    Args:
        folder: the run's.
        record: what it says of itself.
        allowed: what else may be named, as of `check_trusted`.

    Raises:
        UserError: the config is damaged, or names something that is not trusted.
    """
    path = folder.path / CONFIG
    config = folder.config()
    check_trusted(config, list(allowed), path)
    if config.get("role") != record.role or not config.get("trainer"):
        said = f"its role is {config.get('role')!r}, that of summary.json {record.role!r}"
        wrong = said if config.get("role") != record.role else "it lacks the section trainer"
        raise UserError(f"{path} is not the config that this run has written ({wrong}): restore the file")
    kinds = {trained_kind(config), *(("teacher",) if record.teacher else ())}
    check_sections(config, path, ("dataset", *sorted(kinds)))
    return config


def stored_data(
    folder: RunFolder,
    trained: DictConfig,
    record: RunRecord,
    *,
    cache: str,
    root: str | None = None,
    moved: bool = False,
    batch_size: int | None = None,
    max_pixels: int = IMAGE_PIXELS,
    allow_outside: bool = False,
) -> ArrayDataModule:
    """The data module of a run, which serves the run's own classes, scaled as they were.

    Args:
        folder: the run's.
        trained: its config, trusted; its section `dataset` is changed to what is served.
        record: what the run says of its data.
        cache: where decoded images are kept: the user's word, not a file's.
        root: where the data are; None: where the run found them.
        moved: whether `root` holds the run's own data, and not others.
        batch_size: of test; None: the run's.
        max_pixels: the most that an image file may hold: the user's word, too.
        allow_outside: whether a table may name images outside of its folder; likewise.

    Raises:
        UserError: the run's data set takes no root, and one is given; or it can't be built or read.
    """
    given_root, takes, ours = trained.dataset.get("root"), *_taken_by(trained.dataset)
    if root is not None:
        if not {"root", "file"} & takes:
            raise UserError(f"dataset.root={root}: the run's data set, {trained.dataset._target_}, takes no root")
        if "root" in takes:
            trained.dataset.root = root
        if file := trained.dataset.get("file"):  # of the same name, beside the images there
            given_root = given_root or str(Path(file).parent)
            trained.dataset.file = str(Path(root) / Path(file).name)
        if "test_fraction" in takes and not moved and not _same_folder(given_root, root):
            trained.dataset.test_fraction = 1.0  # class folders without partitions: the run has seen none of them
    # Without `verify` other images may be asked for; and nothing is fetched, or renamed in a folder.
    safe = {
        "verify": False, "fetch": False, "cache": cache, "max_pixels": max_pixels, "allow_outside": allow_outside
    }  # fmt: skip
    trained.dataset.update({key: value for key, value in safe.items() if key in ours})
    if record.data.value_range is not None and "value_range" in takes:
        trained.dataset.value_range = list(record.data.value_range)  # that of the images that the run trained on
    if trained.dataset.get("unlabeled"):
        trained.dataset.unlabeled = None  # of no use but in training
    if batch_size is not None:
        trained.dataset.eval_batch_size = batch_size
    if "classes" in takes and trained.dataset.get("classes") is None:
        trained.dataset.classes = list(record.data.class_names)  # the run's, in its order, whatever folders there are
    try:
        data = build_data(trained)
    except UserError as error:
        raise UserError(f"the data of {folder.path / CONFIG}: {error}") from error
    data.writes_root = root is not None  # else a file has named it
    return data


def _taken_by(section: DictConfig) -> tuple[set[str], set[str]]:
    """The arguments that a data set takes, whether its section has them or not; and those that mean what ours mean.

    What a file leaves out has a default that may fetch.
    """
    signature, serving = signature_of(section._target_), own_keys("dataset", plain(section)).keys()
    taken = {*map(str, section), *(signature.parameters if signature else ())}
    return taken | serving, set() if serving else taken


def stored_network(
    folder: RunFolder, trained: DictConfig, record: RunRecord, *, allowed: Sequence[str] = ()
) -> Restored:
    """The network that a run trained, with its weights.

    Args:
        folder: the run's.
        trained: its config, trusted.
        record: its record.
        allowed: what else the folder may name.

    Raises:
        UserError: as `restore` does.
    """
    kind = "teacher" if record.role == "teacher" else "student"
    return restore(folder.weights(record.role), trained[kind], kind, record.data, allowed=allowed)


def _same_folder(one: str | None, other: str) -> bool:
    return one is not None and Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
