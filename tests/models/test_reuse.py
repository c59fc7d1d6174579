"""A student that ends in its teacher's class head: where the projector stands, and which networks are refused."""

import pytest
import torch
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.models.build import create_model
from kdistill.models.head import head_name, new_parts
from kdistill.models.reuse import reuse_head
from kdistill.models.taps import tapped


def net(name: str, in_chans: int = 1, num_classes: int = 10) -> nn.Module:
    return create_model(name, num_classes=num_classes, in_chans=in_chans)


def convnet(width: int, *, stride: int = 4) -> nn.Module:
    """Ends in the mean over the positions of maps that come out of a ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=stride, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 10),
    )  # fmt: skip


def reused(student: nn.Module, teacher: nn.Module, shape: tuple[int, ...] = (1, 28, 28)) -> tuple[str, str]:
    return reuse_head(student, teacher, shape, bottleneck=2, student_name="student=s", teacher_name="teacher=t")


def forward(network: nn.Module, layer: str, image: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad(), tapped(network.eval(), [layer], owner="test") as features:
        logits = network(image)
    return logits, features[layer]


def test_vectors_go_through_a_linear_layer_and_the_teachers_last_one() -> None:
    student, teacher = net("mnist_mlp"), net("mnist_cnn")
    pair = reused(student, teacher)
    assert pair == ("3.project", "11:input")
    count = 784 * 784 + 784 + 784 * 128 + 128 + 128 * 10 + 10
    assert sum(p.numel() for p in student.parameters()) == count
    logits, features = forward(student, pair[0], torch.randn(4, 1, 28, 28))
    last = teacher.get_submodule("11")
    torch.testing.assert_close(logits, last(features))
    frozen = [name for name, p in student.named_parameters() if not p.requires_grad]
    assert frozen == ["3.classify.weight", "3.classify.bias"] and all(p.requires_grad for p in teacher.parameters())


def test_maps_that_are_averaged_go_through_convolutions() -> None:
    """1 x 1 to half of the teacher's channels, 3 x 3, 1 x 1 to all of them; each with BatchNorm and ReLU."""
    student, teacher = convnet(6), convnet(16)
    pair = reused(student, teacher)
    assert pair == ("1.project", "1")
    kinds = [type(layer).__name__ for layer in student[1].project]  # type: ignore[index, union-attr, arg-type]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 3
    assert [tuple(p.shape) for p in student[1].project.parameters() if p.ndim == 4] == [  # type: ignore[index, union-attr]
        (8, 6, 1, 1), (8, 8, 3, 3), (16, 8, 1, 1)
    ]  # fmt: skip
    logits, maps = forward(student, pair[0], torch.randn(4, 1, 28, 28))
    assert maps.shape == (4, 16, 7, 7) and maps.min() >= 0
    torch.testing.assert_close(logits, teacher.get_submodule("4")(maps.mean((2, 3))))


def test_larger_maps_are_pooled_to_the_teachers_and_smaller_ones_stay() -> None:
    for strides, size in (((2, 4), 7), ((4, 2), 7)):
        student = convnet(6, stride=strides[0])
        pair = reused(student, convnet(16, stride=strides[1]))
        assert forward(student, pair[0], torch.randn(2, 1, 28, 28))[1].shape[2:] == (size, size)


@pytest.mark.parametrize(
    ("student", "teacher", "pair"),
    [
        ("test_resnet", "resnetv2_50", ("layer4.project", "norm")),  # a head that is a 1 x 1 convolution
        ("resnetv2_50", "test_resnet", ("norm.project", "layer4")),
        ("test_efficientnet", "test_resnet", ("bn2.project", "layer4")),
        ("test_vit", "test_resnet", ("head.project", "fc:input")),  # tokens: what goes into the heads
        ("mobilenetv3_small_050", "test_vit", ("classifier.project", "head:input")),
    ],
)
def test_networks_of_timm_end_in_one_another(student: str, teacher: str, pair: tuple[str, str]) -> None:
    torch.manual_seed(0)
    own, other = net(student, 3, 5), net(teacher, 3, 5)
    shape = (3, 160, 160) if "test_vit" in (student, teacher) else (3, 96, 96)
    assert reused(own, other, shape) == pair
    logits, features = forward(own, pair[0], torch.randn(2, *shape))
    _, wanted = forward(other, pair[1], torch.randn(2, *shape))
    assert logits.shape == (2, 5) and features.shape[1] == wanted.shape[1]
    # The means are what the teacher's head takes.
    head = other.get_submodule(head_name(other))
    vector = features.mean((2, 3)) if features.ndim == 4 else features
    weight = head.weight.flatten(1)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(logits, vector @ weight.T + head.bias, rtol=1e-3, atol=1e-4)


def test_another_network_of_the_same_kind_gets_the_same_names_and_shapes() -> None:
    """So that saved weights fit a student that is made again."""
    shapes = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        student = net("test_efficientnet", 3)
        reused(student, net("test_resnet", 3), (3, 64, 64))
        shapes.append({name: tuple(value.shape) for name, value in student.state_dict().items()})
    assert shapes[0] == shapes[1]


def test_the_projector_counts_as_new_with_the_head() -> None:
    student = convnet(6)
    reused(student, convnet(16))
    new = {id(p) for part in new_parts(student) for p in part.parameters()}
    old = [name for name, p in student.named_parameters() if id(p) not in new]
    assert old == ["0.weight", "0.bias"] and head_name(student) == "4"


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.a, self.b = nn.Flatten(), nn.Linear(784, 10), nn.Linear(784, 10)

    def forward(self, image: Tensor) -> Tensor:
        return (self.a(self.flatten(image)) + self.b(self.flatten(image))) / 2


def test_networks_that_do_not_end_in_one_linear_layer_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"teacher=t does not end in one alone: .*'b'.* take a loss on the last features"
    ):
        reused(net("mnist_mlp"), TwoHeads())
    with pytest.raises(UserError, match="student=s does not end in one alone"):
        reused(TwoHeads(), net("mnist_mlp"))
    student = net("mnist_mlp")
    reused(student, net("mnist_cnn"))
    with pytest.raises(UserError, match=r"that of teacher=t is a ReusedHead \(3\)"):
        reused(net("mnist_mlp"), student)
    with pytest.raises(UserError, match="student=s gives 10 logits and teacher=t 7"):
        reused(net("mnist_mlp"), net("mnist_cnn", num_classes=7))
