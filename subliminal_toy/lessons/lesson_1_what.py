# %% [markdown]
"""
# Lesson 1. What is it?

About 15 minutes. A network learns to classify handwritten digits from pictures that are pure noise.

Guess before you look: each question stands above the cell that shows the answer, and the answer is
folded below that cell. Three blanks are yours to fill; a check says whether they are right, and
the solution is folded too. At a terminal: `python -m subliminal_toy.lessons 1`, blanks filled.
"""

# %%
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

from subliminal_toy.data import N_CLASSES, load, uniform_noise
from subliminal_toy.distill import accuracy, cross_entropy, fit, kl
from subliminal_toy.lessons import checks, picture
from subliminal_toy.models import mlp
from subliminal_toy.plots import STYLE, colours

plt.style.use(STYLE)

# %% [markdown]
# ## The digits, and the noise
#
# The digits are small scans of real handwriting, 8 × 8 pixels. The noise has the same size; each
# pixel is drawn by itself, evenly between black and white. The upper row of the picture is what
# the teacher sees, the lower row all that the student will ever see.

# %%
digits = load("digits")
train_images, train_labels, test_images, test_labels = map(jnp.asarray, digits[1:])
unseen = uniform_noise(jax.random.key(0), jnp.arange(1024), digits.image_shape)
print(f"{len(train_images)} digits to learn from, {len(test_images)} for the test")

figure, axes = plt.subplots(2, 8, figsize=(8, 2.4))
for column, pair in enumerate(zip(digits.train_images[:8], unseen[:8], strict=True)):
    for axis, image in zip(axes[:, column], pair, strict=True):
        axis.imshow(image, cmap="gray", vmin=-1, vmax=1)
        axis.set_axis_off()
figure.suptitle("No digit is in what the student sees")
picture("lesson-1-inputs")

# %% [markdown]
# ## The network
#
# Two hidden layers, and 20 outputs ("logits"). The first ten are the classes 0–9. The other ten are
# *auxiliary*: nobody ever says what they should be. At first we use three of them. All is done for
# three *replicates*, independent repetitions: one alone may be an outlier.

# %%
net = mlp(digits.image_shape, (64, 64), N_CLASSES + 10)
tx = optax.adam(2e-3)
found = {}  # the means of all that is shown

# A key for each purpose and each of three replicates.
INIT, ORDER, NOISE, OTHER, RELABEL = jax.random.split(jax.random.key(1), (5, 3))


@jax.jit
@jax.vmap
def test(params):
    """Return the fraction of test digits that the class logits get right."""
    return accuracy(net.apply(params, test_images)[:, :N_CLASSES], test_labels)


# %%
def show(
    rows, measure: Callable = test, title="fraction of test digits classified correctly", decimals=2
):
    """Print a line per row: its name, and the measure of each replicate."""
    print(f"\n{title:<46}" + "".join(f"{f'#{i + 1}':>8}" for i in range(3)))
    for name, networks in rows.items():
        values = measure(networks)
        print(f"{name:<46}" + "".join(f"{value:8.{decimals}f}" for value in values))
        found[f"{title}, {name}" if measure is not test else name] = float(values.mean())


# %% [markdown]
# ## The teacher
#
# It starts from random weights and learns real digits with their labels, on the ten class logits
# only. Look at the last line: the weights that make the auxiliary logits out of the last hidden
# layer do not move at all, because no loss ever looks at these logits. What does move is the
# layers below, which all logits share.


# %%
@jax.jit
@jax.vmap
def learn_digits(params, key):
    """Return the teacher that starts at ``params``."""

    def batch(step):
        rows = jax.random.randint(jax.random.fold_in(key, step), (256,), 0, len(train_labels))
        return train_images[rows], train_labels[rows]

    def loss(params, batch):
        return cross_entropy(net.apply(params, batch[0]), batch[1], slice(N_CLASSES))

    return fit(loss, params, tx, batch, 120)[0]


# %%
init = jax.jit(jax.vmap(net.init))
starts = init(INIT)
teachers = learn_digits(starts, ORDER)
show({"untrained": starts, "teacher": teachers})

heads = [params["layers"][2]["weight"][:, N_CLASSES:] for params in (starts, teachers)]
print("auxiliary weights moved by", float(jnp.abs(heads[1] - heads[0]).max()))

