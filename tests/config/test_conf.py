"""Every yaml in `conf/` composes and fits the signatures: a key that nothing takes fails here."""

import shutil
from pathlib import Path

import pytest

from kdistill.config import compose, hydra_setup
from kdistill.config.paths import conf_dir

CONF = Path(conf_dir())
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
DISTILL = "+experiment=mnist_distill"

# What else an option needs to make a whole config.
WITH = {
    "dataset=custom": [DISTILL, "dataset._target_=torch.utils.data.Dataset"],
    "teacher=none": ["+experiment=mnist_scratch"],
    "teacher=timm": [DISTILL, "teacher.name=resnet34", "teacher.checkpoint=teacher.safetensors"],
    "teacher=custom": [DISTILL, "teacher._target_=torch.nn.Module", "teacher.checkpoint=teacher.safetensors"],
    "teacher=answers": [DISTILL, "teacher.file=teacher.csv"],
    "teacher=several": ["+experiment=mnist_several_teachers"],
    "student=none": ["+experiment=mnist_teacher"],
    "student=timm": [DISTILL, "student.name=resnet18"],
    "student=custom": [DISTILL, "student._target_=torch.nn.Module"],
    "loss=ce": ["+experiment=mnist_scratch"],
    "loss=label_smoothing": ["+experiment=mnist_scratch"],
    "loss=spread": ["+experiment=mnist_scratch"],
    "loss=vote_bins": ["+experiment=mnist_scratch"],
}
GROUPS = (
    "dataset",
    "teacher",
    "student",
    "loss",
    "optimizer",
    "scheduler",
    "trainer",
    "callbacks",
    "logger",
    "debug",
    "quantize",
)
WHOLE = ("default", "head_first")  # options of callbacks that need no other beside them
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
OPTIONS = [
    option if (name := option.removeprefix("callbacks=")) in (option, *WHOLE) else f"callbacks=[default,{name}]"
    for option in OPTIONS
]
# The data sets that are torchvision's by another name add no key: they are looked at with the slow tests.
PRESETS = {f"dataset={path.stem}" for path in CONF.glob("dataset/*.yaml") if "\n  - torchvision\n" in path.read_text()}
# So are most losses, each of which is composed to be trained as well.
LATER = PRESETS | {
    one for one in OPTIONS if one.startswith("loss=") and one not in ("loss=kd", "loss=several", "loss=crd")
}
MARKED = [pytest.param(option, marks=[pytest.mark.slow] if option in LATER else []) for option in OPTIONS]


def test_no_group_of_conf_is_forgotten_here() -> None:
    groups = {path.parent.name for path in CONF.glob("*/*.yaml") if "@package hydra" not in path.read_text()}
    assert groups == {*GROUPS, "experiment", "format"}


def test_every_device_format_is_valid_by_itself_and_beside_the_others(tmp_path: Path) -> None:
    for name in ("config.yaml", "summary.json"):
        (tmp_path / name).touch()
    names = sorted(path.stem for path in (CONF / "format").glob("*.yaml"))
    for chosen in (*names, f"[{','.join(names)}]"):
        config, problems = compose.check_overrides([f"run={tmp_path}", f"format={chosen}"], "export")
        assert problems == [] and config is not None
        assert sorted(config.format) == (names if "[" in chosen else [chosen])


# The rest with the slow tests.
FIRST = ("mnist_distill", "mnist_teacher", "mnist_scratch", "mnist_takd", "mnist_mutual", "mnist_several_teachers",
         "mhist_distill", "distill", "cifar100_distill")  # fmt: skip


@pytest.mark.parametrize(
    "experiment", [pytest.param(one, marks=[] if one in FIRST else [pytest.mark.slow]) for one in EXPERIMENTS]
)
def test_every_experiment_is_valid(experiment: str) -> None:
    assert compose.check_overrides([f"+experiment={experiment}"])[1] == []


@pytest.mark.parametrize("option", MARKED)
def test_every_option_of_every_group_is_valid(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("teacher.safetensors", "teacher.csv"):
        Path(name).touch()  # a file that is not there would be a mistake of its own
    assert compose.check_overrides([*WITH.get(option, [DISTILL]), option])[1] == []


def test_an_experiment_opens_with_its_command_and_what_to_expect() -> None:
    for name in EXPERIMENTS:
        lines = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()
        assert lines[0] == "# @package _global_"
        assert f"+experiment={name}" in lines[1]
        assert any("Expected:" in line for line in lines[:6]) and any("Minutes" in line for line in lines[:6])


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("loss/kd.yaml", "temprature: 2", "unknown key 'loss.temprature'; did you mean 'loss.temperature'?"),
        ("dataset/mnist.yaml", "shift: 2", "unknown key 'dataset.shift'"),
        ("optimizer/adamw.yaml", "learning_rate: 2", "unknown key 'optimizer.learning_rate'"),
        (
            "experiment/mnist_distill.yaml",
            "sed: 1",
            "experiment/mnist_distill.yaml: unknown key 'sed'; did you mean 'seed'?",
        ),
        (
            "experiment/mnist_distill.yaml",
            "seed: one",
            "experiment/mnist_distill.yaml: seed: must be a whole number, not 'one'",
        ),
        ("trainer/default.yaml", "epochs: 1", "unknown key 'trainer.epochs'"),
        ("train.yaml", "epochs: 1", "train.yaml: unknown key 'epochs'"),
        ("callbacks/default.yaml", "lr2: 1", "callbacks.lr2=1: must be a section with a _target_"),
    ],
)
def test_a_wrong_key_in_a_yaml_is_found(
    file: str, line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    with (tmp_path / "conf" / file).open("a") as yaml:
        yaml.write(f"{line}\n")
    monkeypatch.setattr(hydra_setup, "conf_dir", lambda: str(tmp_path / "conf"))
    found = compose.check_overrides([DISTILL, "loss.alpha=3"])[1]
    assert any(said in problem for problem in found), found
    assert any("loss.alpha" in problem for problem in found), found


def test_a_broken_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf" / "loss" / "kd.yaml").write_text("a: [1\nb: 2\n")
    monkeypatch.setattr(hydra_setup, "conf_dir", lambda: str(tmp_path / "conf"))
    cfg, found = compose.check_overrides([DISTILL])
    assert cfg is None and len(found) == 1 and "kd.yaml" in found[0]
