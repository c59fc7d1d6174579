"""What can be known to be wrong without torch is said before it is imported."""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from kdistill.base import network_names as networks
from kdistill.base import storage
from kdistill.base.network_names import OWN, TIMM_NAMES, name_problem
from kdistill.base.storage import writing_problem
from kdistill.config import compose, machine
from kdistill.config.compose import check_overrides
from kdistill.config.machine import cuda_problem, package_problems
from kdistill.config.places import place_problems

SCRATCH = "+experiment=mnist_scratch"


def test_the_list_of_names_is_that_of_the_installed_timm() -> None:
    import timm
    from timm.models._registry import _model_entrypoints

    from kdistill.models.build import _OWN

    written, *names = TIMM_NAMES.read_text().split()
    assert written == timm.__version__ and names == sorted(_model_entrypoints), "run scripts/refresh_timm_names.py"
    assert set(timm.list_models()) <= set(names)
    assert set(OWN) == set(_OWN)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50.a1_in1k", "hf-hub:timm/resnet18.a1_in1k", "gluon_resnet18_v1b", *OWN]
)
def test_a_name_that_somebody_has_passes(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet81", "did you mean 'resnet18'"),
        ("mnist_cn", "did you mean 'mnist_cnn'"),
        ("MobileNetV2-100", "did you mean 'mobilenetv2_100'"),
        ("hf-hub:me/net", "download the folder"),
        ("qqqqqq", "see timm.list_models()"),
    ],
)
def test_a_name_that_nobody_has_is_refused_with_the_nearest(name: str, said: str) -> None:
    assert said in str(name_problem(name))


def test_another_timm_may_have_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    networks._timms_names.cache_clear()
    monkeypatch.setattr(networks, "version", lambda package: "99.0")
    assert name_problem("newest_net") is None
    networks._timms_names.cache_clear()


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"student": {"weights": "{there}/nothere.pt"}}, "student.weights={there}/nothere.pt: there is no such file"),
        ({"student": {"weights": "{there}/runn"}}, "did you mean 'run'?"),
        ({"student": {"weights": "https://a.org/b.pth"}}, "nothing is fetched from an address"),
        ({"role": "distill", "teacher": {"checkpoint": "hf-hub:a/b"}}, "is a repository of the Hugging Face hub"),
        ({"student": {"weights": "{there}"}}, "holds no weights"),
        ({"peers": [{"weights": "{there}/nothere"}]}, "peers[0].weights={there}/nothere: there is no such"),
        ({"role": "distill", "teacher": {"checkpoint": "{there}/x"}}, "teacher.checkpoint={there}/x: there is no such"),
        ({"teacher": {"members": ["{there}/nothere"]}}, "teacher.members[0]={there}/nothere: there is no such"),
        ({"teacher": {"members": ["{there}/run"]}}, "it lacks config.yaml and summary.json"),
        ({"teacher": {"members": [{"checkpoint": "{there}/x"}]}}, "teacher.members[0].checkpoint={there}/x: there is"),
        ({"dataset": {"_target_": "a.ImageFolder", "root": "{there}/x"}}, "dataset.root={there}/x: there is no such"),
        ({"dataset": {"_target_": "a.MNIST", "root": "{there}/file.zip"}}, "is a file: unpack it"),
        ({"teacher_cache": "~/x"}, "teacher_cache=~/x: write the whole path, "),
    ],
)
def test_a_place_that_is_not_there_is_refused(tmp_path: Path, tree: dict[str, Any], said: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "file.zip").touch()
    filled = json.loads(json.dumps(tree).replace("{there}", str(tmp_path)))
    (problem,) = place_problems(filled)
    assert said.replace("{there}", str(tmp_path)) in problem


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"dataset": {"cache": "{full}/a/b"}}, "dataset.cache"),
        (
            {"role": "distill", "teacher": {"recipe": "r", "checkpoint": None}, "teacher_cache": "{full}"},
            "teacher_cache",
        ),
        ({"role": "distill", "teacher": {"members": [{"recipe": "r"}]}, "teacher_cache": "{full}"}, "teacher_cache"),
        ({"replay": {"teacher": "on", "prefix": "auto", "cache": "{full}"}}, "replay.cache"),
        ({"trainer": {"tune": "auto", "tune_cache": "{full}"}}, "trainer.tune_cache"),
    ],
)
def test_a_store_that_a_run_fills_must_take_files(tmp_path: Path, tree: dict[str, Any], key: str) -> None:
    (tmp_path / "file").touch()
    (problem,) = place_problems(json.loads(json.dumps(tree).replace("{full}", str(tmp_path / "file"))))
    assert problem.startswith(f"{key}={tmp_path}/file") and f"{tmp_path}/file is no folder; give another" in problem


