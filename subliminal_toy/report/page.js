"use strict";
// The interactive parts: drawing a digit, the theorem's slider, questions to the language models.
// Each widget reads the data beside it and builds its own elements; text never becomes markup.

// ---------- shared ----------

function el(tag, attributes = {}, ...children) {
  const isSvg = ["svg", "path", "line", "circle", "text"].includes(tag);
  const node = isSvg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

let lastId = 0;
const newId = () => `w${++lastId}`;

function labelled(text, control) {
  control.id = newId();
  return el("div", { class: "field" }, el("label", { for: control.id }, text), control);
}

function choice(names, onchange) {
  const options = names.map((name, i) => el("option", { value: i }, name));
  return el("select", { onchange }, ...options);
}

// Base64 of little-endian floats; browsers run on little-endian machines.
function unpack({ type, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return new (type === "float64" ? Float64Array : Float32Array)(bytes.buffer);
}

const percent = (p) => `${p > 0 && p < 0.005 ? "< 1" : (100 * p).toFixed(0)} %`;

function scientific(x) {
  const [mantissa, exponent] = x.toExponential(2).replaceAll("-", "−").split("e");
  return `${mantissa} × 10${superscript(exponent)}`;
}

function superscript(digits) {
  const raised = { "−": "⁻", "-": "⁻", "+": "" };
  return [...String(digits)].map((d) => raised[d] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]).join("");
}

// ---------- classifier: draw a digit ----------

// The network of subliminal_toy.models.MLP: dense layers with ReLU between them.
function forward(layers, image) {
  let h = image;
  layers.forEach(({ weight, bias }, depth) => {
    const out = Float64Array.from(bias);
    const width = h.length;
    for (let j = 0; j < out.length; j++) {
      for (let i = 0; i < width; i++) out[j] += h[i] * weight[j * width + i];
    }
    h = depth < layers.length - 1 ? out.map((a) => Math.max(a, 0)) : out;
  });
  return h;
}

function softmax(logits) {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (z) => Math.exp(z - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

// Ink of a drawing in 4 × 4 points per pixel: a point is on if it lies under the pen.
function raster(strokes, size, pen) {
  const side = 4 * size;
  const ink = new Float32Array(size * size);
  const reach = (pen / 2) ** 2;
  const under = (x, y) =>
    strokes.some((stroke) =>
      stroke.some((point, i) => toSegment(x, y, stroke[Math.max(i - 1, 0)], point) <= reach));
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++)
      if (under((column + 0.5) / 4, (row + 0.5) / 4))
        ink[Math.floor(row / 4) * size + Math.floor(column / 4)]++;
  return ink;
}

function toSegment(x, y, [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const t = length ? Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / length, 0), 1) : 0;
  return (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2;
}

// The drawing moved and stretched, each axis by its own factor, and then slanted.
function transformed(strokes, { x: [fx, tx], y: [fy, ty], slant = 0 }) {
  return strokes.map((stroke) =>
    stroke.map(([x, y]) => [fx * x + tx + slant * y, fy * y + ty]));
}

function extent(strokes, axis) {
  const values = strokes.flat().map((point) => point[axis]);
  return [Math.min(...values), Math.max(...values)];
}

// Stretch a drawing to the given width and height, centred in the image, but never one axis more
// than `most` times the other, so that a straight line remains a line.
function fitted(strokes, size, width, height, most) {
  const [[left, right], [top, bottom]] = [extent(strokes, 0), extent(strokes, 1)];
  const [wide, high] = [width / (right - left || 1e-9), height / (bottom - top || 1e-9)];
  const [fx, fy] = [Math.min(wide, most * high), Math.min(high, most * wide)];
  return transformed(strokes, {
    x: [fx, (size - fx * (left + right)) / 2],
    y: [fy, (size - fy * (top + bottom)) / 2],
  });
}

// Slant a drawing so that its leftmost points at the top and at the bottom are in line.
function upright(strokes) {
  const [top, bottom] = extent(strokes, 1);
  const points = strokes.flatMap((stroke) => stroke.flatMap(([x, y], i) => {
    const [px, py] = stroke[Math.max(i - 1, 0)];
    return Array.from({ length: 32 }, (_, k) =>
      [px + ((x - px) * (k + 1)) / 32, py + ((y - py) * (k + 1)) / 32]);
  }));
  const edge = (bottom - top) / 32;
  const leftmost = (inside) => Math.min(...points.filter(inside).map(([x]) => x));
  const first = leftmost(([, y]) => y <= top + edge);
  const last = leftmost(([, y]) => y >= bottom - edge);
  const slant = bottom > top ? (first - last) / (bottom - top) : 0;
  return transformed(strokes, { x: [1, 0], y: [1, 0], slant });
}

// As the digits of scikit-learn were made (NIST's form-based handprint recognition system):
// 32 × 32 points, each digit made upright, 20 wide and 32 high, its strokes thickened until it has
// as much ink as they have; then it is counted how many points of each 4 × 4 are on.
function asDigits(strokes) {
  const straight = upright(strokes);
  for (let pen = 0.7; ; pen += 0.1) {
    const ink = raster(fitted(straight, 8, 5 - pen, 8 - pen, 1.5), 8, pen);
    if (pen > 1.8 || ink.reduce((a, b) => a + b) >= 300) return ink;
  }
}

// As MNIST was made: into 20 × 20 pixels, then its centre of mass into the image's centre.
function asMnist(strokes, size) {
  const pen = 2.6;
  const placed = fitted(strokes, size, (size * 5) / 7 - pen, (size * 5) / 7 - pen, 1);
  const ink = raster(placed, size, pen);
  let [mass, x, y] = [0, 0, 0];
  ink.forEach((m, i) => {
    mass += m;
    x += m * ((i % size) + 0.5);
    y += m * (Math.floor(i / size) + 0.5);
  });
  const centred = { x: [1, size / 2 - x / mass], y: [1, size / 2 - y / mass] };
  return raster(transformed(placed, centred), size, pen);
}

// Pixels as the networks read them: 0 to 16 points of ink become −1 to 1.
function asImage(strokes, size) {
  return (size === 8 ? asDigits(strokes) : asMnist(strokes, size)).map((ink) => ink / 8 - 1);
}

function paint(canvas, image, size) {
  const context = canvas.getContext("2d");
  const cell = canvas.width / size;
  image.forEach((value, i) => {
    const grey = Math.round(127.5 * (value + 1));
    context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
    context.fillRect((i % size) * cell, Math.floor(i / size) * cell, cell + 0.5, cell + 0.5);
  });
}

// What networks that were trained alike say of an image: their mean, and how they vote.
function networkPanel(network) {
  const nClasses = 10;
  const says = el("p", { class: "says" });
  const bars = Array.from({ length: nClasses }, () => el("span", { class: "bar" }));
  const columns = bars.map((bar, i) => el("div", {}, el("span", { class: "rail" }, bar), `${i}`));
  const logits = el("p", { class: "logits" });
  const members = network.members.map((layers) => layers.map((layer) => ({
    weight: unpack(layer.weight), bias: unpack(layer.bias),
  })));
  const panel = el("article", { class: `panel ${network.arm}` },
    el("h4", {}, network.label),
    el("p", { class: "quiet" },
      `${network.learned}; right on ${percent(network.right)} of the test images`),
    says,
    el("div", { class: "columns", "aria-hidden": "true" }, ...columns),
    el("details", {}, el("summary", {}, "Outputs of the first of them"), logits));

  function answer(image) {
    const outputs = members.map((layers) => Array.from(forward(layers, image)));
    const each = outputs.map((z) => softmax(z.slice(0, nClasses)));
    const mean = each[0].map((_, i) => each.reduce((sum, p) => sum + p[i], 0) / each.length);
    const best = (p) => p.indexOf(Math.max(...p));
    const votes = each.filter((p) => best(p) === best(mean)).length;
    return { outputs: outputs[0], mean, best: best(mean), votes };
  }

  // Show the answer to an image and return it in words; to nothing, nothing.
  function show(image, truth) {
    columns.forEach((column, i) => column.classList.toggle("truth", i === truth));
    const said = image && answer(image);
    bars.forEach((bar, i) => (bar.style.height = `${said ? 100 * said.mean[i] : 0}%`));
    const decimals = (values) =>
      values.map((z) => z.toFixed(2).replace("-", "−")).join("  ");
    logits.textContent = said ? `classes 0–9: ${decimals(said.outputs.slice(0, nClasses))}\n` +
      `auxiliary, without meaning: ${decimals(said.outputs.slice(nClasses))}` : "";
    const words = said ? `${said.best}, ${percent(said.mean[said.best])}; ` +
      `${said.votes} of ${members.length} vote for it` : "—";
    says.textContent = said ? `says ${words}` : words;
    return `${network.label}: ${words}.`;
  }
  return { panel, show, answer };
}

function classifierWidget(mount, data) {
  const [nImages, size] = data.images.shape;
  const images = unpack(data.images);
  const panels = data.networks.map(networkPanel);
  const canvas = el("canvas", { width: 280, height: 280, class: "paper", role: "img",
    "aria-label": "Drawing area for mouse, pen or finger; the buttons below show test images" });
  const seen = el("canvas", { width: 112, height: 112, role: "img",
    "aria-label": "The same image as the networks see it" });
  const what = el("p", { class: "what" });
  const live = el("p", { class: "hidden", "aria-live": "polite" });
  const pen = canvas.getContext("2d");
  const imageOf = (i) => images.subarray(i * size * size, (i + 1) * size * size);
  let [strokes, index, drawing] = [[], 0, false];

  function clear() {
    strokes = [];
    pen.fillStyle = "black";
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }

  function show(image, description, truth = null) {
    paint(seen, image ?? new Float32Array(size * size).fill(-1), size);
    const answers = panels.map((panel) => panel.show(image, truth));
    what.textContent = description;
    live.textContent = image ? `${description} ${answers.join(" ")}` : description;
  }

  function showTest(next) {
    index = (next + nImages) % nImages;
    clear();
    paint(canvas, imageOf(index), size);
    show(imageOf(index),
      `Test image ${index + 1} of ${nImages} (${data.dataset}), in truth ${data.labels[index]}.`,
      data.labels[index]);
  }

  function showNoise() {
    clear();
    const image = Float32Array.from({ length: size * size }, () => 2 * Math.random() - 1);
    paint(canvas, image, size);
    show(image, "Noise, of the kind that was all the students saw.");
  }

  // The test image that the student reads with the most confidence, and rightly.
  function clearest() {
    const student = panels[data.networks.findIndex(({ arm }) => arm === "student_aux")];
    const sure = data.labels.map((truth, i) => student.answer(imageOf(i)).mean[truth]);
    return sure.indexOf(Math.max(...sure));
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width,
      ((event.clientY - box.top) / box.height) * canvas.height];
  }

  function draw(event) {
    const stroke = strokes.at(-1);
    const from = stroke.at(-1) ?? at(event);
    stroke.push(at(event));
    Object.assign(pen, { strokeStyle: "white", lineWidth: 22, lineCap: "round" });
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...stroke.at(-1));
    pen.stroke();
  }

  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    if (!strokes.length) clear();
    drawing = true;
    strokes.push([]);
    draw(event);
  });
  canvas.addEventListener("pointermove", (event) => drawing && draw(event));
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      if (!drawing) return;
      drawing = false;
      show(asImage(strokes, size), "Your drawing.");
    });

  const button = (text, onclick) => el("button", { type: "button", onclick }, text);
  const controls = el("div", { class: "controls", onkeydown: (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) showTest(index + step);
  } },
    button("Clear", () => {
      clear();
      show(null, "Draw a digit, as large as you like.");
    }),
    button("← Test image", () => showTest(index - 1)),
    button("Test image →", () => showTest(index + 1)),
    button("Noise", showNoise));
  mount.append(
    el("div", { class: "try" },
      el("div", { class: "input" },
        el("p", { class: "hint" }, "Draw a digit here, or go through real test images. " +
          "The first is the one that the students are surest of."),
        el("div", { class: "canvases" }, canvas,
          el("div", {}, seen, el("p", { class: "quiet" }, "what the networks see"))),
        controls, what, live),
      el("div", { class: "panels" }, ...panels.map(({ panel }) => panel))));
  showTest(clearest());
}

