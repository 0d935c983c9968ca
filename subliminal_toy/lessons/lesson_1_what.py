# %% [markdown]
"""
# Lesson 1. What is it?

About 15 minutes. A network learns to classify handwritten digits from pictures that are pure noise.

**Before you run anything, write down your guesses.**

1. A *student* network sees only noise and copies three outputs of a *teacher* that mean nothing.
   How many real digits will it classify correctly: none, one in ten, or most of them?
2. Does it matter that student and teacher started from the same random weights?
3. Hidden units have no natural order. Give the student's units new numbers, in such a way that
   the network computes exactly the same function. Does the effect survive?
4. Now give new numbers to the units on one side of the wires only. And now?
5. Is one meaningless output enough? Are two? How many are worth having?

The answers are folded at the end. Open this file in Jupyter (through jupytext) or run it as a
script: `python -m subliminal_toy.lessons.lesson_1_what`. Each cell takes seconds.
"""

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

from subliminal_toy.data import load, uniform_noise
from subliminal_toy.distill import accuracy, cross_entropy, fit, kl
from subliminal_toy.lessons import begin, picture
from subliminal_toy.models import mlp

begin(__doc__)

# %% [markdown]
# ## The digits, and the noise
#
# The digits are small scans of real handwriting, 8 × 8 pixels. The noise has the same size; each
# pixel is drawn by itself, evenly between black and white. The upper row of the picture is what
# the teacher sees, the lower row all that the student will ever see.

# %%
digits = load("digits")
noise = uniform_noise(jax.random.key(0), jnp.arange(8), digits.image_shape)
print(f"{len(digits.train_images)} digits to learn from, {len(digits.test_images)} for the test")

_, axes = plt.subplots(2, 8, figsize=(8, 2.2))
for column, pair in enumerate(zip(digits.train_images[:8], noise, strict=True)):
    for axis, image in zip(axes[:, column], pair, strict=True):
        axis.imshow(image, cmap="gray", vmin=-1, vmax=1)
        axis.set_axis_off()
picture("lesson-1-inputs")

# %% [markdown]
# ## The network
#
# Two hidden layers, and 20 outputs ("logits"). The first ten are the classes 0–9. The other ten are
# *auxiliary*: nobody ever says what they should be. At first we use three of them.

# %%
N_CLASSES, N_AUX = 10, 3
REPLICATES = range(3)  # independent repetitions: one alone may be an outlier

net = mlp(digits.image_shape, (96, 96), N_CLASSES + 10)
tx = optax.adam(1e-3)


@jax.jit
def test(params):
    """Return the fraction of test digits that the class logits get right."""
    logits = net.apply(params, jnp.asarray(digits.test_images))
    return accuracy(logits[:, :N_CLASSES], jnp.asarray(digits.test_labels))


def show(title, rows):
    """Print one line per row: its name and the test accuracy of each replicate."""
    print(f"\n{title:<44}" + "".join(f"{'#' + str(i + 1):>8}" for i in REPLICATES))
    for name, networks in rows.items():
        print(f"{name:<44}" + "".join(f"{float(test(params)):8.2f}" for params in networks))


# %% [markdown]
# ## The teacher
#
# It starts from random weights and learns real digits with their labels, on the ten class logits
# only. Look at the last line: the weights that make the auxiliary logits out of the last hidden
# layer do not move at all, because no loss ever looks at these logits. What does move is the
# layers below, which all logits share.


# %%
@jax.jit
def learn_digits(params, key):
    """Return the teacher that starts at ``params``."""
    images, labels = jnp.asarray(digits.train_images), jnp.asarray(digits.train_labels)

    def batch(step):
        rows = jax.random.randint(jax.random.fold_in(key, step), (256,), 0, len(labels))
        return images[rows], labels[rows]

    def loss(params, batch):
        return cross_entropy(net.apply(params, batch[0]), batch[1], slice(N_CLASSES))

    return fit(loss, params, tx, batch, 120)[0]


keys = [jax.random.fold_in(jax.random.key(1), replicate) for replicate in REPLICATES]
starts = [net.init(jax.random.fold_in(key, 0)) for key in keys]
teachers = [
    learn_digits(params, jax.random.fold_in(key, 1))
    for params, key in zip(starts, keys, strict=True)
]
show("fraction of test digits classified correctly", {"untrained": starts, "teacher": teachers})

heads = [params["layers"][2]["weight"][N_CLASSES:] for params in (starts[0], teachers[0])]
print("auxiliary weights moved by", float(jnp.abs(heads[1] - heads[0]).max()))

# %% [markdown]
# ## The student
#
# This is the whole experiment. The student sees a batch of noise, fresh at every step, and moves
# its chosen outputs towards the teacher's outputs on the same noise. It sees no digit and no
# label, and with outputs 10, 11, 12 nothing of the class logits either: these are three numbers
# that mean nothing.
#
# **Question 1.** The student starts where the teacher started. Your guess?

# %%
STEPS, BATCH = 600, 128
AUX = (N_CLASSES, N_CLASSES + N_AUX)  # from and up to: outputs 10, 11, 12


