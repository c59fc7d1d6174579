"""What the forms of a store give back, and what they take: measured against the dense tensors, and by arithmetic."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.losses.logit import kl
from kdistill.replay.forms import EightBits, LargestLogits, classes_kept, error_of, form_of
from kdistill.replay.store import ReplayStore


def answers(n: int = 200, classes: int = 1000, *, scale: float = 1.5) -> Tensor:
    """Logits as a good network of 1,000 classes gives them: a few are large."""
    draw = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(n, classes, generator=draw)
    return logits.scatter_add(
        1, torch.randint(classes, (n, 5), generator=draw), 6 + 8 * torch.rand(n, 5, generator=draw)
    )


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
@pytest.mark.parametrize("shape", [(7,), (3, 5, 5), (4, 2), (1,), (40, 20)])
def test_eight_bits_are_wrong_by_half_a_step_of_the_range_at_most(shape: tuple[int, ...], dtype: str) -> None:
    values = 5 * torch.randn(6, *shape, generator=torch.Generator().manual_seed(0)) - 100
    values[2] = 3.25
    back = form_of(shape, dtype, None).rounded(values)
    span = values.flatten(1).amax(1) - values.flatten(1).amin(1)
    error = (back - values).flatten(1).abs().amax(1)
    assert back.shape == values.shape and bool((error <= 0 if dtype == "fp32" else error <= span / 509).all())
    assert torch.equal(back[2], values[2])


def test_a_map_has_a_range_for_each_channel() -> None:
    values = torch.stack([torch.linspace(0, 1, 25), torch.linspace(0, 1000, 25)]).reshape(1, 2, 5, 5)
    error = (EightBits((2, 5, 5)).rounded(values) - values).abs().amax((0, 2, 3))
    assert float(error[0]) <= 1 / 509 and float(error[1]) > 0.1


@pytest.mark.parametrize("k", [1, 10, 50, 900])
def test_at_temperature_1_the_k_likeliest_and_the_mass_of_the_rest_are_exact(k: int) -> None:
    dense = answers(50)
    share, back = dense.softmax(1), form_of((1000,), "fp32", k).rounded(dense).softmax(1)
    largest, numbers = share.topk(k)
    torch.testing.assert_close(back.gather(1, numbers), largest)
    torch.testing.assert_close(back.sum(1), torch.ones(50))
    others = back.scatter(1, numbers, 0.0)
    torch.testing.assert_close(others.amax(1), (1 - largest.sum(1)) / (1000 - k), rtol=1e-3, atol=1e-7)


def test_what_is_lost_at_temperature_1_is_the_shape_of_the_rest_and_bounded_by_its_mass() -> None:
    dense = answers()
    for k in (5, 50):
        largest, numbers = dense.double().softmax(1).topk(k)
        mass = 1 - largest.sum(1)
        rest = dense.double().softmax(1).scatter(1, numbers, 0.0) / mass.unsqueeze(1)
        even = mass * (torch.special.entr(rest).sum(1) * -1 + math.log(1000 - k))
        error = kl(form_of((1000,), "fp32", k).rounded(dense).double(), dense.double())
        torch.testing.assert_close(error, even, rtol=1e-3, atol=1e-5)
        assert bool((error <= mass * math.log(1000 - k)).all())


def test_at_other_temperatures_ratios_of_the_k_stay_and_the_rest_has_too_much_above_1_and_too_little_below() -> None:
    dense = answers(50)
    back = form_of((1000,), "fp32", 20).rounded(dense)
    numbers = dense.topk(20).indices
    torch.testing.assert_close(
        back.gather(1, numbers).diff(dim=1), dense.gather(1, numbers).diff(dim=1), rtol=1e-3, atol=1e-4
    )
    for temperature, sign in ((4.0, 1), (0.5, -1)):
        mass = [1 - (z.double() / temperature).softmax(1).gather(1, numbers).sum(1) for z in (dense, back)]
        assert bool((sign * (mass[1] - mass[0]) > 0).all())


@pytest.mark.parametrize(("dtype", "k", "most"), [("int8", None, 2e-3), ("fp16", 50, 0.1), ("int8", 50, 0.1)])
def test_the_error_that_is_said_is_that_of_the_answers(dtype: str, k: int | None, most: float) -> None:
    dense, form = answers(), form_of((1000,), dtype, k)
    error = float(kl(form.rounded(dense), dense).mean())
    assert 0 < error < most and f"{error:.2g} at T = 1" in error_of({"logits": form}, {"logits": dense})


def test_imagenet_at_10_views_fits_in_10_gb(tmp_path: Path) -> None:
    def gigabytes(dtype: str, k: int | None = None) -> float:
        top_k = {} if k is None else {"logits": k}
        images = {"shapes": {"logits": (1000,)}, "samples": 1_281_167}
        return 10 * ReplayStore(tmp_path, "t", {}, **images, dtype=dtype, top_k=top_k).view_bytes / 1e9  # type: ignore[arg-type]

    found = [gigabytes("fp32"), gigabytes("int8"), gigabytes("fp32", 50), gigabytes("fp16", 100), gigabytes("int8", 50)]
    assert [round(size, 1) for size in found] == [51.2, 12.9, 3.9, 5.2, 2.1]


def test_a_store_of_k_logits_gives_back_what_its_form_does_and_mends_what_is_damaged(tmp_path: Path) -> None:
    dense, calls = answers(30, 100), []

    def outputs(view: int, index: Tensor) -> dict[str, Tensor]:
        calls.append(view)
        return {"logits": dense[index] + view}

    def opened(k: int, dtype: str = "int8") -> ReplayStore:
        options = {"shapes": {"logits": (100,)}, "samples": 30, "dtype": dtype, "top_k": {"logits": k}}
        return ReplayStore(tmp_path, "teacher", {}, **options)  # type: ignore[arg-type]

    store, index = opened(10), torch.tensor([29, 3, 3, 0])
    store.fill([0, 1], outputs, batch_size=8, what="answers")
    expected = form_of((100,), "int8", 10).rounded(dense[index])
    assert torch.equal(store.read(0, index)["logits"], expected)
    assert opened(11).missing([0]) == opened(10, "fp32").missing([0]) == [0] and not opened(10).missing([0, 1])
    for number in range(4):
        file = store.folder / f"view-00000.{number}.bin"
        file.write_bytes(bytes(255 - byte for byte in file.read_bytes()))
    again = opened(10)
    again.fill([0], outputs, batch_size=8, what="answers")
    calls.clear()
    assert torch.equal(again.read(0, index)["logits"], expected) and calls


def test_all_are_kept_where_k_of_them_take_as_much() -> None:
    assert classes_kept("all", 50, 1000, "fp32") is None
    assert classes_kept("top_k", 50, 1000, "fp32") == 50
    assert classes_kept("top_k", 10, 10, "fp32") is classes_kept("top_k", 9, 10, "fp32") is None
    assert classes_kept("top_k", 3, 10, "fp32") == 3


def test_what_fp16_cannot_hold_is_refused_and_large_data_have_large_class_numbers() -> None:
    with pytest.raises(UserError, match=r"fp16 ends at 65,504, and 7e\+04 is to be stored"):
        form_of((2,), "fp16", None).rounded(torch.tensor([[7e4, 0.0]]))
    many = LargestLogits(40_000, 3, form_of((3,), "fp32", None))
    dense = torch.arange(40_000.0).unsqueeze(0)
    assert many.rounded(dense).topk(3).indices.tolist() == [[39_999, 39_998, 39_997]]
