"use strict";
// What can be changed in the experiment: its controls, the address, and what to try next.

const part = (name) => document.getElementById(`live-${name}`);
const LAYERS = [0, 1, 2].map((layer) => part(`shared-${layer}`));
const clamp = (low, high) => (x) => Math.min(Math.max(Math.round(x), low), high);
const nearest = (values) => (x) =>
  values.reduce((best, value) => Math.abs(value - x) < Math.abs(best - x) ? value : best);
const options = (name) => Array.from(part(name).options, ({ value }) => value);
const ALLOWED = {
  seed: clamp(0, 2 ** 32 - 1),
  distance: (x) => clamp(0, 30)(10 * x) / 10,
  outputs: nearest(options("outputs").map(Number)),
  at: clamp(0, EMBEDDED.protocol.steps),
};
const SETTINGS = ["seed", "distance", "outputs", "inputs", "shared"];
const settings = () => ({
  seed: ALLOWED.seed(Number(part("seed").value)),
  distance: Number(part("distance").value),
  outputs: Number(part("outputs").value),
  inputs: part("inputs").value,
  shared: LAYERS.map(({ checked }) => Number(checked)).join(""),
});
function set({ shared, ...others }) {
  for (const [name, value] of Object.entries(others)) part(name).value = value;
  if (shared) LAYERS.forEach((layer, i) => (layer.checked = shared[i] === "1"));
}

// #live?seed=…&distance=…&outputs=…&inputs=…&shared=…, and at=step if there is one.
function writeAddress(at) {
  const state = at === null ? settings() : { ...settings(), at };
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
  part("note").textContent = changed.length === 0 ? "" : `The address asked for ` +
    `${changed.map((name) => `${name} = ${wanted[name]}`).join(", ")}, which is not possible here; ` +
    "the settings below are used.";
  return at ?? null;
}

// What to try after a run, by its settings.
function suggestion() {
  const { seed, distance, outputs, inputs, shared } = settings();
  const usual = { distance: 0, outputs: EMBEDDED.protocol.outputs, inputs: "noise", shared: "111" };
  if (outputs === 1) return ["share all layers but the outputs", { ...usual, shared: "110" }];
  if (shared !== "111") return ["all as at first, another seed", { ...usual, seed: seed + 1 }];
  if (distance > 0) return ["a single spare output", { ...usual, outputs: 1 }];
  if (inputs === "noise") return ["real digits instead of noise", { inputs: "digits" }];
  return ["noise, and a start half way to other weights", { ...usual, distance: 1 }];
}
