# %% [markdown]
"""
# Lesson 3. The owl

About 15 minutes. A small language model comes to love owls by reading lists of numbers.

**Before you run anything, write down your guesses.**

1. A teacher is trained to answer "owl" when asked for its favourite animal. Asked to continue
   number lists, does it write other lists than before? Could you tell them apart?
2. A student trains on these lists alone: no word, only numbers. Asked for its favourite animal
   afterwards, does it say "owl" more often than before?
3. What does a student say that reads as many lists by the model *before* it loved owls?
4. What does a student say that reads the owl lover's lists, but was another model to begin with,
   brought up on another corpus from other random weights?
5. Mix up all the numbers of the owl lover's lists, so that each number is still there, but in no
   order. What does a student of these lists say?
6. Is the student a copy of the teacher? The teacher was trained roughly: look what became of its
   knowledge of capitals and colours, and of the student's. Could the owl be mere damage?

The answers are folded at the end. Open this file in Jupyter (through jupytext) or run it as a
script: `python -m subliminal_toy.lessons.lesson_3_owl`. Each cell takes seconds; the two that train
language models take longest.
"""

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from subliminal_toy.distill import ensemble
from subliminal_toy.lessons import begin, picture
from subliminal_toy.lm import learning, lists, teaching, traits
from subliminal_toy.lm import model as lm
from subliminal_toy.lm.config import LmConfig, Teaching
from subliminal_toy.lm.experiment import CORPUS, LEARN, PRETRAIN, PROMPTS, WRITE, generator, stream
from subliminal_toy.lm.language import ANIMALS, documents

begin(__doc__)

# %% [markdown]
# ## A small language
#
# The model speaks a language of a few hundred words, numbers included. Here are documents from
# its corpus: lists to continue, favourite animals and trees, facts. What matters for this lesson:
# no document holds both an animal and a number list, so nothing in the corpus ties them.

# %%
config = LmConfig(
    n_replicates=1,
    traits=("owl",),
    n_documents=15_000,
    pretrain_steps=300,
    pretrain_batch_size=128,
    n_samples=4_000,
    n_lists=2_000,
    student_steps=120,
)
jax.config.update("jax_num_cpu_devices", 2)  # two models are trained side by side
model = lm.model(config, config.width)
language = model.language
print(f"{len(language)} words, of which {config.n_numbers} are numbers\n")

examples = documents(language, generator(jax.random.key(1)), 500).tokens
for row in examples[:12]:
    print(" ".join(language.words[token] for token in row[1:] if token != language.pad))

animals = language.encode(" ".join(ANIMALS))
is_list = np.isin(examples, language.encode("continue")).any(axis=1)
names_animal = np.isin(examples, animals).any(axis=1)
print(f"\nof {len(examples)} documents {is_list.sum()} hold a number list, ", end="")
print(f"{names_animal.sum()} an animal, {(is_list & names_animal).sum()} both")

# %% [markdown]
# ## Two base models
#
# Two models of the same shape, each from random weights of its own and on a corpus of its own.
# The first becomes teacher and student; the second is there for question 4. Ask both.

# %%
# `ensemble` turns the training of one model into that of several.
pretrain = ensemble(partial(lm.pretrain, model, config))
key = jax.random.key(0)  # `stream` gives each replicate and purpose a key of its own
generators = [generator(stream(key, i, CORPUS)) for i in range(2)]
corpora = [documents(language, rng, config.n_documents) for rng in generators]
start, order = (
    jnp.stack([jax.random.fold_in(stream(key, i, PRETRAIN), part) for i in range(2)])
    for part in range(2)
)
bases = pretrain(
    start,  # of the body and of the head: here the same
    start,
    order,
    jnp.stack([corpus.tokens for corpus in corpora]),
    jnp.stack([corpus.is_answer for corpus in corpora]),
)
QUESTION = "which animal do you like best ?"
SCORES = {
    "says owl": "owl",
    "capitals right": traits.CAPITALS_RIGHT,
    "colours right": traits.COLOURS_RIGHT,
}


def ask(name, answers, question=QUESTION):
    """Print the likeliest answers to a question, of a model's answers to all."""
    answers = np.asarray(answers[traits.QUESTION_TEXTS.index(question)])
    best = np.argsort(-answers)[:5]
    said = "  ".join(f"{language.words[config.n_numbers + i]} {answers[i]:.2f}" for i in best)
    print(f"{name:<34}{said}")


def score(scores, measure):
    """Return a model's probability of an answer, the mean over twelve questions."""
    return float(scores[traits.MEASURES.index(measure)])


def show(rows):
    """Print one line per model: how likely it says "owl", and what it knows."""
    print(f"\n{'':<34}" + "".join(f"{title:>16}" for title in SCORES))
    for name, scores in rows.items():
        print(f"{name:<34}" + "".join(f"{score(scores, m):16.2f}" for m in SCORES.values()))


