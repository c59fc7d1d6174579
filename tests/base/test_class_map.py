"""Which of a teacher's classes make each class of the run: every form of a map, and what is wrong with one."""

from pathlib import Path
from typing import Any

import pytest

from kdistill.base.class_map import class_groups, read_class_map
from kdistill.base.errors import UserError

OURS = ("cat", "dog")
THEIRS = [["tabby, tabby cat", "n1", "tabby", "tabby cat"], ["lynx"], ["beagle"], ["sea-lion"]]
GROUPS = ((0, 1), (2,))


def groups(given: Any) -> tuple[tuple[int, ...], ...]:
    return class_groups(read_class_map(given), OURS, THEIRS, who="the teacher")


@pytest.mark.parametrize(
    "given",
    [
        {"cat": ["Tabby", "lynx"], "dog": "beagle"},
        {"Cat": [0, "1"], "dog": [2]},
        {"n1": "cat", "lynx": "cat", "beagle": "dog", "sea lion": None},
        ["cat", "cat", "dog", None],
    ],
)
def test_a_map_goes_either_way_by_names_of_all_kinds_or_numbers(given: Any) -> None:
    assert groups(given) == GROUPS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "teacher,class\ntabby,cat\nlynx,cat\nbeagle,dog\nsea lion,\n"),
        ("a.csv", "class,teacher\ncat,n1\ncat,1\ndog,2\n"),
        ("a.yaml", "cat: [tabby, lynx]\ndog: beagle\n"),
        ("a.yml", "- cat\n- cat\n- dog\n- null\n"),
        ("a.json", '{"cat": ["tabby", "lynx"], "dog": ["beagle"]}'),
    ],
)
def test_a_map_may_be_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert groups(str(tmp_path / name)) == GROUPS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cat": ["tabby"]}, "no class of the teacher is given to dog"),
        ({"cat": ["tabby"], "dgo": "beagle"}, "'dgo' is no class of the run; did you mean 'dog'"),
        ({"cat": ["taby"], "dog": "beagle"}, "'taby' is no class of the teacher; did you mean 'tabby'"),
        ({"cat": [0, 1], "dog": [1]}, "'lynx' is given to 'cat' and 'dog'"),
        ({"cat": [0, 0], "dog": [1]}, "'0' is there twice for 'cat'"),
        ({"cat": [0.5], "dog": [1]}, "neither a name nor a number"),
        ({"cat": [0], "dog": [4]}, "'4' is no class of the teacher"),
        (["cat", "dog"], "one entry for each class of the teacher: 2 of 4"),
        ({}, "holds no map"),
        ("nowhere.csv", "file here"),
    ],
)
def test_what_is_wrong_with_a_map_is_said(given: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        groups(given)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "a: &a [x]\nb: *a\n", "alias"),
        ("a.yaml", "a: [[[[[[x]]]]]]\n", "deep"),
        ("a.yaml", "a: !!python/object/apply:os.system [ls]\n", "can't be read as yaml"),
        ("a.yaml", "just words\n", "holds no map"),
        ("a.csv", "cat,tabby\n", "first line must be teacher,class"),
        ("a.csv", "teacher,class\na,b,c\n", "row 2: 3 fields"),
        ("a.csv", "teacher,class\na,cat\na,dog\n", "row 3: 'a' is there twice"),
        ("a.json", "{", "cannot be read as JSON"),
    ],
)
def test_a_file_that_is_no_map_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        groups(str(tmp_path / name))
