"""When outputs are stored: `auto` where it pays, `on` always, never more than fits."""

from pathlib import Path

import pytest
import torch

from kdistill.base.errors import UserError
from kdistill.replay.plan import Decision, decide
from kdistill.replay.store import ReplayStore


@pytest.fixture
def store(tmp_path: Path) -> ReplayStore:
    """4 kB a view."""
    return ReplayStore(tmp_path, "teacher", {}, shapes={"logits": (10,)}, samples=100, dtype="fp32")


def ask(
    store: ReplayStore, switch: str, views: int, epochs: int, *, max_gb: float = 1.0, shared: bool = False
) -> Decision:
    return decide(switch, store, range(views), shows=epochs, max_gb=max_gb, shared=shared, what="answers")


def test_auto_stores_what_is_shown_more_than_once(store: ReplayStore) -> None:
    assert ask(store, "auto", 2, 6).replay
    assert not ask(store, "auto", 6, 6).replay
    assert ask(store, "auto", 6, 6, shared=True).replay, "by another job of the sweep"
    assert "dataset.views=K" in ask(store, "auto", 6, 6).reason


def test_auto_replays_what_is_there(store: ReplayStore) -> None:
    store.fill(range(3), lambda view, index: {"logits": torch.zeros(len(index), 10)}, batch_size=50, what="answers")
    assert ask(store, "auto", 3, 3).replay
    assert ask(store, "auto", 3, 3, max_gb=1e-9).replay, "it takes no more room"


def test_on_stores_what_is_shown_once_and_off_nothing(store: ReplayStore) -> None:
    assert ask(store, "on", 6, 6).replay
    assert not ask(store, "off", 1, 6).replay


def test_more_than_fits_is_not_stored_and_refused_where_it_is_asked_for(store: ReplayStore) -> None:
    assert not ask(store, "auto", 2, 6, max_gb=7e-6).replay
    with pytest.raises(UserError, match=r"answers would take 8e-06 GB .*2 views of 100 samples.*replay\.max_gb=7e-06"):
        ask(store, "on", 2, 6, max_gb=7e-6)
    assert ask(store, "on", 2, 6, max_gb=9e-6).replay


def test_of_what_does_not_fit_it_is_said_what_would(tmp_path: Path) -> None:
    images = {"shapes": {"logits": (1000,)}, "samples": 1_281_167}
    store = ReplayStore(tmp_path, "teacher", {}, **images, dtype="fp32")  # type: ignore[arg-type]
    top_k = ReplayStore(tmp_path, "teacher", {}, **images, dtype="fp32", top_k={"logits": 50})  # type: ignore[arg-type]
    options = {"shows": 300, "max_gb": 20.0, "shared": False, "what": "answers"}
    decision = decide("auto", store, range(10), **options, smaller={"replay.keep=top_k": top_k})  # type: ignore[arg-type]
    assert not decision.replay and decision.reason.endswith("replay.max_gb=20; replay.keep=top_k would take 3.89 GB")
    with pytest.raises(UserError, match=r"lower dataset\.views, or replay\.keep=top_k would take 3\.89 GB"):
        decide("on", store, range(10), **options, smaller={"replay.keep=top_k": top_k})  # type: ignore[arg-type]
    assert "top_k" not in decide("auto", store, range(100), **options, smaller={"replay.keep=top_k": top_k}).reason  # type: ignore[arg-type]


def test_where_there_is_no_room_nothing_is_stored_and_it_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ReplayStore(tmp_path / "file" / "cache", "x", {}, shapes={"logits": (10,)}, samples=1000, dtype="fp32")
    options = {"shows": 4, "max_gb": 1.0, "shared": False, "what": "answers"}
    decision = decide("auto", store, [0, 1], **options)
    assert not decision.replay and "file is no folder" in decision.reason
    with pytest.raises(UserError, match=r"file is no folder; give another replay.cache"):
        decide("on", store, [0, 1], **options)
    huge = ReplayStore(tmp_path, "x", {}, shapes={"logits": (10,)}, samples=10**15, dtype="fp32")
    assert "40,000 TB is needed" in decide("auto", huge, [0], **{**options, "max_gb": 1e9}).reason
