"""Checkpoints that are either whole or not there."""

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import validate_call
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.metric_catalogue import TIE_BREAKER
from kdistill.base.types import NonNegativeFloat
from kdistill.base.whole import whole_file
from kdistill.modules.predictions import RUN, read_whole
from kdistill.ranks import world

_PARTS = {"state_dict": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list, "epoch": int}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, fsyncs and renames, so that a full disk or a kill leaves the last good file."""

    def __init__(self, run: str | None = None, folder: Path | None = None, foreign: Path | None = None) -> None:
        """For the checkpoints of one run.

        Args:
            run: what names it, in each of its checkpoints; None: nothing does.
            folder: the run's, which has to be there as long as it trains.
            foreign: a checkpoint of another run, which this one may go on from all the same.
        """
        super().__init__()
        self.foreign = foreign
        self.run = run
        self.folder = folder

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            UserError: the disk is full or read-only, or the run's folder is gone.
        """
        if self.folder is not None and not self.folder.is_dir():
            raise UserError(f"{self.folder} was removed while its run was training in it: start it again, anew")
        with whole_file(Path(path), size=_tensor_bytes(checkpoint)) as file:
            torch.save(checkpoint if self.run is None else {**checkpoint, RUN: self.run}, file)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """What the file holds, with the paths of the run's own checkpoints in the folder where the file lies now."""
        if Path(path) != self.foreign:
            return at_home(read_checkpoint(Path(path), run=self.run), Path(path).parent, run=self.run)
        content = read_checkpoint(Path(path))
        kept = {name: state for name, state in content["callbacks"].items() if "dirpath" not in state}
        return {**content, "callbacks": kept}  # what that run has chosen and kept is its own


def _tensor_bytes(node: Any) -> int:
    if isinstance(node, Tensor):
        return node.nbytes
    inner = node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()
    return sum(map(_tensor_bytes, inner))


def read_checkpoint(path: Path, *, run: str | None = None) -> dict[str, Any]:
    """A checkpoint that a run can go on from, on the CPU.

    Args:
        path: the file.
        run: what names the run that must have written it; None: any may have.

    Raises:
        UserError: the file is damaged, or another run or none has written it.
    """
    mend = (
        f"the run cannot go on from it. Restore the file, or remove {path} and start again: the run then begins "
        "anew in its folder"
    )
    content = read_whole(path, run=run)
    if not isinstance(content, dict) or not isinstance(content.get("loops"), dict):
        raise UserError(f"{path} is not what a run has written: {mend}")
    for name, kind in _PARTS.items():
        if not isinstance(content.get(name), kind):
            raise UserError(f"{path} is not what a run has written, for it lacks {name}: {mend}")
    try:
        _logged_until(content)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not what a run has written, for its place in the epoch is lost: {mend}") from error
    return content


def at_home(content: dict[str, Any], folder: Path, *, run: str | None = None) -> dict[str, Any]:
    """A checkpoint whose callbacks know the checkpoints of this folder, where it was copied or moved to.

    Args:
        content: the checkpoint.
        folder: where it lies.
        run: as of `read_checkpoint`, of the other checkpoints too.

    Raises:
        UserError: one of those is not there, is damaged or another run's: it would be tested at the end.
    """
    here = os.path.realpath(folder)
    for state in content["callbacks"].values():
        if not isinstance(state, dict) or not isinstance(state.get("dirpath"), str):
            continue
        there = state["dirpath"]

        def moved(node: Any, there: str = there) -> Any:
            if isinstance(node, dict):
                return {moved(key): moved(value) for key, value in node.items()}
            if isinstance(node, str) and (node == there or node.startswith(f"{there}{os.sep}")):
                return here + node.removeprefix(there)
            return node

        state |= moved(state)
        for path in {*state.get("best_k_models", ()), state.get("best_model_path")} - {None, ""}:
            if not Path(path).is_file():
                raise UserError(
                    f"{path} is gone, the best checkpoint so far, which this run would go on with: restore it, or "
                    f"remove {Path(here, 'last.ckpt')} too and start again"
                )
            read_whole(Path(path), run=run)
    return content


def logged_until(checkpoint: Path) -> int:
    """The last step that a run had logged when it wrote a checkpoint; -1 if none.

    Raises:
        UserError: the file is damaged, or no run has written it.
    """
    return _logged_until(read_checkpoint(checkpoint))


