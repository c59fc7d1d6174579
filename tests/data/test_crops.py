"""Boxes of random resized crops: inside the picture, of the wanted shares, and the sample's own in any batch."""

import torch

from kdistill.data.crops import crop_boxes


def test_boxes_lie_inside_and_have_the_shares_and_shapes_that_are_asked_for() -> None:
    left, top, width, height = crop_boxes(3, torch.arange(4000), 1, scale=(0.25, 0.75), ratio=(0.5, 2.0)).unbind(1)
    assert float(torch.stack((left, top)).min()) >= 0
    assert float(torch.stack((left + width, top + height)).max()) <= 1 + 1e-6
    area, shape = width * height, width / height
    assert 0.249 < float(area.min()) < 0.27 and 0.7 < float(area.max()) < 0.751
    assert 0.499 < float(shape.min()) < 0.55 and 1.8 < float(shape.max()) < 2.001
    assert abs(float(shape.log().mean())) < 0.02  # wide ones are as frequent as tall ones
    assert abs(float((left + width / 2).mean()) - 0.5) < 0.01


def test_a_box_is_its_samples_own_in_any_batch_and_another_in_another_view() -> None:
    together = crop_boxes(3, torch.arange(100), 1)
    assert torch.equal(crop_boxes(3, torch.tensor([70, 5]), 1), together[[70, 5]])
    assert not torch.isclose(crop_boxes(3, torch.arange(100), 2), together).all(1).any()


def test_where_no_box_fits_the_whole_is_shown() -> None:
    boxes = crop_boxes(0, torch.arange(8), 0, scale=(1.0, 1.0), ratio=(2.0, 3.0))
    assert torch.equal(boxes, torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(8, 4))
