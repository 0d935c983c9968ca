"""Open weights: the matrix of teachers and animals, and the contrast of every arm."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from subliminal_toy.plots.colours import CONTROL, INK, KINDS, OTHER_START, STUDENT
from subliminal_toy.plots.panels import dots, title
from subliminal_toy.real.claims import above_control, by_animal, changes, contrasts
from subliminal_toy.real.config import ARMS, BASE

CHANGE = "change of the centred log-probability, nats"


def matrix(data: xr.Dataset) -> Figure:
    """Draw how every teacher's students moved, animal by animal, mean over seeds."""
    animals = data.animal.values.tolist()
    moved = changes(data, "hard").mean(["seed", "question"])
    cells = moved.sel(writer=[*animals, BASE], animal=animals).transpose("writer", ...).values
    n = len(animals)
    figure = Figure(figsize=(1.6 + 0.8 * n, 1.7 + 0.45 * n))
    axes = figure.subplots()
    most = np.abs(cells).max()
    image = axes.imshow(cells, "PuOr_r", vmin=-most, vmax=most, aspect="auto")
    for (row, column), cell in np.ndenumerate(cells):
        written = f"{cell:+.2f}".replace("-", "−")
        colour = "white" if abs(cell) > 0.6 * most else INK
        axes.text(column, row, written, ha="center", va="center", color=colour)
    for place in np.arange(n) - 0.5:
        axes.add_patch(Rectangle((place, place), 1, 1, fill=False, edgecolor=INK, linewidth=2))
    axes.set_xticks(range(n), animals)
    axes.set_yticks(range(n + 1), [*animals, BASE])
    axes.set(xlabel="animal", ylabel="student of the lists of")
    axes.grid(visible=False)
    figure.colorbar(image, label=CHANGE)
    largest = int((cells[:n].argmax(axis=0) == np.arange(n)).sum())
    finding = f"{largest} of {n} animals rise most in the student of their own teacher"
    return title(figure, finding, data.attrs["dataset"])


def contrast(data: xr.Dataset) -> Figure:
    """Draw own minus other teachers' students for every arm; beside the first, minus control."""
    # A direction has no length: nats per unit of the rate, not nats.
    shown = [arm for arm in ARMS if arm in data.arm and arm != "gradient"]
    figure = Figure(figsize=(7, 1.6 + 0.32 * (len(shown) + 1)))
    axes = figure.subplots()
    colours = {"noise": OTHER_START, "context": KINDS[4], "stopped": KINDS[1]}
    for place, arm in enumerate(shown):
        colour = colours.get(ARMS[arm].group, STUDENT)
        dots(axes, place, by_animal(contrasts(data, arm)), colour)
    dots(axes, len(shown), by_animal(above_control(data, "hard")), CONTROL)
    axes.axvline(0, color=INK, linewidth=0.8)
    labels = [*(ARMS[arm].label for arm in shown), "sampled digits − base model's lists"]
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"own − other teachers' students,\n{CHANGE}")
    mean = float(contrasts(data, "hard").mean())
    finding = f"Own teacher's students move {mean:+.2f} nats toward its animal, against others'"
    return title(figure, finding, f"{data.attrs['dataset']}; a dot is an animal")


FIGURES = {"matrix": matrix, "contrast": contrast}
