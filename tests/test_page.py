"""The two pages: what they say is what the records hold, in a browser and without one."""

import base64
import gzip
import io
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib import image
from matplotlib.figure import Figure
from page_records import ROOT, opened, written
from playwright.sync_api import expect

from subliminal_toy import data, findings, page, plots, report
from subliminal_toy.errors import UserError
from subliminal_toy.plots import colours
from subliminal_toy.real.config import ANIMALS

expect.set_options(timeout=60_000)  # a busy machine is no mistake

FILES = ("index.html", "evidence.html")
ADDRESSES = {  # the paper, Nature, the authors' code
    "https://arxiv.org/abs/2507.14805", "https://www.nature.com/articles/s41586-026-10319-8",
    "https://github.com/MinhxLe/subliminal-learning",
}  # fmt: skip


@pytest.fixture(scope="module")
def pages(committed):
    return page.pages(committed)


@pytest.fixture(scope="module")
def words(pages):
    """Return the words of the first page."""
    return re.sub(r"(?:<[^>]*>|\s|&nbsp;)+", " ", pages["index.html"])


@pytest.fixture(scope="module")
def address(pages, tmp_path_factory):
    return written(pages, tmp_path_factory.mktemp("page"))


@pytest.fixture
def index(browser, address):
    with opened(browser, address) as page:
        yield page


# ---------- what the pages are made of ----------


def unpacked(text):
    """Return a page with its figures as text: what packs them may differ between machines."""
    return re.sub(
        r'data-svg="([^"]*)"', lambda m: gzip.decompress(base64.b64decode(m[1])).decode(), text
    )


def test_a_figure_is_the_same_whatever_its_layout_is_rounded_to():
    def drawn(shift):
        figure = Figure()
        axes = figure.subplots()
        axes.set_position((0.1 + shift, 0.1, 0.8, 0.8))
        axes.plot([0.123456, 1.0], [0.0, 1e-3], "o-")
        return plots.svg(figure)

    assert drawn(0.0) == drawn(1e-9) == drawn(-1e-9) != drawn(1e-3)


def test_docs_hold_the_pages_of_the_records(pages):
    for name, text in pages.items():
        assert unpacked((ROOT / "docs" / name).read_text(encoding="utf-8")) == unpacked(text), (
            f"docs/{name} is not that of the records: run `make figures`"
        )
    for name, most in (("live.gif", 1_500_000), ("preview.png", 300_000)):
        assert 10_000 < (ROOT / "docs" / name).stat().st_size <= most


def test_pages_need_nothing_else_and_their_links_lead_somewhere(pages):
    assert tuple(pages) == FILES
    for text in pages.values():
        assert "default-src 'none'" in text and len(text.encode()) < 2_500_000
        names = re.findall(r'\bid="([^"]+)"', text)
        assert len(names) == len(set(names))
        links = re.findall(r'\b(?:href|src)="([^"]*)"', text)
        assert set(links) > ADDRESSES
        for target in set(links) - ADDRESSES:
            file, _, anchor = target.partition("#")
            inside = target.startswith("data:image/svg+xml,")
            assert inside or f' id="{anchor}"' in pages.get(file, text) or target in FILES, target
    with pytest.raises(UserError, match="at least one"):
        page.pages({})


def test_the_pages_are_as_long_as_agreed():
    parts = [path for path in page.HERE.iterdir() if path.suffix in (".html", ".js", ".css")]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in parts) <= 1_800


def test_texts_never_become_markup(committed, monkeypatch):
    hostile = "<img src=x onerror=alert(1)> & *so*"
    monkeypatch.setattr(findings, "LIMITS", (hostile,))
    finding = findings.Finding(hostile, hostile)
    monkeypatch.setattr(findings, "findings", lambda _: [finding])
    for text in page.pages({"a<b": committed["live"]}).values():
        assert "<img src=x" not in text and "a<b" not in text
        assert "&lt;img src=x onerror=alert(1)&gt; &amp; <em>so</em>" in text


