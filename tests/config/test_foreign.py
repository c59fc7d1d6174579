"""Words of other programs are answered with what is written here, and what the answer says can be written."""

import re
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from kdistill.config.compose import check_overrides
from kdistill.config.foreign import KEYS, WORDS, advice, word_advice
from kdistill.config.paths import conf_dir
from kdistill.config.typed_words import words_first, wrong_options, wrong_words

SCRATCH, DISTILL = "+experiment=mnist_scratch", "+experiment=mnist_distill"
WRITTEN = re.compile(r"(?<![\w./-])\+?([a-z_]+(?:\.\w+)*)=")
OURS = {
    *("device", "trainer", "dataset", "student", "teacher", "loss", "optimizer", "scheduler", "logger", "callbacks"),
    *("seed", "name", "experiment", "hydra", "run", "debug", "tags", "ckpt_path"),
}


FOREIGN = {
    "trainer.accelerator=mps": "trainer.accelerator: must be",
    "+gpus=2": "trainer.devices=<number> trainer.strategy=ddp",
    "fast_dev_run=true": "write debug=fast_dev_run",
    "accumulate_grad_batches=4": "write trainer.accumulate_grad_batches=4",
    "resume=x.ckpt": "hydra.run.dir=<its folder>",
    "+notes=[a]": "write tags=[a,b]",
    "device=gpu": "write device=cuda",
    "trainer.precision=16": "write trainer.precision=16-mixed",
    "trainer.strategy=fsdp": "each process has the whole student: write trainer.strategy=ddp",
    "epochs=5": "write trainer.max_epochs=5",
    "model=resnet18": "write student=timm student.name=resnet18",
    "data=cifar10": "write dataset=cifar10",
    "loss.T=4": "write loss.temperature=4",
    "wandb=true": "write logger=wandb",
    "+dataset.num_workers=4": "no worker processes load them",
    "trainer=gpu": "write device=cuda",
    "+student.pretrained=true": "student.weights=hub",
}


@pytest.fixture(scope="module")
def found() -> list[str]:
    """All of them in one command: it answers each."""
    return check_overrides([DISTILL, *FOREIGN])[1]


@pytest.mark.parametrize("override", FOREIGN)
def test_a_foreign_word_is_answered(override: str, found: list[str]) -> None:
    key, _, value = override.lstrip("+").partition("=")
    answers = [text for text in found if f"'{key}'" in text or text.startswith((f"{key}:", f"{key}="))]
    if key == "trainer":
        answers = [text for text in found if f"'{value}' in group" in text]
    assert len(answers) == 1 and FOREIGN[override] in answers[0], found


def test_every_answer_names_keys_and_options_that_there_are() -> None:
    groups: dict[str, set[str]] = {}
    for text in [*(str(advice(word, "x")) for word in KEYS), *WORDS.values()]:
        keys = {key for key in WRITTEN.findall(text) if key not in ("which", "CUDA_VISIBLE_DEVICES")}
        for key in keys:
            assert key.partition(".")[0] in OURS | {"pytorch_lightning"}, text
        for group, option in re.findall(r"(?<![\w.])(loss|optimizer|scheduler|logger)=(\w+)", text):
            groups.setdefault(group, set()).add(option)
    for group, options in groups.items():
        there = {path.stem for path in Path(conf_dir(), group).glob("*.yaml")}
        assert options - {"x"} <= there, group


def test_our_own_words_are_not_foreign() -> None:
    for key in ("loss.alpha", "seed", "loss.temperature", "trainer.max_epochs", "dataset.batch_size", "device"):
        assert advice(key, 1) is None, key
    assert word_advice("device", "cuda") is None and word_advice("logger", "csv") is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "3"], "write seed=3"),
        (["--seed=3"], "write seed=3"),
        (["--epochs", "3"], "write trainer.max_epochs=3"),
        (["--batch-size", "32"], "write dataset.batch_size=32"),
        (["-b", "32"], "write dataset.batch_size=32"),
        (["--config", "x.yaml"], "write +experiment=<name>"),
        (["--temperature", "3"], "write loss.temperature=3"),
        (["--val-fraction", ".3"], "write dataset.val_fraction=.3"),
        (["--gpus", "2"], "trainer.devices=<number>"),
        (["--trainer.max_epochs", "4"], "write trainer.max_epochs=4"),
        (["--resume", "--lr", "1"], "hydra.run.dir=<its folder>"),
    ],
)
def test_options_with_dashes_are_answered(words: list[str], said: str) -> None:
    assert said in wrong_options(words, get_args_parser())[0]


@pytest.mark.parametrize(
    "words", [["-m", "a=1,2"], ["--cfg", "job"], ["-h"], ["--multi"], ["-cn", "x"], ["a=-1"], ["~a"]]
)
def test_hydras_own_options_pass(words: list[str]) -> None:
    assert not wrong_options(words, get_args_parser())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+experiment", "=", "mnist_scratch"], "write +experiment=mnist_scratch"),
        (["seed=", "3"], "write seed=3"),
        (["seed", "=3"], "write seed=3"),
        (["seed", "3"], "write seed=3"),
        (["epochs", "3", "seed=1"], "write trainer.max_epochs=3"),
    ],
)
def test_key_and_value_apart_are_answered(words: list[str], said: str) -> None:
    (problem,) = wrong_words(words)
    assert said in problem
    assert check_overrides([SCRATCH, *words])[1] == [problem]


@pytest.mark.parametrize("words", [["seed=3"], ["~logger"], ["name="], ["a.b=[1,2]", "c=x=y"]])
def test_key_and_value_together_pass(words: list[str]) -> None:
    assert not wrong_words(words)


@pytest.mark.parametrize(
    ("words", "sorted_words"),
    [
        (["a=1", "-m", "b=2", "c=3"], ["a=1", "b=2", "c=3", "-m"]),
        (["a=1", "--cfg", "job", "b=2", "--resolve", "c=3"], ["a=1", "b=2", "c=3", "--cfg", "job", "--resolve"]),
        (["-m", "a=1", "a=1"], ["-m", "a=1", "a=1"]),
        (["a=1", "--info"], ["a=1", "--info"]),
    ],
)
def test_options_may_stand_between_the_overrides(words: list[str], sorted_words: list[str]) -> None:
    assert words_first(words, get_args_parser()) == sorted_words
