"""What a path holds that can answer: a run, an export folder, a device file."""

from collections.abc import Sequence
from pathlib import Path

from kdistill.base.bounded import read_json
from kdistill.base.errors import UserError
from kdistill.base.run_paths import CONFIG, find_run
from kdistill.base.spelling import did_you_mean
from kdistill.exporting.classifier import Classifier
from kdistill.exporting.facts import DeviceFacts, input_of
from kdistill.exporting.formats import FileSession

MANIFEST = "manifest.json"
_TAKES = "a finished run's folder, an export folder, or an .onnx, .xml or .pte file of one"


def load(path: str | Path, *, threads: int = 1, allow: Sequence[str] = ()) -> Classifier:
    """A run or a device file, ready to answer.

    Args:
        path: a finished run's folder (its network runs in torch), an export folder, or a file of one: .onnx runs in
            ONNX Runtime and .xml in OpenVINO, and torch is not imported; .pte runs in ExecuTorch.
        threads: that one picture's computation may use.
        allow: what else a run's config may name: callables by their path, or packages of your own.

    Raises:
        UserError: there is no such thing, or it can't be read.
    """
    place = Path(path).expanduser()
    if place.is_dir() and not (place / CONFIG).is_file() and (folders := _export_folders(place)):
        if len(folders) > 1:
            raise UserError(f"model={path} holds several export folders, give one: {', '.join(map(str, folders))}")
        place = _file_of(folders[0])
    if place.is_file():
        return _of_file(place, threads)
    if not place.is_dir():
        beside = [other.name for other in place.parent.iterdir()] if place.parent.is_dir() else []
        raise UserError(
            f"model={path}: there is no such file or folder{did_you_mean(place.name, beside)}; give {_TAKES}"
        )
    return _of_run(find_run(str(place), "model"), threads, allow)


def _export_folders(folder: Path) -> list[Path]:
    """The folder itself where it is an export's, else those right in it."""
    if (folder / MANIFEST).is_file():
        return [folder]
    return sorted(file.parent for file in folder.glob(f"*/{MANIFEST}") if not file.parent.name.startswith("."))


def _file_of(folder: Path) -> Path:
    """The device file that an export folder's manifest names: one of that folder.

    Raises:
        UserError: the manifest is none, or names another place.
    """
    try:
        name = read_json(folder / MANIFEST)["file"]
        if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
            raise ValueError(f"its file is {str(name)[:80]!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / MANIFEST} is not what an export has written ({error}): export again") from error
    return folder / name


def _of_file(path: Path, threads: int) -> Classifier:
    session = _session(path, threads)
    return Classifier(session.facts(), session)


def _session(path: Path, threads: int) -> FileSession:
    """A file in the runtime that its suffix names; only that runtime is imported."""
    if path.suffix == ".onnx":
        from kdistill.exporting.onnx_session import OnnxSession

        return OnnxSession(path, threads=threads)
    if path.suffix == ".xml":
        from kdistill.exporting.openvino_session import OpenVinoSession

        return OpenVinoSession(path, threads=threads)
    if path.suffix == ".pte":
        from kdistill.exporting.executorch_session import ExecuTorchSession

        return ExecuTorchSession(path, threads=threads)
    raise UserError(f"{path} is not run here: give {_TAKES}; other files are for their own runtimes")


def _of_run(folder: Path, threads: int, allow: Sequence[str]) -> Classifier:
    from kdistill.building.stored import stored_config, stored_network
    from kdistill.exporting.device_network import DeviceNetwork
    from kdistill.exporting.torch_session import TorchSession
    from kdistill.runs.folder import RunFolder

    run = RunFolder.open(folder)
    record = run.record()
    trained = stored_config(run, record, allow)
    network = DeviceNetwork(stored_network(run, trained, record, allowed=allow).network, record.input, layout="nchw")
    facts = DeviceFacts(
        format="torch",
        label=record.label,
        run=folder.name,
        fingerprint=record.fingerprint,
        classes=record.data.class_names,
        input=input_of(record, "nchw"),
        threshold=None if record.threshold is None else record.threshold.value,
        metrics=dict(record.test),
        versions=record.versions,
    )
    return Classifier(facts, TorchSession(network, threads=threads), run.path)
