"""How teachers come to be: chains, generations and several at once, as keys and configs and in real small runs."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny_runs import TINY_RECIPE, tiny

from kdistill.base.errors import UserError
from kdistill.config.compose import check_overrides, compose_config
from kdistill.evaluate import evaluate
from kdistill.models.build import create_model
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import Normalisation, RunRecord
from kdistill.teachers.recipe import member_sections, recipe_key, recipe_of, teacher_configs
from kdistill.training.run import run

ONE = "_target_: kdistill.models.build.create_model"


@pytest.fixture(scope="module")
def sizes(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that make any MNIST experiment a matter of a second or two."""
    return tiny(blocks, tmp_path_factory.mktemp("kept"), val_size=200)


def small_chain(sizes: list[str]) -> list[str]:
    """mnist_takd with networks and trainings so small that a chain of three takes seconds."""
    deepest = f"teacher.recipe_overrides=[{TINY_RECIPE}]"
    return [
        "+experiment=mnist_takd",
        *sizes,
        f"teacher.recipe_overrides=[{TINY_RECIPE},'teacher.name=mnist_mlp',\"{deepest}\"]",
    ]


def small_generations(sizes: list[str], generations: int) -> list[str]:
    first = f"teacher.recipe_overrides=['seed=1000',{TINY_RECIPE}]"
    chosen = ["student=mnist_small_cnn", f"teacher.generations={generations}", first]
    return ["+experiment=mnist_born_again", *sizes, *chosen]


def summary(folder: Path) -> RunRecord:
    return RunFolder(folder).record()


def cached(sizes: list[str]) -> dict[str, dict[str, Any]]:
    """The summaries of the teachers that runs trained, by folder."""
    cache = next(text.partition("=")[2] for text in sizes if text.startswith("teacher_cache="))
    return {path.parent.name: summary(path.parent) for path in sorted(Path(cache).glob("*/summary.json"))}


