"""What a run folder may name: a closed list of callables, matched on the object that would be called."""

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from kdistill.base.errors import UserError
from kdistill.building.trust import check_trusted, is_trusted, words_to_allow
from kdistill.reporting.following import next_commands

RUN_CODE = [
    "torch.fx.graph_module._exec_with_source",
    "torch.fx.GraphModule",
    "torch.utils.collect_env.run",
    "torch.hub.load",
    "torch.load",
    "torch.serialization.load",
    "torch.save",
    "torch.jit.load",
    "torch.package.PackageImporter",
    "torch.multiprocessing.spawn",
    "torchvision.datasets.utils.download_url",
    "torchvision.transforms.v2.Lambda",
    "pytorch_lightning.core.saving._load_from_checkpoint",
    "pytorch_lightning.cli.LightningCLI",
    "pytorch_lightning.Trainer",
    "timm.models.load_checkpoint",
    "timm.models.hub.download_cached_file",
    "kdistill.runs.np.load",
    "kdistill.data.custom.CustomData",
    "kdistill.data.own_module.OwnModule",
    "kdistill.train.main",
    "kdistill.models.build.nn.Linear",
    "hydra.utils.instantiate",
    "subprocess.run",
    "builtins.exec",
    "os.system",
]
BUILT = [
    "kdistill.models.build.create_model",
    "kdistill.models.mnist.MnistCNN",
    "kdistill.data.image_folder.ImageFolder",
    "kdistill.data.augment.Augment",
    "kdistill.losses.logit.KD",
    "kdistill.modules.ensemble.Ensemble",
    "timm.create_model",
    "timm.models.resnet.resnet18",
    "torchvision.models.resnet18",
    "torch.nn.Linear",
    "torch.optim.AdamW",
    "torch.optim.lr_scheduler.OneCycleLR",
]
WATCHING = [
    "kdistill.training.callbacks.head_first.HeadFirst",
    "kdistill.tracking.loggers.wandb_logger",
    "pytorch_lightning.callbacks.EarlyStopping",
    "pytorch_lightning.loggers.TensorBoardLogger",
]


@pytest.mark.parametrize("target", RUN_CODE)
def test_what_runs_code_reads_or_writes_is_refused_everywhere(target: str) -> None:
    for key in ("student", "loss", "callbacks", "dataset"):
        hidden = {"role": "distill", key: {"inner": [{"deep": {"_target_": target}}]}}
        with pytest.raises(UserError, match=r"if you trust it, say allow=\["):
            check_trusted(OmegaConf.create(hidden), [], Path("config.yaml"))


def test_what_a_run_is_made_of_may_be_named_in_its_place() -> None:
    assert all(is_trusted(target) for target in BUILT)
    assert not any(is_trusted(target, watches=True) for target in BUILT)
    assert all(is_trusted(target, watches=True) for target in WATCHING)
    assert not any(is_trusted(target) for target in WATCHING), "a logger inside a network would write"


@pytest.mark.parametrize(
    ("target", "allowed", "trusted"),
    [
        ("their_nets.Net", ["their_nets"], True),
        ("their_nets.deep.Net", ["their_nets.deep"], True),
        ("their_nets.deep.Net", ["their_nets.deep.Net"], True),
        ("their_nets.deep.Net", ["their_nets.other"], False),
        ("their_netsX.Net", ["their_nets"], False),
        ("torch.hub.load", ["torch.hub.load"], True),
        ("torch.hub.load", ["torch"], False),
        ("torch.hub.load", ["torch.hub"], False),
    ],
)
def test_allow_names_callables_or_packages_of_the_users_own(target: str, allowed: list[str], trusted: bool) -> None:
    assert is_trusted(target, allowed) == trusted


@pytest.mark.parametrize(
    "section",
    [
        {"_target_": "kdistill.models.build.create_model", "name": "hf-hub:somebody/net"},
        {"_target_": "timm.create_model", "model_name": "local-dir:/tmp/net"},
        {"_target_": "timm.create_model", "model_name": "resnet18", "pretrained": True},
        {"_target_": "timm.create_model", "model_name": "resnet18", "checkpoint_path": "evil.pth"},
        {"_target_": "timm.models.resnet18", "pretrained_cfg_overlay": {"file": "evil.pth"}},
    ],
)
def test_a_listed_builder_fetches_nothing(section: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="a file may not"):
        check_trusted(OmegaConf.create({"student": section}), [], Path("config.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "torchvision", "timm", "pytorch_lightning"])
def test_of_all_public_callables_only_networks_optimizers_and_registered_models_are_listed(name: str) -> None:
    """A walk over each module that is imported when a run starts; the right answer is told by other means."""
    import timm
    import torchvision

    models = {*timm.list_models(), *torchvision.models.list_models(), "create_model"}
    kinds = (nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    walked = reached = 0
    modules = [module for word, module in sys.modules.items() if word.split(".")[0] == name and "._" not in word]
    for module in modules:
        for word, found in list(vars(module).items()):
            if word.startswith("_") or not callable(found):
                continue
            walked += 1
            target = f"{module.__name__}.{word}"
            if not is_trusted(target):
                continue
            reached += 1
            if inspect.isclass(found):
                assert name == "torch" and issubclass(found, kinds), target
                assert found.__module__.startswith(("torch.nn.", "torch.optim.")), target
            else:
                assert name in ("timm", "torchvision") and word in models, target
    assert walked > 500 and (reached > 100 or name == "pytorch_lightning")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("my.Dataset", ["my"]),
        ("torchvision.datasets.FakeData", ["torchvision.datasets.FakeData"]),
        ("kdistill.data.image_folder.ImageFolder", []),
    ],
)
def test_what_a_run_says_to_type_next_allows_what_its_folder_names(target: str, words: list[str]) -> None:
    config = OmegaConf.create({"dataset": {"_target_": target}, "student": {"_target_": "torch.nn.Linear"}})
    assert words_to_allow(config) == words
    check_trusted(config, words, Path("config.yaml"))
    what, command = next_commands(SimpleNamespace(role="student"), Path("outputs/x"), words)[0]  # type: ignore[arg-type]
    assert what == "evaluate" and (f"allow=[{','.join(words)}]" in command) == bool(words)


def test_of_a_run_of_objects_only_what_works_from_its_folder_is_said() -> None:
    record: Any = SimpleNamespace(role="distill")
    assert [what for what, _ in next_commands(record, Path("outputs/x"), holds_objects=True)] == ["report"]
