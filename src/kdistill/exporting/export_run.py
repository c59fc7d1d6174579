"""A finished run to device files, each tested before it is handed over."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.base.run_paths import find_run
from kdistill.base.spelling import counted
from kdistill.base.whole import whole_folder
from kdistill.building.stored import stored_config, stored_data, stored_network
from kdistill.data.arrays import Split
from kdistill.exporting.device_network import DeviceNetwork
from kdistill.exporting.facts import DeviceFacts, input_of
from kdistill.exporting.formats import Format, Source
from kdistill.exporting.handover import Handover
from kdistill.exporting.judge import Judge
from kdistill.exporting.manifest import Manifest
from kdistill.exporting.pictures_of_run import batches_of, check_same_data, pictures_of, spread_over_classes
from kdistill.exporting.torch_session import TorchSession
from kdistill.exporting.verify import answers, verify
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord
from kdistill.runs.versions import versions

log = logging.getLogger(__name__)

_GOLDEN = 8  # pictures


@dataclass(frozen=True)
class _Run:
    """What all formats share."""

    folder: RunFolder
    record: RunRecord
    network: DeviceNetwork
    facts: DeviceFacts
    test: Split
    logits: np.ndarray
    calibration: np.ndarray
    calibrated_by: str
    judge: Judge | None


def export_run(config: DictConfig, formats: Mapping[str, Format]) -> list[Manifest]:
    """Writes and tests a file of each format.

    Args:
        config: a composed `export` config.
        formats: by name, as `make_formats` gives them.

    Returns:
        The manifests, with `folder`, in the order of the formats.

    Raises:
        UserError: no finished run there, a target that is not trusted, other data than the run's, a network that a
            format can't hold.
    """
    run = _read(config, calibrates=any(one.calibrates for one in formats.values()))
    home = Path(config.output) if config.output is not None else run.folder.path / "export"
    sample = torch.from_numpy(pictures_of(run.test, np.zeros(2, dtype=np.int64), config.layout))
    ranges = run.record.rounded.ranges if run.record.rounded else {}
    source = Source(run.network, sample, run.calibration, run.judge, ranges)
    return [_export(name, one, source, run, home / name, config) for name, one in formats.items()]


def _read(config: DictConfig, *, calibrates: bool) -> _Run:
    folder = RunFolder.open(find_run(config.run, "run"))
    record = folder.record()
    trained = stored_config(folder, record, config.allow)
    restored = stored_network(folder, trained, record, allowed=list(config.allow))
    layout = config.layout
    network = DeviceNetwork(restored.network, record.input, layout=layout)
    data = stored_data(folder, trained, record, **config.dataset, moved=True)
    classes = record.data.class_names
    # First: what is loaded whole is not read again for test.
    train, val = (data.arrays.train, data.arrays.val) if calibrates else (None, None)
    test = data.load_test_of(classes)
    if tuple(test.image.shape[1:]) != record.data.image_shape:
        raise UserError(f"test images are {tuple(test.image.shape[1:])}, the run's were {record.data.image_shape}")
    _, logits = answers(TorchSession(network).run, batches_of(test, layout), "testing in float", len(test))
    check_same_data(folder, test.target.cpu().numpy(), logits)
    calibration, words = np.empty(0, dtype=np.uint8), ""
    if train is not None:
        numbers = spread_over_classes(
            train.target.cpu().numpy(), config.calibration.images, seed=config.calibration.seed
        )
        calibration = pictures_of(train, numbers, layout)
        words = f"{counted(len(numbers), 'image')} of train, by class, seed {config.calibration.seed}"
    judge = None if val is None or not config.choice.images else _judge(network, val, config)
    facts = DeviceFacts(
        format="",
        label=record.label,
        run=folder.path.resolve().name,
        fingerprint=record.fingerprint,
        classes=classes,
        input=input_of(record, layout),
        threshold=None if record.threshold is None else record.threshold.value,
        versions=versions(),
    )
    return _Run(folder, record, network, facts, test, logits, calibration, words, judge)


def _judge(network: DeviceNetwork, val: Split, config: DictConfig) -> Judge:
    """What a file of 8 bits is chosen by: validation pictures, each class in its share."""
    choice, target = config.choice, val.target.cpu().numpy()
    numbers = spread_over_classes(target, choice.images, seed=config.calibration.seed)
    pictures = pictures_of(val, numbers, config.layout)
    _, logits = TorchSession(network).run(pictures)
    return Judge(pictures, target[numbers], logits, config.metric, config.margin, choice.distance, choice.seconds)


def _export(name: str, one: Format, source: Source, run: _Run, place: Path, config: DictConfig) -> Manifest:
    """One file with all that lies beside it; the folder is whole or as it was before."""
    layout, target = config.layout, run.test.target.cpu().numpy()
    golden = pictures_of(run.test, spread_over_classes(target, _GOLDEN, seed=0), layout)
    stem = "teacher" if run.record.role == "teacher" else "student"
    takes = replace(run.facts.input, batch=one.batch)
    facts = replace(run.facts, format=name, input=takes, versions=run.facts.versions | _versions_of(one))
    with whole_folder(place, replaces=True) as begun:
        file = begun / f"{stem}{one.suffix}"
        log.info("%s: writing %s", name, place / file.name)
        quantisation = one.write(source, file)
        verified = verify(
            one.session(file), TorchSession(run.network).run, run.logits, batches_of(run.test, layout), target,
            golden[:1], label=f"testing {name}", metric=config.metric, margin=config.margin,
        )  # fmt: skip
        verdict = verified.found.verdict
        figures = {key: value if np.isfinite(value) else None for key, value in verified.test.items()}
        facts = replace(facts, verdict=verdict, metrics=figures)
        if verdict == "fails":
            for part in one.files(file):
                part.rename(part.with_stem(f"{stem}-FAILS"))
            file = file.with_stem(f"{stem}-FAILS")
        one.put_metadata(file, facts.as_metadata())
        handover = Handover(
            name, one, facts, verified, golden, config.metric, config.margin,
            run.calibrated_by if one.calibrates else None, run.record, quantisation,
        )  # fmt: skip
        manifest = handover.fill(begun, file, one.session(file))
    manifest["folder"] = str(place)
    return manifest


def _versions_of(one: Format) -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in one.packages}
