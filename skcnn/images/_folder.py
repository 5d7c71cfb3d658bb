"""A folder of class folders as a data set."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skcnn.images._decoding import UnreadableImageError, decode, upright_size
from skcnn.images._files import ImageFiles

_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}
_LISTED = 10


def load_image_folder(
    path: str | os.PathLike,
    *,
    size: tuple[int, int] | None = None,
    mode: str = "rgb",
    on_error: str = "raise",
    verify: bool = True,
) -> Bunch:
    """Load a folder that holds one sub-folder of image files a class.

    Parameters
    ----------
    path : str or path-like
        The folder. Its sub-folders, in alphabetical order, are the classes; each is searched in
        depth, through links too. Hidden files and folders are passed over.

    size : (int, int) or None, default=None
        Height and width of the images. None takes the first file's, and then all must have it.

    mode : {"rgb", "grey"}, default="rgb"
        Whether images have three channels or none.

    on_error : {"raise", "skip"}, default="raise"
        What to do about a file that is no image, is damaged, or is of another size with
        ``size=None``: raise the error that names it, or drop it with a warning that counts and
        lists what was dropped. So it is with a folder that may not be read.

    verify : bool, default=True
        Decode every file once now, so that damaged files are found before any work is done. False
        reads headers only; a truncated file then raises when it is sliced.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ImageFiles of shape (n, height, width) or (n, height, width, 3)
            The images, decoded when sliced.
        target : ndarray of int, shape (n,)
            Class of each image, an index of `target_names`.
        target_names : ndarray of str, shape (n_classes,)
            The names of the sub-folders.
        filenames : ndarray of str, shape (n,)
            The files.

    Raises
    ------
    NotADirectoryError
        If `path` is no folder.

    PermissionError
        If a folder below it may not be read and `on_error` is "raise".

    ValueError
        If it holds no class folders or no images, or a parameter is wrong.

    UnreadableImageError
        If a file cannot be read and `on_error` is "raise".

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skcnn import load_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         os.mkdir(os.path.join(folder, name))
    ...         image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    ...         image.save(os.path.join(folder, name, "1.png"))
    ...     data = load_image_folder(folder)
    ...     print(data.images.shape, data.target, data.target_names)
    (2, 8, 8, 3) [0 1] ['cat' 'dog']
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}.")
    ImageFiles(
        [], size=(1, 1) if size is None else size, mode=mode
    )  # refuses a wrong size or mode before any work
    filenames, labels = _list_files(Path(path), on_error)
    good = _readable(filenames, labels, size, mode, on_error, verify)
    names, target = np.unique(labels[good], return_inverse=True)
    return Bunch(
        images=ImageFiles(filenames[good], size=size, mode=mode),
        target=target,
        target_names=names,
        filenames=filenames[good].astype(str),
    )


def _list_files(folder: Path, on_error: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all candidate files and the name of the class folder that each lies in."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder.")
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and _visible(entry))
    if not classes:
        raise ValueError(f"{folder} holds no sub-folders: one sub-folder of images a class wanted.")
    unreadable: list[OSError] = []
    files = [(file, entry.name) for entry in classes for file in files_below(entry, unreadable)]
    if unreadable and on_error == "raise":
        raise unreadable[0]
    if unreadable:
        warnings.warn(
            f"{len(unreadable)} folders cannot be read and are passed over, {unreadable[0]} first.",
            UserWarning,
            stacklevel=3,
        )
    empty = sorted({entry.name for entry in classes} - {name for _, name in files})
    if empty:
        raise ValueError(f"{folder} has class folders without any file: {', '.join(empty)}.")
    return np.array([str(file) for file, _ in files], dtype=object), np.array(
        [name for _, name in files]
    )


def files_below(folder: str | os.PathLike[str], unreadable: list[OSError]) -> list[Path]:
    """Return the files in a folder and all below it, but hidden ones, in alphabetical order.

    Links to folders are followed. The errors of folders that cannot be read go to `unreadable`.
    """
    top = os.fspath(folder)
    found, seen = [], {os.path.realpath(top)}
    for parent, folders, files in os.walk(top, onerror=unreadable.append, followlinks=True):
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in sorted(folders)}
        folders[:] = [
            name for name, place in real.items() if _visible(Path(name)) and place not in seen
        ]
        seen.update(real[name] for name in folders)
        found += [Path(parent, name) for name in files if _visible(Path(name))]
    return sorted(found)


def _visible(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.lower() not in _CLUTTER


def _readable(
    filenames: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int] | None,
    mode: str,
    on_error: str,
    verify: bool,
) -> np.ndarray:
    """Return the mask of the files that can be used; raise or warn about the others."""
    good = np.ones(len(filenames), dtype=bool)
    problems: list[str] = []
    first: tuple[int, int] | None = None
    for index, filename in enumerate(filenames):
        try:
            found = decode(filename, mode).shape[:2] if verify else upright_size(filename)
            if size is None:
                first = found if first is None else first
                _ensure_size(filename, found, first)
        except (UnreadableImageError, OSError) as error:
            if on_error == "raise":
                raise
            good[index] = False
            problems.append(str(error))
    if not good.any():
        raise ValueError(f"none of {len(filenames)} files is a readable image; {problems[0]}")
    if problems:
        _warn_dropped(problems, len(filenames), sorted(set(labels) - set(labels[good])))
    return good


def _ensure_size(filename: str, found: tuple[int, int], expected: tuple[int, int]) -> None:
    if found != expected:
        raise UnreadableImageError(
            f"{filename} has height and width {found}, the first image has {expected}: pass "
            "size=(height, width) to bring all images to one size."
        )


def _warn_dropped(problems: list[str], n_files: int, lost: list[str]) -> None:
    listed = "\n".join(f"  {problem}" for problem in problems[:_LISTED])
    more = f"\n  ... and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    classes = f"\nNo file is left of the classes {', '.join(lost)}." if lost else ""
    warnings.warn(
        f"{len(problems)} of {n_files} files were dropped:\n{listed}{more}{classes}",
        UserWarning,
        stacklevel=4,
    )
