"""A teacher that is known by a file of answers alone: which files are read, how, and what is refused in words."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from kdistill.base.errors import UserError
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.augment import Augment
from kdistill.data.module import ArrayDataModule
from kdistill.modules.teacher import TeacherAnswers
from kdistill.replay.answers import AnswersFile, KnownAnswers
from kdistill.teachers.answers import facts_of, known_answers
from kdistill.teachers.find import Teacher
from kdistill.training.answers_export import export_answers

NAMES = ("ant", "bee", "cow")
N = 12
ANSWERS = np.random.default_rng(0).normal(size=(2, N, 3)).astype(np.float32)  # two views
SHARES = np.exp(ANSWERS[0]) / np.exp(ANSWERS[0]).sum(1, keepdims=True)


class Toys(ArrayDataModule):
    """Twelve pictures to train on, three to validate and three to test on; each is a file."""

    def load(self) -> ImageArrays:
        image, target = torch.arange(18, dtype=torch.uint8).view(18, 1, 1, 1), torch.arange(18) % 3
        whole = Split(image.expand(18, 1, 4, 4).contiguous(), target)
        parts = torch.arange(18).split([N, 3, 3])
        train, val, test = (whole.take(part) for part in parts)
        names = [f"pics/{NAMES[n % 3]}/{n:02d}.png" for n in range(18)]
        return ImageArrays(train, val, test, NAMES, (0.5,), (0.25,), "toys", names=names)


class Numbered(Toys):
    """The same pictures without names."""

    def load(self) -> ImageArrays:
        return replace(super().load(), names=())


def toys(**serving: Any) -> Toys:
    return Toys(**{"batch_size": 4, "eval_batch_size": 4, "augment": None, "seed": 0} | serving)


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    def write(**arrays: Any) -> Path:
        np.savez(tmp_path / "answers.npz", **arrays)
        return tmp_path / "answers.npz"

    return write


def read(file: Path, data: Toys | None = None, epochs: int = 2, **options: Any) -> KnownAnswers:
    return AnswersFile(str(file), **options).read(data or toys(), epochs)


def refusal(file: Path, data: Toys | None = None, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(file, data, **options)
    return str(caught.value)


def table(folder: Path, header: str, rows: list[list[Any]]) -> Path:
    (folder / "answers.csv").write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]))
    return folder / "answers.csv"


def test_logits_are_taken_as_they_are_and_classes_by_their_names(
    npz: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    order = np.random.default_rng(1).permutation(N)
    file = npz(logits=ANSWERS[0][order][:, [2, 0, 1]], index=order, class_names=["cow", "Ant", "bee"])
    with caplog.at_level("INFO"):
        found = read(file)
    index = torch.tensor([3, 0])
    assert torch.equal(found.read(found.view_of(5), index)["logits"], torch.from_numpy(ANSWERS[0][[3, 0]]))
    assert (found.val, found.test, found.label) == (None, None, "answers")
    assert "logits" in caplog.text and "matched by name" in caplog.text and "Ant as ant" in caplog.text


@pytest.mark.parametrize(
    ("values", "said"),
    [(SHARES.round(3), "1"), (100 * SHARES, "100"), (np.eye(3, dtype=int)[np.arange(N) % 3] * 5, "5")],
)
def test_shares_become_logarithms_with_a_floor_that_is_said(
    npz: Callable[..., Path], values: np.ndarray, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        found = read(npz(answers=values), floor=1e-3)
    wanted = np.log(np.maximum(values / values.sum(1, keepdims=True), 1e-3))
    np.testing.assert_allclose(found.views[-1].numpy(), wanted, atol=1e-6)
    assert f"probabilities (rows of numbers from 0 on that sum to {said})" in caplog.text
    assert "none below that of 0.001" in caplog.text


def test_votes_of_unlike_numbers_of_people_are_shares_of_each_row(npz: Callable[..., Path]) -> None:
    votes = np.arange(3 * N).reshape(N, 3)
    found = read(npz(answers=votes))
    wanted = np.maximum(votes / votes.sum(1, keepdims=True), 1e-6)
    np.testing.assert_allclose(found.views[-1].exp().numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("values", [ANSWERS[0], SHARES])
def test_classes_of_the_file_are_summed_into_the_runs(npz: Callable[..., Path], values: np.ndarray) -> None:
    are_logits = bool(values.min() < 0)
    wide = np.concatenate([values, values[:, ::-1]], 1) / (1 if are_logits else 2)
    file = npz(answers=wide, class_names=[*"abcdef"])
    found = AnswersFile(str(file)).read(toys(), 2, {"ant": ["a", "f"], "bee": ["c"], "cow": "e"})
    shares = np.exp(wide) if are_logits else wide
    wanted = np.stack([shares[:, 0] + shares[:, 5], shares[:, 2], shares[:, 4]], 1)
    got = found.views[-1].double().exp().numpy()
    np.testing.assert_allclose(got / got.sum(1, keepdims=True), wanted / wanted.sum(1, keepdims=True), rtol=1e-5)
    assert found.class_map == {"ant": ("a", "f"), "bee": ("c",), "cow": ("e",)}


def test_a_table_names_files_by_as_much_of_their_path_as_it_gives(tmp_path: Path) -> None:
    rows = [[f"/elsewhere/{n:02d}.png", "" if n > 14 else n % 3, *SHARES[n % N]] for n in range(18)]
    for row in rows:
        row[1] = NAMES[int(str(row[0])[-6:-4]) % 3]
    found = read(table(tmp_path, "file,label,p_ant,p_bee,p_cow", rows))
    np.testing.assert_allclose(found.views[-1].exp().numpy(), SHARES, rtol=1e-4)
    assert found.val is not None and found.test is not None
    np.testing.assert_allclose(found.test.exp().numpy(), SHARES[3:6], rtol=1e-4)


@pytest.mark.slow
def test_parquet_holds_what_a_table_holds(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"index": np.arange(N), **dict(zip(NAMES, SHARES.T, strict=True))}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    lists = {"index": np.arange(N), "logits": list(ANSWERS[0])}
    parquet.write_table(pa.table(lists), tmp_path / "b.parquet")
    np.testing.assert_allclose(read(tmp_path / "a.parquet").views[-1].exp().numpy(), SHARES, rtol=1e-5)
    np.testing.assert_array_equal(read(tmp_path / "b.parquet").views[-1].numpy(), ANSWERS[0])


def test_views_are_those_of_the_run_or_it_is_said_what_differs(
    npz: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    shown = toys(augment=Augment(shift=1), views=2)
    file = npz(logits=ANSWERS, about=json.dumps({"views": shown.view_key()}))
    found = read(file, shown)
    assert found.one_view is None and "WARNING" not in caplog.text
    np.testing.assert_array_equal(found.read(1, torch.arange(N))["logits"].numpy(), ANSWERS[1])
    assert "say dataset.views=2" in refusal(file, toys(augment=Augment(shift=1), views=3), epochs=9)
    assert "dataset.seed is 0 there and 7 here" in refusal(file, toys(augment=Augment(shift=1), views=2, seed=7))
    assert "shows them as they are" in refusal(file, toys())
    plain = npz(logits=ANSWERS[0])
    assert "dataset.mixup=0" in refusal(plain, toys(mixup=0.3))
    read(plain, shown)
    assert "belong to the pictures as they are" in caplog.text


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a sample without an answer": (
        {"logits": ANSWERS[0][:-1], "index": np.arange(N - 1)},
        "training samples without an answer.*train 11, pics/cow/11.png",
    ),
    "a sample with two": (
        {"logits": ANSWERS[0][[*range(N), 4]], "index": [*range(N), 4]},
        "two answers.*row 13, 4 of train: also in row 5",
    ),
    "a sample that is not there": (
        {"logits": ANSWERS[0][[*range(N), 4]], "index": [*range(N), 2**60]},
        "not there.*train has 0 to 11",
    ),
    "no number": ({"logits": np.where(np.arange(N)[:, None] == 7, np.nan, ANSWERS[0])}, "not finite.*row 8, 7"),
    "another target": (
        {"logits": ANSWERS[0], "target": (np.arange(N) + (np.arange(N) == 5)) % 3},
        "targets that are not the data's.*row 6, 5: 0, and the data say cow",
    ),
    "another class": ({"logits": ANSWERS[0], "class_names": ["ant", "bee", "dog"]}, "it has no cow"),
    "too few classes": ({"logits": ANSWERS[0][:, :2]}, "2 numbers in each answer.*teacher.classes"),
    "most rows shares": (
        {"answers": np.where(np.arange(N)[:, None] == 9, -1.0, SHARES)},
        r"1 are not, the first of them row 10.*teacher.values=logits",
    ),
    "shares that are none": ({"probabilities": ANSWERS[0]}, "probabilities are numbers from 0 on"),
    "no answers": ({"numbers": ANSWERS[0]}, "one array of answers called logits"),
    "objects": ({"logits": np.array([{}, {}], dtype=object)}, "holds Python objects"),
    "files that the data have not": ({"logits": ANSWERS[0], "name": ["x.png"] * N}, "without an answer"),
    "no order": ({"logits": ANSWERS[0], "partition": ["train"] * N}, "neither name nor index"),
    "strange partitions": (
        {"logits": ANSWERS[0], "index": np.arange(N), "partition": ["who"] * N},
        "other than train, val and test.*'who'",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_refused_by_name(npz: Callable[..., Path], what: str) -> None:
    arrays, words = BAD[what]
    with pytest.raises(UserError, match=f"(?s){words}"):
        read(npz(**arrays))


def test_a_table_of_text_is_refused_by_row(tmp_path: Path) -> None:
    rows: list[list[Any]] = [[n, *SHARES[n]] for n in range(N)]
    rows[3][2] = "high"
    assert "row 5: 'high' in the column 'bee' is no number" in refusal(table(tmp_path, "index,ant,bee,cow", rows))
    assert "fields, and the header" in refusal(table(tmp_path, "index,ant,bee,cow", [[1, 2]]))
    assert "has no answers" in refusal(table(tmp_path, "index,ant,bee,cow", []))


@pytest.mark.parametrize("kind", [Toys, Numbered])
def test_what_is_exported_is_read_back_to_the_bit(kind: type[Toys], tmp_path: Path) -> None:
    """Also where the run that reads it shows fewer of the pictures."""
    serving = {"batch_size": 5, "eval_batch_size": 4, "augment": Augment(shift=1), "views": 2, "seed": 0}
    data = kind(**serving)
    views = {view: torch.from_numpy(ANSWERS[view]) for view in (0, 1)}
    known = KnownAnswers("a", Path("a.npz"), "f", views, val=views[0][:3], test=views[1][:3])
    replay = {"export": str(tmp_path / "new" / "b.npz"), "keep": "all", "dtype": "fp32"}
    config = OmegaConf.create({"trainer": {"max_epochs": 4}, "replay": replay})
    export_answers(
        config,
        Teacher(known, facts_of(known, data), 0.0),
        lambda batch: TeacherAnswers(views[batch.view][batch.index], {}),
        data,
        device="cpu",
        precision="32-true",
    )
    found = read(tmp_path / "new" / "b.npz", kind(**serving), epochs=4)
    assert all(torch.equal(found.views[view], answers) for view, answers in views.items())
    assert found.val is not None and found.test is not None
    assert torch.equal(found.val, views[0][:3]) and torch.equal(found.test, views[1][:3])
    fewer = read(tmp_path / "new" / "b.npz", kind(limit=7, **serving), epochs=4)
    assert torch.equal(fewer.views[1], views[1][:7])
    with np.load(tmp_path / "new" / "b.npz") as content:
        assert ("name" in content) == (kind is Toys)


def test_pictures_without_labels_have_no_answers_in_a_file() -> None:
    data, target = toys(), "kdistill.replay.answers.AnswersFile"
    data.keep(replace(data.arrays, unlabelled=data.arrays.test))
    config = OmegaConf.create({"role": "distill", "teacher": {"_target_": target, "file": "a.npz"}})
    with pytest.raises(UserError, match=r"dataset\.unlabeled=null"):
        known_answers(config, data)
