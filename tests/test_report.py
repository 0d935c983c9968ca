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
from matplotlib.figure import Figure
from subliminal_toy.report.payloads import PAYLOADS
from subliminal_toy.report.tables import SECTIONS, WORDS, ClaimRow

from subliminal_toy import plots, publish, report, stats
from subliminal_toy.classifier.arms import PUBLISHED
from subliminal_toy.classifier.config import PRESETS
from subliminal_toy.errors import UserError
from subliminal_toy.plots import colours, panels
from subliminal_toy.plots.classifier import LABELS
from subliminal_toy.report import documents, tables


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

    VOID = ("meta", "link", "img", "br", "input")

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
    (row,) = report.claims_rows({"runs/lm": one})
    assert row == ClaimRow(
        id="L5a",
        name="It is so.",
        statement="It is so.",
        dataset="a small language, numbers 0–99",
        setting="a small language, numbers 0–99",  # this record does not say how large its model is
        treated="–",
        control="–",
        measures="AUC",
        measured="0.200 [−0.048, 0.448]",
        n="3",
        passes=row.passes,
        criterion="above 0",
        verdict="reproduced",
        reason="",
        fixed="no",
        record="runs/lm",
        figure="detectors",
    )
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


@pytest.fixture(scope="module")
def drawn(records, tmp_path_factory):
    """Return every figure of every record as SVG, by where it would be written."""
    path = tmp_path_factory.mktemp("drawn")
    return {folder: publish.figures(record, path) for folder, record in records.items()}


def test_figures_are_the_same_bytes_again_and_leave_nothing_else(records, drawn):
    pyplot.close("all")
    for folder, record in records.items():
        names = [f"{name}.svg" for name in plots.FIGURES[record.manifest["experiment"]]]
        assert [path.name for path in drawn[folder]] == names
        (parent,) = {path.parent for path in drawn[folder]}
        assert drawn[folder] == publish.figures(record, parent) and not list(parent.iterdir())
    assert not pyplot.get_fignums()


def circles(axes):
    """Return the places of the open circles of a figure's axes."""
    return [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
    ]


def test_the_accuracy_figure_shows_both_class_heads_and_the_paper(published):
    (axes,) = plots.draw(published)["accuracy"].axes
    shown = list(LABELS)
    bars = [bar.get_width() for bar in axes.patches]
    means = published.data.accuracy.mean("replicate").sel(arm=shown)
    assert bars == pytest.approx(means.values.tolist())
    means = published.data.teacher_head_accuracy.mean("replicate").sel(arm=shown[2:])
    assert [x for x, _ in circles(axes)] == pytest.approx(means.values.tolist())
    assert [round(y) for _, y in circles(axes)] == [2, 3, 4, 5]
    lines = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    for mean, half_width in PUBLISHED.values():
        ends = [mean - half_width, mean + half_width]
        assert any(np.allclose(line, ends) for line in lines)
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["with the teacher’s class head", "Cloud et al. (n = 100)"]


