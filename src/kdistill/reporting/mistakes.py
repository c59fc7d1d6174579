"""Where teacher and student disagree, and where the student is wrong: counts, and images where the run kept them."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kdistill.evidence.calibration import probabilities
from kdistill.reporting.arms import Arm
from kdistill.reporting.sheet import Sheet
from kdistill.runs.finished import FinishedRun
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord

_MOST_IMAGES, _ALL_IMAGES = 24, 48  # of an arm, of the page
_MOST_ARMS = 4
_SMALL = 64  # pixels; up to here an image is shown pixel by pixel
_THUMBNAIL = 128

Predictions = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Picture:
    """A test image as an address that holds it, and what it is and is taken for.

    Attributes:
        index: its number in the data set.
        address: of the image itself.
        is_fine: whether it has so many pixels that single ones are not to be seen.
        lines: what it is, and what each network takes it for.
    """

    index: int
    address: str
    is_fine: bool
    lines: list[str]


@dataclass(frozen=True)
class ArmMistakes:
    """Images of one run of an arm; where it is taught, first those where teacher and student disagree."""

    name: str
    seed: int
    folder: str
    is_taught: bool
    pictures: list[Picture]


@dataclass(frozen=True)
class Disagreements:
    """How often who is right, where there is a teacher; images; and the arms whose images the page has no room for."""

    counts: Sheet | None
    arms: list[ArmMistakes]
    left_out: list[str]


def telling(predictions: Predictions, most: int) -> np.ndarray:
    """The samples worth looking at: first where teacher and student disagree, then where the student is wrong with it.

    Of each kind those come first that the networks are surest of.

    Args:
        predictions: target (N,), logits (N, K) and, where there was a teacher, teacher_logits (N, K).
        most: how many at most.

    Returns:
        (M,) places in the predictions, M at most `most`.
    """
    logits = predictions["logits"]
    wrong, sure = logits.argmax(1) != predictions["target"], probabilities(logits).max(1)
    apart = np.zeros_like(wrong)
    if "teacher_logits" in predictions:
        teacher = predictions["teacher_logits"]
        apart, sure = logits.argmax(1) != teacher.argmax(1), sure + probabilities(teacher).max(1)
    order = np.lexsort((-sure, ~apart))
    return order[(apart | wrong)[order]][:most]


def disagreements(arms: Sequence[Arm], class_names: Sequence[str]) -> Disagreements | None:
    """How often who is right, and images: of a run of each distilled arm, or where there is none of one network.

    Nothing if there is neither.
    """
    taught = [arm for arm in arms if arm.runs and all("teacher_logits" in run.test for run in arm.runs)]
    kept = {arm.number: run for arm in arms for run in reversed(arm.runs) if RunFolder(run.path).mistakes.is_file()}
    able = [arm for arm in taught if arm.number in kept] or [arm for arm in arms if arm.number in kept][:1]
    shown, left = able[:_MOST_ARMS], able[_MOST_ARMS:]
    if not taught and not shown:
        return None
    views = [_mistakes(arm, kept[arm.number], class_names, _ALL_IMAGES // len(shown)) for arm in shown]
    return Disagreements(_counts(taught) if taught else None, views, [arm.name for arm in left])


def _counts(arms: Sequence[Arm]) -> Sheet:
    rows = []
    for arm in arms:
        right = [(run.test["logits"].argmax(1) == arm.target) for run in arm.runs]
        taught = [(run.test["teacher_logits"].argmax(1) == arm.target) for run in arm.runs]
        pairs = list(zip(right, taught, strict=True))
        kinds = ([s & t, t & ~s, s & ~t, ~s & ~t] for s, t in pairs)
        means = np.mean([[kind.mean() for kind in four] for four in kinds], axis=0)
        rows.append((arm.name, *(f"{share:.2%}" for share in means)))
    columns = ("", "both right", "only teacher right", "only student right", "both wrong")
    return Sheet("who is right on test", columns, tuple(rows))


def kept_mistakes(folder: RunFolder, record: RunRecord, predictions: Predictions) -> list[tuple[int, np.ndarray]]:
    """The images that a run kept, the most telling first: place in the predictions, and (C, H, W) uint8."""
    content = folder.read_mistakes(record)
    pictures = dict(zip(content["index"].tolist(), content["image"], strict=True))
    index = predictions["index"].tolist()
    return [(int(n), pictures[index[n]]) for n in telling(predictions, len(index)) if index[n] in pictures]


def _mistakes(arm: Arm, run: FinishedRun, class_names: Sequence[str], most: int) -> ArmMistakes:
    found = kept_mistakes(RunFolder(run.path), run.record, run.test)[: min(most, _MOST_IMAGES)]
    pictures = [_picture(run.test, place, image, class_names) for place, image in found]
    return ArmMistakes(arm.name, run.seed, str(run.path), "teacher_logits" in run.test, pictures)


def described(predictions: Predictions, place: int, class_names: Sequence[str]) -> list[str]:
    """What a sample is, and what each network takes it for and how surely, a line each."""
    taught = "teacher_logits" in predictions
    name = "student" if taught else "network"
    said = [f"true {class_names[int(predictions['target'][place])]}"]
    said.append(f"{name} {_answer(predictions['logits'][place], class_names)}")
    if taught:
        said.append(f"teacher {_answer(predictions['teacher_logits'][place], class_names)}")
    return said


def _picture(predictions: Predictions, place: int, image: np.ndarray, class_names: Sequence[str]) -> Picture:
    return Picture(
        index=int(predictions["index"][place]),
        address=data_address(image),
        is_fine=max(image.shape[1:]) > _SMALL,
        lines=described(predictions, place, class_names),
    )


def _answer(logits: np.ndarray, class_names: Sequence[str]) -> str:
    found = probabilities(logits[None])[0]
    return f"{class_names[int(found.argmax())]} ({found.max():.0%})"


def data_address(image: np.ndarray) -> str:
    """An image (C, H, W) uint8 of 1 or 3 channels as an address that holds it; large ones reduced."""
    picture = Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, -1))
    written = io.BytesIO()
    small = max(picture.size) <= _SMALL
    if small:
        picture.save(written, format="PNG", optimize=True)
    else:
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        picture.save(written, format="JPEG", quality=85)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(written.getvalue()).decode()}"
