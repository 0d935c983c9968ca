# %% [markdown]
"""
# Lesson 4. How much, and why?

About 15 minutes. Six students of one teacher learn very different amounts, and one number says how
much.

**Before you run anything, write down your guesses.**

1. Six students imitate the same teacher, each in its own way, for equally many steps. You will see
   how well each imitates, before you see what it can do. Will the best imitators classify the
   most digits?
2. A student sees real digits instead of noise, without labels, and imitates three outputs that mean
   nothing. Will it classify more digits than one that sees noise, or fewer?
3. A student has some 8,300 weights below its output layer. Take one single direction away from it:
   at every step, the part of its move that points from its start to the teacher. The other
   directions stay. How much does it still learn?
4. Now the other way round: below the output layer it may move along that one direction only, to
   and fro on one line. How much does it learn?
5. Can you say how much a student will learn before you train it?

The answers are folded at the end. Open this file in Jupyter (through jupytext) or run it as a
script: `python -m subliminal_toy.lessons.lesson_4_how_much`. It takes about a minute.
"""

# %%
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from subliminal_toy import record
from subliminal_toy.classifier.arms import Student, Teacher
from subliminal_toy.classifier.claims import final
from subliminal_toy.classifier.experiment import of_table
from subliminal_toy.classifier.geometry import predict, progress
from subliminal_toy.classifier.training import network
from subliminal_toy.data import load, uniform_noise
from subliminal_toy.distill import accuracy, kl
from subliminal_toy.lessons import begin, picture
from subliminal_toy.models import from_named_leaves, hidden_layers

begin(__doc__)

# %% [markdown]
# ## One teacher, eight students
#
# The teacher is that of lesson 1: it learns real digits on ten class logits, and has 50 auxiliary
# logits that nobody looks at. A student starts as the teacher started and imitates auxiliary logits
# on inputs without labels. A row of the table below says what is special about a student; all else
# is alike, the number of steps too. The last two rows are for later.

# %%
ALIKE: dict[str, Any] = {"n_aux": 3, "n_inputs": 5_120, "batch_size": 256, "epochs": 50}
FEW: dict[str, Any] = {"n_inputs": 256, "epochs": 1_000}  # the same number of steps
STUDENTS = (
    Student("noise, 3 logits", **ALIKE),
    Student("noise, 50 logits", **{**ALIKE, "n_aux": 50}),
    Student("noise, 3 logits, 256 images", **{**ALIKE, **FEW}),
    Student("real digits, 3 logits", inputs="images", **ALIKE),
    Student("real digits, 50 logits", inputs="images", **{**ALIKE, "n_aux": 50}),
    Student("noise, 3 logits, Muon", optimiser="muon", learning_rate=1e-3, **ALIKE),
    Student("without one direction", update="without", **ALIKE),
    Student("one direction only", update="only", **ALIKE),
)
SIX = [student.name for student in STUDENTS[:6]]
TEACHER = Teacher(hidden_sizes=(64, 64), n_aux=50, batch_size=256, epochs=40)

digits = load("digits")
REPLICATES = range(3)  # independent repetitions: one alone may be an outlier
images = tuple(map(jnp.asarray, digits[1:]))
table = of_table(TEACHER, STUDENTS, len(REPLICATES), jax.random.key(4), digits)
result = record.run(table)
at_end = final(result.data)  # a labelled table: what was measured, by replicate and by arm


def mean(name, measure):
    """Return what was measured of an arm at its end, averaged over the replicates."""
    return float(at_end[measure].sel(arm=name).mean())


# %% [markdown]
# ## How well do they imitate?
#
# The imitation loss is what each student lowers: the KL divergence, in nats, between the
# probabilities that teacher and student make of the imitated logits. It began at about the size on
# the left and fell to the number on the right; a tiny negative number is a zero, but for rounding.
#
# **Question 1.** Write down the order in which you think the six classify digits, best first.

