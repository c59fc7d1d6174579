"""Weights as files: written plain, read as data only, refused with the reason."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from kdistill.base.errors import UserError
from kdistill.models.state_files import read_state_file
from kdistill.models.weights import fingerprint, load_weights, write_weights


def net(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))


def test_weights_round_trip_with_their_facts(tmp_path: Path) -> None:
    first, second, path = net(), net(), tmp_path / "w.safetensors"
    write_weights(path, first, {"model": "net", "mean": [0.5]})
    load_weights(second, path, owner="student=net")
    assert fingerprint(first) == fingerprint(second)
    with safe_open(path, "pt") as file:
        found = file.metadata()
    assert len(found.pop("sum")) == 32 and found == {"model": '"net"', "mean": "[0.5]"}


def test_tied_and_overlapping_weights_round_trip(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(2, 2))
        network[1].weight = network[0].weight
        whole = torch.randn(2, 2, 2)
        network[2].weight, network.other = nn.Parameter(whole[0]), nn.Parameter(whole[1])
        return network

    first, second, path = tied(), tied(), tmp_path / "w.safetensors"
    write_weights(path, first, {})
    load_weights(second, path, owner="student=net")
    assert fingerprint(first) == fingerprint(second)
    assert second[1].weight is second[0].weight  # type: ignore[index]


def test_a_lightning_checkpoint_and_a_plain_state_dict_load_too(tmp_path: Path) -> None:
    source = net()
    state = {f"network.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": {**state, "normalize.mean": torch.zeros(1)}, "epoch": 3}, tmp_path / "a.ckpt")
    torch.save(source.state_dict(), tmp_path / "b.pt")
    for name in ("a.ckpt", "b.pt"):
        target = net()
        load_weights(target, tmp_path / name, owner="student=net")
        assert fingerprint(target) == fingerprint(source)


def test_a_file_of_another_network_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", net(5), {})
    before = fingerprint(target := net())
    with pytest.raises(UserError, match=r"does not fit teacher=net: .*0\.bias \(5,\) where the network has \(3,\)"):
        load_weights(target, tmp_path / "w.safetensors", owner="teacher=net")
    with pytest.raises(UserError, match=r"does not fit teacher=linear: .*"):
        load_weights(nn.Linear(4, 5, bias=False), tmp_path / "w.safetensors", owner="teacher=linear")
    assert fingerprint(target) == before


def test_what_is_not_weights_is_refused_and_runs_no_code(tmp_path: Path) -> None:
    class Strange:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))

    torch.save({"state_dict": Strange()}, tmp_path / "strange.ckpt")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "text.safetensors").write_bytes(b"hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("strange.ckpt", "empty.ckpt", "text.safetensors", "list.pt", "absent.ckpt"):
        with pytest.raises(UserError, match=name):
            read_state_file(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_the_fingerprint_tells_weights_apart() -> None:
    one = net()
    before = fingerprint(one)
    with torch.no_grad():
        one[0].bias[0] += 1e-6
    assert fingerprint(one) != before
