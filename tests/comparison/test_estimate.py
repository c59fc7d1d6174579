"""A comparison of finished runs: what it refuses, which arms it makes, and that its verdicts are those of the data."""

import json
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from records import COST, DATA, TEACHER, record

from kdistill.base.errors import UserError
from kdistill.comparison.estimate import compare
from kdistill.modules.predictions import figures
from kdistill.runs.collect import subject_of
from kdistill.runs.comparison import Comparison
from kdistill.runs.finished import FinishedRun, read_run
from kdistill.runs.folder import RunFolder
from kdistill.runs.record_file import as_plain

SEEDS = range(4)
SAMPLES, CLASSES = 600, 3


def finished_run(
    path: Path,
    role: str,
    seed: int,
    *,
    skill: float = 1.0,
    classes: int = CLASSES,
    fingerprint: str = "data",
    latency_ms: float | None = None,
    **loss: Any,
) -> Path:
    """A folder whose network names the right class the more often the higher its skill."""
    config = {
        "name": f"toy_{role}",
        "role": role,
        "seed": seed,
        "dataset": {"seed": seed},
        "loss": {"alpha": 0, **loss},
    }
    folder = RunFolder.create(path, OmegaConf.create(config))
    tests = {part: _predictions(part, role, seed, skill, classes) for part in ("val", "test")}
    for part, arrays in tests.items():
        folder.write_predictions(part, arrays)  # type: ignore[arg-type]
    measured = {part: figures({k: torch.from_numpy(v) for k, v in arrays.items()}) for part, arrays in tests.items()}
    more: dict[str, Any] = {"experiment": config["name"], "seed": seed, "fingerprint": f"{role}{seed}", **measured}
    names = tuple(f"class {k}" for k in range(classes))
    more["data"] = replace(DATA, fingerprint=fingerprint, val=SAMPLES, test=SAMPLES, class_names=names)
    if latency_ms is not None:
        more["cost"] = replace(COST, **timing(latency_ms))
    if latency_ms is not None and role == "distill":
        more["teacher"] = replace(TEACHER, cost=replace(TEACHER.cost, **timing(10 * latency_ms)))
    folder.write_record(record(role, **more))
    return path


def named_arms(entries: Sequence[str], names: Sequence[str]) -> dict[str, list[FinishedRun]]:
    return subject_of(entries, names).arms


def timing(milliseconds: float, on: str = "cpu, 1 thread") -> dict[str, Any]:
    return {"latency_ms": milliseconds, "latency_iqr_ms": 0.1, "latency_on": on}


