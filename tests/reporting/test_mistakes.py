"""Which test images are worth looking at, and how they get into the page."""

import base64
import io

import numpy as np
from PIL import Image

from kdistill.reporting.mistakes import data_address, telling

LOGITS = np.log([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.05, 0.95]])
TARGET = np.array([0, 0, 0, 1, 0])
TEACHER = np.log([[0.9, 0.1], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])


def test_disagreement_comes_before_common_error_and_the_surest_first() -> None:
    predictions = {"logits": LOGITS, "target": TARGET, "teacher_logits": TEACHER}
    assert telling(predictions, 9).tolist() == [2, 1, 4], "apart: 2 (sure), 1 (not so); both wrong: 4; 0 and 3 are fine"
    assert telling(predictions, 2).tolist() == [2, 1]


def test_without_a_teacher_the_errors_are_shown() -> None:
    assert telling({"logits": LOGITS, "target": TARGET}, 9).tolist() == [4, 2]


def test_a_small_image_is_kept_exactly() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    kind, _, text = data_address(image).partition(";base64,")
    assert kind == "data:image/png"
    assert np.array_equal(np.moveaxis(np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))), -1, 0), image)


def test_a_large_image_is_reduced() -> None:
    address = data_address(np.random.default_rng(0).integers(0, 256, (3, 512, 256), dtype=np.uint8))
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert address.startswith("data:image/jpeg") and picture.size == (64, 128)
