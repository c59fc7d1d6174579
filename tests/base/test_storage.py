"""Files and folders are whole or not there; equal data have equal digests; one process at a time is in a block."""

import hashlib
import json
import logging
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kdistill.base import storage, whole
from kdistill.base.errors import UserError


def test_a_file_that_could_not_be_finished_leaves_the_last_good_one_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "figures.txt"
    storage.write_text(path, "good\n")
    with pytest.raises(OSError, match="disk full"), whole.whole_file(path) as file:
        file.write(b"half")
        raise OSError("disk full")
    assert path.read_bytes() == b"good\n" and list(path.parent.iterdir()) == [path]
    path.with_name("plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(path.with_name("plain").stat().st_mode)


def test_a_folder_that_could_not_be_filled_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), whole.whole_folder(tmp_path / "made") as begun:
        (begun / "half").touch()
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []
    with whole.whole_folder(tmp_path / "made") as begun:
        (begun / "whole").touch()
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made" / "whole").is_file() and list(tmp_path.iterdir()) == [tmp_path / "made"]


def test_json_has_null_where_a_figure_has_no_value(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "a.json", {"auroc": float("nan"), "of": [float("inf"), 0.5, ("x", None)]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"auroc": None, "of": [None, 0.5, ["x", None]]}


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back_and_objects_are_refused(tmp_path: Path, compressed: bool) -> None:
    arrays = {"index": np.arange(3), "image": np.zeros((3, 1, 2, 2), np.uint8)}
    storage.write_npz(tmp_path / "a.npz", arrays, compressed=compressed)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert sorted(found) == ["image", "index"] and all(np.array_equal(found[name], arrays[name]) for name in arrays)
    with pytest.raises(ValueError, match="Object arrays"):
        storage.write_npz(tmp_path / "b.npz", {"a": np.array([object()])}, compressed=compressed)


def test_a_digest_is_sha256_of_the_data_with_sorted_keys() -> None:
    assert storage.digest({"b": 1, "a": [1.5, None]}) == hashlib.sha256(b'{"a": [1.5, null], "b": 1}').hexdigest()
    assert storage.digest({"a": 1}) != storage.digest({"a": 2})


def test_who_comes_second_says_so_and_waits_or_is_turned_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lock, order, let_go = tmp_path / "cache" / ".lock", [], threading.Event()

    def second() -> None:
        with storage.one_at_a_time(lock, waiting="another is at it"):
            order.append("second")

    caplog.set_level(logging.INFO)
    with storage.one_at_a_time(lock, waiting="never said"):
        thread = threading.Thread(target=second)
        thread.start()
        _until(lambda: caplog.messages == ["another is at it"], let_go)
        with pytest.raises(UserError, match="it is running already"):
            _in_a_thread(lambda: storage.one_at_a_time(lock, refusal="it is running already").__enter__())
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"] and caplog.messages == ["another is at it"]


def _until(true: Callable[[], bool], tick: threading.Event) -> None:
    for _ in range(500):
        if true():
            return
        tick.wait(0.01)
    raise AssertionError("it did not come in 5 seconds")


def _in_a_thread(call: Callable[[], object]) -> None:
    """A lock of the same thread would not be another's."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(5)
    if raised:
        raise raised[0]
