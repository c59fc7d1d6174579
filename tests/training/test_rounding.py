"""Runs with `quantize=int8`: they train on in 8 bits, go on where they were killed, export what they learned."""

import json
import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
from tiny_runs import TINY_RECIPE, PowerCut, on_digits, tiny

from kdistill.base.errors import UserError
from kdistill.config.compose import check_overrides, compose_config
from kdistill.runs.folder import RunFolder
from kdistill.training import rounding
from kdistill.training.rounding import is_as_good
from kdistill.training.run import run

ROUNDED = ["quantize=int8", "quantize.epochs=1"]


class Cut(pl.Callback):
    """Ends the part in 8 bits after its first epoch's checkpoint."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise PowerCut


def test_a_run_trains_on_in_8_bits_and_its_record_says_so(blocks: Path, tmp_path: Path) -> None:
    words = ["+experiment=mnist_scratch", *tiny(blocks, tmp_path), "student=mnist_small_cnn", *ROUNDED]
    record = run(compose_config(words), tmp_path / "run")
    assert record.rounded is not None and RunFolder(tmp_path / "run").record() == record
    assert record.best_epoch <= 2 and (record.rounded.epochs, record.rounded.best_epoch) == (1, 1)
    assert all(0 <= one["accuracy"] <= 1 for one in record.rounded.on_validation)
    taken = record.rounded.val_tuned if record.rounded.taken == "tuned" else record.rounded.val_rounded
    assert record.val["accuracy"] == taken["accuracy"]
    assert "conv1" in record.rounded.ranges or len(record.rounded.ranges) >= 3
    assert (tmp_path / "run" / "rounding" / "metrics.csv").is_file()


def test_validation_says_whether_training_in_8_bits_was_worth_it() -> None:
    good, worse, unsure = ({"accuracy": a, "nll": nll} for a, nll in ((0.9, 0.5), (0.8, 0.4), (0.9, 0.6)))
    by = "val/accuracy", "max"
    assert is_as_good(good, worse, *by) and not is_as_good(worse, good, *by)
    assert is_as_good(good, good, *by) and is_as_good(good, unsure, *by) and not is_as_good(unsure, good, *by)
    assert is_as_good(worse, good, "val/nll", "min") and not is_as_good(good, worse, "val/nll", "min")
    assert not is_as_good(worse, good, "train/loss", "min"), "accuracy decides, where training's figure chose"
    assert not is_as_good({"accuracy": 0.9, "nll": math.nan}, good, *by)


def test_what_cannot_learn_8_bits_is_refused_before_anything_is_loaded(blocks: Path) -> None:
    def said(*words: str) -> str:
        return " ".join(check_overrides(["+experiment=mnist_scratch", *on_digits(blocks), *ROUNDED, *words])[1])

    assert "frozen can't learn to do with 8 bits, and student.trainable=head" in said("student.trainable=head")
    assert "quantize.epochs=9: it shows" in said("trainer.max_epochs=8", "quantize.epochs=9")
    assert "quantize.epochs: must be greater than or equal to 0" in said("quantize.epochs=-1")
    assert "there are: int8, none" in said("quantize=int4")
    mutual = ["+experiment=mnist_mutual", *on_digits(blocks), *ROUNDED]
    assert "learn from each other are not rounded" in " ".join(check_overrides(mutual)[1])


@pytest.mark.slow
def test_a_depthwise_student_killed_in_8_bits_goes_on_bit_for_bit_and_exports_what_it_learned(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdistill.export import export

    words = [
        "+experiment=mnist_distill", *tiny(blocks, tmp_path), f"teacher.recipe_overrides=[{TINY_RECIPE}]",
        "teacher.gate=off", "student=timm", "student.name=test_efficientnet", "quantize=int8", "quantize.epochs=2",
    ]  # fmt: skip
    config = compose_config(words)
    whole = run(config, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(rounding, "_SettledNorms", type("Both", (Cut, rounding._SettledNorms), {}))
        run(config, tmp_path / "halves")
    assert (tmp_path / "halves" / "rounding" / "checkpoints" / "last.ckpt").is_file()
    resumed = run(config, tmp_path / "halves")
    assert resumed.rounded == whole.rounded and resumed.fingerprint == whole.fingerprint
    assert resumed.test == whole.test
    (manifest,) = export(compose_config([f"run={tmp_path / 'whole'}", "format=onnx_int8"], "export"))
    assert manifest["quantisation"] is not None and manifest["quantisation"]["chosen"]["method"] == "learned"
    assert manifest["agreement"] > 0.95 and json.loads((tmp_path / "whole" / "summary.json").read_text())["rounded"]
    spoilt = run(compose_config([*words, "quantize.lr_factor=300"]), tmp_path / "spoilt")
    assert spoilt.rounded is not None and spoilt.rounded.taken == "rounded"
    assert spoilt.val["nll"] == pytest.approx(spoilt.rounded.val_rounded["nll"], rel=0.05)
    assert spoilt.rounded.val_tuned["nll"] > 1.2 * spoilt.val["nll"]
    plain = run(compose_config([*words, "quantize.epochs=0"]), tmp_path / "plain")
    assert plain.rounded is None and not (tmp_path / "plain" / "rounding").exists()
    with pytest.raises(UserError, match="this run has learned no ranges"):
        words = [f"run={tmp_path / 'plain'}", "format=onnx_int8", "format.onnx_int8.method=learned"]
        export(compose_config(words, "export"))
