"""The page: one HTML file that needs nothing else.

Style, script, figures and the arrays that the script uses are inside it.
"""

import base64
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from subliminal_toy import __version__, plots
from subliminal_toy.errors import UserError
from subliminal_toy.records import Record
from subliminal_toy.report.payloads import PAYLOADS
from subliminal_toy.report.tables import Records, claims_rows
from subliminal_toy.report.words import SECTIONS
from subliminal_toy.stats import NOT_TESTED, REPRODUCED

HERE = Path(__file__).parent


class Entry(NamedTuple):
    """A record on the page: ``figures`` are images in base64, ``data`` what the script uses."""

    anchor: str
    title: str
    experiment: str
    dataset: str
    figures: dict[str, str]
    data: dict[str, Any] | None
    provenance: dict[str, Any]


def page(records: Records) -> str:
    """Return the page: claims, then for each record what to try, its figures, its provenance.

    The same records give the same bytes. Raises UserError if there are none, or one of an
    experiment that has no section.
    """
    if not records:
        raise UserError("A report needs at least one finished record.")
    experiments = [record.manifest["experiment"] for record in records.values()]
    for unknown in set(experiments) - set(SECTIONS):
        raise UserError(f"The page has no section for the experiment '{unknown}'.")
    several = {name for name in experiments if experiments.count(name) > 1}
    ordered = {
        folder: record
        for name in SECTIONS
        for folder, record in records.items()
        if record.manifest["experiment"] == name
    }
    rows = claims_rows(ordered)
    # Everything from a record is escaped; style and script are the package's own.
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return environment.get_template("page.html").render(
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        rows=rows,
        n_tested=sum(row.verdict != NOT_TESTED for row in rows),
        n_reproduced=sum(row.verdict == REPRODUCED for row in rows),
        sections=SECTIONS,
        entries={
            folder: _entry(f"record-{i}", folder, record, several)
            for i, (folder, record) in enumerate(ordered.items())
        },
        version=__version__,
    )


def _entry(anchor: str, folder: str, record: Record, several: set[str]) -> Entry:
    """Return what the page shows of a record; ``several`` experiments have more than one."""
    experiment = record.manifest["experiment"]
    title = SECTIONS[experiment].title
    # Images, so that names and styles inside a figure stay its own.
    images = {name: plots.svg(figure) for name, figure in plots.draw(record).items()}
    return Entry(
        anchor=anchor,
        title=f"{title} ({folder})" if experiment in several else title,
        experiment=experiment,
        dataset=record.summary.get("dataset") or "",
        figures={name: base64.b64encode(image).decode() for name, image in images.items()},
        data=PAYLOADS[experiment](record),
        provenance=_provenance(folder, record.manifest),
    )


def _provenance(folder: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest says of the run, by what each line is called."""
    shown = {
        "command": f"subliminal-toy {manifest['command']}",
        "record": folder,
        "git commit": manifest["git_commit"] or "not run from a checkout",
        "versions": ", ".join(
            f"{name} {version}" for name, version in manifest["versions"].items()
        ),
        "device": manifest["device"],
        "seed": f"{manifest['seed']} ({manifest['key_implementation']})",
        "settings": _listed(manifest["config"]),
        **{f"SHA-256 of {name}": digest for name, digest in manifest["sha256"].items()},
    }
    if "data_sha256" in manifest:
        shown["SHA-256 of the data"] = manifest["data_sha256"]
    return shown


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