@pytest.fixture(scope="module")
def chain(sizes: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain") / "run"
    run(compose_config(small_chain(sizes)), folder)
    return folder


@pytest.mark.slow
def test_a_chain_trains_teacher_assistant_and_student(chain: Path, sizes: list[str]) -> None:
    by_label = {found.label: found for found in cached(sizes).values()}
    assert {"mnist_mlp", "mnist_mid_cnn distilled"} <= set(by_label)
    last, assistant = summary(chain), by_label["mnist_mid_cnn distilled"]
    assert last.label == "mnist_small_cnn distilled"
    assert last.teacher.fingerprint == assistant.fingerprint
    assert assistant.teacher.fingerprint == by_label["mnist_mlp"].fingerprint
    assert last.teacher.test == assistant.test
    assert (last.cost.params_total, last.teacher.cost.params_total) == (5_258, 22_666)
    result = evaluate(compose_config([f"run={chain}"], "evaluate"))
    assert result.test == last.test, "agreement with the assistant included"


@pytest.mark.slow
def test_a_second_run_finds_the_whole_chain(
    chain: Path, sizes: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(cached(sizes))
    with caplog.at_level(logging.INFO):
        again = run(compose_config([*small_chain(sizes), "seed=1"]), tmp_path / "again")
    assert "teacher mnist_mid_cnn: found, trained before" in caplog.text and "none yet" not in caplog.text
    assert set(cached(sizes)) == before
    assert again.teacher.fingerprint == summary(chain).teacher.fingerprint


def key_of(*overrides: str) -> str:
    config = compose_config(["+experiment=mnist_takd", *overrides])
    return recipe_key(recipe_of(config), "data", 100)


@pytest.mark.slow
def test_the_assistant_s_key_knows_how_its_own_teacher_came_to_be() -> None:
    assert key_of() == key_of("seed=5", "student=mnist_mlp", "loss.temperature=9", "replay.teacher=off")
    different = [
        [],
        ["teacher.recipe_overrides=[\"teacher.recipe_overrides=['trainer.max_epochs=1']\"]"],
        ["teacher.recipe_overrides=['seed=1']"],
    ]
    assert len({key_of(*overrides) for overrides in different}) == len(different)


def test_a_given_teacher_counts_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    for name, value, date in (("a", 1.0, "Monday"), ("b", 1.0, "Tuesday"), ("c", 2.0, "Monday")):
        torch.save({"w": torch.full((2,), value), "date": date}, tmp_path / f"{name}.pt")
    keys = [key_of(f"teacher.recipe_overrides=['teacher.checkpoint={tmp_path / name}.pt']") for name in "abc"]
    assert keys[0] == keys[1] != keys[2]


def test_an_assistant_s_recipe_has_its_network_as_student_and_keeps_its_own_teacher() -> None:
    config = compose_config(["+experiment=mnist_takd", "dataset.limit=77", "+teacher.width=12"])
    recipe = recipe_of(config)
    assert (recipe.role, recipe.student.name, recipe.student.width) == ("distill", "mnist_mid_cnn", 12)
    assert (recipe.teacher.name, recipe.teacher.recipe) == ("mnist_cnn", "mnist_teacher")
    assert recipe.dataset.limit == 77
    assert not {"checkpoint", "recipe", "gate"} & set(recipe.student)


@pytest.mark.slow
def test_generation_k_learns_from_generation_k_less_one(sizes: list[str], tmp_path: Path) -> None:
    before = set(cached(sizes))
    second = run(compose_config(small_generations(sizes, 2)), tmp_path / "second")
    new = {name: found for name, found in cached(sizes).items() if name not in before}
    by_seed = {found.seed: found for found in new.values()}
    assert set(by_seed) == {1000, 1001} and second.seed == 0
    assert (by_seed[1000].role, by_seed[1001].role) == ("student", "distill")
    assert by_seed[1001].teacher.fingerprint == by_seed[1000].fingerprint
    assert second.teacher.fingerprint == by_seed[1001].fingerprint
    assert len({found.fingerprint for found in [*new.values(), second]}) == 3
    facts = second.data
    more = recipe_of(compose_config(small_generations(sizes, 3)))
    assert (more.seed, more.dataset.seed, more.teacher.generations) == (1002, 1002, 2)
    key = recipe_key(recipe_of(more), facts.fingerprint, facts.train)
    assert any(name.endswith(key[:12]) for name in new), "a longer line finds its first generations here"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["teacher.name=mnist_cnn"], "teacher and student differ in name: make them equal"),
        (["student.trainable=head"], "teacher and student differ in trainable"),
        (["teacher.checkpoint=a.pt"], "teacher.generations=2 are trained from teacher.recipe on: leave out"),
        (["teacher.generations=0"], "teacher.generations: must be greater than 0, not 0"),
    ],
)
def test_a_wrong_generation_is_said_before_anything_runs(
    overrides: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.pt").touch()
    found = check_overrides(["+experiment=mnist_born_again", *overrides])[1]
    assert len(found) == 1 and said in found[0], found


def test_recipes_that_go_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    for own, other in (("a", "b"), ("b", "a")):
        text = f"# @package _global_\ndefaults:\n  - mnist_takd\nname: {own}\nteacher:\n  recipe: {other}\n"
        (tmp_path / "experiment" / f"{own}.yaml").write_text(text)
    found = check_overrides(["+experiment=a"], search_path=[str(tmp_path)])[1]
    assert len(found) == 1, found
    assert "teacher.recipe=b: teacher.recipe=a" in found[0] and "comes back to this recipe" in found[0]
    own = tmp_path / "x.pt"
    own.touch()
    assert check_overrides(["+experiment=a", f"teacher.checkpoint={own}"], search_path=[str(tmp_path)])[1] == []


def test_a_mistake_deep_in_a_chain_is_said_with_its_way() -> None:
    wrong = "teacher.recipe_overrides=[\"teacher.recipe_overrides=['trainer.max_epoch=1']\"]"
    found = check_overrides(["+experiment=mnist_takd", wrong])[1]
    assert len(found) == 1 and "did you mean 'trainer.max_epochs'" in found[0], found
    assert found[0].startswith("teacher.recipe=mnist_assistant: teacher.recipe=mnist_teacher: ")


def several(sizes: list[str], *more: str) -> list[str]:
    """Two small teachers with normalisations of their own."""
    tail = f"recipe: mnist_teacher, recipe_overrides: [{TINY_RECIPE}]"
    members = [
        f"{{{ONE}, name: mnist_mlp, {tail}}}",
        f"{{{ONE}, name: mnist_small_cnn, mean: [0.5], std: [0.2], {tail}}}",
    ]
    chosen = ["student=mnist_small_cnn", f"teacher.members=[{','.join(members)}]", "teacher.shares=[3,1]"]
    return ["+experiment=mnist_several_teachers", *sizes, *chosen, *more]


def losses(folder: Path) -> list[float]:
    rows = (folder / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/loss")
    return [float(cells[column]) for cells in (row.split(",") for row in rows[1:]) if cells[column]]


@pytest.mark.slow
def test_several_teachers_answer_with_the_mean_of_their_probabilities(sizes: list[str], tmp_path: Path) -> None:
    found = run(compose_config(several(sizes)), tmp_path / "run")
    members = found.teacher.members
    assert [one.label for one in members] == ["mnist_mlp", "mnist_small_cnn"]
    assert members[1].input == Normalisation((0.5,), (0.2,)) != members[0].input
    shares, mean = (0.75, 0.25), 0.0
    for one, share in zip(members, shares, strict=True):
        logits = np.load(Path(one.checkpoint).parent / "predictions.npz")["logits"].astype(np.float64)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        mean = mean + share * powers / powers.sum(1, keepdims=True)
    stored = np.load(tmp_path / "run" / "predictions.npz")["teacher_logits"]
    np.testing.assert_allclose(stored, np.log(mean), rtol=0, atol=1e-4)
    for part in ("params_total", "macs", "flops"):
        assert getattr(found.teacher.cost, part) == sum(getattr(one.cost, part) for one in members)
    assert found.teacher.label == "mean of 2 teachers"
    result = evaluate(compose_config([f"run={tmp_path / 'run'}"], "evaluate"))
    assert result.test == found.test, "agreement with the mean included"


@pytest.mark.slow
def test_several_teachers_replayed_teach_the_same(sizes: list[str], tmp_path: Path) -> None:
    for way in ("off", "on"):
        run(compose_config(several(sizes, f"replay.teacher={way}")), tmp_path / way)
    assert losses(tmp_path / "on") == pytest.approx(losses(tmp_path / "off"), rel=0, abs=1e-5)
    assert len(losses(tmp_path / "on")) == 2


@pytest.mark.slow
def test_finished_runs_are_members_by_their_folders_alone(chain: Path, sizes: list[str], tmp_path: Path) -> None:
    assistant = Path(summary(chain).teacher.checkpoint).parent
    given = ["+experiment=mnist_distill", *sizes, "teacher=several", f"teacher.members=['{assistant}','{chain}']"]
    found = run(compose_config(given), tmp_path / "run")
    expected = [summary(assistant).fingerprint, summary(chain).fingerprint]
    assert [one.fingerprint for one in found.teacher.members] == expected
    kept = OmegaConf.load(chain / "config.yaml")
    kept.student._target_ = "subprocess.check_output"  # type: ignore[union-attr]
    (tmp_path / "strange").mkdir()
    OmegaConf.save(kept, tmp_path / "strange" / "config.yaml")
    (tmp_path / "strange" / "summary.json").write_bytes((chain / "summary.json").read_bytes())
    with pytest.raises(UserError, match=r"names subprocess\.check_output"):
        member_sections(OmegaConf.create({"members": [str(tmp_path / "strange")]}))


@pytest.mark.slow
def test_a_member_finds_the_teacher_that_was_trained_alone() -> None:
    alone = compose_config(["+experiment=mnist_distill"])
    together = teacher_configs(compose_config(["+experiment=mnist_several_teachers"]))
    keys = [recipe_key(recipe_of(config), "data", 100) for config in (alone, *together)]
    assert keys[0] == keys[1] and len(set(keys)) == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["teacher.members=[]"], "teacher=several needs teacher.members"),
        (["teacher.shares=[1,2]"], "teacher.shares: 2 numbers for 3 teacher.members"),
        (["teacher.shares=[1,0,2]"], "teacher.shares: must be greater than 0"),
        (["teacher.temperature=0"], "teacher.temperature: must be greater than 0"),
        ([f"teacher.members=[a,{{{ONE},name:mnist_cnn}}]"], "teacher.members[1] has no weights"),
        ([f"teacher.members=[{{{ONE},nam:mnist_cnn,recipe:mnist_teacher}}]"], "'teacher.members[0].name' is not set"),
        ([f"teacher.members=[{{{ONE},name:mnist_cnn,recipe:mnist_tacher}}]"], "teacher.members[0].recipe=mnist_tacher"),
        (
            [f"teacher.members=[{{{ONE},name:mnist_cnn,recipe:mnist_teacher,gate:perhaps}}]"],
            "gate: must be 'on' or 'off'",
        ),
    ],
)
def test_wrong_members_are_said_before_anything_runs(overrides: list[str], said: str) -> None:
    found = check_overrides(["+experiment=mnist_several_teachers", *overrides])[1]
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("loss", ["at", "simkd"])
def test_a_loss_that_needs_one_teacher_is_refused_before_any_is_trained(
    loss: str, sizes: list[str], tmp_path: Path
) -> None:
    config = compose_config([*several(sizes), f"loss={loss}", f"teacher_cache={tmp_path / 'teachers'}"])
    with pytest.raises(UserError, match=f"loss {loss} compares layers.*one teacher, and there are several"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "teachers").exists()