def test_figures_can_be_read_by_eye_and_aloud_in_light_and_dark(drawn):
    """Text is text of at least 8 points, but for exponents and indices."""
    for path, content in (figure for of in drawn.values() for figure in of.items()):
        text = content.decode()
        about = re.search(r"<title>(.+?)</title>.*<desc>(.+?)</desc>", text, re.DOTALL)
        assert about and len(about[2]) > 30 and 'role="img"' in text, path
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:\w+ )?([\d.]+)px", text)]
        assert sizes and min(sizes) >= 5.6 and sorted(sizes)[len(sizes) // 2] >= 8, path
        assert "prefers-color-scheme: dark" in text


def test_one_colour_has_one_meaning_in_figures_and_on_the_page():
    style = (documents.HERE / "page.css").read_text(encoding="utf-8")
    for role, colour in (
        ("student", colours.STUDENT), ("other", colours.OTHER_START), ("control", colours.CONTROL),
        ("teacher", colours.TEACHER), ("untrained", colours.UNTRAINED),
    ):  # fmt: skip
        assert f"--{role}: {colour};" in style
        assert f"--{role}: {colours.DARK.get(colour, '')}" in style
    roles = {colours.STUDENT, colours.OTHER_START, colours.CONTROL}
    assert not roles & set(colours.KINDS) and len(set(colours.KINDS)) == len(colours.KINDS)


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
    figures = [image for image in elements.all("img") if "svg" in image["src"][:20]]
    assert len(figures) == sum(len(s["figures"]) for s in SECTIONS.values())
    assert all(image["alt"] for image in elements.all("img"))
    for row in report.claims_rows(records):
        for shown in (row.measured, row.record, row.statement, row.name, row.setting):
            assert shown in elements.text
        assert documents.plain(row.criterion) in elements.text
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
        html = re.sub(r"<script>.*?</script>", "", report.page({"m": without}), flags=re.DOTALL)
        assert "data-widget=" not in html
        assert f">{SECTIONS[without.manifest['experiment']]['invitation']}" not in html


def test_records_of_one_experiment_stand_side_by_side_in_one_section(records):
    one = records["runs/classifier"]
    more = one._replace(summary={**one.summary, "n_replicates": 9, "dataset": "mnist"})
    html = report.page({"a": one, "b": more})
    Elements(html)
    assert html.count('id="measured"') == 1
    (table,) = re.findall(r'<table class="side">.*?</table>', html, re.DOTALL)
    # The story's record, that of the most replicates, comes first.
    assert re.findall(r'scope="col">([^<]+)<br>n = (\d+)', table) == [
        ("MNIST, MLP 16–16", "9"), ("small digits (8 × 8), MLP 16–16", "2"),
    ]  # fmt: skip
    for arm, label in LABELS.items():
        mean = one.summary["conditions"][arm]["mean"]
        row = re.search(rf'<th scope="row">{label}</th>(.*?)</tr>', table)
        assert row and re.findall(r"<td>(\d+) %", row[1]) == [f"{100 * mean:.0f}"] * 2
    figures = re.findall(r'<figure id="(record-\d)-accuracy">', html)
    assert figures == ["record-0", "record-1"]


SECTION_ORDER = ("live", "measured", "why", "language", "limits", "claims")


def test_the_story_comes_first_and_every_section_is_there(records, html):
    order = re.findall(r'<section id="([\w-]+)"', html)
    assert order == list(SECTION_ORDER)
    story = html.partition("<main")[0]
    of = records["runs/classifier"].summary["conditions"]
    for arm in ("teacher", "student_aux", "cross_aux"):
        assert f'class="told {arm}"' in story
        assert f"reads <strong>{100 * of[arm]['mean']:.0f} %</strong>" in story
    # Three sentences, before anything else is said.
    lede = re.search(r'<p class="lede">(.*?)</p>', story, re.DOTALL)
    assert lede and 3 <= len(re.findall(r"\.(?=\s|$)", lede[1].strip())) <= 3
    for limit in WORDS["limits"]:
        assert documents.markdown_text(limit[:30].replace("*", "")) in html.replace("<em>", "")


class Sentences(HTMLParser):
    """The text that a reader meets, without scripts, styles and what a record's provenance is."""

    def __init__(self, text):
        super().__init__()
        self.text, self._within = "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "style", "dl"):
            self._within.append(tag)
        self.text += " ".join(value or "" for name, value in attrs if name in ("alt", "aria-label"))

    def handle_endtag(self, tag):
        if self._within and tag == self._within[-1]:
            self._within.pop()

    def handle_data(self, data):
        if not self._within:
            self.text += data


def test_no_sentence_of_the_page_holds_an_identifier_of_the_code(html):
    text = Sentences(html).text.replace("subliminal_toy", "")
    assert re.findall(r"\b\w*[a-z]_[a-z]\w*\b", text) == []
    assert len(text) > 5_000


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
    assert len(elements.all("script")) == html.count("</script>")
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
        right = record.accuracy.mean("replicate").sel(arm=roles).values.tolist()
        assert [network["right"] for network in data["networks"]] == right
        assert all(len(network["members"]) == 3 for network in data["networks"])
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
    with pytest.raises(UserError, match="has no block: <!-- opening -->, <!-- findings -->"):
        report.update_blocks("no markers", records)


def test_a_record_cannot_end_its_block(records):
    """A statement that holds the closing marker leaves the text updatable."""
    marker = "<!-- /claims -->"
    evil = {"x": with_claims(records["runs/lm"], statement=marker, criterion=marker)}
    once = report.update_blocks("<!-- claims -->\n<!-- /claims -->\nend", evil)
    assert report.update_blocks(once, evil) == once and once.endswith("-->\nend")


def test_claims_are_short_and_sorted_in_one_block_and_with_their_criteria_in_the_other(records):
    lines = report.block("claims", records).splitlines()[2:]
    kinds = [line[2] for line in lines]
    assert kinds == sorted(kinds, key="TMEPLG".index) and len(set(kinds)) == 5
    for line, row in zip(lines, sorted_rows(records), strict=True):
        id_, name, setting, *_ = line.split(" | ")
        assert id_ == f"| {row.id}" and len(name.split()) <= 22
        assert f"n = {row.n}" in setting
    for claim in records["runs/classifier"].summary["claims"]:
        assert claim["criterion"] in report.block("criteria", records)
        assert claim["criterion"] not in report.block("claims", records)


def sorted_rows(records):
    return tables.by_kind(report.claims_rows(records))


def test_treated_and_control_are_the_means_that_the_claim_compares(records):
    rows = {row.id: row for row in report.claims_rows(records)}
    of = records["runs/classifier"].summary["conditions"]
    for id_, arms in (("M1", ("student_aux", "cross_aux")), ("M2", ("cross_aux", "untrained"))):
        assert [rows[id_].treated, rows[id_].control] == [f"{of[arm]['mean']:.3f}" for arm in arms]
    found = records["runs/lm"].summary["arms"]["owl"]
    row = rows["L1"]
    assert (row.treated, row.control) == tuple(
        f"{found[arm]['mean']:.3f}" for arm in ("student", "control")
    )
    gain = float(rows["M1"].treated) - float(rows["M1"].control)
    assert float(rows["M1"].measured.split()[0].replace("−", "-")) == pytest.approx(gain, abs=2e-3)


def test_every_claim_has_words_and_their_numbers_are_the_criterions(records):
    for row in report.claims_rows(records):
        words = tables.words_of({"id": row.id, "statement": row.statement})
        assert words["passes"] == row.passes and row.fixed in ("yes", "no", "in part")
        for number in re.findall(r"\d*\.\d+", row.passes):
            assert number in row.criterion, (row.id, number)


def test_the_sentences_of_the_findings_have_the_numbers_of_their_records(records):
    lines = report.block("findings", records).splitlines()
    (classifier,) = [line for line in lines if line.startswith("- **small digits (8 × 8), MLP")]
    summary = records["runs/classifier"].summary
    for table, arm in (
        ("conditions", "student_aux"),
        ("conditions", "cross_aux"),
        ("conditions", "teacher"),
        ("teacher_head", "student_aux"),
        ("teacher_head", "cross_aux"),
        ("conditions", "cross_all"),
    ):
        _, _, rest = classifier.partition(f"{100 * summary[table][arm]['mean']:.0f} %")
        assert rest, (table, arm)
        classifier = rest  # each after the one before
    (theorem,) = [line for line in lines if line.startswith("- **The theorem")]
    summary = records["runs/theorem"].summary
    n = summary["trials_with_slope"], summary["trials_without_slope"]
    assert (
        f"In {sum(n):,} random problems" in theorem
        and f"teacher {summary['violations']} times" in theorem
    )
    assert f"{n[0]:,} of these problems have a predicted pull A > 0, in {n[1]:,} it is 0" in theorem
    language = next(line for line in lines if line.startswith("- **Traits in numbers"))
    for trait, arms in records["runs/lm"].summary["minus_control"].items():
        assert f"{trait} {100 * arms['student']['mean']:.0f}".replace("-", "−") in language
    few_lists = next(line for line in lines if line.startswith("- **How many lists"))
    most, _, rest = few_lists.partition("On a single list: ")
    one, _, asked = rest.partition("The theorem")
    for trait, found in records["runs/lm"].summary["mechanism"].items():
        assert f"{trait} {found['lists_asked']['mean']:.0f}" in asked
        assert f"{trait} {100 * found['away']['1']['mean']:.0f} %" in one
    for n, place, decimals in (("1", "up to", 0), ("100", "lists in", 1)):
        away = [
            found["away"][n]["mean"] for found in records["runs/lm"].summary["mechanism"].values()
        ]
        assert f"{place} {100 * max(away):.{decimals}f} %" in most
    gains = [
        arms["student"]["mean"] for arms in records["runs/lm"].summary["minus_control"].values()
    ]
    assert f" {100 * np.mean(gains):.0f} percentage points".replace("-", "−") in language
    for title, arms in (
        ("What in the lists", ("student", "shuffled_within", "shuffled_across", "unigrams")),
        ("Whether one direction", ("student", *(f"update_{k}" for k in ("without", "only")))),
    ):
        rest = next(line for line in lines if line.startswith(f"- **{title}"))
        for arm in arms:
            for trait, found in records["runs/lm"].summary["minus_control"].items():
                gain = re.sub(r"([\[\]])", r"\\\1", tables.percent(found[arm], ""))
                _, there, rest = rest.partition(f"{trait} {gain}")
                assert there, (title, arm, trait)  # each after the one before
    text = " ".join(lines)
    # What a record lacks is not spoken of; what it has is.
    assert "Which teachers pass more on" in text and "What must be shared" in text
    few = records["runs/lm"]
    without = {k: v for k, v in few.summary.items() if k not in ("teachers", "lineage")}
    text = report.block("findings", {"x": few._replace(summary=without)})
    assert "pass more on" not in text and "must be shared" not in text and "exploratory" not in text
    config = {k: v for k, v in few.manifest["config"].items() if k != "teacher"}
    old = few._replace(manifest={**few.manifest, "config": config})
    assert "exploratory" in report.block("findings", {"x": old})


def test_the_lowest_panel_of_every_column_has_labels():
    figure = Figure()
    found = panels.grid(figure, 5, 3)
    figure.draw_without_rendering()
    labelled = [axes.xaxis.get_tick_params()["labelbottom"] for axes in found]
    assert labelled == [False, False, True, True, True] and len(figure.axes) == 6
    assert not figure.axes[5].axison


def test_of_the_same_models_with_fewer_traits_only_what_is_new_is_shown(records):
    """A record of the same seed and replicates would repeat its claims as if they were others."""
    whole = records["runs/lm"]
    claims, few = whole.summary["claims"], {**whole.manifest["config"], "traits": ["owl"]}
    without = [claim for claim in claims if claim["id"] != "E3"]
    both = {
        "few": whole._replace(manifest={**whole.manifest, "config": few}),
        "whole": whole._replace(summary={**whole.summary, "claims": without}),
    }
    rows = report.claims_rows(both)
    assert [row.id for row in rows if row.record == "few"] == ["E3"]
    assert [row.id for row in rows if row.record == "whole"] == [claim["id"] for claim in without]
    text = report.block("findings", both)
    for title in ("Traits in numbers", "How many lists", "Detectors"):
        assert text.count(f"**{title}") == 1
    html = report.page(both)
    assert html.count('data-widget="lm"') == 1
    assert html.count('-arms"><div') == html.count('-detectors"><div') == 1
    # Another seed makes other models, another width too.
    for other in ({"seed": 99}, {"config": few | {"width": 64}}):
        apart = both | {"few": both["few"]._replace(manifest=both["few"].manifest | other)}
        assert len(report.claims_rows(apart)) == len(claims) + len(without)
        assert report.block("findings", apart).count("**Detectors") == 2


def test_titles_and_captions_use_the_projects_words():
    """One word for one thing, and nothing that a record does not show (DESIGN, section 6)."""
    text = json.dumps(SECTIONS) + (documents.HERE / "page.html").read_text(encoding="utf-8")
    for word in ("coin", "untraited", "reference", "stroke", "no filter", "can take them out"):
        assert word not in text.lower()
