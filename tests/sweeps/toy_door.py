"""`kdistill.train` with a training that takes no time: the figures are arithmetic on the settings.

Validation's accuracy is 0.9 - |temperature - 4| / 100 + alpha / 10 + seed / 1000, test's is 0.1 less. Temperature 7 is
a user's mistake, 8 a bug, 9 ends the process once, 10 is Ctrl-C, 11 ends the process each time,
12 and more take half a second, 15 and more four seconds.
"""

import os
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from records import record

from kdistill.base.errors import UserError
from kdistill.config.cli import run_door
from kdistill.runs.folder import RunFolder
from kdistill.sweeps.launch import run_sweep


def train(config: DictConfig) -> None:
    path = Path(HydraConfig.get().runtime.output_dir)
    folder = RunFolder.create(path, config)
    with (path / "starts.txt").open("a") as file:
        file.write(f"{os.environ.get('OMP_NUM_THREADS')}\n")
    temperature, alpha = config.loss.get("temperature", 1.0), config.loss.get("alpha", 0.0)
    if temperature == 7:
        raise UserError("seven is not allowed")
    if temperature == 8:
        raise RuntimeError("a bug")
    if temperature == 9 and not (path / "killed").exists():
        (path / "killed").touch()
        time.sleep(2)  # so that another job is in the middle of its work
        os._exit(9)
    if temperature == 11:
        os._exit(9)
    if temperature == 10:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("a file is not whole")  # as torch says of a checkpoint that it was writing
    if temperature >= 12:
        time.sleep(0.5 if temperature < 15 else 4)
    print("trains", path.name)
    accuracy = 0.9 - abs(temperature - 4) / 100 + alpha / 10 + config.seed / 1000
    figures = {"accuracy": accuracy, "f1": accuracy, "auroc": accuracy, "nll": 1.2 - accuracy}
    test = {name: value - 0.1 for name, value in figures.items()}
    folder.write_record(record(config.role, val=figures, test=test, seed=config.seed))


if __name__ == "__main__":
    run_door(train, "train", sweep=run_sweep)
