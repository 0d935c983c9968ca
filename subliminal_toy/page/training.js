"use strict";
// A teacher and its students, trained in a worker that is made from network.js and this text. It
// answers each message with what is measured then; the page decides what is done next.

const N_MEASURED = 256; // inputs on which the imitation loss is measured
const N_DRAWN = 8; // units of a hidden layer whose activity is shown

// Parameters, and Adam's two moments (Kingma and Ba 2015; β₁ .9, β₂ .999, ε 1e−8).
function learner(params) {
  return {
    start: params.slice(), params, steps: 0,
    first: new Float64Array(params.length), second: new Float64Array(params.length),
  };
}

function adam(learning, gradient, rate) {
  const { params, first, second } = learning;
  const steps = ++learning.steps;
  const [c1, c2] = [1 - 0.9 ** steps, 1 - 0.999 ** steps];
  for (let i = 0; i < params.length; i++) {
    const g = gradient[i];
    first[i] = 0.9 * first[i] + 0.1 * g;
    second[i] = 0.999 * second[i] + 0.001 * g * g;
    params[i] -= (rate * (first[i] / c1)) / (Math.sqrt(second[i] / c2) + 1e-8);
  }
}

// One step of Adam; `lossOf(outputs)` gives the loss and its slope. Returns the loss before it.
function train(net, learning, inputs, n, rate, lossOf) {
  const all = forward(net, learning.params, inputs, n);
  const { loss, slope } = lossOf(all.at(-1));
  adam(learning, backward(net, learning.params, all, slope, n), rate);
  return loss;
}

// q = ⟨θ − s, θ_T − s⟩ / ‖θ_T − s‖² over the hidden layers, s the student's start; 0 if θ_T = s.
function progress(net, student, teacher) {
  let [along, square] = [0, 0];
  for (let i = 0; i < net.nHidden; i++) {
    const goal = teacher.params[i] - student.start[i];
    along += (student.params[i] - student.start[i]) * goal;
    square += goal * goal;
  }
  return square > 0 ? along / square : 0;
}

// One character per pixel, 0 to 16 points of ink; one per label.
function digits({ images, labels }) {
  const ink = Float64Array.from(images, (c) => parseInt(c, 17) / 8 - 1);
  const rows = (numbers) => {
    const chosen = new Float64Array(numbers.length * N_PIXELS);
    numbers.forEach((row, i) =>
      chosen.set(ink.subarray(row * N_PIXELS, (row + 1) * N_PIXELS), i * N_PIXELS));
    return chosen;
  };
  return { images: ink, labels: Array.from(labels, Number), rows, n: labels.length };
}

// The start of a student: its teacher's or another, or of each layer the one or the other as
// `shared` says; then moved by the distance σ.
function startOf(net, seed, { start, distance = 0, shared = net.layers.map(() => true) }) {
  const chosen = initial(net, generator(seed, STREAMS[start === "same" ? "teacher" : "other"]));
  const other = initial(net, generator(seed, STREAMS.other));
  net.layers.forEach(({ weight, bias }, i) =>
    shared[i] || chosen.set(other.subarray(weight, bias), weight));
  if (distance === 0) return chosen;
  const independent = initial(net, generator(seed, STREAMS.perturbation));
  const scale = Math.sqrt(1 + distance ** 2);
  return chosen.map((value, i) => (value + distance * independent[i]) / scale);
}

// A teacher and its students before anything is learned. `students` say their starts; all see the
// same batches. `protocol` are the numbers that the Python side gives. The teacher of the run `keep`
// stays if it began from the same seed with as many outputs.
function begin({ data, protocol, seed, nAux, inputs, students, keep = null }) {
  const [training, test] = [digits(data.train), digits(data.test)];
  const net = network([N_PIXELS, ...protocol.hidden, N_CLASSES + nAux]);
  const inputWords = generator(seed, STREAMS.inputs);
  const anyOrder = batches(inputWords, training.n, protocol.batch);
  const kept = keep && keep.seed === seed && keep.net.size === net.size ? keep : null;
  return {
    net, protocol, training, test, seed,
    teacher: kept?.teacher ?? learner(initial(net, generator(seed, STREAMS.teacher))),
    teacherBatch: kept?.teacherBatch
      ?? batches(generator(seed, STREAMS.order), training.n, protocol.batch),
    teacherSteps: protocol.epochs * Math.ceil(training.n / protocol.batch),
    students: students.map((student) => learner(startOf(net, seed, student))),
    inputBatch: inputs === "noise"
      ? () => noise(inputWords, protocol.batch)
      : () => training.rows(anyOrder()),
    measured: inputs === "noise"
      ? noise(generator(seed, STREAMS.measured), N_MEASURED)
      : training.images.subarray(0, N_MEASURED * N_PIXELS),
    seen: null,
    shown: test.images.subarray(0, N_PIXELS),
  };
}

