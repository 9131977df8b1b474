"""One style for all figures: matplotlib's settings stay as they were, and equal figures give equal bytes."""

from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from moola_pipeline.plotting import INK, STYLE, house_style, picture_file


@house_style()
def drawn(text: str = "price < 3 $ & more") -> Figure:
    figure = Figure((3, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1], [1, 0], "o")
    axes.text(0.5, 0.5, text)
    return figure


def test_text_stays_text_as_it_was_written():
    [text] = [
        it
        for it in ElementTree.fromstring(picture_file(drawn(), ".svg")).iter()
        if it.text and "$" in it.text
    ]
    assert text.text == "price < 3 $ & more"
    assert f"fill: {INK}" in text.get("style", "")


def test_equal_pictures_are_equal_bytes_in_every_thread():
    once = picture_file(drawn(), ".svg")
    with ThreadPoolExecutor(4) as pool:
        assert {*pool.map(lambda _: picture_file(drawn(), ".svg"), range(12))} == {once}
    assert b"<dc:date>" not in once


def test_a_callers_settings_of_matplotlib_are_left_as_they_were():
    before = {name: matplotlib.rcParams[name] for name in STYLE}
    picture_file(drawn(), ".svg")
    assert {name: matplotlib.rcParams[name] for name in STYLE} == before != STYLE
