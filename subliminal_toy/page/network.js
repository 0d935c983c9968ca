"use strict";
// Random numbers, network and losses, as subliminal_toy's models.py and distill.py.

const N_CLASSES = 10;
const N_PIXELS = 64;

// ---------- random numbers ----------

// Streams of one seed; nothing that a stream gives depends on how much another was used.
const STREAMS = { teacher: 1, other: 2, perturbation: 3, order: 4, inputs: 5, measured: 6 };

// Words of 32 bits: sfc32 of Chris Doty-Humphrey's PractRand.
function generator(seed, stream) {
  let [a, b, c, count] = [seed >>> 0, stream, 0x9e3779b9, 1];
  function word() {
    const sum = (a + b + count) | 0;
    count = (count + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
  for (let i = 0; i < 16; i++) word();
  return word;
}

const unit = (word) => (word() + 0.5) / 2 ** 32; // in (0, 1)

// Box and Muller 1958.
const normal = (word) =>
  Math.sqrt(-2 * Math.log(unit(word))) * Math.cos(2 * Math.PI * unit(word));

// Images of independent pixels, uniform in (−1, 1).
const noise = (word, n) => new Float64Array(n * N_PIXELS).map(() => 2 * unit(word) - 1);

// Fisher and Yates.
function shuffled(word, n) {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let last = n - 1; last > 0; last--) {
    const other = Math.floor(unit(word) * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

// Batches of row numbers without end: every row once an epoch, each epoch in a new order; the last
// batch takes its missing rows from the front of the same order.
function batches(word, n, size) {
  let [order, next] = [[], n];
  return () => {
    if (next >= n) [order, next] = [shuffled(word, n), 0];
    next += size;
    return Array.from({ length: size }, (_, i) => order[(next - size + i) % n]);
  };
}

// ---------- network ----------

// out[i, j] = Σ a[i, l] b[l, j] for l < k. Rows and columns are given by their distances in the
// arrays, so that one loop serves all products of a layer and its gradient. Blocks of 3 × 3 keep
// their sums in registers; the last block of a row or column overlaps the one before.
function product(out, m, n, k, a, aRow, aStep, b, bColumn, bStep) {
  for (let row = 0; row < m; row += 3) {
    const i = Math.min(row, m - 3);
    for (let column = 0; column < n; column += 3) {
      const j = Math.min(column, n - 3);
      let s00 = 0, s01 = 0, s02 = 0, s10 = 0, s11 = 0, s12 = 0, s20 = 0, s21 = 0, s22 = 0;
      let p = i * aRow;
      let q = j * bColumn;
      for (let step = 0; step < k; step++) {
        const b0 = b[q];
        const b1 = b[q + bColumn];
        const b2 = b[q + 2 * bColumn];
        const a0 = a[p];
        const a1 = a[p + aRow];
        const a2 = a[p + 2 * aRow];
        s00 += a0 * b0; s01 += a0 * b1; s02 += a0 * b2;
        s10 += a1 * b0; s11 += a1 * b1; s12 += a1 * b2;
        s20 += a2 * b0; s21 += a2 * b1; s22 += a2 * b2;
        p += aStep;
        q += bStep;
      }
      const to = i * n + j;
      out[to] = s00; out[to + 1] = s01; out[to + 2] = s02;
      out[to + n] = s10; out[to + n + 1] = s11; out[to + n + 2] = s12;
      out[to + 2 * n] = s20; out[to + 2 * n + 1] = s21; out[to + 2 * n + 2] = s22;
    }
  }
}

// Layers of a fully connected network whose parameters are one array: of each layer its weights
// (outputs × inputs), then its biases. Progress is measured on the first `nHidden` of them.
function network(widths) {
  let size = 0;
  const layers = widths.slice(1).map((nOut, i) => {
    const nIn = widths[i];
    const layer = { nIn, nOut, weight: size, bias: size + nIn * nOut };
    size = layer.bias + nOut;
    return layer;
  });
  return { layers, size, nHidden: layers.at(-1).weight, nOut: widths.at(-1) };
}

// Weights are normal with variance 1 / inputs, biases 0. The last outputs are drawn last, so that
// further ones change nothing before them.
function initial(net, word) {
  const params = new Float64Array(net.size);
  for (const { nIn, weight, bias } of net.layers)
    for (let i = weight; i < bias; i++) params[i] = normal(word) / Math.sqrt(nIn);
  return params;
}

// What every layer gives for n inputs, the inputs first, the outputs last; ReLU between layers.
function forward(net, params, inputs, n) {
  const all = [inputs];
  for (const { nIn, nOut, weight, bias } of net.layers) {
    const out = new Float64Array(n * nOut);
    product(out, n, nOut, nIn, all.at(-1), nIn, 1, params.subarray(weight, bias), nIn, 1);
    const last = all.length === net.layers.length;
    for (let i = 0, at = 0; i < n; i++)
      for (let j = 0; j < nOut; j++, at++) {
        const z = out[at] + params[bias + j];
        out[at] = last || z > 0 ? z : 0;
      }
    all.push(out);
  }
  return all;
}

const outputs = (net, params, inputs, n) => forward(net, params, inputs, n).at(-1);

// The gradient of a loss in the parameters, from `slope`, that in the outputs.
function backward(net, params, all, slope, n) {
  const gradient = new Float64Array(net.size);
  for (let depth = net.layers.length - 1; depth >= 0; depth--) {
    const { nIn, nOut, weight, bias } = net.layers[depth];
    product(gradient.subarray(weight, bias), nOut, nIn, n, slope, 1, nOut, all[depth], 1, nIn);
    for (let i = 0, at = 0; i < n; i++)
      for (let j = 0; j < nOut; j++, at++) gradient[bias + j] += slope[at];
    if (depth === 0) break;
    const before = new Float64Array(n * nIn);
    product(before, n, nIn, nOut, slope, nOut, 1, params.subarray(weight, bias), 1, nIn);
    for (let i = 0; i < before.length; i++) if (all[depth][i] === 0) before[i] = 0;
    slope = before;
  }
  return gradient;
}

// ---------- losses ----------

function logSoftmax(z, begin, end) {
  let [top, sum] = [-Infinity, 0];
  for (let i = begin; i < end; i++) top = Math.max(top, z[i]);
  for (let i = begin; i < end; i++) sum += Math.exp(z[i] - top);
  const shift = top + Math.log(sum);
  return z.slice(begin, end).map((value) => value - shift);
}

// Mean cross-entropy of labels under the class outputs, in nats, and its slope in the outputs.
function crossEntropy(net, z, labels) {
  const n = labels.length;
  const slope = new Float64Array(z.length);
  let loss = 0;
  for (let i = 0; i < n; i++) {
    const at = i * net.nOut;
    const logs = logSoftmax(z, at, at + N_CLASSES);
    loss -= logs[labels[i]] / n;
    for (let j = 0; j < N_CLASSES; j++)
      slope[at + j] = (Math.exp(logs[j]) - (j === labels[i])) / n;
  }
  return { loss, slope };
}

// Mean KL(teacher ‖ student) over the softmax of the auxiliary outputs, in nats, and its slope.
function kl(net, z, targets, n) {
  const slope = new Float64Array(z.length);
  let loss = 0;
  for (let i = 0; i < n; i++) {
    const [begin, end] = [i * net.nOut + N_CLASSES, (i + 1) * net.nOut];
    const students = logSoftmax(z, begin, end);
    const teachers = logSoftmax(targets, begin, end);
    for (let j = 0; j < students.length; j++) {
      const p = Math.exp(teachers[j]);
      loss += (p * (teachers[j] - students[j])) / n;
      slope[begin + j] = (Math.exp(students[j]) - p) / n;
    }
  }
  return { loss, slope };
}
