"""Arms: the same experiment but for role, loss and teacher."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.comparison.controls import arms_key, compose_arms, write_arm
from kdistill.config.compose import check_overrides, compose_config

DISTILL = "+experiment=mnist_distill"


def composed(*overrides: str) -> DictConfig:
    return compose_config([DISTILL, *overrides], "compare")


def plain(config: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return content  # type: ignore[return-value]


def test_a_control_differs_from_the_distilled_arm_in_name_role_loss_and_teacher_alone() -> None:
    arms = compose_arms(composed("trainer.max_epochs=3", "dataset.limit=99", "optimizer.lr=0.5", "loss.temperature=8"))
    distilled = plain(arms["distilled"])
    for name in ("scratch", "smoothed"):
        control = plain(arms[name])
        assert {key for key in distilled if control[key] != distilled[key]} == {"name", "role", "loss", "teacher"}
        assert (control["role"], control["teacher"]) == ("student", None)


def test_the_distilled_arm_is_what_kdistill_train_composes() -> None:
    overrides = [DISTILL, "loss.temperature=8", "dataset.limit=2000", "trainer.devices=2", "trainer.max_steps=9"]
    trained = plain(compose_config(overrides))
    arm = plain(compose_arms(compose_config([*overrides, "seeds=5", "jobs=2"], "compare"))["distilled"])
    trained["name"] = "mnist_distill-distilled"
    assert arm == trained


def test_a_controls_loss_is_the_distilled_loss_s_part_with_the_labels() -> None:
    arms = compose_arms(composed("loss.ce.class_weights=balanced", "loss.alpha=0.7"))
    assert arms["scratch"].loss.class_weights == arms["smoothed"].loss.class_weights == "balanced"
    assert (arms["scratch"].loss.label_smoothing, arms["smoothed"].loss.label_smoothing) == (0.0, 0.1)
    assert "alpha" not in arms["scratch"].loss and "temperature" not in arms["scratch"].loss


def test_only_the_controls_asked_for_are_there() -> None:
    assert list(compose_arms(composed("controls=[scratch]"))) == ["distilled", "scratch"]


def test_an_experiment_that_does_not_distil_is_refused() -> None:
    with pytest.raises(UserError, match="role=distill"):
        compose_arms(compose_config(["+experiment=mnist_scratch"], "compare"))


@pytest.mark.slow
def test_the_key_knows_what_is_trained_and_not_how_often_or_where_it_reports() -> None:
    def key(*overrides: str) -> str:
        return arms_key(compose_arms(composed(*overrides))["distilled"])

    same = [
        [],
        ["seeds=9"],
        ["jobs=4"],
        ["seed=3"],
        ["logger=tensorboard"],
        ["replay.teacher=off"],
        ["trainer.max_epochs=20"],
    ]
    assert len({key(*overrides) for overrides in same}) == 1
    other = [[], ["loss.temperature=8"], ["dataset.limit=2000"], ["trainer.max_epochs=3"]]
    assert len({key(*overrides) for overrides in other}) == 4


def test_a_written_arm_is_a_config_of_kdistill_train_and_follows_the_seed(tmp_path: Path) -> None:
    arms = compose_arms(composed("loss.temperature=8"))
    for name, arm in arms.items():
        write_arm(tmp_path, name, arm)
        config, found = check_overrides(["seed=4"], name, [str(tmp_path)])
        assert config is not None and found == []
        assert (config.seed, config.dataset.seed) == (4, 4)
        assert plain(config) | {"seed": 0, "dataset": None} == plain(arm) | {"dataset": None}


def test_compare_takes_all_that_train_takes_with_the_same_values() -> None:
    shared, compared = (compose_config([DISTILL], door) for door in ("train", "compare"))
    assert {key: compared[key] for key in shared} == dict(shared)
    own = {"seeds", "controls", "jobs", "runs", "arms", "output"}
    assert set(compared) - set(shared) == own


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seeds=0"], "seeds: must be greater than 0, not 0"),
        (["seedz=2"], "unknown key 'seedz'; did you mean"),
        (["jobs=many"], "jobs: must be a whole number or 'auto', not 'many'"),
        (["controls=[scrath]"], "did you mean 'scratch'?"),
        (["loss.temprature=2"], "did you mean 'loss.temperature'?"),
        (["run=[a]"], "did you mean 'runs'?"),
    ],
)
def test_a_mistake_in_a_key_of_either_kind_is_said_before_anything_runs(overrides: list[str], said: str) -> None:
    found = check_overrides([DISTILL, *overrides], "compare")[1]
    assert len(found) == 1 and said in found[0], found


def test_finished_runs_need_no_experiment_but_their_keys_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(name).mkdir()
    assert check_overrides(["runs=[a,b]", "arms=[x,y]"], "compare")[1] == []
    assert "did you mean 'output'?" in check_overrides(["runs=[a,b]", "outptu=x"], "compare")[1][0]
    assert "or runs=[...] of finished ones" in check_overrides([], "compare")[1][0]


def test_a_control_that_cannot_be_is_said_with_its_name() -> None:
    config = composed()
    config.loss.ce = {"_target_": "torch.nn.Flatten"}
    with pytest.raises(UserError, match=r"arm smoothed: unknown key .loss\.label_smoothing."):
        compose_arms(config)
