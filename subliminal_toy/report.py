"""Records in words: claims, findings and the blocks of README and documents that are made of them.

Every number is made from a record: its estimates, its data, or its manifest.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from subliminal_toy import findings
from subliminal_toy.claims import Claim, Judgement, Verdict
from subliminal_toy.classifier.claims import alone
from subliminal_toy.errors import UserError, printable
from subliminal_toy.experiments import EXPERIMENTS
from subliminal_toy.findings import Records, dataset, first, measured, network, number
from subliminal_toy.record import Record
from subliminal_toy.stats import Estimate
from subliminal_toy.sweep.claims import set_ups

ORDER = "TMGLREDPC"
"""First letters of the claims' ids, as tables are sorted."""


def place(claim: Claim) -> tuple[int, str]:
    """Return what claims are sorted by."""
    return ORDER.find(claim.id[0]) % len(ORDER), claim.id


class ClaimRow(NamedTuple):
    """A judged claim of one record, as text; ``fixed``: whether its criterion is older."""

    claim: Claim
    folder: str
    setting: str
    measured: str
    fixed: str
    verdict: str
    reason: str


def claims_rows(records: Records) -> list[list[ClaimRow]]:
    """Return the judged claims in the order of their ids, of each its rows, the reference's first.

    The reference record is that of most replicates, then of most traits; of two records with the
    same setting only that one is kept.
    """

    def rank(judged: tuple[str, Record, Judgement]) -> tuple:
        sizes = judged[1].data.sizes
        return place(judged[2].claim), -sizes.get("replicate", 0), -sizes.get("trait", 0)

    judged, rows = ((f, r, j) for f, r in records.items() for j in r.judgements), {}
    for folder, record, (claim, estimates, verdict, reason) in sorted(judged, key=rank):
        where, what = setting(record), f"{claim.conditions[0].what} {measured(estimates[0])}"
        row = ClaimRow(claim, folder, where, what, fixed(record, claim), verdict, reason)
        rows.setdefault((claim.id, where), row)
    return [list(of_one) for _, of_one in groupby(rows.values(), key=lambda row: row.claim.id)]


def fixed(record: Record, claim: Claim) -> str:
    """Say whether a criterion is that by which the run was judged.

    Manifests of older runs hold no hashes of claims; of them the claim says what is known.
    """
    then = record.manifest.get("claims", {}).get(claim.id)
    if then is None:
        return f"{claim.fixed} ({claim.commits})" if claim.commits else claim.fixed
    return "yes" if then == claim.sha256 else "no: changed since, see docs/changes.md"


def setting(record: Record) -> str:
    """Return the data, the network and the number of replicates of a record in words."""
    attrs, sizes = record.data.attrs, record.data.sizes
    words = [dataset(record)]
    if "hidden_sizes" in attrs:
        words.append(network(attrs))
    if "replicate" in sizes:
        words.append(f"n = {sizes['replicate']}")
    return ", ".join(words)


def criteria_block(records: Records) -> str:
    """Return every claim of the package with its criterion, its kind and its SHA-256."""
    modules = [entry.module("claims") for entry in EXPERIMENTS.values()]
    every = {c.id: c for m in modules for c in (*m.CLAIMS, *getattr(m, "EARLIER", ()))}
    lines = []
    for claim in sorted(every.values(), key=place):
        kind = "The paper's claim" if claim.kind == "paper" else "Our prediction"
        lines += [
            f'### <a id="{claim.id}"></a>{claim.id}: {claim.sentence}', "",
            f"{kind} ({claim.source}). SHA-256 `{claim.sha256}`", "",
            *(f"- {markdown(str(condition))}" for condition in claim.conditions), "",
        ]  # fmt: skip
    return "\n".join(lines).strip()


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; ``head`` is its first line."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *lines])


def judged_block(records: Records) -> str:
    """Return the verdict on every claim in every setting, with its record."""
    cells = []
    for row in (row for rows in claims_rows(records) for row in rows):
        verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
        link, what = f"[{row.claim.id}](#{row.claim.id})", markdown(row.measured)
        cells.append((link, row.setting, what, verdict, row.fixed))
    head = "| | in | first condition [95 %] | verdict | criterion older than the run? |"
    return table(head, cells)


def paper_rows(records: Records) -> list[tuple[ClaimRow, str]]:
    """Return the paper's claims: the row of the reference record, and in short what came out."""
    found = []
    for reference, *others in claims_rows(records):
        if reference.claim.kind == "paper":
            here = findings.here(reference.claim.id, records[reference.folder])
            elsewhere = {row.verdict: row.setting.partition(",")[0] for row in others}
            here += "".join(f"; {where}: {verdict}" for verdict, where in elsewhere.items())
            found.append((reference, here))
    return found


def claims_block(records: Records) -> str:
    """Return the paper's claims, a row each: what came out here, the paper, the verdict.

    A star marks those whose criterion is not older than the run.
    """
    rows = []
    for row, here in paper_rows(records):
        claim, star = row.claim, "" if row.fixed.startswith("yes") else "*"
        cells = (f"{claim.id} {claim.sentence}", here, claim.paper, row.verdict + star)
        rows.append(map(markdown, cells))
    shown = table("| the paper's claim | here [95 %] | paper | |", rows)
    return f"{shown}\n\n{markdown('* rule written after the run')}"


