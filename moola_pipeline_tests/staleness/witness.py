"""Records the files that each asset executes during a run, to compare them with its closure.

python -m moola_pipeline_tests.staleness.witness runs the smoke profile and prints the table.
"""

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from moola_pipeline.code_digests import PACKAGE, is_carrier
from moola_pipeline.instrument_data import choose_instrument_data
from moola_pipeline.settings import PROFILES
from moola_pipeline.staleness.fingerprints import package_code
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.homes import SMOKE, moola

READERS = ("raw_nq_bars", "labeled_expansions")
"""Assets that read an instrument's files; all others depend on the digest of this data."""
READING = ("bars", "labels")
"""The methods of the instrument's data that they call."""


class Witness:
    """Records the package's files that run between the start and the end of each asset's function.

    Threads started in between count for the asset. Code that runs during an import, or below a
    function of `counts_by_value`, does not.

    Attributes:
        executed: Files by asset, by their path in the package.
    """

    def __init__(self) -> None:
        self.executed: dict[str, set[str]] = {asset: set() for asset in STAGES}
        self._asset: str | None = None
        self._paths: dict[CodeType, str | None] = {}

    @contextmanager
    def watching(self) -> Iterator["Witness"]:
        """Watch this thread and new threads."""
        threading.settrace(self._see)
        sys.settrace(self._see)
        try:
            yield self
        finally:
            sys.settrace(None)
            threading.settrace(None)  # pyright: ignore[reportArgumentType]

    def _see(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        """Called for each Python function; a profile hook would also be called for C functions."""
        path = self._path(frame.f_code)
        if path is None:
            return None
        starts = path == f"assets/{frame.f_code.co_name}.py"
        if starts:  # or resumes after a `yield`
            self._asset = frame.f_code.co_name
            frame.f_trace_lines = False
        asset = self._asset
        if asset is not None and path not in self.executed[asset] and self._counts(frame, asset):
            self.executed[asset].add(path)
        return self._see_end if starts else None

    def _see_end(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "return":
            self._asset = None
        return self._see_end

    def _counts(self, frame: FrameType | None, asset: str) -> bool:
        while frame is not None:
            path, name = self._path(frame.f_code), frame.f_code.co_name
            if path is not None and (name == "<module>" or counts_by_value(path, name, asset)):
                return False
            if path == f"assets/{asset}.py" and name == asset:
                return True
            frame = frame.f_back
        return True  # a new thread

    def _path(self, code: CodeType) -> str | None:
        if code not in self._paths:
            file = Path(code.co_filename)
            inside = file.is_relative_to(PACKAGE)
            self._paths[code] = file.relative_to(PACKAGE).as_posix() if inside else None
        return self._paths[code]


def counts_by_value(path: str, function: str, asset: str) -> bool:
    """Whether code below a function only affects data or settings, which count by their digest.

    `staleness` takes fingerprints; `labels/simulated.py` verifies the files of a simulated market;
    `instrument_data` chooses the market and returns its data; what is drawn below `assets/metadata.py`
    stands beside an asset and changes nothing in it.
    """
    if path == "instrument_data.py":
        return asset not in READERS or function not in READING
    return path.startswith("staleness/") or path in ("assets/metadata.py", "labels/simulated.py")


def deciding(asset: str) -> set[str]:
    """The files of an asset's closure, including those of which only a part counts."""
    return {path.partition(":")[0] for path in package_code().of_asset(asset).files}


LISTENERS = {"cli/progress.py"}
"""Files that are told how far an asset is, and hand it nothing."""


def beyond(executed: set[str], asset: str) -> set[str]:
    """Executed files that are neither in the asset's closure nor carriers nor listeners."""
    return {path for path in executed if not is_carrier(path)} - LISTENERS - deciding(asset)


def witnessed(home: Home) -> dict[str, set[str]]:
    """The files that each asset executes in a smoke run in an empty home."""
    choose_instrument_data(home, "simulated", PROFILES["smoke"]).bars()  # simulated first: it is data
    with Witness().watching() as witness:
        moola(home, *SMOKE, "--json")
    return witness.executed


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        executed = witnessed(Home(Path(folder)))
    print(f"{'asset':<22} {'executed':>8} {'carriers':>8} {'closure':>8}  executed beyond the closure")  # noqa: T201
    for asset, files in executed.items():
        carriers = [path for path in files if is_carrier(path)]
        missed = ", ".join(sorted(beyond(files, asset))) or "none"
        print(f"{asset:<22} {len(files):>8} {len(carriers):>8} {len(deciding(asset)):>8}  {missed}")  # noqa: T201


if __name__ == "__main__":
    main()