# %%
print(f"{'imitation loss':<32}{'at the start':>14}{'at the end':>12}")
for name in sorted(SIX, key=lambda name: mean(name, "imitation_loss")):
    first, last = mean(name, "first_loss"), mean(name, "imitation_loss")
    print(f"{name:<32}{first:14.1e}{last:12.1e}")

# %% [markdown]
# ## How much have they learned?
#
# **Question 2** is in this table too.

# %%
print(f"untrained network {mean('untrained', 'accuracy'):.2f}", end=", ")
print(f"teacher {mean('teacher', 'accuracy'):.2f}\n")
print(f"{'test digits classified':<32}{'accuracy':>9}{'rank by loss':>14}")
by_loss = sorted(SIX, key=lambda name: mean(name, "imitation_loss"))
for name in sorted(SIX, key=lambda name: -mean(name, "accuracy")):
    print(f"{name:<32}{mean(name, 'accuracy'):9.2f}{by_loss.index(name) + 1:14}")

# %% [markdown]
# ## The number that says it
#
# Teacher and student are points in a space of many dimensions, one for each weight. Both left the
# same point, the start s. Draw a line from s to the teacher θ_T. How far along this line has the
# student θ_S come? That is its *progress*, a dot product (with the hidden layers alone, since the
# heads add nothing to it):
#
# q = ⟨θ_S − s, θ_T − s⟩ / ‖θ_T − s‖²
#
# 0 means not at all, 1 means as far as the teacher went. It takes no digit and no label to compute.


# %%
net = network(TEACHER, digits.image_shape)


def params(name, replicate):
    """Return the parameters of a network at its end."""
    mine = {key: leaf[replicate] for key, leaf in result.params.items()}
    return from_named_leaves(mine, name, jax.eval_shape(net.init, jax.random.key(0)))


def q(name, replicate):
    """Return a student's progress in one replicate."""
    trees = (params(arm, replicate) for arm in ("untrained", "teacher", name))
    return float(progress(*map(hidden_layers, trees)))


_, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True)
for name in SIX:
    scores = at_end.accuracy.sel(arm=name)
    axes[0].plot(at_end.imitation_loss.sel(arm=name), scores, "o", label=name)
    axes[1].plot([q(name, replicate) for replicate in REPLICATES], scores, "o")
axes[0].set(xlabel="imitation loss", ylabel="test accuracy", xscale="log", ylim=(0, 1))
axes[1].set(xlabel="progress q", xlim=(0, 1))
axes[0].legend(fontsize=8)
plt.tight_layout()
picture("lesson-4-progress")

print(f"{'':<32}{'accuracy':>9}{'progress':>10}")
for name in sorted(SIX, key=lambda name: -mean(name, "progress")):
    print(f"{name:<32}{mean(name, 'accuracy'):9.2f}{mean(name, 'progress'):10.2f}")

# %% [markdown]
# ## Is it the cause?
#
# A number that goes along with another may be a mere sign of it. So take it away. The student
# "without one direction" is the first student, but at every step the part of its move along
# θ_T − s is removed, in the hidden layers. All other directions are free. The student "one
# direction only" keeps nothing but that part.
#
# **Questions 3 and 4.** Your guesses?

# %%
print(f"{'':<32}{'accuracy':>9}{'progress':>10}{'imitation loss':>16}")
for name in ("untrained", SIX[0], "without one direction", "one direction only"):
    row = [mean(name, measure) for measure in ("accuracy", "progress", "imitation_loss")]
    print(f"{name:<32}{row[0]:9.2f}{row[1]:10.2f}{row[2]:16.1e}")

# %% [markdown]
# ## Before it is trained
#
# **Question 5.** Near its start a network is almost linear in its weights: the outputs change by
# J d if the weights change by d. A student sees no more of the teacher's move v than J v, what it
# does to the imitated outputs on the student's inputs. `predict` looks for the d that does the same
# to them, in a few steps, and adds it to the start. Nothing is trained.


# %%
@partial(jax.jit, static_argnames=("n_aux", "chunks"))
def predicted(start, teacher, inputs, n_aux, chunks):
    """Return the accuracy that is predicted of a student of ``n_aux`` logits on ``inputs``."""

    def loss(outputs, targets):
        return kl(outputs, targets, slice(10, 10 + n_aux))

    student = predict(net.apply, start, teacher, inputs, loss, 15, chunks=chunks)
    return accuracy(net.apply(student, images[2])[:, :10], images[3])


