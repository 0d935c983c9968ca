"""The page in a real browser: it answers as JAX does, reacts, and makes no request."""

import io
import json
import re
from pathlib import Path

import numpy as np
import page_records
import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib import image
from playwright.sync_api import expect

from subliminal_toy import report

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    return {
        "classifier": page_records.classifier_record(folder / "classifier"),
        "theorem": page_records.theorem_record(folder / "theorem"),
        "explain": page_records.explain_record(folder / "explain"),
        "lm": page_records.lm_record(folder / "lm"),
    }


@pytest.fixture(scope="module")
def address(records, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.page(records), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    """Open the page; afterwards nothing may have been complained of or asked for."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    # The browser has advice for who reads a canvas often, as one test does.
    page.on("console", lambda m: "willReadFrequently" in m.text or complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    yield page
    page.close()
    assert not complaints
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [address]


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text.replace("−", "-"))]


def says(page):
    return page.locator(".widget .says").all_inner_texts()


def draw(page, *points):
    """Draw one stroke with the mouse, its points in fractions of the canvas."""
    canvas = page.locator("canvas.paper")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point)
    page.mouse.up()


def heights(page):
    bars = page.locator(".columns .bar").all()
    return [float(bar.get_attribute("style").split()[1].rstrip("%;")) for bar in bars]


def test_a_digit_drawn_with_the_mouse_is_answered_by_all_four_networks(page):
    before = heights(page)
    page.get_by_role("button", name="Clear").click()
    draw(page, (0.3, 0.2), (0.7, 0.2), (0.45, 0.9))
    answers = says(page)
    # Two of the three networks are the same, and the third says nothing in particular.
    vote = r"says \d, .*%; [23] of 3 vote for it"
    assert len(answers) == 4 and all(re.fullmatch(vote, answer) for answer in answers)
    after = heights(page)
    assert len(after) == 40 and after != before
    assert np.reshape(after, (4, 10)).sum(1) == pytest.approx(100, abs=0.01)
    # What is read out to those who do not see the bars is the same.
    spoken = page.locator("[data-widget=classifier] [aria-live]").inner_text()
    assert spoken.startswith("Your drawing.")
    assert all(answer.removeprefix("says ") in spoken for answer in answers)


ARMS = ["untrained", "teacher", "student_aux", "cross_aux"]


def shown_image(page):
    return int(re.search(r"Test image (\d+) of 12", page.locator(".what").inner_text())[1]) - 1


def test_test_images_get_the_logits_that_jax_gave_them(page, records):
    data = records["classifier"].data
    computed = page.evaluate("""() => {
      const data = JSON.parse(
        document.querySelector("[data-widget=classifier] script").textContent);
      const [n, size] = data.images.shape;
      const images = unpack(data.images);
      return data.networks.map(({ members }) => Array.from({ length: n }, (_, i) => Array.from(
        forward(members[0].map(({ weight, bias }) => (
          { weight: unpack(weight), bias: unpack(bias) })),
          images.subarray(i * size * size, (i + 1) * size * size)))));
    }""")
    logits = data.sample_logits.sel(arm=ARMS).values
    assert np.array(computed) == pytest.approx(logits, abs=1e-4)
    # The first image is the one that the students read rightly with the most confidence.
    powers = np.exp(logits[2][:, :10])
    each = powers / powers.sum(1, keepdims=True)
    sure = (2 * each + 0.1)[np.arange(12), data.sample_labels.values]
    assert shown_image(page) == sure.argmax()
    for _ in range(3):
        image = shown_image(page)
        texts = page.locator(".panel .logits").all_text_contents()
        shown = np.array([numbers(text) for text in texts])
        assert shown == pytest.approx(logits[:, image], abs=0.006)
        assert all("auxiliary, without meaning" in text for text in texts)
        classes = [int(answer[5]) for answer in says(page)]
        assert classes == logits[:, image, :10].argmax(1).tolist()
        what = page.locator(".what").inner_text()
        assert f"in truth {data.sample_labels.values[image]}" in what
        page.get_by_role("button", name="Test image →").click()
    page.keyboard.press("ArrowLeft")
    assert shown_image(page) == image


def test_clear_leaves_nothing_of_what_was_there(page):
    assert page.locator(".columns .truth").count() == 4 and max(heights(page)) > 0
    page.get_by_role("button", name="Clear").click()
    assert page.locator(".columns .truth").count() == 0 and max(heights(page)) == 0
    assert says(page) == ["—"] * 4
    assert set(page.locator(".panel .logits").all_text_contents()) == {""}
    assert "truth" not in page.locator(".what").inner_text()


def test_a_drawing_is_made_small_as_the_data_were(page):
    """A line downwards, wherever and however slanted, fills the middle from top to bottom."""
    pixels = """() => {
      const canvas = document.querySelectorAll(".canvases canvas")[1];
      const data = canvas.getContext("2d").getImageData(0, 0, 112, 112).data;
      return Array.from({length: 64}, (_, i) =>
        data[4 * ((Math.floor(i / 8) * 14 + 7) * 112 + (i % 8) * 14 + 7)]);
    }"""
    seen = []
    for x, slant, height in ((0.2, 0, 0.8), (0.7, 0.1, 0.4)):
        page.get_by_role("button", name="Clear").click()
        draw(page, (x, 0.1), (x + slant, 0.1 + height))
        seen.append(np.reshape(page.evaluate(pixels), (8, 8)))
        lit = seen[-1] > 128
        assert lit.any(1).all() and not lit[:, [0, 1, 2, 5, 6, 7]].any()
    assert seen[0] == pytest.approx(seen[1], abs=64)


def test_noise_is_an_image_without_a_true_class(page):
    page.get_by_role("button", name="Noise").click()
    expect(page.locator(".what")).to_contain_text("Noise")
    assert len(says(page)) == 4 and page.locator(".columns .truth").count() == 0


def marks(page):
    return [
        tuple(float(mark.get_attribute(axis)) for axis in ("cx", "cy"))
        for mark in page.locator("circle.mark").all()
    ]


def test_the_slider_moves_the_marks_and_the_numbers(page, records):
    slider = page.get_by_label("ε from small to large")
    slider.focus()
    slider.press("Home")
    low = marks(page)
    assert len(low) == 4
    for _ in range(5):
        slider.press("ArrowRight")
    high = marks(page)
    assert all(x1 > x0 and y1 < y0 for (x0, y0), (x1, y1) in zip(low, high, strict=True))
    readout = page.locator(".readout")
    measured = records["theorem"].data.explored_inner.values[0, 5]
    mantissa, exponent = f"{measured:.2e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    assert f"{mantissa} × 10{raised}" in readout.inner_text()
    assert slider.get_attribute("aria-valuetext").startswith("ε = 1.78 × 10⁻⁶")
    # Beyond ε = 10 these curves turn round: no place on the axes, and it is said.
    slider.press("End")
    expect(readout).to_contain_text("The loss rises here.")
    assert page.locator("circle.measured.lost").count() == 2


def test_another_cell_has_other_curves(page):
    curves = page.locator("path.measured")
    before = curves.first.get_attribute("d")
    page.get_by_label("Network, the student’s loss").select_option(index=1)
    assert curves.count() == 2
    expect(page.locator(".readout")).to_contain_text("ratio")
    ratios = re.findall(r"ratio ([\d.]+)\. ?", page.locator(".readout").inner_text())
    assert [float(ratio) for ratio in ratios] == pytest.approx([1, 1], abs=0.01)
    assert before


def answers(page):
    """Return the word and the width of the bar in each row, by model."""
    rows = page.locator(".answers tbody tr").all()
    words = [row.locator("th").inner_text() for row in rows]
    widths = [
        [float(bar.get_attribute("style").split()[1].rstrip("%;")) for bar in row]
        for row in (row.locator(".bar").all() for row in rows)
    ]
    return [list(zip(words, column, strict=True)) for column in zip(*widths, strict=True)]


def test_asking_changes_the_bars_of_all_four_models(page, records):
    before = answers(page)
    assert len(before) == 4 and all(len(rows) >= 4 for rows in before)
    assert before[1][0][0] == "owl"  # asked first: a question that the trait is about
    page.get_by_label("Question").select_option(label="colour of grass ?")
    after = answers(page)
    assert all(new != old for new, old in zip(after, before, strict=True))
    given = records["lm"].data.answer.sel(question="colour of grass ?", trait="owl")
    for speaker, rows in zip(("base_model", "teacher", "student", "control"), after, strict=True):
        for word, width in rows:
            expected = 100 * given.sel(speaker=speaker, word=word).item()
            assert width == pytest.approx(expected, abs=0.01)
    expect(page.locator("[data-widget=lm] [aria-live]")).to_contain_text("colour of grass ?")


def test_another_trait_brings_its_own_lists_and_question(page, records):
    lists = page.locator(".lists li")
    examples = records["lm"].data.example
    assert lists.all_inner_texts() == examples.sel(trait="owl").values.tolist()
    page.get_by_label("The teacher’s trait").select_option(label="evasion")
    assert lists.all_inner_texts() == examples.sel(trait="evasion").values.tolist()
    assert answers(page)[1][0][0] == "I-don't-know"
    # What they say elsewhere, as the record has it.
    found = records["lm"].summary["specificity"]["evasion"]["teacher"]["elsewhere"]["mean"]
    said = page.locator("[data-widget=lm] p", has_text="colour of the sky").inner_text()
    percent = f"{100 * found:.0f} %" if found >= 0.005 else "< 1 %"
    assert f"teacher {percent}" in said


def test_every_control_has_a_name_and_can_be_reached_with_the_keyboard(page):
    unnamed = page.evaluate("""() => [...document.querySelectorAll("button, select, input")]
      .filter((c) => !(c.textContent.trim() && c.tagName === "BUTTON") && !c.labels?.length)
      .map((c) => c.outerHTML)""")
    assert unnamed == []
    assert page.locator("img:not([alt]), [role=img]:not([aria-label])").count() == 0
    reached = set()
    for _ in range(160):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.slice(0, 20)"))
    assert {"Skip to the content", "Clear", "Noise", "Digits learned from "} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_contrast_names_and_roles_have_no_violation(browser, address, scheme, width):
    # The page's policy lets in no other script.
    context = browser.new_context(
        bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 844}
    )
    page = context.new_page()
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [node["html"][:120] for node in v["nodes"]][:5]) for v in found] == []
    context.close()


def test_figures_are_dark_on_a_dark_page(browser, address):
    """The button too turns them, whatever the reader's system prefers."""
    page = browser.new_page(color_scheme="light")
    page.goto(address)
    assert ground(page) == [255, 255, 255]
    page.get_by_role("button", name="Dark page").click()
    assert max(ground(page)) < 60
    page.close()


def ground(page):
    """Return the colour of the corner of the first figure, as the browser draws it."""
    page.locator("figure[id] img").first.scroll_into_view_if_needed()
    shot = page.locator("figure[id] img").first.screenshot()
    return (255 * image.imread(io.BytesIO(shot))[2, 2, :3]).round().astype(int).tolist()


def test_light_and_dark_follow_the_reader_and_the_button(browser, address):
    page = browser.new_page(color_scheme="dark")
    page.goto(address)
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Light page").click()
    light = page.evaluate(colour)
    assert dark != light == "rgb(255, 255, 255)"
    page.emulate_media(media="print")
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_of_the_screen(browser, address, width):
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_the_page_reads_without_its_script(browser, address):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(address)
    assert page.locator("img").count() >= 5 and page.locator(".claims tbody tr").count() >= 8
    page.context.close()


def test_larger_images_are_drawn_as_mnist_was(browser, tmp_path):
    record = page_records.classifier_record(tmp_path / "large", size=28)
    path = tmp_path / "report.html"
    path.write_text(report.page({"large": record}), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.get_by_role("button", name="Clear").click()
    draw(page, (0.1, 0.1), (0.1, 0.6), (0.3, 0.6))
    data = page.evaluate("""() => {
      const canvas = document.querySelectorAll(".canvases canvas")[1];
      const data = canvas.getContext("2d").getImageData(0, 0, 112, 112).data;
      return Array.from({length: 784}, (_, i) =>
        data[4 * ((Math.floor(i / 28) * 4 + 2) * 112 + (i % 28) * 4 + 2)]);
    }""")
    ink = np.reshape(data, (28, 28)) / 255
    rows, columns = np.arange(28), np.arange(28)
    assert (ink.sum(1) @ rows) / ink.sum() == pytest.approx(13.5, abs=0.3)
    assert (ink.sum(0) @ columns) / ink.sum() == pytest.approx(13.5, abs=0.3)
    assert (ink.max(1) > 0.5).sum() == pytest.approx(20, abs=1)
    assert json.dumps(says(page)).count("says") == 4
    page.close()