def _predictions(part: str, role: str, seed: int, skill: float, classes: int) -> dict[str, np.ndarray]:
    shared = np.random.default_rng(len(part))
    target = shared.integers(0, classes, SAMPLES)
    hard = shared.normal(size=(SAMPLES, classes))
    own = np.random.default_rng([seed, *role.encode(), len(part)])
    right = np.eye(classes)[target]
    logits = hard + skill * right + 0.3 * own.normal(size=hard.shape)
    arrays = {"index": np.arange(SAMPLES), "target": target, "logits": logits.astype(np.float32)}
    if role == "distill":
        arrays["teacher_logits"] = (hard + 3 * right).astype(np.float32)
    order = own.permutation(SAMPLES)  # a comparison must not rely on the order
    return {name: array[order] for name, array in arrays.items()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Students without a teacher, and distilled ones that are clearly better; four seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in SEEDS:
        finished_run(folder / f"plain-{seed}", "student", seed, skill=1.0)
        finished_run(folder / f"kd-{seed}", "distill", seed, skill=2.0)
    return folder


@pytest.fixture(scope="module")
def result(runs: Path) -> Comparison:
    return compare(named_arms([f"{runs}/plain-*", f"{runs}/kd-*"], ["plain", "kd"]), "toy")


def test_a_clear_gain_is_called_helped_in_every_metric_it_shows_in(result: Comparison) -> None:
    (pair,) = result.pairs
    assert (pair.arm, pair.baseline, pair.seeds) == ("kd", "plain", (0, 1, 2, 3))
    for metric in ("accuracy", "f1", "auroc", "nll", "nll_scaled"):
        found = pair.metrics[metric]
        assert found.verdict == "helped" and found.p <= found.p_holm <= 0.05, metric
        assert (found.mean > 0) == (metric in ("accuracy", "f1", "auroc")) and found.low < found.high


def test_means_are_those_of_the_runs_own_figures(result: Comparison, runs: Path) -> None:
    arms = {arm.name: arm for arm in result.arms}
    for name in ("plain", "kd"):
        own = [RunFolder(runs / f"{name}-{seed}").record().test for seed in SEEDS]
        for metric in ("accuracy", "f1", "auroc", "nll", "ece"):
            assert arms[name].metrics[metric].values == pytest.approx([one[metric] for one in own], abs=1e-12)
    own = [RunFolder(runs / f"kd-{seed}").record().test["agreement_kl"] for seed in SEEDS]
    assert arms["kd"].metrics["agreement_kl"].values == pytest.approx(own, rel=1e-4)


def test_the_teacher_comes_first_and_everyone_is_held_against_it(result: Comparison) -> None:
    teacher, plain, kd = result.arms
    assert (teacher.name, teacher.role, teacher.ratio, plain.ratio) == ("big net", "teacher", 1.0, 17.0)
    assert plain.metrics["agreement_top1"].mean < kd.metrics["agreement_top1"].mean
    assert "agreement_top1" not in teacher.metrics


def test_the_control_of_calibration_is_the_other_after_a_temperature(result: Comparison) -> None:
    (pair,) = result.pairs
    arms = {arm.name: arm.metrics for arm in result.arms}
    for metric in ("nll", "ece"):
        expected = arms["kd"][metric].mean - arms["plain"][f"{metric}_scaled"].mean
        found = pair.metrics[f"{metric}_vs_scaled"]
        assert found.mean == pytest.approx(expected) and found.better == "lower"


def test_of_arms_without_a_control_that_question_is_not_asked(runs: Path, tmp_path: Path) -> None:
    other = str(finished_run(tmp_path / "other", "distill", 0, temperature=8))
    (pair,) = compare(named_arms([f"{runs}/kd-0", other], []), "toy").pairs
    assert "nll_scaled" in pair.metrics and "nll_vs_scaled" not in pair.metrics


def test_a_metrics_verdict_is_the_same_however_many_metrics_there_are(result: Comparison) -> None:
    (pair,) = result.pairs
    assert all(found.p_holm == found.p for found in pair.metrics.values()), "one pair: nothing to adjust for"


def test_a_temperature_that_makes_the_control_worse_is_pointed_out(tmp_path: Path) -> None:
    paths = [finished_run(tmp_path / role, role, 0) for role in ("student", "distill")]
    val = RunFolder(paths[0]).read_predictions("val")
    val["logits"] = val["logits"] * 20  # overconfident on validation alone
    RunFolder(paths[0]).write_predictions("val", val)
    notes = compare(named_arms([str(path) for path in paths], ["plain", "kd"]), "toy").notes
    assert any(note.startswith("the temperature from validation makes plain's NLL worse on test") for note in notes)


def test_logits_that_are_not_finite_are_refused_with_the_file(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "diverged", "student", 0)
    for part in ("val", "test"):
        kept = RunFolder(path).read_predictions(part)  # type: ignore[arg-type]
        broken = kept | {"logits": kept["logits"].copy()}
        broken["logits"][[3, 5], 1] = np.nan, np.inf
        RunFolder(path).write_predictions(part, broken)  # type: ignore[arg-type]
        name = RunFolder(path).predictions(part).name  # type: ignore[arg-type]
        with pytest.raises(UserError, match=rf"diverged/{name}: logits of 2 of 600 images are nan or infinite"):
            read_run(path)
        RunFolder(path).write_predictions(part, kept)  # type: ignore[arg-type]


def test_a_result_is_plain_json(result: Comparison) -> None:
    assert json.loads(json.dumps(as_plain(result), allow_nan=False))["name"] == "toy"


def test_a_run_whose_validation_lacks_the_teacher_is_refused_by_its_files(tmp_path: Path) -> None:
    path = finished_run(tmp_path / "kd", "distill", 0)
    kept = RunFolder(path).read_predictions("val")
    RunFolder(path).write_predictions("val", {name: kept[name] for name in ("index", "target", "logits")})
    with pytest.raises(UserError, match=r"val_predictions.npz \(index, target, logits\) and .* do not hold the same"):
        read_run(path)


def test_one_seed_uses_the_exact_test_and_says_what_it_cannot_know(runs: Path) -> None:
    found = compare(named_arms([f"{runs}/plain-0", f"{runs}/kd-0"], []), "toy")
    (pair,) = found.pairs
    assert pair.metrics["accuracy"].p == pytest.approx(pair.mcnemar.p_per_seed[0])
    assert found.notes[0].startswith("one seed")


def test_with_two_classes_delong_tests_auroc(tmp_path: Path) -> None:
    arms = [str(finished_run(tmp_path / role, role, 0, classes=2)) for role in ("student", "distill")]
    (pair,) = compare(named_arms(arms, []), "toy").pairs
    assert pair.metrics["auroc"].p == pair.delong.p_per_seed[0]


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_handful_of_samples_of_one_class_give_no_number_that_is_none_and_prove_little(
    seeds: int, tmp_path: Path
) -> None:
    """Four samples of the negative class alone: nothing is ranked, F1 has a value only where the positive is named."""
    paths = []
    for seed in range(seeds):
        for role, answer in (("student", 1), ("distill", 0)):  # always wrong, always right
            path = finished_run(tmp_path / f"{role}{seed}", role, seed, classes=2)
            for part in ("val", "test"):
                kept = RunFolder(path).read_predictions(part)  # type: ignore[arg-type]
                few = {name: array[np.argsort(kept["target"], kind="stable")[:4]] for name, array in kept.items()}
                few |= {"index": np.arange(4), "logits": np.tile(3 * np.eye(2)[answer], (4, 1))}
                RunFolder(path).write_predictions(part, few)  # type: ignore[arg-type]
            known = RunFolder(path).record()
            RunFolder(path).write_record(replace(known, data=replace(known.data, val=4, test=4)))
            paths.append(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare(named_arms([str(tmp_path / "student*"), str(tmp_path / "distill*")], ["plain", "kd"]), "few")
    assert json.loads(json.dumps(as_plain(found), allow_nan=False))["name"] == "few"
    arms = {arm.name: arm.metrics for arm in found.arms}
    assert arms["plain"]["f1"].mean == 0 and "f1" not in arms["kd"]
    assert all("auroc" not in metrics for metrics in arms.values())
    (pair,) = found.pairs
    for metric, question in pair.metrics.items():
        assert question.p >= 2 / 2**4 and question.verdict == "inconclusive", metric
    notes = " ".join(found.notes)
    assert "test has no image of class 1" in notes and "left out there: F1, AUROC" in notes
    assert "no test of so few can give a p below 0.12" in notes


def test_only_shared_seeds_are_paired(runs: Path) -> None:
    found = compare(named_arms([f"{runs}/plain-[01]", f"{runs}/kd-[123]"], ["plain", "kd"]), "toy")
    assert found.pairs[0].seeds == (1,)
    found = compare(named_arms([f"{runs}/plain-0", f"{runs}/kd-1"], []), "toy")
    assert found.pairs[0].metrics == {} and "no seed in common" in found.notes[0]


def test_runs_of_equal_settings_make_an_arm_and_others_are_named_by_what_differs(runs: Path, tmp_path: Path) -> None:
    hot = finished_run(tmp_path / "hot", "distill", 0, kind="hot")
    cold = finished_run(tmp_path / "cold", "distill", 0, kind="cold")
    arms = named_arms([f"{runs}/plain-*", str(hot), str(cold), f"{runs}/plain-0"], [])
    names = ["net without a teacher", "net distilled loss.kind=hot", "net distilled loss.kind=cold"]
    assert list(arms) == names and len(arms["net without a teacher"]) == 4


def test_runs_that_differ_in_latency_alone_are_one_arm_with_their_median(tmp_path: Path) -> None:
    for seed, latency in enumerate((3.0, 1.0, 1.5)):
        finished_run(tmp_path / f"kd-{seed}", "distill", seed, latency_ms=latency)
    older = str(finished_run(tmp_path / "older", "distill", 3))
    arms = named_arms([f"{tmp_path}/kd-*", older], [])
    assert [len(runs) for runs in arms.values()] == [4]
    found = compare(arms, "toy")
    teacher, student = found.arms
    assert replace(student.cost, **timing(1.5)) == student.cost, "the median of the runs that have one"
    assert (teacher.cost.latency_ms, teacher.cost.flops) == (15.0, 1700)
    assert not any("latency" in note for note in found.notes)


def test_latency_of_different_devices_is_pointed_out(tmp_path: Path) -> None:
    paths = [finished_run(tmp_path / role, role, 0, latency_ms=1.0) for role in ("student", "distill")]
    known = RunFolder(paths[0]).record()
    RunFolder(paths[0]).write_record(replace(known, cost=replace(known.cost, latency_on="cuda, some GPU")))
    found = compare(named_arms([str(path) for path in paths], []), "toy")
    assert found.notes[-1].startswith("latency was measured on cpu, 1 thread and on cuda, some GPU")


def test_without_validation_nothing_is_scaled_and_that_is_said(runs: Path, tmp_path: Path) -> None:
    older = shutil.copytree(runs / "kd-0", tmp_path / "older")
    (older / "val_predictions.npz").unlink()
    found = compare(named_arms([str(runs / "plain-0"), str(older)], []), "toy")
    assert "nll_scaled" not in found.pairs[0].metrics
    assert any("val_predictions.npz" in note for note in found.notes)


def test_one_arm_alone_is_shown_and_not_judged(runs: Path) -> None:
    found = compare(named_arms([f"{runs}/plain-*"], []), "toy")
    assert found.pairs == () and found.notes[0].startswith("one arm")


def test_runs_that_do_not_fit_are_refused_in_words(runs: Path, tmp_path: Path) -> None:
    plain = str(runs / "plain-0")
    other = str(finished_run(tmp_path / "data", "distill", 0, fingerprint="other"))
    with pytest.raises(UserError, match="saw other data than"):
        compare(named_arms([plain, other], []), "toy")
    classes = str(finished_run(tmp_path / "classes", "distill", 0, classes=2))
    with pytest.raises(UserError, match="has the classes"):
        compare(named_arms([plain, classes], []), "toy")
    twice = str(finished_run(tmp_path / "twice", "student", 0))
    with pytest.raises(UserError, match=r"has seed 0 twice.*arms="):
        compare(named_arms([plain, twice], []), "toy")


def test_a_run_that_kept_no_predictions_is_refused(tmp_path: Path) -> None:
    finished_run(tmp_path / "done", "student", 0)
    (tmp_path / "done" / "predictions.npz").unlink()
    with pytest.raises(UserError, match="kept no predictions"):
        read_run(tmp_path / "done")


def door(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kdistill.compare", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_door_compares_finished_runs_and_writes_three_files(runs: Path, tmp_path: Path) -> None:
    done = door(tmp_path, f"runs=[{runs}/plain-*,{runs}/kd-*]", "output=report")
    assert done.returncode == 0, done.stderr
    assert "net distilled against net without a teacher: helped: accuracy" in done.stdout
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        f"comparison.{ending}" for ending in ("html", "json", "md")
    ]
    found = json.loads((tmp_path / "report" / "comparison.json").read_text())
    assert found["pairs"][0]["metrics"]["accuracy"]["verdict"] == "helped"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert shlex.split(found["command"])[3:] == [f"runs=[{runs}/plain-*,{runs}/kd-*]", "output=report"]
    assert found["command"] in (tmp_path / "report" / "comparison.md").read_text()
    assert "python -m kdistill.report 'runs=[" in done.stdout.splitlines()[-1]


def test_of_a_sweeps_folder_the_door_shows_the_test_figures_of_the_chosen_settings_alone(tmp_path: Path) -> None:
    """Validation prefers skill; the other settings' figures on test are shown where their arms are named."""
    for temperature, skill in ((1, 3.0), (8, 0.5)):
        for seed in (0, 1):
            finished_run(tmp_path / f"{temperature}-{seed}", "distill", seed, skill=skill, temperature=temperature)
    subject = subject_of([str(tmp_path)], [])
    found = compare(subject.arms, subject.title, notes=[one.note for one in subject.sweeps])
    assert [arm.name for arm in found.arms[1:]] == ["net distilled (loss.temperature=1)"]
    assert found.notes[0].startswith(
        "of 2 settings of loss.temperature, validation's accuracy chose loss.temperature=1: test figures are of these "
    )
    arms = named_arms([f"{tmp_path}/1-*", f"{tmp_path}/8-*"], ["one", "eight"])
    assert [arm.name for arm in compare(arms, "named").arms[1:]] == ["one", "eight"]


@pytest.mark.slow
def test_the_door_has_a_place_of_its_own_for_a_report(runs: Path, tmp_path: Path) -> None:
    assert door(tmp_path, f"runs=[{runs}/plain-*,{runs}/kd-*]", "arms=[a,b]", "name=mine").returncode == 0
    (folder,) = (tmp_path / "outputs" / "compare").iterdir()
    assert folder.name.endswith("-mine") and (folder / "comparison.md").is_file()


@pytest.mark.slow
def test_what_would_train_is_refused_beside_finished_runs(runs: Path, tmp_path: Path) -> None:
    done = door(tmp_path, f"runs=[{runs}/plain-*]", "seeds=5", "+experiment=mnist_distill")
    assert done.returncode == 2 and "leave out seeds=5, +experiment=mnist_distill" in done.stderr


@pytest.mark.slow
def test_comparing_finished_runs_imports_no_torch(runs: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from kdistill.compare import main; main();"
        "print(sorted({'torch', 'torchvision', 'timm', 'pytorch_lightning', 'torchmetrics'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, f"runs=[{runs}/plain-*,{runs}/kd-*]", "output=report"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_arm_that_has_diverged_is_named_and_judged_by_nobody(tmp_path: Path) -> None:
    paths = [finished_run(tmp_path / f"{role}{seed}", role, seed) for role in ("student", "distill") for seed in (0, 1)]
    whole = compare(subject_of([str(tmp_path)], []).arms, "toy")
    RunFolder(paths[-1]).write_record(replace(RunFolder(paths[-1]).record(), diverged="NLL is 1e16"))
    found = compare(subject_of([str(tmp_path)], []).arms, "toy")
    assert len(whole.pairs) == 1 and not found.pairs and len(found.arms) == len(whole.arms)
    (note,) = [one for one in found.notes if "diverged" in one]
    assert note.startswith("arm 'net distilled' has diverged (seed 1: NLL is 1e16): it is no result")


def test_a_run_that_cannot_be_read_is_left_out_and_the_others_are_compared(tmp_path: Path) -> None:
    paths = [finished_run(tmp_path / f"{role}{seed}", role, seed) for role in ("student", "distill") for seed in (0, 1)]
    (paths[0] / "summary.json").write_text("{")
    (paths[3] / "predictions.npz").write_bytes(b"PK")
    subject = subject_of([str(tmp_path)], [])
    assert [run.path.name for runs in subject.arms.values() for run in runs] == ["distill0", "student1"]
    assert [note.partition(" cannot")[0] for note in subject.notes] == [
        f"left out: {path}" for path in (paths[0] / "summary.json", paths[3] / "predictions.npz")
    ]
    with pytest.raises(UserError, match=r"student0/summary\.json cannot be read as JSON"):
        subject_of([str(paths[0])], [])
