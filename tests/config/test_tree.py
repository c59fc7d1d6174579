"""Walking a config by dotted key."""

from omegaconf import OmegaConf

from kdistill.config.tree import ABSENT, as_written, at, leaves, plain, targets, walk

TREE = {"loss": {"_target_": "a.B", "parts": [{"_target_": "c.D", "x": None}]}, "logger": {}, "seed": 0}


def test_null_is_a_value_and_an_absent_key_is_not() -> None:
    assert at({"a": {"b": None}}, "a.b") is None
    assert at({"a": {"b": None}}, "a.b.c") is ABSENT and at({}, "a", 3) == 3


def test_lists_and_empty_sections_are_leaves() -> None:
    assert leaves(TREE) == {
        "loss._target_": "a.B",
        "loss.parts": [{"_target_": "c.D", "x": None}],
        "logger": {},
        "seed": 0,
    }


def test_walking_goes_into_lists() -> None:
    assert [key for key, _ in walk(TREE)] == [
        *("", "loss", "loss._target_", "loss.parts", "loss.parts[0]"),
        *("loss.parts[0]._target_", "loss.parts[0].x", "logger", "seed"),
    ]
    assert {key: section["_target_"] for key, section in targets(TREE)} == {"loss": "a.B", "loss.parts[0]": "c.D"}


def test_a_config_is_plain_as_it_is_written_or_as_it_is_meant() -> None:
    config = OmegaConf.create({"seed": 7, "dataset": {"seed": "${seed}"}})
    assert plain(config)["dataset"] == {"seed": "${seed}"}
    assert plain(config, resolve=True) == as_written(config) == {"seed": 7, "dataset": {"seed": 7}}
