"""Four lessons in percent format, and how they become notebooks."""

import tempfile
from importlib import import_module
from pathlib import Path

from subliminal_toy.errors import UserError
from subliminal_toy.files import write
from subliminal_toy.runs import Status, silent

LESSONS = tuple(sorted(Path(__file__).parent.glob("lesson_*.py")))
"""The lessons in their order; each also runs as a script."""

KERNEL = "python3"  # ipykernel's own: the Python that is running


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
