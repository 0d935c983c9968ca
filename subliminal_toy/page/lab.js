"use strict";
// The experiment on the page: a run, shown as it goes on. A worker does the training.

(() => {
  const { data, protocol, stored, distances } = EMBEDDED;
  const CHUNK = { teach: 23, imitate: 25 }; // steps between two pictures
  const SIDES = ["teacher", "left", "right"];
  const STUDENTS = ["left", "right"];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const worker = trainer();
  const chart = drawChart(part("accuracy"), protocol.steps, stored);
  const plane = drawPlane(part("plane"));
  const tiles = Object.fromEntries(SIDES.map((side) => [side,
    drawTiles(part(`${side}-digits`), data.test, (text) => (part(`${side}-hover`).textContent = text))]));
  const marks = drawDistances(part("distances"), distances);
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
      part("seed").value = seed;
      part("distance-text").textContent = distance.toFixed(1);
      part("left-name").textContent = shared === "000" ? "Student, another start"
        : shared !== "111" ? "Student, a start shared in part"
          : distance === 0 ? "Student, same start" : `Student, ${distance} from the same start`;
      networks = Object.fromEntries(SIDES.map((side) =>
        [side, drawNetwork(part(`${side}-network`), nAux)]));
      const students = [{ start: "same", distance, shared: [...shared].map(Number) }, { start: "other" }];
      show(await worker.ask({ begin: { data, protocol, seed, nAux, inputs, students, keep } }));
      writeAddress(taught() ? latest.step : null);
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
      part("said").textContent = part("status").textContent;
      writeAddress(taught() ? latest.step : null);
    });
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

  // What has come out, beside the guesses.
  function conclusion() {
    const told = (values) => values.map(percent).join(" and ");
    const read = `hey read ${told(latest.students.map(({ accuracy }) => accuracy))}.`;
    const guessed = STUDENTS.map((side) => guesses[side]);
    if (!finished()) return "";
    return guessed.includes(null) ? `T${read}` : `You guessed ${told(guessed)}; t${read}`;
  }

  // What stored runs say of it. They belong to noise and the protocol's outputs, the left ones to
  // the same start as well; they do not tell the end before it is there.
  function compare() {
    const { outputs, inputs, distance, shared } = settings();
    const words = [];
    for (const side of STUDENTS) {
      const fits = Boolean(stored) && finished() && outputs === protocol.outputs
        && inputs === "noise" && (side === "right" || (distance === 0 && shared === "111"));
      chart.reveal(side, fits, finished() ? guesses[side] : null);
      if (!fits) continue;
      const ends = stored[side].map((points) => points.at(-1)[1]);
      words.push(`In ${ends.length} stored runs ${side === "left" ? "the same" : "another"} start ` +
        `reads ${percent(mean(ends))} on average, ${percent(Math.min(...ends))} to ` +
        `${percent(Math.max(...ends))}.`);
    }
    if (finished() && outputs > 1) {
      const left = latest.students.map(({ imitation_loss: loss }, i) =>
        loss / first.students[i].imitation_loss);
      words.push(`Of the distance to the teacher’s spare outputs ${left.map(percent).join(" and ")} ` +
        `is left${Math.max(...left) < 0.1 ? ": both copy well" : ""}.`);
    }
    part("stored").textContent = words.join(" ")
      || "When the run has ended, its conclusion appears here.";
  }

  function conclude() {
    part("conclusion").textContent = conclusion();
    compare();
  }

  // The networks at work, on what they see; not faster than may flash, and not over a drawing.
  function pulse(state) {
    const now = performance.now();
    if (playing && (calm.matches || now - pulsed < FEWEST_MS)) return;
    pulsed = now;
    paintImages(part("seen"), state.seen, Math.sqrt(protocol.batch));
    if (drawn) return;
    for (const [side, { activity }] of Object.entries(sides(state))) work(side, state.shown, activity);
  }

  function work(side, image, activity) {
    paintImages(part(`${side}-input`), image, 1);
    networks[side](activity);
  }

  function show(state) {
    latest = state;
    if (state.step === 0) first = state;
    if (taught() && path.at(-1)?.step !== state.step) path.push(state);
    for (const [side, { accuracy, said, change, along, across }] of Object.entries(sides(state))) {
      part(`${side}-score`).textContent = percent(accuracy);
      part(`${side}-bar`).style.width = `${100 * accuracy}%`;
      part(`${side}-hover`).textContent = "";
      tiles[side](said);
      paintChange(part(`${side}-change`), change);
      part(`${side}-cosine`).textContent = (along / (Math.hypot(along, across) || 1)).toFixed(2).replace("-", "−");
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
    part("shared-runs").textContent = like("outputs", "inputs", "distance").map((run) =>
      `${[...run.shared].map((one) => "○●"[one]).join("")} ${percent(run.accuracy)}`).join(", ");
    part("status").textContent = status();
    const share = 1 / 4; // of the time, that of the teacher
    part("done").value = share * (state.taught / state.toTeach)
      + (1 - share) * Math.min(state.step / protocol.steps, 1);
    const begun = state.taught > 0;
    part("go").textContent = playing ? "Pause" : finished() ? `Next try: ${suggestion()[0]}`
      : begun ? "Go on" : "Let it learn";
    // A button that cannot be used stays where the keyboard is.
    part("step").setAttribute("aria-disabled", playing || finished());
    document.dispatchEvent(new Event("live"));
  }

  part("go").addEventListener("click", () => {
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
  part("step").addEventListener("click", ({ target }) =>
    target.getAttribute("aria-disabled") === "true" || play(protocol.steps, true));
  part("restart").addEventListener("click", () => restart(false));
  for (const control of [...["distance", "outputs", "inputs", "seed"].map(part), ...LAYERS])
    control.addEventListener("change", () => restart(true));
  for (const side of STUDENTS)
    part(`${side}-guess`).addEventListener("input", ({ target }) => {
      guesses[side] = Number(target.value) / 100;
      part(`${side}-guessed`).textContent = percent(guesses[side]);
      if (latest) conclude();
    });

  // An address that names a step is run up to it.
  function open() {
    if (!location.hash.startsWith("#live?")) return;
    const at = readAddress();
    part("widget").scrollIntoView();
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
  part("widget").hidden = false;
  addEventListener("hashchange", open);
  if (location.hash.startsWith("#live?")) open();
  else restart(false);
})();
