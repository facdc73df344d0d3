"""Decode any image a user may have to one form, and find the images behind files, folders and globs.

The one form is RGB uint8, shape (H, W, 3), origin top left, C-contiguous. Whatever the source:

- The EXIF orientation is applied, as an image viewer does.
- Transparent pixels are laid over white.
- 16-bit images are scaled from their full range, 0..65535, to 0..255; CMYK, palette, grey and 1-bit become RGB.
- Of an animation or a file of several pages, the first frame is taken.
- Embedded colour profiles (ICC) are not applied: values are taken as sRGB. Expressions do not depend on
  small shifts of colour, and the training images were read in the same way.
"""

import glob
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from regionfer.errors import ImageError

ImageSource: TypeAlias = str | Path | bytes | Image.Image | NDArray[np.generic]

MAX_PIXELS = 120_000_000
"""Largest width times height that is decoded. It admits the 108-megapixel photos of phones (360 MB as RGB)
and refuses decompression bombs, whose few kilobytes would fill the memory."""

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""The formats that are tried, by Pillow's names. Others of its formats run external programs (EPS) or have
decoders that see little use."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
"""The suffixes, in lower case, that make a file in a folder count as an image."""

UNREAD_SUFFIXES: frozenset[str] = frozenset(
    {".heic", ".heif", ".jxl", ".psd", ".svg", ".eps", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"}
)
"""Suffixes, in lower case, of pictures of kinds that are not read: those in a folder are passed over, and told of."""

# Pillow documents OSError only, but its decoders let these through on damaged files. UserWarning is among them
# for callers who have turned warnings into errors.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    UserWarning,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

_TURNS: Mapping[int, Image.Transpose] = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)


def read_image(source: ImageSource, *, channel_order: Literal["rgb", "bgr"] = "rgb") -> NDArray[np.uint8]:
    """Return an image as RGB uint8, (H, W, 3), C-contiguous.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array of shape (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4) that is uint8 (0..255), uint16 (0..65535), floating (0..1) or boolean. The
            fourth channel is alpha (0 is transparent). An array that already has the form returned is returned
            as it is, without a copy.
        channel_order: order of the colour channels of an array: "rgb", or "bgr" as OpenCV reads them. Files and
            Pillow images state their own order, and are not touched by it.

    Raises:
        ImageError: the source is missing, cannot be read, is no image in one of ``FORMATS``, is damaged or cut
            off, has more than ``MAX_PIXELS`` pixels (seen from the header, before decoding), or an array has
            another shape, type or range. The message is one line and begins with the file's name, or with
            "bytes", "image" or "array".
        TypeError: the source is of another type.
        ValueError: ``channel_order`` is neither "rgb" nor "bgr".

    >>> read_image(np.zeros((2, 3))).shape
    (2, 3, 3)
    """
    if channel_order not in ("rgb", "bgr"):
        raise ValueError(f'channel_order must be "rgb" or "bgr", got {channel_order!r}')
    match source:
        case np.ndarray():
            return _from_array(source, "array", bgr=channel_order == "bgr")
        case str() | Path():
            return _from_path(Path(source))
        case bytes() | bytearray() | memoryview():
            return _from_file(BytesIO(source), "bytes")
        case Image.Image():
            return _from_pillow(source, str(getattr(source, "filename", "")) or "image")
        case _:
            raise TypeError(f"expected a path, bytes, Pillow image or NumPy array, got {type(source).__name__}")


def _from_path(path: Path) -> NDArray[np.uint8]:
    try:
        if path.is_dir():
            raise ImageError(f"{path}: is a folder; expected an image file")
        with path.open("rb") as file:
            return _from_file(file, str(path))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ImageError(f"{path}: cannot be read: {_one_line(error)}") from error


def _from_file(file: BinaryIO, name: str) -> NDArray[np.uint8]:
    with closing(_open(file, name)) as image:
        return _from_pillow(image, name)


