import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from regionfer.errors import ImageError
from regionfer.images import FORMATS, IMAGE_SUFFIXES, MAX_PIXELS, find_images, read_image

EXAMPLES = Path(__file__).parents[1] / "examples"
ORIENTATION = 0x0112


def picture(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """A smooth picture without symmetry: red grows to the right, green downwards, blue along the diagonal."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 / (width - 1), y * 255 / (height - 1)
    return np.stack([red, green, (red + green) / 2], axis=-1).round().astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def assert_rgb(image: NDArray[np.uint8], like: NDArray[np.uint8], tolerance: float = 0) -> None:
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == like.shape
    assert np.abs(image.astype(int) - like).max() <= tolerance


# --- sources ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "bytearray", "pillow", "lazy pillow", "array"])
def test_every_source_gives_the_same_image(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(picture()).save(path)
    data = path.read_bytes()
    source = {
        "path": path,
        "str": str(path),
        "bytes": data,
        "bytearray": bytearray(data),
        "pillow": Image.fromarray(picture()),
        "lazy pillow": Image.open(BytesIO(data)),
        "array": picture(),
    }[kind]
    assert_rgb(read_image(source), picture())


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        ("JPEG", 6),
        ("PNG", 0),
        ("WEBP", 0),
        ("GIF", 12),
        ("BMP", 0),
        ("TIFF", 0),
        ("AVIF", 12),
        ("JPEG2000", 0),
        ("PPM", 0),
    ],
)
def test_formats(kind: str, tolerance: int) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    assert kind in FORMATS
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 95}}
    data = encoded(Image.fromarray(picture()), kind, **options.get(kind, {}))
    image = read_image(data)
    assert image.shape == picture().shape
    assert np.abs(image.astype(int) - picture()).mean() <= tolerance / 2


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"], BytesIO(b"")], ids=["None", "int", "list", "file object"])
def test_another_type_is_refused(source: object) -> None:
    with pytest.raises(TypeError, match=r"expected a path, bytes, Pillow image or NumPy array, got \w+"):
        read_image(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(picture()), kind, exif=exif)
    with Image.open(BytesIO(data)) as raw:
        expected = np.asarray(ImageOps.exif_transpose(raw).convert("RGB"))
    assert_rgb(read_image(data), expected)
    # the same as the picture turned by hand, so that a mistake of Pillow's would show
    by_hand = {1: picture(), 3: picture()[::-1, ::-1], 6: np.rot90(picture(), -1), 8: np.rot90(picture(), 1)}
    if orientation in by_hand:
        assert np.abs(read_image(data).astype(int) - by_hand[orientation]).mean() < 6


def test_damaged_exif_does_not_stop_reading() -> None:
    data = encoded(Image.fromarray(picture()), "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff rubbish")
    assert_rgb(read_image(data), picture())


def test_cmyk() -> None:
    inks = Image.fromarray(picture()).convert("CMYK")
    image = read_image(encoded(inks, "JPEG", quality=95))
    assert np.abs(image.astype(int) - picture()).mean() < 4


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("RGBA", (200, 0, 100, 51), (244, 204, 224)),  # 0.2 * colour + 0.8 * 255
        ("LA", (100, 51), (224, 224, 224)),
    ],
    ids=["transparent", "opaque", "a fifth", "grey"],
)
def test_alpha_is_laid_over_white(mode: str, colour: tuple[int, ...], expected: tuple[int, ...]) -> None:
    data = encoded(Image.new(mode, (3, 2), colour), "PNG")
    assert_rgb(read_image(data), np.full((2, 3, 3), expected, np.uint8), tolerance=1)


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\xff\xff\xff"], ids=["none", "index", "table"])
def test_palette(transparency: int | bytes | None) -> None:
    palette = Image.new("P", (4, 1))
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2, 3])
    options = {} if transparency is None else {"transparency": transparency}
    first = (0, 0, 0) if transparency is None else (255, 255, 255)
    expected = np.array([[first, (255, 0, 0), (0, 255, 0), (0, 0, 255)]], np.uint8)
    assert_rgb(read_image(encoded(palette, "PNG", **options)), expected)


def test_transparent_colour_of_an_rgb_png() -> None:
    data = encoded(Image.new("RGB", (2, 2), (10, 20, 30)), "PNG", transparency=(10, 20, 30))
    assert_rgb(read_image(data), np.full((2, 2, 3), 255, np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_from_its_full_range(kind: str) -> None:
    values = np.array([[0, 200, 128 * 257, 65535]], np.uint16)
    image = read_image(encoded(Image.fromarray(values.astype(np.int32) if kind == "PPM" else values), kind))
    assert_rgb(image, np.repeat(np.array([[[0], [1], [128], [255]]], np.uint8), 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_colour(suffix: str) -> None:
    wide = picture().astype(np.uint16) * 257
    _, data = cv2.imencode(suffix, wide[:, :, ::-1])
    assert_rgb(read_image(data.tobytes()), picture())


def test_floating_tiff() -> None:
    values = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    expected = np.repeat(np.round(values * 255).astype(np.uint8)[..., None], 3, axis=2)
    assert_rgb(read_image(encoded(Image.fromarray(values), "TIFF")), expected)


def test_1_bit_and_grey() -> None:
    bits = Image.fromarray(np.array([[True, False]]))
    expected = np.array([[[255] * 3, [0] * 3]], np.uint8)
    assert_rgb(read_image(encoded(bits, "PNG")), expected)
    assert_rgb(read_image(encoded(bits.convert("L"), "PNG")), expected)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert_rgb(read_image(data), np.full((4, 5, 3), (255, 0, 0), np.uint8))


def test_colour_profiles_are_left_alone() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert_rgb(read_image(encoded(Image.fromarray(picture()), "PNG", icc_profile=profile)), picture())


# --- arrays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 3), 7, np.uint8), (7, 7, 7)),
        (np.full((2, 3, 1), 7, np.uint8), (7, 7, 7)),
        (np.full((2, 3, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
        (np.full((2, 3, 4), (1, 2, 3, 0), np.uint8), (255, 255, 255)),
        (np.full((2, 3, 4), (1, 2, 3, 255), np.uint8), (1, 2, 3)),
        (np.full((2, 3), 65535, np.uint16), (255, 255, 255)),
        (np.full((2, 3), 0.5, np.float64), (128, 128, 128)),
        (np.full((2, 3), 1.0, np.float16), (255, 255, 255)),
        (np.full((2, 3), 1.0 + 1e-6, np.float32), (255, 255, 255)),
        (np.ones((2, 3), bool), (255, 255, 255)),
        (np.zeros((2, 6, 3), np.uint8)[:, ::2], (0, 0, 0)),
    ],
    ids=["H W", "H W 1", "H W 3", "clear", "opaque", "uint16", "float64", "float16", "rounding", "bool", "view"],
)
def test_arrays(array: NDArray[np.generic], expected: tuple[int, int, int]) -> None:
    assert_rgb(read_image(array), np.full((2, 3, 3), expected, np.uint8))


@pytest.mark.parametrize("alpha", [False, True])
def test_bgr_arrays_are_turned(alpha: bool) -> None:
    bgr = picture()[:, :, ::-1]
    if alpha:
        bgr = np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)])
    assert_rgb(read_image(bgr, channel_order="bgr"), picture())


def test_channel_order_does_not_touch_files(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(picture()).save(path)
    assert_rgb(read_image(path, channel_order="bgr"), picture())
    with pytest.raises(ValueError, match='"rgb" or "bgr", got \'gbr\''):
        read_image(path, channel_order="gbr")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 5), np.uint8), r"expected shape .* found \(3, 4, 5\)"),
        (np.zeros(4, np.uint8), r"found \(4,\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"found \(1, 4, 5, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"at least one pixel, found 4 x 0"),
        (np.full((2, 2, 3), 255.0), r"floating values in 0..1, found 255..255; scale them"),
        (np.full((2, 2), np.nan), r"found nan..nan"),
        (np.full((2, 2), -0.1), r"found -0.1..-0.1"),
        (np.zeros((2, 2), np.int64), r"expected uint8, .* found int64; convert them"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), r"20000 x 20000 pixels are too many"),
    ],
    ids=["five channels", "a row", "a batch", "empty", "0..255", "nan", "negative", "int64", "too large"],
)
def test_arrays_that_are_no_image(array: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ImageError, match=f"^array: .*{message}"):
        read_image(array)


# --- bad files ----------------------------------------------------------------------------------------------------

WHOLE_JPEG = encoded(Image.fromarray(picture(200, 300)), "JPEG")
WHOLE_PNG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)), "PNG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected an image"),
        (b"Dear diary, today\n" * 30, "is not an image in a known format; expected one of JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "is not an image in a known format"),
        (WHOLE_JPEG[: len(WHOLE_JPEG) // 2], "is damaged or cut off: image file is truncated"),
        (WHOLE_JPEG[:30], "has a damaged or cut off JPEG header"),
        (WHOLE_PNG[: len(WHOLE_PNG) // 2], "is damaged or cut off"),
        (WHOLE_PNG[:60] + bytes(200) + WHOLE_PNG[260:], "is damaged or cut off"),
        (png_header(20_000, 20_000), f"20000 x 20000 pixels are too many; expected at most {MAX_PIXELS:,}"),
        (png_header(12_001, 10_000), "12001 x 10000 pixels are too many"),  # Pillow would warn here, not refuse
        (png_header(2**31 - 1, 2**31 - 1), "2147483647 x 2147483647 pixels are too many"),
        (png_header(0, 10), "has a damaged or cut off PNG header"),
    ],
    ids=[
        "empty",
        "text",
        "PostScript",
        "half a JPEG",
        "start of a JPEG",
        "half a PNG",
        "hole in a PNG",
        "bomb",
        "just too large",
        "absurd",
        "no columns",
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["file", "bytes"])
def test_bad_content(content: bytes, message: str, as_bytes: bool, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(content if as_bytes else path)
    text = str(caught.value)
    assert text.startswith("bytes: " if as_bytes else f"{path}: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("highest", [200, 70_000])
def test_integers_of_32_bits_are_refused(highest: int) -> None:
    image = Image.fromarray(np.array([[0, highest]], np.int32))
    for source in (image, encoded(image, "TIFF")):
        with pytest.raises(ImageError, match="32-bit integers, whose white is not known; save it with 8 or 16 bits"):
            read_image(source)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    missing = tmp_path / "photo.jpg"
    with pytest.raises(ImageError, match=r"photo\.jpg: no such file; check the path$"):
        read_image(missing)
    with pytest.raises(ImageError, match=r": is a folder; expected an image file$"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match=r": cannot be read: embedded null byte$"):
        read_image("photo\0.jpg")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(WHOLE_JPEG)

    def refuse(*_: object, **__: object) -> None:  # chmod does not stop root
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"photo\.jpg: cannot be read: Permission denied$"):
        read_image(path)


def test_pillow_images_are_named_by_their_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(WHOLE_JPEG[: len(WHOLE_JPEG) // 2])
    with Image.open(path) as image, pytest.raises(ImageError, match=r"cut\.jpg: is damaged or cut off"):
        read_image(image)
    with pytest.raises(ImageError, match=r"^image: expected at least one pixel"):
        read_image(Image.new("RGB", (0, 3)))


def test_the_limit_is_ours_not_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # a warning, here an error, from Image.open
    assert read_image(WHOLE_JPEG).shape == (200, 300, 3)
    monkeypatch.setattr("regionfer.images.MAX_PIXELS", 59_999)
    with pytest.raises(ImageError, match="at most 59,999"):
        read_image(WHOLE_JPEG)


# --- finding ------------------------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.jpg",
        "trip/c.webp",
        "trip/far/d.tiff",
        ".cache/e.jpg",
        "none/f.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "recursive", "expected"),
    [
        (["."], False, ["a.PNG", "b.jpg"]),
        (["."], True, ["a.PNG", "b.jpg", "trip/c.webp", "trip/far/d.tiff"]),
        (["b.jpg", "."], False, ["b.jpg", "a.PNG"]),
        (["notes.txt", ".hidden.jpg"], False, ["notes.txt", ".hidden.jpg"]),
        (["trip/../b.jpg", "b.jpg"], False, ["trip/../b.jpg"]),
        (["*.jpg", "a.PNG"], False, ["b.jpg", "a.PNG"]),
        (["**/*.tiff"], False, ["trip/far/d.tiff"]),
        (["tr?p"], False, ["trip/c.webp"]),
    ],
    ids=["folder", "recursive", "order kept", "named files", "once", "glob", "deep glob", "glob of folders"],
)
def test_find_images(album: Path, inputs: list[str], recursive: bool, expected: list[str]) -> None:
    found = find_images([f"{album}/{name}" for name in inputs], recursive=recursive)
    assert [str(path) for path in found.paths] == [os.path.normpath(album) + "/" + name for name in expected]
    assert found.errors == ()


def test_find_images_takes_one_path(album: Path) -> None:
    assert find_images(album / "b.jpg").paths == (album / "b.jpg",)
    assert find_images(str(album / "b.jpg")).paths == (album / "b.jpg",)


def test_a_name_with_glob_characters_is_a_name_first(tmp_path: Path) -> None:
    for name in ("photo[1].jpg", "photo1.jpg"):
        (tmp_path / name).write_bytes(b"x")
    assert find_images(tmp_path / "photo[1].jpg").paths == (tmp_path / "photo[1].jpg",)


def test_inputs_without_images_are_reported_and_the_rest_found(album: Path) -> None:
    found = find_images([album / "lost.jpg", album / "none", album / "b.jpg", f"{album}/*.gif", "null\0byte"])
    assert found.paths == (album / "b.jpg",)
    texts = [str(error) for error in found.errors]
    assert texts[0] == f"{album}/lost.jpg: no such file or folder; check the path"
    assert texts[1].startswith(
        f"{album}/none: is a folder without images; expected files such as .jpg or .png directly"
    )
    assert texts[2] == f"{album}/*.gif: no file matches this pattern"
    assert texts[3].startswith("null\0byte: ")
    assert "below it" in str(find_images(album / "none", recursive=True).errors[0])


def test_unreadable_folders_are_reported_and_the_rest_found(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "far":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_images(album, recursive=True)
    assert [path.name for path in found.paths] == ["a.PNG", "b.jpg", "c.webp"]
    assert [str(error) for error in found.errors] == [f"{album}/trip/far: cannot be read: Permission denied"]
    assert str(find_images(album / "trip/far").errors[0]) == f"{album}/trip/far: cannot be read: Permission denied"


def test_a_broken_link_is_tried_and_then_reported(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (path,) = find_images(tmp_path).paths
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        read_image(path)


def test_suffixes_are_in_lower_case() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)


# --- example photos -----------------------------------------------------------------------------------------------


def test_example_photos_can_be_read_and_state_their_source() -> None:
    found = find_images(EXAMPLES)
    assert {path.name for path in found.paths} >= {"astronaut.jpg", "several.jpg", "masked.jpg", "turned.jpg"}
    licences = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in found.paths:
        assert f"| `{path.name}` |" in licences
        assert path.stat().st_size < 300_000
        assert min(read_image(path).shape[:2]) >= 400


def test_a_pipe_in_a_folder_is_passed_over(tmp_path):
    """Opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    assert find_images([tmp_path]).paths == (tmp_path / "photo.png",)
