"""A picture as pixels and as SVG: the same shapes in both, and nothing drawn that cannot be."""

import zlib
from xml.etree import ElementTree

import numpy as np
import pytest

from moola_pipeline.evaluation.canvas import GLYPHS, Canvas, png_file, svg_file

RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]


def pixels_of(content: bytes) -> np.ndarray:
    """Decode a PNG of ours: one IDAT, no row filter."""
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    at = content.index(b"IDAT")
    rows = zlib.decompress(content[at + 4 : at + 4 + int.from_bytes(content[at - 4 : at], "big")])
    table = np.frombuffer(rows, np.uint8).reshape(height, 1 + 3 * width)
    assert not table[:, 0].any()
    return table[:, 1:].reshape(height, width, 3)


def test_a_rectangle_covers_its_pixels_and_no_other():
    canvas = Canvas(8, 6)
    canvas.rect(2, 1, 3, 2, "#ff0000")
    pixels = pixels_of(png_file(canvas, scale=1))
    assert pixels.shape == (6, 8, 3)
    assert (pixels[1:3, 2:5] == RED).all()
    assert (pixels == RED).all(axis=2).sum() == 6
    assert (pixels == WHITE).all(axis=2).sum() == 48 - 6


def test_scale_doubles_every_pixel():
    canvas = Canvas(8, 6)
    canvas.rect(2, 1, 3, 2, "#ff0000")
    single, double = (pixels_of(png_file(canvas, scale)) for scale in (1, 2))
    assert np.array_equal(double, single.repeat(2, axis=0).repeat(2, axis=1))


def test_a_line_is_dark_on_its_way_and_soft_at_its_sides():
    canvas = Canvas(20, 20)
    canvas.line(2, 2, 18, 18, "#0000ff")
    pixels = pixels_of(png_file(canvas, scale=1))
    assert all((pixels[i, i] == BLUE).all() for i in range(4, 16))
    assert (pixels[4, 16] == WHITE).all()
    assert 0 < pixels[8, 9, 0] < 255


def test_what_lies_partly_outside_is_cut_off():
    canvas = Canvas(10, 10)
    canvas.rect(-5, -5, 7, 7, "#ff0000")
    canvas.line(-20, 5, 30, 5, "#0000ff")
    canvas.text(8, 4, "123")
    pixels = pixels_of(png_file(canvas))
    assert pixels.shape == (20, 20, 3)
    assert (pixels[0, 0] == RED).all()


def test_a_text_stands_left_or_right_of_its_place_by_its_anchor():
    columns = {}
    for anchor in ("start", "middle", "end"):
        canvas = Canvas(60, 12)
        canvas.text(30, 10, "1234", anchor)
        inked = (pixels_of(png_file(canvas, 1)) != WHITE).any(axis=(0, 2))
        columns[anchor] = np.flatnonzero(inked)[[0, -1]].tolist()
    assert columns["start"][0] >= 30
    assert columns["end"][1] <= 30
    assert columns["middle"][0] < 30 < columns["middle"][1]


def test_each_glyph_looks_like_no_other():
    assert len(set(GLYPHS.values())) == len(GLYPHS)
    assert all(len(bytes.fromhex(rows)) == 7 and max(bytes.fromhex(rows)) < 32 for rows in GLYPHS.values())


def test_a_character_without_a_glyph_is_refused_by_name():
    canvas = Canvas(60, 12)
    canvas.text(0, 10, "12 €")
    with pytest.raises(ValueError, match=r"^a PNG can write .* only, got €$"):
        png_file(canvas)


def test_svg_holds_the_same_shapes_and_escapes_its_texts():
    canvas = Canvas(60, 12)
    canvas.rect(1, 2, 3, 4, "#ff0000")
    canvas.line(0, 0, 5, 5, "#0000ff")
    canvas.text(8, 4, "<&>", "end")
    picture = ElementTree.fromstring(svg_file(canvas))
    tags = [element.tag.rpartition("}")[2] for element in picture]
    assert (picture.get("width"), picture.get("height")) == ("60", "12")
    assert tags == ["rect", "rect", "line", "text"]
    assert picture[1].attrib == {"x": "1", "y": "2", "width": "3.00", "height": "4.00", "fill": "#ff0000"}
    assert (picture[3].text, picture[3].get("text-anchor")) == ("<&>", "end")
