"""Rates by layer and weight decay of weights alone: which parameter learns at which rate."""

from pathlib import Path

import pytest
import timm
import torch
from tiny_runs import tiny
from torch import nn

from kdistill.base.errors import UserError
from kdistill.building.optimizers import timm_optimizer
from kdistill.config.compose import check_overrides, compose_config
from kdistill.modules.parameter_groups import layer_depths, parameter_groups
from kdistill.modules.schedules import warmup_cosine
from kdistill.training.run import run


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def rates(groups: list[dict[str, object]], net: nn.Module) -> dict[str, tuple[object, object]]:
    names = {id(p): name for name, p in net.named_parameters()}
    return {
        names[id(p)]: (group.get("lr", 1.0), group.get("weight_decay"))
        for group in groups
        for p in group["params"]  # type: ignore[attr-defined]
    }


def test_each_layer_learns_at_a_share_of_the_rate_of_the_one_after_it() -> None:
    net = network()
    found = rates(parameter_groups(net, list(net.parameters()), rate=1.0, layer_decay=0.5), net)
    assert {name: rate for name, (rate, _) in found.items()} == {
        **{"0.weight": 0.25, "0.bias": 0.25, "1.weight": 0.5, "1.bias": 0.5, "3.weight": 1.0, "3.bias": 1.0}
    }


def test_norms_and_biases_are_spared_and_nothing_is_lost() -> None:
    net, other = network(), nn.Parameter(torch.zeros(2, 2))
    groups = parameter_groups(net, [*net.parameters(), other], rate=1.0, backbone_lr=0.1, decayed="weights")
    assert sum(len(group["params"]) for group in groups) == 7
    spared = {
        name
        for name, (_, decay) in rates(groups[:], nn.ModuleList([net, nn.ParameterList([other])])).items()
        if decay == 0.0
    }
    assert spared == {"0.0.bias", "0.1.weight", "0.1.bias", "0.3.bias"}


def test_a_network_of_timm_says_itself_what_its_layers_are() -> None:
    net = timm.create_model("test_vit", num_classes=3)
    depths = {name: layer_depths(net)[id(p)] for name, p in net.named_parameters()}
    assert depths["patch_embed.proj.weight"] == 0 and depths["head.weight"] == max(depths.values())
    assert depths["blocks.0.attn.qkv.weight"] == depths["blocks.0.mlp.fc1.bias"] < depths["blocks.1.norm1.weight"]


@pytest.mark.parametrize("name", ["lamb", "muon", "lookahead_adamw"])
def test_timms_optimizers_take_groups(name: str) -> None:
    net = network()
    made = timm_optimizer(parameter_groups(net, list(net.parameters()), rate=0.1, layer_decay=0.5), opt=name, lr=0.1)
    net(torch.rand(4, 1, 4, 4)).sum().backward()
    before = net[0].weight.detach().clone()
    made.step()
    assert not torch.equal(net[0].weight, before) and {group["lr"] for group in made.param_groups} == {0.1, 0.05, 0.025}


def test_a_name_that_timm_does_not_have_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"optimizer.opt=lamp: timm has no such optimizer; did you mean 'lamb'"):
        timm_optimizer([nn.Parameter(torch.zeros(2))], opt="lamp", lr=0.1)


def test_a_warm_up_rises_in_a_line_and_falls_along_a_cosine() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler, seen = warmup_cosine(optimizer, total_steps=20, warmup=0.2, end=0.1), []
    for _ in range(21):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert seen[12] == pytest.approx(1.1) and seen[20] == pytest.approx(0.2)


def test_a_layer_decay_out_of_range_is_a_mistake() -> None:
    (problem,) = check_overrides(["+experiment=mnist_scratch", "+optimizer.layer_decay=1.5"])[1]
    assert problem.startswith("optimizer.layer_decay: must be less than or equal to 1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["optimizer=timm", "optimizer.opt=lamb", "scheduler=warmup_cosine"],
        ["+optimizer.layer_decay=0.75", "+optimizer.decayed=weights", "scheduler=plateau"],
        ["optimizer=sgd", "scheduler=plateau", "trainer.check_val_every_n_epoch=2", "trainer.max_steps=30"],
    ],
    ids=lambda options: options[0],
)
def test_a_run_trains_with_them(options: list[str], blocks: Path, tmp_path: Path) -> None:
    record = run(compose_config(["+experiment=mnist_scratch", *tiny(blocks, tmp_path), *options]), tmp_path / "run")
    assert record.test["accuracy"] > 0.5


@pytest.mark.slow
def test_torchs_muon_says_what_takes_the_rest(blocks: Path, tmp_path: Path) -> None:
    job = [
        "+experiment=mnist_scratch",
        *tiny(blocks, tmp_path),
        "optimizer._target_=torch.optim.Muon",
        "~optimizer.fused",
    ]
    with pytest.raises(UserError, match=r"optimizer=torch.optim.Muon: .*; optimizer=muon takes AdamW"):
        run(compose_config(job), tmp_path / "run")