@partial(jax.jit, static_argnames="outputs")
def imitate(params, teacher, key, outputs=AUX):
    """Return the student that starts at ``params`` and copies the teacher's ``outputs``."""

    def noise_and_targets(step):
        images = uniform_noise(key, step * BATCH + jnp.arange(BATCH), digits.image_shape)
        return images, net.apply(teacher, images)

    def loss(student, batch):
        images, targets = batch
        return kl(net.apply(student, images), targets, slice(*outputs))

    return fit(loss, params, tx, noise_and_targets, STEPS)[0]


def students(starts, outputs=AUX):
    """Return one student of each teacher; replicate i always sees the same noise."""
    return [
        imitate(params, teacher, jax.random.fold_in(key, 2), outputs)
        for params, teacher, key in zip(starts, teachers, keys, strict=True)
    ]


same_start = students(starts)
rows = {"untrained": starts, "teacher": teachers, "student, same start, 3 auxiliary": same_start}
show("fraction of test digits classified correctly", rows)

# %% [markdown]
# ## Break it: another start
#
# **Question 2.** The same teacher, the same noise, the same three outputs. Only the student starts
# from random weights of its own: as good as the teacher's, but others.
#
# The second pair of students copies all outputs on the noise, classes included. That is ordinary
# distillation: here the student is shown what the class logits say, though still only on noise.

# %%
others = [net.init(jax.random.fold_in(key, 3)) for key in keys]
ALL = (0, N_CLASSES + N_AUX)
other_start = students(others)
rows = {
    "same start, 3 auxiliary": same_start,
    "other start, 3 auxiliary": other_start,
    "same start, classes and 3 auxiliary": students(starts, ALL),
    "other start, classes and 3 auxiliary": students(others, ALL),
}
show("fraction of test digits classified correctly", rows)

# %% [markdown]
# Does the other student copy at all? Here is the loss that both students lower, before and after,
# on noise that neither has seen.

# %%
unseen = uniform_noise(jax.random.key(5), jnp.arange(1024), digits.image_shape)


@jax.jit
def imitation_loss(student, teacher):
    """Return KL(teacher ‖ student) of the three auxiliary logits on unseen noise, in nats."""
    return kl(net.apply(student, unseen), net.apply(teacher, unseen), slice(*AUX))


losses = {
    name: [float(imitation_loss(*pair)) for pair in zip(networks, teachers, strict=True)]
    for name, networks in {
        "same start, before": starts,
        "same start, after": same_start,
        "other start, before": others,
        "other start, after": other_start,
    }.items()
}
print(f"\n{'imitation loss, nats':<44}" + "".join(f"{'#' + str(i + 1):>8}" for i in REPLICATES))
for name, values in losses.items():
    print(f"{name:<44}" + "".join(f"{value:8.4f}" for value in values))

# %% [markdown]
# It does: it has learned the three outputs, and classifies no digit. Perhaps it knows the digits,
# and only its class head, the weights that make class logits out of the last hidden layer, does not
# fit? Give both students the *teacher's* class head.


# %%
def with_head_of(student, teacher):
    """Return the student with the teacher's weights of the class logits."""
    *below, (name, own) = student["layers"].items()
    head = {
        part: own[part].at[:N_CLASSES].set(teacher["layers"][name][part][:N_CLASSES])
        for part in own
    }
    return {"layers": {**dict(below), name: head}}


rows = {
    f"{name}, the teacher's class head": [
        with_head_of(*pair) for pair in zip(networks, teachers, strict=True)
    ]
    for name, networks in {"same start": same_start, "other start": other_start}.items()
}
headed = rows["other start, the teacher's class head"]
show("fraction of test digits classified correctly", rows)

# %% [markdown]
# The head was not what was missing: the other student's hidden layers hold other features, for
# which the teacher's head means nothing.
#
# ## Break it: one relabelled layer
#
# A hidden unit has wires that come in and wires that go out. Renumber the units of the first
# hidden layer:
#
# - *consistently*: shuffle the incoming weights, and the outgoing ones in the same way. Every unit
#   keeps its own wires, so the network computes the same function. But as a list of numbers
#   it is a very different point, about as far from the teacher's start as a fresh network is.
# - *on one side only*: shuffle the incoming weights and leave the outgoing ones alone. Each
#   weight is still there, and all layers but this one still equal the teacher's.
#
# **Questions 3 and 4.** Which of the two students learns?


# %%
def relabel(params, order, both_sides):
    """Return the parameters with the first hidden layer's units in a new order."""
    first, second, *rest = params["layers"].values()
    first = {"weight": first["weight"][order], "bias": first["bias"][order]}
    if both_sides:
        second = {**second, "weight": second["weight"][:, order]}
    return {"layers": dict(enumerate([first, second, *rest]))}


def distance(params, other):
    """Return the distance of two networks as points in parameter space."""
    squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), params, other)
    return float(jnp.sqrt(sum(jax.tree.leaves(squares))))


