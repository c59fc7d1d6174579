"""annotations.csv: what may vary, and what is refused, by file, row and remedy, all in one report."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.data.annotations import Annotation, read_annotations
from kdistill.data.mhist import FILE, FOLDER, LABEL, MHIST, NAME, PARTITION, votes_column
from kdistill.data.problems import Problems
from kdistill.data.table import Columns


def refusal(root: Path | None, cache: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        MHIST(None if root is None else str(root), cache=str(cache), image_size=8, **options).load()
    return str(caught.value)


def read(root: Path, problems: Problems) -> list[Annotation]:
    columns = Columns(NAME, LABEL, PARTITION, votes_column("SSA", 7), optional=("votes",))
    options: Any = {"classes": ("HP", "SSA"), "annotators": 7, "needed": ("train", "test")}
    return read_annotations(root / FILE, home=root / FOLDER, columns=columns, problems=problems, **options)


def edited(rows: list[Any], name: str, **change: str) -> list[Any]:
    places = {"label": 1, "votes": 2, "partition": 3}
    result = [list(row) for row in rows]
    for row in result:
        for key, value in change.items() if row[0] == name else ():
            row[places[key]] = value
    return [tuple(row) for row in result]


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_line_ends_byte_order_mark_and_row_order_do_not_matter(
    write_table: Any, rows: Any, end: str, start: str
) -> None:
    root = write_table(rows, end=end, start=start)
    problems = Problems()
    found = read(root, problems)
    assert not len(problems)
    assert [(a.name, a.label, str(a.votes), a.partition) for a in found] == sorted(rows)


def test_a_listed_image_that_is_a_folder_or_a_dead_link_is_told(write_table: Any, rows: Any, tmp_path: Path) -> None:
    images = write_table(rows) / "images"
    for name in ("T_001.png", "T_002.png", "T_003.png"):
        (images / name).unlink()
    (images / "T_001.png").mkdir()
    (images / "T_002.png").symlink_to(tmp_path / "gone.png")
    text = refusal(images.parent, tmp_path / "cache")
    for word in ("3 problems", "T_001.png is a folder", "T_002.png is a link to nothing", "T_003.png\n"):
        assert word in f"{text}\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("names", [("train", "test"), ("Training", "TEST"), ("train_set", "testing")])
def test_columns_may_be_set_apart_by_other_signs_in_other_encodings_with_other_names_of_partitions(
    write_table: Any, rows: Any, delimiter: str, encoding: str, names: tuple[str, str]
) -> None:
    root = write_table(rows)
    text = (root / "annotations.csv").read_text().replace("train", names[0]).replace("test", names[1])
    first, *others = text.replace(",", delimiter).splitlines()
    lines = [f"{first}{delimiter}Größe", *(f"{line}{delimiter}n/a" for line in others)]
    (root / "annotations.csv").write_bytes("\r\n".join(lines).encode(encoding))
    problems = Problems()
    found = read(root, problems)
    problems.raise_if_any("refused")
    assert [(a.name, a.label, str(a.votes), a.partition) for a in found] == sorted(rows)


def test_columns_may_stand_in_any_order_beside_others_and_votes_may_be_missing(write_table: Any, rows: Any) -> None:
    root = write_table(rows)
    lines = ["Partition,Scanner,Image Name,Majority Vote Label"] + [f"{p},A,{n},{label}" for n, label, _, p in rows]
    (root / "annotations.csv").write_text("\n".join(lines))
    found = read(root, Problems())
    assert [(a.name, a.label, a.votes, a.partition) for a in found] == sorted((n, x, None, p) for n, x, _, p in rows)


@pytest.mark.parametrize("given", ["null", "absent", "empty"])
def test_without_the_folder_the_message_says_how_one_gets_mhist_and_the_layout(tmp_path: Path, given: str) -> None:
    root = {"null": None, "absent": tmp_path / "nowhere", "empty": tmp_path}[given]
    text = refusal(root, tmp_path / "cache")
    for word in ("registration", "data use agreement", "annotations.csv", "images/", "MHIST_ROOT", "tissue_demo"):
        assert word in text
    assert root is None or str(root) in text


BAD_ROWS = [
    ({"label": "SAS"}, ["labels", "T_017.png", "'SAS'", "did you mean 'SSA'", "dataset.classes"]),
    ({"votes": "8"}, ["votes", "T_017.png", "'8'", "0 to 7", "dataset.annotators"]),
    ({"votes": "-1"}, ["votes", "T_017.png", "'-1'"]),
    ({"votes": "2.5"}, ["votes", "T_017.png", "'2.5'"]),
    ({"votes": "few"}, ["votes", "T_017.png", "'few'"]),
    ({"votes": ""}, ["votes", "T_017.png", "''"]),
    ({"label": "SSA"}, ["contradict", "T_017.png", "'SSA' with 1 votes"]),
    ({"votes": "4"}, ["contradict", "T_017.png", "'HP' with 4 votes"]),
    ({"partition": "tarin"}, ["partitions", "T_017.png", "did you mean 'train'"]),
]


@pytest.mark.parametrize(("change", "words"), BAD_ROWS)
def test_a_bad_row_is_named_with_its_remedy(
    write_table: Any, rows: Any, tmp_path: Path, change: dict[str, str], words: list[str]
) -> None:
    root = write_table(edited(rows, "T_017.png", **change))
    text = refusal(root, tmp_path / "cache")
    line = 2 + [row[0] for row in rows].index("T_017.png")
    for word in [*words, f"row {line}", str(root / "annotations.csv"), ": 1 problem\n"]:
        assert word in text


def test_three_votes_of_seven_are_a_minority_and_four_a_majority(write_table: Any, rows: Any, tmp_path: Path) -> None:
    arrays = MHIST(str(write_table(rows)), cache=str(tmp_path / "cache"), image_size=8).arrays
    for split in (arrays.train, arrays.val, arrays.test):
        assert split.votes is not None
        assert torch.equal(split.target, (split.votes >= 4).long())


@pytest.mark.parametrize(
    ("name", "other", "words"),
    [
        ("Image Name", "image_name", ["'Image Name'; is it 'image_name'?"]),
        ("Majority Vote Label", "Label", ["'Majority Vote Label'", "'Label'"]),
        (
            "Selected SSA (Out of 7)",
            "selected SSA (out of 7)",
            ["(Out of 7)'; is it 'Number of Annotators who selected"],
        ),
        (
            "Selected SSA (Out of 7)",
            "Selected SSA (Out of 5)",
            ["is it 'Number of Annotators who Selected SSA (Out of 5"],
        ),
        ("Partition", "Split", ["'Partition'", "'Split'"]),
    ],
)
def test_a_renamed_column_is_named_with_the_nearest(
    write_table: Any, rows: Any, tmp_path: Path, name: str, other: str, words: list[str]
) -> None:
    root = write_table(rows)
    path = root / "annotations.csv"
    path.write_text(path.read_text().replace(name, other))
    text = refusal(root, tmp_path / "cache")
    for word in [*words, "columns that", str(path)]:
        assert word in text


def test_a_table_that_is_no_table_is_refused_by_name(write_table: Any, rows: Any, tmp_path: Path) -> None:
    path = write_table(rows) / "annotations.csv"
    for content, word in ((b"", "is empty"), (b"\x81\x8d", "UTF-8"), (b"\xff\xfe\x00", "UTF-8")):
        path.write_bytes(content)
        text = refusal(path.parent, tmp_path / "cache")
        assert str(path) in text
        assert word in text


def test_empty_partitions_and_training_images_of_one_class_are_refused(
    write_table: Any, rows: Any, tmp_path: Path
) -> None:
    train = [row for row in rows if row[3] == "train"]
    assert "test: none in" in refusal(write_table(train), tmp_path / "cache")
    test = [row for row in rows if row[3] == "test"]
    one = test + [row for row in train if row[1] == "HP"]
    assert re.search(r"train: all \d+ in .* are HP", refusal(write_table(one), tmp_path / "cache"))


def test_everything_that_is_wrong_is_in_one_report(write_table: Any, rows: Any, tmp_path: Path) -> None:
    bad = edited(rows, "T_003.png", label="benign")
    bad = edited(bad, "T_004.png", votes="9")
    bad = edited(bad, "T_005.png", label="HP")
    root = write_table([*bad, bad[0]])
    images = root / "images"
    (images / "T_010.png").unlink()
    (images / "T_011.png").write_bytes((images / "T_012.png").read_bytes()[:-40])
    (images / "T_013.png").write_text("<html>not found</html>")
    text = refusal(root, tmp_path / "cache")
    assert f"{root} can't be used: 7 problems" in text
    for name in ("T_003.png", "T_004.png", "T_005.png", "T_000.png: also in row 2", "T_010.png", "T_011.png"):
        assert name in text
    assert f"{images / 'T_013.png'}: not an image" in text
    assert "T_006.png" not in text


def test_a_long_list_is_cut_and_counted(write_table: Any, rows: Any, tmp_path: Path) -> None:
    root = write_table(rows)
    for row in rows[:22]:
        (root / "images" / row[0]).unlink()
    text = refusal(root, tmp_path / "cache")
    assert ": 22 problems" in text
    assert "and 12 more" in text
    assert sum(row[0] in text for row in rows) == 10


def test_a_row_with_missing_fields_and_a_missing_image_folder_are_named(
    write_table: Any, rows: Any, tmp_path: Path
) -> None:
    root = write_table(rows)
    path = root / "annotations.csv"
    path.write_text(path.read_text() + "T_999.png,HP\n")
    assert "row 98: 2" in refusal(root, tmp_path / "cache")
    (root / "images").rename(root / "pictures")
    assert f"{root / 'images'}" in refusal(root, tmp_path / "cache")


def test_own_class_names_and_annotators_read_the_same_layout(write_table: Any, rows: Any, tmp_path: Path) -> None:
    header = "Image Name,Majority Vote Label,Number of Annotators who Selected tumour (Out of 4),Partition"
    own = [(n, "tumour" if int(v) >= 4 else "normal", str(int(v) // 2 + (int(v) >= 4)), p) for n, _, v, p in rows]
    data = MHIST(
        str(write_table(own, header=header)),
        cache=str(tmp_path / "cache"),
        image_size=8,
        classes=["tumour", "normal"],
        positive="tumour",
        annotators=4,
    )
    assert data.arrays.class_names == ("normal", "tumour")
    assert data.arrays.annotators == 4
    assert "none of dataset.classes" in refusal(write_table(own), tmp_path / "cache", classes=["tumour", "normal"])
    assert "image_folder" in refusal(write_table(own), tmp_path / "cache", classes=["a", "b", "c"])


def test_grey_and_transparent_images_are_converted_and_counted(
    write_table: Any, rows: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_table(rows)
    names = sorted(row[0] for row in rows)
    Image.new("L", (8, 8), 77).save(root / "images" / names[0])
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(root / "images" / names[1])
    Image.new("P", (8, 8)).save(root / "images" / names[2])
    with caplog.at_level("INFO"):
        arrays = MHIST(str(root), cache=str(tmp_path / "cache"), image_size=8).arrays
    assert "made plain RGB: 3 of 96 images, 1 of mode L, 1 of mode P, 1 of mode RGBA" in caplog.text
    assert (arrays.train.image[0] == 77).all()
    assert (arrays.train.image[1] == 255).all(), "what is transparent shows the white of the slide"
