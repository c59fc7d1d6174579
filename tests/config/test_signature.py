"""Signatures are read from source: found through re-exports, typed where the annotation can be, never by importing."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from kdistill.base.errors import UserError
from kdistill.base.types import mistake
from kdistill.config.signature import signature_of

NETS = """
from __future__ import annotations
from typing import Literal, Optional, overload
import pydantic
from pydantic import validate_call
from kdistill.base.types import PositiveFloat, UnitInterval
from .inner import Base as Mother, Mode as Way, helper
from .stars import *
try:
    from not_installed_anywhere import Absent
except ImportError:
    Absent = None

raise SystemExit("imported")

class Loss(Mother):
    @validate_call
    def __init__(
        self, *, temperature: PositiveFloat = 4.0, weight: "UnitInterval" = 1, betas: tuple[float | Tensor, ...] = (1,),
        mode: Optional[Literal["a", "b"]] = None, path=None, other: Unheard = 3
    ) -> None: ...

    @classmethod
    def from_run(cls, folder: str, **options): ...

class Child(Loss): ...
class Handing(Mother):
    def __init__(self, *, kind, **rest):
        kind(**rest)  # nobody knows what that is
        self.picked, self.asked = rest.pop("picked", 1), rest["asked"]
        super().__init__(**rest)
def hand_on(a, *, b, **rest):
    return helper(a, **dict(z=1, **rest))
def pass_all(*args, **kwargs):
    return Handing(*args, **kwargs)
class Orphan(Absent): ...
class Bare: ...
Place: TypeAlias = "str | Path"
def aliased(way: "Way | None" = None, place: Place = "", circle: Circle = 1, gone: Absent = 1): ...
Circle = Round
Round = Circle
@dataclass(frozen=True)
class Served:
    size: PositiveFloat
    limit: PositiveFloat | None = None
class Data:
    def __init__(self, root, **rest):
        self.served = Served(**rest)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "some_nets"
    package.mkdir()
    (package / "__init__.py").write_text(NETS)
    (package / "inner.py").write_text(
        "class Base:\n    def __init__(self, width: int): ...\ndef helper(x, *, y=1): ...\n"
        "Name = Literal['up', 'down']\nMode = list[Name]\n"
    )
    (package / "stars.py").write_text("class Star:\n    def __init__(self, shine: bool): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "some_nets"


def test_a_class_takes_what_its_constructor_takes_without_self(nets: str) -> None:
    signature = signature_of(f"{nets}.Loss")
    assert signature is not None and not signature.is_open
    assert list(signature.parameters) == ["temperature", "weight", "betas", "mode", "path", "other"]
    assert not any(parameter.required for parameter in signature.parameters.values())
    assert signature.parameters["mode"].nullable and not signature.parameters["temperature"].nullable


def test_only_annotations_of_known_names_are_checked(nets: str) -> None:
    signature = signature_of(f"{nets}.Loss")
    assert signature is not None
    types = {name: parameter.type for name, parameter in signature.parameters.items()}
    assert mistake(0, types["temperature"]) and not mistake(1, types["temperature"])
    assert mistake(1.5, types["weight"])
    assert not mistake([0.9, 0.99], types["betas"]) and mistake(["x"], types["betas"])
    assert mistake("c", types["mode"]) and not mistake(None, types["mode"])
    assert types["path"] is None and types["other"] is None


def test_a_name_for_a_type_is_followed_to_where_it_is_assigned(nets: str) -> None:
    signature = signature_of(f"{nets}.aliased")
    assert signature is not None
    types = {name: parameter.type for name, parameter in signature.parameters.items()}
    assert "'up' or 'down'" in (mistake(["upp"], types["way"]) or "") and not mistake(["up"], types["way"])
    assert not mistake(None, types["way"]) and mistake(3, types["place"])
    assert types["circle"] is None and types["gone"] is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Child", ["temperature", "weight", "betas", "mode", "path", "other"]),
        ("Mother", ["width"]),
        ("helper", ["x", "y"]),
        ("Star", ["shine"]),
        ("inner.Base", ["width"]),
        ("Loss.from_run", ["folder"]),
        ("Bare", []),
    ],
)
def test_a_target_is_found_through_bases_renames_stars_modules_and_class_methods(
    nets: str, name: str, expected: list[str]
) -> None:
    signature = signature_of(f"{nets}.{name}")
    assert signature is not None and list(signature.parameters) == expected


def test_what_a_target_hands_on_to_a_dataclass_is_checked_as_the_fields_say_and_nothing_else_is_taken(
    nets: str,
) -> None:
    signature = signature_of(f"{nets}.Data")
    assert signature is not None and not signature.is_open, "so a misspelt word is told"
    assert list(signature.parameters) == ["root", "size", "limit"]
    assert mistake(-1, signature.parameters["size"].type) and signature.parameters["limit"].nullable


def test_what_the_source_does_not_say_has_no_signature(nets: str) -> None:
    assert signature_of(f"{nets}.Orphan") is None
    assert signature_of(f"{nets}.Absent") is None
    assert signature_of("torch.tensor") is None
    assert signature_of("builtins.dict") is None


