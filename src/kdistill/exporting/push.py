"""Device files to the Hugging Face Hub: one commit with a folder for each format, and the card that the Hub reads."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdistill.base.errors import UserError
from kdistill.base.metric_catalogue import METRICS
from kdistill.base.plain_text import one_line
from kdistill.base.shell import shell_line
from kdistill.base.storage import write_text
from kdistill.exporting.manifest import Manifest
from kdistill.reporting.plain_text import markdown_text
from kdistill.reporting.render import fill_in

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

log = logging.getLogger(__name__)

_SCHEME = "hf://"
_TEMPLATE = Path(__file__).with_name("templates") / "hub.md.j2"
_MEASURED = ("accuracy", "f1", "auroc")  # what the Hub knows by these names


def check_push(target: str | None, formats: Iterable[str]) -> None:
    """Checks where an export is to be pushed to, before anything is computed; a token that lacks is a warning.

    Args:
        target: `hf://user/name`, or None: nowhere.
        formats: the names of the export folders.

    Raises:
        UserError: it is no place on the Hub, or a format has a name that is no folder's there.
    """
    if target is None:
        return
    _repository(target)
    if odd := [name for name in formats if not re.fullmatch(r"\w[\w.-]*", name)]:
        raise UserError(f"push: {', '.join(odd)} can't be a folder's name on the Hub; give the format another key")
    from huggingface_hub import get_token

    if get_token() is None:
        log.warning("push: there is no token, so the upload will be refused: `hf auth login` once, or HF_TOKEN")


def push(target: str, manifests: Sequence[Manifest]) -> str:
    """Uploads export folders that did not fail their test, with a card of all of them, in one commit.

    A repository that is not there is made, as a private one.

    Args:
        target: `hf://user/name`.
        manifests: of the exports, each with its `folder`.

    Returns:
        The repository's address.

    Raises:
        UserError: nothing passed, the Hub is not reached or refuses something; the exports stay on disk.
    """
    repository = _repository(target)
    good = [one for one in manifests if one["verdict"] != "fails"]
    if not good:
        raise UserError(f"nothing is pushed to {target}, for no file passed its test")
    if left_out := [one["format"] for one in manifests if one not in good]:
        log.warning("push: not uploaded, for it failed its test: %s", ", ".join(left_out))
    home = Path(good[0]["folder"]).parent
    write_text(home / "README.md", hub_card(repository, good))
    from huggingface_hub import HfApi, errors

    api, operations = HfApi(library_name="kdistill"), _operations(home, good)
    paths = [one.path_in_repo for one in operations]
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.create_commit(repository, operations, commit_message=f"Device files: {', '.join(_names(good))}")
        there = set(api.list_repo_files(repository))
    except (OSError, ValueError, errors.HTTPError) as error:
        raise UserError(_failed(target, repository, home, good, paths, error)) from error
    if lost := [path for path in paths if path not in there]:
        raise UserError(f"{target}: the Hub did not take {', '.join(lost)}; all else is at {address}")
    return str(address)


def hub_card(repository: str, manifests: Sequence[Manifest]) -> str:
    """README.md of a repository on the Hub: its metadata as YAML, then a table of the device files.

    Args:
        repository: `user/name`.
        manifests: of the files in it.
    """
    from huggingface_hub import EvalResult, ModelCardData

    first = manifests[0]
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type="test",
            dataset_name=one_line(f"test set of {one['run']}"),
            metric_type=key,
            metric_name=f"{METRICS[key].label}, {one['format']}",
            metric_value=round(value, 6),
        )
        for one in manifests
        for key in _MEASURED
        if (value := one["test"].get(key)) is not None and value == value
    ]
    data = ModelCardData(
        model_name=one_line(first["label"]),
        library_name="onnx" if all(one["file"].endswith(".onnx") for one in manifests) else None,
        pipeline_tag="image-classification",
        tags=["image-classification", "knowledge-distillation", "kdistill"],
        eval_results=results,
    )
    return fill_in(
        _TEMPLATE.read_text(),
        metadata=data.to_yaml(),
        label=markdown_text(first["label"]),
        run=markdown_text(first["run"]),
        first=first,
        repository=repository,
        classes=", ".join(map(markdown_text, first["classes"][:20])) + (", ..." if len(first["classes"]) > 20 else ""),
        rows=list(_rows(manifests)),
    )


def _rows(manifests: Sequence[Manifest]) -> Iterator[tuple[str, ...]]:
    accuracy = METRICS["accuracy"]
    for one in manifests:
        change: Any = one["difference"].get("accuracy")
        shown = "-" if change is None else "{} ({} to {})".format(*map(accuracy.difference, change))
        yield (
            f"[{one['format']}]({one['format']}/README.md)",
            f"{one['size_bytes'] / 1e6:.3g} MB",
            f"{one['latency_ms']:.3g} ms ({one['float_latency_ms']:.3g} ms)",
            accuracy.shown(one["test"]["accuracy"]),
            shown,
            one["verdict"],
        )


def _repository(target: str) -> str:
    """`user/name` of `hf://user/name`.

    Raises:
        UserError: it is not that.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = target.removeprefix(_SCHEME)
    reason = "a user or organisation, a slash, a name"
    if target.startswith(_SCHEME) and name.count("/") == 1 and all(name.split("/")):
        try:
            validate_repo_id(name)
            return name
        except HFValidationError as error:
            reason = str(error)
    raise UserError(f"push={one_line(target)} is no place that exports go to; give push={_SCHEME}user/name ({reason})")


def _names(manifests: Sequence[Manifest]) -> list[str]:
    return [one["format"] for one in manifests]


def _operations(home: Path, manifests: Sequence[Manifest]) -> "list[CommitOperationAdd]":
    from huggingface_hub import CommitOperationAdd

    files = [home / "README.md"]
    for one in manifests:
        files += sorted(path for path in Path(one["folder"]).rglob("*") if path.is_file())
    return [CommitOperationAdd(path.relative_to(home).as_posix(), str(path)) for path in files]


def _failed(
    target: str, repository: str, home: Path, manifests: Sequence[Manifest], paths: Sequence[str], error: Exception
) -> str:
    """What went wrong, where the files are, and the command that uploads them when it is mended."""
    from huggingface_hub import get_token

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = getattr(error, "server_message", None) or " ".join(lines[:2]) or type(error).__name__
    mend = "when the Hub can be reached"
    if get_token() is None:
        mend = "log in (`hf auth login` once, or HF_TOKEN=...); then"
    elif status in (401, 403, 404):
        mend = f"give a token that may write to {repository.split('/')[0]} (`hf auth login`); then"
    elif status is not None and status < 500:
        mend = f"of {', '.join(paths)} the Hub refused some or all; mend what it says; then"
    patterns = ["README.md", *(f"{name}/*" for name in _names(manifests))]
    command = shell_line(["hf", "upload", repository, str(home), ".", "--include", *patterns])
    return f"{target}: the upload failed ({one_line(reason)}). The export is whole in {home}; {mend}: {command}"
