"""A run or a device file that answers: the same code under `kdistill.predict` and `kdistill.load`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.data.decoding import UnreadableImage
from kdistill.exporting.facts import DeviceFacts
from kdistill.exporting.formats import Session
from kdistill.exporting.manifest import Manifest
from kdistill.exporting.pictures import check_size, in_batches, read_picture

_BATCH = 16


@dataclass(frozen=True)
class Answer:
    """What is said of one picture.

    Attributes:
        image: the file; of an array its number.
        label: the class that is named: the likeliest, or of two what the run's decision threshold says.
        probability: of that class.
        probabilities: of every class by name, the likeliest first.
        problem: why there is no answer; the rest is then empty.
    """

    image: str
    label: str = ""
    probability: float = float("nan")
    probabilities: dict[str, float] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Classifier:
    """Pictures in, answers out.

    Attributes:
        facts: classes, input, where it comes from.
        session: what computes.
        run: the run's folder, of a run.
    """

    facts: DeviceFacts
    session: Session
    run: Path | None = None

    def predict(self, images: Sequence[Any], *, batch_size: int = _BATCH) -> list[Answer]:
        """What is said of pictures.

        Args:
            images: files; or arrays (C, H, W) uint8 of the very size, as training saw them.
            batch_size: so many at a time.

        Returns:
            An answer for each; of a file that is no picture, one with a `problem`.

        Raises:
            UserError: an array is of another shape or type, or files can't become what the network takes.
        """
        if any(isinstance(image, str | Path) for image in images):
            return list(self.answers([str(image) for image in images], batch_size=batch_size))
        pictures = [self._checked(image) for image in images]
        found: list[Answer] = []
        for start in range(0, len(pictures), batch_size):
            part = np.stack(pictures[start : start + batch_size])
            found += self._answers([str(start + place) for place in range(len(part))], part)
        return found

    def answers(
        self, files: Sequence[str], *, batch_size: int = _BATCH, max_pixels: int = IMAGE_PIXELS
    ) -> Iterator[Answer]:
        """What is said of picture files, one by one in their order; `max_pixels` is the most that one may hold."""
        check_size(self.facts.input)
        for names in in_batches(files, batch_size):
            read: dict[int, np.ndarray] = {}
            broken: dict[int, Answer] = {}
            for place, name in enumerate(names):
                try:
                    read[place] = read_picture(name, self.facts.input, max_pixels=max_pixels)
                except (UnreadableImage, OSError) as error:
                    broken[place] = Answer(name, problem=str(error))
            said = self._answers([names[place] for place in read], np.stack(list(read.values()))) if read else []
            whole = dict(zip(read, said, strict=True)) | broken
            yield from (whole[place] for place in range(len(names)))

    def probabilities(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, K) and logits (N, K) of pictures (N, C, H, W) uint8."""
        nhwc = self.facts.input.layout == "nhwc"
        return self.session.run(np.ascontiguousarray(pictures.transpose(0, 2, 3, 1)) if nhwc else pictures)

    def export(self, *formats: str, **options: Any) -> list[Manifest]:
        """Writes and tests device files of a run, as `python -m kdistill.export` does.

        Args:
            formats: onnx, onnx_int8, ...; onnx if none is given.
            options: its further keys: `margin=0.01`, `layout="nhwc"`.

        Returns:
            The manifests, each with the `folder` that it lies in.

        Raises:
            UserError: this is a device file and no run, or an export is refused.
        """
        if self.run is None:
            raise UserError("a device file is not exported again: load the run's folder")
        from kdistill.config.compose import compose_config
        from kdistill.config.words import literal
        from kdistill.exporting.export_run import export_run
        from kdistill.exporting.formats import make_formats
        from kdistill.exporting.push import check_push, push

        given = {"run": str(self.run.absolute()), **options}
        words = [f"{key}={literal(value)}" for key, value in given.items()]
        config = compose_config([*words, f"format=[{','.join(formats or ('onnx',))}]"], "export")
        check_push(config.push, map(str, config.format))
        manifests = export_run(config, make_formats(config))
        if config.push is not None:
            push(config.push, manifests)
        return manifests

    def _checked(self, image: Any) -> np.ndarray:
        array = np.asarray(image)
        if array.shape != self.facts.input.shape or array.dtype != np.uint8:
            raise UserError(
                f"an array of {array.shape} {array.dtype} was given: arrays are {self.facts.input.shape} uint8, as "
                "training saw them; pictures of any size are given as files"
            )
        return array

    def _answers(self, names: Sequence[str], pictures: np.ndarray) -> list[Answer]:
        probabilities, logits = self.probabilities(pictures)
        chosen = named(logits, self.facts.threshold)
        classes, found = self.facts.classes, []
        for name, shares, number in zip(names, probabilities, chosen, strict=True):
            ranked = {classes[place]: float(shares[place]) for place in np.argsort(-shares, kind="stable")}
            found.append(Answer(name, classes[number], float(shares[number]), ranked))
        return found


def named(logits: np.ndarray, threshold: float | None) -> np.ndarray:
    """The class number of each sample, (N,): the likeliest, or of two the second where it is above the threshold."""
    if threshold is None:
        return logits.argmax(1)
    with np.errstate(over="ignore"):  # a share of 0 is one
        share = 1 / (1 + np.exp(logits[:, 0].astype(np.float64) - logits[:, 1]))
    return (share > threshold).astype(np.int64)
