"""The two pages: what they say is what the records hold, in a browser and without one."""

import io
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib import image
from page_records import ROOT, committed, opened, written
from playwright.sync_api import expect

from subliminal_toy import data, page, report
from subliminal_toy.errors import UserError
from subliminal_toy.plots import colours

expect.set_options(timeout=60_000)  # a busy machine is no mistake

RECORDS = ("live", "mnist", "theorem")
FILES = ("index.html", "evidence.html")


@pytest.fixture(scope="module")
def records():
    return committed(*RECORDS)


@pytest.fixture(scope="module")
def address(records, tmp_path_factory):
    return written(records, tmp_path_factory.mktemp("page"))


@pytest.fixture
def index(browser, address):
    with opened(browser, address) as page:
        yield page


# ---------- what the pages are made of ----------


def test_pages_need_nothing_else_and_their_links_lead_somewhere(records):
    texts = page.pages(records)
    assert tuple(texts) == FILES and page.pages(records) == texts
    for text in texts.values():
        assert "default-src 'none'" in text and len(text) < 2_500_000
        names = re.findall(r'\bid="([^"]+)"', text)
        assert len(names) == len(set(names))
        for target in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            inside = target.startswith(("data:", "https://arxiv.org/abs/")) or target in FILES
            assert inside or target.removeprefix("#") in names, target
    with pytest.raises(UserError, match="at least one"):
        page.pages({})


def test_texts_never_become_markup(records, monkeypatch):
    hostile = "<img src=x onerror=alert(1)> & *so*"
    monkeypatch.setattr(report, "limits", (hostile,))
    finding = report.Finding(hostile, hostile)
    monkeypatch.setattr(report, "findings", lambda records: [finding])
    for text in page.pages({"a<b": records["live"]}).values():
        assert "<img src=x" not in text and "a<b" not in text
        assert "&lt;img src=x onerror=alert(1)&gt; &amp; <em>so</em>" in text


def test_stored_curves_and_the_story_are_those_of_the_record(records):
    result = records["live"].data
    stored = page.live(records, data.load("digits"))["stored"]
    assert stored["steps"][0] == 0 and stored["steps"][-1] == 1_500
    for start, arm in (("same", "student_aux"), ("other", "cross_aux")):
        for name in ("accuracy", "imitation_loss", "progress"):
            expected = result[name].sel(arm=arm, step=stored["steps"]).values
            assert np.array(stored[start][name]) == pytest.approx(expected, abs=1e-6)
    ends = [np.array(stored[start]["accuracy"])[:, -1] for start in ("same", "other")]
    assert ends[0].mean() > 0.6 and ends[1].mean() < 0.15
    others = {name: records[name] for name in ("mnist", "theorem")}  # of another training
    assert page.live(others, data.load("digits"))["stored"] is None
    # The story is that of the record with most replicates: MNIST's hundred.
    mnist = records["mnist"].data.accuracy
    text = re.sub(r"<[^>]*>|\s+", " ", page.pages(records)["index.html"])
    for who, arm in (
        ("Teacher saw digits and their labels", "teacher"),
        ("Student, same start saw noise, copied 3 outputs", "student_aux"),
        ("Student, another start the same noise and outputs", "cross_aux"),
    ):
        accuracy = mnist.sel(arm=arm).transpose("step", "replicate").values
        mean = accuracy[np.isfinite(accuracy).all(1)][-1].mean()
        assert re.search(rf"{who} +reads +{100 * mean:.0f} %", text.replace("  ", " ")), who
    assert "Means of 100 independent repetitions on MNIST" in text


def test_without_scripts_every_claim_and_every_figure_is_there(browser, address, records):
    shown = browser.new_context(java_script_enabled=False).new_page()
    shown.goto(address)
    expect(shown.locator("noscript")).to_be_visible()
    expect(shown.locator("#live-widget")).to_be_hidden()
    expected = report.claims_rows(records)
    assert len(expected) > 3
    lines = shown.locator(".claims tbody tr").all_text_contents()
    for line, row in zip(lines, expected, strict=True):
        for part in (row.measured, row.setting, row.fixed.split()[0], row.verdict, row.reason):
            assert part in line
        head = shown.locator(f"th#{row.id}").text_content()
        assert row.sentence in head and row.criterion in head
    verdicts = [row.verdict for row in expected if row.verdict != "not tested"]
    met = sum(verdict in ("reproduced", "held") for verdict in verdicts)
    expect(shown.locator("#claims > p")).to_contain_text(f"{met} of {len(verdicts)} rules")
    shown.goto(address.replace("index", "evidence"))
    assert shown.locator("#figures img").count() > len(RECORDS)
    for finding in report.findings(records):
        expect(shown.locator("#findings")).to_contain_text(finding.title)
    for name, record in records.items():
        about = shown.locator("#provenance details", has_text=name).text_content()
        assert record.manifest["sha256"]["record.nc"] in about
    shown.context.close()


