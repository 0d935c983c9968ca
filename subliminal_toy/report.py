"""Records in words: claims, findings and the blocks of README and documents that are made of them.

Every number is made from a record: its estimates, its data, or its manifest.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from subliminal_toy import findings as sentences
from subliminal_toy.claims import Claim, Judgement, Verdict
from subliminal_toy.classifier.claims import alone
from subliminal_toy.errors import UserError, printable
from subliminal_toy.experiments import EXPERIMENTS
from subliminal_toy.findings import (
    DATA,
    LIMITS,
    Finding,
    Records,
    first,
    measured,
    network,
    number,
    of_record,
)
from subliminal_toy.record import Record
from subliminal_toy.stats import Estimate
from subliminal_toy.sweep.claims import set_ups

limits = LIMITS
ORDER = "TMGLREDPC"
"""First letters of the claims' ids, as tables are sorted."""


class ClaimRow(NamedTuple):
    """A judged claim of one record, as text; ``fixed``: whether its criterion is older."""

    id: str
    kind: str
    sentence: str
    setting: str
    measured: str
    criterion: str
    fixed: str
    verdict: str
    reason: str
    folder: str


def claims_rows(records: Records) -> list[ClaimRow]:
    """Return the judged claims in the order of their ids, the reference record of each first.

    The reference record is that of most replicates, then of most traits; of two records with the
    same setting only that one is kept.
    """
    judged = [(f, r, j) for f, r in records.items() for j in r.judgements]
    judged.sort(key=lambda frj: _rank(frj[1], frj[2].claim))
    rows = {}
    for folder, record, judgement in judged:
        where = setting(record)
        rows.setdefault((judgement.claim.id, where), _row(folder, record, where, judgement))
    return list(rows.values())


def _rank(record: Record, claim: Claim) -> tuple:
    sizes = record.data.sizes
    place = ORDER.find(claim.id[0]) % len(ORDER)
    return place, claim.id, -sizes.get("replicate", 0), -sizes.get("trait", 0)


def _row(folder: str, record: Record, where: str, judgement: Judgement) -> ClaimRow:
    claim = judgement.claim
    return ClaimRow(
        claim.id, claim.kind, claim.sentence, where,
        f"{claim.conditions[0].what} {measured(judgement.shown)}", claim.criterion,
        fixed(record, claim), judgement.verdict, judgement.reason, folder,
    )  # fmt: skip


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
    name: str = attrs["dataset"]
    words = [DATA.get(name, name)]
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
    for claim in sorted(every.values(), key=lambda c: (ORDER.find(c.id[0]) % len(ORDER), c.id)):
        kind = "the paper's claim" if claim.kind == "paper" else "our prediction"
        lines += [
            f'### <a id="{claim.id}"></a>{claim.id}: {claim.sentence}', "",
            f"{kind.capitalize()} ({claim.source}). SHA-256 `{claim.sha256}`", "",
            *(f"- {markdown(str(condition))}" for condition in claim.conditions), "",
        ]  # fmt: skip
    return "\n".join(lines).strip()


def judged_block(records: Records) -> str:
    """Return the verdict on every claim in every setting, with its record."""
    head = "| | in | first condition [95 %] | verdict | criterion older than the run? |"
    lines = [head, "|---|---|---|---|---|"]
    for row in claims_rows(records):
        verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
        cells = (f"[{row.id}](#{row.id})", row.setting, markdown(row.measured), verdict, row.fixed)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


class PaperRow(NamedTuple):
    """A claim of the paper, what came out in its reference record, and elsewhere, in short."""

    reference: ClaimRow
    here: str
    paper: str


def paper_rows(records: Records) -> list[PaperRow]:
    """Return the paper's claims, each with its reference record, in the order of their ids."""
    rows = [row for row in claims_rows(records) if row.kind == "paper"]
    found = []
    for id in dict.fromkeys(row.id for row in rows):
        reference, *others = [row for row in rows if row.id == id]
        record = records[reference.folder]
        claim = next(j.claim for j in record.judgements if j.claim.id == id)
        here = sentences.HERE[id](of_record(record))
        elsewhere = {row.verdict: row.setting.partition(",")[0] for row in others}
        here += "".join(f"; {where}: {verdict}" for verdict, where in elsewhere.items())
        found.append(PaperRow(reference, here, claim.paper))
    return found


