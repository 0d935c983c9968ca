"""Tables and the page, from records alone: one source, nothing from outside, safe, same bytes."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import page_records
import pytest
from matplotlib import pyplot

from subliminal_toy import plots, publish, report, stats
from subliminal_toy.classifier.arms import PUBLISHED, STUDENTS
from subliminal_toy.classifier.config import PRESETS
from subliminal_toy.errors import UserError
from subliminal_toy.report import documents
from subliminal_toy.report.payloads import PAYLOADS
from subliminal_toy.report.tables import SECTIONS, ClaimRow


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    return {
        "runs/theorem": page_records.theorem_record(folder / "theorem"),
        "runs/explain": page_records.explain_record(folder / "explain"),
        "runs/classifier": page_records.classifier_record(folder / "classifier"),
        "runs/lm": page_records.lm_record(folder / "lm"),
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return a record that follows the paper, but for the number of replicates."""
    folder = tmp_path_factory.mktemp("published")
    config = replace(PRESETS["paper"], n_replicates=5)
    return page_records.classifier_record(folder, config=config)


@pytest.fixture(scope="module")
def html(records):
    return report.page(records)


def with_claims(record, **fields):
    """Return the record with only its first claim, some of its fields replaced."""
    claim = {**record.summary["claims"][0], **fields}
    return record._replace(summary={**record.summary, "claims": [claim]})


class Elements(HTMLParser):
    """All elements of a page with their attributes; every one that needs an end has one."""

    VOID = ("meta", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.found, self.text, self._open = [], "", []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attrs for tag, attrs in self.found if tag == name]


# ---------- claims ----------


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.5538, (0.4396, 0.668), "0.554 [0.440, 0.668]"),
        (1.0, (0.99963, 1.0), "1.00000 [0.99963, 1.00000]"),
        (0.10345, (0.1031, 0.1038), "0.10345 [0.10310, 0.10380]"),
        (-0.00001, (-0.02, 0.02), "0.000 [−0.020, 0.020]"),
        (0.5, (0.5, 0.5), "0.500 [0.500, 0.500]"),
        (1e-9, (0.0, 1e-8), "0.000000 [0.000000, 0.000000]"),
        (0.25, None, "0.250"),
        (None, None, "–"),
    ],
)
def test_numbers_show_two_figures_of_their_intervals_width(records, value, interval, text):
    one = with_claims(records["runs/classifier"], value=value, interval=interval)
    (row,) = report.claims_rows({"x": one})
    assert row.measured == text


def test_a_row_says_all_of_its_claim(records):
    """A claim made by ``stats.judge`` itself, in every field, on terminal, in Markdown, on page."""
    measured = stats.estimate([0.1, 0.2, 0.3])
    claim = stats.as_json(stats.judge("L5a", "It is so.", "above 0", measured, True))
    one = with_claims(records["runs/lm"], **claim)
    assert report.claims_rows({"runs/lm": one}) == [
        ClaimRow(
            id="L5a",
            statement="It is so.",
            dataset="a small language, numbers 0–99",
            measured="0.200 [−0.048, 0.448]",
            n="3",
            criterion="above 0",
            verdict="reproduced",
            reason="",
            record="runs/lm",
            figure="detectors",
        )
    ]
    assert report.block("criteria", {"runs/lm": one}).splitlines()[2] == (
        "| L5a | It is so. (a small language, numbers 0–99) | 0.200 [−0.048, 0.448] | 3 | above 0 "
        "| reproduced | [figure](runs/lm/detectors.svg), [runs/lm](runs/lm/) |"
    )
    assert "1 of 1 tested claims reproduced." in report.page({"runs/lm": one})


