import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from moola_pipeline.labeler.server import FILES, PAGE
from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.labeler import page_types

PAGE_FOLDER = PROJECT_ROOT / "moola_pipeline" / "labeler" / "page"
LIBRARY = "lightweight-charts.js"


def test_the_types_of_the_page_are_right():
    tsc = page_types.compiler()
    if tsc is None:
        pytest.skip("needs the TypeScript compiler (make test installs it by npm)")
    assert page_types.type_errors(tsc) == ""


def test_a_wrong_type_would_be_found(tmp_path: Path):
    tsc = page_types.compiler()
    if tsc is None:
        pytest.skip("needs the TypeScript compiler (make test installs it by npm)")
    shutil.copytree(PAGE_FOLDER, tmp_path / "page")
    path = tmp_path / "page" / "marking.js"
    path.write_text(path.read_text().replace("LAST_BAR = 104", 'LAST_BAR = "104"'))
    settings = page_types.SETTINGS.read_text().replace(
        "../../moola_pipeline/labeler/page", str(tmp_path / "page")
    )
    (tmp_path / "tsconfig.json").write_text(settings)
    done = subprocess.run([str(tsc), "-p", str(tmp_path)], capture_output=True, text=True, check=False)
    assert "marking.js" in done.stdout


def test_every_file_that_the_page_loads_is_shipped():
    text = "".join(entry.read_text() for name, entry in FILES.items() if name != LIBRARY)
    loaded = {*re.findall(r'"page/([\w.-]+)"', text), *re.findall(r'from "\./([\w.-]+)"', text)}
    assert loaded <= FILES.keys()
    assert {"app.js", "style.css", LIBRARY, "examples.json"} <= loaded


def test_the_chart_library_comes_with_license_notice_and_attribution():
    banner = FILES[LIBRARY].read_text()[:300]
    assert "TradingView Lightweight Charts™ v5.2" in banner
    assert "Apache License" in FILES["LICENSE.lightweight-charts.txt"].read_text()
    assert (
        "TradingView, Inc. https://www.tradingview.com/" in FILES["NOTICE.lightweight-charts.txt"].read_text()
    )
    page = FILES["index.html"].read_text()
    assert 'href="https://www.tradingview.com/"' in page
    assert "attributionLogo: true" in FILES["chart.js"].read_text()


def test_nothing_is_loaded_from_another_server():
    for name, entry in FILES.items():
        if name.endswith((".js", ".html", ".css")) and name != LIBRARY:
            addresses = re.findall(r"https?://[\w./-]+", entry.read_text())
            assert {*addresses} <= {"https://www.tradingview.com/"}, name


def test_a_reader_has_less_than_a_thousand_lines_before_him():
    own = [entry for name, entry in FILES.items() if name.endswith(".js") and name != LIBRARY]
    assert sum(len(entry.read_text().splitlines()) for entry in own) < 1_000


@pytest.mark.slow
def test_a_built_wheel_holds_the_page(tmp_path: Path):
    source = tmp_path / "source"
    shutil.copytree(
        PROJECT_ROOT / "moola_pipeline",
        source / "moola_pipeline",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT_ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if "/labeler/page/" in name}
    assert held == {f"moola_pipeline/labeler/page/{entry.name}" for entry in PAGE.iterdir()}


def test_the_examples_are_those_of_the_simulated_annotator():
    from moola_pipeline_tests.labeler.examples import content

    assert FILES["examples.json"].read_bytes() == content()
