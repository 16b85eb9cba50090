"""One huge picture, read and written block by block: TIFF, BigTIFF and Zarr.

TIFF files are read segment by segment (tile or strip). They are written as tiles without
compression, so that the place of each tile is known in advance and workers can write side by side.
In Zarr a picture is an array (H, W, 3 | 4) uint8; the result is a group of `index`, (H, W), and
`palette`, (K, 3 | 4), as in ``.npz`` files.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.color.alpha import AlphaOptions
from quantgpu.distributed.blocks import BlockResult, check_pixels, count_block
from quantgpu.distributed.tiles import ABOVE, BELOW, LEFT, RIGHT, Halo
from quantgpu.dithering.base import index_dtype
from quantgpu.errors import InputError, OutputError, UsageError
from quantgpu.execution.selection import Compute
from quantgpu.io.atomic import NEW_FILE
from quantgpu.threads import chunks

TILE = 256
"""Rows and columns of a tile of a written TIFF file."""

SIDE = 4096
"""Rows and columns of a block: 48 MiB of pixels, and 130 MiB more to count them."""

WIDEST = 1 << 26
"""Most pixels of a segment, as a worker has to hold several."""

CHUNKS = 4
"""Chunks of a Zarr array that a block has along each axis."""

TIFFS = ".tif", ".tiff"

ICC_TAG = 34675
"""The tag InterColorProfile of TIFF files."""

UNCONVERTED = "its color profile is not converted block by block; its colors are taken for sRGB"

Region = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


class Picture(NamedTuple):
    """The properties of a stored picture, known before its pixels are read."""

    path: str
    shape: tuple[int, int, int]
    """Rows, columns, channels."""
    segment: tuple[int, int]
    """Rows and columns of a tile, strip or chunk, which can only be read as a whole."""
    notes: tuple[str, ...] = ()
    """Differences from reading the file as a whole, for people."""


def is_zarr(path: str) -> bool:
    """Whether a name is that of a Zarr store, or of an array in one."""
    return any(part.lower().endswith(".zarr") for part in PurePath(path).parts)


def is_tiff(path: str) -> bool:
    """Whether a name is that of a TIFF file."""
    return PurePath(path).suffix.lower() in TIFFS


def is_blockwise(path: str) -> bool:
    """Whether to read a picture block by block: Zarr stores, and TIFF files with tiles."""
    if is_zarr(path):
        return True
    if not is_tiff(path) or not os.path.isfile(path):
        return False
    with contextlib.suppress(InputError, ImportError), first_page(path) as page:
        return bool(page.is_tiled)
    return False


def inspect(path: str) -> Picture:
    """Read the properties of a stored picture.

    Raises:
        InputError: The store cannot be read, or its pixels are no 8-bit RGB or RGBA.
        UsageError: The store's pixels are not (H, W, 3 | 4) uint8.
    """
    if is_zarr(path):
        array = zarr_array(path)
        check_store(path, array.dtype, array.shape)
        return Picture(path, array.shape, (array.chunks[0], array.chunks[1]))
    with first_page(path) as page:
        check_store(path, page.dtype, page.shape)
        if page.photometric.name != "RGB" or page.planarconfig.name != "CONTIG":
            raise InputError(
                f"{path}: is {page.photometric.name}, {page.planarconfig.name}; block by block "
                "only RGB with channels side by side is read"
            )
        has_profile = ICC_TAG in page.tags
        segment = (page.tilelength, page.tilewidth)
        if not page.is_tiled:
            segment = (min(page.rowsperstrip, page.shape[0]), page.shape[1])
    if segment[0] * segment[1] > WIDEST:
        raise InputError(
            f"{path}: its strips have {segment[0] * segment[1]:,} pixels, more than {WIDEST:,}; "
            "write it with tiles"
        )
    return Picture(path, page.shape, segment, (UNCONVERTED,) * has_profile)


def check_store(path: str, dtype: Any, shape: tuple[int, ...]) -> None:
    """Raise a UsageError that names the store, unless its pixels are (H, W, 3 | 4) uint8."""
    try:
        check_pixels(dtype, shape)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def zarr_array(path: str) -> Any:
    """Open an array of a Zarr store for reading."""
    import zarr

    with translate_store_read_errors(path):
        array = zarr.open(path, mode="r")
    if not hasattr(array, "chunks"):
        raise InputError(f"{path}: is a group; name one of its arrays, such as {path}/0")
    return array


@contextlib.contextmanager
def first_page(path: str) -> Iterator[Any]:
    """Open a TIFF file for the context, and yield its first picture."""
    import tifffile

    with translate_store_read_errors(path), tifffile.TiffFile(path) as file:
        yield file.pages[0]


@contextlib.contextmanager
def translate_store_read_errors(path: str) -> Iterator[None]:
    """Translate errors of reading and decoding inside the context to an InputError that names the
    store."""
    import tifffile

    try:
        yield
    except (OSError, KeyError, ValueError, RuntimeError, tifffile.TiffFileError) as error:
        if isinstance(error, UsageError):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason})") from None


def regions(picture: Picture) -> list[Region]:
    """The blocks of a picture, row by row; their sides are multiples of `TILE`.

    If segments are wider than `SIDE`, as strips may be, blocks are as wide as the picture.
    """
    height, width, _ = picture.shape
    rows = columns = SIDE
    if picture.segment[1] > SIDE:
        columns = -(-width // TILE) * TILE
        rows = max(SIDE * SIDE // columns // TILE, 1) * TILE
    return [
        (*down, *across) for down in chunks(0, height, rows) for across in chunks(0, width, columns)
    ]


def with_halo(region: Region, picture: Picture) -> tuple[Region, Halo]:
    """The region of a block with its halo, cut at the picture's borders, and the halo's size."""
    top, bottom, left, right = region
    height, width, _ = picture.shape
    halo = Halo(
        min(ABOVE, top), min(BELOW, height - bottom), min(LEFT, left), min(RIGHT, width - right)
    )
    return (top - halo.above, bottom + halo.below, left - halo.left, right + halo.right), halo


def read_region(picture: Picture, region: Region) -> NDArray[np.uint8]:
    """Read the pixels of a block, (h, w, 3 | 4) uint8.

    Raises:
        InputError: The store is damaged or missing.
    """
    top, bottom, left, right = region
    if is_zarr(picture.path):
        array = zarr_array(picture.path)
        with translate_store_read_errors(picture.path):
            return np.asarray(array[top:bottom, left:right])
    with first_page(picture.path) as page:
        return tiff_region(page, region, picture)


def count_region(
    picture: Picture,
    region: Region,
    perceptual: bool,
    alpha: AlphaOptions,
    compute: Compute,
) -> BlockResult:
    """Count the colors of a block, with their weights in the picture, see `count_block`."""
    around, halo = with_halo(region, picture)
    pixels = read_region(picture, around)
    return count_block(pixels, halo, perceptual, alpha, compute)


def tiff_region(page: Any, region: Region, picture: Picture) -> NDArray[np.uint8]:
    """Read the pixels of a block of a TIFF file, (h, w, 3 | 4) uint8, one segment at a time."""
    top, bottom, left, right = region
    height, width = picture.segment
    across = -(-picture.shape[1] // width)
    pixels = np.zeros((bottom - top, right - left, picture.shape[2]), np.uint8)
    for row in range(top // height, -(-bottom // height)):
        for column in range(left // width, -(-right // width)):
            number = row * across + column
            size = page.databytecounts[number]
            if not size:
                continue  # an unwritten tile is black
            page.parent.filehandle.seek(page.dataoffsets[number])
            data = page.parent.filehandle.read(size)
            decoded, _, shape = page.decode(data, number, jpegtables=page.jpegtables)
            if decoded is None:
                continue
            copy_segment(
                pixels,
                decoded[0, : shape[1], : shape[2]],
                row * height - top,
                column * width - left,
            )
    return pixels


def copy_segment(pixels: NDArray[Any], segment: NDArray[Any], row: int, column: int) -> None:
    """Copy a segment into a block, at a row and a column that may be partly outside the block."""
    height, width = segment.shape[:2]
    inside = segment[max(-row, 0) : len(pixels) - row, max(-column, 0) : pixels.shape[1] - column]
    row, column = max(row, 0), max(column, 0)
    height, width = inside.shape[:2]
    pixels[row : row + height, column : column + width] = inside


STORE_MARKS = ".zgroup", ".zarray", "zarr.json"
"""Files that mark a folder as a Zarr store, which has at least one."""


def check_store_output(output: str, k: int, force: bool) -> None:
    """Check that K colors can be written block by block to an output.

    Raises:
        UsageError: The suffix is unknown, or `k` is too large for the format.
        OutputError: The output exists without `force`, or its folder is missing.
    """
    if PurePath(output).suffix.lower() not in (*TIFFS, ".zarr"):
        raise UsageError(f"{output}: block by block .zarr and .tif are written")
    if is_tiff(output) and k > 256:
        raise UsageError(f"{output}: k = {k} is more than a palette of TIFF holds, 256; use .zarr")
    if not Path(output).absolute().parent.is_dir():
        raise OutputError(f"{Path(output).parent}: no such folder; create it first")
    if os.path.lexists(output) and not force:
        raise OutputError(f"{output}: exists; use --force to replace it, or -o for another name")
    check_replaceable(Path(output))


def check_replaceable(path: Path) -> None:
    """Raise an OutputError if a store would replace a folder of other files, or another kind."""
    if is_tiff(str(path)) and path.is_dir():
        raise OutputError(f"{path}: is a folder, which a file never replaces; use another name")
    is_store = any((path / mark).is_file() for mark in STORE_MARKS)
    if path.is_dir() and not is_store and any(path.iterdir()):
        raise OutputError(f"{path}: is a folder, and no Zarr store; it is not replaced")
    if not is_tiff(str(path)) and path.exists() and not path.is_dir():
        raise OutputError(f"{path}: is a file, which a folder never replaces; use another name")


@contextlib.contextmanager
def create_store(output: str, picture: Picture, colors: NDArray[np.uint8], k: int) -> Iterator[str]:
    """Create an empty store under a temporary name, and rename it after the context without error.

    Args:
        output: The final name.
        picture: The picture that the store will show.
        colors: (K, 3 | 4) uint8: the palette.
        k: The requested number of colors, which decides the type of indices.

    Yields:
        The temporary name.
    """
    path = Path(os.path.realpath(output))
    temporary = path.with_name(f".quantgpu-{secrets.token_hex(8)}.partial{path.suffix}")
    try:
        with translate_store_write_errors(output):
            if is_tiff(output):
                os.close(os.open(temporary, NEW_FILE, 0o666))
                create_tiff(str(temporary), picture, colors, k)
            else:
                os.mkdir(temporary)
                create_zarr(str(temporary), picture, colors, k)
        yield str(temporary)
        with translate_store_write_errors(output):
            check_replaceable(path)
            put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)


def put_in_place(store: Path, path: Path) -> None:
    """Move a store to `path`; an older store is removed after the new one is in place."""
    if not path.is_dir():
        os.replace(store, path)
        return
    old = path.with_name(f".quantgpu-{secrets.token_hex(8)}.replaced{path.suffix}")
    os.rename(path, old)
    try:
        os.rename(store, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def translate_store_write_errors(output: str) -> Iterator[None]:
    """Translate an OSError inside the context to an OutputError that names the store."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error})") from None


