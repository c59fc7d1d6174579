"""Weights from other people's files: found in whatever dict and under whatever names, adapted as timm does, or refused
with what the file is and how to make plain weights of it."""

import argparse
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.weight_files import INDEX, weights_path
from kdistill.models.pretrained import load_pretrained
from kdistill.models.state_files import read_state_file
from kdistill.models.state_fit import fit_state
from kdistill.models.weights import fingerprint, load_weights, stored_normalisation

State = dict[str, Tensor]


class Net(nn.Module):
    def __init__(self, classes: int = 3, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.norm(self.stem(image)).mean((2, 3)))


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def other(state: State) -> State:
    return {name: value + 1 for name, value in state.items()}


FORMS: dict[str, tuple[Callable[[State], Any], str]] = {
    "as it is": (lambda s: s, ""),
    "ordered": (OrderedDict, ""),
    **{
        prefix: (lambda s, prefix=prefix: under(prefix, s), f"names taken from under '{prefix}'")
        for prefix in ("module.", "net.", "model.", "teacher.", "network.", "backbone.", "encoder.", "a.b.module.")
    },
    "compiled": (lambda s: under("_orig_mod.", s), ""),
    "compiled within": (lambda s: {n.replace(".", "._orig_mod.", 1): v for n, v in s.items()}, ""),
    **{
        key: (lambda s, key=key: {key: s, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(())}}}}, "")
        for key in ("state_dict", "model_state_dict", "model", "net", "weights", "params")
    },
    "two levels": (lambda s: {"checkpoint": {"model": under("module.", s)}}, "under 'module.'"),
    "EMA of timm": (lambda s: {"state_dict": other(s), "state_dict_ema": s}, "averaged weights 'state_dict_ema' taken"),
    "EMA of torchvision": (
        lambda s: {"model": other(s), "model_ema": {**under("module.", s), "n_averaged": torch.tensor(3)}},
        "its averaged weights 'model_ema' taken rather than 'model'",
    ),
    "EMA": (lambda s: {"ema": s, "model": other(s)}, "averaged weights 'ema' taken"),
    "Lightning of others": (
        lambda s: {
            "state_dict": {**under("model.", s), "criterion.weight": torch.ones(3), "normalize.mean": torch.zeros(3)},
            "hyper_parameters": {"lr": 0.1},
            "pytorch-lightning_version": "2.0",
        },
        "names taken from under 'model.', without criterion.weight, normalize.mean",
    ),
    "a teacher beside a student": (
        lambda s: {"student": {"body.weight": torch.ones(3)}, "teacher": under("module.", s)},
        "under 'module.'",
    ),
    "half": (lambda s: {n: v.half() if v.is_floating_point() else v for n, v in s.items()}, ""),
    "bfloat16": (lambda s: {n: v.bfloat16() if v.is_floating_point() else v for n, v in s.items()}, ""),
    "a namespace of arguments": (lambda s: {"model": s, "args": argparse.Namespace(lr=0.1, model="net")}, ""),
    "scalars of NumPy": (lambda s: {"model": s, "best": np.float64(0.5), "epoch": np.int64(3)}, ""),
    "counters of thop": (lambda s: {**s, "total_ops": torch.ones(1), "stem.total_params": torch.ones(1)}, ""),
    "no step counters": (lambda s: {n: v for n, v in s.items() if "num_batches" not in n}, ""),
    "an auxiliary head": (lambda s: {**s, "aux.weight": torch.ones(3)}, "left out aux.weight, which the network"),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_load_from_whatever_dict_and_under_whatever_names_and_it_is_said(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, said = FORMS[form]
    source, target = Net(), Net()
    with torch.no_grad():
        for value in source.state_dict().values():
            value.copy_((value + torch.arange(value.numel()).view(value.shape)).bfloat16())
    torch.save(make(source.state_dict()), tmp_path / "w.pth")
    with caplog.at_level("INFO"):
        load_weights(target, tmp_path / "w.pth", owner="teacher=net")
    wanted = {n: v for n, v in source.state_dict().items() if form != "no step counters" or "num_batches" not in n}
    assert all(torch.equal(target.state_dict()[name], value) for name, value in wanted.items())
    assert said in caplog.text and bool(said) == bool(caplog.text)


def test_scalars_that_numpy_1_has_written_are_read(tmp_path: Path) -> None:
    source, path = Net(), tmp_path / "w.pt"
    content = {"model": source.state_dict(), "best": np.float64(0.5)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    load_weights(target := Net(), path, owner="teacher=net")
    assert fingerprint(target) == fingerprint(source)


def test_weights_of_the_inner_network_load_into_one_that_wraps_it(tmp_path: Path) -> None:
    source = Net()
    wrapped = nn.ModuleDict({"inner": Net()})
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_weights(wrapped, tmp_path / "w.pt", owner="teacher=net")
    assert fingerprint(wrapped["inner"]) == fingerprint(source)


def test_tied_weights_load_from_a_file_that_has_them_once(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        network = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        network[1].weight = network[0].weight
        return network

    source = tied()
    torch.save({name: value for name, value in source.state_dict().items() if name != "1.weight"}, tmp_path / "w.pt")
    load_weights(target := tied(), tmp_path / "w.pt", owner="teacher=net")
    assert fingerprint(target) == fingerprint(source)


def test_a_folder_stands_for_the_weights_in_it(tmp_path: Path) -> None:
    source = Net()
    state = source.state_dict()
    hub, parts, run, single = (tmp_path / name for name in ("hub", "parts", "run", "single"))
    for folder in (hub, parts, run, single):
        folder.mkdir()
    save_file(state, hub / "model.safetensors")
    config = {"architecture": "net", "pretrained_cfg": {"mean": [0.1] * 3, "std": [0.2] * 3}}
    (hub / "config.json").write_text(json.dumps(config))
    names = sorted(state)
    for number, some in enumerate((names[:3], names[3:])):
        save_file({name: state[name] for name in some}, parts / f"model-{number}.safetensors")
    places = {name: f"model-{int(names.index(name) >= 3)}.safetensors" for name in names}
    (parts / INDEX).write_text(json.dumps({"weight_map": places}))
    save_file(state, run / "student.safetensors")
    torch.save(state, single / "whatever.bin")
    for folder in (hub, parts, run, single):
        load_weights(target := Net(), folder, owner="teacher=net")
        assert fingerprint(target) == fingerprint(source)
    assert stored_normalisation(hub / "model.safetensors") == ([0.1] * 3, [0.2] * 3)
    assert stored_normalisation(parts / INDEX) is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("https://host/w.pt", r"https://host/w.pt is an address: download it \(curl -LO https://host/w.pt\)"),
        (Path("https://host/w.pt"), r"https://host/w.pt is an address"),
        ("hf-hub:timm/resnet18", "is a repository of the Hugging Face hub: download it .*hf download timm/resnet18"),
        ("few/wights.pt", "no weights at few/wights.pt; did you mean 'weights.pt'"),
        ("absent/w.pt", "there is no folder absent"),
        ("IMAGENET1K_V1", "no weights at IMAGENET1K_V1; give .*also hub, package or none"),
        ("few", r"holds several files of weights, give one of them: other.pt, weights.pt"),
        ("empty", "holds no weights .it is empty."),
        ("begun", "is a run that has not finished"),
    ],
)
def test_a_place_without_weights_is_told_what_it_is_and_what_to_give(
    source: str | Path, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("few/weights.pt", "few/other.pt", "begun/config.yaml"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("empty").mkdir()
    with pytest.raises(UserError, match=said):
        weights_path(source)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(Net().state_dict(), tmp_path / "w.pt")
    assert weights_path("~/w.pt") == tmp_path / "w.pt"


def whole_module(path: Path) -> None:
    torch.save(Net(), path)


def module_in_a_dict(path: Path) -> None:
    torch.save({"epoch": 3, "model": Net(), "ema": None, "callback": print}, path)


def script(path: Path) -> None:
    torch.jit.trace(Net().eval(), torch.rand(1, 3, 8, 8)).save(path)


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (whole_module, r"a pickle with objects of .*Net"),
        (module_in_a_dict, r"a pickle with objects of .*Net"),
        (script, "a TorchScript program"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_what_only_running_code_could_read_is_refused_with_two_lines_that_make_plain_weights_of_it(
    write: Callable[[Path], None], what: str, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.pt"
    write(path)
    with pytest.raises(UserError, match=f"theirs.pt can't be read as plain weights: it is {what}") as caught:
        load_weights(Net(), path, owner="teacher=net")
    lines = [line[4:] for line in str(caught.value).splitlines() if line.startswith("    ")]
    assert len(lines) == 2 and str(caught.value).endswith(f"Then give {tmp_path / 'theirs-weights.pt'}")
    exec("\n".join(lines), {})  # what the owner of the file would run
    load_weights(Net(), tmp_path / "theirs-weights.pt", owner="teacher=net")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a pointer of Git LFS"),
        ("w.pt", b"<!DOCTYPE html><html>", "a web page"),
        ("w.pt", b"", "it is empty"),
        ("w.pt", b"PK\x03\x04 and then nothing", "File is not a zip file"),
        ("w.safetensors", b"hello", "SafetensorError"),
        ("w.onnx", b"x", "is an ONNX model: give the weights of the torch network"),
        ("w.h5", b"x", "is a Keras model"),
        ("logits.npz", b"x", "If it holds a teacher's answers say teacher=answers"),
        ("logits.csv", b"x", "If it holds a teacher's answers say teacher=answers"),
    ],
)
def test_what_is_no_file_of_weights_is_called_what_it_is(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_state_file(tmp_path / name)


def test_weights_of_another_network_a_quantized_or_a_diverged_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    state = Net().state_dict()
    torch.save({"arch": "resnet50", "state_dict": timm.create_model("test_resnet").state_dict()}, path)
    with pytest.raises(UserError, match=r"it is of another network.*Of the 9 tensors wanted it has .*of 'resnet50'"):
        load_weights(Net(), path, owner="teacher=net")
    torch.save({**state, "stem.weight": state["stem.weight"].to(torch.int8)}, path)
    with pytest.raises(UserError, match=r"stem\.weight is torch\.int8"):
        load_weights(Net(), path, owner="teacher=net")
    torch.save({**state, "stem.weight": state["stem.weight"] / 0}, path)
    with pytest.raises(UserError, match=r"stem\.weight has NaN or infinite values"):
        load_weights(Net(), path, owner="teacher=net")
    deeper = timm.create_model("resnet26", num_classes=3).state_dict()
    torch.save({**deeper, "layer4.2.conv1.weight": torch.ones(3)}, path)
    with pytest.raises(UserError, match=r"it has layer4.2.conv1.weight, which the network has not"):
        load_weights(timm.create_model("resnet26", num_classes=3), path, owner="teacher=resnet26")


def test_a_head_of_another_class_count_is_refused_of_a_teacher_and_made_anew_of_a_student(tmp_path: Path) -> None:
    source = Net(classes=7)
    torch.save({"state_dict": under("module.", source.state_dict())}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="its class head head is for 7 classes, and the data have 3"):
        load_weights(Net(), tmp_path / "w.pt", owner="teacher=net")
    said = load_pretrained(target := Net(), str(tmp_path / "w.pt"), name="net", kind="student")
    assert said == "w.pt; names taken from under 'module.', its class head made anew"
    assert torch.equal(target.stem.weight, source.stem.weight) and not target.head.weight.any()


@pytest.mark.parametrize(("had", "wanted"), [(3, 1), (1, 3)])
def test_channels_of_the_first_convolution_are_adapted_so_that_a_grey_picture_gives_the_same(
    had: int, wanted: int, tmp_path: Path
) -> None:
    source, target = Net(channels=had).eval(), Net(channels=wanted).eval()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt", owner="teacher=net")
    grey = torch.rand(2, 1, 8, 8)
    assert torch.allclose(source(grey.expand(-1, had, -1, -1)), target(grey.expand(-1, wanted, -1, -1)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "had", "wanted"),
    [
        ("test_vit", {}, {"img_size": 96}),
        ("test_vit", {}, {"img_size": 96, "patch_size": 8}),
        ("test_vit", {}, {"in_chans": 1}),
        ("beit_base_patch16_224", {"depth": 1}, {"depth": 1, "img_size": 96}),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 1)}, {"depths": (1, 1), "img_size": 64}),
        ("swinv2_cr_tiny_224", {"depths": (1, 1)}, {"depths": (1, 1), "img_size": 128}),
    ],
)
def test_positions_patches_and_relative_tables_of_another_size_are_adapted_as_timm_does(
    name: str, had: dict[str, Any], wanted: dict[str, Any], tmp_path: Path
) -> None:
    source = timm.create_model(name, num_classes=3, **had)
    torch.save({"model": under("module.", source.state_dict())}, tmp_path / "w.pt")
    target = timm.create_model(name, num_classes=3, **wanted)
    load_weights(target, tmp_path / "w.pt", owner=f"teacher={name}")
    overlay = {"file": str(tmp_path / "w.pt"), "num_classes": 3, "input_size": (had.get("in_chans", 3), 160, 160)}
    torch.save(source.state_dict(), tmp_path / "w.pt")
    theirs = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=3, **wanted)
    mine, reference = target.state_dict(), theirs.state_dict()
    assert [key for key in reference if not torch.allclose(mine[key], reference[key], atol=1e-6)] == []


def test_weights_in_a_tuple_or_pruned_or_pickled_by_others_are_had_or_their_conversion_is_said(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save((state, {"epoch": 3}), tmp_path / "tuple.pt")
    assert fit_state(read_state_file(tmp_path / "tuple.pt"), network).state.keys() == state.keys()

    pruned = nn.utils.prune.l1_unstructured(nn.Linear(3, 2), "weight", amount=2)
    torch.save(pruned.state_dict(), tmp_path / "pruned.pt")
    found = fit_state(read_state_file(tmp_path / "pruned.pt"), network).state
    assert torch.equal(found["weight"], pruned.weight) and int((found["weight"] == 0).sum()) == 2

    arrays = {name: value.numpy() for name, value in state.items()}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(arrays, protocol=4))
    with pytest.raises(UserError, match="a pickle that torch did not write") as caught:
        read_state_file(tmp_path / "w.pkl")
    exec("\n".join(line.strip() for line in str(caught.value).splitlines()[1:3]))
    found = fit_state(read_state_file(tmp_path / "w-weights.pt"), network).state
    assert torch.equal(found["weight"], state["weight"])