def claims_block(records: Records) -> str:
    """Return the paper's claims, a row each: what came out here, the paper, the verdict.

    A star marks those whose criterion is not older than the run.
    """
    lines = ["| the paper's claim | here [95 %] | paper | |", "|---|---|---|---|"]
    for row, here, paper in paper_rows(records):
        late = "" if row.fixed.startswith("yes") else "*"
        cells = (f"{row.id} {row.sentence}", here, paper, row.verdict + late)
        lines.append(f"| {' | '.join(map(markdown, cells))} |")
    return "\n".join([*lines, "", markdown("* rule written after the run")])


def predictions_block(records: Records) -> str:
    """Return our own predictions, a row each, which held if they held in all that decide them."""
    rows = [row for row in claims_rows(records) if row.kind == "prediction"]
    lines = ["| our prediction | measured [95 %] | |", "|---|---|---|"]
    for id in dict.fromkeys(row.id for row in rows):
        found = [row for row in rows if row.id == id]
        every = {row.verdict for row in found} - {Verdict.NOT_TESTED} or {Verdict.NOT_TESTED}
        verdict = every.pop() if len(every) == 1 else "held in part"
        where = "; ".join(f"{row.setting}: {row.measured}, {row.verdict}" for row in found)
        lines.append(f"| {id} {markdown(found[0].sentence)} | {markdown(where)} | **{verdict}** |")
    return "\n".join(lines)


def findings_block(records: Records) -> str:
    """Return the findings, a paragraph each, with its figure beside it."""
    parts = []
    for finding in sentences.findings(records):
        parts.append(f"### {finding.title}\n\n{finding.text}")
        if finding.figure:
            parts.append(f"![{finding.title}]({finding.figure})")
    return "\n\n".join(parts)


def compared_block(records: Records) -> str:
    """Return the published values, a row each: the one here, and what explains that one."""
    m = first(records, "compare")
    if m is None:
        return ""
    data = m.data
    here, z = m.labelled("accuracy"), m.labelled("here − published, z")
    beside = (data.progress, alone(data, "along"), alone(data, "sum"))
    lines = [
        "| set-up | published | here [95 %] | difference | z | progress | line | sum |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = zip(set_ups(data), data.published_arm.values, data.published.values,
               data.half_width.values, strict=True)  # fmt: skip
    for label, arm, value, half in rows:
        theirs = number(value, 3)
        if np.isfinite(half):
            theirs = measured(Estimate(value, value - half, value + half, 0))
        explained = (float(values.sel(arm=arm).mean()) for values in beside)
        cells = (
            markdown(label), theirs, measured(here[label]), number(here[label].value - value, 3),
            number(z[label].value, 1) if label in z else "",
            *(number(e, 2) if np.isfinite(e) else "" for e in explained),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def records_block(records: Records) -> str:
    """Return the command of every record and the commits that it was computed at, a row each."""
    lines = ["| record | made by | at |", "|---|---|---|"]
    for folder, record in records.items():
        command = record.manifest["command"].replace(" --out DIR", "").replace(" --resume", "")
        commits = dict.fromkeys((o["commit"] or "")[:7] for o in record.manifest.get("origins", []))
        made = f"<code>subliminal-toy {markdown(command)}</code>"
        cells = (f"[{markdown(Path(folder).name)}]({folder}/)", made, ", ".join(commits))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


BLOCKS: Mapping[str, Callable[[Records], str]] = {
    "opening": sentences.opening,
    "claims": claims_block,
    "news": sentences.news,
    "beyond": sentences.beyond,
    "limits": lambda records: "\n".join(f"- {limit}" for limit in LIMITS),
    "findings": findings_block,
    "predictions": predictions_block,
    "published": sentences.published,
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


def findings(records: Records) -> list[Finding]:
    """Return what the records say in sentences."""
    return sentences.findings(records)


def markdown(text: str) -> str:
    """Escape what Markdown would take for markup or the end of a cell."""
    line = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*~$|]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)
