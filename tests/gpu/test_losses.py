"""Every loss gives on a GPU what it gives on a CPU."""

import copy
from pathlib import Path

import pytest
import torch

from kdistill.building.data import build_data
from kdistill.building.losses import build_loss
from kdistill.config.compose import compose_config
from kdistill.config.paths import conf_dir
from kdistill.models.build import create_model
from kdistill.models.exact import without_tf32
from kdistill.models.subclass import split_classes
from kdistill.modules.distill import DistillModule
from kdistill.modules.layers import bind_loss
from kdistill.modules.teacher import FrozenTeacher, TeacherModule

pytestmark = pytest.mark.gpu

LOSSES = sorted(path.stem for path in Path(conf_dir(), "loss").glob("*.yaml") if path.stem != "vote_bins")
OWN_DRAWS = ("crd",)  # its negatives come from the device's own generator
STUDENTS = {
    "deit": ("deit_tiny_distilled_patch16_224", {"img_size": 28, "patch_size": 7, "depth": 1}),
    "sdd": ("cifar_resnet8", {}),  # and a teacher that ends in the mean of its maps too
}


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_a_cpus(name: str, digits: list[str], device: str) -> None:
    role = "scratch" if name in ("ce", "label_smoothing", "spread") else "distill"
    config = compose_config([f"+experiment=mnist_{role}", f"loss={name}", *digits, "dataset.augment=null"])
    data = build_data(config)
    torch.manual_seed(0)
    student_name, options = STUDENTS.get(name, ("mnist_small_cnn", {}))
    student = create_model(student_name, num_classes=10, in_chans=1, **options)
    teacher = create_model("cifar_resnet14" if name == "sdd" else "mnist_cnn", num_classes=10, in_chans=1)
    if name in ("subclass", "spread"):
        for network in (student, teacher):
            split_classes(network, 3, owner=name)
    loss = build_loss(config.loss, data.arrays.class_counts, len(data.arrays.train))
    names = {"student_name": "student", "teacher_name": "teacher"}
    bind_loss(loss, student, teacher, data.arrays.image_shape, **names)
    inputs = {"mean": data.arrays.mean, "std": data.arrays.std}
    asked = FrozenTeacher(TeacherModule(teacher, **inputs), loss.teacher_layers)
    here = DistillModule(student, teacher=asked, loss=loss, **inputs)
    there = copy.deepcopy(here).to(device)
    found = []
    for module, where in ((here, "cpu"), (there, device)):
        batch = data.prepare(data.arrays.train.read(torch.arange(32)).to(where), view=0)
        torch.manual_seed(1)
        with without_tf32():
            total, values = module.step_loss(batch)
            total.backward()
        gradient = [p.grad.cpu().flatten() for p in module.parameters() if p.grad is not None]
        found.append((values.detach().cpu(), torch.cat(gradient)))
    (expected, its), (values, own) = found
    assert values.isfinite().all() and own.isfinite().all()
    if name not in OWN_DRAWS:
        torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-5)
        assert (own - its).norm() < 1e-2 * its.norm()
