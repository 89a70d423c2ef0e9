"""Entry point: ``python run_search.py --target tensorrt --budget 8ms``."""

import sys

from nas.cli import main

if __name__ == "__main__":
    sys.exit(main())
