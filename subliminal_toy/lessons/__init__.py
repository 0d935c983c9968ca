"""Four lessons in percent format, how they become notebooks, and what they do as scripts."""

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from subliminal_toy.errors import UserError
from subliminal_toy.record import Status, silent, write

LESSONS = tuple(sorted(Path(__file__).parent.glob("lesson_*.py")))
"""The lessons in their order; each also runs as a script."""

PICTURES = Path("pictures")
"""Where a lesson that runs as a script saves its pictures."""
KERNEL = "python3"  # ipykernel's own: the Python that is running


def begin(text: str | None) -> None:
    """Print a lesson's opening with its questions, which a notebook shows as its first cell."""
    if not _in_a_notebook():
        print(text)


def picture(name: str, figure: Any = None) -> Any:
    """Save a figure, or that which was drawn last, and say where.

    A notebook shows it: that drawn last by itself, another one because it is returned.
    """
    if _in_a_notebook():
        return figure
    from matplotlib import pyplot

    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"{name}.png"
    (figure or pyplot.gcf()).savefig(path)
    pyplot.close()
    print(f"\n[picture: {path}]")


def _in_a_notebook() -> bool:
    return "ipykernel" in sys.modules


def write_notebooks(
    directory: Path,
    status: Status = silent,
    lessons: tuple[Path, ...] = LESSONS,
    scratch: Path | None = None,
) -> list[Path]:
    """Run the lessons as notebooks, write them into ``directory`` and return their paths.

    Temporary files of the kernels are in ``scratch``. Raises UserError if a package of the extra
    ``lessons`` is missing.
    """
    try:
        jupytext, nbclient, nbformat, traitlets, _ = map(
            import_module, ("jupytext", "nbclient", "nbformat", "traitlets.config", "ipykernel")
        )
    except ImportError as error:
        raise UserError(
            f"Notebooks need the package {error.name}: "
            'install the extra lessons, python -m pip install -e ".[lessons]".'
        ) from error
    written = []
    for number, lesson in enumerate(lessons):
        status(number / len(lessons), f"lesson {number + 1} of {len(lessons)}")
        notebook = jupytext.read(lesson, fmt="py:percent")
        notebook.metadata["kernelspec"] = {"name": KERNEL, "display_name": "Python 3"}
        for i, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{i}"  # else random ones: the same lesson is the same file
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            # Through files of our own, not TCP ports, about which Jupyter warns.
            kernel = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
            nbclient.NotebookClient(
                notebook,
                kernel_name=KERNEL,
                timeout=None,
                record_timing=False,
                coalesce_streams=True,
                config=traitlets.Config({"KernelManager": kernel}),
            ).execute()
        directory.mkdir(parents=True, exist_ok=True)
        written.append(directory / f"{lesson.stem}.ipynb")
        write(written[-1], (nbformat.writes(notebook) + "\n").encode())
    status(1.0, "notebooks written")
    return written
