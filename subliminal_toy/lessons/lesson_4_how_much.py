# %% [markdown]
"""
# Lesson 4. How much, and why?

About 15 minutes. Six students of one teacher learn very different amounts. One line in the space of
weights, drawn before any of them is trained, says how much.

Guess before you look; answers are folded below the cells that show them. Three blanks are yours.
"""

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from subliminal_toy.data import N_CLASSES, load, uniform_noise
from subliminal_toy.distill import accuracy, cross_entropy, fit, kl
from subliminal_toy.lessons import checks, picture
from subliminal_toy.models import mlp
from subliminal_toy.plots import STYLE, colours

plt.style.use(STYLE)

# %% [markdown]
# ## A network in two parts
#
# The teacher is that of lesson 1: it learns real digits on ten class outputs, and has 50 auxiliary
# outputs that nobody looks at. Its students start where it started and imitate auxiliary outputs.
# So its class head is never touched in a student, and what it learns is in the hidden layers. They
# are one long vector here; `join` puts such a vector under the heads of the start.

# %%
digits = load("digits")
train_images, train_labels, test_images, test_labels = map(jnp.asarray, digits[1:])
net = mlp(digits.image_shape, (64, 64), N_CLASSES + 50)
tx = optax.adam(1e-3)
INIT, ORDER, NOISE, BATCHES = jax.random.split(jax.random.key(4), (4, 3))  # three replicates


# %%
def hidden(params):
    """Return the weights and biases of the two hidden layers as one vector."""
    return ravel_pytree([params["layers"][0], params["layers"][1]])[0]


def join(start, vector):
    """Return the network with the hidden layers of ``vector`` and the heads of ``start``."""
    as_layers = ravel_pytree([start["layers"][0], start["layers"][1]])[1]
    return {"layers": dict(enumerate([*as_layers(vector), start["layers"][2]]))}


def share_right(logits):
    """Return the fraction of test digits that the class outputs get right."""
    return accuracy(logits[:, :N_CLASSES], test_labels)


# %%
@jax.jit
@jax.vmap
def learn_digits(start, key):
    """Return the teacher that starts at ``start``."""

    def batch(step):
        rows = jax.random.randint(jax.random.fold_in(key, step), (256,), 0, len(train_labels))
        return train_images[rows], train_labels[rows]

    def loss(params, batch):
        return cross_entropy(net.apply(params, batch[0]), batch[1], slice(N_CLASSES))

    return fit(loss, start, tx, batch, 200)[0]


starts = jax.jit(jax.vmap(net.init))(INIT)
teachers = learn_digits(starts, ORDER)

# %% [markdown]
# ## Six students
#
# Two of the six see real digits, without labels; one sees 256 images of noise again and again.
# Later we shall change a student's steps: keep `whole` of each, and add `along` times its part in
# the direction from its start to the teacher.
#
# **Blank 1.** That part: of a `move`, what lies along a `direction`, both vectors.


# %%
def component(move, direction):
    """Return the part of ``move`` along ``direction``: a multiple of the latter."""
    ### BEGIN SOLUTION
    return (move @ direction) / (direction @ direction) * direction
    ### END SOLUTION


checks.component(component)


# %%
def imitation_loss(params, teacher, inputs, n_aux):
    """Return KL(teacher ‖ student) over the first ``n_aux`` auxiliary outputs, in nats."""
    number = jnp.arange(N_CLASSES + 50)
    copied = (number >= N_CLASSES) & (number < N_CLASSES + n_aux)
    left_out = jnp.where(copied, 0, -1e9)[None]
    return kl(net.apply(params, inputs) + left_out, net.apply(teacher, inputs) + left_out)


# %%
@jax.jit
@partial(jax.vmap, in_axes=(0, 0, 0, 0, None, None, None))
def imitate(start, teacher, key, inputs, n_aux, whole, along):
    """Return the student of so many outputs on ``inputs``."""
    goal = hidden(teacher) - hidden(start)

    def change(update, _):
        own = hidden(update)
        return join(update, whole * own + along * component(own, goal))

    def batch(step):
        return inputs[jax.random.randint(jax.random.fold_in(key, step), (128,), 0, len(inputs))]

    def loss(params, batch):
        return imitation_loss(params, teacher, batch, n_aux)

    return fit(loss, start, optax.chain(tx, optax.stateless(change)), batch, 800)[0]