def _logged_until(content: dict[str, Any]) -> int:
    loops = content["loops"]["fit_loop"]
    done = int(loops["epoch_loop.state_dict"]["_batches_that_stepped"])
    # The next epoch's first row has the number after this epoch's last one; a batch is counted after its checkpoint.
    return done - 1 if loops["epoch_loop.batch_progress"]["is_last_batch"] else done


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint; of epochs whose monitored figures are equal it keeps the one with the lowest NLL.

    Accuracy on a small validation set has few values: many epochs share the best one, and the first of them is seldom
    the best trained.
    """

    _ties: Mapping[str, float] = {}  # by path, as `best_k_models`

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        if super().check_monitor_top_k(trainer, current):
            return True
        worst = self.kth_best_model_path
        equal = current is not None and worst in self._ties and bool(current == self.best_k_models[worst])
        return trainer.strategy.reduce_boolean_decision(equal and self._tie(trainer) < self._ties[worst])

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        if filepath in self.best_k_models:  # not last.ckpt
            ties = {**self._ties, filepath: self._tie(trainer)}
            self._ties = {path: ties.get(path, math.inf) for path in self.best_k_models}
            sign = 1 if self.mode == "min" else -1

            def rank(path: str) -> tuple[float, float]:
                return sign * float(self.best_k_models[path]), self._ties[path]

            self.best_model_path = min(self.best_k_models, key=rank)
            self.best_model_score = self.best_k_models[self.best_model_path]
            if self.kth_best_model_path:
                self.kth_best_model_path = max(self.best_k_models, key=rank)
                self.kth_value = self.best_k_models[self.kth_best_model_path]
        super()._save_checkpoint(trainer, filepath)

    def _tie(self, trainer: pl.Trainer) -> float:
        """What decides between equals; a module of someone's own may not log it, and then nothing does."""
        value = float(trainer.callback_metrics.get(TIE_BREAKER, math.inf))
        return math.inf if math.isnan(value) else value

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "ties": dict(self._ties)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._ties = {path: tie for path, tie in state_dict.get("ties", {}).items() if path in self.best_k_models}


class ResumePoint(pl.Callback):
    """Keeps `last.ckpt` no older than some minutes, also in mid-epoch, with what Lightning leaves out of it.

    Order and views are functions of (seed, epoch), the loader's place is in the checkpoint, and so is, from here, the
    state of the processes' random generators (dropout): a killed run goes on as if nothing had happened.
    """

    takes_several_steps = True

    @validate_call
    def __init__(self, dirpath: str, *, minutes: NonNegativeFloat = 1.0) -> None:
        """Where a checkpoint is written, and how often.

        Args:
            dirpath: folder of the checkpoint.
            minutes: between two checkpoints within an epoch; at its end there is one anyway.
        """
        self.path = Path(dirpath) / "last.ckpt"
        self.seconds = 60 * minutes
        self._random: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._written = time.monotonic()
        self._begun, self._steps, self._asks_at = self._written, 0, 1  # of several processes
        random, rank = self._random, world.rank()
        if len(random.get("cpu", ())) > rank:
            torch.set_rng_state(random["cpu"][rank])
            if torch.cuda.is_available() and len(random["cuda"][rank]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(random["cuda"][rank])
        elif rank > 0:  # all have the seed so far, and what one drops is not what another drops
            torch.manual_seed(torch.initial_seed() + 1000 * rank + trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._steps += 1
        if self._is_due() and not trainer.is_last_batch:
            for logger in trainer.loggers:
                logger.save()  # what is logged before a checkpoint must not be lost with what comes after it
            trainer.save_checkpoint(self.path)
            self._written = time.monotonic()

    def _is_due(self) -> bool:
        """Whether it is time, by the first process's clock; of several they ask it seldom, for each waits for it."""
        now = time.monotonic()
        due = now - self._written >= self.seconds
        if world.size() > 1:
            if self._steps < self._asks_at:
                return False
            steps = self._steps * (self.seconds - (now - self._written)) / max(now - self._begun, 1e-3) / 2
            due, self._asks_at = world.from_first(lambda: (due, self._steps + max(1, int(steps))))
        return due

    def state_dict(self) -> dict[str, Any]:
        return {"cpu": world.everyones(torch.get_rng_state()), "cuda": world.everyones(torch.cuda.get_rng_state_all())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random = state_dict