function teach(run) {
  const { net, training, protocol } = run;
  const rows = run.teacherBatch();
  const labels = rows.map((row) => training.labels[row]);
  run.shown = training.rows(rows.slice(0, 1));
  train(net, run.teacher, training.rows(rows), rows.length, protocol.teacherRate,
    (z) => crossEntropy(net, z, labels));
}

function imitate(run) {
  const { net, protocol } = run;
  const n = protocol.batch;
  run.seen = run.inputBatch();
  run.shown = run.seen.slice(0, N_PIXELS);
  const targets = outputs(net, run.teacher.params, run.seen, n);
  for (const student of run.students)
    train(net, student, run.seen, n, protocol.studentRate, (z) => kl(net, z, targets, n));
}

// Probabilities of the ten classes for each of n images.
function classify(net, { params }, images, n) {
  const z = outputs(net, params, images, n);
  return Array.from({ length: n }, (_, i) =>
    logSoftmax(z, i * net.nOut, i * net.nOut + N_CLASSES).map(Math.exp));
}

// What an image does in a network: a few units of each hidden layer, and the shares of the ten
// digit outputs and of the spare ones, each kind for itself.
function activity(net, { params }, image) {
  const all = forward(net, params, image, 1);
  return {
    hidden: all.slice(1, -1).map((layer) => layer.slice(0, N_DRAWN)),
    digits: logSoftmax(all.at(-1), 0, N_CLASSES).map(Math.exp),
    spare: logSoftmax(all.at(-1), N_CLASSES, net.nOut).map(Math.exp),
  };
}

// Where a network has gone since its own start, its hidden layers alone: along the teacher's
// displacement and across it, as lengths; and the change of every weight of the first layer.
function movement(net, learning, teacher) {
  const moved = ({ params, start }) => (_, i) => params[i] - start[i];
  const [own, goal] = [learning, teacher].map((of) =>
    new Float64Array(net.nHidden).map(moved(of)));
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const along = dot(own, goal) / (Math.sqrt(dot(goal, goal)) || 1);
  return {
    along,
    across: learning === teacher ? 0 : Math.sqrt(Math.max(dot(own, own) - along ** 2, 0)),
    change: Float32Array.from(own.subarray(0, net.layers[0].bias)),
  };
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// What a network says of every test image (of classes equally likely, none), and its accuracy.
function tested({ net, test }, learning) {
  const said = classify(net, learning, test.images, test.n).map((p) => {
    const most = Math.max(...p);
    return p.indexOf(most) === p.lastIndexOf(most) ? p.indexOf(most) : -1;
  });
  return { said, accuracy: mean(said.map((digit, i) => Number(digit === test.labels[i]))) };
}

// Everything that the page shows of a run.
function measure(run) {
  const { net, teacher, measured, shown } = run;
  const targets = outputs(net, teacher.params, measured, N_MEASURED);
  const both = (learning) => ({
    ...tested(run, learning), ...movement(net, learning, teacher),
    activity: activity(net, learning, shown),
  });
  return {
    taught: teacher.steps,
    toTeach: run.teacherSteps,
    teacher: both(teacher),
    step: run.students[0].steps,
    seen: run.seen ?? measured.subarray(0, run.protocol.batch * N_PIXELS),
    shown,
    students: run.students.map((student) => {
      const z = outputs(net, student.params, measured, N_MEASURED);
      const { loss } = kl(net, z, targets, N_MEASURED);
      return { ...both(student), imitation_loss: loss, progress: progress(net, student, teacher) };
    }),
  };
}

if (typeof WorkerGlobalScope !== "undefined") {
  let run = null;
  // {begin: settings} makes a run; {teach: n} and {imitate: n} do up to n steps of it; {read: image}
  // asks what an image does in teacher and students.
  self.onmessage = ({ data: message }) => {
    if (message.read) {
      const asked = [run.teacher, ...run.students];
      self.postMessage(asked.map((learning) => activity(run.net, learning, message.read)));
      return;
    }
    if (message.begin) run = begin({ ...message.begin, keep: message.begin.keep ? run : null });
    for (let i = 0; i < message.teach && run.teacher.steps < run.teacherSteps; i++) teach(run);
    for (let i = 0; i < message.imitate; i++) imitate(run);
    self.postMessage(measure(run));
  };
}
