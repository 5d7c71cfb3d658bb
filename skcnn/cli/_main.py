"""Parser and entry point. Nothing heavy is imported until a command runs, so help is instant."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

from skcnn import __version__
from skcnn.cli._errors import CommandError

_EXIT_CODES = """\
exit codes:
  0    done
  1    some of the work failed: every pipeline, the final fit, or one of the images
  2    nothing was done: wrong usage, unreadable data, an output folder that exists
  130  stopped with Ctrl-C
"""

_COMPARE = """\
Compare image classification pipelines on the same folds, from raw pixels to a convolutional
network, each tuned by a small search inside every training fold.

Prints the ranking and writes to the output folder
  comparison.html  a report in one page: scores, costs, chosen parameters, setting
  comparison.csv   one row a pipeline
  best.joblib      the best pipeline, fitted on all images, for `skcnn predict`
"""

_COMPARE_EXAMPLES = """\
examples:
  skcnn compare                                  scikit-learn's handwritten digits
  skcnn compare flowers/ --size 32x32            flowers/rose/1.jpg, flowers/tulip/7.png, ...
  skcnn compare mnist.npz --quick --cv 3         arrays X (images) and y (labels)
  skcnn compare --pipelines mlp,cnn --seed 1

"""

_PREDICT = """\
Classify image files with a model that `skcnn compare` wrote. Prints one line an image: file, label
and probability of the label, separated by tabs.

A model is a pickle, and loading a pickle runs what it holds: use files of your own or from someone
you trust.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``skcnn`` command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    code : int
        The exit code.

    Examples
    --------
    >>> from skcnn.cli import main
    >>> main(["compare", "--pipelines", "cnm"])  # says on stderr: did you mean 'cnn'?
    2
    """
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    _escape_what_cannot_be_encoded()
    try:
        code = import_module(f"skcnn.cli._{arguments.command}").run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except CommandError as error:
        _report(arguments.command, f"error: {error}")
        return 2
    except KeyboardInterrupt:
        _report(arguments.command, "stopped.")
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has left; Python would complain at exit otherwise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, say
        _report(arguments.command, f"error: {error}")
        return 1


def _escape_what_cannot_be_encoded() -> None:
    # A terminal or pipe that knows ASCII only gets escapes for the rest, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _report(command: str, message: str) -> None:
    from skcnn.cli._messages import say

    say(f"skcnn {command}: {message}")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="skcnn",
        description="Image classification the scikit-learn way: which pipeline, at what cost?",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"skcnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_compare(commands)
    _add_predict(commands)
    return parser


def _add_compare(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare pipelines on your images",
        description=_COMPARE,
        epilog=_COMPARE_EXAMPLES + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="a folder with one sub-folder of image files a class, or an .npz file with arrays X "
        "(images) and y (labels); scikit-learn's digits if left out",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="skcnn-comparison",
        help="folder to write to (default: %(default)s); one that exists is left alone",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the three files in an existing output folder"
    )
    parser.add_argument(
        "--pipelines",
        metavar="LIST",
        type=_names,
        help="which pipelines, separated by commas (default: all)",
    )
    parser.add_argument(
        "--list-pipelines", action="store_true", help="print the pipelines' names and stop"
    )
    parser.add_argument(
        "--cv", metavar="N", type=_fold_count, default=5, help="number of folds (default: 5)"
    )
    parser.add_argument(
        "--scoring",
        metavar="NAME",
        default="accuracy",
        help="a scikit-learn metric such as balanced_accuracy or f1_macro (default: %(default)s)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="no parameter search and fewer epochs: a first look, several times faster",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        default="resnet50",
        help="the pre-trained network: vgg16, inception_v3, efficientnet_b0, or another of timm's "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        default="cached",
        help="its weights, .safetensors or .pth (default: the published ones, if they are in the "
        "cache of the Hugging Face hub; nothing is downloaded)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=_seed, default=0, help="of folds and networks (default: 0)"
    )
    parser.add_argument(
        "--jobs", metavar="N", type=_job_count, help="processes at a time (default: all cores)"
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        type=_size,
        help="height and width that the images of a folder are brought to (default: their own if "
        "all are equal and at most 128 pixels, else 64x64)",
    )
    parser.add_argument(
        "--mode",
        choices=("rgb", "grey"),
        help="how the images of a folder are read (default: grey if none is stored in colours)",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _add_predict(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "predict",
        help="classify image files with the best pipeline",
        description=_PREDICT,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="the best.joblib of `skcnn compare`")
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image files; a folder stands for all files below it with names of images",
    )


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("name at least one pipeline")
    return names


def _fold_count(text: str) -> int:
    return _integer(text, at_least=2, what="a number of folds, at least 2")


def _seed(text: str) -> int:
    return _integer(text, at_least=0, at_most=2**32 - 1, what="a number from 0 to 4294967295")


def _job_count(text: str) -> int:
    return _integer(text, at_least=1, what="a number of processes, at least 1")


def _integer(text: str, *, at_least: int, at_most: float = float("inf"), what: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = at_least - 1
    if not at_least <= number <= at_most:
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
    return number


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"expected height and width such as 32x48, or 32 for both, got {text!r}"
        )
    height, width = match.group(1), match.group(2) or match.group(1)
    return int(height), int(width)
