"""Tables of one's own: which columns are found, groups that stay whole, votes, soft targets, and what is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.cuts import cut
from kdistill.data.image_table import ImageTable
from kdistill.data.soft_targets import column_order

ROWS = [(f"pics/{n:02d}.png", str(n % 3 * 5), ("train", "train", "test", "valid")[n // 9]) for n in range(36)]


def write(folder: Path, header: str, rows: Sequence[Sequence[Any]], *, sign: str = ",") -> Path:
    """The table, and a picture for each of its first fields; the pictures' red is their place in the table."""
    (folder / "pics").mkdir(parents=True, exist_ok=True)
    for number, (name, *_) in enumerate(rows):
        if not (folder / name).exists():
            Image.fromarray(np.full((8, 8, 3), number, dtype=np.uint8)).save(folder / name)
    lines = [header, *(sign.join(map(str, row)) for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"


def table(file: Path, **options: Any) -> ImageTable:
    return ImageTable(str(file), cache=str(file.parent / "cache"), image_size=8, **options)


def refusal(file: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        table(file, **options).load()
    return str(caught.value)


def pictures(split: Split) -> list[int]:
    """The places in the table of a partition's pictures."""
    return split.read(torch.arange(len(split))).image[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("header", "sign", "options"),
    [
        ("path;label;split", ";", {}),
        ("Filename\tClass\tPartition", "\t", {}),
        ("a,b,c", ",", {"image": "a", "target": "b", "split": "c"}),
    ],
)
def test_columns_are_named_or_found_and_numbers_are_classes_by_their_size(
    tmp_path: Path, header: str, sign: str, options: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        arrays = table(write(tmp_path, header, ROWS, sign=sign), **options).arrays
    assert arrays.class_names == ("0", "5", "10")
    assert (len(arrays.train), len(arrays.val), len(arrays.test)) == (18, 9, 9)
    for split in (arrays.train, arrays.val, arrays.test):
        assert split.target.tolist() == [place % 3 for place in pictures(split)]
    assert sorted(pictures(arrays.test)) == list(range(18, 27))
    assert ("dataset.image=" in caplog.text) == (not options), "what was found is said"


def test_without_partitions_they_are_cut_and_a_split_may_be_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path, "path,label,split", ROWS)
    arrays = table(file, split="none", val_fraction=0.25, test_fraction=0.25).arrays
    assert [len(part) for part in (arrays.train, arrays.val, arrays.test)] == [20, 7, 9]
    assert sorted(n for part in (arrays.train, arrays.val, arrays.test) for n in pictures(part)) == list(range(36))
    assert pictures(table(file, split="none", test_fraction=0.25).load_test()) == pictures(arrays.test)


def test_names_may_lack_their_suffix_and_a_class_of_the_test_alone_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "path,label,split", ROWS)
    file.write_text(file.read_text().replace(".png", ""))
    assert len(table(file).arrays.train) == 18
    file.write_text(file.read_text().replace("pics/18,0", "pics/18,7"))
    assert "labels in" in (text := refusal(file)) and "other than 0, 5, 10" in text and "pics/18: '7'" in text


def grouped(tmp_path: Path) -> Path:
    """30 patients of unlike numbers of pictures, each of one class or of two."""
    rows = [
        (f"pics/{p}_{n}.png", ("ant", "bee")[(p + (n > 3)) % 2], f"patient {p}")
        for p in range(30)
        for n in range(1 + p % 5)
    ]
    return write(tmp_path, "path,label,patient", rows)


def patients(arrays: ImageArrays, file: Path) -> list[set[str]]:
    home = [line.split(",")[2] for line in file.read_text().splitlines()[1:]]
    return [{home[place] for place in pictures(part)} for part in (arrays.train, arrays.val, arrays.test)]


def test_groups_are_never_split_and_the_shares_of_the_classes_are_nearly_kept(tmp_path: Path) -> None:
    file = grouped(tmp_path)
    arrays = table(file, group="patient", val_fraction=0.2, test_fraction=0.2).arrays
    train, val, test = patients(arrays, file)
    assert len(train | val | test) == len(train) + len(val) + len(test) == 30
    whole, counts = 90, [torch.bincount(part.target, minlength=2) for part in (arrays.train, arrays.val, arrays.test)]
    assert sum(map(len, (arrays.train, arrays.val, arrays.test))) == whole
    assert (counts[2] - 0.2 * sum(counts)).abs().max() <= 3, "of each class a fifth, give or take a group"
    again = table(file, group="patient", val_fraction=0.2, test_fraction=0.2, seed=5).arrays
    assert pictures(again.test) == pictures(arrays.test), "split_seed alone says which"
    other = table(file, group="patient", val_fraction=0.2, test_fraction=0.2, split_seed=1).arrays
    assert patients(other, file)[2] != test
    assert patients(table(file, val_fraction=0.2, test_fraction=0.2).arrays, file)[0] & test, "without group they are"


def test_a_group_with_all_of_a_class_stays_and_one_group_alone_is_refused() -> None:
    target = torch.tensor([0] * 9 + [1] * 3)
    whole = Split(torch.zeros(12, 1, 1, 1, dtype=torch.uint8), target)
    options: dict[str, Any] = {"name": "val_fraction", "fraction": 0.5, "class_names": ("a", "b")}
    for seed in range(5):
        groups = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
        stay, apart = cut(torch.arange(12), whole, **options, seed=seed, groups=groups)
        assert set(target[stay].tolist()) == {0, 1} and len(apart) in (3, 6)
        assert not set(groups[stay].tolist()) & set(groups[apart].tolist())
    with pytest.raises(UserError, match=r"1 group .*never split"):
        cut(torch.arange(12), whole, **options, seed=0, groups=torch.zeros(12).long())


def test_a_group_that_the_table_puts_into_two_partitions_is_named(tmp_path: Path) -> None:
    rows = [(name, label, part, f"patient {n // 9}") for n, (name, label, part) in enumerate(ROWS)]
    rows[20] = (*rows[20][:3], "patient 0")
    text = refusal(write(tmp_path, "path,label,split,patient", rows), group="patient")
    assert "stand in two partitions" in text and "row 22" in text and "'patient 0' in test and in train" in text


def test_votes_and_soft_columns_become_soft_targets_of_the_right_classes(tmp_path: Path) -> None:
    rows = [(f"pics/{n}.png", "yes" if n % 5 >= 3 else "no", n % 5, 4 - n % 5, n % 5) for n in range(30)]
    file = write(tmp_path, "path,label,votes,p_no,p_yes", rows)
    votes = {"votes": "votes", "annotators": 4, "classes": ["yes", "no"], "positive": "yes", "targets": "votes"}
    for options in (votes, {"soft": ["p_yes", "p_no"], "positive": "yes"}):
        arrays = table(file, **options).arrays
        assert arrays.class_names == ("no", "yes")
        for split in (arrays.train, arrays.test):
            assert split.soft_target is not None
            expected = torch.tensor([place % 5 / 4 for place in pictures(split)])
            torch.testing.assert_close(split.soft_target[:, 1], expected)
            torch.testing.assert_close(split.soft_target.sum(1), torch.ones(len(split)))
    assert "each other" in refusal(file, votes="votes")
    assert "which column is which" in refusal(file, soft=["p_no", "votes"])
    file.write_text(file.read_text().replace("pics/7.png,no,2,2,2", "pics/7.png,no,2,0,0"))
    assert "no shares" in (text := refusal(file, soft=["p_yes", "p_no"])) and "row 9, pics/7.png" in text


def test_columns_of_shares_are_matched_by_name_or_by_the_order_that_is_said() -> None:
    assert column_order(["score_dog_x", "score_cat_x"], ("cat", "dog"), None) == [1, 0]
    assert column_order(["a", "b"], ("cat", "dog"), ["dog", "cat"]) == [1, 0]


def test_what_is_wrong_is_named_with_its_remedy(tmp_path: Path) -> None:
    file = write(tmp_path, "path,label,split", ROWS)
    assert "'pathe'; is it 'path'?" in refusal(file, image="pathe")
    file.write_text("u,w\n1,2\n")
    assert "say which one it is, dataset.image=<header> and dataset.target=<header>" in refusal(file)
    assert "is not there" in refusal(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"dataset.file is not set"):
        ImageTable(None, cache=str(tmp_path)).load()
    write(tmp_path, "path,label", [*ROWS[:9], ("pics/nothing.png", "0")])
    (tmp_path / "pics" / "nothing.png").unlink()
    file.write_text(file.read_text() + "\n../other.png,0\npics/1.png\n")
    text = refusal(file)
    assert "3 problems" in text and "nothing.png" in text and "row 12, ../other.png" in text and "row 13: 1" in text


def test_weights_are_one_in_the_mean_over_training_and_validation_and_test_have_none(tmp_path: Path) -> None:
    heavy = [(*row, 3 if row[2] == "train" and row[1] == "5" else "1e0" if row[2] == "train" else "") for row in ROWS]
    arrays = table(write(tmp_path, "path,label,split,w", heavy), weight="w").arrays
    weight, target = arrays.train.sample_weight, arrays.train.target
    assert weight is not None and arrays.val.sample_weight is None and arrays.test.sample_weight is None
    assert float(weight.mean()) == pytest.approx(1)
    assert torch.allclose(weight[target == 1], 3 * weight[target == 0][0])
    batch = arrays.train.read(torch.tensor([3, 0]))
    assert batch.sample_weight is not None and torch.equal(batch.sample_weight, weight[[3, 0]])
    assert arrays.fingerprint != table(tmp_path / "labels.csv").arrays.fingerprint
    for text in ("-1", "nan", "inf", "heavy", ""):
        wrong = [(*row, text if number == 4 else 1) for number, row in enumerate(ROWS)]
        said = refusal(write(tmp_path, "path,label,split,w", wrong), weight="w")
        assert "weights in" in said and "row 6, pics/04.png" in said
    with pytest.raises(UserError, match="every training image has the weight 0"):
        table(write(tmp_path, "path,label,split,w", [(*row, 0) for row in ROWS]), weight="w").load()
    assert "'v'" in refusal(write(tmp_path, "path,label,split,w", heavy), weight="v")
