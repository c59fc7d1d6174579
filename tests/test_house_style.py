"""What the house style asks and no linter knows."""

import re
from pathlib import Path

OPENED = re.compile(r'"""(Says|Names|Joins|Tells|Asks|Knows)\b.*')


def test_docstrings_open_with_what_a_thing_is_and_not_with_what_it_says() -> None:
    places = [path for folder in ("src", "tests") for path in Path(__file__).parents[1].glob(f"{folder}/**/*.py")]
    assert len(places) > 300
    assert [(path.name, found[0]) for path in places for found in OPENED.finditer(path.read_text())] == []


def test_no_file_of_the_source_is_longer_than_250_lines() -> None:
    places = Path(__file__).parents[1].glob("src/**/*.py")
    assert {path.name: lines for path in places if (lines := path.read_text().count("\n")) > 250} == {}
