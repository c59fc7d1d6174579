"""The command line is checked as a whole before anything runs: every mistake, once, in words."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from kdistill.base.errors import UserError
from kdistill.config.cli import run_door
from kdistill.config.compose import check_overrides, compose_config

DISTILL = "+experiment=mnist_distill"
SCRATCH = "+experiment=mnist_scratch"


def mistakes(*overrides: str, multirun: bool = False) -> list[str]:
    return check_overrides(overrides, multirun=multirun)[1]


ONE_MISTAKE = [
    ([DISTILL, "teacher.class_map=[0,1]"], "teacher.class_map is for a teacher that knows other classes already"),
    ([DISTILL, "+teacher.class_map=[0,1]"], "teacher.class_map is for a teacher that knows other classes already"),
    (
        [DISTILL, "+teacher.answers=logits.npz"],
        "'teacher.answers' is not there: a file of a teacher's answers is read",
    ),
    ([DISTILL, "teacher.image_size=[32]"], "teacher.image_size: "),
    ([DISTILL, "teacher.image_size=0"], "teacher.image_size: "),
    ([DISTILL, "seed=4294967296"], "seed: must be less than or equal to 4294967295, not 4294967296"),
    # keys
    ([DISTILL, "loss.temprature=2"], "unknown key 'loss.temprature'; did you mean 'loss.temperature'?"),
    ([DISTILL, "+loss.temprature=2"], "unknown key 'loss.temprature'; did you mean 'loss.temperature'?"),
    ([DISTILL, "++loss.temprature=2"], "unknown key 'loss.temprature'; did you mean 'loss.temperature'?"),
    ([DISTILL, "temperature=2"], "unknown key 'temperature'; did you mean 'loss.temperature'?"),
    ([DISTILL, "+temperature=2"], "unknown key 'temperature'; did you mean 'loss.temperature'?"),
    ([DISTILL, "trainer.max_epoch=2"], "unknown key 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
    ([DISTILL, "+trainer.max_epoch=2"], "unknown key 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
    ([DISTILL, "+dataset.augment.shft=2"], "unknown key 'dataset.augment.shft'; did you mean 'dataset.augment.shift'?"),
    ([DISTILL, "callbacks.checkpoint.monitr=x"], "did you mean 'callbacks.checkpoint.monitor'?"),
    ([DISTILL, "optimizer.betas=[0.9,0.99]"], "write '+optimizer.betas=...'"),
    ([DISTILL, "student.drop_rate=0.2"], "write '+student.drop_rate=...'"),
    ([DISTILL, "~name"], "'name' cannot be left out"),
    ([SCRATCH, "teacher.name=x"], "there is no teacher yet, choose one with teacher=<option>"),
    # options of groups
    (["+experiment=nothere"], "no option 'nothere' in group 'experiment' (there are: cifar100_distill,"),
    (["+experiment=mnist_distil"], "did you mean 'mnist_distill'?"),
    (["experiment=mnist_distill"], "write it with a plus: +experiment=mnist_distill"),
    ([DISTILL, "+loss=kd"], "write it without the plus: loss=kd"),
    ([DISTILL, "optimizer=sdg"], "no option 'sdg' in group 'optimizer'; did you mean 'sgd'?"),
    ([DISTILL, "trainer=null"], "no option 'null' in group 'trainer'"),
    # types, words and ranges
    ([DISTILL, "trainer.max_epochs=three"], "trainer.max_epochs: must be a whole number, not 'three'"),
    ([DISTILL, "trainer.progress_bar=ja"], "trainer.progress_bar: must be true or false, not 'ja'"),
    ([DISTILL, "trainer.max_epochs=0"], "trainer.max_epochs: must be greater than 0, not 0"),
    ([DISTILL, "device=cudda"], "device: must be one of auto, cpu, cuda, not 'cudda'; did you mean 'cuda'?"),
    ([DISTILL, "loss.temperature=-1"], "loss.temperature: must be greater than 0, not -1"),
    ([DISTILL, "loss.temperature=true"], "loss.temperature: must be a number, not True"),
    ([DISTILL, "loss.alpha=2"], "loss.alpha: must be less than or equal to 1, not 2"),
    ([DISTILL, "dataset.limit=ten"], "dataset.limit: must be a whole number, not 'ten'"),
    ([DISTILL, "dataset.augment.shift=-1"], "dataset.augment.shift: must be greater than or equal to 0, not -1"),
    ([DISTILL, "+optimizer.betas=[0.9,x]"], "optimizer.betas: must be a number"),
    (
        [DISTILL, "callbacks.lr=null"],
        "callbacks.lr=null: must be a section with a _target_ (to leave it out: ~callbacks.lr)",
    ),
    # targets
    ([DISTILL, "optimizer._target_=torch.optim.AdamX"], "there is no 'AdamX' in torch.optim"),
    ([DISTILL, "student=custom"], "'student._target_' is not set: give student._target_=..."),
    ([DISTILL, "student=custom", "student._target_=my_nets.Net"], "there is no package or module 'my_nets'"),
    ([DISTILL, "student=timm"], "'student.name' is not set: give student.name=..."),
    ([DISTILL, "+scheduler.total_steps=9"], "'scheduler.total_steps' is filled in when the run starts: leave it out"),
    ([DISTILL, "~callbacks.checkpoint"], "nothing keeps the best weights: callbacks needs a"),
    # roles
    (
        [DISTILL, "teacher=none"],
        "role=distill needs a teacher: choose teacher= one of answers, custom, efficientnet_lite2, mnist_cnn",
    ),
    ([DISTILL, "student=none"], "role=distill needs a student"),
    ([DISTILL, "loss=ce"], "role=distill needs a loss with 'alpha'"),
    ([SCRATCH, "loss=kd"], "role=student has no teacher to learn from"),
    (
        [DISTILL, "role=distil"],
        "role: must be one of teacher, student, distill, mutual, not 'distil'; did you mean 'distill'?",
    ),
    ([DISTILL, "teacher.recipe=null"], "the teacher has no weights: give teacher.checkpoint="),
    (
        [DISTILL, "teacher.recipe=mnist_teach"],
        "teacher.recipe=mnist_teach: no option 'mnist_teach' in group 'experiment'; did you mean 'mnist_teacher'?",
    ),
    (
        [DISTILL, 'teacher.recipe_overrides=["trainer.max_epochs=three"]'],
        "teacher.recipe=mnist_teacher: trainer.max_epochs:",
    ),
    # the rest
    (["device=cpu"], "nothing says what to train: +experiment= one of cifar100_distill,"),
    ([DISTILL, "name=${nam}"], "name=${nam} cannot be resolved"),
    ([DISTILL, "loss.temperature"], "'loss.temperature': write loss.temperature=<value>"),
    ([DISTILL, "loss.temperature=2,4"], "loss.temperature=2,4: several values need -m (--multirun)"),
    ([DISTILL, "hydra.run.dirr=x"], "did you mean 'hydra.run.dir'?"),
]


@pytest.mark.parametrize(("overrides", "said"), ONE_MISTAKE, ids=[" ".join(overrides) for overrides, _ in ONE_MISTAKE])
def test_one_mistake_gives_one_line_that_says_the_mend(overrides: list[str], said: str) -> None:
    found = mistakes(*overrides)
    assert len(found) == 1 and said in found[0], found


def test_all_mistakes_are_reported_at_once() -> None:
    wrong = ["loss.temprature=2", "loss.alpha=2", "trainer.max_epochs=three", "optimizer=sdg", "+temperature=3", "lr=1"]
    found = mistakes("+experiment=mnist_distil", *wrong)
    assert len(found) == 7, found


@pytest.mark.parametrize(
    "override",
    ["+optimizer.betas=[0.9,0.99]", "+student.drop_rate=0.2", "dataset.augment=null", "~callbacks.lr", "loss.alpha=1"],
)
def test_what_a_target_takes_is_accepted(override: str) -> None:
    assert mistakes(DISTILL, override) == []


def test_every_value_of_a_sweep_is_checked() -> None:
    found = mistakes(DISTILL, "loss.temperature=2,4,-1", "optimizer=adamw,sgdd", "seed=range(0,900)", multirun=True)
    assert len(found) == 2 and "not -1" in found[0] and "'sgdd'" in found[1]


def test_a_users_own_network_is_checked_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "raise SystemExit\nclass Net:\n    def __init__(self, num_classes: int, in_chans: int, width: int): ...\n"
    (tmp_path / "nets_that_must_not_run.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = [DISTILL, "student=custom", "student._target_=nets_that_must_not_run.Net"]
    assert mistakes(*own, "+student.width=64") == []
    assert mistakes(*own, "+student.width=wide") == ["student.width: must be a whole number, not 'wide'"]
    assert "did you mean 'student.width'" in mistakes(*own, "+student.width=64", "+student.widht=64")[0]
    assert mistakes(*own) == [
        "'student.width' is not set: nets_that_must_not_run.Net needs it, give +student.width=..."
    ]


def test_a_folder_of_own_experiments_is_searched(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - mnist_teacher\nname: mine\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    cfg, found = check_overrides(["+experiment=mine"], search_path=[str(tmp_path)])
    assert cfg is not None and cfg.name == "mine" and found == []
    assert "no such folder" in check_overrides([DISTILL], search_path=[str(tmp_path / "not")])[1][0]


def test_composing_gives_the_config_or_all_that_is_wrong() -> None:
    cfg = compose_config([DISTILL, "loss.temperature=8"])
    assert cfg.loss.temperature == 8 and cfg.role == "distill" and "hydra" not in cfg
    with pytest.raises(UserError, match=r"(?s)2 mistakes.*1. .*2. "):
        compose_config([DISTILL, "loss.temperature=-8", "loss.alpha=7"])
    assert not GlobalHydra.instance().is_initialized()


def test_the_check_imports_no_torch() -> None:
    code = (
        "import sys; from kdistill.config.compose import check_overrides;"
        f"assert check_overrides(['{DISTILL}'])[1] == [];"
        "print(sorted({'torch', 'torchvision', 'timm', 'pytorch_lightning', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


DOOR = """
from kdistill.config.cli import run_door
from kdistill.config.compose import compose_config
from kdistill.base.errors import UserError