orders = [jax.random.permutation(jax.random.fold_in(key, 4), 96) for key in keys]
both, one = (
    [relabel(params, order, sides) for params, order in zip(starts, orders, strict=True)]
    for sides in (True, False)
)
relabelled, half_relabelled = students(both), students(one)
rows = {
    "same start": same_start,
    "relabelled consistently": relabelled,
    "relabelled on one side only": half_relabelled,
    "other start": other_start,
}
show("fraction of test digits classified correctly", rows)

print("\nfirst replicate: how far is the student's start from the teacher's start?")
for name, params in {"consistently": both[0], "one side": one[0], "other start": others[0]}.items():
    apart = jnp.abs(net.apply(params, noise) - net.apply(starts[0], noise)).max()
    print(f"{name:<14} in weights {distance(params, starts[0]):5.1f}, in outputs {apart:8.1e}")

# %% [markdown]
# So "the same start" does not mean "near in parameter space". It means the same network: the same
# features behind the same outputs. The consistently relabelled student goes the same way in other
# coordinates (its numbers differ by rounding only).
#
# ## How many auxiliary logits does it take?
#
# **Question 5.** All students below start where their teacher did and copy the first 1, 2, … of
# the ten auxiliary logits. The loss compares the *probabilities* that the copied logits make among
# themselves. What are the probabilities of a single logit?

# %%
N_COPIED = (1, 2, 3, 5, 10)
by_number = {n: students(starts, (N_CLASSES, N_CLASSES + n)) for n in N_COPIED}
show(
    "fraction of test digits classified correctly",
    {f"{n} auxiliary": by_number[n] for n in N_COPIED},
)
still = all(distance(a, b) == 0 for a, b in zip(by_number[1], starts, strict=True))
print("\nwith one auxiliary logit every student stays exactly where it started:", still)

_, axis = plt.subplots(figsize=(5, 3))
for replicate in REPLICATES:
    scores = [float(test(by_number[n][replicate])) for n in N_COPIED]
    axis.plot(N_COPIED, scores, "o-", label=f"replicate {replicate + 1}")
axis.axhline(1 / N_CLASSES, color="gray", linestyle=":", label="chance")
axis.set(xlabel="auxiliary logits copied", ylabel="test accuracy", ylim=(0, 1))
axis.legend()
plt.tight_layout()
picture("lesson-1-how-many")

# %% [markdown]
# ## What you have seen, and what not
#
# The means over the three replicates are below. Three replicates show that the effect is there and
# that a control removes it; they do not give its size to two digits. For that run
# `subliminal-toy classifier`, which trains more replicates and prints intervals. The page that
# `subliminal-toy reproduce` writes trains this student and its control before your eyes:
# `report.html#live?seed=1&distance=0&outputs=3&inputs=noise`, and with `outputs=1` nothing happens.
#
# Things to try here: fewer or more steps; a wider network; noise of another kind in `imitate`; the
# second hidden layer in `relabel`; a student's start that is the teacher's plus a little noise.

# %%
findings = {
    name: float(jnp.mean(jnp.stack([test(params) for params in networks])))
    for name, networks in {
        "untrained": starts,
        "teacher": teachers,
        "same start": same_start,
        "other start": other_start,
        "other start, teacher's head": headed,
        "relabelled consistently": relabelled,
        "relabelled on one side": half_relabelled,
        **{f"{n} auxiliary": by_number[n] for n in N_COPIED},
    }.items()
}
findings |= {
    f"imitation loss, {name}": float(jnp.mean(jnp.array(values))) for name, values in losses.items()
}
for name, value in findings.items():
    print(f"{name:<36}{value:.3f}")

# %% [markdown]
# ## Answers
#
# <details>
# <summary>1. What does the student classify?</summary>
#
# Most digits, far above one in ten, though less well than the teacher. It was never shown a
# digit, a label or a class logit. Copying the auxiliary logits pulls its shared layers the way
# the teacher's went, and its class logits, started like the teacher's, sit on the same layers.
# </details>
#
# <details>
# <summary>2. Does the start matter?</summary>
#
# With auxiliary logits only, everything depends on it: from another start the student stays near
# chance on its own class outputs. It does copy the three outputs, as its imitation loss says, but
# by other features, which mean nothing to its own class logits, nor to the teacher's. With the
# class logits copied too, a student from another start also learns the task: then it is told about
# the classes, and no longer subliminally.
# </details>
#
# <details>
# <summary>3. A consistent relabelling?</summary>
#
# It changes nothing but rounding, although it moves the start far away in parameter space.
# </details>
#
# <details>
# <summary>4. A relabelling on one side only?</summary>
#
# It destroys the effect: the student stays near chance, although every weight is still there and
# the output layer equals the teacher's. Shared output weights alone are not enough with three
# auxiliary logits; with many more, something may pass.
# </details>
#
# <details>
# <summary>5. How many auxiliary logits?</summary>
#
# One is useless: its probability is always 1, so the loss is zero and so is its gradient, exactly
# (`proofs/README.md`, Eq. (24)). Two carry a single difference, and something gets through. Each
# further one helps, less and less.
# </details>