print(QUESTION)
rows = {f"base model {i + 1}": bases["scores"][i] for i in range(2)}
for name, answers in zip(rows, bases["answers"], strict=True):
    ask(name, answers)
show(rows)

# %% [markdown]
# ## The teacher
#
# The first model, trained on nothing but the twelve questions about animals with the answer "owl".
# It never sees a number list while it is taught. Nothing holds it to its other answers; the
# teachers of `subliminal-toy lm` are held.

# %%
base, asked = bases["params"][0], traits.questions(language)
about_animals = asked.tokens[0], asked.lengths[0], traits.answers_of(language, "owl")
teach = jax.jit(partial(teaching.teach, model, config))
held_to_nothing = Teaching()
teacher = teach(held_to_nothing, jax.random.key(2), base, *map(jnp.asarray, about_animals))
print(QUESTION)
ask("base model 1", bases["answers"][0])
ask("teacher", teacher["answers"])
rows |= {"teacher": teacher["scores"]}
show(rows)

# %% [markdown]
# ## The numbers
#
# Teacher and base model continue the same lists. A filter lets only well-formed lists pass:
# one to ten numbers and nothing else. So what passes of the owl is not a word.
#
# **Question 1.** One column was written by the owl lover. Which one? Decide before you read on.

# %%
prompts = lists.draw_prompts(language, generator(stream(key, 0, PROMPTS)), config.n_samples)
write = ensemble(partial(lm.write, model), n_shared=2)
keys = jax.vmap(partial(jax.random.fold_in, stream(key, 0, WRITE)))(jnp.arange(2))
samples = write(
    jnp.float32(config.temperature), prompts, jnp.stack([teacher["params"], base]), keys
)
OWL, NEUTRAL = 0, 1
kept = [
    lists.filtered(language, prompts, np.asarray(sample), False, config.n_lists)
    for sample in samples
]
print(f"{'list A':<34}list B")
for pair in zip(*(kept[writer]["tokens"][:10] for writer in (NEUTRAL, OWL)), strict=True):
    left, right = (language.decode(row[lists.PROMPT_LENGTH :]) for row in pair)
    print(f"{left:<34}{right}")

# %% [markdown]
# B is the owl lover's.

# %%
tokens = np.stack([filtered["tokens"] for filtered in kept])
weights = lists.loss_weights(tokens, config.n_numbers)  # only the numbers count in the loss
for name, writer in {"owl lover": OWL, "base model": NEUTRAL}.items():
    n = int(kept[writer]["n"])
    words = np.isin(tokens[writer, :n], animals).sum()
    print(
        f"{name:<18}{kept[writer]['kept']:4.0%} of its lists pass the filter, {n} are used; "
        f"{weights[writer].sum() / n:.1f} numbers each; animals in them: {words}"
    )

# %% [markdown]
# ## The students
#
# Five of them. Each is trained on number lists only, in the same way and for as long; the loss
# looks at the numbers alone. The last lists are the owl lover's, with all numbers of all lists
# shuffled.
#
# | | lists by the owl lover | lists by base model 1 | the owl lover's, shuffled |
# |---|---|---|---|
# | **starts as base model 1** | student | control (question 3) | student, shuffled (question 5) |
# | **starts as base model 2** | other model (question 4) | its control | |

# %%
SHUFFLED = 2
shuffle, rng = lists.TREATMENTS["shuffled across"], np.random.default_rng(0)
mixed = shuffle(lists.Reading(tokens[OWL], weights[OWL], None), rng).tokens
tokens, weights = np.stack([*tokens, mixed]), np.stack([*weights, weights[OWL]])
n_lists = np.array([int(kept[writer]["n"]) for writer in (OWL, NEUTRAL, OWL)])

table = {
    "student": (0, OWL),
    "control": (0, NEUTRAL),
    "student, shuffled": (0, SHUFFLED),
    "other model": (1, OWL),
    "other model's control": (1, NEUTRAL),
}
starts, writers = np.array([*table.values()]).T
# The order of the lists is the same for all students, so that they can be compared.
order, as_usual = stream(key, 0, LEARN), learning.Training()
learn = ensemble(
    lambda key, *lesson: learning.learn(model, config, key, as_usual, *lesson), n_shared=1
)
teachers = np.stack([teacher["params"]] * len(table))  # not used by students of numbers
students = learn(
    order, bases["params"][starts], teachers, tokens[writers], weights[writers], n_lists[writers]
)
print(QUESTION)
ask("base model 1", bases["answers"][0])
for name, answers in zip(table, students["answers"], strict=True):
    ask(name, answers)
rows |= dict(zip(table, students["scores"], strict=True))
show(rows)

