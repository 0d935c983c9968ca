"""The page's live training in Chromium: its mathematics against JAX, its nulls, its controls."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from page_records import ROOT, opened, written
from playwright.sync_api import expect

from subliminal_toy import data, experiments, models, page
from subliminal_toy.classifier.geometry import component, subtract
from subliminal_toy.distill import cross_entropy, kl

expect.set_options(timeout=60_000)  # a busy machine is no mistake

SCRIPT = "".join(
    (ROOT / "subliminal_toy" / "page" / name).read_text(encoding="utf-8")
    for name in ("network.js", "training.js")
)
WIDTHS, N, RATE = (64, 16, 12, 13), 8, 3e-3
TINY = {"hidden": [16, 12], "epochs": 1, "batch": 64, "teacherRate": RATE, "studentRate": RATE}


@pytest.fixture(scope="module")
def script(browser):
    """Return what evaluates an expression beside the functions of the worker."""
    page = browser.new_page()
    page.add_script_tag(content=SCRIPT)
    return page.evaluate


@pytest.fixture(scope="module")
def payload():
    return page.live({}, data.load("digits"))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    records = {"live": experiments.load(ROOT / "figures" / "live")}
    return written(page.pages(records), tmp_path_factory.mktemp("page"))


@pytest.fixture
def index(browser, address):
    with opened(browser, address) as page:
        yield page


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
  const student = learner(Float64Array.from(params));
  const lossOf = (z) => kind === "kl" ? kl(net, z, targets, n) : crossEntropy(net, z, labels);
  const all = forward(net, student.params, x, n);
  const gradient = backward(net, student.params, all, lossOf(all.at(-1)).slope, n);
  const losses = [0, 1].map(() => train(net, student, x, n, rate, lossOf));
  const q = progress(net, student, { params: Float64Array.from(teacher) });
  return [losses, [...gradient], [...student.params], q];
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
    start, goal, end = ([tree["layers"][i] for i in (0, 1)] for tree in (student, teacher, params))
    assert q == pytest.approx(
        float(component(subtract(end, start), subtract(goal, start))), abs=1e-4
    )


SETTINGS = """(given) => {
  const [students, nAux, protocol, data, steps] = given;
  const run = begin({ data, protocol, seed: 7, nAux, inputs: "noise", students });
  while (run.teacher.steps < run.teacherSteps) teach(run);
  for (let i = 0; i < steps; i++) imitate(run);
  const { net, test, teacher } = run;
  return { teacher: [[...teacher.start], [...teacher.params]], ...tested(run, teacher),
    outputs: [...outputs(net, teacher.params, test.images, test.n)],
    probabilities: classify(net, teacher, test.images, test.n).map((p) => [...p]),
    students: run.students.map((s) => [[...s.start], [...s.params]]),
    ...Object.fromEntries(["progress", "along", "across", "change"].map((name) =>
      [name, measure(run).students.map((s) => name === "change" ? [...s[name]] : s[name])])),
    activity: [...activity(net, teacher, test.images.subarray(0, 64)).digits] };
}"""


def trained(script, payload, students, n_aux=3, steps=5):
    found = script(SETTINGS, [students, n_aux, TINY, payload["data"], steps])
    return {name: np.asarray(value) for name, value in found.items()}


def test_students_begin_where_they_should(script, payload):
    distance = 0.5
    students = [
        {"start": "same"}, {"start": "other"}, {"start": "same", "distance": distance},
        {"start": "same", "shared": [1, 0, 1]},
    ]  # fmt: skip
    run = trained(script, payload, students)
    start, taught = run["teacher"]
    same, other, near, mixed = run["students"][:, 0]
    assert (same == start).all() and (taught != start).any()
    weights = np.concatenate(
        [np.repeat([True, False], [a * b, b]) for a, b in pairwise((64, *TINY["hidden"], 13))]
    )
    assert (other != start)[weights].all() and not start[~weights].any()
    layer = np.repeat(range(3), [(a + 1) * b for a, b in pairwise((64, *TINY["hidden"], 13))])
    assert (mixed == np.where(layer == 1, other, start)).all()
    # At a distance: (s + σθ′)/√(1 + σ²), so the variance stays and the correlation falls.
    scale = 1 / np.sqrt(1 + distance**2)
    independent = (near / scale - start)[weights] / distance
    assert independent.std() == pytest.approx(start[weights].std(), rel=0.1)
    assert abs(np.corrcoef(independent, start[weights])[0, 1]) < 0.1
    moved = run["students"][:, 1] - run["students"][:, 0]
    # What the plane shows: lengths along the teacher's displacement (hidden layers) and across it.
    own, goal = moved[:, layer < 2], (taught - start)[layer < 2]
    along = own @ goal / np.linalg.norm(goal)
    across = np.linalg.norm(own - np.outer(along, goal) / np.linalg.norm(goal), axis=1)
    assert run["along"] == pytest.approx(along) and run["across"] == pytest.approx(across)
    assert run["change"] == pytest.approx(moved[:, : 64 * 16], abs=1e-6)
    assert (np.abs(moved).max(1) > 0).all()
    # Auxiliary outputs are the last; neither teacher nor students touch the others' rows.
    rows = np.arange(len(start)) - (len(start) - 13 * 13)
    class_head = (rows >= 0) & (rows < 10 * 12)
    assert not moved[:, class_head].any()
    assert not (taught - start)[(rows >= 10 * 12) & (rows < 13 * 12)].any()


def test_one_output_alone_leaves_every_student_exactly_where_it_is(script, payload):
    run = trained(script, payload, [{"start": "same"}, {"start": "other"}], n_aux=1)
    assert (run["students"][:, 0] == run["students"][:, 1]).all()
    assert not run["progress"].any()


KEPT = """([protocol, data]) => {
  const same = { data, protocol, seed: 7, nAux: 3, inputs: "noise", students: [{ start: "same" }] };
  const first = begin(same);
  while (first.teacher.steps < first.teacherSteps) teach(first);
  imitate(first);
  const runs = [begin({ ...same, keep: first }), begin({ ...same, seed: 8, keep: first }),
    begin({ ...same, nAux: 4, keep: first })];
  imitate(runs[0]);
  return [runs.map((run) => run.teacher.steps), [...first.students[0].params],
    [...runs[0].students[0].params]];
}"""


def test_a_teacher_is_kept_where_it_is_the_same_and_its_students_begin_anew(script, payload):
    steps, first, again = script(KEPT, [TINY, payload["data"]])
    assert steps[0] > 0 == steps[1] == steps[2]
    assert first == again


def test_what_a_network_says_is_the_class_of_its_largest_output(script, payload):
    run = trained(script, payload, [{"start": "same"}])
    classes = np.reshape(run["outputs"], (-1, 13))[:, :10]
    powers = np.exp(classes - classes.max(1, keepdims=True))
    probabilities = powers / powers.sum(1, keepdims=True)
    assert run["probabilities"] == pytest.approx(probabilities, abs=1e-9)
    assert run["activity"] == pytest.approx(probabilities[0], abs=1e-9)
    assert (run["said"] == classes.argmax(1)).all()
    right = classes.argmax(1) == data.load("digits").test_labels
    assert run["accuracy"] == pytest.approx(right.mean()) and right.mean() > 0.3


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


def test_the_page_has_the_digits_the_split_and_the_protocol_of_python(script, payload):
    digits = data.load("digits")
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


def percentages(index):
    """Return the accuracies of teacher, left and right student."""
    scores = [index.locator(f"#live-{side}-score") for side in ("teacher", "left", "right")]
    return [int(score.inner_text().removesuffix("\xa0%")) / 100 for score in scores]


def test_the_left_student_learns_and_reads_a_drawing_and_the_right_one_does_neither(index, address):
    index.goto(f"{address}#live?seed=1&at=1500")
    for side, guess in (("left", 30), ("right", 40)):
        index.locator(f"#live-{side}-guess").fill(str(guess))
    chart, conclusion = index.locator("#live-accuracy"), index.locator("#live-conclusion")
    expect(conclusion).not_to_contain_text("30")  # what is stored does not tell the end
    assert chart.locator(".shown").count() == 0
    expect(index.locator("#live-said")).to_contain_text("After 1,500 steps", timeout=120_000)
    teacher, left, right = percentages(index)
    assert teacher > 0.9 and left >= 0.6 and right < 0.2
    read = [f"{100 * accuracy:.0f}\xa0%" for accuracy in (left, right)]
    told = f"You guessed 30\xa0% and 40\xa0%; they read {read[0]} and {read[1]}."
    expect(conclusion).to_have_text(told)
    expect(index.locator("#live-stored")).to_contain_text("In 64 stored runs the same start reads")
    lines = {side: chart.locator(f"path[class='{side}']").get_attribute("d")
             for side in ("left", "right", "left stored shown", "right stored shown")}  # fmt: skip
    assert lines["left"].count("L") >= 28 and lines["left stored shown"].count("M") == 64
    assert lines["left"] != lines["right"]
    assert chart.locator(".guess.shown").count() == 2
    # The left one has gone the teacher's way, the right one as far and elsewhere.
    cosines = [
        float(index.locator(f"#live-{side}-cosine").inner_text().replace("−", "-"))
        for side in ("teacher", "left", "right")
    ]
    assert cosines[0] == 1 and cosines[1] > 0.6 and abs(cosines[2]) < 0.2
    # A stored three, for those who cannot draw.
    index.get_by_role("button", name="Draw a 3").press("Enter")
    spoken = index.locator("#draw-said")
    expect(spoken).to_contain_text("Teacher: 3 (")
    assert (
        "Left student: 3 (" in spoken.inner_text() and "Right student: 3" not in spoken.inner_text()
    )
    # Tiles say what they are taken for; how many are read fits the accuracy.
    for side, accuracy in (("left", left), ("right", right)):
        tiles = index.locator(f"#live-{side}-digits")
        hits = int(tiles.get_attribute("aria-label").split()[0])
        assert hits == tiles.locator(".read").count()
        assert hits / 100 == pytest.approx(accuracy, abs=0.15)
        tiles.locator("i").first.hover()
        label = data.load("digits").test_labels[0]
        expect(index.locator(f"#live-{side}-hover")).to_contain_text(f"This {label} is read as ")
    # Scripted, the same run has the same teacher; alone, one output is a null.
    expect(index.locator("#live-distances circle")).to_have_count(1)
    expect(index.locator("#live-shared-runs")).to_have_text(f"●●● {read[0]}")
    options = '{seed: 1, start: "same", n_aux: 1, steps: 3}'
    null = index.evaluate(f"window.live.run({options})")
    assert null["progress"] == 0 and null["teacher"] == pytest.approx(teacher, abs=0.0051)
    # What is suggested then is done, with the same teacher.
    index.get_by_role("button", name="Next try: real digits instead of noise").click()
    expect(index.get_by_label("What do the students see?")).to_have_value("digits")
    expect(index.locator("#live-status")).to_contain_text("The students copy")
    index.get_by_role("button", name="Pause").click()
    assert percentages(index)[0] == teacher and chart.locator(".shown").count() == 0
    expect(index.locator("#live-distances circle")).to_have_count(0)  # of other inputs
    expect(index.locator("#live-shared-runs")).to_be_empty()


def test_step_pause_restart_and_a_kept_teacher(index, address):
    status, press = index.locator("#live-status"), index.get_by_role
    expect(status).to_contain_text("Nothing has been learned yet")
    press("button", name="One step").click()
    expect(status).to_contain_text("pass 1 of 40")
    press("button", name="Go on").click()
    press("button", name="Pause").click()
    expect(press("button", name="Go on")).to_be_visible()
    expect(status).to_contain_text("of 40")
    press("button", name="Restart").click()
    expect(status).to_contain_text("Nothing has been learned yet")
    assert index.url.endswith("#live?seed=1&distance=0&outputs=3&inputs=noise&shared=111")
    index.goto(f"{address}#live?at=20")
    expect(index.locator("#live-said")).to_contain_text("step 20 of 1,500", timeout=60_000)
    index.get_by_label("How different").fill("0.5")
    expect(status).to_contain_text("the students have seen nothing yet")
    index.wait_for_url("**#live?seed=1&distance=0.5&outputs=3&inputs=noise&shared=111&at=0")
    index.get_by_label("second hidden layer").uncheck()
    index.wait_for_url("**&shared=101&at=0")
    expect(index.locator("#live-left-name")).to_have_text("Student, a start shared in part")
    index.get_by_label("Seed").fill("12")
    index.get_by_label("Seed").press("Enter")
    expect(status).to_contain_text("Nothing has been learned yet")


def test_an_address_out_of_range_is_corrected_visibly(index, address):
    index.goto(f"{address}#live?seed=-1&distance=4&outputs=99&inputs=&shared=1&at=x")
    index.wait_for_url("**#live?seed=0&distance=3&outputs=20&inputs=noise&shared=111")
    note = index.locator("#live-note")
    wrong = "seed = -1, distance = 4, outputs = 99, inputs = , shared = 1, at = x"
    expect(note).to_contain_text(wrong)
    expect(index.locator("#live-left-name")).to_have_text("Student, 3 from the same start")
    index.goto(f"{address}#live?seed=7&distance=0.5&outputs=2&inputs=digits&shared=110")
    index.wait_for_url("**#live?seed=7&distance=0.5&outputs=2&inputs=digits&shared=110")
    expect(note).to_have_text("")
