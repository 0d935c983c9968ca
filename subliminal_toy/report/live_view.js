"use strict";
// The live training on the page: controls, pictures, the address. A worker does the training.
(() => {
  const find = (name) => document.getElementById(`live-${name}`);
  const { data, protocol, stored } = JSON.parse(find("data").textContent);
  const source = find("source").textContent;
  const DISTANCES = [0, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3];
  const CHUNK = { teach: 23, imitate: 25 }; // steps between two pictures
  const SIDES = { left: { start: "same", ground: [213, 94, 0] },
    right: { start: "other", ground: [0, 114, 178] } };
  const [COLUMNS, CELL, SIZE] = [20, 10, 8];
  const FEWEST_MS = 350; // between two batches shown: no more than three flashes a second
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const percent = (p) => `${(100 * p).toFixed(0)}\u00a0%`;
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  // ---------- the worker ----------

  function trainer() {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const worker = new Worker(address);
    const waiting = [];
    worker.onmessage = ({ data: answer }) => waiting.shift().resolve(answer);
    worker.onerror = (event) =>
      waiting.splice(0).forEach(({ reject }) => reject(new Error(event.message)));
    return {
      ask: (message) => new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        worker.postMessage(message);
      }),
      end() {
        worker.terminate();
        URL.revokeObjectURL(address);
      },
    };
  }

  // One teacher and one student from the beginning to the end: accuracies, and progress.
  async function run({ seed = 1, start = "same", n_aux: nAux = protocol.outputs,
    steps = protocol.steps, distance = 0, inputs = "noise" } = {}) {
    if (!["same", "other"].includes(start)) throw new Error('start must be "same" or "other".');
    const own = trainer();
    try {
      const students = [{ start, distance }];
      await own.ask({ begin: { data, protocol, seed, nAux, inputs, students } });
      await own.ask({ teach: Infinity });
      const { teacher, students: [student] } = await own.ask({ imitate: steps });
      return { teacher, student: student.accuracy, progress: student.progress };
    } finally {
      own.end();
    }
  }
  window.live = { run };

  // ---------- pictures ----------

  const ink = Array.from(data.test.images, (c) => parseInt(c, 17) / 16);
  const nTest = data.test.labels.length;

  // All test digits: on the side's colour where read rightly, on a dark ground where not.
  function paintDigits(canvas, right, ground) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    for (let digit = 0; digit < nTest; digit++) {
      const [low, high] = right[digit] ? [ground, [255, 255, 255]] : [[34, 38, 42], [120, 126, 132]];
      const corner = Math.floor(digit / COLUMNS) * CELL * canvas.width + (digit % COLUMNS) * CELL;
      for (let y = 0; y < CELL - 1; y++)
        for (let x = 0; x < CELL - 1; x++) {
          const inside = y < SIZE && x < SIZE;
          const p = inside ? ink[digit * SIZE * SIZE + y * SIZE + x] : 0;
          const mixed = low.map((value, i) => value + p * (high[i] - value));
          image.data.set([...mixed, 255], 4 * (corner + y * canvas.width + x));
        }
    }
    context.putImageData(image, 0, 0);
    const hits = right.reduce((sum, one) => sum + one, 0);
    const when = canvas.id.endsWith("start") ? "at step 0" : "now";
    canvas.setAttribute("aria-label", `${hits} of ${nTest} test digits read correctly ${when}`);
  }

  let shownAt = 0;
  function paintSeen(seen) {
    const now = performance.now();
    if (playing && seen && (calm.matches || now - shownAt < FEWEST_MS)) return;
    shownAt = now;
    const canvas = find("seen");
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!seen) return;
    const across = Math.sqrt(protocol.batch);
    const image = context.createImageData(canvas.width, canvas.height);
    seen.forEach((value, i) => {
      const [which, pixel] = [Math.floor(i / SIZE ** 2), i % SIZE ** 2];
      const x = (which % across) * (SIZE + 1) + (pixel % SIZE);
      const y = Math.floor(which / across) * (SIZE + 1) + Math.floor(pixel / SIZE);
      const grey = 127.5 * (value + 1);
      image.data.set([grey, grey, grey, 255], 4 * (y * canvas.width + x));
    });
    context.putImageData(image, 0, 0);
  }

  const BOX = { left: 48, right: 298, top: 8, bottom: 168 };
  const CURVES = {
    accuracy: { low: 0, high: 1, ticks: [0, 0.5, 1], text: percent, of: (y) => y },
    loss: { low: -4, high: 0, ticks: [-4, -2, 0], text: (v) => String(10 ** v),
      of: (y) => Math.log10(Math.max(y, 1e-9)) },
    progress: { low: 0, high: 1, ticks: [0, 0.5, 1], text: String, of: (y) => y },
  };
  const svg = (tag, attributes, text = "") => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  };
  const across = (step) => BOX.left + (step / protocol.steps) * (BOX.right - BOX.left);

  // The place of a value on a curve's axis; values beyond the axis stay at its ends.
  const up = ({ low, high }, value) => BOX.bottom
    - Math.min(Math.max((value - low) / (high - low), 0), 1) * (BOX.bottom - BOX.top);

  // A line through [step, value].
  const line = (curve, points) => points.map(([step, y], i) =>
    `${i ? "L" : "M"}${across(step).toFixed(1)},${up(curve, curve.of(y)).toFixed(1)}`).join("");

  // The axes and empty paths of a chart; returns the paths by "left", "right", "left stored", ….
  function chart(name) {
    const curve = CURVES[name];
    const box = find(name);
    for (const tick of curve.ticks) {
      const y = up(curve, tick);
      box.append(
        svg("line", { class: "live-grid", x1: BOX.left, x2: BOX.right, y1: y, y2: y }),
        svg("text", { x: BOX.left - 6, y: y + 4, "text-anchor": "end" }, curve.text(tick)));
    }
    for (const step of [0, protocol.steps / 2, protocol.steps])
      box.append(svg("text", { x: across(step), y: BOX.bottom + 16, "text-anchor": "middle" },
        step.toLocaleString("en")));
    box.append(svg("text", { x: (BOX.left + BOX.right) / 2, y: 198, "text-anchor": "middle" }, "step"));
    const paths = {};
    for (const kind of ["left stored", "right stored", "left", "right"])
      box.append((paths[kind] = svg("path", { class: `live-line ${kind}` })));
    return paths;
  }
  const charts = Object.fromEntries(Object.keys(CURVES).map((name) => [name, chart(name)]));

  // Stored runs belong to noise and the protocol's outputs; the left ones to the same start as well.
  function showStored() {
    const { outputs, inputs, distance } = settings();
    let any = false;
    for (const [side, { start }] of Object.entries(SIDES)) {
      const fits = stored && outputs === protocol.outputs && inputs === "noise"
        && (side === "right" || distance === 0);
      any ||= fits;
      for (const name of Object.keys(CURVES))
        charts[name][`${side} stored`].setAttribute("d", fits ? stored[start][name].map((run) =>
          line(CURVES[name], run.map((y, i) => [stored.steps[i], y]))).join("") : "");
      const ends = fits ? stored[start].accuracy.map((run) => run.at(-1)) : [];
      find(`${side}-stored`).textContent = fits
        ? `${ends.length} stored runs of ${stored.steps.at(-1).toLocaleString("en")} steps in Python: ` +
          `${percent(mean(ends))} on average, from ${percent(Math.min(...ends))} to ` +
          `${percent(Math.max(...ends))}.`
        : stored ? "No runs are stored for these settings." : "";
      if (fits) find("stored-n").textContent = ends.length;
    }
    find("stored-key").hidden = !any;
  }

  // ---------- settings and the address ----------

  const settings = () => ({
    seed: Math.min(Math.max(Math.round(Number(find("seed").value)) || 0, 0), 2 ** 32 - 1),
    distance: DISTANCES[find("distance").value],
    outputs: Number(find("outputs").value),
    inputs: find("inputs").value,
  });

  // #live?seed=…&distance=…&outputs=…&inputs=…, and at=step once the teacher is taught.
  function writeAddress() {
    const state = settings();
    if (latest && taught()) state.at = latest.step;
    history.replaceState(null, "", `#live?${new URLSearchParams(state)}`);
  }

  // Set the controls to what the address says; what it does not say, or wrongly, stays as it is.
  // Returns the step that it names, null if it names none.
  function readAddress() {
    const state = new URLSearchParams(location.hash.slice("#live?".length));
    const among = (control, value) => [...control.options].some((option) => option.value === value);
    if (/^\d{1,10}$/.test(state.get("seed"))) find("seed").value = state.get("seed");
    const place = DISTANCES.indexOf(Number(state.get("distance")));
    if (place >= 0) find("distance").value = place;
    for (const name of ["outputs", "inputs"])
      if (among(find(name), state.get(name))) find(name).value = state.get(name);
    if (!/^\d{1,6}$/.test(state.get("at"))) return null;
    return Math.min(Number(state.get("at")), protocol.steps);
  }

  // ---------- the run ----------

  const worker = trainer();
  let [latest, first, path, playing] = [null, null, [], false];
  let last = Promise.resolve();
  const taught = () => latest.taught === latest.toTeach;
  const finished = () => latest.step >= protocol.steps;
  const next = (action) => (last = last.then(action)); // one after the other

  function restart() {
    playing = false;
    return next(async () => {
      const { seed, distance, outputs, inputs } = settings();
      [first, path] = [null, []];
      find("distance-said").textContent = distance === 0 ? "0: the same start"
        : `${distance}: the teacher’s start, mixed with ${distance} parts of other random weights`;
      find("distance").setAttribute("aria-valuetext", find("distance-said").textContent);
      find("left-name").textContent = distance === 0 ? "Left: the teacher’s own start"
        : `Left: ${distance} away from the teacher’s start`;
      find("right-name").textContent = "Right: another start";
      showStored();
      const students = [{ start: "same", distance }, { start: "other" }];
      show(await worker.ask({ begin: { data, protocol, seed, nAux: outputs, inputs, students } }));
      writeAddress();
    });
  }

  // Go on with a stage to its end, or until something stops it.
  function play(stage, end = Infinity, chunk = CHUNK[stage]) {
    return next(async () => {
      playing = true;
      const more = () => stage === "teach" ? !taught() : taught() && latest.step < end;
      while (playing && more()) {
        const steps = stage === "teach" ? chunk : Math.min(chunk, end - latest.step);
        show(await worker.ask({ [stage]: steps }));
        if (chunk === 1) break;
      }
      playing = false;
      show(latest);
      find("said").textContent = find("status").textContent;
      writeAddress();
    });
  }

  function status() {
    const [left, right] = latest.students.map(({ accuracy }) => percent(accuracy));
    const step = latest.step.toLocaleString("en");
    const epochs = (protocol.epochs * latest.taught) / latest.toTeach;
    if (latest.taught === 0) return "Nothing has been learned yet. Press “Teach”.";
    if (!taught())
      return `The teacher learns digits: pass ${Math.ceil(epochs)} of ${protocol.epochs}, ` +
        `${percent(latest.teacher)} of the test digits read correctly.`;
    const teacher = `The teacher reads ${percent(latest.teacher)} of the test digits.`;
    if (latest.step === 0) return `${teacher} Now press “Imitate”.`;
    const alone = settings().outputs === 1
      ? " One output alone cannot be copied, its share is always 1: no student moves at all." : "";
    return `${teacher} Step ${step} of ${protocol.steps.toLocaleString("en")}: ` +
      `the left student reads ${left}, the right one ${right}.${alone}`;
  }

  function show(state) {
    latest = state;
    if (state.step === 0) first = state;
    if (taught() && path.at(-1)?.step !== state.step) path.push(state);
    Object.entries(SIDES).forEach(([side, { ground }], i) => {
      const { accuracy, right } = state.students[i];
      find(`${side}-score`).textContent = percent(accuracy);
      find(`${side}-before`).textContent = percent(first.students[i].accuracy);
      paintDigits(find(`${side}-start`), first.students[i].right, ground);
      paintDigits(find(`${side}-now`), right, ground);
      for (const [name, curve] of Object.entries(CURVES))
        charts[name][side].setAttribute("d",
          line(curve, path.map(({ step, students }) => [step, students[i][name]])));
    });
    paintSeen(state.seen);
    find("seen-said").textContent = !state.seen ? "What both look at: shown here after “Imitate”"
      : `What both look at: ${protocol.batch} ` + (settings().inputs === "noise"
        ? "new images of noise at every step" : "training digits at every step");
    find("status").textContent = status();
    const share = 1 / 4; // of the time, that of the teacher
    find("done").value = share * (state.taught / state.toTeach)
      + (1 - share) * Math.min(state.step / protocol.steps, 1);
    const off = { teach: playing || taught(), imitate: playing || !taught() || finished(),
      pause: !playing, step: playing || (taught() && finished()), restart: false };
    // Buttons that cannot be used stay where the keyboard is.
    for (const [name, value] of Object.entries(off)) find(name).setAttribute("aria-disabled", value);
  }

  function onPress(name, action) {
    find(name).addEventListener("click", () =>
      find(name).getAttribute("aria-disabled") === "true" || action());
  }
  onPress("teach", () => play("teach"));
  onPress("imitate", () => play("imitate", protocol.steps));
  onPress("pause", () => (playing = false));
  onPress("step", () => play(taught() ? "imitate" : "teach", protocol.steps, 1));
  onPress("restart", restart);
  for (const name of ["distance", "outputs", "inputs", "seed"])
    find(name).addEventListener("change", restart);

  // An address that names a step is run up to it.
  function open() {
    if (!location.hash.startsWith("#live?")) return;
    const at = readAddress();
    find("widget").closest("section").scrollIntoView();
    restart();
    if (at === null) return;
    play("teach");
    play("imitate", at);
  }

  find("distance").max = DISTANCES.length - 1;
  find("widget").hidden = false;
  addEventListener("hashchange", open);
  if (location.hash.startsWith("#live?")) open();
  else restart();
})();
