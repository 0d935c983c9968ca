"use strict";
// Draw a digit: strokes become an image like those of the data, and the three networks of the
// experiment, as far as they have come, say what they take it for.

// Ink of a drawing in 4 × 4 points per pixel: a point is on if it lies under the pen.
function raster(strokes, pen) {
  const side = 4 * IMAGE;
  const ink = new Float64Array(IMAGE * IMAGE);
  const reach = (pen / 2) ** 2;
  const under = (x, y) =>
    strokes.some((stroke) =>
      stroke.some((point, i) => toSegment(x, y, stroke[Math.max(i - 1, 0)], point) <= reach));
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++)
      if (under((column + 0.5) / 4, (row + 0.5) / 4))
        ink[Math.floor(row / 4) * IMAGE + Math.floor(column / 4)]++;
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
// than half as much again as the other, so that a straight line remains a line.
function fitted(strokes, width, height) {
  const [[left, right], [top, bottom]] = [extent(strokes, 0), extent(strokes, 1)];
  const [wide, high] = [width / (right - left || 1e-9), height / (bottom - top || 1e-9)];
  const [fx, fy] = [Math.min(wide, 1.5 * high), Math.min(high, 1.5 * wide)];
  return transformed(strokes, {
    x: [fx, (IMAGE - fx * (left + right)) / 2],
    y: [fy, (IMAGE - fy * (top + bottom)) / 2],
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
// Pixels as the networks read them: 0 to 16 points of ink become −1 to 1.
function asImage(strokes) {
  const straight = upright(strokes);
  for (let pen = 0.7; ; pen += 0.1) {
    const ink = raster(fitted(straight, 5 - pen, 8 - pen), pen);
    if (pen > 1.8 || ink.reduce((a, b) => a + b) >= 300) return ink.map((points) => points / 8 - 1);
  }
}

(() => {
  // A three as somebody drew it, in fractions of the canvas.
  const THREE = [[[0.28, 0.2], [0.45, 0.12], [0.66, 0.16], [0.72, 0.28], [0.62, 0.41], [0.45, 0.47],
    [0.63, 0.52], [0.74, 0.65], [0.69, 0.81], [0.5, 0.89], [0.28, 0.82]]];
  const find = (name) => document.getElementById(`draw-${name}`);
  const NAMES = { teacher: "Teacher", left: "Left student", right: "Right student" };
  const canvas = find("paper");
  const pen = canvas.getContext("2d");
  let [strokes, drawing, waiting, next] = [[], false, false, null];

  // Show what the networks make of the drawing; if it changes meanwhile, once more. `aloud`: also
  // to those who do not see it.
  async function read(aloud) {
    if (waiting) {
      next = next || aloud;
      return;
    }
    waiting = true;
    const image = strokes.length ? asImage(strokes) : null;
    find("hint").hidden = Boolean(image);
    const activities = await window.live.draw(image);
    const words = Object.entries(NAMES).map(([side, name], i) => {
      const most = image && Math.max(...activities[i].digits);
      const said = image && `${activities[i].digits.indexOf(most)} (${percent(most)})`;
      find(side).textContent = image && `drawing: ${said}`;
      return `${name}: ${said}.`;
    });
    if (aloud) find("said").textContent = image ? words.join(" ") : "Nothing is drawn.";
    waiting = false;
    if (next === null) return;
    const nextAloud = next;
    next = null;
    read(nextAloud);
  }

  function clear() {
    strokes = [];
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }

  function lineTo(point) {
    const stroke = strokes.at(-1);
    const from = stroke.at(-1) ?? point;
    stroke.push(point);
    Object.assign(pen, { strokeStyle: "white", lineWidth: 22, lineCap: "round" });
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...point);
    pen.stroke();
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width,
      ((event.clientY - box.top) / box.height) * canvas.height];
  }

  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    drawing = true;
    strokes.push([]);
    lineTo(at(event));
    read(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    lineTo(at(event));
    read(false);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      drawing = false;
      read(true);
    });
  find("clear").addEventListener("click", () => {
    clear();
    read(true);
  });
  find("three").addEventListener("click", () => {
    clear();
    for (const stroke of THREE) {
      strokes.push([]);
      for (const [x, y] of stroke) lineTo([x * canvas.width, y * canvas.height]);
    }
    read(true);
  });
  document.addEventListener("live", () => strokes.length && read(false));
  clear();
})();
