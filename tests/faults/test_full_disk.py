"""A disk that does not take a write ends a run in words; with more space the same command goes on to the same result.

Where a test may limit the size of files (RLIMIT_FSIZE) or mount a small file system, a real write fails; nothing is
replaced.
"""

import errno
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import TINY_RECIPE, tiny
from torch import Tensor

from kdistill.base import storage, whole
from kdistill.base.errors import CannotWrite, UserError
from kdistill.base.shortage import said_in_words
from kdistill.config.compose import compose_config
from kdistill.data.problems import Problems
from kdistill.data.store import open_store
from kdistill.replay.store import ReplayStore
from kdistill.training.callbacks.checkpoints import AtomicCheckpointIO
from kdistill.training.run import run


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """A block in which no file grows beyond so many bytes: writes fail with EFBIG, as on a full disk with ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def outputs(view: int, index: Tensor) -> dict[str, Tensor]:
    return {"logits": view + index.float().view(-1, 1).expand(-1, 100)}


def store(cache: Path) -> ReplayStore:
    return ReplayStore(cache, "teacher", {}, shapes={"logits": (100,)}, samples=1000, dtype="fp32")


def test_a_store_takes_its_space_before_anything_is_computed(tmp_path: Path) -> None:
    asked: list[int] = []

    def counted(view: int, index: Tensor) -> dict[str, Tensor]:
        asked.append(view)
        return outputs(view, index)

    with files_up_to(300_000), pytest.raises(UserError) as caught:
        store(tmp_path).fill([0, 1], counted, batch_size=100, what="answers")
    text = str(caught.value)
    assert "File too large" in text and "dataset.views" in text and "replay.dtype=bf16" in text and not asked
    assert not list(tmp_path.glob("*/*.bin")), "and gives it back"
    store(tmp_path).fill([0, 1], counted, batch_size=100, what="answers")
    assert asked == [0] * 10 + [1] * 10


def test_a_file_of_a_store_has_no_holes(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.fill([0], outputs, batch_size=1000, what="answers")
    (file,) = made.folder.glob("*.bin")
    assert file.stat().st_blocks * 512 >= file.stat().st_size == 400_000


def test_decoded_images_that_have_no_room_are_said_and_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    with files_up_to(100_000), pytest.raises(UserError, match=r"can't be kept in .*File too large.*dataset\.cache"):
        open_store([path], cache=tmp_path / "cache", image_size=256, problems=Problems())
    assert not list((tmp_path / "cache").glob("*.npy*"))
    assert open_store([path], cache=tmp_path / "cache", image_size=256, problems=Problems()) is not None


@pytest.mark.parametrize("what", ["bytes", "json", "arrays", "packed arrays", "checkpoint"])
def test_no_kind_of_file_is_left_half_written(tmp_path: Path, what: str) -> None:
    path, large = tmp_path / "file", np.random.default_rng(0).integers(0, 256, 400_000, dtype=np.uint8)
    path.write_bytes(b"good")

    def write() -> None:
        if what == "bytes":
            storage.write_bytes(path, large.tobytes())
        elif what == "json":
            storage.write_json(path, large.tolist())
        elif what == "checkpoint":
            AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.from_numpy(large)}}, path)
        else:
            storage.write_npz(path, {"a": large}, compressed=what == "packed arrays")

    with files_up_to(200_000), pytest.raises(CannotWrite, match=f"^{path} can't be written: File too large") as caught:
        write()
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"good" and list(tmp_path.iterdir()) == [path]
    write()
    assert path.stat().st_size > 390_000


def test_space_that_was_taken_for_nothing_is_given_back(tmp_path: Path) -> None:
    with whole.whole_file(tmp_path / "a", size=100_000) as file:
        file.write(b"less")
    assert (tmp_path / "a").read_bytes() == b"less"


def test_memory_that_is_not_there_is_said_with_what_needs_less() -> None:
    for take in (lambda: torch.empty(2**50), lambda: np.empty(2**50), lambda: bytearray(2**60)):
        with (
            pytest.raises(UserError, match=r"training: memory does not suffice \(.*\): lower dataset\.batch_size"),
            said_in_words("training", places={}, smaller="lower dataset.batch_size", again="then again"),
        ):
            take()  # type: ignore[no-untyped-call]


def test_what_is_no_shortage_stays_what_it_is() -> None:
    for error in (RuntimeError("size mismatch"), FileNotFoundError(errno.ENOENT, "no file", "a"), KeyError("x")):
        with (
            pytest.raises(type(error)) as caught,
            said_in_words("training", places={}, smaller="less", again="again"),
        ):
            raise error
        assert caught.value is error


def test_what_killed_writers_left_is_removed_and_what_others_write_is_not(tmp_path: Path) -> None:
    def leave(path: Path) -> int:
        """Of a child that dies in the middle of writing."""
        child = os.fork()
        if child == 0:
            with whole.whole_file(path) as file:
                file.write(b"half")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        return os.waitpid(child, 0)[1]

    assert leave(tmp_path / "last.ckpt") == leave(tmp_path / "best.ckpt") == signal.SIGKILL
    child = os.fork()
    if child == 0:
        with whole.whole_folder(tmp_path / "folder") as begun:
            (begun / "half").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (tmp_path / ".users.own").touch()
    left = set(tmp_path.iterdir())
    assert len(left) == 4
    for path in left:
        os.utime(path, (time.time() - 9, time.time() - 9))
    with whole.whole_file(tmp_path / "mine") as file:
        (mine,) = set(tmp_path.iterdir()) - left
        os.utime(mine, (time.time() - 9, time.time() - 9))
        whole.remove_leftovers(tmp_path)
        assert set(tmp_path.iterdir()) == {mine, tmp_path / ".users.own"}
        file.write(b"all")
    assert (tmp_path / "mine").read_bytes() == b"all"


@pytest.fixture(scope="module")
def job(blocks: Path) -> list[str]:
    mlp = ["teacher=custom", "teacher._target_=kdistill.models.mnist.MnistMLP"]
    recipe = f"teacher.recipe_overrides=[{TINY_RECIPE}]"
    places = tiny(blocks, Path("/nowhere"))[:-2]
    return ["+experiment=mnist_distill", *places, *mlp, recipe, "replay.teacher=on", "dataset.views=1"]


def kept_in(folder: Path) -> list[str]:
    return [f"teacher_cache={folder / 'teachers'}", f"replay.cache={folder / 'replay'}"]


@pytest.mark.slow
def test_a_run_whose_checkpoint_has_no_room_ends_in_words_and_goes_on(job: list[str], tmp_path: Path) -> None:
    config = compose_config([*job, *kept_in(tmp_path)])
    with files_up_to(5_000_000), pytest.raises(UserError) as caught:
        run(config, tmp_path / "run")
    assert "best.ckpt can't be written: File too large" in str(caught.value)
    assert "give teacher_cache=<another folder>" in str(caught.value), "it was the teacher's"
    assert "hydra.run.dir=" in str(caught.value)
    assert not [path for path in tmp_path.rglob("*.part")]
    assert run(config, tmp_path / "run").test["accuracy"] > 0.9


def test_a_run_whose_folder_is_removed_says_so(job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = AtomicCheckpointIO.save_checkpoint

    def removed(self: AtomicCheckpointIO, *arguments: Any, **options: Any) -> None:
        shutil.rmtree(tmp_path / "run")
        save(self, *arguments, **options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", removed)
    alone = [text for text in job if not text.startswith(("+experiment", "teacher", "replay"))]
    with pytest.raises(UserError, match="run was removed while its run was training"):
        run(compose_config(["+experiment=mnist_scratch", *alone]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of its own; skips where this process may mount none."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # a store is still mapped


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [500, 1_500, 9_000, 17_500])
@pytest.mark.parametrize("of", ["run", "kept"])
def test_on_any_small_disk_a_run_ends_in_words_and_goes_on_where_there_is_more(
    job: list[str], tmp_path: Path, kilobytes: int, of: str
) -> None:
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        places = {"run": tmp_path / "run", "kept": tmp_path / "kept"} | {of: disk / of}
        overrides = [*job, *kept_in(places["kept"])]
        with pytest.raises(UserError, match=r"No space left on device: .* is missing"):
            run(compose_config(overrides), places["run"])
        subprocess.run(["mount", "-o", "remount,size=90000k", str(disk)], check=True)
        assert run(compose_config(overrides), places["run"]).test["accuracy"] > 0.9


@pytest.mark.slow
def test_a_disk_that_fills_up_under_a_store_is_no_bus_error(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1_000) as disk:
        made = store(disk)
        with pytest.raises(UserError, match=r"1\.2 MB is needed in .* is missing.*replay\.dtype=bf16"):
            made.fill([0, 1, 2], outputs, batch_size=100, what="answers")
        made.fill([0, 1], outputs, batch_size=100, what="answers")
        assert torch.equal(made.read(1, torch.arange(5))["logits"], outputs(1, torch.arange(5))["logits"])


@pytest.mark.slow
def test_a_disk_that_may_only_be_read_is_said(job: list[str], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1_000) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for overrides, path in (
            ([*job, *kept_in(tmp_path)], disk / "run"),
            ([*job, *kept_in(disk)], tmp_path / "run"),
        ):
            with pytest.raises(UserError, match="Read-only file system"):
                run(compose_config(overrides), path)
