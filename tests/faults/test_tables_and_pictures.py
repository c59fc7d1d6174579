"""What annotations.csv may name, and pictures that are there more than once."""

import logging
from pathlib import Path

import pytest
from made_tables import picture, table

from kdistill.base.errors import UserError
from kdistill.data.image_folder import ImageFolder

OUTSIDE = ["../other.png", "{root}/other.png", "a/../../other.png", "..", "C:\\other.png", "..\\other.png"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_image_outside_of_the_folder_needs_the_users_word(name: str, tmp_path: Path) -> None:
    picture(tmp_path / "data" / "other.png", 99)
    name = name.format(root=tmp_path / "data")
    data = table(tmp_path / "data", f"{name},HP,0,train")
    with pytest.raises(UserError, match=r"outside of images .*dataset\.allow_outside=true.*\n.*row 18"):
        data.load()


@pytest.mark.parametrize("name", ["../other.png", "{root}/other.png"])
def test_with_the_users_word_it_is_read(name: str, tmp_path: Path) -> None:
    picture(tmp_path / "data" / "other.png", 99)
    data = table(tmp_path / "data", f"{name.format(root=tmp_path / 'data')},HP,0,train")
    data.allow_outside = True
    arrays = data.load()
    assert len(arrays.train) + len(arrays.val) == 13


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{long}.png,HP,0,train", r"names in .* that no file can have.*\n.*a name of 5,004 bytes"),
        ("a\0b.png,HP,0,train", r"names in .* that no file can have.*\n.*NUL"),
        ("{unicode}.png,HP,0,train", r"a name of 604 bytes"),
        ("\x1b[31mx\x1b[0m.png,HP,0,train", r"row 18, \\x1b\[31mx\\x1b\[0m\.png"),
        ("x\u202egnp.png,HP,0,train", r"row 18, x\\u202egnp\.png"),
        ("gone.png,{long},0,train", r"'L{40}\.\.\. \(5,000 characters\)'"),
        ("gone.png,HP,0,{long}", r"'L{40}\.\.\. \(5,000 characters\)'"),
        ("gone.png,HP,1e400,train", "votes in .* no whole number from 0 to 7.*\n.*'1e400'"),
        ("gone.png,HP,{digits},train", r"'9{40}\.\.\. \(5,000 characters\)'"),
        ("gone.png,HP,9223372036854775808,train", "'9223372036854775808'"),
        ("gone.png,HP,-1,train", "'-1'"),
        ("gone.png,HP,nan,train", "'nan'"),
        ("gone.png,HP,\u0663,train", "no whole number"),
    ],
)
def test_odd_names_and_numbers_are_refused_by_row_in_words(row: str, said: str, tmp_path: Path) -> None:
    row = row.replace("{long}", "L" * 5000).replace("{digits}", "9" * 5000).replace("{unicode}", "\u20ac" * 200)
    with pytest.raises(UserError, match=said) as caught:
        table(tmp_path / "data", row).load()
    text = str(caught.value)
    assert text.replace("\n", "").isprintable() and len(text) < 2000


def test_names_below_the_folder_and_leading_zeros_are_read(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "images" / "below" / "x.png", 50)
    arrays = table(tmp_path / "data", f"below/x.png,HP,{'0' * 5000},train").load()
    assert len(arrays.train) + len(arrays.val) == 13


def folders(root: Path) -> ImageFolder:
    for part, count in (("train", 8), ("val", 4), ("test", 4)):
        for label in ("ant", "bee"):
            for number in range(count):
                picture(root / part / label / f"{number}.png", hash((part, label, number)) % 2**32)
    return ImageFolder(str(root), cache=str(root.parent / "cache"), image_size=8)


def test_a_picture_under_two_labels_and_one_that_is_there_twice_are_reported_by_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "insects"
    data = folders(root)
    content = (root / "train" / "ant" / "0.png").read_bytes()
    (root / "train" / "bee" / "wrong.png").write_bytes(content)
    (root / "val" / "ant" / "seen.png").write_bytes(content)
    (root / "test" / "bee" / "again.png").write_bytes((root / "test" / "bee" / "1.png").read_bytes())
    with caplog.at_level(logging.WARNING):
        data.load()
    said = "\n".join(caplog.messages)
    assert f"a contradiction: 1 picture, byte for byte the same, under two labels: {root}/train/ant/0.png (ant)" in said
    assert f"{root}/train/bee/wrong.png (bee)" in said
    assert "duplicates in train, byte for byte the same: 1 image too many" in said
    assert f"duplicates in test, byte for byte the same: 1 image too many, as {root}/test/bee/" in said
    assert "both in train and in validation, byte for byte: 1 image; figures will flatter" in said
    assert "both in train and in test" not in said


def test_of_pictures_that_are_all_there_once_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        folders(tmp_path / "insects").load()
    assert not caplog.messages
