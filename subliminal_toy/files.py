"""Files that are written whole or not at all, and places looked at before anything is written."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from subliminal_toy.errors import UserError


def write(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` at once or not at all; raises OSError if it cannot.

    The temporary name is always the same, so that what a killed process left is written over.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.unlink(missing_ok=True)  # never through a link that somebody put there
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Read a UTF-8 text with its own line ends; raises UserError if it is none."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text in UTF-8.") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder, not a text.") from error


def rewrite(path: Path, text: str) -> None:
    """Replace the content of a text, keeping its mode, its owner and a link that leads to it."""
    target = path.resolve()
    before = target.stat()
    write(target, text.encode())
    os.chmod(target, before.st_mode & 0o7777)
    with contextlib.suppress(PermissionError):
        os.chown(target, before.st_uid, before.st_gid)


def check_place(path: Path) -> None:
    """Raise UserError if nothing can be made at ``path``: a link, or inside what is no folder."""
    if path.is_symlink():
        raise UserError(f"--out {path} is a link: name the place itself.")
    above = path
    while not os.path.lexists(above):
        above = above.parent
    if above != path and not above.is_dir():
        raise UserError(f"--out {path} cannot be made: {above} is not a folder.")
    if above.is_dir() and not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"--out {path} cannot be made: {above} is not writable.")


def check_folder(path: Path) -> None:
    """Raise UserError unless ``path`` is a writable folder, or one can be made there."""
    check_place(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path} is not a folder: choose another.")


def missing(path: Path) -> list[Path]:
    """Return the folders that ``path`` lacks, from the innermost out."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def remove_empty(folders: list[Path]) -> None:
    """Remove those of the folders that are empty, from the innermost out."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_tree(folder: Path, last: str) -> None:
    """Remove a folder, the file ``last`` after all others, so that it marks what is left."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == last):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


def only_unfinished(folder: Path, name: str, begun: Callable[[Path], bool]) -> Path:
    """Return the one folder of a command under ``folder`` in which a run is to be continued.

    Raises UserError if there is none, or more than one.
    """
    found = [path for path in sorted(folder.glob(f"{name}-*")) if path.is_dir() and begun(path)]
    if not found:
        raise UserError(
            f"There is nothing to resume: no unfinished run of '{name}' under {folder}. Leave "
            "--resume out, or name the folder with --out."
        )
    if len(found) > 1:
        raise UserError(
            f"There are {len(found)} unfinished runs of '{name}': name one with --out: "
            f"{', '.join(map(str, found))}."
        )
    return found[0]