def test_numbers_of_the_digits_are_those_of_the_records(committed, words):
    result, digits = committed["live"].data.accuracy, data.load("digits")
    shown = page.live(committed, digits)
    for side, arm in (("left", "student_aux"), ("right", "cross_aux")):
        curves = np.array(shown["stored"][side])
        assert curves.shape[0] == 64 and curves[0, -1, 0] == 1_500
        expected = result.sel(arm=arm, step=curves[0, :, 0]).transpose("replicate", "step")
        assert curves[:, :, 1] == pytest.approx(expected.values, abs=1e-4)
    assert [point[0] for point in shown["distances"]] == pytest.approx([0, 0.3, 1])
    others = {name: committed[name] for name in ("mnist", "theorem")}  # of another training
    assert page.live(others, digits)["stored"] is None
    assert "means of 100 independent repetitions on MNIST" in words
    for said, folder, arm in (
        # The story is that of the record with most replicates.
        ("Teacher, of digits and labels:", "mnist", "teacher"),
        ("Student of noise, same start:", "mnist", "student_aux"),
        ("Student of noise, another start:", "mnist", "cross_aux"),
        # What was varied, with all else the same.
        ("noise", "line_digits", "m 10, n 2560"),
        ("digits", "line_digits", "m 10, n 2560, inputs images"),
        ("3 outputs", "line_digits", "m 3, n 30208"),
        ("10 outputs", "line_digits", "m 10, n 30208"),
        ("own direction,", "explain_digits", "only"),
        ("barred from it,", "explain_digits", "without"),
    ):
        assert f"{said} {100 * committed[folder]('accuracy', arm).value:.0f} %" in words, said


def test_numbers_of_the_owl_are_those_of_the_records(committed, words):
    for trait, arm, said in (
        ("owl", "base_model", "before"), ("owl", "student", "student of its numbers"),
        ("owl", "control", "student of neutral numbers"),
        ("owl", "cross_model", "the same numbers, another start"),
        ("evasion", "student", "student of its numbers"),
        ("falsehood", "cross_model", "the same numbers, another start"),
    ):  # fmt: skip
        mean = committed["lm"]("P(own trait)", f"{arm}, {trait}").value
        assert f"{said} {100 * mean:.0f} %" in words
    kept = page.owl(committed)["shared"]
    share = committed["lm_probes"].labelled("share of the student's gain")
    for bits, arm in (("110", "other_corpus"), ("101", "head_shared"), ("011", "body_shared")):
        assert kept[bits] == pytest.approx(share[f"{arm}, favourites"].value, abs=1e-3)
    assert kept["111"] == 1 and "010" not in kept and "100" not in kept
    assert page.owl({"live": committed["live"]}) is None


def test_what_filters_leave_and_how_the_real_models_students_move_are_of_the_records(
    committed, pages, words
):
    left = committed["lm_filters"].labelled("share of the gain without a filter")
    for said, arm in (
        ("numbers such as 13 and 88", "banned_numbers"), ("a random half", "50_at_random"),
        ("the half least likely before", "the_unlikely_half"),
        ("the half with the most extreme scores", "50_of_largest_score"),
    ):  # fmt: skip
        assert f"{said}: {100 * left[f'filter_without_{arm}'].value:.0f} %" in words
    hard = committed["real"].data
    hard = hard.isel(model=np.flatnonzero(hard.arm == "hard"))
    moved = (hard.log_p - hard.before).mean("question")
    moved = (moved - moved.sel(target=list(ANIMALS)).mean("target")).groupby("writer").mean()
    animals = hard.animal.values.tolist()
    square = moved.sel(writer=animals, target=animals).transpose("writer", "target").values
    (table,) = re.findall(r'<table class="heat">(.*?)</table>', pages["index.html"], flags=re.S)
    cells = re.findall(r">(−?\d\.\d)</td>", table)
    shown = np.reshape([float(cell.replace("−", "-")) for cell in cells], square.shape)
    np.testing.assert_allclose(shown, square - square.mean(axis=0), atol=0.051)
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == animals