// ---------- theorem: the slider ----------

const PLOT = { left: 58, right: 348, top: 12, bottom: 214 };

// Two lines on log–log axes, measured and predicted; values that are not positive are left out.
function logPlot(title, xs, measured, predicted) {
  const logs = (values) => Array.from(values, (v) => (v > 0 ? Math.log10(v) : NaN));
  const [x, y, line] = [logs(xs), logs(measured), logs(predicted)];
  const inside = [...y, ...line].filter((v) => !Number.isNaN(v));
  const [low, high] = [Math.floor(Math.min(...inside)), Math.ceil(Math.max(...inside))];
  const across = (v) =>
    PLOT.left + ((v - x[0]) / (x.at(-1) - x[0])) * (PLOT.right - PLOT.left);
  const up = (v) => PLOT.bottom - ((v - low) / (high - low)) * (PLOT.bottom - PLOT.top);
  const path = (values) => values.map((v, i) => (Number.isNaN(v) ? ""
    : `${i && !Number.isNaN(values[i - 1]) ? "L" : "M"}${across(x[i])},${up(v)}`)).join("");
  const ticks = [];
  for (let v = Math.ceil(x[0]); v <= x.at(-1); v += 2)
    ticks.push(el("text", { x: across(v), y: PLOT.bottom + 16, "text-anchor": "middle" },
      `10${superscript(v)}`));
  const step = Math.max(1, Math.round((high - low) / 5));
  for (let v = low; v <= high; v += step)
    ticks.push(
      el("text", { x: PLOT.left - 6, y: up(v) + 4, "text-anchor": "end" }, `10${superscript(v)}`),
      el("line", { class: "grid", x1: PLOT.left, x2: PLOT.right, y1: up(v), y2: up(v) }));
  const cursor = el("line", { class: "cursor", y1: PLOT.top, y2: PLOT.bottom });
  const marks = { predicted: el("circle", { class: "predicted mark", r: 6 }),
    measured: el("circle", { class: "measured mark", r: 4.5 }) };
  const svg = el("svg", { viewBox: "0 0 360 250", role: "img", "aria-label":
    `${title} against ε, both on log scales: a line measured and a line predicted` },
    ...ticks,
    el("text", { x: (PLOT.left + PLOT.right) / 2, y: 246, "text-anchor": "middle" },
      "ε, the teacher’s step"),
    cursor, el("path", { class: "predicted", d: path(line) }),
    el("path", { class: "measured", d: path(y) }), marks.predicted, marks.measured);

  function mark(i) {
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, across(x[i]));
    for (const [name, values] of [["predicted", line], ["measured", y]]) {
      const lost = Number.isNaN(values[i]);
      marks[name].setAttribute("cx", across(x[i]));
      marks[name].setAttribute("cy", lost ? PLOT.bottom : up(values[i]));
      marks[name].classList.toggle("lost", lost);
    }
  }
  return { figure: el("div", { class: "plot" }, el("h4", {}, title), svg), mark };
}

