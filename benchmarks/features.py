"""How fast the hand-crafted features are, beside OpenCV, kornia, scikit-image and scikit-learn.

    pip install "skcnn[benchmark]"
    python benchmarks/features.py --data FOLDER      # FOLDER holds mnist.npz

One thread each unless a table says otherwise; ratios of medians over interleaved runs.
"""

import argparse
import importlib
import os
from pathlib import Path

SECTIONS = ("hog", "sift", "encoders", "scaling")


def main() -> None:
    """Print the tables of the chosen sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds mnist.npz")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch are imported
    from _timing import print_machine, threads

    print_machine(1)
    with threads(1):
        for section in arguments.only:
            importlib.import_module(f"_{section}").run(arguments.data, arguments.repeats)


if __name__ == "__main__":
    main()
