"use strict";
// Where the networks have gone: the plane of the teacher's displacement and whatever is across it,
// and the change of each weight of the first layer.

const PLANE = { left: 46, right: 400, top: 14, bottom: 214, unit: 30 }; // points to a unit of length

// Axes of the plane. Returns what draws the paths of networks, each a list of movements.
function drawPlane(plane) {
  const at = ({ along, across }) =>
    [PLANE.left + 60 + along * PLANE.unit, PLANE.bottom - across * PLANE.unit * 0.6];
  const [startX, startY] = at({ along: 0, across: 0 });
  svg(plane, "line", { x1: PLANE.left, x2: PLANE.right, y1: startY, y2: startY });
  svg(plane, "line", { x1: startX, x2: startX, y1: PLANE.top, y2: startY });
  svg(plane, "text", { x: PLANE.right, y: startY + 18, "text-anchor": "end" },
    "the way the teacher went →");
  svg(plane, "text", { x: startX - 8, y: PLANE.top + 4, "text-anchor": "end" }, "any other");
  svg(plane, "text", { x: startX - 8, y: PLANE.top + 18, "text-anchor": "end" }, "way ↑");
  svg(plane, "text", { x: startX - 4, y: startY + 18, "text-anchor": "end" }, "own start");
  const drawn = Object.fromEntries(["teacher", "left", "right"].map((side) => [side, {
    path: svg(plane, "path", { class: side }),
    dot: svg(plane, "circle", { r: 6, class: side }),
    name: svg(plane, "text", { class: `${side} name` }, { teacher: "teacher", left: "same start", right: "another start" }[side]),
  }]));
  return (side, movements) => {
    const points = movements.map(at);
    const [x, y] = points.at(-1) ?? [startX, startY];
    const { path, dot, name } = drawn[side];
    path.setAttribute("d", `M${[[startX, startY], ...points].map((point) =>
      point.map((value) => value.toFixed(1)).join(",")).join("L")}`);
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", y);
    name.setAttribute("x", x + 10);
    name.setAttribute("y", side === "teacher" ? y - 10 : y + 4);
    name.classList.toggle("shown", movements.length > 0);
  };
}

const WEIGHTS = 8; // units of the first layer across and down, each with the 8 × 8 pixels it sees

// Colour a square for every weight of the first layer: the network's colour where it rose, the
// text's where it fell, against the largest change of this network.
function paintChange(canvas, change) {
  const style = getComputedStyle(canvas);
  const rgb = (value) => value.match(/\d+/g).map(Number);
  const [ground, rise, fall] = [style.backgroundColor, style.borderTopColor, style.color].map(rgb);
  const context = canvas.getContext("2d");
  const shown = context.createImageData(canvas.width, canvas.height);
  const most = change.reduce((top, value) => Math.max(top, Math.abs(value)), 0) || 1;
  change.forEach((value, i) => {
    const [unit, pixel] = [Math.floor(i / IMAGE ** 2), i % IMAGE ** 2];
    const x = (unit % WEIGHTS) * (IMAGE + 1) + (pixel % IMAGE);
    const y = Math.floor(unit / WEIGHTS) * (IMAGE + 1) + Math.floor(pixel / IMAGE);
    const part = Math.min(1, 1.5 * Math.abs(value) / most);
    const mixed = ground.map((low, channel) => low + part * ((value > 0 ? rise : fall)[channel] - low));
    shown.data.set([...mixed, 255], 4 * (y * canvas.width + x));
  });
  context.putImageData(shown, 0, 0);
}
