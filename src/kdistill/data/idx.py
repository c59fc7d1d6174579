"""The idx format of the original MNIST files: a big-endian header, then the bytes of the array."""

import struct

import numpy as np

_UINT8 = 0x08


def decode_idx(content: bytes) -> np.ndarray:
    """The array that an idx file holds.

    Args:
        content: the file's bytes, not compressed.

    Returns:
        uint8 array of the header's shape.

    Raises:
        ValueError: not an idx file of unsigned bytes, or its length is not what its header says.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UINT8:
        raise ValueError("is not an idx file of unsigned bytes")
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"is truncated: {len(content)} bytes, the header alone has {start}")
    shape = struct.unpack(f">{rank}I", content[4:start])
    expected = start + int(np.prod(shape))
    if len(content) != expected:
        raise ValueError(f"has {len(content):,} bytes where its header {shape} asks for {expected:,}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def encode_idx(array: np.ndarray) -> bytes:
    """The idx file of a uint8 array."""
    header = struct.pack(f">HBB{array.ndim}I", 0, _UINT8, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, dtype=np.uint8).tobytes()