# %%
numbers = jnp.arange(5_120)
noise = jax.vmap(lambda key: uniform_noise(key, numbers, digits.image_shape))(NOISE)
real = jnp.stack([train_images[numbers % len(train_images)]] * 3)
INPUTS = {
    "noise, 3 outputs": (noise, 3),
    "noise, 10 outputs": (noise, 10),
    "noise, 50 outputs": (noise, 50),
    "256 images of noise, 3 outputs": (noise[:, numbers % 256], 3),
    "real digits, 3 outputs": (real, 3),
    "real digits, 50 outputs": (real, 50),
}


def train(name, whole=1.0, along=0.0):
    """Return a student of each teacher."""
    return imitate(starts, teachers, BATCHES, *INPUTS[name], whole, along)


students = {name: train(name) for name in INPUTS}

# %% [markdown]
# **Question 1.** Here is how well they imitate, on the inputs that they saw. Write down the order
# in which you think the six classify digits, best first.

# %%
loss_on = jax.jit(jax.vmap(imitation_loss, (0, 0, 0, None)))


def mean_loss(name, networks):
    """Return a student's imitation loss, the mean over replicates."""
    inputs, n_aux = INPUTS[name]
    return float(loss_on(networks, teachers, inputs[:, :512], n_aux).mean())


losses = {name: mean_loss(name, students[name]) for name in students}
print(f"{'imitation loss, nats':<34}{'at the start':>14}{'at the end':>12}")
for name in sorted(losses, key=losses.__getitem__):
    print(f"{name:<34}{mean_loss(name, starts):14.1e}{losses[name]:12.1e}")

# %% [markdown]
# **Question 2** is in this table too: three outputs on real digits, or on noise, which teach more?

# %%
test = jax.jit(jax.vmap(lambda params: share_right(net.apply(params, test_images))))
scores = {name: np.asarray(test(networks)) for name, networks in students.items()}
found = {name: float(values.mean()) for name, values in scores.items()}
found |= {"untrained": float(test(starts).mean()), "teacher": float(test(teachers).mean())}
by_loss = sorted(losses, key=losses.__getitem__)
print(f"untrained network {found['untrained']:.2f}, teacher {found['teacher']:.2f}\n")
print(f"{'test digits classified':<34}{'accuracy':>9}{'rank by loss':>14}")
for name in sorted(students, key=lambda name: -found[name]):
    print(f"{name:<34}{found[name]:9.2f}{by_loss.index(name) + 1:14}")

# %% [markdown]
# <details>
# <summary>Answers 1 and 2</summary>
#
# The best imitator is not the best reader of digits: it saw 256 images only, learned them by heart,
# and classifies little more than the untrained network. A loss says how well outputs agree on the
# inputs that the student saw, not how it came about. With three outputs noise teaches more: real
# digits are few and much alike, and three outputs on them ask for little of the teacher's move.
# </details>
#
# ## The line
#
# Teacher and student are points in a space of many dimensions, one for each hidden weight. Both
# left the same point, the start s. Draw a line from s to the teacher θ_T. How far along it has the
# student θ_S come, 0 for not at all, 1 for as far as the teacher? That is its *progress*
#
# q = ⟨θ_S − s, θ_T − s⟩ / ‖θ_T − s‖²
#
# **Blank 2.** It takes no digit and no label to compute.


# %%
def progress(start, teacher, student):
    """Return q for three vectors."""
    ### BEGIN SOLUTION
    goal = teacher - start
    return (student - start) @ goal / (goal @ goal)
    ### END SOLUTION


checks.progress(progress)

# %% [markdown]
# A student moved along the line, to s + q (θ_T − s), and *aside*, by all the rest of its move.
#
# **Blank 3.** Each of the two moves alone changes the outputs of the start. Add both changes to
# them.


# %%
def superposed(apply, start, on_line, aside, x):
    """Return the outputs of ``start`` and both changes, to those of ``on_line`` and ``aside``."""
    ### BEGIN SOLUTION
    return apply(on_line, x) + apply(aside, x) - apply(start, x)
    ### END SOLUTION


checks.superposed(superposed)


