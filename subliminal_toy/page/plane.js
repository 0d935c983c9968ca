"use strict";
// Where the networks have gone: the plane of the teacher's displacement and whatever is across it,
// and the change of each weight of the first layer.

const PLANE = { left: 30, right: 400, top: 14, bottom: 214, unit: 20 }; // points to a unit of length

// Axes of the plane. Returns what draws the paths of networks, each a list of movements.
function drawPlane(plane) {
  const at = ({ along, across }) =>
    [PLANE.left + 70 + along * PLANE.unit, PLANE.bottom - across * PLANE.unit];
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

const WEIGHTS = 8; // units of the first layer in a row, each with the 8 × 8 pixels that it sees

// Shade a square for every weight of the first layer: lighter where it rose, darker where it fell,
// against the root mean square of this network's changes.
function paintChange(canvas, change) {
  const spread = Math.sqrt(mean(change.map((value) => value ** 2))) || 1;
  paintImages(canvas, change.map((value) => value / (2.5 * spread)), WEIGHTS);
}