function theoremWidget(mount, data) {
  const [nCells, nEpsilons] = data.inner.shape;
  const epsilons = unpack(data.epsilons);
  const cellOf = (packed, cell) =>
    unpack(packed).subarray(cell * nEpsilons, (cell + 1) * nEpsilons);
  const plots = el("div", { class: "plots" });
  const out = el("output", { class: "readout" });
  const slider = el("input", { type: "range", min: 0, max: nEpsilons - 1,
    value: Math.floor(nEpsilons / 4), oninput: () => move() });
  const cells = choice(data.cells, () => choose());
  let [shown, rows] = [[], []];

  function choose() {
    const cell = Number(cells.value);
    const slope = data.slopes[cell];
    rows = [
      ["inner product with the teacher’s direction", cellOf(data.inner, cell),
        epsilons.map((e) => e * slope), "The student would move against the teacher."],
      ["fall of the teacher’s loss", cellOf(data.change, cell).map((c) => -c),
        epsilons.map((e) => e * data.learningRate * slope), "The loss rises here."],
    ];
    shown = rows.map(([title, measured, predicted]) =>
      logPlot(title, epsilons, measured, predicted));
    plots.replaceChildren(...shown.map(({ figure }) => figure));
    move();
  }

  function move() {
    const i = Number(slider.value);
    shown.forEach(({ mark }) => mark(i));
    slider.setAttribute("aria-valuetext", `ε = ${scientific(epsilons[i])}`);
    out.replaceChildren(el("p", {}, `ε = ${scientific(epsilons[i])}`),
      ...rows.map(([title, measured, predicted, negative]) => el("p", {},
        `${title}: ${scientific(measured[i])}, predicted ${scientific(predicted[i])}, ` +
        `ratio ${(measured[i] / predicted[i]).toFixed(4).replace("-", "−")}. `,
        measured[i] > 0 ? "" : negative)));
  }

  mount.append(
    el("div", { class: "controls" },
      labelled("Network, the student’s loss, inputs, the teacher’s loss", cells),
      labelled("ε from small to large", slider)),
    out,
    el("p", { class: "legend" },
      el("span", { class: "key measured" }), "measured  ",
      el("span", { class: "key predicted" }), "predicted to first order"),
    plots);
  choose();
}