def _open(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Read the header with the first of ``FORMATS`` that knows it.

    ``Image.open`` does the same, but prints a warning for a large image before its size can be looked at, and
    switching that off is not safe with several threads.
    """
    prefix = file.read(16)
    if not prefix:
        raise ImageError(f"{name}: is empty; expected an image")
    Image.init()
    damage: ImageError | None = None
    for format_name in FORMATS:
        if format_name not in Image.OPEN:  # an older Pillow, or one built without this format
            continue
        make, accepts = Image.OPEN[format_name]
        if accepts is not None and accepts(prefix) is not True:
            continue
        file.seek(0)
        try:
            return make(file, name)
        except _DAMAGE as error:
            what = f"has a damaged or cut off {format_name} header, or one of an unknown kind"
            damage = ImageError(f"{name}: {what}: {_one_line(error)}")
    if damage is not None:
        raise damage
    raise ImageError(f"{name}: is not an image in a known format; expected one of {', '.join(FORMATS)}")


def _from_pillow(image: Image.Image, name: str) -> NDArray[np.uint8]:
    _check_size(image.width, image.height, name)
    try:
        image.load()
        # Only now: Pillow turns TIFF itself while loading, and PNG may carry the orientation after the pixels.
        turn = _TURNS.get(_orientation(image))
        upright = image if turn is None else image.transpose(turn)
        if upright.mode == "F" or upright.mode.startswith("I"):
            return _from_array(_grey_numbers(upright, name, image.format), name)
        return np.array(_over_white(upright))
    except ImageError:
        raise
    except _DAMAGE as error:
        raise ImageError(f"{name}: is damaged or cut off: {_one_line(error)}") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:  # damaged metadata does not make the pixels unreadable
        return 1


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode in ("La", "RGBa"):  # premultiplied; Pillow leads to RGB through the plain form only
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    layer = image.convert("RGBA")
    white = Image.new("RGB", layer.size, "white")
    white.paste(layer, mask=layer.getchannel("A"))
    return white


def _grey_numbers(image: Image.Image, name: str, kind: str | None) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Values of a grey image of more than 8 bits, of a kind of file; ``convert("RGB")`` would cut them off at 255."""
    values = np.asarray(image)
    if image.mode == "F":
        return values.astype(np.float32)
    if image.mode == "I" and kind not in ("PNG", "PPM"):  # which Pillow opens so where they have 16 bits
        raise ImageError(f"{name}: 32-bit integers, whose white is not known; save it with 8 or 16 bits")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"{name}: expected grey values in 0..65535, found {low}..{high}; save it with 8 or 16 bits")
    return values.astype(np.uint16)


def _from_array(array: NDArray[np.generic], name: str, *, bgr: bool = False) -> NDArray[np.uint8]:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"{name}: expected shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), found {array.shape}")
    _check_size(array.shape[1], array.shape[0], name)
    values = _to_uint8(array, name)
    if values.shape[2] == 1:
        return np.repeat(values, 3, axis=2)
    colour = values[:, :, 2::-1] if bgr else values[:, :, :3]
    if values.shape[2] == 4:
        colour = np.asarray(_over_white(Image.fromarray(np.dstack([colour, values[:, :, 3]]))))
    return np.ascontiguousarray(colour)


def _to_uint8(array: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.floating):
        floats = array.astype(np.float32, copy=False)
        low, high = float(floats.min()), float(floats.max())
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            raise ImageError(
                f"{name}: expected floating values in 0..1, found {low:g}..{high:g}; scale them, or give uint8"
            )
        return (floats.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    raise ImageError(f"{name}: expected uint8, uint16, floating or boolean values, found {array.dtype}; convert them")


_ROUNDING = 1e-3
"""How far floating values may leave 0..1, as they do after resizing."""


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: expected at least one pixel, found {width} x {height}")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} pixels are too many; expected at most {MAX_PIXELS:,}; reduce the image first"
        )


def _one_line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def image_size(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of an image (H, W, ...), pixels."""
    return image.shape[1], image.shape[0]


def area_resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image at ``size`` (width, height): the mean of the pixels under each new one, or bilinear to enlarge."""
    smaller = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)


