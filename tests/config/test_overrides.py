"""Folders of a sweep: stable, safe, different for different settings."""

import pytest

from kdistill.config.overrides import LONGEST, folder_name, job_name, key_of


def test_a_job_is_named_by_its_overrides_in_any_order() -> None:
    names = [["loss.temperature=4", "loss.alpha=0.5"], ["loss.alpha=0.5", "loss.temperature=4"]]
    assert [job_name(name) for name in names] == ["loss.alpha=0.5,loss.temperature=4"] * 2


def test_left_out_keys_take_what_is_below_them_along() -> None:
    assert job_name(["seed=1", "logger=wandb", "+logger.wandb.project=x", "loggers=1"], ["logger"]) == (
        "loggers=1,seed=1"
    )


@pytest.mark.parametrize("text", ["root=/a/b", "root=../..", "name=two words", "betas=[0.9,0.99]", "word=ä", "x=*?"])
def test_a_name_is_one_safe_path_element(text: str) -> None:
    name = folder_name([text])
    assert "/" not in name and name not in (".", "..") and not set(name) & set(" *?[]'\"\\")


def test_names_differ_where_their_safe_signs_do_not() -> None:
    names = {folder_name([text]) for text in ("root=a/b", "root=a-b", "root=a b", "root=a//b")}
    assert len(names) == 4


def test_a_long_name_keeps_its_beginning_and_ends_in_a_hash() -> None:
    first, second = (folder_name(["loss.temperature=4", f"student.name={'x' * 200}{end}"]) for end in "ab")
    assert first != second and first.startswith("loss.temperature=4,student.name=xxx")
    assert len(first.encode()) <= LONGEST


def test_a_key_is_found_whatever_stands_before_it() -> None:
    assert [key_of(text) for text in ("a.b=1", "+a.b=x=y", "++a.b=1", "~a.b")] == ["a.b"] * 4
