"""The page's live training in Chromium: its mathematics against JAX, its nulls, its controls."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import page_records
import pytest
from playwright.sync_api import expect

from subliminal_toy import data, models, report
from subliminal_toy.distill import cross_entropy, kl
from subliminal_toy.explain.geometry import progress
from subliminal_toy.report import live

SCRIPT = (Path(live.__file__).parent / "live.js").read_text(encoding="utf-8")
WIDTHS, N, RATE = (64, 16, 12, 13), 8, 3e-3
TINY = {"hidden": [16, 12], "epochs": 1, "batch": 64, "teacherRate": RATE, "studentRate": RATE}


@pytest.fixture(scope="module")
def script(browser):
    """Return what evaluates an expression beside the functions of the worker."""
    page = browser.new_page()
    page.add_script_tag(content=SCRIPT)
    return page.evaluate


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A record of the live training, with made-up curves."""
    folder = tmp_path_factory.mktemp("records") / "live"
    record = page_records.classifier_record(folder, config=replace(live.LIVE, n_replicates=2))
    steps = [*live.LIVE.checkpoints, 1_500]
    curve = np.full((2, 4, len(steps)), 0.5), ("replicate", "student", "step")
    students = record.data.arm.values[2:].tolist()
    curves = record.data.assign_coords(student=students, step=steps).assign(
        dict.fromkeys(live.CURVES.values(), curve[::-1])
    )
    return {"live": record._replace(data=curves)}


@pytest.fixture(scope="module")
def address(records, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.page(records), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    """Open the page; afterwards nothing may have been complained of or asked for."""
    page = browser.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    page.close()
    assert not complaints
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [address]


# ---------- the mathematics ----------


def flat(params):
    """Return parameters as the script keeps them: of each layer weights, then biases."""
    layers = params["layers"]
    return np.concatenate(
        [np.ravel(layers[i][part]) for i in sorted(layers) for part in ("weight", "bias")]
    )


@pytest.fixture(scope="module")
def fixed():
    """A teacher, a student, inputs and labels."""
    net = models.mlp((8, 8), WIDTHS[1:-1], WIDTHS[-1])
    teacher, student = (net.init(jax.random.key(i)) for i in range(2))
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.uniform(-1, 1, (N, 64)), jnp.float32)
    return net, teacher, student, inputs, jnp.asarray(rng.integers(0, 10, N), jnp.int32)


STEPS = """([widths, params, teacher, inputs, labels, rate, kind]) => {
  const net = network(widths), n = labels.length, x = Float64Array.from(inputs);
  const targets = outputs(net, Float64Array.from(teacher), x, n);
  const of = learner(Float64Array.from(params));
  const lossOf = (z) => kind === "kl" ? kl(net, z, targets, n) : crossEntropy(net, z, labels);
  const all = forward(net, of.params, x, n);
  const gradient = backward(net, of.params, all, lossOf(all.at(-1)).slope, n);
  const losses = [0, 1].map(() => train(net, of, x, n, rate, lossOf));
  const q = progress(net, of, { params: Float64Array.from(teacher) });
  return [losses, [...gradient], [...of.params], q];
}"""


@pytest.mark.parametrize("kind", ["kl", "cross-entropy"])
def test_losses_gradient_adam_and_progress_are_those_of_jax(script, fixed, kind):
    net, teacher, student, inputs, labels = fixed
    targets = net.apply(teacher, inputs)

    def loss(params):
        z = net.apply(params, inputs)
        if kind == "kl":
            return kl(z, targets, slice(10, None))
        return cross_entropy(z, labels, slice(10))

    tx = optax.adam(RATE)

    @jax.jit
    def two_steps(params):
        state, found = tx.init(params), []
        for _ in range(2):
            found.append(jax.value_and_grad(loss)(params))
            updates, state = tx.update(found[-1][1], state)
            params = optax.apply_updates(params, updates)
        return *zip(*found, strict=True), params

    losses, gradients, params = two_steps(student)
    arrays = [flat(student), flat(teacher), np.ravel(inputs), labels]
    given = [list(WIDTHS), *(np.asarray(a).tolist() for a in arrays), RATE, kind]
    found_losses, found_gradient, found_params, q = script(STEPS, given)
    assert found_losses == pytest.approx(np.asarray(losses), rel=1e-4)
    np.testing.assert_allclose(found_gradient, flat(gradients[0]), rtol=0, atol=1e-4)
    assert np.abs(flat(gradients[0])).max() > 0.1  # so 1e-4 is small
    np.testing.assert_allclose(found_params, flat(params), rtol=0, atol=RATE * 1e-2)
    hidden = [models.hidden_layers(tree) for tree in (student, teacher, params)]
    assert q == pytest.approx(float(progress(*hidden)), abs=1e-4)