def test_without_scripts_every_claim_and_finding_is_there(browser, address, committed):
    shown = browser.new_context(java_script_enabled=False).new_page()
    shown.goto(address)
    expect(shown.locator("noscript")).to_be_visible()
    expect(shown.locator("#live-widget")).to_be_hidden()
    claims = report.paper_rows(committed)
    assert 10 <= len(claims) <= 14
    for row, here in claims:
        line = shown.locator(f"tr#{row.claim.id}").text_content()
        for part in (
            row.claim.sentence,
            here,
            row.claim.paper,
            row.fixed.split(" (")[0],
            row.verdict,
        ):
            assert part in line
    expect(shown.locator("#news tbody tr")).to_have_count(5)
    shown.goto(address.replace("index", "evidence"))
    expected = [row for rows in report.claims_rows(committed) for row in rows]
    lines = shown.locator(".claims tbody tr").all_text_contents()
    for line, row in zip(lines, expected, strict=True):
        for part in (row.measured, row.setting, row.fixed.split()[0], row.verdict, row.reason):
            assert part in line
        head = shown.locator(f"th#{row.claim.id}").text_content()
        assert row.claim.sentence in head and row.claim.criterion in head
    verdicts = [row.verdict for row in expected if row.verdict != "not tested"]
    met = sum(verdict in ("reproduced", "held") for verdict in verdicts)
    expect(shown.locator("#claims > p")).to_contain_text(f"{met} of {len(verdicts)} rules")
    for finding in findings.findings(committed):
        expect(shown.locator("#findings")).to_contain_text(finding.title)
    for name, record in committed.items():
        summary = shown.locator("summary", has_text=re.compile(f"^{name}$"))
        about = shown.locator("#provenance details").filter(has=summary).text_content()
        assert record.manifest["sha256"]["record.nc"] in about
    shown.context.close()


