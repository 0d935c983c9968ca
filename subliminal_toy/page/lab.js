"use strict";
// The experiment on the page: controls, guesses, the address. A worker does the training.

// A worker made from the text of the training; it answers in the order in which it is asked.
function trainer() {
  const source = document.getElementById("live-source").textContent;
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

(() => {
  const find = (name) => document.getElementById(`live-${name}`);
  const { data, protocol, stored, distances } = JSON.parse(find("data").textContent);
  const CHUNK = { teach: 23, imitate: 25 }; // steps between two pictures
  const SIDES = ["teacher", "left", "right"];
  const STUDENTS = ["left", "right"];
  const LAYERS = [0, 1, 2].map((layer) => find(`shared-${layer}`));
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

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

  // ---------- settings and the address ----------

  const clamp = (low, high) => (x) => Math.min(Math.max(Math.round(x), low), high);
  const nearest = (values) => (x) =>
    values.reduce((best, value) => Math.abs(value - x) < Math.abs(best - x) ? value : best);
  const options = (name) => Array.from(find(name).options, ({ value }) => value);
  const ALLOWED = {
    seed: clamp(0, 2 ** 32 - 1),
    distance: (x) => clamp(0, 30)(10 * x) / 10,
    outputs: nearest(options("outputs").map(Number)),
    at: clamp(0, protocol.steps),
  };
  const SETTINGS = ["seed", "distance", "outputs", "inputs", "shared"];
  const settings = () => ({
    seed: ALLOWED.seed(Number(find("seed").value)),
    distance: Number(find("distance").value),
    outputs: Number(find("outputs").value),
    inputs: find("inputs").value,
    shared: LAYERS.map(({ checked }) => Number(checked)).join(""),
  });
  function set({ shared, ...others }) {
    for (const [name, value] of Object.entries(others)) find(name).value = value;
    if (shared) LAYERS.forEach((layer, i) => (layer.checked = shared[i] === "1"));
  }

  // #live?seed=…&distance=…&outputs=…&inputs=…&shared=…, and at=step once the teacher is taught.
  function writeAddress() {
    const state = settings();
    if (taught()) state.at = latest.step;
    history.replaceState(null, "", `#live?${new URLSearchParams(state)}`);
  }

  // Set the controls to what the address says, or to what is nearest, and say so if they differ.
  // Returns the step that it names, null if it names none.
  function readAddress() {
    const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice("#live?".length)));
    const taken = {};
    for (const [name, allowed] of Object.entries(ALLOWED)) {
      const x = parseFloat(wanted[name]);
      if (!Number.isNaN(x)) taken[name] = allowed(x);
    }
    if (options("inputs").includes(wanted.inputs)) taken.inputs = wanted.inputs;
    if (/^[01]{3}$/.test(wanted.shared)) taken.shared = wanted.shared;
    const { at, ...found } = taken;
    set(found);
    const changed = [...SETTINGS, "at"].filter((name) =>
      name in wanted && String(taken[name]) !== wanted[name]);
    find("note").textContent = changed.length === 0 ? "" : `The address asked for ` +
      `${changed.map((name) => `${name} = ${wanted[name]}`).join(", ")}, which is not possible here; ` +
      "the settings below are used.";
    return at ?? null;
  }

  // ---------- the run ----------

  const worker = trainer();
  const chart = drawChart(find("accuracy"), protocol.steps, stored);
  const plane = drawPlane(find("plane"));
  const tiles = Object.fromEntries(SIDES.map((side) => [side,
    drawTiles(find(`${side}-digits`), data.test, (text) => (find(`${side}-hover`).textContent = text))]));
  const marks = drawDistances(find("distances"), distances);
  const guesses = { left: null, right: null };
  const ended = []; // settings and left accuracy of the visitor's own runs
  let [latest, first, path, networks, drawn] = [null, null, [], {}, null];
  let [playing, pulsed, last] = [false, 0, Promise.resolve()];
  const taught = () => latest.taught === latest.toTeach;
  const finished = () => taught() && latest.step >= protocol.steps;
  const next = (action) => (last = last.then(action)); // one after the other
  const sides = ({ teacher, students: [left, right] }) => ({ teacher, left, right });

  // Begin anew; `keep` the teacher if it would be the same.
  function restart(keep) {
    playing = false;
    return next(async () => {
      const { seed, distance, outputs: nAux, inputs, shared } = settings();
      [first, path, pulsed] = [null, [], 0];
      find("seed").value = seed;
      find("distance-text").textContent = distance.toFixed(1);
      find("left-name").textContent = shared === "000" ? "Student, another start"
        : shared !== "111" ? "Student, a start shared in part"
          : distance === 0 ? "Student, same start" : `Student, ${distance} from the same start`;
      networks = Object.fromEntries(SIDES.map((side) =>
        [side, drawNetwork(find(`${side}-network`), nAux)]));
      const students = [{ start: "same", distance, shared: [...shared].map(Number) }, { start: "other" }];
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
      if (finished()) ended.push({ ...settings(), accuracy: latest.students[0].accuracy });
      show(latest);
      find("said").textContent = find("status").textContent;
      writeAddress();
    });
  }

  // What to try after a run, by its settings.
  function suggestion() {
    const { seed, distance, outputs, inputs, shared } = settings();
    const usual = { distance: 0, outputs: protocol.outputs, inputs: "noise", shared: "111" };
    if (outputs === 1) return ["share all layers but the outputs", { ...usual, shared: "110" }];
    if (shared !== "111") return ["all as at first, another seed", { ...usual, seed: seed + 1 }];
    if (distance > 0) return ["a single spare output", { ...usual, outputs: 1 }];
    if (inputs === "noise") return ["real digits instead of noise", { inputs: "digits" }];
    return ["noise, and a start half way to other weights", { ...usual, distance: 1 }];
  }

  function status() {
    const [left, right] = latest.students.map(({ accuracy }) => percent(accuracy));
    const step = latest.step.toLocaleString("en");
    const epochs = (protocol.epochs * latest.taught) / latest.toTeach;
    if (latest.taught === 0) return "Nothing has been learned yet. First drag your two guesses.";
    if (!taught()) return `The teacher learns digits: pass ${Math.ceil(epochs)} of ${protocol.epochs}.`;
    if (latest.step === 0) return "The teacher has learned digits; the students have seen nothing yet.";
    if (!finished())
      return `The students copy the teacher: step ${step} of ${protocol.steps.toLocaleString("en")}.`;
    const { outputs, inputs } = settings();
    if (outputs === 1) return `After ${step} steps nothing has moved: the share of one output alone ` +
      "is always all, so it says nothing.";
    return `After ${step} steps on ${inputs} the left student reads ${left}, the right one ${right}; ` +
      "guessing gets 10\u00a0%.";
  }

  // The guesses and the stored runs beside the result. These belong to noise and the protocol's
  // outputs, the left ones to the same start as well; they do not tell the end before it is there.
  function conclude() {
    const { outputs, inputs, distance, shared } = settings();
    const [words, read] = [[], latest.students.map(({ accuracy }) => percent(accuracy)).join(" and ")];
    const guessed = STUDENTS.every((side) => guesses[side] !== null);
    find("conclusion").textContent = !finished() ? "" : guessed ? `You guessed ${STUDENTS.map((side) => percent(guesses[side])).join(" and ")}; they read ${read}.`
        : `They read ${read}.`;
    for (const side of STUDENTS) {
      const fits = Boolean(stored) && finished() && outputs === protocol.outputs && inputs === "noise"
        && (side === "right" || (distance === 0 && shared === "111"));
      chart.reveal(side, fits, finished() ? guesses[side] : null);
      if (!fits) continue;
      const ends = stored[side].map((points) => points.at(-1)[1]);
      words.push(`In ${ends.length} stored runs ${side === "left" ? "the same" : "another"} start reads ` +
        `${percent(mean(ends))} on average, ${percent(Math.min(...ends))} to ${percent(Math.max(...ends))}.`);
    }
    if (finished() && outputs > 1)
      words.push(`Of the distance to the teacher’s spare outputs ${
        latest.students.map(({ imitation_loss: loss }, i) =>
          percent(loss / first.students[i].imitation_loss)).join(" and ")} is left: both copy.`);
    find("stored").textContent = words.join(" ") || "When the run has ended, its conclusion appears here.";
  }

  // The networks at work, on what they see; not faster than may flash, and not over a drawing.
  function pulse(state) {
    const now = performance.now();
    if (playing && (calm.matches || now - pulsed < FEWEST_MS)) return;
    pulsed = now;
    paintImages(find("seen"), state.seen, Math.sqrt(protocol.batch));
    if (drawn) return;
    for (const [side, { activity }] of Object.entries(sides(state))) work(side, state.shown, activity);
  }

  function work(side, image, activity) {
    paintImages(find(`${side}-input`), image, 1);
    networks[side](activity);
  }

  function show(state) {
    latest = state;
    if (state.step === 0) first = state;
    if (taught() && path.at(-1)?.step !== state.step) path.push(state);
    for (const [side, { accuracy, said, change, along, across }] of Object.entries(sides(state))) {
      find(`${side}-score`).textContent = percent(accuracy);
      find(`${side}-bar`).style.width = `${100 * accuracy}%`;
      find(`${side}-hover`).textContent = "";
      tiles[side](said);
      paintChange(find(`${side}-change`), change);
      find(`${side}-cosine`).textContent = (along / (Math.hypot(along, across) || 1)).toFixed(2).replace("-", "−");
    }
    plane("teacher", state.taught ? [state.teacher] : []);
    STUDENTS.forEach((side, i) => {
      const own = path.map(({ step, students }) => ({ step, ...students[i] }));
      chart.draw(side, own.map(({ step, accuracy }) => [step, accuracy]));
      plane(side, own);
    });
    pulse(state);
    conclude();
    const now = settings();
    const like = (...names) => ended.filter((run) => names.every((name) => run[name] === now[name]));
    marks(now.distance, like("outputs", "inputs", "shared"));
    find("shared-runs").textContent = like("outputs", "inputs", "distance").map((run) =>
      `${[...run.shared].map((one) => "○●"[one]).join("")} ${percent(run.accuracy)}`).join(", ");
    find("status").textContent = status();
    const share = 1 / 4; // of the time, that of the teacher
    find("done").value = share * (state.taught / state.toTeach)
      + (1 - share) * Math.min(state.step / protocol.steps, 1);
    const begun = state.taught > 0;
    find("go").textContent = playing ? "Pause" : finished() ? `Next try: ${suggestion()[0]}`
      : begun ? "Go on" : "Let it learn";
    // A button that cannot be used stays where the keyboard is.
    find("step").setAttribute("aria-disabled", playing || finished());
    document.dispatchEvent(new Event("live"));
  }

  find("go").addEventListener("click", () => {
    if (playing) {
      playing = false;
      return;
    }
    if (finished()) {
      set(suggestion()[1]);
      restart(true);
    }
    play(protocol.steps);
  });
  find("step").addEventListener("click", ({ target }) =>
    target.getAttribute("aria-disabled") === "true" || play(protocol.steps, true));
  find("restart").addEventListener("click", () => restart(false));
  for (const control of [...["distance", "outputs", "inputs", "seed"].map(find), ...LAYERS])
    control.addEventListener("change", () => restart(true));
  for (const side of STUDENTS)
    find(`${side}-guess`).addEventListener("input", ({ target }) => {
      guesses[side] = Number(target.value) / 100;
      find(`${side}-guessed`).textContent = percent(guesses[side]);
      if (latest) conclude();
    });

  // An address that names a step is run up to it.
  function open() {
    if (!location.hash.startsWith("#live?")) return;
    const at = readAddress();
    find("widget").scrollIntoView();
    restart(true);
    if (at !== null) play(at);
  }

  // For the drawing: what an image does in the three networks, shown in them until it is taken away.
  async function draw(image) {
    drawn = image;
    if (!image) {
      if (latest) pulse(latest);
      return null;
    }
    const activities = await worker.ask({ read: image });
    SIDES.forEach((side, i) => work(side, image, activities[i]));
    return activities;
  }

  window.live = { run, draw };
  find("widget").hidden = false;
  addEventListener("hashchange", open);
  if (location.hash.startsWith("#live?")) open();
  else restart(false);
})();