def test_an_untested_claim_says_why_and_counts_as_untested(records):
    claim = stats.as_json(stats.judge("T1", "It is so.", "–", stats.estimate([np.nan] * 2), True))
    assert claim["verdict"] == stats.NOT_TESTED and claim["reason"]
    one = {"c": with_claims(records["runs/classifier"], **claim)}
    (row,) = report.claims_rows(one)
    assert (row.measured, row.reason) == ("–", claim["reason"])
    assert f"| not tested: {claim['reason']} |" in report.block("criteria", one)
    html = report.page(one)
    assert re.search(rf'data-verdict="not tested">not tested</span>: {claim["reason"]}', html)
    assert "0 of 0 tested claims reproduced; 1 not tested." in " ".join(html.split())


def test_the_page_counts_verdicts(records):
    for verdict, count in ((stats.REPRODUCED, "1 of 1"), (stats.NOT_REPRODUCED, "0 of 1")):
        one = with_claims(records["runs/classifier"], verdict=verdict, reason="")
        html = report.page({"c": one})
        assert f"{count} tested claims reproduced." in html
        assert f'<span data-verdict="{verdict}">' in html


def test_every_claim_of_every_experiment_has_a_figure(records):
    rows = report.claims_rows(records)
    assert len(rows) == sum(len(r.summary["claims"]) for r in records.values())
    experiments = {folder: r.manifest["experiment"] for folder, r in records.items()}
    for row in rows:
        assert row.id in SECTIONS[experiments[row.record]]["figures"][row.figure]["claims"]
    figures = [figure for section in SECTIONS.values() for figure in section["figures"].values()]
    shown = {claim for figure in figures for claim in figure["claims"]}
    assert shown >= {row.id for row in rows}


# ---------- published values ----------


def test_published_values_have_their_half_widths_and_z(published):
    """The z is that of two standard errors, ours and a 1.96th of the paper's half-width."""
    header, _, *lines = report.block("published", {"runs/p": published}).splitlines()
    cells = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1:] for line in lines}
    assert list(cells) == list(PUBLISHED) and "paper ± half-width" in header
    for arm, (paper, half_width) in PUBLISHED.items():
        values = published.data.accuracy.sel(arm=arm).values.astype(float)
        error = np.hypot(values.std(ddof=1) / 5**0.5, half_width / 1.96)
        through = published.data.teacher_head_accuracy.sel(arm=arm).values.astype(float)
        ours, n, theirs, difference, z, head, source = cells[arm]
        assert ours.startswith(f"{values.mean():.3f}") and n == "5"
        assert theirs == f"{paper:.4f} ± {half_width:.4f}"
        assert difference == f"{values.mean() - paper:.4f}".replace("-", "−")
        assert float(z.replace("−", "-")) == pytest.approx(
            (values.mean() - paper) / error, abs=0.06
        )
        assert head.startswith(f"{through.mean():.3f} [") and source == "[runs/p](runs/p/) |"


def test_only_runs_that_follow_the_paper_are_compared_with_it(records, published):
    assert len(report.block("published", records).splitlines()) == 2
    both = {**records, "p": published}
    assert len(report.block("published", both).splitlines()) == 2 + len(PUBLISHED)


def test_one_replicate_has_no_z_and_no_interval(tmp_path):
    config = replace(PRESETS["paper"], n_replicates=1)
    record = page_records.classifier_record(tmp_path, config=config)
    lines = report.block("published", {"p": record}).splitlines()[2:]
    assert [line.split(" | ")[5] for line in lines] == ["–"] * len(PUBLISHED)
    plots.draw(record)


# ---------- figures ----------


def test_every_figure_has_a_caption_and_every_caption_a_figure():
    assert set(SECTIONS) == set(plots.FIGURES) == set(PAYLOADS)
    for experiment, section in SECTIONS.items():
        assert set(section["figures"]) == set(plots.FIGURES[experiment])