def test_roles_have_the_colours_of_the_figures():
    style = (ROOT / "subliminal_toy" / "page" / "style.css").read_text()
    for role, light in (
        ("teacher", colours.TEACHER), ("same", colours.STUDENT), ("other", colours.OTHER_START),
    ):  # fmt: skip
        assert f"--{role}: light-dark({light}, {colours.DARK[light]});" in style
    assert ".left, .same { --role: var(--same); }" in style
    assert ".right, .other { --role: var(--other); }" in style
    assert f"light-dark({'#ffffff'}, {colours.DARK['#ffffff']})" in style


# ---------- drawing ----------


def draw(index, *points):
    """Draw one stroke with the mouse, its points in fractions of the canvas."""
    canvas = index.locator("#draw-paper")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    index.mouse.move(*at[0])
    index.mouse.down()
    for point in at[1:]:
        index.mouse.move(*point)
    index.mouse.up()


def heights(index):
    """Return the bars of the three networks in per cent."""
    bars = index.locator("#draw-widget .bar").all()
    styles = [bar.get_attribute("style") or "height: 0%" for bar in bars]
    return np.reshape([float(style.split()[1].rstrip("%;")) for style in styles], (3, 10))


def seen(index):
    """Return the image that the networks see, 0 to 255."""
    grey = index.evaluate("""() => [...document.getElementById("draw-seen").getContext("2d")
      .getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0)""")
    return np.reshape(grey, (8, 8))


def test_a_drawing_is_read_by_all_three_networks_and_again_when_they_have_learned(index):
    draw(index, (0.3, 0.2), (0.7, 0.2), (0.45, 0.9))
    spoken = index.locator("#draw-said")
    expect(spoken).to_contain_text("Teacher:")
    before = heights(index)
    assert before.sum(1) == pytest.approx(100, abs=0.01)
    # What is read out to those who do not see the bars is the same.
    for bars, name in zip(before, ("Teacher", "same start", "another start"), strict=True):
        assert f"{name}: {bars.argmax()}, {bars.max():.0f}\xa0%" in spoken.inner_text()
    # Teacher and first student began as the same network.
    assert (before[0] == before[1]).all() and (before[0] != before[2]).any()
    index.get_by_role("button", name="One step").click()
    expect(index.locator("#live-status")).to_contain_text("pass 1 of 40")
    index.wait_for_function(f"""() => document.querySelector("#draw-teacher .bar").style.height
      !== "{before[0][0]}%" """)
    after = heights(index)
    assert (after[0] != before[0]).any() and (after[1:] == before[1:]).all()
    index.get_by_role("button", name="Clear").click()
    expect(spoken).to_have_text("Nothing is drawn.")
    assert not heights(index).any() and not seen(index).any()


def test_a_drawing_is_made_small_as_the_data_were(index):
    """A line downwards, wherever and however slanted, fills the middle from top to bottom."""
    images = []
    for x, slant, height in ((0.2, 0, 0.8), (0.7, 0.1, 0.4)):
        index.get_by_role("button", name="Clear").click()
        expect(index.locator("#draw-said")).to_have_text("Nothing is drawn.")
        draw(index, (x, 0.1), (x + slant, 0.1 + height))
        expect(index.locator("#draw-said")).to_contain_text("Teacher")
        images.append(seen(index))
        lit = images[-1] > 128
        assert lit.any(1).all() and not lit[:, [0, 1, 2, 5, 6, 7]].any()
    assert images[0] == pytest.approx(images[1], abs=64)


# ---------- for everybody ----------


def test_everything_can_be_reached_with_the_keyboard(index):
    reached = set()
    for _ in range(40):
        index.keyboard.press("Tab")
        reached.add(index.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"skip", "theme", "live-go", "live-seed", "draw-three", "draw-clear"} <= reached


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_unreadable_unnamed_or_beyond_the_screen(browser, address, file, scheme, width):
    # The page's policy lets in no other script.
    context = browser.new_context(
        bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 844}
    )
    page = context.new_page()
    page.goto(address.replace("index.html", file))
    if file == "index.html":
        assert page.evaluate("document.documentElement.scrollHeight") < 7_000 * (1 + (width < 400))
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [node["html"][:120] for node in v["nodes"]][:5]) for v in found] == []
    context.close()


def test_light_and_dark_follow_the_reader_and_the_button_figures_too(browser, address):
    page = browser.new_page(color_scheme="dark")
    page.goto(address.replace("index", "evidence"))

    def ground():
        """Return the colours of the page and of the corner of the first figure."""
        first = page.locator("#figures img").first
        first.scroll_into_view_if_needed()
        corner = 255 * image.imread(io.BytesIO(first.screenshot()))[2, 2, :3]
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in re.findall(r"\d+", colour)], corner.round().astype(
            int
        ).tolist()

    assert ground() == ([20, 23, 26], [20, 23, 26])
    page.get_by_role("button", name="Light page").click()
    assert ground() == ([255] * 3, [255] * 3)
    page.get_by_role("button", name="Dark page").click()
    page.emulate_media(media="print")
    assert ground()[0] == [255] * 3
    page.close()
