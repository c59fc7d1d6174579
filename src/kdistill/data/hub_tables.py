"""Tables of the library `datasets`: opened from the hub, or from files here; which column is what."""

import logging
import re
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdistill.base.classes import listed
from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install
from kdistill.base.plain_text import brief
from kdistill.base.spelling import did_you_mean
from kdistill.data.held import HeldImage, Source

log = logging.getLogger(__name__)

_BY_SUFFIX = {".parquet": "parquet", ".arrow": "arrow", ".tar": "webdataset"}
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves
_TARGETS = ("label", "labels", "target", "class", "cls", "category", "fine_label", "y")
_IMAGES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp")


def open_tables(path: str, subset: str | None, revision: str | None, *, fetch: bool, keep: Path) -> dict[str, Any]:
    """The splits of a data set, by name.

    Args:
        path: a name on the hub, a folder, or a file.
        subset, revision: on the hub.
        fetch: whether the hub is asked; False: only what is here.
        keep: where the library keeps what it makes of files.

    Raises:
        UserError: it is not here and can't be fetched, or can't be read; or the library is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"dataset=huggingface needs the package datasets: {how_to_install('datasets')}") from error
    place = Path(path).expanduser()
    datasets.disable_progress_bars()
    offline = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = offline or not fetch
    try:
        if any((place / name).is_file() for name in _SAVED):
            found = datasets.load_from_disk(str(place))
        elif place.is_file():
            if place.suffix not in _BY_SUFFIX:
                raise UserError(f"dataset.path={path}: give a file of {', '.join(_BY_SUFFIX)}, or a folder")
            found = datasets.load_dataset(_BY_SUFFIX[place.suffix], data_files=str(place), cache_dir=str(keep))
        elif place.is_dir():
            if not fetch:
                _check_addresses(place)
            # By its whole path: a folder may be called `csv`, as a reader of the library is.
            found = datasets.load_dataset(str(place.resolve()), cache_dir=str(keep))
        elif not _HUB_NAME.fullmatch(path) or (path.isidentifier() and find_spec(f"datasets.packaged_modules.{path}")):
            raise UserError(
                f"dataset.path={path} is no folder or file here, and no name on the hub, as uoft-cs/cifar10"
            )
        else:
            found = datasets.load_dataset(path, subset, revision=revision, cache_dir=str(keep))
    except (
        OSError,
        ValueError,
        RuntimeError,
        datasets.exceptions.DatasetsError,
    ) as error:  # the library's words for what is not there or can't be read
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        here = "" if place.exists() else _elsewhere(path, fetch=fetch)
        raise UserError(f"dataset.path={path} can't be read by the library `datasets`: {reason}{here}") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
    return dict(found) if isinstance(found, dict) else {"all": found}


def _check_addresses(folder: Path) -> None:
    """Refuses a folder whose card says that its files are elsewhere: the library would ask there, offline or not.

    Raises:
        UserError: it does.
    """
    import yaml  # type: ignore[import-untyped]
    from datasets import config
    from huggingface_hub import DatasetCard

    card, settings = folder / config.REPOCARD_FILENAME, folder / config.REPOYAML_FILENAME
    try:
        named = [DatasetCard.load(card).data.get("configs")] if card.is_file() else []
        if settings.is_file():
            named.append((yaml.safe_load(settings.read_text()) or {}).get("configs"))
    except (yaml.YAMLError, AttributeError) as error:
        raise ValueError(f"its card is damaged ({error})") from error
    if elsewhere := [text for text in _strings(named) if "://" in text or "::" in text]:
        raise UserError(
            f"dataset.path={folder}: its card names {elsewhere[0]}, and nothing is fetched here: take that out of it, "
            "or leave dataset.fetch=false out"
        )


def _strings(node: Any) -> Iterator[str]:
    """The texts in plain data; aliases may make one list of it many."""
    waiting, seen = [node], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict | list) and id(one) not in seen:
            seen.add(id(one))
            waiting += one if isinstance(one, list) else one.values()


def _elsewhere(path: str, *, fetch: bool) -> str:
    why = "" if fetch else " (nothing is fetched here)"
    return (
        f"{why}. It is no folder or file here; from the hub it can be fetched on a machine with a network by "
        f"datasets.load_dataset({path!r}).save_to_disk('<folder>'): copy that folder, and give it as dataset.path"
    )


def image_column(table: Any, given: str | None, source: str) -> str:
    """The column of images.

    Raises:
        UserError: there is none of that name, or none that holds images.
    """
    import datasets

    kinds = {name: feature for name, feature in table.features.items() if isinstance(feature, datasets.Image)}
    usual = next((name for name in _IMAGES if name in table.column_names), None)
    found = _named(table, given, source, "image") or next(iter(kinds), usual)
    if found is None:
        there = listed(table.column_names)
        raise UserError(f"{source} has no column of images, only {there}: give dataset.image=<column>")
    return found


def encoded_images(table: Any, column: str, name: str) -> list[Source]:
    """The images of a table: the files that it names, or the bytes that it holds.

    Raises:
        UserError: the column holds something else.
    """
    import datasets
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = table.select_columns([column])
    if isinstance(rows.features[column], datasets.Image):
        rows = rows.cast_column(column, datasets.Image(decode=False))
    values = rows.data.column(column)
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        files: list[str | None] = [None] * len(rows)
        held = values
    elif pa.types.is_struct(values.type) and {"bytes", "path"} <= {field.name for field in values.type}:
        paths, held = pc.struct_field(values, "path"), pc.struct_field(values, "bytes")
        files = pc.if_else(pc.is_null(held), paths, pa.scalar(None, paths.type)).to_pylist()
    else:
        kind = f"holds {values.type}, no encoded images"
        raise UserError(f"{name}: the column {column} {kind}: give dataset.image=<column>")

    if odd := next((file for file in files if file is not None and not Path(file).is_file()), None):
        raise UserError(f"{name} names the image {brief(odd)}, which is no file here: put it there")

    def fetch(number: int) -> bytes:
        value = rows[number][column]
        return (value["bytes"] if isinstance(value, dict) else value) or b""

    stamp, sizes = rows._fingerprint, pc.fill_null(pc.binary_length(held), 0).to_pylist()
    return [
        HeldImage(f"{name}[{number}]", partial(fetch, number), stamp, length) if file is None else Path(file)
        for number, (file, length) in enumerate(zip(files, sizes, strict=True))
    ]


def label_column(table: Any, given: str | None, source: str) -> str:
    """The column of labels.

    Raises:
        UserError: there is none of that name, or it can't be told.
    """
    import datasets

    kinds = [name for name, feature in table.features.items() if isinstance(feature, datasets.ClassLabel)]
    usual = [name for name in _TARGETS if name in table.column_names]
    found = _named(table, given, source, "target") or next(iter(usual), kinds[0] if len(kinds) == 1 else None)
    if found is None:
        raise UserError(
            f"{source} has the columns {listed(table.column_names)}: say which is the label, dataset.target=<column>"
        )
    if len(kinds) > 1 and given is None:
        log.info("%s: the labels are those of %s; there are also %s", source, found, ", ".join(set(kinds) - {found}))
    return found


def _named(table: Any, given: str | None, source: str, key: str) -> str | None:
    if given is not None and given not in table.column_names:
        near = did_you_mean(given, table.column_names) or f"; there are {listed(table.column_names)}"
        raise UserError(f"dataset.{key}={given}: {source} has no such column{near}")
    return given