@pytest.mark.slow
def test_a_loss_may_compare_named_layers_of_one_member(chain: Path, sizes: list[str], tmp_path: Path) -> None:
    """The second convolution of the small student with that of the first member, behind its normalisation."""
    assistant = Path(summary(chain).teacher.checkpoint).parent
    given = ["student=mnist_small_cnn", "teacher=several", f"teacher.members=['{assistant}','{chain}']"]
    found = run(
        compose_config(["+experiment=mnist_distill", *sizes, *given, "loss=at", "loss.layers=[['3','members.0.1.3']]"]),
        tmp_path / "run",
    )
    assert len(found.teacher.members) == 2
    assert "train/at" in (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]


def test_members_of_one_teacher_are_refused() -> None:
    found = check_overrides(["+experiment=mnist_distill", "+teacher.members=[outputs/a]"])[1]
    assert "teacher.members are for several teachers: choose teacher=several" in found


def test_the_assistant_lies_between_teacher_and_student() -> None:
    def size(name: str) -> int:
        return sum(p.numel() for p in create_model(name, num_classes=10, in_chans=1).parameters())

    # 24 maps of 3 x 3, then 48 of 24 x 3 x 3, then 48 x 5 x 5 values to 10 classes; biases.
    assert size("mnist_mid_cnn") == (24 * 9 + 24) + (48 * 24 * 9 + 48) + (48 * 25 * 10 + 10)
    assert size("mnist_small_cnn") < size("mnist_mid_cnn") < size("mnist_cnn")


@pytest.mark.parametrize("experiment", ["mnist_function_matching", "mhist_function_matching"])
def test_function_matching_learns_from_the_teacher_alone_on_views_that_never_come_again(experiment: str) -> None:
    config = compose_config([f"+experiment={experiment}"])
    plain = compose_config([f"+experiment={experiment.replace('function_matching', 'distill')}"])
    assert config.loss.alpha == 1.0 and config.dataset.views is None and config.dataset.mixup == 1.0
    assert "CosineAnnealingLR" in config.scheduler._target_
    assert config.trainer.max_epochs >= 10 * plain.trainer.max_epochs
    assert config.dataset.augment.scale > plain.dataset.augment.scale
