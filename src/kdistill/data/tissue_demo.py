"""A made-up data set in MHIST's layout that looks like stained tissue: the class shows in shape, not in colour."""

import csv
import logging
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import ConfigDict, validate_call

from kdistill.base.errors import UserError
from kdistill.base.space import check_disk
from kdistill.base.storage import one_at_a_time, write_text
from kdistill.base.types import ImageSide, NonNegativeInt, PositiveInt, UnitInterval
from kdistill.base.whole import whole_folder
from kdistill.data.mhist import FILE, FOLDER, LABEL, MHIST, NAME, PARTITION, votes_column
from kdistill.data.tissue_painter import paint

log = logging.getLogger(__name__)

_VERSION = 1  # raise it when the same parameters would paint other pictures
_CLASSES, _ANNOTATORS = ("HP", "SSA"), 7
# Annotator k votes SSA where the elongation, uniform in 0..1, passes her threshold: 30 % have 4 votes or more.
_THRESHOLDS = (0.30, 0.45, 0.58, 0.70, 0.77, 0.84, 0.91)
_CHANNELS = 3
_TEST_SHARE = 3 / 11
_LEAST_SIZE, _LEAST_COUNT = 32, 60


class TissueDemo(MHIST):
    """Pictures of nuclei, round (HP) to elongated (SSA), painted into `root` in seconds if they are not there yet."""

    made_up = True

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        root: str,
        *,
        cache: str,
        count: PositiveInt = 550,
        size: ImageSide = 96,
        generator_seed: NonNegativeInt = 0,
        image_size: ImageSide = 96,
        val_fraction: UnitInterval = 0.15,
        split_seed: NonNegativeInt = 0,
        targets: Literal["hard", "votes", "smoothed"] = "hard",
        **serving: Any,
    ) -> None:
        """What is painted, and how it is served; the other arguments are `MHIST`'s.

        Args:
            root: folder that holds a folder for each way of painting.
            count: how many pictures, at least 60; three in eleven are test.
            size: side of a picture, in pixels, at least 32.
            generator_seed: another number paints other pictures.
        """
        super().__init__(
            root,
            cache=cache,
            image_size=image_size,
            val_fraction=val_fraction,
            split_seed=split_seed,
            classes=list(_CLASSES),
            positive=_CLASSES[1],
            annotators=_ANNOTATORS,
            targets=targets,
            **serving,
        )
        self.count = count
        self.size = size
        self.generator_seed = generator_seed

    def folder(self) -> Path:
        """Where the pictures of these parameters are; they are painted first if need be.

        Raises:
            UserError: too few or too small, or they are not there and may not be painted.
        """
        if self.size < _LEAST_SIZE or self.count < _LEAST_COUNT:
            raise UserError(
                f"dataset.size={self.size} and dataset.count={self.count}: at least {_LEAST_SIZE} pixels and "
                f"{_LEAST_COUNT} pictures are needed"
            )
        root = Path(str(self.root)).expanduser()
        name = f"v{_VERSION}-{self.count}x{self.size}px-seed{self.generator_seed}"
        if not self.writes_root:
            if not (root / name).is_dir():
                raise UserError(
                    f"there is no {root / name}, and nothing is painted into a folder that a run's config names: "
                    "say it yourself, dataset.root=<the folder>"
                )
            return root / name
        waiting = "tissue demo: another job is painting the pictures; waiting for it"
        with one_at_a_time(root / f".{name}.lock", waiting=waiting):
            if not (root / name).is_dir():
                self._paint_into(root / name)
        return root / name

    def _paint_into(self, folder: Path) -> None:
        """Paints all pictures and writes their table."""
        needed = self.count * _CHANNELS * self.size**2
        check_disk(needed, folder, f"painting {self.count:,} pictures", "give a smaller dataset.count or dataset.size")
        log.info("tissue demo: painting %d pictures of %d pixels into %s", self.count, self.size, folder)
        rng = np.random.default_rng(self.generator_seed)
        elongation = rng.uniform(size=self.count)
        is_test = rng.permutation(self.count) < round(self.count * _TEST_SHARE)
        rows = []
        with whole_folder(folder) as begun:
            images = begun / FOLDER
            images.mkdir()
            for number in range(self.count):
                name = f"DEMO_{number:05d}.png"
                own = np.random.default_rng((self.generator_seed, number))
                Image.fromarray(paint(self.size, elongation[number], own)).save(images / name)
                votes = int(np.sum(elongation[number] > np.array(_THRESHOLDS)))
                label = _CLASSES[votes > _ANNOTATORS / 2]
                rows.append((name, label, votes, "test" if is_test[number] else "train"))
            text = StringIO(newline="")
            table = csv.writer(text)  # ends lines by CR LF, as MHIST's file does
            table.writerow((NAME, LABEL, votes_column(_CLASSES[1], _ANNOTATORS), PARTITION))
            table.writerows(rows[place] for place in rng.permutation(self.count))
            write_text(begun / FILE, text.getvalue())
