"""Damaged, swapped or strange weights and checkpoints are refused by name; equal runs leave equal files."""

import shutil
from pathlib import Path

import pytest
import torch
from damage import DAMAGES, flip_a_bit
from safetensors.torch import load_file, save_file
from tiny_runs import TINY_RECIPE, PowerCut, tiny
from torch import nn

from kdistill.base.checked import damaged_entry
from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.models.state_files import read_state_file
from kdistill.models.weights import answers_digest, write_weights
from kdistill.runs.folder import RunFolder
from kdistill.training.callbacks.checkpoints import BestCheckpoint
from kdistill.training.run import run


@pytest.fixture(scope="module")
def job(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    kept = tmp_path_factory.mktemp("kept")
    quick = ["teacher=custom", "teacher._target_=kdistill.models.mnist.MnistMLP"]
    teacher = [*quick, f"teacher.recipe_overrides=[{TINY_RECIPE}]", "student=mnist_mlp"]
    return ["+experiment=mnist_distill", *tiny(blocks, kept), *teacher, "replay.teacher=on", "dataset.views=1"]


@pytest.fixture(scope="module")
def first(job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, and its teacher in the cache."""
    path = tmp_path_factory.mktemp("first") / "run"
    run(compose_config(job), path)
    return path


def weights_of(run_folder: Path) -> bytes:
    return (run_folder / "student.safetensors").read_bytes()


@pytest.mark.slow
def test_equal_runs_leave_weights_of_equal_bytes(job: list[str], first: Path, tmp_path: Path) -> None:
    run(compose_config(job), tmp_path / "again")
    assert weights_of(tmp_path / "again") == weights_of(first)


def teacher_of(job: list[str]) -> Path:
    (cache,) = [text.partition("=")[2] for text in job if text.startswith("teacher_cache=")]
    (folder,) = [path for path in Path(cache).iterdir() if path.is_dir()]
    return folder


def test_a_teacher_of_the_cache_whose_weights_are_others_is_refused(
    job: list[str], first: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    file = teacher_of(job) / "teacher.safetensors"
    shutil.copy(file, whole)
    try:
        flip_a_bit(file, 3)
        with pytest.raises(UserError, match=rf"{file} is damaged .*train it again"):
            run(compose_config(job), tmp_path / "bit")
        state = {name: tensor + 1e-3 for name, tensor in load_file(whole).items()}
        save_file(state, file)  # another's, whole in itself
        with pytest.raises(UserError, match=rf"{file} does not hold the weights that its run has written.*remove"):
            run(compose_config(job), tmp_path / "swapped")
    finally:
        if file.is_file():
            shutil.copy(whole, file)


@pytest.mark.slow
def test_a_teacher_that_was_removed_is_trained_again_to_the_byte(job: list[str], first: Path, tmp_path: Path) -> None:
    file = teacher_of(job) / "teacher.safetensors"
    whole = file.read_bytes()
    shutil.rmtree(file.parent)
    run(compose_config(job), tmp_path / "anew")
    assert weights_of(tmp_path / "anew") == weights_of(first) and file.read_bytes() == whole


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damaged_file_of_weights_is_read(first: Path, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "student.safetensors"
    whole = read_state_file(first / file.name)
    for seed in range(60 if damage == "a bit" else 1):
        file.write_bytes(weights_of(first))
        DAMAGES[damage](file, seed)
        try:
            found = read_state_file(file)
        except UserError as error:
            assert str(file) in str(error)
        else:  # a space of the header's padding, or the name of the sum itself
            assert found.facts.items() >= whole.facts.items()
            assert all(torch.equal(found.states[""][name], value) for name, value in whole.states[""].items())


def test_a_digit_of_the_normalisation_or_a_letter_of_a_class_in_the_header_is_seen(first: Path, tmp_path: Path) -> None:
    content, file = weights_of(first), tmp_path / "a.safetensors"
    for before in (b'"mean":"[0.', b'"classes":"[\\"'):
        place = content.index(before) + len(before)
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UserError, match="does not fit its sum"):
            read_state_file(file)


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damaged_checkpoint_is_read(tmp_path: Path, damage: str) -> None:
    """`torch.load` reads a flipped bit of a tensor without a word."""
    file, value = tmp_path / "best.ckpt", torch.randn(100, 100)
    for seed in range(60 if damage == "a bit" else 1):
        torch.save({"state_dict": {"w": value}}, file)
        DAMAGES[damage](file, seed)
        try:
            found = read_state_file(file)
        except UserError as error:
            assert str(file) in str(error)
        else:
            assert torch.equal(found.states["state_dict"]["w"], value)


def test_a_file_of_torch_without_sums_is_no_damaged_one(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, file)
    finally:
        torch.serialization.set_crc32_options(True)
    assert damaged_entry(file) is None


def test_a_digest_of_weights_is_of_their_content_not_of_their_file(tmp_path: Path) -> None:
    network = nn.Linear(2, 3)
    write_weights(tmp_path / "a.safetensors", network, {"model": "x", "classes": ["a", "b", "c"]})
    write_weights(tmp_path / "b.safetensors", network, {"model": "y", "classes": ["a", "b", "c"]})
    write_weights(tmp_path / "c.safetensors", network, {"model": "x", "classes": ["a", "c", "b"]})
    a, b, c = (answers_digest(tmp_path / f"{name}.safetensors") for name in "abc")
    assert a == b != c


@pytest.fixture
def stopped(job: list[str], first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Path]:
    """A run that ended in its second epoch."""
    path, save = tmp_path / "run", BestCheckpoint._save_checkpoint
    stopped = [*job, "trainer.max_epochs=3"]

    def dies(self: BestCheckpoint, trainer: object, filepath: str) -> None:
        save(self, trainer, filepath)  # type: ignore[arg-type]
        if filepath.endswith("last.ckpt"):
            raise PowerCut

    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(BestCheckpoint, "_save_checkpoint", dies)
        run(compose_config(stopped), path)
    return stopped, path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_run_does_not_go_on_from_a_damaged_checkpoint_or_anothers(
    stopped: tuple[list[str], Path], first: Path, name: str
) -> None:
    again, path = stopped
    file = RunFolder(path).checkpoints / name
    whole = file.read_bytes()
    for seed in range(2):
        flip_a_bit(file, seed)
        with pytest.raises(UserError, match=f"{file} is damaged"):
            run(compose_config(again), path)
        file.write_bytes(whole)
    file.write_bytes((first / "checkpoints" / name).read_bytes())  # of two epochs in all
    with pytest.raises(UserError, match=f"{file} is another run's"):
        run(compose_config(again), path)
    file.write_bytes(whole)
    run(compose_config(again), path)
