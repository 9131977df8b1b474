"""Would it run on macOS and Windows? `python -m moola_pipeline_tests.portability`, which needs the internet.

Two questions that can be answered on Linux: which calls exist here only, by pyright for each platform (a
slow test asks it too), and which pinned packages have a wheel there, by the index's own list of files.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from moola_pipeline.storage.home import PROJECT_ROOT

INDEX = "https://pypi.org/simple"
PINS = PROJECT_ROOT / "requirements.txt"
PYTHON = (3, 11)
WITH_CUDA = "nvidia-"
"""Pins of torch's CUDA build, which exists for Linux and Windows only, begin so."""


class Platform(NamedTuple):
    """A system: pyright's name for it, and the platform tags of its wheels."""

    pyright: str
    tags: tuple[str, ...]


PLATFORMS = {
    "macOS 14 on Apple silicon": Platform("Darwin", tuple(mac_platforms((14, 0), "arm64"))),
    "macOS 14 on Intel": Platform("Darwin", tuple(mac_platforms((14, 0), "x86_64"))),
    "Windows": Platform("Windows", ("win_amd64",)),
}


def calls_missing_on(platform: str) -> list[str]:
    """Lines of pyright about names that the package uses, unguarded, and that a platform lacks."""
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--pythonplatform",
        platform,
        "--outputjson",
        "moola_pipeline",
    ]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [
        f"{it['file'].removeprefix(f'{PROJECT_ROOT}/')}:{it['range']['start']['line'] + 1}: {it['message']}"
        for it in found
    ]


def pins() -> Iterator[tuple[str, str]]:
    """Name and version of each pinned package, without those of torch's CUDA build."""
    for line in PINS.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith(WITH_CUDA):
            requirement = Requirement(text)
            yield canonicalize_name(requirement.name), str(requirement.specifier).removeprefix("==")


def files_of(name: str) -> list[str]:
    """Names of all files of a package, from the index."""
    request = urllib.request.Request(
        f"{INDEX}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [file["filename"] for file in json.load(answer)["files"]]


def has_wheel(files: list[str], version: str, platform: Platform) -> bool:
    """Whether a version has a wheel that installs on a platform, pure Python ones included."""
    usable = set(cpython_tags(PYTHON, platforms=platform.tags))
    usable |= set(compatible_tags(PYTHON, "cp311", platform.tags))
    return any(str(found) == version and tags & usable for found, tags in _wheels(files))


def _wheels(files: list[str]) -> Iterator[tuple[object, frozenset[Tag]]]:
    for name in files:
        if name.endswith(".whl"):
            try:
                _, version, _, tags = parse_wheel_filename(name)
            except InvalidWheelFilename:
                continue
            yield version, tags


def main() -> None:
    """Print both answers for each platform."""
    pinned = list(pins())
    with ThreadPoolExecutor(16) as pool:
        listed = list(pool.map(files_of, [name for name, _ in pinned]))
    for name, platform in PLATFORMS.items():
        missing = [
            f"{package} {version}"
            for (package, version), files in zip(pinned, listed, strict=True)
            if not has_wheel(files, version, platform)
        ]
        calls = calls_missing_on(platform.pyright)
        none = f"; none: {', '.join(missing)}" if missing else ""
        sys.stdout.write(f"{name}: {len(pinned) - len(missing)} of {len(pinned)} pins have a wheel{none}\n")
        sys.stdout.write("\n".join(calls or ["  no unguarded call that is missing there"]) + "\n")


if __name__ == "__main__":
    main()
