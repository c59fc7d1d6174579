"""What it means that configs differ in a key: one table, and every key that there is in it."""

from pathlib import Path

import pytest

from kdistill.config.compose import check_overrides
from kdistill.config.key_identity import (
    GOING_ON,
    MEANINGS,
    SAME_ARM,
    SAME_COMPARISON,
    SAME_CONTROL,
    SAME_JOB,
    SAME_SETTINGS,
    SAME_TEACHER,
    counts,
    meaning,
    that_count,
)
from kdistill.config.paths import conf_dir
from kdistill.config.tree import leaves, plain

QUESTIONS = (SAME_JOB, GOING_ON, SAME_CONTROL, SAME_COMPARISON, SAME_SETTINGS, SAME_ARM, SAME_TEACHER)


EXPERIMENTS = [
    pytest.param(path, marks=[] if path.stem in ("mnist_takd", "distill") else [pytest.mark.slow], id=path.stem)
    for path in sorted(Path(conf_dir(), "experiment").glob("*.yaml"))
]


@pytest.mark.parametrize("path", EXPERIMENTS)
def test_every_key_of_every_experiment_has_a_row(path: Path) -> None:
    config, _ = check_overrides([f"+experiment={path.stem}"])
    assert config is not None
    rows = {key for key in leaves(plain(config)) if any(f"{key}.".startswith(f"{row}.") for row in MEANINGS)}
    assert rows == set(leaves(plain(config)))


@pytest.mark.parametrize(
    ("key", "answers"),  # of another job, going on, control, comparison, settings, arm, teacher
    [
        ("optimizer.lr", "yes yes yes yes yes yes yes"),
        ("dataset.batch_size", "yes yes yes yes yes yes yes"),
        ("dataset.augment.shift", "yes yes yes yes yes yes yes"),
        ("dataset.limit", "yes yes yes yes yes yes no"),  # the number of images is part of a teacher's key
        ("dataset.root", "yes yes yes yes yes no no"),
        ("dataset.seed", "yes yes yes yes no no yes"),
        ("seed", "yes yes yes no no no yes"),
        ("name", "yes yes no no no no no"),
        ("replay.dtype", "yes yes yes yes yes yes no"),
        ("replay.keep", "yes yes yes yes yes yes no"),
        ("replay.prefix", "yes no no no no no no"),
        ("device", "yes no yes yes yes no no"),
        ("decision_threshold", "yes no yes yes yes no no"),
        ("callbacks.lr.logging_interval", "yes no no no no no no"),
        ("callbacks.resume.minutes", "no no no no no no no"),
        ("logger.wandb.group", "no no no no no no no"),
        ("dataset.cache", "no no no no no no no"),
    ],
)
def test_the_table_answers_each_question(key: str, answers: str) -> None:
    assert ["yes" if counts(key, question) else "no" for question in QUESTIONS] == answers.split()


def test_the_nearest_section_above_decides_of_a_key_without_a_row() -> None:
    assert meaning("replay.cache") is meaning("logger.csv.flush") is not meaning("trainer.max_epochs")
    assert meaning("callbacks.resumed") is meaning("callbacks")


def test_what_counts_is_given_by_dotted_key() -> None:
    tree = {"seed": 1, "trainer": {"max_epochs": 3, "progress_bar": False}, "logger": {"csv": None}}
    assert that_count(tree, SAME_ARM) == {"trainer.max_epochs": 3}
