"""`python -m kdistill.sync_wandb [folder]`: uploads what W&B kept offline, every run that was not uploaded before."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from kdistill.base.packages import how_to_install
from kdistill.tracking.wandb_run import has_key


def main() -> None:
    """The door; also the console script `kdistill-sync-wandb`.

    Exit code 0: all is uploaded; 1: an upload failed; 2: no key, no folder or no wandb, and nothing was tried. Started
    again it goes on with what is missing.
    """
    parser = argparse.ArgumentParser(prog="kdistill.sync_wandb", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("outputs"), help="what holds your runs")
    raise SystemExit(upload(parser.parse_args().folder))


def upload(folder: Path) -> int:
    """Uploads the offline runs below a folder.

    Returns:
        The exit code, as `main` says.
    """
    if not folder.is_dir():
        return _refused(f"{folder}: there is no such folder; give the one that holds your runs")
    files = sorted(folder.glob("**/wandb/offline-run-*/run-*.wandb"))
    left = [file for file in files if not _is_uploaded(file)]
    done = f"{len(files) - len(left)} offline runs were uploaded before"
    if not left:
        print(f"{folder}: nothing to upload ({done})")
        return 0
    try:
        import wandb  # noqa: F401
    except ImportError:
        return _refused(f"uploading needs the package wandb: {how_to_install('wandb')}")
    if not has_key():
        runs = f"{folder}: {len(left)} offline runs to upload"
        return _refused(f"{runs}, but there is no W&B key: set WANDB_API_KEY or run 'wandb login'")
    print(f"{folder}: uploading {len(left)} offline runs ({done})", flush=True)
    command = [sys.executable, "-m", "wandb", "sync", "--yes", *(str(file.parent) for file in left)]
    environment = {"WANDB_DIR": str(folder), **os.environ}  # the upload's own log
    code = subprocess.run(command, env=environment, check=False).returncode
    for file in (missing := [file for file in left if not _is_uploaded(file)]):
        print(f"not uploaded: {file.parent}", file=sys.stderr)
    if code or missing:
        print("not all runs were uploaded; start this again to go on", file=sys.stderr)
    return int(bool(code or missing))


def _is_uploaded(file: Path) -> bool:
    return file.with_name(f"{file.name}.synced").exists()


def _refused(why: str) -> int:
    print(why, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