noise = uniform_noise(jax.random.key(5), jnp.arange(2_560), digits.image_shape)
real = images[0][jnp.arange(2_560) % len(images[0])]
guesses = {
    "noise, 3 logits": (noise, 3),
    "noise, 50 logits": (noise, 50),
    "noise, 3 logits, 256 images": (noise[:256], 3),
    "real digits, 3 logits": (real, 3),
    "real digits, 50 logits": (real, 50),
}
predictions = {}
for name, (inputs, n_aux) in guesses.items():
    pairs = [
        [params(arm, replicate) for arm in ("untrained", "teacher")] for replicate in REPLICATES
    ]
    of_replicates = [predicted(*pair, inputs, n_aux, len(inputs) // 256) for pair in pairs]
    predictions[name] = float(jnp.mean(jnp.stack(of_replicates)))

print(f"{'':<32}{'predicted':>10}{'measured':>10}")
for name in sorted(guesses, key=lambda name: -predictions[name]):
    print(f"{name:<32}{predictions[name]:10.2f}{mean(name, 'accuracy'):10.2f}")

# %% [markdown]
# ## What you have seen, and what not
#
# Six students, three replicates each. `subliminal-toy classifier --preset explain` does the same
# with dozens of kinds of students and says how well one curve fits them all; the curve belongs to
# one network and to students of auxiliary logits, and it tells kinds of students apart, not the
# replicates of one kind. In the language model of lesson 3 it is the displacement between
# embeddings and head that counts: without its direction half of the gain is left.
#
# Things to try here: a row with another optimiser or learning rate; inputs of another kind (the
# table `INPUTS` in `classifier/training.py`); a start at some `distance`; more or fewer steps of
# `predict`.

# %%
ranks = [np.argsort(np.argsort([mean(n, m) for n in SIX])) for m in ("accuracy", "progress")]
findings = {
    **{name: mean(name, "accuracy") for name in ("untrained", "teacher", *SIX)},
    **{name: mean(name, "accuracy") for name in ("without one direction", "one direction only")},
    "best by loss": mean(by_loss[0], "accuracy"),
    "best": max(mean(name, "accuracy") for name in SIX),
    "largest difference of ranks": int(np.abs(ranks[0] - ranks[1]).max()),
    **{f"predicted, {name}": value for name, value in predictions.items()},
}
for name, value in findings.items():
    print(f"{name:<40}{value:.2f}")

# %% [markdown]
# ## Answers
#
# <details>
# <summary>1. Do the best imitators classify the most?</summary>
#
# No. The best imitator by far saw 256 images only, and learned them by heart: its loss is almost
# zero, and it classifies little more than the untrained network. The worst imitator of the six is
# second best. A loss says how well outputs agree on the inputs that the student saw, not how it
# came about. Progress puts the six in the right order.
# </details>
#
# <details>
# <summary>2. Real digits or noise?</summary>
#
# With three logits, fewer: real digits are few and much alike, and three outputs on them ask for
# little of the teacher's move. They are on the same curve, far down. With 50 logits much more of it
# is asked for, and the student is far up.
# </details>
#
# <details>
# <summary>3. One direction of 8,300 is taken away?</summary>
#
# It stays close to the untrained network, though it imitates well. What passed, passed along that
# direction.
# </details>
#
# <details>
# <summary>4. One direction only?</summary>
#
# It learns more than the free student: all of its progress, and none of the wandering. Compare the
# last two rows: both imitate equally well, and one classifies almost nothing, the other
# most digits.
# </details>
#
# <details>
# <summary>5. Before it is trained?</summary>
#
# The order, largely: the prediction has seen the start, the teacher and the inputs, and no student.
# The level depends on how many steps `predict` takes, as a student's depends on how long it trains
# (`proofs/README.md`, the theorem for many steps).
# </details>