def test_a_store_that_nothing_goes_into_may_be_anywhere(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file")
    given = {"recipe": "r", "checkpoint": str(tmp_path / "file")}
    replay = {"teacher": "auto", "prefix": "off", "cache": nowhere}
    trainer = {"tune": "off", "tune_cache": nowhere}
    tree = {"role": "distill", "teacher": given, "teacher_cache": nowhere, "replay": replay, "trainer": trainer}
    assert not list(place_problems(tree))


def test_a_folder_without_a_byte_left_is_found_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writing_problem(tmp_path / "new" / "run") is None and not any(tmp_path.iterdir())
    monkeypatch.setattr(storage.tempfile, "TemporaryFile", lambda dir: Path("/dev/full").open("wb"))  # noqa: SIM115
    wrong = writing_problem(tmp_path)
    assert wrong is not None and wrong.startswith(f"{tmp_path} can't be written: No space left on device: ")


@pytest.mark.parametrize(
    ("target", "absent", "said"),
    [
        ("kdistill.tracking.loggers.wandb_logger", ("wandb",), "logger=x needs a package: "),
        ("pytorch_lightning.loggers.TensorBoardLogger", ("tensorboard", "tensorboardX"), "tensorboard"),
        ("pytorch_lightning.loggers.CSVLogger", (), None),
    ],
)
def test_a_logger_whose_package_is_absent_is_refused(
    monkeypatch: pytest.MonkeyPatch, target: str, absent: tuple[str, ...], said: str | None
) -> None:
    for package in absent:
        monkeypatch.setitem(sys.modules, package, None)
    problems = list(package_problems({"logger": {"x": {"_target_": target}}}))
    assert [said in problem for problem in problems] == [True] * (said is not None)


def test_what_will_be_made_need_not_be_there(tmp_path: Path) -> None:
    new = str(tmp_path / "new")
    data = {"_target_": "kdistill.data.mnist.MNIST", "root": new}
    assert not list(place_problems({"dataset": data, "student": {"weights": "hf-hub:a/b"}, "output": f"{new}/x.json"}))


def test_values_out_of_every_constructors_range_are_refused_at_once() -> None:
    wrong = {
        "seed=4294967296": "seed: must be less than or equal to 4294967295",
        "optimizer.lr=-1": "optimizer.lr: must be greater than or equal to 0",
        "optimizer.momentum=-1": "optimizer.momentum: must be greater than or equal to 0",
        "trainer.max_epochs=0": "trainer.max_epochs: must be greater than 0",
        "scheduler.interval=epoch": "write '+scheduler.interval=...'",
        "student.name=mnist_mpl": "did you mean 'mnist_mlp'",
        "student.weights=nothere": "student.weights=nothere: there is no such file or folder",
    }
    _, found = check_overrides([SCRATCH, "optimizer=sgd", *wrong])
    assert len(found) == len(wrong)
    for said in wrong.values():
        assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("door", "overrides", "said"),
    [
        ("evaluate", ["run={there}/nothere"], "run={there}/nothere: there is no such file or folder"),
        (
            "evaluate",
            ["run={there}"],
            "run: '{there}' holds 2 finished runs, give one of them: {there}/other, {there}/run",
        ),
        ("evaluate", ["run={there}/run", "dataset.root={there}/nothere"], "dataset.root={there}/nothere"),
        ("evaluate", ["run={there}/run", "output={there}/file/x.json"], "{there}/file is no folder"),
        ("compare", ["runs=[{there}/nothere]"], "runs={there}/nothere: there is no such"),
        ("report", ["runs=[{there}/run,{there}/nothere]"], "runs={there}/nothere: there is no such"),
    ],
)
def test_what_the_other_doors_are_given_must_be_there(
    tmp_path: Path, door: str, overrides: list[str], said: str
) -> None:
    (tmp_path / "file").touch()
    for run in ("run", "other"):
        (tmp_path / run).mkdir()
        for name in ("config.yaml", "summary.json"):
            (tmp_path / run / name).touch()
    _, (problem,) = check_overrides([text.format(there=tmp_path) for text in overrides], door)
    assert said.format(there=tmp_path) in problem


def test_a_machine_without_a_driver_has_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(machine, "version", lambda package: "2.15.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine.ctypes, "CDLL", missing)
    assert "no NVIDIA driver" in str(cuda_problem())
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: None)
    assert cuda_problem() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES hides" in str(cuda_problem())
    monkeypatch.setattr(machine, "version", lambda package: "2.15.0+cpu")
    assert "build for CPUs" in str(cuda_problem())
    assert version("torch")


def test_cuda_is_asked_for_here_unless_the_jobs_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "cuda_problem", lambda: "there is none")
    assert check_overrides([SCRATCH, "device=cuda"])[1] == [
        "device=cuda, but there is none: use device=cpu or device=auto"
    ]
    elsewhere = [SCRATCH, "device=cuda", "seed=1,2", "hydra/launcher=submitit_slurm"]
    assert not check_overrides(elsewhere, multirun=True)[1]
