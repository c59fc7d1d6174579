"""A run's config.yaml is data: what would be resolved, repeated without end or is no config is refused by name."""

from pathlib import Path

import pytest

from kdistill.base.errors import UserError
from kdistill.runs.folder import RunFolder


def test_a_config_comes_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: one\ndataset: {root: null, classes: [a, b], text: 'costs $5'}\n")
    assert RunFolder(tmp_path).config() == {
        "name": "one",
        "dataset": {"root": None, "classes": ["a", "b"], "text": "costs $5"},
    }


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: ${oc.env:HOME}", r"name is '\$\{oc\.env:HOME\}'; a stored config holds values and no interpolation"),
        ("a: [{b: '${oc.create:{_target_: os.system}}'}]", r"a\[0\]\.b is "),
        ("a: 1\nb: ${a}", "no interpolation"),
        ("a: '${a'", "cannot be read|no interpolation"),
        (BOMB, "holds an alias"),
        ("a: 1\n" * 400_000, "has 2,000,000 bytes"),
        ("a: [1", "cannot be read as a run's config"),
        ("[" * 100_000, "nests sections more than 50 deep"),
        ("- 1\n- 2", "holds no settings"),
        ("", "holds no settings"),
        ("a: !!python/object/apply:os.system [ls]", "cannot be read as a run's config"),
        ("\x00", "cannot be read as a run's config"),
    ],
)
def test_what_no_run_writes_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        RunFolder(tmp_path).config()
    assert str(tmp_path / "config.yaml") in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UserError, match="cannot be read as a run's config"):
        RunFolder(tmp_path).config()
