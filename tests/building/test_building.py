"""Config sections to objects: what is filled in and what is decided."""

from pathlib import Path

import pytest
import torch
import torchvision
from omegaconf import OmegaConf
from torch import nn

from kdistill.base.errors import UserError
from kdistill.building.device import choose_channels_last, choose_device, choose_precision
from kdistill.building.instantiate import build
from kdistill.building.losses import build_loss
from kdistill.building.networks import build_bare_network, input_normalisation
from kdistill.config.compose import compose_config
from kdistill.data.arrays import ImageArrays, Split

KD = {"_target_": "kdistill.losses.logit.KD", "temperature": 2.0, "alpha": 0.3}
CE = {"_target_": "kdistill.losses.logit.CrossEntropy", "class_weights": "balanced"}


def arrays(channels: int) -> ImageArrays:
    split = Split(torch.zeros(4, channels, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 1]))
    return ImageArrays(split, split, split, ("a", "b"), (0.1,) * channels, (0.2,) * channels, "none")


def test_alpha_weighs_the_distillation_part_and_the_rest_goes_to_the_labels() -> None:
    loss = build_loss(OmegaConf.create({**KD, "ce": CE}), class_counts=[1, 3])
    assert loss.weights == {"ce": 0.7, "kd": 0.3}
    assert loss.parts["kd"].temperature == 2.0
    assert loss.parts["ce"].class_weight.tolist() == pytest.approx([4 / 2, 4 / 6])


def test_without_alpha_the_loss_stands_alone() -> None:
    assert build_loss(OmegaConf.create(CE), class_counts=[1, 3]).weights == {"ce": 1.0}


def test_what_a_run_knows_reaches_the_parts_of_a_loss() -> None:
    """crd's memory has a place for each training image, also where crd is one of several losses."""
    parts = {"crd": {"_target_": "kdistill.losses.crd.CRD", "dim": 3}, "kd": {"_target_": "kdistill.losses.logit.KD"}}
    section = {"_target_": "kdistill.losses.base.WeightedSum", "alpha": 0.5, "weights": {"crd": 1.0, "kd": 0.5}}
    loss = build_loss(OmegaConf.create({**section, "parts": parts}), [30, 20], num_samples=50)
    assert loss.weights == {"ce": 0.5, "crd": 0.5, "kd": 0.25}
    assert loss.parts["crd"].memory.shape == (2, 50, 3)


@pytest.mark.parametrize(
    ("section", "network", "channels", "expected"),
    [
        ({"mean": [0.3], "std": [0.4]}, {"mean": (0.5,), "std": (0.6,)}, 1, ([0.3], [0.4])),
        ({"mean": None, "std": None}, {"mean": (0.5,) * 3, "std": (0.6,) * 3}, 3, ([0.5] * 3, [0.6] * 3)),
        ({}, {"mean": (0.5,) * 3, "std": (0.6,) * 3}, 1, ([0.1], [0.2])),
        ({}, None, 3, ([0.1] * 3, [0.2] * 3)),
    ],
)
def test_the_input_is_normalised_as_configured_else_as_timm_says_else_as_the_data_are(
    section: dict[str, object], network: dict[str, object] | None, channels: int, expected: object
) -> None:
    model = nn.Identity()
    model.pretrained_cfg = network  # type: ignore[assignment]
    assert input_normalisation(OmegaConf.create(section), model, arrays(channels)) == expected


def test_automatic_precision_is_bfloat16_where_the_hardware_multiplies_it() -> None:
    features = torch.cpu.get_capabilities()
    fast = "bf16-mixed" if features.get("avx512_bf16") or features.get("amx_bf16") else "32-true"
    assert choose_precision("auto", "cpu") == fast
    assert choose_precision("32-true", "cpu") == "32-true"


