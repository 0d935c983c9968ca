"use strict";
// The live training on the page: controls, pictures, the address. A worker does the training.
(() => {
  const find = (name) => document.getElementById(`live-${name}`);
  const { data, protocol, stored } = JSON.parse(find("data").textContent);
  const source = find("source").textContent;
  const CHUNK = { teach: 23, imitate: 25 }; // steps between two pictures
  const SIDES = { left: "same", right: "other" };
  const GROUNDS = { teacher: [107, 117, 128], left: [213, 94, 0], right: [0, 114, 178] };
  const [COLUMNS, CELL, SIZE] = [10, 9, 8];
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
    const alone = trainer();
    try {
      const students = [{ start, distance }];
      await alone.ask({ begin: { data, protocol, seed, nAux, inputs, students } });
      await alone.ask({ teach: Infinity });
      const { teacher, students: [student] } = await alone.ask({ imitate: steps });
      return { teacher: teacher.accuracy, student: student.accuracy, progress: student.progress };
    } finally {
      alone.end();
    }
  }

  // ---------- pictures ----------

  const ink = Array.from(data.test.images, (c) => parseInt(c, 17) / 16);

  // The first hundred test digits: on the side's colour where read rightly, dark where not.
  function paintDigits(side, said) {
    const canvas = find(`${side}-digits`);
    const image = canvas.getContext("2d").createImageData(canvas.width, canvas.height);
    let hits = 0;
    for (let digit = 0; digit < COLUMNS ** 2; digit++) {
      const right = said[digit] === Number(data.test.labels[digit]);
      hits += right;
      const [low, high] = right ? [GROUNDS[side], [255, 255, 255]] : [[34, 38, 42], [120, 126, 132]];
      const corner = Math.floor(digit / COLUMNS) * CELL * canvas.width + (digit % COLUMNS) * CELL;
      for (let i = 0; i < SIZE ** 2; i++) {
        const p = ink[digit * SIZE ** 2 + i];
        const mixed = low.map((value, channel) => value + p * (high[channel] - value));
        const at = corner + Math.floor(i / SIZE) * canvas.width + (i % SIZE);
        image.data.set([...mixed, 255], 4 * at);
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", `${hits} of these ${COLUMNS ** 2} test digits are read correctly`);
  }

  // What a network takes the digit under the pointer for.
  function pointAt(side, event) {
    if (!latest) return;
    const box = event.target.getBoundingClientRect();
    const place = (along, length) =>
      Math.min(Math.max(Math.floor((COLUMNS * along) / length), 0), COLUMNS - 1);
    const digit = place(event.clientY - box.top, box.height) * COLUMNS
      + place(event.clientX - box.left, box.width);
    const { said } = { teacher: latest.teacher, left: latest.students[0], right: latest.students[1] }[side];
    find(`${side}-hover`).textContent = `This ${data.test.labels[digit]} is read as ${said[digit]}.`;
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
      const x = (which % across) * CELL + (pixel % SIZE);
      const y = Math.floor(which / across) * CELL + Math.floor(pixel / SIZE);
      const grey = 127.5 * (value + 1);
      image.data.set([grey, grey, grey, 255], 4 * (y * canvas.width + x));
    });
    context.putImageData(image, 0, 0);
  }

  const BOX = { left: 48, right: 298, top: 8, bottom: 168 };
  const CURVES = {
    accuracy: { low: 0, high: 1, ticks: [0, 0.5, 1], text: percent, scale: (y) => y },
    imitation_loss: { low: -4, high: 0, ticks: [-4, -2, 0], text: (v) => String(10 ** v),
      scale: (y) => Math.log10(Math.max(y, 1e-9)) },
    progress: { low: 0, high: 1, ticks: [0, 0.5, 1], text: String, scale: (y) => y },
  };
  const across = (step) => BOX.left + (step / protocol.steps) * (BOX.right - BOX.left);

  // The place of a value on a curve's axis; values beyond the axis stay at its ends.
  const up = ({ low, high }, value) => BOX.bottom
    - Math.min(Math.max((value - low) / (high - low), 0), 1) * (BOX.bottom - BOX.top);

  // A line through [step, value].
  const line = (curve, points) => points.map(([step, y], i) =>
    `${i ? "L" : "M"}${across(step).toFixed(1)},${up(curve, curve.scale(y)).toFixed(1)}`).join("");

  // The axes and empty paths of a chart; returns the paths by "left", "right", "left stored", ….
  function chart(name) {
    const curve = CURVES[name];
    const svg = (tag, attributes, text = "") => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      node.textContent = text;
      find(name).append(node);
      return node;
    };
    for (const tick of curve.ticks) {
      const y = up(curve, tick);
      svg("line", { x1: BOX.left, x2: BOX.right, y1: y, y2: y });
      svg("text", { x: BOX.left - 6, y: y + 4, "text-anchor": "end" }, curve.text(tick));
    }
    for (const step of [0, protocol.steps / 2, protocol.steps])
      svg("text", { x: across(step), y: BOX.bottom + 16, "text-anchor": "middle" },
        step.toLocaleString("en"));
    svg("text", { x: (BOX.left + BOX.right) / 2, y: 198, "text-anchor": "middle" }, "step");
    return Object.fromEntries(["left stored", "right stored", "left", "right"].map((kind) =>
      [kind, svg("path", { class: kind })]));
  }
  const charts = Object.fromEntries(Object.keys(CURVES).map((name) => [name, chart(name)]));

  // Stored runs are shown when the run has ended, so that they do not tell the end. They belong to
  // noise and the protocol's outputs; the left ones to the same start as well.
  function showStored() {
    const { outputs, inputs, distance } = settings();
    let n = 0;
    for (const [side, start] of Object.entries(SIDES)) {
      const fits = stored && finished() && outputs === protocol.outputs && inputs === "noise"
        && (side === "right" || distance === 0);
      for (const [name, curve] of Object.entries(CURVES))
        charts[name][`${side} stored`].setAttribute("d", fits ? stored[start][name].map((values) =>
          line(curve, values.map((y, i) => [stored.steps[i], y]))).join("") : "");
      const ends = fits ? stored[start].accuracy.map((values) => values.at(-1)) : [];
      n = Math.max(n, ends.length);
      find(`${side}-stored`).textContent = fits ? `${ends.length} stored runs: ` +
        `${percent(mean(ends))} on average, ${percent(Math.min(...ends))} to ` +
        `${percent(Math.max(...ends))}.` : "";
    }
    find("stored-n").textContent = n;
    find("stored-key").hidden = n === 0;
  }

  // ---------- settings and the address ----------

  const clamp = (low, high) => (x) => Math.min(Math.max(Math.round(x), low), high);
  const nearest = (values) => (x) =>
    values.reduce((best, value) => Math.abs(value - x) < Math.abs(best - x) ? value : best);
  const options = (name) => Array.from(find(name).options, ({ value }) => value);
  const ALLOWED = {
    seed: clamp(0, 2 ** 32 - 1),
    distance: nearest(options("distance").map(Number)),
    outputs: nearest(options("outputs").map(Number)),
    at: clamp(0, protocol.steps),
  };
  const settings = () => ({
    seed: ALLOWED.seed(Number(find("seed").value)),
    distance: Number(find("distance").value),
    outputs: Number(find("outputs").value),
    inputs: find("inputs").value,
  });

  // #live?seed=…&distance=…&outputs=…&inputs=…, and at=step once the teacher is taught.
  function writeAddress() {
    const state = settings();
    if (taught()) state.at = latest.step;
    history.replaceState(null, "", `#live?${new URLSearchParams(state)}`);
  }

  // Set the controls to what the address says, or to what is nearest, and say so if they differ.
  // Returns the step that it names, null if it names none.
  function readAddress() {
    const asked = new URLSearchParams(location.hash.slice("#live?".length));
    const [wanted, taken] = [Object.fromEntries(asked), {}];
    for (const [name, allowed] of Object.entries(ALLOWED)) {
      const x = parseFloat(wanted[name]);
      if (!Number.isNaN(x)) taken[name] = allowed(x);
    }
    if (options("inputs").includes(wanted.inputs)) taken.inputs = wanted.inputs;
    for (const name of ["seed", "distance", "outputs", "inputs"])
      if (name in taken) find(name).value = taken[name];
    const changed = [...Object.keys(ALLOWED), "inputs"].filter((name) =>
      name in wanted && String(taken[name]) !== wanted[name]);
    find("note").textContent = changed.length === 0 ? "" : `The address asked for ` +
      `${changed.map((name) => `${name} = ${wanted[name]}`).join(", ")}, which is not possible here; ` +
      "the settings below are used.";
    return taken.at ?? null;
  }

  // ---------- the run ----------

  const worker = trainer();
  let [latest, first, path, playing] = [null, null, [], false];
  let last = Promise.resolve();
  const taught = () => latest.taught === latest.toTeach;
  const finished = () => taught() && latest.step >= protocol.steps;
  const next = (action) => (last = last.then(action)); // one after the other

  // Begin anew; `keep` the teacher if it would be the same.
  function restart(keep) {
    playing = false;
    return next(async () => {
      const { seed, distance, outputs: nAux, inputs } = settings();
      [first, path] = [null, []];
      find("seed").value = seed;
      find("left-name").textContent = distance === 0 ? "Student, same start"
        : `Student, ${distance} from the same start`;
      const students = [{ start: "same", distance }, { start: "other" }];
      show(await worker.ask({ begin: { data, protocol, seed, nAux, inputs, students, keep } }));
      writeAddress();
    });
  }

  // Go on, first with the teacher, up to a step of the students or until something stops it.
  function play(end, once = false) {
    return next(async () => {
      playing = true;
      while (playing && (!taught() || latest.step < end)) {
        const steps = taught() ? Math.min(CHUNK.imitate, end - latest.step) : CHUNK.teach;
        show(await worker.ask({ [taught() ? "imitate" : "teach"]: once ? 1 : steps }));
        if (once) break;
      }
      playing = false;
      show(latest);
      find("said").textContent = find("status").textContent;
      writeAddress();
    });
  }

  // What to try after a run, by its settings.
  function suggestion() {
    const { seed, distance, outputs, inputs } = settings();
    if (outputs === 1 || distance > 0) return ["all as at first, another seed",
      { seed: seed + 1, distance: 0, outputs: protocol.outputs, inputs: "noise" }];
    if (inputs === "noise") return ["real digits instead of noise", { inputs: "digits" }];
    return ["noise, and a start half way to other weights", { inputs: "noise", distance: 1 }];
  }

  function status() {
    const [left, right] = latest.students.map(({ accuracy }) => percent(accuracy));
    const step = latest.step.toLocaleString("en");
    const epochs = (protocol.epochs * latest.taught) / latest.toTeach;
    if (latest.taught === 0) return "Nothing has been learned yet.";
    if (!taught()) return `The teacher learns digits: pass ${Math.ceil(epochs)} of ${protocol.epochs}.`;
    if (latest.step === 0) return "The teacher has learned digits; the students have seen nothing yet.";
    if (!finished())
      return `The students copy the teacher: step ${step} of ${protocol.steps.toLocaleString("en")}.`;
    const { outputs, inputs } = settings();
    if (outputs === 1) return `After ${step} steps nothing has moved: the share of one output alone ` +
      "is always all, so it says nothing.";
    return `After ${step} steps of copying ${outputs} meaningless outputs on ${inputs}, the left ` +
      `student reads ${left} of the test digits, the right one ${right}; guessing gets 10\u00a0%.`;
  }

  function show(state) {
    latest = state;
    if (state.step === 0) first = state;
    if (taught() && path.at(-1)?.step !== state.step) path.push(state);
    const networks = { teacher: state.teacher, left: state.students[0], right: state.students[1] };
    for (const [side, { accuracy, said }] of Object.entries(networks)) {
      find(`${side}-score`).textContent = percent(accuracy);
      find(`${side}-hover`).textContent = "";
      paintDigits(side, said);
    }
    Object.keys(SIDES).forEach((side, i) => {
      find(`${side}-before`).textContent = percent(first.students[i].accuracy);
      for (const [name, curve] of Object.entries(CURVES))
        charts[name][side].setAttribute("d",
          line(curve, path.map(({ step, students }) => [step, students[i][name]])));
    });
    paintSeen(state.seen);
    showStored();
    find("status").textContent = status();
    const share = 1 / 4; // of the time, that of the teacher
    find("done").value = share * (state.taught / state.toTeach)
      + (1 - share) * Math.min(state.step / protocol.steps, 1);
    const begun = state.taught > 0;
    find("go").textContent = playing ? "Pause" : begun && !finished() ? "Go on" : "Let it learn";
    find("next").hidden = playing || !finished();
    find("next").textContent = `Next try: ${suggestion()[0]}`;
    // Buttons that cannot be used stay where the keyboard is.
    find("go").setAttribute("aria-disabled", !playing && finished());
    find("step").setAttribute("aria-disabled", playing || finished());
    document.dispatchEvent(new Event("live"));
  }

  function onPress(name, action) {
    find(name).addEventListener("click", () =>
      find(name).getAttribute("aria-disabled") === "true" || action());
  }
  onPress("go", () => playing ? (playing = false) : play(protocol.steps));
  onPress("step", () => play(protocol.steps, true));
  onPress("restart", () => restart(false));
  onPress("next", () => {
    for (const [name, value] of Object.entries(suggestion()[1])) find(name).value = value;
    restart(true);
    play(protocol.steps);
    find("go").focus();
  });
  for (const name of ["distance", "outputs", "inputs", "seed"])
    find(name).addEventListener("change", () => restart(true));
  for (const side of Object.keys(GROUNDS))
    for (const kind of ["pointermove", "pointerdown"])
      find(`${side}-digits`).addEventListener(kind, (event) => pointAt(side, event));

  // An address that names a step is run up to it.
  function open() {
    if (!location.hash.startsWith("#live?")) return;
    const at = readAddress();
    find("widget").closest("section").scrollIntoView();
    restart(true);
    if (at !== null) play(at);
  }

  window.live = { run, read: (image) => worker.ask({ read: image }) };
  find("widget").hidden = false;
  addEventListener("hashchange", open);
  if (location.hash.startsWith("#live?")) open();
  else restart(false);
})();
