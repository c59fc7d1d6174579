"""How much is read of what others made: every number in one place. docs/your_data.md lists them for people.

A limit is held before anything is allocated: by a file's size, or by what its header says that it holds.
"""

IMAGE_PIXELS = 100_000_000
"""Of one image, by its header; `dataset.max_pixels` is another number."""
PIXELS_AT_ONCE = 16_000_000
"""An image of more is decoded alone, the others wait: threads times size is what fills a memory."""
BYTES_PER_PIXEL = 16
"""What decoding one takes at most: its file, RGBA over white, and as RGB."""
IMAGE_SIDE = 16_384
"""Of the square that is served (`dataset.image_size`), in pixels."""
TABLE_BYTES = 256_000_000
"""Of annotations.csv: some five million rows."""
NAME_BYTES = 255
"""Of one part of a path: file systems take no more."""
PATH_BYTES = 4_000
"""Of a whole path."""
SHOWN = 80
"""Characters of a value that a message repeats."""
TEXT_BYTES = 64_000_000
"""Of a JSON, yaml or text file of a run, a comparison or a store."""
ARRAYS_BYTES = 4_000_000_000
"""Of all arrays of an .npz file, unpacked."""
HEADER_BYTES = 100_000_000
"""Of a .safetensors file's header; the library refuses more as well."""