SETTINGS = """(given) => {
  const [students, nAux, protocol, data, steps] = given;
  const run = begin({ data, protocol, seed: 7, nAux, inputs: "noise", students });
  while (run.teacher.steps < run.teacherSteps) teach(run);
  for (let i = 0; i < steps; i++) imitate(run);
  return { teacher: [[...run.teacher.start], [...run.teacher.params]],
    students: run.students.map((s) => [[...s.start], [...s.params]]),
    progress: measure(run).students.map((s) => s.progress) };
}"""


def trained(script, students, n_aux=3, steps=5):
    digits = live.payload({})["data"]
    found = script(SETTINGS, [students, n_aux, TINY, digits, steps])
    return {name: np.asarray(value) for name, value in found.items()}


def test_students_begin_where_they_should(script):
    distance = 0.5
    students = [{"start": "same"}, {"start": "other"}, {"start": "same", "distance": distance}]
    run = trained(script, students)
    start, taught = run["teacher"]
    same, other, near = run["students"][:, 0]
    assert (same == start).all() and (taught != start).any()
    weights = np.concatenate(
        [np.repeat([True, False], [a * b, b]) for a, b in pairwise((64, *TINY["hidden"], 13))]
    )
    assert (other != start)[weights].all() and not start[~weights].any()
    # At a distance: (s + σθ′)/√(1 + σ²), so the variance stays and the correlation falls.
    scale = 1 / np.sqrt(1 + distance**2)
    independent = (near / scale - start)[weights] / distance
    assert independent.std() == pytest.approx(start[weights].std(), rel=0.1)
    assert abs(np.corrcoef(independent, start[weights])[0, 1]) < 0.1
    moved = run["students"][:, 1] - run["students"][:, 0]
    assert (np.abs(moved).max(1) > 0).all()
    # Auxiliary outputs are the last; neither teacher nor students touch the others' rows.
    rows = np.arange(len(start)) - (len(start) - 13 * 13)
    class_head = (rows >= 0) & (rows < 10 * 12)
    assert not moved[:, class_head].any()
    assert not (taught - start)[(rows >= 10 * 12) & (rows < 13 * 12)].any()


def test_one_output_alone_leaves_every_student_exactly_where_it_is(script):
    run = trained(script, [{"start": "same"}, {"start": "other"}], n_aux=1)
    assert (run["students"][:, 0] == run["students"][:, 1]).all()
    assert not run["progress"].any()


def test_weights_and_noise_have_the_law_of_the_python_side(script):
    weights, noise = script("""() => {
      const net = network([64, 64, 64, 13]);
      return [[...initial(net, generator(3, 1))], [...noise(generator(3, 5), 64)]];
    }""")
    weights = np.asarray(weights[: 64 * 64])
    assert weights.mean() == pytest.approx(0, abs=0.01)
    assert weights.var() * 64 == pytest.approx(1, abs=0.08)
    assert (weights**4).mean() / weights.var() ** 2 == pytest.approx(3, abs=0.4)
    assert np.min(noise) > -1 and np.max(noise) < 1
    assert np.var(noise) == pytest.approx(1 / 3, abs=0.02)


def test_the_page_has_the_digits_the_split_and_the_protocol_of_python(script):
    payload, digits = live.payload({}), data.load("digits")
    for part in ("train", "test"):
        read = "(part) => { const d = digits(part); return [[...d.images], d.labels]; }"
        images, labels = script(read, payload["data"][part])
        assert np.reshape(images, (-1, 8, 8)).tolist() == getattr(digits, f"{part}_images").tolist()
        assert labels == getattr(digits, f"{part}_labels").tolist()
    assert payload["protocol"] == {
        "hidden": (64, 64), "outputs": 3, "epochs": 40, "batch": 64, "teacherRate": 1e-3,
        "studentRate": pytest.approx(3e-3), "steps": 1_500,
    }  # fmt: skip
    assert payload["stored"] is None