def test_figures_are_the_same_bytes_again_and_leave_nothing_else(records, tmp_path):
    pyplot.close("all")
    for folder, record in records.items():
        drawn = publish.figures(record, tmp_path / folder)
        names = [f"{name}.svg" for name in plots.FIGURES[record.manifest["experiment"]]]
        assert [path.name for path in drawn] == names
        assert drawn == publish.figures(record, tmp_path / folder)
    assert not list(tmp_path.iterdir()) and not pyplot.get_fignums()


def circles(axes):
    """Return the places of the open circles of a figure's axes."""
    return [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
    ]


def test_the_accuracy_figure_shows_both_class_heads_and_the_paper(published):
    (axes,) = plots.draw(published)["accuracy"].axes
    arms = published.data.arm.values.tolist()
    bars = [bar.get_width() for bar in axes.patches]
    assert bars == pytest.approx(published.data.accuracy.mean("replicate").values.tolist())
    means = published.data.teacher_head_accuracy.mean("replicate")
    students = [student.name for student in STUDENTS]
    assert [x for x, _ in circles(axes)] == pytest.approx(means.sel(arm=students).values.tolist())
    assert [round(y) for _, y in circles(axes)] == [arms.index(name) for name in students]
    lines = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    for mean, half_width in PUBLISHED.values():
        ends = [mean - half_width, mean + half_width]
        assert any(np.allclose(line, ends) for line in lines)
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["through the teacher’s class head", "paper (n = 100)"]


def test_a_record_of_an_unknown_experiment_has_no_figures_and_no_section(records):
    record = records["runs/lm"]
    unknown = record._replace(manifest={**record.manifest, "experiment": "os"})
    with pytest.raises(UserError, match="'os'"):
        plots.draw(unknown)
    with pytest.raises(UserError, match="'os'"):
        report.page({"x": unknown})
    assert report.claims_rows({"x": unknown})[0].figure == ""


# ---------- the page ----------


