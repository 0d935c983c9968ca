"use strict";
// Pictures of a run: the networks at work, what the students see, the test digits, the curves.

const IMAGE = 8; // pixels across
const ACROSS = 10; // test digits in a row
const FEWEST_MS = 350; // between two pictures of noise: no more than three flashes a second
const percent = (p) => `${(100 * p).toFixed(0)}\u00a0%`;

// An element of SVG, at the end of its parent.
function svg(parent, tag, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  parent.append(node);
  return node;
}

// Draw images of 8 × 8 pixels in [−1, 1] into a canvas, so many in a row, a pixel between them.
function paintImages(canvas, images, across) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!images) return;
  const shown = context.createImageData(canvas.width, canvas.height);
  images.forEach((value, i) => {
    const [which, pixel] = [Math.floor(i / IMAGE ** 2), i % IMAGE ** 2];
    const x = (which % across) * (IMAGE + 1) + (pixel % IMAGE);
    const y = Math.floor(which / across) * (IMAGE + 1) + Math.floor(pixel / IMAGE);
    const grey = 127.5 * (value + 1);
    shown.data.set([grey, grey, grey, 255], 4 * (y * canvas.width + x));
  });
  context.putImageData(shown, 0, 0);
}

// ---------- a network ----------

const DRAWING = { hidden: [24, 62], outputs: 100, top: 8, bottom: 142, most: 5 };

// Draw a network: some units of its shared layers, ten digit outputs, its spare outputs (at most
// five of them). Returns what shows an activity in it.
function drawNetwork(drawing, nSpare) {
  drawing.replaceChildren();
  const spares = Math.min(nSpare, DRAWING.most);
  const height = DRAWING.bottom - DRAWING.top;
  const column = (x, n) => Array.from({ length: n }, (_, i) => [x, DRAWING.top + (height * (i + 0.5)) / n]);
  const hidden = DRAWING.hidden.map((x) => column(x, N_DRAWN));
  const outs = column(DRAWING.outputs, N_CLASSES + 1 + spares).toSpliced(N_CLASSES, 1);
  const layers = [[[0, (DRAWING.top + DRAWING.bottom) / 2]], ...hidden, outs];
  layers.slice(1).forEach((layer, i) => layer.forEach(([x, y], j) => layers[i].forEach(([fromX, fromY]) =>
    svg(drawing, "line", { x1: fromX, y1: fromY, x2: x, y2: y,
      class: i === 2 && j >= N_CLASSES ? "edge spare" : "edge" }))));
  const units = hidden.map((layer) => layer.map(([x, y]) => {
    svg(drawing, "circle", { cx: x, cy: y, r: 5, class: "unit" });
    return svg(drawing, "circle", { cx: x, cy: y, r: 5, class: "active" });
  }));
  const digits = outs.slice(0, N_CLASSES).map(([x, y], digit) => {
    svg(drawing, "text", { x, y: y + 3.6 }, digit);
    return svg(drawing, "rect", { x: x + 8, y: y - 3.5, width: 50, height: 7, class: "share" });
  });
  const spare = outs.slice(N_CLASSES).map(([x, y]) => {
    svg(drawing, "circle", { cx: x, cy: y, r: 2, class: "unit" });
    return svg(drawing, "rect", { x: x - 4, y: y - 4, width: 8, height: 8, class: "pulse" });
  });
  return (activity) => {
    units.forEach((layer, i) => {
      const most = Math.max(...activity.hidden[i]) || 1;
      layer.forEach((unit, j) => (unit.style.opacity = activity.hidden[i][j] / most));
    });
    digits.forEach((bar, i) => (bar.style.transform = `scaleX(${activity.digits[i]})`));
    // A square of the area of the output's share, if as many had a third each.
    spare.forEach((square, i) =>
      (square.style.transform = `rotate(45deg) scale(${Math.sqrt((activity.spare[i] * nSpare) / 2)})`));
  };
}

// ---------- test digits ----------