def run(cfg):
    if cfg.seed == 7:
        raise UserError("seven is not allowed")
    if cfg.seed == 8:
        raise RuntimeError("a bug")
    print("ran", cfg.name, cfg.seed, compose_config(["+experiment=mnist_teacher"]).role)

if __name__ == "__main__":
    run_door(run, "train")
"""


def door(folder: Path, *arguments: str, completing: str | None = None) -> subprocess.CompletedProcess[str]:
    (folder / "door.py").write_text(DOOR)
    environment = {"PATH": "/usr/bin", **({"COMP_LINE": completing} if completing else {})}
    command = [sys.executable, "-m", "door", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_valid_config_runs(tmp_path: Path) -> None:
    done = door(tmp_path, DISTILL, "logger=tensorboard")
    assert done.returncode == 0 and "ran mnist_distill 0 teacher" in done.stdout, done.stderr


def test_mistakes_leave_with_2_and_a_short_report_and_nothing_runs(tmp_path: Path) -> None:
    done = door(tmp_path, DISTILL, "loss.temprature=2", "loss.alpha=2")
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0] == "2 mistakes in the configuration; nothing was run:"
    assert not (tmp_path / "outputs").exists()


def test_a_users_error_in_the_task_leaves_with_2_and_its_message_alone(tmp_path: Path) -> None:
    done = door(tmp_path, DISTILL, "seed=7")
    assert done.returncode == 2 and done.stderr == "seven is not allowed\n"


def test_a_bug_leaves_with_1_and_its_traceback(tmp_path: Path) -> None:
    done = door(tmp_path, DISTILL, "seed=8")
    assert done.returncode == 1 and "Traceback" in done.stderr and "RuntimeError: a bug" in done.stderr


@pytest.mark.slow
def test_a_sweep_runs_every_job(tmp_path: Path) -> None:
    done = door(tmp_path, "-m", DISTILL, "seed=1,2")
    assert done.returncode == 0 and "mnist_distill 1" in done.stdout and "mnist_distill 2" in done.stdout, done.stderr


def test_help_config_and_completion_answer(tmp_path: Path) -> None:
    assert "+experiment=mnist_distill" in door(tmp_path, "--help").stdout
    assert "temperature: 2.0" in door(tmp_path, DISTILL, "--cfg", "job").stdout
    line = f"python -m kdistill.train {DISTILL} loss.t"
    assert "loss.temperature=" in door(tmp_path, "-sc", "query=bash", completing=line).stdout


def test_the_door_runs_its_task_in_process_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", DISTILL, "seed=3"])
    seeds: list[int] = []
    run_door(lambda cfg: seeds.append(cfg.seed), "train")
    assert seeds == [3] and not GlobalHydra.instance().is_initialized()


def test_no_door_unpickles_a_config(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.pickle").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--experimental-rerun", "config.pickle"])
    with pytest.raises(SystemExit) as stopped:
        run_door(lambda config: None, "evaluate")
    assert stopped.value.code == 2 and "unpickles a file" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
