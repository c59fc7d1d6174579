"""Augmentation as a pure function of (seed, sample, view): one sampling grid, one gather per image."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor

from kdistill.config.types import NonNegativeFloat, UnitInterval
from kdistill.data.philox import normal, uniform

_CONTROL = 5  # control points per side of the elastic field
_AFFINE_NUMBERS = 6


class Augment:
    """Random shift, rotation, scale, shear and elastic warp, composed into one grid and one bilinear gather.

    The parts are those of Simard, Steinkraus and Platt (2003); the elastic field is drawn at 5 x 5 control points and
    interpolated by cubic B-splines instead of being drawn at every pixel and smoothed: two small matrix products.
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
    ) -> None:
        """Says how strong each part is; 0 turns it off.

        Args:
            shift: largest shift along each axis, in pixels.
            rotation: largest rotation, in degrees.
            scale: largest relative change of size, drawn for each axis apart.
            shear: largest shear.
            elastic: standard deviation of the displacement at a control point, in pixels.
        """
        self.shift = shift
        self.rotation = rotation
        self.scale = scale
        self.shear = shear
        self.elastic = elastic

    def __call__(self, image: Tensor, *, seed: int, index: Tensor, view: int) -> Tensor:
        """One augmented view of each image; the same (seed, index, view) gives the same image in any batch.

        Args:
            image: (N, C, H, W) float.
            seed: key of the run's augmentation.
            index: (N,) int64 sample numbers, on the images' device.
            view: which view.

        Returns:
            (N, C, H, W) float; what lies outside the image is 0.
        """
        height, width = image.shape[-2:]
        grid = self.grid(height, width, seed=seed, index=index, view=view)
        return F.grid_sample(image, grid.to(image.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)

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
        grid = F.affine_grid(theta, [len(index), 1, height, width], align_corners=False)
        if self.elastic:
            field = normal(draws[:, _AFFINE_NUMBERS:]).view(-1, 2, _CONTROL, _CONTROL)
            rows, columns = _spline(height, index.device), _spline(width, index.device)
            pixels = rows @ field @ columns.T
            unit = torch.tensor((2.0 / width, 2.0 / height), device=index.device) * self.elastic
            grid = grid + pixels.permute(0, 2, 3, 1) * unit
        return grid


@lru_cache(maxsize=8)
def _spline(size: int, device: torch.device) -> Tensor:
    """Uniform cubic B-spline weights: (size, control points); rows sum to 1."""
    # Pixel centres over the spans between the second and the last but one control point.
    position = (torch.arange(size, dtype=torch.float64) + 0.5) / size * (_CONTROL - 3) + 1.0
    distance = (position.unsqueeze(1) - torch.arange(_CONTROL, dtype=torch.float64)).abs()
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = (2.0 - distance).clamp(min=0) ** 3 / 6.0
    return torch.where(distance < 1.0, near, far).to(torch.float32).to(device)
