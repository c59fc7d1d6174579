"""Mutual learning as a run: peers in the summary and the checkpoint, the student in the files; and as a comparison."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny_runs import PowerCut, tiny

from kdistill.base.errors import UserError
from kdistill.comparison.controls import compose_arms
from kdistill.config.compose import check_overrides, compose_config
from kdistill.evaluate import evaluate
from kdistill.models.build import create_model
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord
from kdistill.training.run import run

MLP = "{_target_: kdistill.models.build.create_model, name: mnist_mlp, mean: [0.5], std: [0.5]}"


class Stop(pl.Callback):
    """Ends a run in its second epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise PowerCut


@pytest.fixture(scope="module")
def job(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small student with a copy of itself and a larger network as its peers."""
    return [
        *("+experiment=mnist_mutual", *tiny(blocks, tmp_path_factory.mktemp("kept"), val_size=200)),
        *("student=mnist_small_cnn", f"peers=[${{student}},{MLP}]", "trainer.max_epochs=3"),
        "device=cpu",  # whose convolutions give the same bits each time
    ]


@pytest.fixture(scope="module")
def finished(job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutual") / "run"
    run(compose_config(job), folder)
    return folder


def summary(folder: Path) -> RunRecord:
    return RunFolder(folder).record()


def test_the_summary_has_the_student_and_its_peers(finished: Path) -> None:
    found = summary(finished)
    assert (found.role, found.label) == ("mutual", "mnist_small_cnn mutual")
    assert [one.label for one in found.peers] == ["mnist_small_cnn", "mnist_mlp"]
    assert [one.cost.params_total for one in found.peers] == [5_258, 623_290]
    assert len({one.fingerprint for one in [found, *found.peers]}) == 3, "copies start from other weights"
    assert found.cost.params_total == 5_258, "what is deployed is the student alone"
    assert all(one.test["accuracy"] > 0.3 for one in [found, *found.peers]), "all of them learn"
    assert found.teacher is None


def test_the_student_is_what_the_run_hands_over(finished: Path) -> None:
    state = load_file(finished / "student.safetensors")
    create_model("mnist_small_cnn", num_classes=10, in_chans=1).load_state_dict(state)
    result = evaluate(compose_config([f"run={finished}"], "evaluate"))
    assert result.test == summary(finished).test and result.teacher is None
    kept = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    every = sum(value.numel() for name, value in kept["state_dict"].items() if "normalize" not in name)
    assert every == 5_258 + 5_258 + 623_290
    assert len(kept["optimizer_states"][0]["state"]) == 6 + 6 + 4


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_all_its_peers(finished: Path, job: list[str], tmp_path: Path) -> None:
    target = f"{Stop.__module__}.{Stop.__qualname__}"
    with pytest.raises(PowerCut):
        run(compose_config([*job, f"+callbacks.stop={{_target_: {target}}}"]), tmp_path / "run")
    plain = compose_config(job)
    (tmp_path / "run" / "config.yaml").write_text(OmegaConf.to_yaml(plain, resolve=True))
    resumed, whole = run(plain, tmp_path / "run"), summary(finished)
    assert resumed.fingerprint == whole.fingerprint
    assert [one.fingerprint for one in resumed.peers] == [one.fingerprint for one in whole.peers]


def test_a_comparison_holds_it_against_the_student_alone() -> None:
    arms = compose_arms(compose_config(["+experiment=mnist_mutual", "controls=[scratch]"], "compare"))
    assert (arms["distilled"].role, len(arms["distilled"].peers)) == ("mutual", 1)
    assert (arms["scratch"].role, list(arms["scratch"].peers)) == ("student", [])
    assert arms["scratch"].student == arms["distilled"].student and "alpha" not in arms["scratch"].loss


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["peers=[]"], "role=mutual needs peers beside the student: peers=[${student}]"),
        (["loss=at"], "this loss looks at layers: choose loss=kd"),
        (["loss=ce", "~loss.temperature", "~loss.alpha"], "needs a loss with 'alpha', the weight of the peers' part"),
        (["teacher=mnist_cnn"], "role=mutual has no teacher, the peers teach each other"),
        (["replay.prefix=on"], "replay.prefix=on stores what one network's frozen part gives"),
        (["peers=[{name: mnist_mlp}]"], "peers[0] has no _target_"),
        (
            ["peers=[{_target_: kdistill.models.mnist.MnistMLP, widht: 3}]"],
            "unknown key 'peers[0].widht'; did you mean",
        ),
    ],
)
def test_a_mistake_is_said_before_anything_runs(overrides: list[str], said: str) -> None:
    found = check_overrides(["+experiment=mnist_mutual", *overrides])[1]
    assert any(said in problem for problem in found), found


def test_peers_have_no_place_beside_a_teacher() -> None:
    found = check_overrides(["+experiment=mnist_distill", "peers=[${student}]"])[1]
    assert found == ["peers learn together in role=mutual alone, not in role=distill: leave them out"]


def test_a_loss_within_a_list_that_looks_at_layers_is_refused_before_training(job: list[str], tmp_path: Path) -> None:
    hint = "+loss.parts.hint={_target_: kdistill.losses.hint.Hint}"
    config = compose_config([*job, "loss=several", "~loss.temperature", hint, "+loss.weights.hint=0.1"])
    with pytest.raises(UserError, match="loss hint looks at layers"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_peers_refuse_a_distillation_head_and_take_deits_hard_labels_without_it(job: list[str], tmp_path: Path) -> None:
    deit = [*job, "loss=deit"]
    with pytest.raises(UserError, match=r"loss deit teaches a distillation head: loss\.token=false, or choose loss=kd"):
        run(compose_config(deit), tmp_path / "refused")
    assert not (tmp_path / "refused" / "checkpoints").exists()
    assert run(compose_config([*deit, "loss.token=false"]), tmp_path / "run").role == "mutual"