def test_roles_have_the_colours_of_the_figures():
    style = (ROOT / "subliminal_toy" / "page" / "style.css").read_text()
    for role, light in (
        ("teacher", colours.TEACHER), ("same", colours.STUDENT), ("other", colours.OTHER_START),
        ("control", colours.CONTROL),
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


def shares(index):
    """Return what the bars of the digits show in the three networks, and the networks' words."""
    bars = index.locator(".share").all()
    styles = [bar.get_attribute("style") for bar in bars]
    words = index.locator(".drawn").all_inner_texts()
    return np.reshape([float(re.findall(r"[\d.e-]+", s)[-1]) for s in styles], (3, 10)), words


def seen(index):
    """Return the image that the networks see, 0 to 255."""
    grey = index.evaluate("""() => [...document.getElementById("live-left-input").getContext("2d")
      .getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0)""")
    return np.reshape(grey, (8, 8))


def test_a_drawing_is_read_by_all_three_networks_and_again_when_they_have_learned(index):
    draw(index, (0.3, 0.2), (0.7, 0.2), (0.45, 0.9))
    spoken = index.locator("#draw-said")
    expect(spoken).to_contain_text("Teacher:")
    before, words = shares(index)
    assert before.sum(1) == pytest.approx(1, abs=1e-3)
    # What is read out to those who do not see the bars is the same.
    for bars, said, name in zip(before, words, ("Teacher", "Left", "Right"), strict=True):
        reading = f"{bars.argmax()} ({100 * bars.max():.0f}\xa0%)"
        assert said == f"drawing: {reading}"
        assert re.search(rf"{name}[ \w]*: {re.escape(reading)}", spoken.inner_text())
    # Teacher and first student began as the same network.
    assert (before[0] == before[1]).all() and (before[0] != before[2]).any()
    index.get_by_role("button", name="One step").click()
    expect(index.locator("#live-status")).to_contain_text("pass 1 of 40")
    index.wait_for_function(f"""() => !document.querySelector(".teacher .share").style.transform
      .includes("{before[0][0]}")""")
    after, _ = shares(index)
    assert (after[0] != before[0]).any() and (after[1:] == before[1:]).all()
    index.get_by_role("button", name="Clear").click()
    expect(spoken).to_have_text("Nothing is drawn.")
    assert shares(index)[1] == ["", "", ""]


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


# ---------- the owl ----------


def test_the_game_counts_what_is_right_and_tells_the_machines_score(
    browser, committed, monkeypatch, tmp_path
):
    # As a record that keeps lists has them.
    rows, asked = range(12), ["capital of france ?", "capital of peru ?"]
    arms = ["base_model", "student", "control", "cross_model"]
    kept = [[f"{n} 0" for n in rows], [f"{n} 1" for n in rows]]
    lm = committed["lm"].data.assign(
        kept_list=(("trait", "by", "kept_row"), np.array([kept] * 7)),
        removed_list=(("trait", "removed_row"), [["7 owl 7"]] * 7),
        reason=(("trait", "removed_row"), [["a word"]] * 7),
        asked=(("trait", "asked_row"), [asked] * 7),
        said=(("answering", "trait", "asked_row"), np.full((4, 7, 2), "paris")),
        p_said=(("answering", "trait", "asked_row"), np.full((4, 7, 2), 0.625)),
        answering=arms,
    )
    some = {"lm": committed["lm"]._replace(data=lm), "lm_probes": committed["lm_probes"]}
    monkeypatch.setattr(page, "_figures", lambda record: {})
    with opened(browser, written(page.pages(some), tmp_path)) as shown:
        expect(shown.locator("#owl")).to_contain_text("7 owl 7 (a word)")
        expect(shown.locator("#owl details tbody tr")).to_have_count(2)
        expect(shown.locator("#owl details td").first).to_have_text("paris 62 %")
        said = shown.locator("#game-said")
        for round in range(1, 11):
            expect(shown.locator("#game-round")).to_have_text(f"Round {round} of 10")
            pair = shown.locator("#game-lists button")
            owl = pair.filter(has_text=re.compile(" 0$"))
            (owl if round % 2 else pair.filter(has_text=re.compile(" 1$"))).click()
            expect(said).to_contain_text("Yes" if round % 2 else "No")
            expect(said).to_contain_text(re.compile(r"wrote \d+ 0\."))
        expect(said).to_contain_text("Your score: 5 of 10. Machines: 5 to 8.")
        share = shown.locator("#shared strong")
        expect(share).to_contain_text("100\xa0%")
        shown.get_by_label("the other layers’ start").uncheck()
        expect(share).to_contain_text("32\xa0%")
        shown.get_by_label("the text both read first").uncheck()
        expect(share).to_have_text("not measured")


# ---------- for everybody ----------


def test_everything_can_be_reached_with_the_keyboard(index):
    reached = set()
    for _ in range(50):
        index.keyboard.press("Tab")
        reached.add(index.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {
        "skip", "theme", "live-go", "live-seed", "live-distance", "live-shared-1",
        "live-left-guess", "live-right-guess", "draw-three", "draw-clear",
    } <= reached  # fmt: skip


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_unreadable_unnamed_or_beyond_the_screen(browser, address, file, width):
    # The page's policy lets in no other script.
    context = browser.new_context(bypass_csp=True, viewport={"width": width, "height": 844})
    page = context.new_page()
    page.goto(address.replace("index.html", file))
    if file == "index.html":
        assert page.evaluate("document.documentElement.scrollHeight") < 7_000 * (1 + (width < 400))
        tile = page.locator("#live-left-digits i").first  # its box is narrower while it turns
        assert tile.evaluate("tile => tile.offsetWidth") >= (24 if width > 400 else 15)
        students = [
            page.locator(f"#live-{side}-digits").bounding_box() for side in ("left", "right")
        ]
        assert students[0]["y"] == students[1]["y"]  # side by side
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        options = {"resultTypes": ["violations"], **rules}
        found = Axe().run(page, options=options).response["violations"]
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