# ---------- the page ----------


def shares(page):
    text = page.locator("#live-said").inner_text()
    teacher, left, right = (int(p) / 100 for p in re.findall(r"(\d+)\xa0%", text))
    return teacher, left, right


@pytest.mark.parametrize("seed", [1, 2])
def test_the_left_student_learns_and_the_right_one_does_not(page, address, seed):
    page.goto(f"{address}#live?seed={seed}&at=1500")
    done = page.locator("#live-said")
    expect(done).to_contain_text("Step 1,500 of 1,500", timeout=120_000)
    teacher, left, right = shares(page)
    assert teacher > 0.9 and left >= 0.6 and right < 0.2
    for name in ("accuracy", "loss", "progress"):
        for kind in ("left:not(.stored)", "right:not(.stored)", "left.stored", "right.stored"):
            line = page.locator(f"#live-{name} .live-line.{kind}")
            assert line.get_attribute("d").count("L") >= 28
    said = page.locator("#live-left-now").get_attribute("aria-label")
    assert int(said.split()[0]) / 360 == pytest.approx(left, abs=0.0051)
    if seed == 1:  # scripted, the same run has the same teacher; alone, one output is a null
        options = '{seed: 1, start: "same", n_aux: 1, steps: 3}'
        null = page.evaluate(f"window.live.run({options})")
        assert null["progress"] == 0 and null["teacher"] == pytest.approx(teacher, abs=0.0051)
        before = page.locator("#live-left-before").inner_text()
        assert f"{100 * null['student']:.0f}\xa0%" == before


def test_step_pause_and_restart(page):
    status, press = page.locator("#live-status"), page.get_by_role
    expect(status).to_contain_text("Nothing has been learned yet")
    page.locator("#live-imitate").press("Enter")  # before there is a teacher, it does nothing
    press("button", name="One step").click()
    expect(status).to_contain_text("pass 1 of 40")
    press("button", name="1 Teach").click()
    press("button", name="Pause").click()  # waits until it can be pressed
    expect(page.locator("#live-pause")).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#live-teach")).to_have_attribute("aria-disabled", "false")
    expect(status).to_contain_text("of 40")
    press("button", name="Restart").click()
    expect(status).to_contain_text("Nothing has been learned yet")
    assert page.url.endswith("#live?seed=1&distance=0&outputs=3&inputs=noise")


def test_a_change_begins_anew_and_is_in_the_address(page):
    stored = page.locator("#live-left-stored")
    expect(stored).to_contain_text("2 stored runs")
    page.get_by_label("How far the left student’s start").press("ArrowRight")
    expect(page.locator("#live-left-name")).to_contain_text("0.1 away")
    expect(stored).to_contain_text("No runs are stored")
    expect(page.locator("#live-right-stored")).to_contain_text("2 stored runs")
    page.get_by_label("Further outputs").select_option("20")
    page.get_by_label("What the students look at").select_option("digits")
    page.get_by_label("Seed").fill("12")
    page.get_by_label("Seed").press("Enter")
    page.wait_for_url("**#live?seed=12&distance=0.1&outputs=20&inputs=digits")
    expect(page.locator("#live-right-stored")).to_contain_text("No runs are stored")
    expect(page.locator("#live-stored-key")).to_be_hidden()


def test_an_address_that_says_nonsense_changes_nothing(page, address):
    page.goto(f"{address}#live?seed=-1&distance=7&outputs=99&inputs=&at=x")
    page.wait_for_url("**#live?seed=1&distance=0&outputs=3&inputs=noise")


def test_without_stored_runs_the_training_works_without_them(browser, records, tmp_path):
    other = page_records.classifier_record(tmp_path / "record")
    assert live.is_live(records["live"]) and not live.is_live(other)
    path = tmp_path / "report.html"
    path.write_text(report.page({"other": other}), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    expect(page.locator("#live-status")).to_contain_text("Nothing has been learned yet")
    expect(page.locator("#live-stored-key")).to_be_hidden()
    assert page.locator("#live-left-stored").inner_text() == ""
    page.close()