def create_zarr(path: str, picture: Picture, colors: NDArray[np.uint8], k: int) -> None:
    """Create a Zarr group of `index`, still empty, and `palette`."""
    import zarr

    top, bottom, left, right = regions(picture)[0]
    chunks = (-(-(bottom - top) // CHUNKS), -(-(right - left) // CHUNKS))
    zarr.open_group(path, mode="w")
    zarr.open_array(
        f"{path}/index", mode="w", shape=picture.shape[:2], chunks=chunks, dtype=index_dtype(k)
    )
    palette = zarr.open_array(
        f"{path}/palette", mode="w", shape=colors.shape, chunks=colors.shape, dtype="u1"
    )
    palette[:] = colors


def create_tiff(path: str, picture: Picture, colors: NDArray[np.uint8], k: int) -> None:
    """Create a BigTIFF file of tiles with a palette, still empty."""
    import tifffile

    entries = np.zeros((3, 256), np.uint16)
    entries[:, : len(colors)] = colors[:, :3].T.astype(np.uint16) * 257
    tifffile.imwrite(
        path, shape=picture.shape[:2], dtype=np.uint8, tile=(TILE, TILE), bigtiff=True,
        photometric="palette", colormap=entries, metadata=None,
    )  # fmt: skip


def write_region(path: str, region: Region, index: NDArray[Any]) -> None:
    """Write the indices of a block, (h, w), into an existing store."""
    top, bottom, left, right = region
    with translate_store_write_errors(path):
        if is_zarr(path):
            import zarr

            zarr.open_array(f"{path}/index", mode="r+")[top:bottom, left:right] = index
            return
        import tifffile

        with tifffile.TiffFile(path) as tiff, open(path, "r+b") as file:
            write_tiles(tiff.pages[0], file, region, index)


def write_tiles(page: Any, file: Any, region: Region, index: NDArray[Any]) -> None:
    """Write a block of indices, (h, w), to the places of a page's tiles in a file.

    The block's first pixel has to be the first of a tile.
    """
    height, width = page.tilelength, page.tilewidth
    across = -(-page.shape[1] // width)
    for row, after in chunks(0, len(index), height):
        for column, end in chunks(0, index.shape[1], width):
            tile = np.zeros((height, width), np.uint8)
            tile[: after - row, : end - column] = index[row:after, column:end]
            number = (region[0] + row) // height * across + (region[2] + column) // width
            file.seek(page.dataoffsets[number])
            file.write(tile.tobytes())


def size_of(path: str) -> int:
    """The bytes of a file, or of all files in a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
