"""``python -m skcnn`` is the ``skcnn`` command."""

import sys

from skcnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
