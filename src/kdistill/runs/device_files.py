"""The device files that lie in a run's folder: what their `manifest.json` says, read as data for whoever reports it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from kdistill.base.errors import UserError
from kdistill.base.metric_catalogue import METRICS
from kdistill.base.types import Count, UnitInterval
from kdistill.runs.finished import FinishedRun
from kdistill.runs.stored_json import read_json, typed

Verdict = Literal["passes", "fails", "inconclusive"]
Milliseconds = Annotated[float, Gt(0), Le(1e9)]
Finite = Annotated[float, Ge(-1e9), Le(1e9)]

_MEND = "export it again, or remove its folder"


@dataclass(frozen=True)
class DeviceFile:
    """What a report shows of a `manifest.json`, which says more.

    Attributes:
        format: onnx, onnx_int8, ...
        fingerprint: of the weights that it was made from.
        size_bytes: of the file.
        verdict: whether it is as good as the float network, within `margin` of `metric`.
        test: its figures on the test set, with `test_interval` 95 %; `float_test` are those of the float network.
        difference: file less float network, paired: mean, low, high.
        latency_ms: of a picture; `float_latency_ms` that of the float network in torch; `latency_on` is the machine.
        peak_memory_mb: of a process that runs it.
    """

    format: str
    fingerprint: str
    size_bytes: Annotated[int, Gt(0), Le(2**53)]
    verdict: Verdict
    metric: str
    margin: UnitInterval
    test: dict[str, float | None]
    test_interval: dict[str, tuple[Finite, Finite] | None]
    float_test: dict[str, float | None]
    difference: dict[str, tuple[Finite, Finite, Finite] | None]
    latency_ms: Milliseconds
    float_latency_ms: Milliseconds
    latency_on: str
    peak_memory_mb: Count | None = None


@dataclass(frozen=True)
class ArmDevice:
    """A device file of an arm's run with that seed."""

    arm: str
    seed: int
    file: DeviceFile


def arm_devices(arms: Mapping[str, Iterable[FinishedRun]]) -> tuple[list[ArmDevice], list[str]]:
    """The device files of all runs, and a sentence on each that can't be shown: damaged, or of other weights.

    Args:
        arms: runs by the arm's name.
    """
    found: list[ArmDevice] = []
    left_out: list[str] = []
    for arm, runs in arms.items():
        for run in runs:
            for manifest in manifests(run.path):
                try:
                    file = read_manifest(manifest)
                except UserError as error:
                    left_out.append(f"a device file is left out: {error}")
                    continue
                if file.fingerprint == run.record.fingerprint:
                    found.append(ArmDevice(arm, run.seed, file))
                else:
                    left_out.append(f"a device file is left out: {manifest} is of other weights than its run: {_MEND}")
    return found, left_out


def manifests(run: Path) -> list[Path]:
    """The manifests of the export folders in a run's folder that are whole, by name."""
    return sorted(path for path in run.glob("export/*/manifest.json") if not path.parent.name.startswith("."))


def read_manifest(path: Path) -> DeviceFile:
    """What a manifest says.

    Raises:
        UserError: it is not what an export has written.
    """
    file = typed(read_json(path, _MEND), DeviceFile, str(path), _MEND)
    known = file.metric in METRICS and file.float_test.keys() == file.test.keys()
    if not known or any(not 0 <= (figures.get("accuracy") or 0) <= 1 for figures in (file.test, file.float_test)):
        raise UserError(f"{path} is not what an export has written (its figures): {_MEND}")
    return file
