"""Plain paths among the overrides, and values as Hydra reads them."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from kdistill.base.errors import UserError
from kdistill.config.words import literal, paths_as_key, with_home


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("out/a", "out/loss.alpha,loss.temperature/loss.alpha=0.5,loss.temperature=2"):
        Path(name).mkdir(parents=True)
        for file in ("config.yaml", "summary.json"):
            Path(name, file).write_text("{}")
    Path("out/arms").mkdir()
    Path("out/comparison.md").write_text("")
    return tmp_path


def runs(words: list[str]) -> list[str]:
    """What Hydra makes of the last override."""
    return OverridesParser.create().parse_override(paths_as_key(words, "runs")[-1]).value()


def test_a_path_is_a_list_of_one(here: Path) -> None:
    assert paths_as_key(["out/a", "output=page.html"], "runs") == ["output=page.html", "runs=[out/a]"]


def test_a_path_with_the_signs_of_hydra_in_it_is_one_path(here: Path) -> None:
    sweep = "out/loss.alpha,loss.temperature"
    job = f"{sweep}/loss.alpha=0.5,loss.temperature=2"
    assert runs([sweep]) == [sweep] and runs([job, "out/a"]) == [job, "out/a"]


def test_of_what_a_shell_made_of_a_pattern_only_folders_with_runs_are_taken(here: Path) -> None:
    assert runs(["out/a", "out/arms", "out/comparison.md"]) == ["out/a"]
    assert runs(["out/arms"]) == ["out/arms"], "one that the user wrote himself is an error later on"


def test_a_quoted_pattern_stays_a_pattern(here: Path) -> None:
    assert runs(["out/*"]) == ["out/*"]


def test_overrides_alone_are_as_they_were(here: Path) -> None:
    words = ["runs=[out/a]", "+experiment=mnist_distill", "~logger", "hydra/launcher=joblib", "output=out/x"]
    assert paths_as_key(words, "runs") == words


@pytest.mark.parametrize("word", ["out/b", "out/sweep/loss.alpha=1", "nothing*"])
def test_a_path_that_is_not_there_is_an_error_that_names_it(here: Path, word: str) -> None:
    with pytest.raises(UserError, match="there is no '") as error:
        paths_as_key(["out/a", word], "runs")
    assert f"'{word}'" in str(error.value) and "key=value" in str(error.value)


def test_paths_and_the_key_together_are_an_error(here: Path) -> None:
    with pytest.raises(UserError, match="give all of them as paths"):
        paths_as_key(["out/a", "runs=[out/b]"], "runs")


@pytest.mark.parametrize(
    "value",
    [
        "a b",
        'a "b"',
        "1e3",
        "null",
        "x=1,y=[2]",
        "-a",
        "it's",
        1.5,
        True,
        ["a,b", "c"],
        {"a b": 1},
        {"a: {_target_: b.c, d": "e"},
        {"${oc.env:HOME}": 1},
        {"x,y[0]=(z)": [2]},
    ],
)
def test_a_literal_is_read_as_the_value_that_it_was_made_of(value: object) -> None:
    assert OverridesParser.create().parse_override(f"key={literal(value)}").value() == value


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("dataset.root=~/x", "dataset.root=/home/me/x"),
        ("run=~", "run=/home/me"),
        ("runs=[~/a,~/b]", "runs=[/home/me/a,/home/me/b]"),
        ("+a=b/~/c", "+a=b/~/c"),
        ("~callbacks.lr", "~callbacks.lr"),
        ("a=~b", "a=~b"),
        ("~/runs", "~/runs"),
    ],
)
def test_a_tilde_after_a_key_is_the_home_folder(given: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert with_home(given) == expected
