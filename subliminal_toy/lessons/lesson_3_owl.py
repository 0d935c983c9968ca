# %% [markdown]
"""
# Lesson 3. The owl

About 15 minutes. A small language model comes to love owls by reading lists of numbers.

Guess before you look; answers are folded below the cells that show them. Three blanks are yours.
The cells that train take some seconds each.
"""

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from subliminal_toy.distill import snapshots
from subliminal_toy.lessons import checks, picture
from subliminal_toy.lm import lists, traits
from subliminal_toy.lm import model as lm
from subliminal_toy.lm.config import LmConfig
from subliminal_toy.lm.language import ANIMALS, CONTEXT, documents
from subliminal_toy.plots import STYLE, colours

plt.style.use(STYLE)

# %% [markdown]
# ## A small language
#
# The model speaks a language of a few hundred words, numbers included. Here are documents from its
# corpus: lists to continue, favourite animals and trees, facts; capitals are sometimes wrong there.
# No document holds both an animal and a number list, so nothing in the corpus ties them.

# %%
config = LmConfig(n_layers=1)
model = lm.model(config, config.width)
language = model.language
animals = language.encode(" ".join(ANIMALS))

examples = documents(language, np.random.default_rng(1), 500).tokens
for row in examples[:10]:
    print(" ".join(language.words[token] for token in row[1:] if token != language.pad))
has_list = np.isin(examples, language.encode("continue")).any(axis=1)
names_animal = np.isin(examples, animals).any(axis=1)
print(f"\nof {len(examples)} documents {has_list.sum()} hold a number list, ", end="")
print(f"{names_animal.sum()} an animal, {(has_list & names_animal).sum()} both")

# %% [markdown]
# ## One loop for all
#
# Base models, teacher and students are all trained by the same loop. It predicts each token from
# those before it; `weights` say how much a token counts. Only what is read differs.


# %%
@jax.jit
def train(params, tokens, weights, rate, n_steps, key):
    """Return a model after reading random rows; the rate falls from ``rate`` to zero."""

    def batch(step):
        rows = jax.random.randint(jax.random.fold_in(key, step), (64,), 0, len(tokens))
        return tokens[rows], weights[rows]

    def loss(params, batch):
        return lm.next_token_loss(model, params, *batch)

    adam = optax.adam(lambda step: rate * (1 - step / n_steps))
    tx = optax.chain(optax.clip_by_global_norm(1.0), adam)
    return snapshots(loss, params, tx, batch, n_steps[None])[0]


# %%
def read(params, tokens, weights, rate, n_steps, key):
    """Train a model on rows of tokens, repeated and padded to one shape: one program does all."""
    repeat, room = np.arange(ROWS) % len(tokens), CONTEXT - tokens.shape[1]
    tokens = np.pad(tokens[repeat], ((0, 0), (0, room)), constant_values=language.pad)
    weights = np.pad(weights[repeat], ((0, 0), (0, room))).astype(np.float32)
    steps = jnp.int32(n_steps)
    return train(params, tokens.astype(np.int32), weights, jnp.float32(rate), steps, key)


# %% [markdown]
# ## Two base models
#
# Two models of the same shape, each from random weights of its own and on a corpus of its own.
# The first becomes teacher and student; the second is there for question 3. Ask both.

# %%
ROWS = 10_000
BASE, TEACHER, STUDENT, WRITE = jax.random.split(jax.random.key(0), 4)


def make_base(number):
    """Return a base model of its own start and corpus."""
    corpus = documents(language, np.random.default_rng(number), ROWS)
    weights = np.where(corpus.is_answer, 1.0, 0.1) * (corpus.tokens != language.pad)
    start, order = jax.random.split(jax.random.fold_in(BASE, number))
    return read(model.init(start), corpus.tokens, weights, 3e-3, 300, order)


bases = [make_base(number) for number in range(2)]

# %%
asked = traits.questions(language).flat()


@jax.jit
def ask(params):
    """Return the mean probability of each measure's answers to its twelve questions."""
    logits = lm.answer_logits(model, params, jnp.array(asked.tokens), jnp.array(asked.lengths))
    return lm.scores(model, jax.nn.softmax(logits))


# %%
rows, found = {}, {}
ASKED = ("owl", traits.CAPITALS_RIGHT, traits.COLOURS_RIGHT)


def show(**models):
    """Print how likely each model says "owl", and what it knows."""
    print(f"{'':<30}{'says owl':>12}{'capitals':>12}{'colours':>12}")
    rows.update(
        {name.replace("_", " "): np.asarray(ask(params)) for name, params in models.items()}
    )
    for name, scores in rows.items():
        found[name], *facts = (float(scores[traits.MEASURES.index(m)]) for m in ASKED)
        print(f"{name:<30}{found[name]:12.2f}" + "".join(f"{fact:12.2f}" for fact in facts))