@pytest.mark.parametrize(
    ("target", "required", "is_open"),
    [
        ("torch.optim.AdamW", ["params"], False),
        ("torch.optim.SGD", ["params"], False),
        ("torch.optim.lr_scheduler.OneCycleLR", ["optimizer", "max_lr"], False),
        ("torch.optim.lr_scheduler.CosineAnnealingLR", ["optimizer", "T_max"], False),
        ("pytorch_lightning.callbacks.ModelCheckpoint", [], False),
        ("pytorch_lightning.callbacks.LearningRateMonitor", [], False),
        ("pytorch_lightning.callbacks.EarlyStopping", ["monitor"], False),
        ("pytorch_lightning.loggers.TensorBoardLogger", ["save_dir"], True),
        ("kdistill.losses.logit.KD", [], False),
        ("kdistill.models.build.create_model", ["name", "num_classes", "in_chans"], True),
        ("timm.create_model", ["model_name"], True),
    ],
)
def test_the_targets_that_configs_name_can_be_read(target: str, required: list[str], is_open: bool) -> None:
    signature = signature_of(target)
    assert signature is not None and signature.is_open == is_open
    assert [name for name, parameter in signature.parameters.items() if parameter.required] == required


@pytest.mark.parametrize(
    ("target", "taken", "not_taken"),
    [
        ("torchvision.models.resnet18", ["num_classes", "weights"], ["in_chans", "block", "layers"]),
        ("torchvision.models.vit_b_16", ["num_classes", "image_size"], ["in_chans", "patch_size"]),
        ("timm.models.resnet18", ["num_classes", "in_chans"], ["block"]),
        ("pytorch_lightning.callbacks.EMAWeightAveraging", ["decay"], ["dirpath"]),
        ("pytorch_lightning.loggers.WandbLogger", ["save_dir"], ["dirpath"]),
        ("some_nets.Handing", ["width", "picked", "asked"], ["num_classes"]),
        ("some_nets.hand_on", ["b", "y"], ["x", "num_classes"]),
        ("some_nets.pass_all", ["kind", "width", "picked"], ["num_classes"]),
    ],
)
def test_keywords_that_are_handed_on_are_followed_to_what_takes_them(
    nets: str, target: str, taken: list[str], not_taken: list[str]
) -> None:
    signature = signature_of(target)
    assert signature is not None and signature.is_open
    assert {*taken} <= signature.parameters.keys()
    assert not {*not_taken} & signature.parameters.keys()


def test_an_optimizers_learning_rate_is_a_number_though_its_annotation_names_a_tensor() -> None:
    signature = signature_of("torch.optim.AdamW")
    assert signature is not None
    assert mistake("fast", signature.parameters["lr"].type) and not mistake(1e-3, signature.parameters["lr"].type)
    assert not mistake([0.9, 0.99], signature.parameters["betas"].type)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("torch.optim.AdamX", "there is no 'AdamX' in torch.optim; did you mean 'Adam' or 'AdamW'?"),
        ("torch.optm.AdamW", "there is no 'optm' in torch; did you mean 'optim'?"),
        ("kdistill.losses.logit.KDD", "did you mean 'KD'?"),
        ("trch.optim.AdamW", "there is no package or module 'trch'"),
        ("lightning.pytorch.callbacks.EarlyStopping", "write pytorch_lightning.callbacks.EarlyStopping"),
        ("pl.callbacks.EarlyStopping", "write pytorch_lightning.callbacks.EarlyStopping"),
        ("optim.AdamW", "write torch.optim.AdamW"),
        ("torch.optim", "is a module"),
        ("AdamW", "is not the dotted path"),
        ("..AdamW", "is not the dotted path"),
    ],
)
def test_a_target_that_does_not_exist_is_named_with_the_nearest_that_does(target: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        signature_of(target)
    assert said in str(error.value) and target in str(error.value)


def test_reading_a_signature_imports_nothing() -> None:
    code = (
        "import sys; from kdistill.config.signature import signature_of;"
        "[signature_of(name) for name in ('torch.optim.AdamW', 'timm.create_model', 'kdistill.losses.logit.KD')];"
        "print(sorted({'torch', 'timm', 'kdistill.losses'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_value_is_checked_as_in_json() -> None:
    assert mistake(True, float) and mistake("3", float) and mistake(1.0, int) and mistake(3, str) and mistake(1, bool)
    assert mistake(1, float) is None and mistake(float("inf"), float) is None
    assert mistake([1, 2], tuple[float, float]) is None and mistake([1], tuple[float, float])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[3, 0]], "must be 'auto' or a string at [0][0], not [[3, 0]]; did you mean [['3','0']]?"),
        (["3", "0"], "must be 'auto' or a list at [0], not ['3', '0']; did you mean [['3','0']]?"),
        ([3, 0], "must be 'auto' or a list at [0], not [3, 0]; did you mean [['3','0']]?"),
        ([["3"]], "must be 'auto' or a value at [0][1], not [['3']]"),
        ("autoo", "must be 'auto' or a list, not 'autoo'; did you mean 'auto'?"),
        ([["3", "0"], ["5", "5"]], None),
    ],
)
def test_wrong_pairs_of_layers_are_told_where_and_the_form_they_should_have(given: object, said: str | None) -> None:
    assert mistake(given, Literal["auto"] | list[tuple[str, str]]) == said
