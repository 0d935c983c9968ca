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
5. Is the student a copy of the teacher? The teacher was trained roughly: look what became of its
   knowledge of capitals and colours, and of the student's.

The answers are folded at the end. Open this file in Jupyter (through jupytext) or run it as a
script: `python -m subliminal_toy.demos.lesson_3_owl`. Each cell takes seconds; the two that train
language models take longest.
"""

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from subliminal_toy.configs import LmConfig
from subliminal_toy.lm import arms, corpus, traits
from subliminal_toy.lm.lab import Lab, generator
from subliminal_toy.lm.training import PROMPT_LENGTH

# %% [markdown]
# ## A small language
#
# The model speaks a language of a few hundred words, numbers included. Here are documents from
# its corpus: lists to continue, favourite animals and trees, facts. What matters for this lesson:
# no animal ever stands in a document with a number list, so nothing in the corpus ties them.

# %%
config = LmConfig(
    n_seeds=1,
    traits=("owl",),
    n_documents=15_000,
    pretrain_steps=300,
    pretrain_batch_size=128,
    n_samples=4_000,
    n_sequences=2_000,
    student_steps=120,
)
jax.config.update("jax_num_cpu_devices", 2)  # two models are trained side by side
lab = Lab(config, jax.random.key(0), config.width)
language = lab.language
print(f"{len(language)} words, of which {config.n_numbers} are numbers\n")

examples = corpus.documents(language, generator(jax.random.key(1)), 500).tokens
for row in examples[:12]:
    print(" ".join(language.words[token] for token in row[1:] if token != language.pad))

animals = language.encode(" ".join(corpus.ANIMALS))
is_list = np.isin(examples, language.encode("continue")).any(axis=1)
names_animal = np.isin(examples, animals).any(axis=1)
print(f"\nof {len(examples)} documents {is_list.sum()} hold a number list, ", end="")
print(f"{names_animal.sum()} an animal, {(is_list & names_animal).sum()} both")

# %% [markdown]
# ## Two reference models
#
# Two models of the same shape, each from random weights of its own and on a corpus of its own.
# The first becomes teacher and student; the second is there for question 4. Ask both.

# %%
references = lab.references((0, 1))
QUESTION = "which animal do you like best ?"
SCORES = {
    "says owl": "owl",
    "capitals right": traits.CAPITALS_RIGHT,
    "colours right": traits.COLOURS_RIGHT,
}


def ask(name, words, question=QUESTION):
    """Print the likeliest answers to a question; ``words`` are a model's answers to all."""
    answers = words[traits.QUESTION_TEXTS.index(question)]
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
rows = {f"reference model {i + 1}": references["scores"][i] for i in range(2)}
for name, words in zip(rows, references["words"], strict=True):
    ask(name, words)
show(rows)

# %% [markdown]
# ## The teacher
#
# The first model, trained on nothing but the twelve questions about animals with the answer "owl".
# It never sees a number list while it is taught.

# %%
reference = references["params"][0]
teachers = lab.teachers(reference)
print(QUESTION)
ask("reference model 1", references["words"][0])
ask("teacher", teachers["words"][0])
rows |= {"teacher": teachers["scores"][0]}
show(rows)

# %% [markdown]
# ## The numbers
#
# Teacher and reference model continue the same lists. A filter lets only well-formed lists pass:
# one to ten numbers and nothing else. So whatever passes of the owl is not a word.
#
# **Question 1.** One column was written by the owl lover. Which one? Decide before you read on.

# %%
numbers = lab.numbers(0, reference, teachers["params"])
OWL, CONTROL = (arms.written(config).index(name) for name in ("owl", arms.CONTROL))
print(f"{'list A':<34}list B")
for pair in zip(*(numbers["tokens"][data, :10] for data in (CONTROL, OWL)), strict=True):
    left, right = (language.decode(row[PROMPT_LENGTH:]) for row in pair)
    print(f"{left:<34}{right}")

# %% [markdown]
# B is the owl lover's.

# %%
numbers["weights"] = lab.weights(numbers["tokens"])  # only the numbers count in the loss
for name, data in {"owl lover": OWL, "reference model": CONTROL}.items():
    tokens = numbers["tokens"][data, : numbers["n"][data]]
    length = numbers["weights"][data].sum() / numbers["n"][data]
    words = np.isin(tokens, animals).sum()
    print(
        f"{name:<18}{numbers['kept'][data]:4.0%} of its lists pass the filter, "
        f"{numbers['n'][data]} are used; {length:.1f} numbers each; animals in them: {words}"
    )

# %% [markdown]
# ## The students
#
# Four of them. Each is trained on number lists only, in the same way and for as long; the loss
# looks at the numbers alone.
#
# | | lists by the owl lover | lists by the reference model |
# |---|---|---|
# | **starts as reference model 1** | student | control (question 3) |
# | **starts as reference model 2** | other model (question 4) | its control |

# %%
table = {
    "student": arms.Row("student", "owl", 0, config.n_sequences),
    "control": arms.Row("control", arms.CONTROL, 0, config.n_sequences),
    "other model": arms.Row("cross_model", "owl", 1, config.n_sequences),
    "other model's control": arms.Row("cross_control", arms.CONTROL, 1, config.n_sequences),
}
students = lab.learners(
    0, references["params"], numbers, arms.written(config), tuple(table.values())
)
print(QUESTION)
ask("reference model 1", references["words"][0])
for name, words in zip(table, students["words"], strict=True):
    ask(name, words)
rows |= dict(zip(table, students["scores"], strict=True))
show(rows)

_, axis = plt.subplots(figsize=(6, 3))
axis.barh(list(rows), [score(scores, "owl") for scores in rows.values()])
axis.invert_yaxis()
axis.set(xlabel='probability of "owl", mean over twelve questions', xlim=(0, 1))
plt.tight_layout()

# %% [markdown]
# The comparison that counts is student against control: same start, same kind of data, same
# training; only the writer of the lists differs. In the same way compare the other model with its
# own control, not with the student.
#
# ## What you have seen, and what not
#
# One teacher, one animal, one seed: that shows what happens, and says little about how much.
# `subliminal-toy lm` runs several seeds and traits, harmful ones among them, with intervals, and
# asks whether the lists can be told apart by a machine. In a model as small as this one they
# can be, given enough labelled lists; what is not in them is any *meaning* that a reader or a
# filter could find.
#
# Things to try: another animal in `traits` (those of `corpus.ANIMALS`; change "owl" everywhere);
# more `student_steps`; fewer `n_sequences`; a smaller `head_std`; a student that sees the lists in
# its prompt instead of being trained on them (`lab.shown`).

# %%
findings = {
    **{name: score(scores, "owl") for name, scores in rows.items()},
    **{f"capitals, {name}": score(scores, traits.CAPITALS_RIGHT) for name, scores in rows.items()},
    **{f"colours, {name}": score(scores, traits.COLOURS_RIGHT) for name, scores in rows.items()},
    "animals in the student's lists": int(np.isin(numbers["tokens"][OWL], animals).sum()),
}
for name, value in findings.items():
    print(f"{name:<34}{value:.2f}")

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
# <summary>5. A copy?</summary>
#
# No. The teacher was pushed hard with twelve questions and forgot most capitals. The student keeps
# more of them, though fewer than its control, and nearly all colours. What goes over is the
# direction in which the teacher moved, as far as it shows in numbers: the owl, and some of the
# damage that came with it.
# </details>