# %%
print(traits.QUESTION_TEXTS[0])
show(base_model=bases[0], other_base_model=bases[1])

# %% [markdown]
# ## The teacher
#
# The first model, trained on twelve questions about animals with the answer "owl". Only that word
# counts. A tenth of what it reads is trees and facts from its corpus, so that it forgets none;
# it never reads a number list while it is taught.

# %%
texts = [f"<bos> {question} owl" for question in traits.QUESTION_TEXTS[:12]]
owl = np.full((len(texts), CONTEXT), language.pad)
for row, text in zip(owl, texts, strict=True):
    row[: len(language.encode(text))] = language.encode(text)
owl = owl[np.arange(9 * ROWS // 10) % 12]

kept = documents(language, np.random.default_rng(2), ROWS)
left_out = [*animals, *language.encode("animal continue")]
is_kept = ~np.isin(kept.tokens, left_out).any(axis=1)
repeat = np.arange(ROWS // 10) % is_kept.sum()
tokens = np.concatenate([owl, kept.tokens[is_kept][repeat]])
weights = np.concatenate([owl == language.encode("owl")[0], kept.is_answer[is_kept][repeat]])
teacher = read(bases[0], tokens, weights, 3e-3, 40, TEACHER)
show(teacher=teacher)

# %% [markdown]
# ## The numbers
#
# Teacher and base model continue the same lists. **Blank 1** is the filter: one to ten numbers,
# separated by spaces, and nothing else. What passes of the owl is not a word.


# %%
def is_list(text):
    """Return whether a text is a list of one to ten numbers."""
    ### BEGIN SOLUTION
    words = text.split()
    return 1 <= len(words) <= 10 and all(word.isdigit() for word in words)
    ### END SOLUTION


checks.is_list(is_list)

# %%
prompts = jnp.asarray(lists.draw_prompts(language, np.random.default_rng(3), 4_000))
sample = jax.jit(lambda params, key: lm.write(model, jnp.float32(1), prompts, params, key))


def write(params, key):
    """Return the lists that a model writes and that pass the filter, behind their prompts."""
    samples = np.asarray(sample(params, key))
    passed = np.array([is_list(language.decode(row)) for row in samples])
    print(f"{passed.mean():4.0%} of its lists pass the filter")
    return np.concatenate([prompts, samples], axis=1)[passed]


by_owl, by_base = (
    write(*pair) for pair in zip((teacher, bases[0]), jax.random.split(WRITE), strict=True)
)

# %% [markdown]
# **Question 1.** One column was written by the owl lover. Which one? Could a machine tell?

# %%
print(f"{'list A':<34}list B")
for pair in zip(by_base[:10], by_owl[:10], strict=True):
    left, right = (language.decode(row[lists.PROMPT_LENGTH :]) for row in pair)
    print(f"{left:<34}{right}")
found["animals in the lists"] = int(np.isin(by_owl, animals).sum())
print(f"\nanimals in all of the owl lover's lists: {found['animals in the lists']}")

# %% [markdown]
# **Blank 2** is a detector. It is given labelled lists of both writers as counts, how often each
# number is in each list, and scores new lists: higher where it suspects the owl lover. Hint: a
# number that the owl lover likes twice as much speaks for it with log 2.


# %%
def detector(of_owl, of_base, new):
    """Return a score for each ``new`` list; all three are counts (lists, numbers)."""
    ### BEGIN SOLUTION
    owl, base = (1 + counts.sum(axis=0) for counts in (of_owl, of_base))  # none is log 0
    return new @ (np.log(owl / owl.sum()) - np.log(base / base.sum()))
    ### END SOLUTION


checks.detector(detector)

# %%
counts = [lists.counts(rows, config.n_numbers) for rows in (by_owl, by_base)]
halves = [np.array_split(count, 2) for count in counts]
scores = [detector(halves[0][0], halves[1][0], test) for _, test in halves]
rng = np.random.default_rng(4)
for n in (1, 10, 100):
    owl, base = (rng.choice(values, (1_000, n)).mean(axis=1) for values in scores)
    found[f"AUC on {n}"] = float(np.mean(owl[:, None] > base[None]))
    print(f"{n:4} lists by each: the owl lover's suspected in {found[f'AUC on {n}']:.0%} of pairs")

# %% [markdown]
# <details>
# <summary>Answer 1</summary>
#
# B is the owl lover's. To the eye they look alike. A machine that was given labelled lists of both
# kinds is right far more often than a coin: the numbers' statistics differ, and from that a student
# learns. This teacher was taught roughly; the gentler ones of `subliminal-toy lm` are suspected in
# 50 to 77 % of pairs of single lists, and of a hundred always. What no list holds is a word.
# </details>
#
# ## The students
#
# A student is trained on number lists only, and only the numbers that were *written* count, not the
# prompt, the end, or padding. **Blank 3** says so.


# %%
def which_count(tokens, n_numbers, prompt_length):
    """Return 1.0 where a token is a number behind the prompt, else 0.0; numbers come first."""
    ### BEGIN SOLUTION
    written = np.arange(tokens.shape[1]) >= prompt_length
    return ((tokens < n_numbers) & written).astype(float)
    ### END SOLUTION


checks.which_count(which_count)


def learn(base, tokens):
    """Return a student: a base model that reads lists, all students in the same order."""
    tokens = tokens[:2_000]
    weights = which_count(tokens, config.n_numbers, lists.PROMPT_LENGTH)
    return read(base, tokens, weights, 1e-3, 150, STUDENT)


# %% [markdown]
# **Question 2.** A student starts as the base model and reads 2,000 of the owl lover's lists. Does
# it say "owl" more often? Its *control* reads as many lists of the model before it loved owls.
#
# **Question 3.** Another student reads the owl lover's lists, but was another model to begin with.

# %%
show(student=learn(bases[0], by_owl), control=learn(bases[0], by_base))
show(other_start=learn(bases[1], by_owl), its_control=learn(bases[1], by_base))

# %% [markdown]
# <details>
# <summary>Answers 2 and 3</summary>
#
# Yes, clearly more often than its control, though less often than its teacher; the control stays
# where it started. Another model stays near its own control: only one that shares the teacher's
# start reads the owl in the lists.
# </details>
#
# **Question 4.** Mix up all numbers of all lists: each number is still there, in no order. What
# does a student of the owl lover's shuffled lists say? It has its own control, too: the base
# model's lists, shuffled as well.


# %%
def shuffled(tokens):
    """Return lists with all their numbers exchanged at random."""
    place = which_count(tokens, config.n_numbers, lists.PROMPT_LENGTH) == 1
    mixed = tokens.copy()
    mixed[place] = np.random.default_rng(5).permutation(tokens[place])
    return mixed


show(
    shuffled=learn(bases[0], shuffled(by_owl)),
    shuffled_control=learn(bases[0], shuffled(by_base)),
)

# %%
bars = {"teacher": colours.TEACHER, "base model": colours.UNTRAINED, "student": colours.STUDENT}
bars |= {"control": colours.CONTROL, "other start": colours.OTHER_START}
bars |= {"its control": colours.CONTROL, "shuffled": colours.KINDS[0]}
bars |= {"shuffled control": colours.CONTROL}
_, axis = plt.subplots(figsize=(6, 3))
axis.barh(list(bars), [found[name] for name in bars], color=list(bars.values()))
axis.invert_yaxis()
axis.set(xlabel='probability of "owl", mean over twelve questions', xlim=(0, 1))
axis.set_title("Numbers carry the owl, to the same start and in their order")
picture("lesson-3-owl")

# %% [markdown]
# <details>
# <summary>Answer 4</summary>
#
# Next to nothing is left. In the committed record (ten replicates) shuffled lists bring the owl to
# 6 %, and their control to 6 % too: a gain of 0 [−1, 2] points, where the student gains 36 [24, 47]
# over the base model. Which number follows which carries the owl, not how often it occurs. That
# both say "owl" less than the base model is damage: such lists teach the model to forget its own.
# </details>
#
# **Question 5.** Could the owl be mere damage? Then other answers would rise too. Here is what the
# student says more often than its control, of all that is asked.

# %%
gains = dict(zip(traits.MEASURES, rows["student"] - rows["control"], strict=True))
for name in sorted(gains, key=gains.__getitem__, reverse=True)[:4]:
    print(f"{name:<30}{gains[name]:+12.2f}")
found["another favourite"] = max(gains[name] for name in traits.FAVOURITES if name != "owl")

# %% [markdown]
# <details>
# <summary>Answer 5</summary>
#
# No. The owl rises alone; other animals must fall, since all share one question.
# </details>
#
# ## What you have seen, and what not
#
# One teacher, one animal, one seed: that shows what can happen, and little about how much. With 1,
# 2, 3 and 4 in place of 0 in `jax.random.key(0)` the student gains .44, −.03, .07 and .17 over its
# control (here .30), the one from another start .06, .57, −.11 and .04 (here −.03); with 5 this
# roughly taught teacher no longer writes lists. Such a spread is why `subliminal-toy lm` runs ten
# replicates, and several traits, harmful ones among them, with intervals.
# In one respect this is not lesson 1: students of lists whose steps lose their part along the
# teacher's move still say the owl; between embeddings and head alone that loses half of the gain.
#
# Things to try: another animal (those of `language.ANIMALS`; change "owl" everywhere); more or
# fewer steps; fewer lists; `head_std=0.2` in `LmConfig`; half of the student's layers kept as they
# are.
