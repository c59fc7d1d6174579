"""What a run is computed with, by package."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from kdistill.runs.record import RunRecord

_PACKAGES = ("torch", "torchvision", "timm", "pytorch-lightning", "hydra-core", "torchmetrics", "fvcore", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python, kdistill and what it computes with."""
    found = {"python": python_version()}
    for package in ("kdistill", *_PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def versions_of(records: Iterable[RunRecord]) -> dict[str, list[str]]:
    """What runs were trained with, by package; more than one version where they differ."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for name, one in record.versions.items():
            found.setdefault(name, {})[one] = None
    return {name: list(versions) for name, versions in found.items()}