def test_channels_last_is_for_convolutions() -> None:
    assert choose_channels_last("auto", nn.Sequential(nn.Conv2d(1, 1, 1)))
    assert not choose_channels_last("auto", nn.Sequential(nn.Linear(1, 1)))
    assert choose_channels_last("on", nn.Linear(1, 1))
    assert not choose_channels_last("off", nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize("wanted", ["auto", "on"])
def test_a_layer_that_crashes_torch_with_its_channels_last_keeps_them_first(wanted: str) -> None:
    assert not choose_channels_last(wanted, nn.Sequential(nn.Conv2d(3, 8, 1, stride=2)))
    assert choose_channels_last(wanted, nn.Sequential(nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(3, 8, 3, stride=2)))


def test_a_target_that_makes_no_module_is_refused() -> None:
    section = OmegaConf.create({"_target_": "collections.Counter"})
    with pytest.raises(UserError, match=r"student\._target_=collections\.Counter made a Counter"):
        build_bare_network(section, "student", num_classes=2, image_shape=(1, 4, 4))


@pytest.mark.parametrize(
    ("target", "supplied"),
    [
        ("pytorch_lightning.callbacks.EMAWeightAveraging", {"dirpath": "here"}),
        ("pytorch_lightning.callbacks.LambdaCallback", {"dirpath": "here"}),
        ("collections.UserDict", {"save_dir": "here", "class_counts": [1]}),
        ("types.SimpleNamespace", {"class_counts": [1], "num_samples": 3}),
    ],
)
def test_a_target_with_keywords_of_any_name_gets_only_what_its_signature_names(
    target: str, supplied: dict[str, object]
) -> None:
    built = build(OmegaConf.create({"_target_": target}), "callbacks", **supplied)
    assert not supplied.keys() & {*vars(built), *vars(built).get("data", {}), *vars(built).get("_kwargs", {})}


def network_of(target: str, shape: tuple[int, int, int], **options: object) -> tuple[nn.Module, list[str]]:
    lines: list[str] = []
    section = OmegaConf.create({"_target_": target, **options})
    network = build_bare_network(section, "student", num_classes=3, image_shape=shape, say=lines.append)
    return network, lines


SMALL = ("mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "googlenet")
TORCHVISIONS = [
    pytest.param(name, marks=[] if name in SMALL else [pytest.mark.slow])
    for name in torchvision.models.list_models(module=torchvision.models)
    if name not in ("regnet_y_128gf", "vit_h_14", "vit_l_16", "vit_l_32")  # gigabytes
]


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_every_classifier_of_torchvision_is_built_for_the_datas_classes_channels_and_size(name: str) -> None:
    target = f"torchvision.models.{name}"
    for channels in (1, 3):
        shape = (channels, 64, 64)
        if name in ("inception_v3", "maxvit_t"):  # their own reasons: a head of training alone, and windows of 7
            with pytest.raises(UserError, match=rf"student={name} .*(fails|cannot be built): \w+Error: .*size"):
                network_of(target, shape)
            shape = (channels, 299, 299) if name == "inception_v3" else (channels, 224, 224)
        network, _ = network_of(target, shape)
        with torch.no_grad():
            assert network.eval()(torch.rand(2, *shape)).shape == network.train()(torch.rand(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("timm.create_model", {"model_name": "test_resnet"}),
        ("timm.models.test_resnet", {}),
        ("torchvision.models.get_model", {"name": "mobilenet_v3_small"}),
        ("own_nets.labels", {}),
        ("own_nets.handed_on", {"kind": "Labels"}),
        ("own_nets.swallowing", {}),
        ("own_nets.Chosen", {"n_classes": 3}),
        ("own_nets.Sized", {}),
    ],
)
def test_classes_channels_and_size_are_given_under_the_names_that_a_target_has(
    target: str, options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_nets.py").write_text(OWN_NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    network, lines = network_of(target, (2, 32, 32), **options)
    assert network(torch.rand(2, 2, 32, 32)).shape == (2, 3)
    anew = [line for line in lines if "anew" in line or "adapted" in line]
    assert len(anew) == {"own_nets.swallowing": 2, "torchvision.models.get_model": 1}.get(target, 0)


OWN_NETS = """
from torch import nn
class Labels(nn.Sequential):
    def __init__(self, *, num_labels, in_channels=3, out_features=9):
        assert out_features == 9  # the first name alone is for the classes
        super().__init__(nn.Conv2d(in_channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_labels))
def labels(**options):
    return Labels(**options)
def handed_on(kind, **options):
    options = {{"num_classes": "num_labels", "in_chans": "in_channels"}[k]: v for k, v in options.items()}
    return globals()[kind](**options)
def swallowing(**options):
    return Labels(num_labels=1000)
class Chosen(Labels):
    def __init__(self, n_classes, num_channels):
        super().__init__(num_labels=n_classes, in_channels=num_channels)
class Sized(nn.Sequential):
    def __init__(self, image_size, input_channels, nb_classes):
        super().__init__(nn.Flatten(), nn.Linear(input_channels * image_size**2, nb_classes))
"""


def test_what_a_target_raises_is_shown_with_what_it_was_given() -> None:
    with pytest.raises(UserError, match=r"student=resnet18 cannot be built: TypeError: .*'wdth'.*given num_classes=3"):
        network_of("torchvision.models.resnet18", (3, 32, 32), wdth=3)


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        ("mnist_mlp", 32, None),
        ("mnist_small_cnn", 40, None),
        ("mnist_cnn", 32, None),
        ("vit_tiny_patch16_224", 64, "built for images of 64 x 64, its usual size is 224 x 224"),
        ("swin_tiny_patch4_window7_224", 64, "built for images of 64 x 64, its usual size is 224 x 224"),
        ("timm/resnet18.a1_in1k", 32, None),
        ("hf-hub:timm/test_vit", 32, "built for images of 32 x 32, its usual size is 160 x 160"),
    ],
)
def test_a_network_by_name_takes_images_of_the_datas_size(name: str, side: int, said: str | None) -> None:
    target = "kdistill.models.build.create_model"
    network, lines = network_of(target, (3, side, side), name=name)
    assert network(torch.rand(2, 3, side, side)).shape == (2, 3)
    label = name.rpartition("/")[2]  # it becomes part of a folder's name
    assert lines == ([] if said is None else [f"student={label}: {said}"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no CUDA device")
def test_the_device_is_what_is_there() -> None:
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(UserError, match="device=cuda, but torch sees no CUDA device"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss=several", "~loss.weights.kd"], r"parts \['dist', 'kd'\] and weights \['dist'\] must have the same"),
        (["loss=at", "loss.power=0.5"], r"^loss=kdistill\.losses\.at\.AT: power=0\.5: must be 1 or more$"),
        (["loss=mlkd", "loss.temperatures=[]"], r"temperatures=\[\]: mlkd needs at least one$"),
        (["loss=several", "loss.parts.dist._target_=kdistill.losses.at.AT", "~loss.parts.dist.temperature",
          "~loss.parts.dist.beta", "~loss.parts.dist.gamma", "~loss.parts.dist.epsilon", "~loss.parts.dist.standardize",
          "+loss.parts.dist.power=0.5"], r"power=0\.5: must be 1 or more$"),
    ],
)  # fmt: skip
def test_values_that_a_target_refuses_are_the_users_to_mend(overrides: list[str], said: str) -> None:
    config = compose_config(["+experiment=mnist_distill", *overrides])
    with pytest.raises(UserError, match=said):
        build_loss(config.loss)