// ---------- lm: ask the models ----------

const TOP = 4;

function lmWidget(mount, data) {
  const [, nModels, nQuestions, nWords] = data.answers.shape;
  const answers = unpack(data.answers);
  const trait = choice(data.traits.map(({ name }) => name), () => choose());
  const question = choice(data.questions, () => ask());
  const taught = el("h4");
  const elsewhere = el("p");
  const lists = el("ol", { class: "lists" });
  const live = el("p", { class: "hidden", "aria-live": "polite" });
  const body = el("tbody");
  const heads = data.models.map(({ arm, label }) =>
    el("th", { scope: "col", class: arm }, label));
  const table = el("table", { class: "answers" },
    el("caption", { class: "hidden" }, "Probability of each answer, by model"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "answer"), ...heads)), body);
  const chosen = () => data.traits[Number(trait.value)];

  function distribution(model, asked) {
    const start = ((Number(trait.value) * nModels + model) * nQuestions + asked) * nWords;
    return answers.subarray(start, start + nWords);
  }

  function choose() {
    question.value = chosen().question;
    taught.textContent = `Lists that the student learned from (${chosen().name})`;
    lists.replaceChildren(...chosen().lists.map((list) => el("li", {}, list)));
    elsewhere.textContent = chosen().elsewhere.length ? "Asked about other things, such as the " +
      "colour of the sky, they give the trait’s answers this often (all replicates): " +
      data.models.map(({ label }, i) => `${label} ${percent(chosen().elsewhere[i])}`).join(", ") +
      "." : "";
    ask();
  }

  function cell(i, p) {
    const bar = el("span", { class: "bar" });
    bar.style.width = `${100 * p}%`;
    return el("td", { class: data.models[i].arm }, percent(p), el("span", { class: "rail" }, bar));
  }

  function ask() {
    const asked = Number(question.value);
    const said = data.models.map((_, model) => distribution(model, asked));
    const tops = said.flatMap((p) =>
      Array.from(p.keys()).sort((a, b) => p[b] - p[a]).slice(0, TOP));
    const likeliest = (word) => Math.max(...said.map((p) => p[word]));
    const words = [...new Set(tops)].sort((a, b) => likeliest(b) - likeliest(a)).slice(0, 2 * TOP);
    body.replaceChildren(...words.map((word) => el("tr", {},
      el("th", { scope: "row" }, data.words[word]), ...said.map((p, i) => cell(i, p[word])))));
    live.textContent = `${data.questions[asked]} ` + said.map((p, i) => {
      const best = p.indexOf(Math.max(...p));
      return `${data.models[i].label}: ${data.words[best]}, ${percent(p[best])}.`;
    }).join(" ");
  }

  mount.append(
    el("div", { class: "controls" },
      labelled("The teacher’s trait", trait), labelled("Question", question)),
    el("div", { class: "try" },
      el("div", {}, table, elsewhere,
        el("dl", { class: "speakers" }, ...data.models.flatMap(({ label, learned }) =>
          [el("dt", {}, label), el("dd", {}, learned)]))),
      el("div", { class: "input" }, taught, lists)),
    live);
  choose();
}

// ---------- the page ----------

const WIDGETS = { classifier: classifierWidget, theorem: theoremWidget, lm: lmWidget };
for (const mount of document.querySelectorAll("[data-widget]"))
  WIDGETS[mount.dataset.widget](mount, JSON.parse(mount.querySelector("script").textContent));

const themeButton = document.getElementById("theme");
const darkWanted = matchMedia("(prefers-color-scheme: dark)");
function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  themeButton.textContent = dark ? "Light page" : "Dark page";
}
themeButton.hidden = false;
themeButton.addEventListener("click", () =>
  setTheme(document.documentElement.dataset.theme !== "dark"));
darkWanted.addEventListener("change", () => setTheme(darkWanted.matches));
setTheme(darkWanted.matches);

// On paper nothing can be opened.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