# %%
@jax.jit
@jax.vmap
def parts(start, teacher, student):
    """Return q, and accuracies: on the line at q, of the rest of the move alone, of their sum."""
    s, t, theta = map(hidden, (start, teacher, student))
    q = progress(s, t, theta)
    start, on_line, aside = (join(start, at) for at in (s, s + q * (t - s), theta - q * (t - s)))
    sums = superposed(net.apply, start, on_line, aside, test_images)
    alone = [net.apply(params, test_images) for params in (on_line, aside)]
    return q, *map(share_right, (*alone, sums))


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, None))
def line(start, teacher, q):
    """Return the accuracy on the line at q."""
    point = (1 - q) * hidden(start) + q * hidden(teacher)
    return share_right(net.apply(join(start, point), test_images))


# %% [markdown]
# **Question 3.** The network on the line, at the student's q, was never trained. Does it classify
# fewer digits than the student, as many, or more?

# %%
told = {name: np.asarray(parts(starts, teachers, students[name])) for name in students}
along = np.linspace(0, 1, 21)
curves = np.array([line(starts, teachers, q) for q in along])
_, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
right.plot(along, curves, color=colours.TEACHER)
for name, values in scores.items():
    left.semilogx([losses[name]] * 3, values, "o", color=colours.STUDENT)
    right.plot(told[name][0], values, "o", color=colours.STUDENT)
left.set(xlabel="imitation loss, nats", ylabel="test accuracy", ylim=(0, 1))
right.set(xlabel="progress q")
left.set_title("The loss does not say what it knows")
right.set_title("Its place along the line does")
right.text(0.98, 0.05, "grey: the lines of three teachers", ha="right", color=colours.TEACHER)
picture("lesson-4-line")


# %%
def show(row_of, *titles):
    """Print a line for each student, means over the replicates."""
    print(f"{'':<34}" + "".join(f"{title:>14}" for title in titles))
    for name in sorted(students, key=lambda name: -found[name]):
        print(f"{name:<34}" + "".join(f"{value:14.2f}" for value in row_of(name)))


show(lambda name: (told[name][0].mean(), told[name][1].mean(), found[name]), "q", "line", "student")

# %% [markdown]
# <details>
# <summary>Answer 3</summary>
#
# About as many, for weak and for strong students alike: what a student knows of digits is, for the
# most part, how far it has come along its teacher's line. The line exists before any student does.
# </details>
#
# ## The sum
#
# **Question 4.** What does the move aside classify alone, the longer of the two? And is the student
# the sum, z(line) + z(aside) − z(start)?

# %%
show(lambda name: (*told[name][1:].mean(axis=1), found[name]), "line", "aside", "sum", "student")
errors = {
    part: np.sqrt(np.mean([(told[name][i] - scores[name]) ** 2 for name in students]))
    for i, part in ((1, "line"), (3, "sum"))
}
print(f"\ntypical error of the line {errors['line']:.3f}, of the sum {errors['sum']:.3f}")

# %% [markdown]
# <details>
# <summary>Answer 4</summary>
#
# Aside it learned next to nothing about digits, and yet that part counts: it shifts the class
# outputs, mostly by the same for all images. The sum has it too, and comes closer to the student
# than the line. Nothing was fitted.
# </details>
#
# ## Is it the cause?
#
# **Question 5.** A number that goes along with another may be a mere sign of it. So take it away:
# of some 8,300 directions forbid one, that of the line, at every step. How much does the student
# still learn? And if it may move along the line only, to and fro?

# %%
FIRST = "noise, 3 outputs"
changed = {
    "free": students[FIRST],
    "without one direction": train(FIRST, 1.0, -1.0),
    "one direction only": train(FIRST, 0.0, 1.0),
}
print(f"{FIRST:<34}{'q':>8}{'accuracy':>12}{'imitation loss':>18}")
for name, networks in changed.items():
    q = parts(starts, teachers, networks)[0].mean()
    found[name] = float(test(networks).mean())
    print(f"{name:<34}{q:8.2f}{found[name]:12.2f}{mean_loss(FIRST, networks):18.1e}")

# %% [markdown]
# <details>
# <summary>Answer 5</summary>
#
# Without that one direction it stays close to the untrained network, though it imitates well. With
# nothing else it learns more than the free student: all of the progress, none of the wandering.
# </details>
#
# ## What you have seen, and what not
#
# Six kinds of students, three replicates. `subliminal-toy classifier --preset explain` measures
# dozens of kinds, and ranks students before they are trained. Progress alone, one curve for all
# replicates, fails: each teacher has its own line. In the language model of lesson 3 it is the
# displacement between embeddings and head that counts, and half of the gain is left without it.
#
# Things to try: another optimiser or rate; fewer steps; a row of inputs of your own; a student from
# another start, for which the line says nothing.