@dataclass(frozen=True)
class FoundImages:
    """The images behind a list of inputs, and the inputs that gave none.

    Attributes:
        paths: files in the order of the inputs, those of a folder sorted by name, each file once.
        unread: how many files of folders are pictures of a kind that is not read, such as .heic, by suffix.
        below: how many folders lie in a folder, but were not looked into.
        errors: one for each input that is missing, empty or unreadable, and for each unreadable folder below
            one; its message is one line that begins with the input. They are returned, not raised, so that a
            batch reads what is there and reports the rest at its end.
    """

    paths: tuple[Path, ...]
    errors: tuple[ImageError, ...]
    unread: Mapping[str, int] = field(default_factory=dict)
    below: int = 0


def find_images(inputs: str | Path | Iterable[str | Path], *, recursive: bool = False) -> FoundImages:
    """Find the image files that are meant by files, folders and globs.

    A file is taken whatever its suffix. A folder stands for its files with one of ``IMAGE_SUFFIXES``, hidden
    ones left out. A glob (``*``, ``?``, ``[...]``, and ``**`` for any depth) stands for its matches, as if
    each had been given; a file whose name has such a character is found by that name first.

    Args:
        inputs: one path, or several.
        recursive: look in the folders below a folder, too. Links to folders are not followed there.
    """
    given = [inputs] if isinstance(inputs, str | Path) else inputs
    paths: dict[str, Path] = {}  # by real path, so that a file reached in two ways is read once
    errors: list[ImageError] = []
    unread: set[str] = set()
    below: set[str] = set()
    for item in given:
        if not str(item):  # which Path would take for the current folder
            errors.append(ImageError("'': is empty; expected the name of a file or folder"))
            continue
        for found in _expand(Path(item), recursive):
            if isinstance(found, ImageError):
                errors.append(found)
            elif isinstance(found, _Unread):
                (below if found.is_folder else unread).add(os.path.realpath(found.path))
            else:
                paths.setdefault(os.path.realpath(found), found)
    kinds = Counter(Path(path).suffix.lower() for path in sorted(unread))
    return FoundImages(tuple(paths.values()), tuple(errors), kinds, len(below))


class _Unread(NamedTuple):
    """A picture of a kind that is not read, or a folder that is not looked into."""

    path: Path
    is_folder: bool


def _expand(item: Path, recursive: bool) -> Iterator[Path | ImageError | _Unread]:
    try:
        exists, is_folder = os.path.lexists(item), item.is_dir()
    except (OSError, ValueError) as error:  # no permission on the way, or a null byte
        yield ImageError(f"{item}: cannot be read: {_one_line(error)}")
        return
    if is_folder:
        yield from _images_in(item, recursive)
    elif exists:
        yield item
    elif not glob.has_magic(str(item)):
        yield ImageError(f"{item}: no such file or folder; check the path")
    elif matches := sorted(glob.glob(str(item), recursive=True)):  # noqa: PTH207 (Path.glob refuses absolute patterns)
        for match in matches:
            yield from _expand(Path(match), recursive)
    else:
        yield ImageError(f"{item}: no file matches this pattern")


def _images_in(folder: Path, recursive: bool) -> Iterator[Path | ImageError | _Unread]:
    unreadable: list[OSError] = []
    empty = True
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        images = sorted(name for name in files if _counts_as_image(name) and not _is_pipe(Path(parent, name)))
        yield from (Path(parent, name) for name in images)
        unread = (name for name in files if _counts_as_image(name, UNREAD_SUFFIXES))
        yield from (_Unread(Path(parent, name), is_folder=False) for name in unread)
        empty = empty and not images
        # os.walk goes on in what is left in this list, in its order
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if not recursive:
            yield from (_Unread(Path(parent, name), is_folder=True) for name in folders)
            folders.clear()
    yield from (ImageError(f"{error.filename}: cannot be read: {_one_line(error)}") for error in unreadable)
    if empty and not unreadable:
        depth = (
            "in it or below it"
            if recursive
            else "directly in it (folders below it are read with --recursive, in Python recursive=True)"
        )
        yield ImageError(f"{folder}: is a folder without images; expected files such as .jpg or .png {depth}")


def _is_pipe(path: Path) -> bool:
    """Whether reading would wait for another program; a broken link is no pipe, and is reported when it is read."""
    return path.exists() and not path.is_file()


def _counts_as_image(name: str, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> bool:
    return Path(name).suffix.lower() in suffixes and not name.startswith(".")
