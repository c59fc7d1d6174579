"""`python -m kdistill.export run=<folder> format=onnx`: a finished run as a file for a device, tested there."""

import sys
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from kdistill.config.cli import run_door

if TYPE_CHECKING:
    from kdistill.exporting.manifest import Manifest


def export(config: DictConfig) -> "list[Manifest]":
    """Writes and tests a file of each format.

    Args:
        config: a composed `export` config.

    Returns:
        The manifests, each with the `folder` that it lies in.

    Raises:
        UserError: see `exporting.export_run`.
    """
    from kdistill.config.validate import validate
    from kdistill.exporting.formats import make_formats
    from kdistill.exporting.push import check_push

    validate(config)
    check_push(config.push, map(str, config.format))
    formats = make_formats(config)  # what is not installed is said before torch is imported
    from kdistill.exporting.export_run import export_run

    return export_run(config, formats)


def log_exports(config: DictConfig, manifests: "list[Manifest]") -> None:
    """Keeps the files as W&B artifacts where the run kept its weights so; what fails there costs a warning."""
    from kdistill.base.run_paths import find_run
    from kdistill.config.sections import wandb_sections
    from kdistill.runs.folder import RunFolder

    folder = RunFolder(find_run(config.run, "run"))
    if sections := [one for one in wandb_sections(folder.config()).values() if one.get("log_model")]:
        from kdistill.tracking.wandb_devices import log_devices

        log_devices(sections, folder, manifests)


def job(config: DictConfig) -> None:
    """One job of the command line; leaves with exit code 1 if a file failed its test."""
    from kdistill.exporting.push import push
    from kdistill.exporting.screen import print_exports

    manifests = export(config)
    print_exports(manifests)
    log_exports(config, manifests)
    if config.push is not None:
        print(f"pushed: {push(config.push, manifests)}")
    if failed := [manifest["format"] for manifest in manifests if manifest["verdict"] == "fails"]:
        print(f"not to be used, for it failed its test: {', '.join(failed)}", file=sys.stderr)
        raise SystemExit(1)


def main() -> None:
    """The door; also the console script `kdistill-export`."""
    run_door(job, "export")


if __name__ == "__main__":
    main()
