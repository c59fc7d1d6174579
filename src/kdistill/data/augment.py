"""Augmentation as a pure function of (seed, sample, view): of a whole batch, on its device."""

from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.types import (
    AreaShare,
    JpegQuality,
    Json,
    Magnitude,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitInterval,
)
from kdistill.data.colour import NUMBERS as _COLOUR_NUMBERS
from kdistill.data.colour import jitter
from kdistill.data.crops import crop_boxes, resized_crops
from kdistill.data.finish import Finish
from kdistill.data.philox import normal, uniform

VERSION = 1  # raise it when the same key would give other pixels: stored outputs of views depend on them
_CONTROL = 5  # control points per side of the elastic field
_AFFINE_NUMBERS = 6
# Streams of random numbers beside that of the affine and elastic parts, which these must not move.
_SYMMETRY_STREAM, _COLOUR_STREAM, _PAD_STREAM = 1, 2, 11


class Augment:
    """Crop, colour jitter, symmetry and warp, a policy of random operations, and what makes pictures worse.

    Symmetry, crop with padding, shift, rotation, scale, shear and elastic warp are one grid and one gather.
    The parts are those of Simard, Steinkraus and Platt (2003); the elastic field is drawn at 5 x 5 control points and
    interpolated by cubic B-splines instead of being drawn at every pixel and smoothed: two small matrix products.
    Flips and quarter turns alone move pixels without interpolation.
    """

    @validate_call
    def __init__(
        self,
        *,
        shift: NonNegativeFloat = 0.0,
        rotation: NonNegativeFloat = 0.0,
        scale: UnitInterval = 0.0,
        shear: UnitInterval = 0.0,
        elastic: NonNegativeFloat = 0.0,
        flip: bool = False,
        quarter_turn: bool = False,
        brightness: UnitInterval = 0.0,
        contrast: UnitInterval = 0.0,
        saturation: UnitInterval = 0.0,
        hue: UnitInterval = 0.0,
        padding: Literal["zeros", "reflection"] = "zeros",
        random_resized_crop: tuple[AreaShare, AreaShare] | None = None,
        crop_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3),
        crop_padding: NonNegativeInt = 0,
        policy: Literal["trivial", "rand"] | None = None,
        policy_operations: PositiveInt = 2,
        policy_magnitude: Magnitude = 9,
        grey: UnitInterval = 0.0,
        blur: UnitInterval = 0.0,
        blur_sigma: tuple[PositiveFloat, PositiveFloat] = (0.1, 2.0),
        jpeg: UnitInterval = 0.0,
        jpeg_quality: tuple[JpegQuality, JpegQuality] = (30, 95),
        erase: UnitInterval = 0.0,
        erase_scale: tuple[UnitInterval, UnitInterval] = (0.02, 0.33),
        erase_ratio: tuple[PositiveFloat, PositiveFloat] = (0.3, 3.3),
        erase_with: Literal["black", "mean", "noise"] = "black",
    ) -> None:
        """The strength of each part; 0 turns it off.

        Args:
            shift: largest shift along each axis, in pixels.
            rotation: largest rotation, in degrees.
            scale: largest relative change of size, drawn for each axis apart.
            shear: largest shear.
            elastic: standard deviation of the displacement at a control point, in pixels.
            flip: swap left and right, every other time.
            quarter_turn: turn by 0, 90, 180 or 270 degrees; with `flip` all 8 symmetries of the square.
            brightness, contrast, saturation: largest relative change (`colour.jitter`).
            hue: largest turn, as a share of the colour circle; a grey image has neither saturation nor hue.
            padding: what lies outside the image: 0, or the image's reflection.
            random_resized_crop: least and greatest share of the area that is shown, enlarged; None: all of it.
            crop_ratio: its least and greatest width through height.
            crop_padding: pixels of padding of which a crop takes some: a shift by whole pixels, up to so many.
            policy: "trivial" is TrivialAugment (wide), "rand" RandAugment of the two arguments after it.
            policy_operations: how many of RandAugment's, one after another.
            policy_magnitude: how strong those are, of 30.
            grey, blur, jpeg, erase: which share of the images is made grey, is blurred, has been a JPEG file, has a
                rectangle painted over.
            blur_sigma: of the blur, least and greatest, in pixels.
            jpeg_quality: least and greatest.
            erase_scale, erase_ratio: of the rectangle, the share of the area and height through width.
            erase_with: what it is painted with: black, the image's mean colour, or noise.

        Raises:
            ValueError: a least value is above its greatest.
        """
        self.shift = shift
        self.rotation = rotation
        self.scale = scale
        self.shear = shear
        self.elastic = elastic
        self.flip = flip
        self.quarter_turn = quarter_turn
        self.colour = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        self.padding = padding
        self.crop = None if random_resized_crop is None else {"scale": random_resized_crop, "ratio": crop_ratio}
        self.crop_padding = crop_padding
        self.finish = Finish(
            policy=policy, operations=policy_operations, magnitude=policy_magnitude, grey=grey, blur=blur,
            blur_sigma=blur_sigma, jpeg=jpeg, jpeg_quality=jpeg_quality, erase=erase, erase_scale=erase_scale,
            erase_ratio=erase_ratio, erase_with=erase_with,
        )  # fmt: skip
        pairs = {"random_resized_crop": random_resized_crop, "crop_ratio": crop_ratio, "blur_sigma": blur_sigma,
                 "jpeg_quality": jpeg_quality, "erase_scale": erase_scale, "erase_ratio": erase_ratio}  # fmt: skip
        for name, pair in pairs.items():
            if pair is not None and pair[0] > pair[1]:
                raise ValueError(f"{name}=[{pair[0]:g},{pair[1]:g}] goes from the least to the greatest: swap them")

    def key(self) -> dict[str, Json]:
        """All that the pixels of a view depend on, besides (seed, sample, view), as plain data."""
        parts = {name: value for name, value in vars(self).items() if name not in ("crop", "crop_padding", "finish")}
        added = {"crop": self.crop, "crop_padding": self.crop_padding, **self.finish.key()}
        return {"version": VERSION, **parts, **{name: value for name, value in added.items() if value}}

    def boxes(self, *, seed: int, index: Tensor, view: int) -> Tensor | None:
        """(N, 4) of `crop_boxes`, what a view shows of each image; None: all of it."""
        return None if self.crop is None else crop_boxes(seed, index, view, **self.crop)

    def cropped(self, image: Tensor, *, seed: int, index: Tensor, view: int) -> Tensor:
        """The boxes of stored images, (N, C, H, W) uint8, at the size of the whole: the first part of a view."""
        boxes = self.boxes(seed=seed, index=index, view=view)
        return image if boxes is None else resized_crops(image, boxes)

    @property
    def crops(self) -> bool:
        """Whether a view shows a part of the image, at the size of all of it."""
        return self.crop is not None

    def __call__(self, image: Tensor, *, seed: int, index: Tensor, view: int) -> Tensor:
        """One view of each image, cropped already; the same (seed, index, view) gives the same image in any batch.

        Args:
            image: (N, C, H, W) float; in 0..1 where colours change.
            seed: key of the run's augmentation.
            index: (N,) int64 sample numbers, on the images' device.
            view: which view.
            is_cropped: whether the images are those parts already that `boxes` says.

        Returns:
            (N, C, H, W) float.

        Raises:
            UserError: quarter turns of images that are not square.
        """
        if any(self.colour.values()):
            image = jitter(image, uniform(seed, index, view, _COLOUR_NUMBERS, stream=_COLOUR_STREAM), **self.colour)
        image = self._warped(image, seed=seed, index=index, view=view)
        return self.finish(image, seed=seed, index=index, view=view)

    def _warped(self, image: Tensor, *, seed: int, index: Tensor, view: int) -> Tensor:
        height, width = image.shape[-2:]
        between = any((self.shift, self.rotation, self.scale, self.shear, self.elastic))
        if not (between or self.quarter_turn or self.crop_padding):
            if not self.flip:
                return image
            turned = uniform(seed, index, view, 2, stream=_SYMMETRY_STREAM)[:, 0] < 0.5  # as `_symmetry`
            if image.is_cuda:
                return torch.where(turned.view(-1, 1, 1, 1), image.flip(-1), image)
            image = image.clone(memory_format=torch.preserve_format)
            for number in turned.nonzero().squeeze(1).tolist():  # a sixth of the time of `where` on a CPU
                image[number] = image[number].flip(-1)
            return image
        grid = self.grid(height, width, seed=seed, index=index, view=view)
        # Symmetries and shifts by whole pixels map pixel centres to such: "nearest" returns the pixels themselves.
        mode = "bilinear" if between else "nearest"
        return F.grid_sample(image, grid.to(image.dtype), mode=mode, padding_mode=self.padding, align_corners=False)

    def grid(self, height: int, width: int, *, seed: int, index: Tensor, view: int) -> Tensor:
        """Where each output pixel is read: (N, H, W, 2) in grid_sample's coordinates (-1..1, x first)."""
        draws = uniform(seed, index, view, _AFFINE_NUMBERS + (2 * _CONTROL * _CONTROL if self.elastic else 0))
        u = draws[:, :_AFFINE_NUMBERS] * 2.0 - 1.0
        angle = torch.deg2rad(u[:, 0] * self.rotation)
        scale_x, scale_y = torch.exp(u[:, 1] * self.scale), torch.exp(u[:, 2] * self.scale)
        shear = u[:, 3] * self.shear
        # From -1..1 coordinates a pixel is 2 / size wide; shear and rotation act on square pixels, hence the aspect.
        aspect = height / width
        cos, sin = torch.cos(angle), torch.sin(angle)
        theta = torch.stack(
            (
                torch.stack(
                    (cos * scale_x, (shear * cos - sin) * scale_y * aspect, u[:, 4] * (2 * self.shift / width)), 1
                ),
                torch.stack(
                    (sin * scale_x / aspect, (shear * sin + cos) * scale_y, u[:, 5] * (2 * self.shift / height)), 1
                ),
            ),
            1,
        )
        if self.crop_padding:
            whole = uniform(seed, index, view, 2, stream=_PAD_STREAM) * (2 * self.crop_padding + 1)
            theta[:, :, 2] += (whole.floor() - self.crop_padding) * theta.new_tensor((2.0 / width, 2.0 / height))
        if self.flip or self.quarter_turn:
            theta = self._symmetry(height, width, uniform(seed, index, view, 2, stream=_SYMMETRY_STREAM)) @ theta
        grid = F.affine_grid(theta, [len(index), 1, height, width], align_corners=False)
        if self.elastic:
            field = normal(draws[:, _AFFINE_NUMBERS:]).view(-1, 2, _CONTROL, _CONTROL)
            rows, columns = _spline(height, index.device), _spline(width, index.device)
            pixels = rows @ field @ columns.T
            unit = torch.tensor((2.0 / width, 2.0 / height), device=index.device) * self.elastic
            grid = grid + pixels.permute(0, 2, 3, 1) * unit
        return grid

    def _symmetry(self, height: int, width: int, draws: Tensor) -> Tensor:
        """One symmetry of the square for each image, from (N, 2) uniform numbers: (N, 2, 2) of 0, 1 and -1."""
        if self.quarter_turn and height != width:
            raise UserError(
                f"dataset.augment.quarter_turn=true needs square images, not {height} x {width}; use rotation or flip"
            )
        turns = (draws[:, 1] * 4.0).long() if self.quarter_turn else torch.zeros_like(draws[:, 1], dtype=torch.int64)
        cos, sin = draws.new_tensor((1.0, 0.0, -1.0, 0.0))[turns], draws.new_tensor((0.0, 1.0, 0.0, -1.0))[turns]
        mirror = torch.where(draws[:, 0] < 0.5, -1.0, 1.0) if self.flip else torch.ones_like(cos)
        return torch.stack((mirror * cos, -mirror * sin, sin, cos), 1).view(-1, 2, 2)


@lru_cache(maxsize=8)
def _spline(size: int, device: torch.device) -> Tensor:
    """Uniform cubic B-spline weights: (size, control points); rows sum to 1."""
    # Pixel centres over the spans between the second and the last but one control point.
    position = (torch.arange(size, dtype=torch.float64) + 0.5) / size * (_CONTROL - 3) + 1.0
    distance = (position.unsqueeze(1) - torch.arange(_CONTROL, dtype=torch.float64)).abs()
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = (2.0 - distance).clamp(min=0) ** 3 / 6.0
    return torch.where(distance < 1.0, near, far).to(torch.float32).to(device)
