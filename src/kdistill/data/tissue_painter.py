"""Pictures like stained tissue in which one number, the elongation of the nuclei, is the only thing that tells."""

import numpy as np
from PIL import Image

# Optical density of haematoxylin and eosin in R, G, B: the usual reference of Macenko et al.'s method (ISBI 2009).
HAEMATOXYLIN = np.array((0.5626, 0.7201, 0.4062))
EOSIN = np.array((0.2159, 0.8012, 0.5581))
_RADIUS, _APART = 0.044, 0.15  # of a nucleus and between two centres: the longest do not hide each other
_GROUND, _DARK = 0.35, 1.2  # mean density of the ground's eosin and of the nuclei's haematoxylin


def paint(size: int, elongation: float, rng: np.random.Generator) -> np.ndarray:
    """One picture.

    Nuclei are ellipses with axes r sqrt(q) and r / sqrt(q), log q normal around log(1.05 + 1.15 elongation): their
    area does not depend on the elongation, nor do number, direction and place, the strength of the two stains, the
    ground's texture and the white gaps. Stains add in optical density (Beer and Lambert).

    Args:
        size: side in pixels, at least 32.
        elongation: 0 (round) to 1.
        rng: where everything else is drawn from.

    Returns:
        (size, size, 3) uint8.
    """
    eosin = _GROUND * rng.uniform(0.7, 1.3) * _clouds(size, rng)
    eosin *= 1.0 - _gaps(size, rng)
    nuclei = _nuclei(size, elongation, rng)
    chromatin = 1.0 + 0.25 * rng.standard_normal((size, size)).clip(-2, 2)
    haematoxylin = _DARK * rng.uniform(0.7, 1.3) * nuclei * chromatin + 0.08 * _clouds(size, rng)
    density = haematoxylin[..., None] * HAEMATOXYLIN + eosin[..., None] * EOSIN
    return (255.0 * np.exp(-density)).round().clip(0, 255).astype(np.uint8)


def _clouds(size: int, rng: np.random.Generator) -> np.ndarray:
    """Texture around 1 from three scales of smooth noise: (size, size)."""
    texture = np.ones((size, size))
    for cells, strength in ((4, 0.2), (12, 0.15), (32, 0.1)):
        coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
        texture += strength * np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    return texture.clip(0.1, None)


def _gaps(size: int, rng: np.random.Generator) -> np.ndarray:
    """Up to two round openings without stain: (size, size) in 0..1."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    opening = np.zeros((size, size))
    for _ in range(rng.integers(0, 3)):
        row, column = rng.uniform(0.1, 0.9, 2) * size
        radius = rng.uniform(0.06, 0.14) * size
        opening = np.maximum(opening, (radius - np.hypot(rows - row, columns - column) + 0.5).clip(0, 1))
    return opening


def _nuclei(size: int, elongation: float, rng: np.random.Generator) -> np.ndarray:
    """(size, size) in 0..1."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    mask = np.zeros((size, size))
    for row, column in _centres(rng) * size:
        radius = _RADIUS * size * rng.uniform(0.85, 1.15)
        stretch = np.sqrt(max((1.05 + 1.15 * elongation) * np.exp(0.1 * rng.standard_normal()), 1.0))
        angle = rng.uniform(0, np.pi)
        along = (rows - row) * np.sin(angle) + (columns - column) * np.cos(angle)
        across = (columns - column) * np.sin(angle) - (rows - row) * np.cos(angle)
        distance = np.hypot(along / (radius * stretch), across * stretch / radius)
        mask = np.maximum(mask, ((1.0 - distance) * radius + 0.5).clip(0, 1))
    return mask


def _centres(rng: np.random.Generator) -> np.ndarray:
    """Places of 14 to 22 nuclei in a square of side 1, as many as 400 tries find, none near another or the border."""
    wanted = rng.integers(14, 23)
    kept = np.empty((0, 2))
    for candidate in rng.uniform(_APART / 2, 1.0 - _APART / 2, (400, 2)):
        if len(kept) < wanted and (np.hypot(*(kept - candidate).T) > _APART).all():
            kept = np.vstack((kept, candidate))
    return kept