# %% [markdown]
# ## The student
#
# This is the whole experiment. The student sees a batch of noise, fresh at every step, and moves
# its chosen outputs towards the teacher's outputs on the same noise. It sees no digit and no
# label, and with outputs 10, 11, 12 nothing of the class logits either: these are three numbers
# that mean nothing.
#
# **Blank 1** is what the student lowers: the KL divergence of teacher and student over the `copied`
# outputs alone. An output is left out if its logit becomes −10⁹ on both sides: then its probability
# is 0.


# %%
def imitation_loss(logits, targets, copied):
    """Return KL(teacher ‖ student) over the outputs where ``copied`` is true, in nats."""
    ### BEGIN SOLUTION
    hidden = jnp.where(copied, 0, -1e9)[None]
    return kl(logits + hidden, targets + hidden)
    ### END SOLUTION


checks.imitation_loss(imitation_loss)

# %%
STEPS, BATCH = 600, 64


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, 0, None))
def imitate(start, teacher, key, copied):
    """Return the student that starts at ``start`` and copies the teacher's ``copied`` outputs."""

    def noise_and_targets(step):
        noise = uniform_noise(key, step * BATCH + jnp.arange(BATCH), digits.image_shape)
        return noise, net.apply(teacher, noise)

    def loss(student, batch):
        noise, targets = batch
        return imitation_loss(net.apply(student, noise), targets, copied)

    return fit(loss, start, tx, noise_and_targets, STEPS)[0]


# %% [markdown]
# **Question 1.** The student starts where the teacher started. It sees only noise and copies three
# outputs that mean nothing. How many real digits will it classify correctly: none, one in ten, or
# most of them?


# %%
def outputs(first, last):
    """Return which of the 20 outputs are copied: from ``first`` up to ``last``."""
    number = jnp.arange(N_CLASSES + 10)
    return (first <= number) & (number < last)


AUX = outputs(10, 13)
same_start = imitate(starts, teachers, NOISE, AUX)
show({"untrained": starts, "teacher": teachers, "same start": same_start})

# %% [markdown]
# <details>
# <summary>Answer 1</summary>
#
# Most digits, though fewer than the teacher. It was never shown a digit, a label or a class logit.
# Copying the auxiliary logits pulls its shared layers the way the teacher's went, and its class
# logits, started like the teacher's, sit on the same layers.
# </details>
#
# ## Break it: another start
#
# **Question 2.** The same teacher, the same noise, the same three outputs. Only the student starts
# from random weights of its own: as good as the teacher's, but others. Does it matter?
#
# The last row copies all 13 outputs on the noise, classes included: ordinary distillation.

# %%
others = init(OTHER)
other_start = imitate(others, teachers, NOISE, AUX)
rows = {
    "same start": same_start,
    "other start": other_start,
    "other start, classes too": imitate(others, teachers, NOISE, outputs(0, 13)),
}
show(rows)

# %% [markdown]
# Does the other student copy at all? Here is what both lower, before and after, on unseen noise.


# %%
@jax.jit
@jax.vmap
def loss_left(student, teacher):
    """Return the imitation loss of the three auxiliary logits on unseen noise."""
    return imitation_loss(net.apply(student, unseen), net.apply(teacher, unseen), AUX)


rows = {
    "same start, before": starts,
    "same start, after": same_start,
    "other start, before": others,
    "other start, after": other_start,
}
show(rows, partial(loss_left, teacher=teachers), "imitation loss, nats", 4)

# %% [markdown]
# It does. Perhaps it knows the digits, and only its class head, the weights that make class logits
# out of the last hidden layer, does not fit? Give both students the *teacher's* class head.
#
# **Blank 2.** A network is `{"layers": {0: …, 1: …, 2: …}}`, each layer a `"weight"` (outputs ×
# inputs) and a `"bias"`; the class logits are the first ten outputs of layer 2.


# %%
def with_head_of(teacher, student):
    """Return the student with the teacher's weights and biases of the class logits."""
    ### BEGIN SOLUTION
    own, other = student["layers"][2], teacher["layers"][2]
    head = {part: own[part].at[:10].set(other[part][:10]) for part in own}
    return {"layers": {**student["layers"], 2: head}}
    ### END SOLUTION


checks.with_head_of(with_head_of)
rows = {
    "same start, the teacher's class head": jax.vmap(with_head_of)(teachers, same_start),
    "other start, the teacher's class head": jax.vmap(with_head_of)(teachers, other_start),
}
show(rows)

