"""Tables and the page, from records alone: one source, whole in itself, safe, the same bytes."""

import json
import re
from html.parser import HTMLParser
from importlib import import_module

import numpy as np
import page_records
import pytest

from subliminal_toy import report, report_words
from subliminal_toy.errors import UserError


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    return {
        "runs/theorem": page_records.theorem_record(folder / "theorem"),
        "runs/mnist": page_records.mnist_record(folder / "mnist"),
        "runs/lm": page_records.lm_record(folder / "lm"),
    }


@pytest.fixture(scope="module")
def html(records):
    return report.page(records)


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the ends of those that want one."""

    VOID = ("meta", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.found, self._open = [], []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def all(self, name):
        return [attrs for tag, attrs in self.found if tag == name]


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


def test_every_figure_of_every_record_stands_there_with_a_caption(records, html):
    images = Elements(html).all("img")
    names = [record.manifest["experiment"] for record in records.values()]
    drawn = {name: import_module(f"subliminal_toy.plots.{name}").FIGURES for name in names}
    assert len(images) == sum(map(len, drawn.values()))
    assert all(image["alt"] for image in images)
    for experiment, figures in drawn.items():
        assert set(report_words.FIGURES[experiment]) == set(figures)


def test_every_claim_is_on_the_page_with_its_numbers_and_its_record(records, html):
    rows = report.claims_rows(records)
    assert len(rows) == sum(len(r.summary["claims"]) for r in records.values())
    for row in rows:
        assert row.figure in report_words.FIGURES[row.record.removeprefix("runs/")]
        assert row.measured in html and row.record in html
    for record in records.values():
        assert all(digest in html for digest in record.manifest["sha256"].values())
        assert record.manifest["command"] in html and record.manifest["git_commit"] in html


def test_a_section_stands_there_only_with_its_record(records):
    only = {"runs/lm": records["runs/lm"]}
    html = report.page(only)
    assert 'data-widget="ask"' in html
    assert 'data-widget="digit"' not in html and 'data-widget="theorem"' not in html
    assert ">L1<" in html and ">M1<" not in html
    with pytest.raises(UserError, match="at least one"):
        report.page({})


def test_networks_that_the_script_cannot_run_are_left_out_with_a_sentence(records):
    record = records["runs/mnist"]
    config = {**record.manifest["config"], "architecture": "cnn"}
    cnn = record._replace(manifest={**record.manifest, "config": config})
    for without in (cnn, record._replace(params={})):
        html = report.page({"m": without})
        assert 'data-widget="digit"' not in html and "cannot be tried here" in html


def test_two_records_of_one_experiment_get_a_section_each(records):
    twice = {"a": records["runs/mnist"], "b": records["runs/mnist"]}
    html = report.page(twice)
    assert html.count('data-widget="digit"') == 2 and "Draw a digit (b)" in html
    Elements(html)


def test_the_same_records_give_the_same_bytes(records):
    one = {"m": records["runs/mnist"]}
    assert report.page(one) == report.page(one)


def test_what_comes_from_a_record_is_text_and_never_markup(records):
    evil = "</script><script>alert(1)</script><b>&|\n-->"
    record = records["runs/lm"]
    claims = [{**c, "statement": evil, "criterion": evil} for c in record.summary["claims"]]
    poisoned = record._replace(
        summary={**record.summary, "dataset": evil, "claims": claims},
        manifest={**record.manifest, "command": evil, "device": evil},
        arrays={**record.arrays, "examples": np.full_like(record.arrays["examples"], evil, "U99"),
                "words": np.full_like(record.arrays["words"], evil, "U99")},
    )  # fmt: skip
    html = report.page({evil: poisoned})
    assert "<script>alert" not in html and "<b>" not in html
    assert len(Elements(html).all("script")) == 2  # the data and the script
    table = report.claims_markdown({"x": poisoned}).splitlines()
    assert len(table) == 2 + len(claims)
    assert not any("<" in line for line in table)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}


def test_the_embedded_data_are_the_records(records, html):
    blocks = re.findall(r'data-widget="(\w+)"><script type="application/json">(.*?)</script>', html)
    data = {name: json.loads(text) for name, text in blocks}
    assert set(data) == {"digit", "theorem", "ask"}
    assert data["digit"]["labels"] == records["runs/mnist"].arrays["sample_labels"].tolist()
    assert [n["name"] for n in data["digit"]["networks"]] == [
        "reference", "teacher", "student_aux", "cross_aux",
    ]  # fmt: skip
    owl, evasion = data["ask"]["traits"]
    speakers = records["runs/lm"].arrays["speakers"]
    assert speakers[owl["speakers"]].tolist() == [
        "reference", "teacher owl", "student owl", "control control",
    ]  # fmt: skip
    assert speakers[evasion["speakers"][3]] == "control control-banned"
    assert len(owl["lists"]) == 10


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.5538, (0.4396, 0.668), "0.554 [0.440, 0.668]"),
        (1.0, (0.99963, 1.0), "1.00000 [0.99963, 1.00000]"),
        (-0.00001, (-0.02, 0.02), "0.000 [−0.020, 0.020]"),
        (0.5, (0.5, 0.5), "0.500 [0.500, 0.500]"),
        (0.25, None, "0.250"),
    ],
)
def test_numbers_show_as_many_decimals_as_their_interval_wants(records, value, interval, text):
    record = records["runs/mnist"]
    claim = {**record.summary["claims"][0], "value": value, "interval": interval}
    one = record._replace(summary={**record.summary, "claims": [claim]})
    (row,) = report.claims_rows({"x": one})
    assert row.measured == text


def test_published_means_stand_beside_ours_only_where_the_record_has_them(records):
    record = records["runs/mnist"]
    published = {"teacher": {"published": 0.942, "difference": -0.8, "z": None}}
    compared = record._replace(summary={**record.summary, "published": published})
    table = report.published_markdown({"runs/a": record, "runs/b": compared}).splitlines()
    assert len(table) == 3 and "0.942" in table[2] and "[runs/b](runs/b/)" in table[2]
    assert "−0.800" in table[2]


def test_a_block_between_markers_is_replaced_and_nothing_else():
    text = "a\n<!-- t -->\nold\n<!-- /t -->\nb\n"
    once = report.update_block(text, "t", r"new \1")
    assert once == "a\n<!-- t -->\nnew \\1\n<!-- /t -->\nb\n"
    assert report.update_block(once, "t", r"new \1") == once
    for broken in ("", "<!-- t -->", "<!-- /t --><!-- t -->", text + text):
        with pytest.raises(UserError, match="<!-- t -->"):
            report.update_block(broken, "t", "new")
