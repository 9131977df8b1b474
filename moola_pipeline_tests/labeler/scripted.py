"""Keys and seconds of ten scripted windows in a real browser, on five years of simulated bars.

    python -m moola_pipeline_tests.labeler.scripted

The script presses its keys without thinking: what it measures is the page and the server, not a person.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.simulated import FULL_SETTINGS, simulate
from moola_pipeline.bars.store import registered_store
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.labeler.served import LabelerProcess, browser
from moola_pipeline_tests.labeler.test_page import by_keyboard, planned_marks, tab

N_WINDOWS = 10


def main() -> None:
    """Label ten windows and print what it took."""
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        path, home = Path(folder) / "bars.parquet", Home(Path(folder) / "home")
        simulate(FULL_SETTINGS).bars.loc[:, list(RAW_COLUMNS)].to_parquet(path, index=False)
        add_bars(registered_store(home), path, VendorOptions(instrument="NQ"))
        labeler = LabelerProcess(home.root, "--annotator", "script")
        seconds, keys, marks = [], [], []
        with tab(chromium, labeler.link) as page:
            for number in range(N_WINDOWS):
                marks.append(len(planned_marks(number)))
                begun = time.perf_counter()
                keys.append(by_keyboard(page, planned_marks(number)))
                seconds.append(time.perf_counter() - begun)
        labeler.stop()
    sys.stdout.write("window  expansions  keys  seconds\n")
    for number, row in enumerate(zip(marks, keys, seconds, strict=True), 1):
        sys.stdout.write(f"{number:>6}  {row[0]:>10}  {row[1]:>4}  {row[2]:>7.2f}\n")
    sys.stdout.write(f"median  {np.median(keys):.0f} keys, {np.median(seconds):.2f} seconds\n")


if __name__ == "__main__":
    main()
