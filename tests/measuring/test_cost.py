"""Cost against arithmetic, against published figures and against torch's own counter."""

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import DeformConv2d, roi_align

from kdistill.base.errors import UserError
from kdistill.measuring.cost import count_cost
from kdistill.models.build import create_model
from kdistill.reporting.screen import flops, lower_bounds

MNIST_SHAPE = (1, 28, 28)


@pytest.mark.parametrize(
    ("name", "params", "operations"),
    [
        ("mnist_cnn", 1_011_466, 21_875_456),
        ("mnist_mlp", 623_290, 1_244_992),
        ("mnist_mlp2", 1_238_730, 2_474_304),
    ],
)
def test_the_mnist_networks_have_the_published_counts(name: str, params: int, operations: int) -> None:
    cost = count_cost(create_model(name, num_classes=10, in_chans=1), MNIST_SHAPE)
    assert cost.params_total == cost.params_trainable == params
    assert cost.flops == operations == 2 * cost.macs


@pytest.mark.parametrize("name", ["mnist_cnn", "mnist_mlp", "resnet18", "mobilenetv2_100"])
def test_convolutions_and_linear_layers_agree_exactly_with_torchs_counter(name: str) -> None:
    shape = MNIST_SHAPE if name.startswith("mnist") else (3, 64, 64)
    network = create_model(name, num_classes=10, in_chans=shape[0]).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *shape))
    assert count_cost(network, shape).flops == counter.get_total_flops()