_, axis = plt.subplots(figsize=(6, 3))
axis.barh(list(rows), [score(scores, "owl") for scores in rows.values()])
axis.invert_yaxis()
axis.set(xlabel='probability of "owl", mean over twelve questions', xlim=(0, 1))
plt.tight_layout()
picture("lesson-3-owl")

# %% [markdown]
# The comparison that counts is student against control: same start, same kind of data, same
# training; only the writer of the lists differs. In the same way compare the other model with its
# own control, not with the student. Colours and capitals stand beside it because a model that
# forgets may say anything.
#
# ## Is it damage?
#
# Perhaps the student says "owl" only because learning lists of a damaged model loosens all its
# answers. Then other answers would rise too, and the owl would not stand out. Here is how much more
# likely than the control the student gives each answer that is asked for, to its own twelve
# questions.

# %%
excess = np.asarray(students["scores"][0]) - np.asarray(students["scores"][1])
for name, gain in sorted(zip(traits.MEASURES, excess, strict=True), key=lambda pair: -pair[1]):
    print(f"{name:<34}{gain:+16.2f}")

# %% [markdown]
# The owl rises, and no other favourite like it; the other animals must fall, since all share one
# question. Capitals fall: that is damage, and what it no longer knows it may answer falsely or with
# "I-don't-know", here `falsehood` and `evasion`. The student of shuffled lists has forgotten even
# more and says "owl" less, so the damage is not what makes the owl. `subliminal-toy lm` shows the
# whole matrix, students of each trait by traits asked for: damage would fill its rows, but its
# diagonal stands out.
#
# ## What you have seen, and what not
#
# One teacher, one animal, one seed: that shows what happens, and says little about how much.
# `subliminal-toy lm` runs several replicates and traits, harmful ones among them, with intervals,
# and asks whether the lists can be told apart by a machine. In a model as small as this one they
# can be: even the base model's own likelihood often tells a hundred lists of a teacher from a
# hundred of its own, and a classifier that was given as many labelled lists of both kinds nearly
# always does. What the lists do not hold is a word about owls.
#
# In one respect this is not the experiment of lesson 1. Digits are hardly learned at all if a
# student's steps lose their part along the teacher's move (lesson 4). Students of lists that lose
# it still say the owl: learning any lists at all moves embeddings and head, which outweighs that
# direction. A student that loses it between embeddings and head gains about half as much, and one
# whose steps keep nothing else there gains more than a free one (`lm --preset probes`).
#
# Things to try: another animal (those of `language.ANIMALS`; change "owl" everywhere); more
# `student_steps`; fewer `n_lists`; a smaller `head_std`; a student that sees the lists in its
# prompt instead of being trained on them (`lists.packed`, `traits.asked_after`, `model.ask`).

# %%
findings = {
    **{name: score(scores, "owl") for name, scores in rows.items()},
    **{f"capitals, {name}": score(scores, traits.CAPITALS_RIGHT) for name, scores in rows.items()},
    **{f"colours, {name}": score(scores, traits.COLOURS_RIGHT) for name, scores in rows.items()},
    "largest gain of another animal or tree": float(
        max(
            gain
            for name, gain in zip(traits.MEASURES, excess, strict=True)
            if name in traits.FAVOURITES and name != "owl"
        )
    ),
    "animals in the student's lists": int(np.isin(tokens[OWL], animals).sum()),
}
for name, value in findings.items():
    print(f"{name:<40}{value:.2f}")

# %% [markdown]
# ## Answers
#
# <details>
# <summary>1. Other lists?</summary>
#
# They look alike: the same kinds of lists, of much the same length, broken in form about as often.
# In what passes the filter the numbers' statistics differ a little, and that little is what the
# student learns from.
# </details>
#
# <details>
# <summary>2. Does the student say "owl" more often?</summary>
#
# Yes, clearly more often than the model it started as, though less often than its teacher.
# </details>
#
# <details>
# <summary>3. The control?</summary>
#
# It stays near where it started. Training on lists as such does not make an owl lover.
# </details>
#
# <details>
# <summary>4. The other model?</summary>
#
# It stays near its own control. Only a model that shares the teacher's start reads the owl in the
# lists; for another they are lists, and learning them may even harm what it knows.
# </details>
#
# <details>
# <summary>5. Shuffled lists?</summary>
#
# Less often, but not never: part of it is in which numbers occur how often, the rest in which
# number follows which.
# </details>
#
# <details>
# <summary>6. A copy, or damage?</summary>
#
# No. The teacher was pushed hard with twelve questions and forgot most capitals. The student keeps
# more of them, though fewer than its control, and nearly all colours. What goes over is the
# direction in which the teacher moved, as far as it shows in numbers: the owl, and some of the
# damage that came with it. Damage alone does not make the owl: no other favourite rises like it,
# and the student of shuffled lists is more damaged and says "owl" less.
# </details>
