"use strict";
// The worker that trains, and a whole training in one call.

const EMBEDDED = JSON.parse(document.getElementById("live-data").textContent);

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

// One teacher and one student from the beginning to the end: accuracies, and progress.
async function run({ seed = 1, start = "same", n_aux: nAux = EMBEDDED.protocol.outputs,
  steps = EMBEDDED.protocol.steps, distance = 0, inputs = "noise" } = {}) {
  if (!["same", "other"].includes(start)) throw new Error('start must be "same" or "other".');
  const { data, protocol } = EMBEDDED;
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
