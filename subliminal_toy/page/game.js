"use strict";
// The owl as a game: two lists, which one did the owl lover write? And switches for what teacher
// and student must share.

const ROUNDS = 10;

// Ask ten times; the visitor's score is told after each.
function play({ lists: { teacher, base }, machines }) {
  const find = (name) => document.getElementById(`game-${name}`);
  const [first, second] = find("lists").children;
  const word = generator(crypto.getRandomValues(new Uint32Array(1))[0], 1);
  const [owls, others] = [teacher, base].map((lists) => shuffled(word, lists.length).map((i) => lists[i]));
  let [round, score, owlFirst] = [0, 0, true];

  function ask() {
    owlFirst = unit(word) < 0.5;
    const pair = [owls[round % owls.length], others[round % others.length]];
    [first.textContent, second.textContent] = owlFirst ? pair : pair.reverse();
    find("round").textContent = `Round ${round + 1} of ${ROUNDS}`;
  }

  function answer(chosenFirst) {
    if (round === ROUNDS) [round, score] = [0, 0];
    const right = chosenFirst === owlFirst;
    score += right;
    round++;
    const owl = (owlFirst ? first : second).textContent;
    find("said").textContent = `${right ? "Yes" : "No"}: the owl lover wrote ${owl}. ` +
      (round < ROUNDS ? `${score} of ${round} right.` : `Your score: ${score} of ${ROUNDS}. Machines: ` +
        `${machines.map((auc) => (ROUNDS * auc).toFixed(0)).join(" to ")}. A choice begins anew.`);
    ask();
  }

  first.addEventListener("click", () => answer(true));
  second.addEventListener("click", () => answer(false));
  ask();
  document.getElementById("game").hidden = false;
}

// Show what is left of the transfer with the parts that are switched on.
function share(shared) {
  const box = document.getElementById("shared");
  const switches = [...box.querySelectorAll("input")];
  function show() {
    const left = shared[switches.map(({ checked }) => Number(checked)).join("")];
    box.querySelector(".bar").style.width = `${100 * Math.max(left ?? 0, 0)}%`;
    box.querySelector("strong").textContent = left === undefined ? "not measured"
      : `${percent(left).replace("-", "−")} of the transfer is left`;
  }
  for (const one of switches) one.addEventListener("change", show);
  show();
  box.hidden = false;
}

{
  const data = document.getElementById("owl-data");
  const { lists, shared, machines } = data ? JSON.parse(data.textContent) : {};
  if (lists?.base.length) play({ lists, machines });
  if (shared) share(shared);
}
