"""`python -m moola_pipeline` is `moola`."""

import sys

from moola_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
