"""A picture of rectangles, lines and short texts, written as SVG or PNG without a drawing library."""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

Anchor = Literal["start", "middle", "end"]
FONT = "ui-sans-serif, system-ui, sans-serif"
FONT_PIXELS = 12
INK = "#333333"
GLYPHS = {
    "0": "0e11131519110e", "1": "040c040404040e", "2": "0e11010204081f", "3": "1f02040201110e",
    "4": "02060a121f0202", "5": "1f101e0101110e", "6": "0608101e11110e", "7": "1f010204080808",
    "8": "0e11110e11110e", "9": "0e11110f01020c", ":": "000c0c000c0c00", ".": "00000000000c0c",
    ",": "000000000c0408", "-": "0000001f000000", "+": "0004041f040400", " ": "00000000000000",
    "U": "1111111111110e", "T": "1f040404040404", "C": "0e11101010110e", "k": "10101214181412",
    "=": "00001f001f0000", "A": "0e11111f111111", "R": "1e11111e141211",
}  # fmt: skip
"""Seven rows of five dots each, as hexadecimal digits: what prices, times and settings are written in."""
GLYPH_DOTS = 6
"""Width of a character with the gap behind it."""


@dataclass(frozen=True)
class _Shape:
    kind: Literal["rect", "line", "text"]
    at: tuple[float, float, float, float]
    color: str
    text: str = ""
    anchor: Anchor = "start"


@dataclass
class Canvas:
    """What is drawn, in the order of drawing; pixels, y grows downward.

    Attributes:
        width, height: Size of the picture.
    """

    width: int
    height: int
    shapes: list[_Shape] = field(default_factory=list)

    def rect(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """Fill a rectangle; `color` is #rrggbb, here and below."""
        self.shapes.append(_Shape("rect", (x, y, x + width, y + height), color))

    def line(self, x1: float, y1: float, x2: float, y2: float, color: str) -> None:
        """Draw a line of about 1.5 pixels."""
        self.shapes.append(_Shape("line", (x1, y1, x2, y2), color))

    def text(self, x: float, y: float, text: str, anchor: Anchor = "start", color: str = INK) -> None:
        """Write `text` on the base line `y`; a PNG has glyphs for GLYPHS only."""
        self.shapes.append(_Shape("text", (x, y, x, y), color, text, anchor))


def svg_file(canvas: Canvas) -> bytes:
    """The picture as a file of its own."""
    size = {"width": str(canvas.width), "height": str(canvas.height)}
    box = {"viewBox": f"0 0 {canvas.width} {canvas.height}", "xmlns": "http://www.w3.org/2000/svg"}
    picture = Element("svg", {**size, **box, "font-family": FONT, "font-size": str(FONT_PIXELS)})
    SubElement(picture, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    for shape in canvas.shapes:
        x1, y1, x2, y2 = (f"{number:.2f}".rstrip("0").rstrip(".") for number in shape.at)
        if shape.kind == "rect":
            width, height = shape.at[2] - shape.at[0], shape.at[3] - shape.at[1]
            place = {"x": x1, "y": y1, "width": f"{width:.2f}", "height": f"{height:.2f}"}
            SubElement(picture, "rect", {**place, "fill": shape.color})
        elif shape.kind == "line":
            ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
            SubElement(picture, "line", {**ends, "stroke": shape.color, "stroke-width": "1.5"})
        else:
            place = {"x": x1, "y": y1, "text-anchor": shape.anchor, "fill": shape.color}
            SubElement(picture, "text", place).text = shape.text
    return tostring(picture, encoding="utf-8")


def png_file(canvas: Canvas, scale: int = 2) -> bytes:
    """The picture as PNG, `scale` times as many pixels each way.

    Raises:
        ValueError: If a text holds a character without a glyph.
    """
    pixels = np.full((canvas.height * scale, canvas.width * scale, 3), 255, np.uint8)
    for shape in canvas.shapes:
        color = np.frombuffer(bytes.fromhex(shape.color[1:]), np.uint8)
        if shape.kind == "rect":
            _fill(pixels, np.array(shape.at) * scale, color)
        elif shape.kind == "line":
            _stroke(pixels, np.array(shape.at) * scale, 0.75 * scale, color)
        else:
            _write(pixels, shape, scale, color)
    rows = np.concatenate([np.zeros((len(pixels), 1), np.uint8), pixels.reshape(len(pixels), -1)], axis=1)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _fill(pixels: np.ndarray, box: np.ndarray, color: np.ndarray) -> None:
    left, top, right, bottom = np.rint(box).astype(int)
    right, bottom = max(right, left + 1), max(bottom, top + 1)  # nothing vanishes between two pixels
    pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = color


def _stroke(pixels: np.ndarray, ends: np.ndarray, half_width: float, color: np.ndarray) -> None:
    """Blend in a line: a pixel takes as much of it as the line covers of the pixel's middle."""
    margin = int(half_width) + 2
    left, right = (int(it) for it in np.sort(ends[[0, 2]]))
    top, bottom = (int(it) for it in np.sort(ends[[1, 3]]))
    rows = slice(max(top - margin, 0), max(bottom + margin, 0))
    columns = slice(max(left - margin, 0), max(right + margin, 0))
    part = pixels[rows, columns].astype(float)
    y = np.arange(part.shape[0])[:, None] + rows.start + 0.5 - ends[1]
    x = np.arange(part.shape[1])[None, :] + columns.start + 0.5 - ends[0]
    along = np.array([ends[2] - ends[0], ends[3] - ends[1]])
    share = np.clip((x * along[0] + y * along[1]) / max(float(along @ along), 1e-9), 0, 1)
    away = np.hypot(x - share * along[0], y - share * along[1])
    cover = np.clip(half_width + 0.5 - away, 0, 1)[:, :, None]
    pixels[rows, columns] = np.rint(part * (1 - cover) + color * cover).astype(np.uint8)


def _write(pixels: np.ndarray, shape: _Shape, scale: int, color: np.ndarray) -> None:
    if unknown := set(shape.text) - GLYPHS.keys():
        raise ValueError(f"a PNG can write {''.join(GLYPHS)} only, got {''.join(sorted(unknown))}")
    width = GLYPH_DOTS * len(shape.text) - 1
    x = shape.at[0] - {"start": 0, "middle": width / 2, "end": width}[shape.anchor]
    for i, character in enumerate(shape.text):
        dots = np.unpackbits(np.frombuffer(bytes.fromhex(GLYPHS[character]), np.uint8)[:, None], axis=1)
        for row, column in np.argwhere(dots[:, 3:]).tolist():
            left, top = x + GLYPH_DOTS * i + column, shape.at[1] - 7 + row
            _fill(pixels, np.array([left, top, left + 1, top + 1]) * scale, color)