// Fill a box with the first hundred test digits; `name` gives the tile's text when pointed at.
// Returns what turns those that are now read rightly, or no longer.
function drawTiles(box, { images, labels }, pointed) {
  const ink = document.createElement("canvas");
  ink.width = ink.height = IMAGE * ACROSS;
  const context = ink.getContext("2d");
  const shown = context.createImageData(ink.width, ink.height);
  for (let i = 0; i < (IMAGE * ACROSS) ** 2; i++) {
    const [which, pixel] = [Math.floor(i / IMAGE ** 2), i % IMAGE ** 2];
    const x = (which % ACROSS) * IMAGE + (pixel % IMAGE);
    const y = Math.floor(which / ACROSS) * IMAGE + Math.floor(pixel / IMAGE);
    shown.data[4 * (y * ink.width + x) + 3] = (255 * parseInt(images[i], 17)) / 16;
  }
  context.putImageData(shown, 0, 0);
  box.style.setProperty("--digits", `url(${ink.toDataURL()})`);
  const tiles = Array.from({ length: ACROSS ** 2 }, (_, i) => {
    const tile = document.createElement("i");
    const at = (place) => `${(100 * place) / (ACROSS - 1)}%`;
    tile.style.setProperty("--at", `${at(i % ACROSS)} ${at(Math.floor(i / ACROSS))}`);
    box.append(tile);
    return tile;
  });
  let latest = null;
  box.addEventListener("pointerover", ({ target }) => {
    const i = tiles.indexOf(target);
    if (i >= 0 && latest) pointed(`This ${labels[i]} is read as ${latest[i]}.`);
  });
  return (said) => {
    latest = said;
    tiles.forEach((tile, i) => tile.classList.toggle("read", said[i] === Number(labels[i])));
    const hits = box.querySelectorAll(".read").length;
    box.setAttribute("aria-label", `${hits} of these ${tiles.length} test digits are read correctly`);
  };
}

// ---------- curves ----------

const BOX = { left: 44, right: 380, top: 10, bottom: 190 };

// Axes of accuracy against steps. Returns what draws a side's run, and what shows or hides the
// stored runs and the guesses.
function drawChart(chart, nSteps, stored) {
  const across = (step) => BOX.left + (step / nSteps) * (BOX.right - BOX.left);
  const up = (accuracy) => BOX.bottom - accuracy * (BOX.bottom - BOX.top);
  const line = (points) => points.map(([step, accuracy], i) =>
    `${i ? "L" : "M"}${across(step).toFixed(1)},${up(accuracy).toFixed(1)}`).join("");
  for (const tick of [0, 0.5, 1]) {
    svg(chart, "line", { x1: BOX.left, x2: BOX.right, y1: up(tick), y2: up(tick) });
    svg(chart, "text", { x: BOX.left - 6, y: up(tick) + 4, "text-anchor": "end" }, percent(tick));
  }
  for (const step of [0, nSteps / 2, nSteps])
    svg(chart, "text", { x: across(step), y: BOX.bottom + 16, "text-anchor": "middle" },
      step.toLocaleString("en"));
  svg(chart, "text", { x: across(nSteps / 2), y: BOX.bottom + 34, "text-anchor": "middle" },
    "steps of copying");
  const lines = {};
  for (const [side, curves] of Object.entries(stored ?? {}))
    lines[`${side} stored`] = svg(chart, "path", { class: `${side} stored`,
      d: curves.map((values) => line(values)).join("") });
  for (const side of ["left", "right"]) lines[side] = svg(chart, "path", { class: side });
  const guesses = Object.fromEntries(["left", "right"].map((side) =>
    [side, svg(chart, "text", { x: BOX.right + 4, class: `${side} guess` }, "◂ guess")]));
  return {
    draw: (side, points) => lines[side].setAttribute("d", line(points)),
    reveal: (side, fits, guess) => {
      lines[`${side} stored`]?.classList.toggle("shown", fits);
      guesses[side].classList.toggle("shown", guess !== null);
      if (guess !== null) guesses[side].setAttribute("y", up(guess) + 4);
    },
  };
}

// Accuracy against the distance of the left student's start: stored points with their intervals,
// the visitor's own runs, and a line at the present setting. Returns what draws the last two.
function drawDistances(chart, points) {
  const [left, right, top, bottom] = [54, 290, 10, 110];
  const x = (distance) => left + (distance / 3) * (right - left);
  const y = (accuracy) => bottom - accuracy * (bottom - top);
  for (const tick of [0, 0.5, 1]) {
    svg(chart, "line", { x1: left, x2: right, y1: y(tick), y2: y(tick) });
    svg(chart, "text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, percent(tick));
  }
  for (const tick of [0, 1, 2, 3])
    svg(chart, "text", { x: x(tick), y: bottom + 15, "text-anchor": "middle" }, tick);
  const here = svg(chart, "line", { y1: top, y2: bottom, class: "here" });
  svg(chart, "path", { class: "left", d: points.map(([distance, accuracy], i) =>
    `${i ? "L" : "M"}${x(distance)},${y(accuracy)}`).join("") });
  for (const [distance, , low, high] of points)
    svg(chart, "path", { class: "left", d: `M${x(distance)},${y(low)}V${y(high)}` });
  const own = svg(chart, "g", { class: "left" });
  return (distance, runs) => {
    here.setAttribute("x1", x(distance));
    here.setAttribute("x2", x(distance));
    own.replaceChildren();
    for (const run of runs)
      svg(own, "circle", { cx: x(run.distance), cy: y(run.accuracy), r: 4.5 });
  };
}