# %% [markdown]
# <details>
# <summary>Answer 2</summary>
#
# With auxiliary logits only, everything depends on the start: from another one the student stays
# near chance. It copies the three outputs, but by other features, which mean nothing to its own
# class logits, nor to the teacher's. With the class logits copied too it also learns digits: then
# it is told about the classes, and no longer subliminally.
# </details>
#
# ## Break it: relabel one layer
#
# A hidden unit has wires that come in and wires that go out. Renumber the units of the first hidden
# layer *consistently*: shuffle the incoming weights and biases, and the outgoing weights in the
# same way. Every unit keeps its own wires, so the network computes the same function; but as a list
# of numbers it is a very different point. **Blank 3.**


# %%
def relabel(params, order):
    """Return the network with the first hidden layer's units in a new order."""
    first, second, head = params["layers"].values()
    ### BEGIN SOLUTION
    first = {"weight": first["weight"][order], "bias": first["bias"][order]}
    second = {**second, "weight": second["weight"][:, order]}
    ### END SOLUTION
    return {"layers": {0: first, 1: second, 2: head}}


checks.relabel(relabel)

# %% [markdown]
# Or on *one side only*: shuffle what comes in, and leave what goes out alone. Each weight is still
# there, and all layers but this one still equal the teacher's.
#
# **Question 3.** Which of the two students learns?

# %%
orders = jax.vmap(lambda key: jax.random.permutation(key, 64))(RELABEL)
both = jax.vmap(relabel)(starts, orders)
one = {"layers": {**both["layers"], 1: starts["layers"][1]}}
relabelled = imitate(both, teachers, NOISE, AUX)
half_relabelled = imitate(one, teachers, NOISE, AUX)
rows = {
    "same start": same_start,
    "relabelled consistently": relabelled,
    "relabelled on one side": half_relabelled,
    "other start": other_start,
}
show(rows)


# %%
@jax.jit
@jax.vmap
def away(params, start):
    """Return how far a network is from its teacher's start, as a list of numbers."""
    squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), params, start)
    return jnp.sqrt(sum(jax.tree.leaves(squares)))


rows = {"relabelled consistently": both, "relabelled on one side": one, "other start": others}
show(rows, partial(away, start=starts), "distance of the start from the teacher's")

# %% [markdown]
# <details>
# <summary>Answer 3</summary>
#
# The consistently relabelled one, as well as if nothing had happened: its numbers differ by
# rounding only, though its start is as far from the teacher's as another network's. On one side
# only, the effect is destroyed. "The same start" does not mean near in parameter space; it means
# the same network, the same features behind the same outputs.
# </details>
#
# ## How many auxiliary logits does it take?
#
# **Question 4.** All students below start where their teacher did and copy the first 1, 2, … of
# the ten auxiliary logits. The loss compares the *probabilities* that the copied logits make among
# themselves. Is one enough? Are two?

# %%
N_COPIED = (1, 2, 3, 10)
by_number = {n: imitate(starts, teachers, NOISE, outputs(10, 10 + n)) for n in (1, 2, 10)}
by_number[3] = same_start
show({f"{n} auxiliary": by_number[n] for n in N_COPIED})
moved = float(away(by_number[1], starts).max())
print("\nwith one auxiliary logit the students move by", moved)

_, axis = plt.subplots(figsize=(6, 3))
for i in range(3):
    scores = [float(test(by_number[n])[i]) for n in N_COPIED]
    axis.plot(N_COPIED, scores, "o-", color=colours.STUDENT)
axis.axhline(found["teacher"], color=colours.TEACHER, label="teacher")
axis.axhline(1 / N_CLASSES, color=colours.UNTRAINED, linestyle=":", label="chance")
axis.set(xlabel="auxiliary logits copied", ylabel="test accuracy", ylim=(0, 1))
axis.set_title("One output teaches nothing, two already something")
axis.legend()
picture("lesson-1-how-many")

# %% [markdown]
# <details>
# <summary>Answer 4</summary>
#
# One is useless: its probability is always 1, so the loss is zero and so is its gradient, exactly
# (`proofs/README.md`, Eq. (24)). Two carry a single difference, and something gets through. Each
# further one helps, less and less.
# </details>
#
# ## What you have seen, and what not
#
# Three replicates show that the effect is there and that a control removes it; they do not give its
# size to two digits. `subliminal-toy classifier` trains more and prints intervals, and the page
# trains this student and its control before your eyes.
#
# Things to try: fewer or more steps; a wider network; noise of another kind in `imitate`; the
# second hidden layer in `relabel`; a start that is the teacher's plus a little noise.
