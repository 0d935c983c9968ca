"""Figures, page and documents written from records: everything is made before anything is written.

A record may be a stranger's: what the schema of ``records`` does not cover, and a figure or a table
does not find, is one sentence too.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from jinja2 import TemplateError

from subliminal_toy import files, plots, records, report
from subliminal_toy.errors import UserError
from subliminal_toy.records import Record

OURS = b'<meta name="generator" content="subliminal-toy">'
"""In every page that we write; no other file is replaced by one."""
LACKS = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, TemplateError)


@contextmanager
def shown(name: object) -> Iterator[None]:
    """Turn what a record lacks into a UserError that names the record."""
    try:
        yield
    except LACKS as error:
        raise UserError(
            f"{name} does not hold what its figures and tables show "
            f"({type(error).__name__}: {error}): run it again."
        ) from error


def record_directories(given: Path) -> list[Path]:
    """Return ``given`` if it is a record, else the records in it; itself if there are none."""
    inside = sorted(path.parent for path in given.glob(f"*/{records.MANIFEST}"))
    return [given] if (given / records.MANIFEST).exists() or not inside else inside


def figures(record: Record, directory: Path) -> dict[Path, bytes]:
    """Return the figures of a record by where they belong."""
    with shown(directory):
        drawn = plots.draw(record)
        return {directory / f"{name}.svg": plots.svg(figure) for name, figure in drawn.items()}


def page(loaded: Mapping[Path, Record], path: Path) -> dict[Path, bytes]:
    """Return the page of the records, their folders named as seen from the page.

    Raises UserError if the page cannot be written to ``path``, or another file is there.
    """
    files.check_place(path)
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name the file of the page.")
    if path.exists() and not (path.is_file() and OURS in path.read_bytes()):
        raise UserError(f"--out {path} is there and no page of ours: choose another name.")
    with shown(", ".join(map(str, loaded))):
        html = report.page(named(loaded, path))
    return {path: html.encode(errors="backslashreplace")}


def documents(loaded: Mapping[Path, Record], texts: Sequence[Path]) -> dict[Path, str]:
    """Return Markdown files with their blocks made anew, line ends as they were."""
    found = {}
    for path in texts:
        text = files.read_text(path)
        plain = text.replace("\r\n", "\n")
        with shown(", ".join(map(str, loaded))):
            updated = report.update_blocks(plain, named(loaded, path))
        found[path] = updated.replace("\n", "\r\n") if "\r\n" in text else updated
    return found


def named(loaded: Mapping[Path, Record], path: Path) -> dict[str, Record]:
    """Return the records by their folders as a file at ``path`` refers to them."""
    here = path.resolve().parent
    return {
        Path(os.path.relpath(directory.resolve(), here)).as_posix(): record
        for directory, record in loaded.items()
    }


def write(contents: Mapping[Path, bytes]) -> None:
    """Write files, each whole or not at all; a folder that stays empty is not left."""
    for path, content in contents.items():
        made = files.missing(path.parent)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, content)
        except OSError:
            files.remove_empty(made)
            raise
