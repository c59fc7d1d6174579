"""Files of weights with odd content: read in words, or refused in words by their name; never a traceback."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.weight_files import INDEX
from kdistill.models.class_order import stored_class_names
from kdistill.models.state_files import read_state_file
from kdistill.models.weights import load_weights, stored_normalisation

State = dict[str, Tensor]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


GOOD: State = network().state_dict()


def first(change: Callable[[Tensor], Tensor]) -> State:
    return {**GOOD, "0.weight": change(GOOD["0.weight"])}


def shared_lists() -> list[Any]:
    """A million times a million times a million entries, each list written once."""
    inner: list[Any] = [0] * 10**4
    for _ in range(3):
        inner = [inner] * 10**4
    return inner


READ: dict[str, Any] = {
    "sparse": first(lambda v: v.to_sparse()),
    "in rows": first(lambda v: v.to_sparse_csr()),
    "float8": {name: value.to(torch.float8_e5m2) for name, value in GOOD.items()},
    "bfloat16": {name: value.bfloat16() for name, value in GOOD.items()},
    "float64": {name: value.double() for name, value in GOOD.items()},
    "one value for all": first(lambda v: torch.zeros(1, 1).expand(3, 4)),
    "a number among the names": {**GOOD, 7: torch.ones(2)},
    "itself within": (lambda state: state.update(again=state) or state)(dict[str, Any](GOOD)),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "numbers for names": (dict(enumerate(GOOD.values())), "holds no weights .* it holds dict of 0, 1, 2, 3"),
    "pairs for names": ({(1, 2): torch.ones(2)}, "holds no weights"),
    "without values": (first(lambda v: v.to("meta")), "0.weight has no values"),
    "all without values": ({name: value.to("meta") for name, value in GOOD.items()}, "has no values"),
    "complex": (first(lambda v: v.to(torch.complex64)), "0.weight holds complex numbers"),
    "conjugate": (first(lambda v: v.to(torch.complex64).conj()), "0.weight holds complex numbers"),
    "powers of two": (first(lambda v: v.to(torch.float8_e8m0fnu)), "0.weight holds torch.float8_e8m0fnu"),
    "whole numbers": (first(lambda v: v.long()), "0.weight is torch.int64"),
    "truths": (first(lambda v: v > 0), "0.weight is torch.bool"),
    "no numbers": (first(lambda v: v * torch.nan), "NaN or infinite"),
    "a value a million million times": (first(lambda v: torch.zeros(1).expand(10**12)), "written out takes 4 TB"),
    "sparse without end": (
        first(lambda v: torch.sparse_coo_tensor(torch.zeros(1, 1).long(), torch.ones(1), (10**13,))),
        "written out takes 40 TB",
    ),
    "a long name": ({**GOOD, "x" * 5000: torch.ones(1)}, r"xxx\.\.\. \(5,000 characters\), which the network"),
    "a name that turns the terminal red": ({**GOOD, "\x1b[31mred\n": torch.ones(1)}, r"\\x1b\[31mred"),
    "a number": (3, "it holds int"),
    "nothing": (None, "it holds NoneType"),
    "lists of one list": (shared_lists(), "it holds list"),
}


@pytest.mark.parametrize("kind", READ)
@pytest.mark.filterwarnings("ignore:Validating every sparse tensor")
def test_weights_of_many_kinds_are_read_as_what_they_are(kind: str, tmp_path: Path) -> None:
    torch.save(READ[kind], tmp_path / "w.pt")
    taker = network()
    load_weights(taker, tmp_path / "w.pt", owner="student=x")
    for name, value in taker.state_dict().items():
        wanted = READ[kind][name]
        assert torch.equal(value, (wanted.to_dense() if wanted.layout != torch.strided else wanted).float())
    assert stored_normalisation(tmp_path / "w.pt") is None and stored_class_names(tmp_path / "w.pt") is None


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore:Validating every sparse tensor")
def test_what_a_network_cannot_take_is_refused_by_file_and_name(kind: str, tmp_path: Path) -> None:
    content, said = REFUSED[kind]
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=said) as caught:
        load_weights(network(), tmp_path / "w.pt", owner="student=x")
    assert str(tmp_path / "w.pt") in str(caught.value) and len(str(caught.value)) < 1000
    assert stored_class_names(tmp_path / "w.pt") is None


def test_an_archive_of_compressed_records_is_not_unpacked(tmp_path: Path) -> None:
    torch.save(first(lambda v: torch.zeros(10_000_000)), tmp_path / "w.pt")
    bomb = zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "w.pt") as old, bomb as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    with pytest.raises(UserError, match=r"compressed and unpack to 40 MB"):
        read_state_file(tmp_path / "b.pt")


def safetensors(header: bytes, content: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + content


def one(kind: str, length: int) -> bytes:
    """A tensor of 12 values of some kind."""
    entry = {"dtype": kind, "shape": [3, 4], "data_offsets": [0, length]}
    return safetensors(json.dumps({"0.weight": entry}).encode(), bytes(length))


def said_beside(metadata: Any) -> bytes:
    whole = save(GOOD)
    (length,) = struct.unpack("<Q", whole[:8])
    header = {**json.loads(whole[8 : 8 + length]), "__metadata__": metadata}
    return safetensors(json.dumps(header).encode(), whole[8 + length :])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html></html>", "it is a web page"),
        (struct.pack("<Q", 2**40) + b"{}", "header too large"),
        (struct.pack("<Q", 90_000_000) + b"{}", "invalid header length"),
        (safetensors(b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'), "not fully"),
        (safetensors(b'{"a":{"dtype":"F32","shape":[9223372036854775808,9],"data_offsets":[0,4]}}'), "SafetensorError"),
        (safetensors(b"[" * 100_000), "SafetensorError"),
        (said_beside({"a": 3}), "expected a string"),
        (said_beside([1]), "expected a map"),
        (said_beside({"a": {"b": "c"}}), "expected a string"),
        (one("C64", 96), "0.weight holds complex numbers"),
        (one("F4", 6), "0.weight holds torch.float4"),
        (one("F8_E8M0", 12), "0.weight holds torch.float8_e8m0fnu"),
        (one("F6_E2M3", 9), "SafetensorError: Dtype not understood"),
        (one("U64", 96), "0.weight is torch.uint64"),
        (one("F8_E4M3", 12), "it is of another network"),
    ],
)
def test_a_header_that_nobody_should_write_is_refused_in_words(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_weights(network(), tmp_path / "w.safetensors", owner="student=x")
    assert stored_class_names(tmp_path / "w.safetensors") is None


@pytest.mark.parametrize(
    "text",
    ["x", "[" * 100_000, "9" * 6_000, "3", "null", '{"a":1}', "[[1],[2]]", '["a","a"]', "[1e400,2]", '{"1":"a"}'],
)
def test_metadata_that_names_no_classes_are_left_out(text: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(said_beside({"classes": text, "labels": text, "id2label": text}))
    assert stored_class_names(tmp_path / "w.safetensors") is None
    load_weights(network(), tmp_path / "w.safetensors", owner="student=x")
    save_file(GOOD, tmp_path / "w.safetensors")
    (tmp_path / "config.json").write_text(f'{{"classes":{text}}}')
    assert stored_class_names(tmp_path / "w.safetensors") is None
    load_weights(network(), tmp_path / "w.safetensors", owner="student=x")


@pytest.mark.parametrize("text", ['["a"]', "[1e400]", "[0,0,0]", f"[1{'0' * 400}]", "[[1]]", "[]", "[null]", "[-1]"])
def test_a_normalisation_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(said_beside({"mean": text, "std": text}))
    with pytest.raises(UserError, match=r"w\.safetensors says that its input is normalised by mean .* std above 0"):
        stored_normalisation(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(said_beside({"mean": "[0.5]", "std": "[0.1]"}))
    assert stored_normalisation(tmp_path / "w.safetensors") == ([0.5], [0.1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "names no files"),
        ("{}", "names no files"),
        ('{"weight_map":[1]}', "names no files"),
        ('{"weight_map":{"a":3}}', "by name alone"),
        ('{"weight_map":{"a":"../x.safetensors"}}', "by name alone"),
        ('{"weight_map":{"a":"/etc/passwd"}}', "by name alone"),
        (f'{{"weight_map":{{"a":"{INDEX}"}}}}', "by name alone"),
        (f'{{"weight_map":{{"a":"{"x" * 5000}.safetensors"}}}}', r"\(5,012 characters\)"),
        ('{"weight_map":{"a":"gone.safetensors"}}', "which is not there"),
        ("[" * 100_000, "lists in lists"),
    ],
)
def test_an_index_names_files_beside_it_and_no_others(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(UserError, match=said):
        read_state_file(tmp_path)
