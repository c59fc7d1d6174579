"""`trainer.<argument>` takes what Lightning's Trainer takes; values are checked before torch is imported."""

import pytest

from kdistill.config.compose import check_overrides
from kdistill.config.key_identity import GOING_ON, SAME_ARM, counts
from kdistill.config.signature import trainers_arguments
from kdistill.config.trainer_arguments import count_devices

SCRATCH = "+experiment=mnist_scratch"
VALUES = {
    "trainer.accelerator=cpu": None,
    "trainer.devices=[0,1]": None,
    "trainer.max_steps=100": None,
    "trainer.min_epochs=1": None,
    "trainer.max_time=00:01:00:00": None,
    "trainer.limit_train_batches=0.5": None,
    "trainer.limit_val_batches=2": None,
    "trainer.accumulate_grad_batches=4": None,
    "trainer.val_check_interval=0.5": None,
    "trainer.deterministic=warn": None,
    "trainer.profiler=simple": None,
    "trainer.gradient_clip_algorithm=value": None,
    "trainer.num_nodes=0": "must be greater than 0",
    "trainer.strategy=dpp": "did you mean 'ddp'?",
    "trainer.max_stepz=3": "did you mean 'trainer.max_steps'?",
    "+trainer.sync_batchnrm=true": "did you mean 'trainer.sync_batchnorm'?",
    "trainer.min_steps=-1": "must be greater than or equal to 0",
    "trainer.limit_test_batches=1.5": "less than or equal to 1",
    "trainer.overfit_batches=many": "must be a",
    "trainer.inference_mode=3": "must be a boolean",
    "trainer.detect_anomaly=perhaps": "must be a boolean",
    "trainer.check_val_every_n_epoch=0": "must be greater than 0",
    "trainer.logger=false": "write logger=csv",
    "trainer.default_root_dir=x": "write hydra.run.dir=",
    "trainer.plugins=[{_target_: torch.nn.Nothing}]": "no 'Nothing' in torch.nn",
}


@pytest.fixture(scope="module")
def found() -> list[str]:
    """All of them in one command: what is wrong is listed."""
    return check_overrides([SCRATCH, *VALUES])[1]


@pytest.mark.parametrize("override", VALUES)
def test_an_argument_is_taken_or_answered(override: str, found: list[str]) -> None:
    key, wanted = override.lstrip("+").partition("=")[0], VALUES[override]
    opens = tuple(key + sign for sign in ":=.[")
    answers = [text for text in found if text.startswith(opens) or f"'{key}'" in text.partition(";")[0]]
    assert (answers == []) if wanted is None else (len(answers) == 1 and wanted in answers[0]), found


@pytest.mark.parametrize(
    ("devices", "count"),
    [(None, 1), ("auto", 1), (1, 1), (2, 2), ("2", 2), ([0], 1), ([1, 3], 2), ("1,3", 2), ("0,", 1), (-1, None)],
)
def test_devices_are_a_number_of_processes(devices: object, count: int | None) -> None:
    assert count_devices(devices) == count


@pytest.mark.parametrize("devices", ["0", "-2", "[]", "[0,0]", "[-1]", "two", "cuda:1"])
def test_what_is_no_number_of_processes_is_answered(devices: str) -> None:
    (problem,) = check_overrides([SCRATCH, f"trainer.devices={devices}"])[1]
    assert problem.startswith("trainer.devices") and "-1 for all GPUs" in problem


def test_no_argument_is_unknown() -> None:
    given = [f"trainer.{name}=null" for name in trainers_arguments() if name not in ("max_epochs", "precision")]
    problems = check_overrides([SCRATCH, *given])[1]
    assert len(given) > 35 and not [text for text in problems if "unknown" in text]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.accelerator=gpu", "device=cpu"], "contradicts device=cpu"),
        (["trainer.limit_val_batches=0"], "leaves no validation"),
        (["ckpt_path=nowhere.ckpt"], "there is no such run folder or .ckpt file"),
        (["callbacks=early_stopping"], "callbacks=[default,<another>] has one"),
    ],
)
def test_what_contradicts_the_rest_is_told(overrides: list[str], said: str) -> None:
    assert any(said in text for text in check_overrides([SCRATCH, *overrides])[1])


def test_what_only_reports_is_no_part_of_a_run() -> None:
    assert counts("trainer.max_steps", GOING_ON) and counts("trainer.accumulate_grad_batches", SAME_ARM)
    assert not counts("trainer.profiler", GOING_ON) and not counts("trainer.deterministic", SAME_ARM)


def test_options_of_callbacks_combine() -> None:
    config, problems = check_overrides([SCRATCH, "callbacks=[default,early_stopping,ema]", "tags=[a,b]"])
    assert problems == [] and config is not None
    assert set(config.callbacks) == {"checkpoint", "resume", "lr", "early_stopping", "ema"}