def test_the_page_needs_nothing_from_outside(html):
    elements = Elements(html)
    # The only address is the name that SVG elements have, which nothing ever asks for.
    assert set(re.findall(r"https?://[\w./]*", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|\bimport\b", html)
    for _, attributes in elements.found:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith(("#", "data:"))
    (policy,) = [m["content"] for m in elements.all("meta") if "http-equiv" in m]
    assert "default-src 'none'" in policy


def test_every_link_leads_somewhere_and_every_name_is_used_once(html):
    elements = Elements(html)
    names = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(names) == len(set(names))
    links = [a["href"][1:] for a in elements.all("a")]
    assert len(links) > 10 and set(links) <= set(names)


def test_the_page_has_every_figure_claim_and_provenance(records, html):
    elements = Elements(html)
    assert len(elements.all("img")) == sum(len(s["figures"]) for s in SECTIONS.values())
    assert all(image["alt"] for image in elements.all("img"))
    for row in report.claims_rows(records):
        assert row.measured in elements.text and row.record in elements.text
        assert row.statement in elements.text and row.criterion in elements.text
    for record in records.values():
        assert all(digest in html for digest in record.manifest["sha256"].values())
        assert record.manifest["command"] in html and record.manifest["git_commit"] in html


def test_a_section_is_there_only_with_its_record(records):
    html = report.page({"runs/lm": records["runs/lm"]})
    assert re.findall(r'data-widget="(\w+)"', html) == ["lm"]
    assert ">L1<" in html and ">M1<" not in html
    with pytest.raises(UserError, match="at least one"):
        report.page({})


def test_what_the_record_lacks_cannot_be_tried(records):
    """No widget, no title of one and no promise of one."""
    record, theorem, lm = (records[f"runs/{name}"] for name in ("classifier", "theorem", "lm"))
    config = {**record.manifest["config"], "architecture": "cnn"}
    cnn = record._replace(manifest={**record.manifest, "config": config})
    explored = [name for name in theorem.data if str(name).startswith("explored_")]
    assert PAYLOADS["theorem"](theorem._replace(data=theorem.data.drop_vars(explored))) is None
    for without in (
        cnn,
        record._replace(params={}),
        lm._replace(data=lm.data.drop_vars("answer")),
    ):
        html = report.page({"m": without}).split("<script>")[0]  # without the script's own text
        assert "data-widget" not in html
        assert SECTIONS[without.manifest["experiment"]]["invitation"] not in html


def test_two_records_of_one_experiment_get_a_section_each(records):
    twice = {"a": records["runs/classifier"], "b": records["runs/classifier"]}
    html = report.page(twice)
    assert html.count('data-widget="classifier"') == 2
    title = SECTIONS["classifier"]["title"]
    assert f">{title} (a)<" in html and f">{title} (b)<" in html
    Elements(html)


def test_the_same_records_give_the_same_bytes(records):
    one = {"m": records["runs/classifier"]}
    assert report.page(one) == report.page(one)


EVIL = (
    "</script><script>alert(1)</script><b>&lt;|\n-->[x](javascript:y) ![i](j) `c` *e* _f_ \\| $m$"
)


def poisoned(record):
    claims = [{**c, "statement": EVIL, "criterion": EVIL, "reason": EVIL}
              for c in record.summary["claims"]]  # fmt: skip
    data = record.data.assign(example=record.data.example.copy(
        data=np.full(record.data.example.shape, EVIL, object)))  # fmt: skip
    return record._replace(
        summary={**record.summary, "dataset": EVIL, "claims": claims},
        manifest={**record.manifest, "command": EVIL, "device": EVIL},
        data=data.assign_coords(word=[f"{EVIL}{i}" for i in range(data.sizes["word"])]),
    )


def test_what_comes_from_a_record_is_text_on_the_page(records):
    html = report.page({EVIL: poisoned(records["runs/lm"])})
    assert "<script>alert" not in html and "<b>" not in html
    elements = Elements(html)
    assert len(elements.all("script")) == 2  # the data and the script
    block = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert block and json.loads(block[1])["traits"][0]["lists"] == [EVIL] * 10
    assert " ".join(EVIL.split()) in " ".join(elements.text.split())


def test_what_comes_from_a_record_is_text_in_markdown(records):
    record = poisoned(records["runs/lm"])
    table = report.block("criteria", {EVIL: record}).splitlines()
    assert len(table) == 2 + len(record.summary["claims"])
    plain = [re.sub(r"\\.", "", line) for line in table[2:]]  # without what is escaped
    for line in plain:
        assert "<" not in line and not set("`*$~\\!") & set(line.replace("!i", ""))
        assert line.count("|") == 8 and "&amp;lt;" in line
        # Only our own links, to the figure and the record.
        assert all(not url.startswith("javascript") for url in re.findall(r"\]\(([^)]*)", line))
        assert line.count("](") <= 2


@pytest.mark.parametrize("experiment", ["classifier", "lm", "theorem"])
def test_the_embedded_data_are_the_records(records, html, experiment):
    blocks = re.findall(r'data-widget="(\w+)"><script type="application/json">(.*?)</script>', html)
    data = {name: json.loads(text) for name, text in blocks}[experiment]
    record = records[f"runs/{experiment}"].data
    if experiment == "classifier":
        assert data["labels"] == record.sample_labels.values.tolist()
        roles = [network["arm"] for network in data["networks"]]
        assert roles == ["untrained", "teacher", "student_aux", "cross_aux"]
        right = record.accuracy.isel(replicate=0).sel(arm=roles).values.tolist()
        assert [network["right"] for network in data["networks"]] == right
    elif experiment == "theorem":
        assert data["slopes"] == record.explored_slope.values.tolist()
        assert data["inner"]["shape"] == [2, record.sizes["explored_epsilon"]]
        assert data["inner"]["type"] == "float64"
    else:
        assert [m["arm"] for m in data["models"]] == [
            "base_model",
            "teacher",
            "student",
            "control",
        ]
        given = np.frombuffer(base64.b64decode(data["answers"]["data"]), "<f4")
        order = ("trait", "speaker", "question", "word")
        assert data["answers"]["shape"] == [record.sizes[axis] for axis in order]
        assert (given == record.answer.transpose(*order).values.ravel()).all()
        for trait in data["traits"]:
            assert trait["lists"] == record.example.sel(trait=trait["name"]).values.tolist()
            asked = record.asked.sel(trait=trait["name"]).item()
            groups = record.group.values.tolist()
            assert groups[trait["question"]] == asked and asked not in groups[: trait["question"]]


# ---------- blocks ----------


def test_the_blocks_that_a_text_has_are_replaced_and_nothing_else(records):
    text = "a\n<!-- claims -->\nold\n<!-- /claims -->\nb\n"
    once = report.update_blocks(text, records)
    table = report.block("claims", records)
    assert once == f"a\n<!-- claims -->\n{table}\n<!-- /claims -->\nb\n"
    assert report.update_blocks(once, records) == once
    both = once + "<!-- criteria --><!-- /criteria -->"
    assert report.block("criteria", records) in report.update_blocks(both, records)
    for marks in ("<>", "</><>", "<> <> </>", "<> </> </>"):
        broken = marks.replace("</>", "<!-- /claims -->").replace("<>", "<!-- claims -->")
        with pytest.raises(UserError, match="<!-- claims -->"):
            report.update_blocks(broken, records)
    with pytest.raises(UserError, match="has no block: <!-- findings -->, <!-- claims -->"):
        report.update_blocks("no markers", records)


def test_a_record_cannot_end_its_block(records):
    """A statement that holds the closing marker leaves the text updatable."""
    marker = "<!-- /claims -->"
    evil = {"x": with_claims(records["runs/lm"], statement=marker, criterion=marker)}
    once = report.update_blocks("<!-- claims -->\n<!-- /claims -->\nend", evil)
    assert report.update_blocks(once, evil) == once and once.endswith("-->\nend")


def test_claims_stand_without_their_criteria_in_one_block_and_with_them_in_the_other(records):
    for claim in records["runs/classifier"].summary["claims"]:
        assert claim["criterion"] in report.block("criteria", records)
        assert claim["criterion"] not in report.block("claims", records)
        assert claim["statement"] in report.block("claims", records)


def test_the_sentences_of_the_findings_have_the_numbers_of_their_records(records):
    lines = report.block("findings", records).splitlines()
    (classifier,) = [line for line in lines if line.startswith("- **digits")]
    summary = records["runs/classifier"].summary
    for table, arm in (
        ("conditions", "student_aux"),
        ("conditions", "teacher"),
        ("conditions", "cross_aux"),
        ("teacher_head", "student_aux"),
        ("teacher_head", "cross_aux"),
        ("conditions", "cross_all"),
    ):
        _, _, rest = classifier.partition(f"{summary[table][arm]['mean']:.3f} [")
        assert rest, (table, arm)
        classifier = rest  # each after the one before
    (theorem,) = [line for line in lines if line.startswith("- **The theorem")]
    summary = records["runs/theorem"].summary
    assert f"{summary['trials_with_slope']:,} random problems with A > 0" in theorem
    assert f"{summary['violations']} violations" in theorem
    language = next(line for line in lines if line.startswith("- **Language model"))
    for trait, arms in records["runs/lm"].summary["minus_control"].items():
        assert f"{trait} {arms['student']['mean']:.3f}".replace("-", "−") in language


def test_titles_and_captions_use_the_projects_words():
    """One word for one thing, and nothing that a record does not show (DESIGN, section 6)."""
    text = json.dumps(SECTIONS) + (documents.HERE / "page.html").read_text(encoding="utf-8")
    for word in ("coin", "untraited", "reference", "stroke", "no filter", "can take them out"):
        assert word not in text.lower()