def predictions_block(records: Records) -> str:
    """Return our own predictions, a row each, which held if they held in all that decide them."""
    cells = []
    for rows in claims_rows(records):
        claim = rows[0].claim
        if claim.kind == "prediction":
            every = {row.verdict for row in rows} - {Verdict.NOT_TESTED} or {Verdict.NOT_TESTED}
            verdict = every.pop() if len(every) == 1 else "held in part"
            where = "; ".join(f"{row.setting}: {row.measured}, {row.verdict}" for row in rows)
            said = f"{claim.id} {markdown(claim.sentence)}"
            cells.append((said, markdown(where), f"**{verdict}**"))
    return table("| our prediction | measured [95 %] | |", cells)


def news_block(records: Records) -> str:
    """Return the table of what was reported and what was found."""
    rows = findings.news_rows(records)
    return table("| the news | here |", rows.items()) if rows else ""


def findings_block(records: Records) -> str:
    """Return the findings, a paragraph each, with its figure beside it."""
    parts = []
    for finding in findings.findings(records):
        parts.append(f"### {finding.title}\n\n{finding.text}")
        if finding.figure:
            parts.append(f"![{finding.title}]({finding.figure})")
    return "\n\n".join(parts)


def published_block(records: Records) -> str:
    """Return the accuracies of the paper's protocol beside the paper's."""
    m = first(records, "classifier", "cross_all")
    if m is None or not m.data.attrs["published"]:
        return ""
    z = m.labelled("accuracy − published, in combined standard errors")
    rows = []
    for arm, paper in m.labelled("published accuracy").items():
        name, here = arm.replace("_", "\\_"), measured(m("accuracy", arm))
        rows.append((name, here, measured(paper), number(z[arm].value, 1)))
    return table("| arm | here [95 %] | paper | z |", rows)


def compared_block(records: Records) -> str:
    """Return the published values, a row each: the one here, and what explains that one."""
    m = first(records, "compare")
    if m is None:
        return ""
    data = m.data
    here, z = m.labelled("accuracy"), m.labelled("here − published, z")
    beside = (data.progress, alone(data, "along"), alone(data, "sum"))
    rows = []
    for label, arm, value, half in zip(
        set_ups(data), data.published_arm.values, data.published.values, data.half_width.values,
        strict=True,
    ):  # fmt: skip
        theirs = number(value, 3)
        if np.isfinite(half):
            theirs = measured(Estimate(value, value - half, value + half, 0))
        explained = (float(values.sel(arm=arm).mean()) for values in beside)
        rows.append((
            markdown(label), theirs, measured(here[label]), number(here[label].value - value, 3),
            number(z[label].value, 1) if label in z else "",
            *(number(e, 2) if np.isfinite(e) else "" for e in explained),
        ))  # fmt: skip
    head = "| set-up | published | here [95 %] | difference | z | progress | line | sum |"
    return table(head, rows)


def records_block(records: Records) -> str:
    """Return the command of every record and the commits that it was computed at, a row each."""
    rows = []
    for folder, record in records.items():
        command = record.manifest["command"].replace(" --out DIR", "").replace(" --resume", "")
        commits = dict.fromkeys((o["commit"] or "")[:7] for o in record.manifest.get("origins", []))
        made = f"<code>subliminal-toy {markdown(command)}</code>"
        rows.append((f"[{markdown(Path(folder).name)}]({folder}/)", made, ", ".join(commits)))
    return table("| record | made by | at |", rows)


BLOCKS: Mapping[str, Callable[[Records], str]] = {
    "opening": findings.opening,
    "claims": claims_block,
    "news": news_block,
    "beyond": findings.beyond,
    "limits": lambda records: "\n".join(f"- {limit}" for limit in findings.LIMITS),
    "findings": findings_block,
    "predictions": predictions_block,
    "published": published_block,
    "compared": compared_block,
    "records": records_block,
    "criteria": criteria_block,
    "judged": judged_block,
}
"""What a Markdown file can hold between ``<!-- name -->`` and ``<!-- /name -->``."""


def update_blocks(text: str, records: Records) -> str:
    """Rewrite each block of a text. Raises UserError if it has none, or an unpaired marker."""
    present = [name for name in BLOCKS if f"<!-- {name} -->" in text or f"<!-- /{name} -->" in text]
    if not present:
        raise UserError(f"The text has no block: <!-- {' -->, <!-- '.join(BLOCKS)} -->.")
    for name in present:
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise UserError(f"The text must hold {begin} and then {end}, each once.")
        before, after = text.partition(begin)[0], text.partition(end)[2]
        text = f"{before}{begin}\n{BLOCKS[name](records)}\n{end}{after}"
    return text


def markdown(text: str) -> str:
    """Escape what Markdown would take for markup or the end of a cell."""
    line = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*~$|]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)