class Built(nn.Module):
    """A network of one function of the image and of the given layers."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, image: Tensor) -> Any:
        return self.function(image, *self.layers)


def tokens(image: Tensor) -> Tensor:
    """(1, 3, 8, 8) to (1, 64, 3)."""
    return image.flatten(2).transpose(1, 2)


def recurrent(kind: Callable[..., nn.Module], **options: Any) -> nn.Module:
    return Built(lambda image, layer: layer(tokens(image))[0], kind(3, 16, batch_first=True, **options))


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:  # type: ignore[override]
        return first @ second


def transformer_macs(width: int, inner: int, length: int) -> int:
    """Four projections, q k^T and its product with v, and two dense layers."""
    return 4 * length * width * width + 2 * length * length * width + 2 * length * width * inner


EMBED = nn.Linear(3, 16)
EMBEDDING, CONVOLUTION = 64 * 3 * 16, 64 * 8 * 27
COUNTED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "scaled_dot_product_attention": (lambda: Built(lambda x: F.scaled_dot_product_attention(x, x, x)), 2 * 3 * 8**3),
    "causal attention": (
        lambda: Built(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)),
        2 * 3 * 8**3,
    ),
    "attention by matmul": (lambda: Built(lambda x: (x @ x.mT).softmax(-1) @ x), 2 * 3 * 8**3),
    "attention by einsum": (
        lambda: Built(lambda x: torch.einsum("bhqk,bhkd->bhqd", torch.einsum("bhqd,bhkd->bhqk", x, x), x)),
        2 * 3 * 8**3,
    ),
    "MultiheadAttention": (
        lambda: Built(lambda x, a, e: a(*[e(tokens(x))] * 3)[0], nn.MultiheadAttention(16, 4, batch_first=True), EMBED),
        EMBEDDING + transformer_macs(16, 0, 64),
    ),
    "TransformerEncoderLayer": (
        lambda: Built(lambda x, t, e: t(e(tokens(x))), nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), EMBED),
        EMBEDDING + transformer_macs(16, 32, 64),
    ),
    "LSTM": (
        lambda: recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        64 * 2 * 4 * 16 * ((3 + 16) + (32 + 16)),
    ),
    "LSTM with a projection": (lambda: recurrent(nn.LSTM, proj_size=8), 64 * (4 * 16 * (3 + 8) + 16 * 8)),
    "GRU": (lambda: recurrent(nn.GRU), 64 * 3 * 16 * 19),
    "RNN": (lambda: recurrent(nn.RNN), 64 * 16 * 19),
    "LSTMCell": (lambda: Built(lambda x, cell: cell(tokens(x)[0])[0], nn.LSTMCell(3, 16)), 64 * 4 * 16 * 19),
    "padding=same": (lambda: nn.Conv2d(3, 8, 3, padding="same"), CONVOLUTION),
    "padding=valid": (lambda: nn.Conv2d(3, 8, 3, padding="valid"), 36 * 8 * 27),
    "padding_mode=reflect": (lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), CONVOLUTION),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 8, 3, stride=2), CONVOLUTION),
    "Conv1d": (lambda: Built(lambda x, c: c(x.flatten(2)), nn.Conv1d(3, 8, 3)), 62 * 8 * 9),
    "Conv3d": (lambda: Built(lambda x, c: c(x[:, None]), nn.Conv3d(1, 8, 3)), 36 * 8 * 27),
    "deformable convolution": (
        lambda: Built(lambda x, c, o: c(x, o(x)), DeformConv2d(3, 8, 3, padding=1), nn.Conv2d(3, 18, 1)),
        CONVOLUTION + 64 * 18 * 3,
    ),
    "baddbmm": (lambda: Built(lambda x: torch.baddbmm(x[0], x[0], x[0])), 3 * 8**3),
    "addbmm": (lambda: Built(lambda x: torch.addbmm(x[0, 0], x[0], x[0])), 3 * 8**3),
    "matrix by vector": (lambda: Built(lambda x: x @ x[0, 0, 0]), 3 * 8 * 8),
    "addmv": (lambda: Built(lambda x: torch.addmv(x[0, 0, 0], x[0, 0], x[0, 0, 0])), 8 * 8),
    "vector by vector": (lambda: Built(lambda x: x[0, 0, 0] @ x[0, 0, 0]), 8),
    "einsum of three": (lambda: Built(lambda x: torch.einsum("bchw,bcwk,bckl->bchl", x, x, x)), 2 * 3 * 8**3),
    "tensordot": (lambda: Built(lambda x: torch.tensordot(x, x, dims=([1, 2, 3], [1, 2, 3]))), 3 * 8 * 8),
    "multi_dot": (lambda: Built(lambda x: torch.linalg.multi_dot([x[0, 0]] * 3)), 2 * 8**3),
    "Bilinear": (lambda: Built(lambda x, b: b(x, x), nn.Bilinear(8, 8, 5)), 24 * 5 * (64 + 8)),
    "cdist": (lambda: Built(lambda x: torch.cdist(x, x, p=1)), 3 * 8**3),
    "autograd.Function": (lambda: Built(lambda x: Product.apply(x, x)), 3 * 8**3),
    "TorchScript": (lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1))), CONVOLUTION),
    "torch.compile": (lambda: torch.compile(nn.Conv2d(3, 8, 3, padding=1)), CONVOLUTION),
    "bfloat16": (lambda: nn.Conv2d(3, 8, 3, padding=1).bfloat16(), CONVOLUTION),
    "a tensor's value decides": (lambda: Built(lambda x, c: c(x) * x.sum().item(), nn.Conv2d(3, 8, 3)), 36 * 8 * 27),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:LSTM with projections", "ignore:Using `torch")
@pytest.mark.parametrize(
    "operator", [pytest.param(name, marks=[pytest.mark.slow] * (name == "torch.compile")) for name in COUNTED]
)
def test_products_of_every_form_are_counted_as_arithmetic_says(operator: str) -> None:
    build, macs = COUNTED[operator]
    cost = count_cost(build(), (3, 8, 8))
    assert (cost.macs, cost.heavy_uncounted_ops) == (macs, ())


HEAVY = {
    "aten::_fft_c2c": lambda x: torch.fft.fft2(x.to(torch.complex64)).real,
    "aten::grid_sampler_2d": lambda x: F.grid_sample(x, x[:, :2].movedim(1, -1), align_corners=False),
    "aten::linalg_inv_ex": lambda x: torch.linalg.inv(x + torch.eye(8)),
    "aten::mul (product by broadcasting)": lambda x: (x[:, :, :, None] * x[:, :, None]).sum(-1),
    "torchvision::roi_align": lambda x: roi_align(x, [torch.tensor([[0.0, 0.0, 4.0, 4.0]])], 2),
}


@pytest.mark.parametrize("operator", HEAVY)
def test_a_heavy_operator_that_is_not_counted_marks_the_figure(operator: str) -> None:
    cost = count_cost(Built(lambda x, layer: HEAVY[operator](layer(x)), nn.Conv2d(3, 3, 1)), (3, 8, 8))
    assert cost.heavy_uncounted_ops == (operator,)
    assert flops(cost) == f">= {2 * 64 * 9:.2e}".replace("e+0", "e")
    assert lower_bounds([("net", cost)]) == [f"FLOPs of net leave out {operator}"]


def test_uncounted_operators_are_named_and_trainable_counted_apart() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten())
    network[0].requires_grad_(False)
    cost = count_cost(network, (1, 6, 6))
    assert cost.params_total == 4 * 9 + 8
    assert cost.params_trainable == 8
    assert cost.macs == 4 * 9 * prod((4, 4))
    assert cost.uncounted_ops == ("aten::_native_batch_norm_legit_no_training", "aten::softplus")
    assert cost.heavy_uncounted_ops == () and flops(cost) == "1.15e3"


# MACs in G that the authors of each give (torchvision's documentation, timm's model cards).
PUBLISHED = {
    "torchvision vit_b_16": (lambda: torchvision.models.vit_b_16(), 17.56),
    "torchvision swin_t": (lambda: torchvision.models.swin_t(), 4.49),
    "timm deit_tiny": (lambda: timm.create_model("deit_tiny_patch16_224"), 1.26),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_cost_what_their_authors_publish(name: str) -> None:
    build, macs = PUBLISHED[name]
    assert count_cost(build(), (3, 224, 224)).macs / 1e9 == pytest.approx(macs, rel=0.02)


def test_counting_leaves_the_network_as_it_was() -> None:
    draws = Built(lambda x: x + torch.randn_like(x))
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), draws, nn.Flatten(), nn.Linear(64, 2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    numbers = torch.get_rng_state()
    count_cost(network, (1, 6, 6))
    assert torch.equal(torch.get_rng_state(), numbers) and torch.backends.mha.get_fastpath_enabled()
    assert all(p.requires_grad for p in network.parameters())
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no CUDA device")
def test_cuda_without_a_device_is_refused() -> None:
    with pytest.raises(UserError, match="device=cuda, but torch sees no CUDA device"):
        count_cost(nn.Flatten(), (1, 2, 2), device="cuda")
