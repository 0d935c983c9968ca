# %% [markdown]
"""
# Lesson 2. Why does it happen?

About 20 minutes. A theorem, in ten lines of JAX; then the places where it ends.

The theorem: *a student that starts where its teacher started, and takes one small step towards
imitating the teacher on any inputs whatsoever, does not move away from the teacher to first order,
in the teacher's own loss.* Equation numbers are those of `proofs/README.md`, where it is proved.

Guess before you look; answers are folded below the cells that show them. Three blanks are yours.
"""

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from subliminal_toy.data import load
from subliminal_toy.distill import cross_entropy, fit, kl, squared_error
from subliminal_toy.lessons import checks, picture
from subliminal_toy.plots import STYLE, check, colours
from subliminal_toy.theorem import many_steps, one_step
from subliminal_toy.theorem.check import check_one_step

plt.style.use(STYLE)
jax.config.update("jax_enable_x64", True)  # small effects drown in rounding

# %% [markdown]
# ## The pieces
#
# A network with smooth units and 13 outputs: ten classes and three auxiliary logits. Its parameters
# are one long vector θ. The teacher's own loss L_T is the cross-entropy on digits. The student's is
# the squared distance to the teacher's three *auxiliary* outputs on noise: no digit, no label.

# %%
SHAPES = ((64, 16), (16, 16), (16, 13))  # inputs and outputs of the layers
rng = np.random.default_rng(0)
stds = np.concatenate([np.full(n_in * n_out, n_in**-0.5) for n_in, n_out in SHAPES])
points = stds * rng.normal(size=(200, len(stds)))  # two hundred networks
noises = rng.uniform(-1, 1, (100, 64, 64))
theta_0, noise = points[0], noises[0]
data = load("digits")
digits = jnp.asarray(data.train_images[:300].reshape(300, 64), float)
labels = jnp.asarray(data.train_labels[:300])


def f(theta, x):
    """Return the network's outputs, one row per input."""
    for n_in, n_out in SHAPES:
        weight, theta = jnp.split(theta, [n_in * n_out])
        x = jnp.tanh(x) if (n_in, n_out) != SHAPES[0] else x
        x = x @ weight.reshape(n_in, n_out)
    return x


# %%
@jax.jit
def L_T(theta):
    """Return the teacher's loss: cross-entropy of the ten class logits on digits."""
    return cross_entropy(f(theta, digits), labels, slice(10))


def auxiliary(theta, x):
    """Return the three outputs that mean nothing."""
    return f(theta, x)[:, 10:]


print(f"θ is a point in a space of {theta_0.size} dimensions")
print(f"L_T(θ⁰) = {L_T(theta_0):.3f} nats; guessing blindly would cost {np.log(10):.3f}")

# %% [markdown]
# ## The theorem in ten lines
#
# The teacher steps downhill in its own loss; the student steps towards the teacher's outputs.
#
# **Question 1.** In a space of many dimensions two random directions are nearly perpendicular. The
# teacher has followed labels on digits, the student outputs on noise. What is the sign of the
# scalar product of their steps? Does the student's own error on digits rise, fall, or either?


# %%
@jax.jit
def first_steps(theta_0, x, epsilon, alpha=0.1):
    """Return the teacher's direction, the student's step, and the change of the teacher's loss."""
    v = -jax.grad(L_T)(theta_0)  # Eq. (5)
    theta_T = theta_0 + epsilon * v  # Eq. (1)
    y = auxiliary(theta_T, x)  # Eq. (2)
    step = -jax.grad(lambda theta: squared_error(auxiliary(theta, x), y))(theta_0)  # Eq. (3), (4)
    theta_S = theta_0 + alpha * step  # Eq. (4)
    return v, step, L_T(theta_S) - L_T(theta_0)


v, step, change = first_steps(theta_0, noise, 1e-3)
cosine = step @ v / jnp.linalg.norm(step) / jnp.linalg.norm(v)
print(f"scalar product Δ_S·v            {step @ v:+.2e}")
print(f"cosine of the angle             {cosine:+.3f}")
print(f"typical for random directions   ±{theta_0.size**-0.5:.3f}")
print(f"change of the loss on digits    {change:+.2e} nats")

# %% [markdown]
# <details>
# <summary>Answer 1</summary>
#
# It falls, whatever the network and the noise: below are a hundred of each. The angle is far from
# perpendicular, too.
# </details>
#
# ## Why: a sum of squares
#
# - **What the student sees.** To first order the teacher's outputs differ from its old ones by
#   ε·J_x v, where J_x is the Jacobian: J_x v says how the outputs for the input x move when the
#   parameters move along v.
# - **What the student does.** The gradient of the squared error is twice the difference of the
#   outputs, sent back through the same Jacobian, since the student starts at the same point:
#   Δ_S = 2·E[J_xᵀ (ε J_x v)], to first order: Eq. (6) and (11).
# - **In line with the teacher?** Multiply by v: Δ_S·v = ε·A with A = 2·E[|J_x v|²], Eq. (8).
#   A is an average of squares. It cannot be negative, whatever the inputs are.
#
# **Blank 1.** `jax.jvp(g, (theta,), (v,))` returns g(θ) and its Jacobian times v. E is the mean
# over the inputs, |·|² the sum of squares over the outputs.


# %%
def average_of_squares(f, theta, v, x):
    """Return A = 2·E[|J_x v|²], J_x the Jacobian of the outputs f(θ, x), one row per input."""
    ### BEGIN SOLUTION
    J_v = jax.jvp(lambda theta: f(theta, x), (theta,), (v,))[1]
    return 2 * jnp.mean(jnp.sum(J_v**2, axis=1))
    ### END SOLUTION


checks.average_of_squares(average_of_squares)
A = float(jax.jit(partial(average_of_squares, auxiliary))(theta_0, v, noise))
print(f"A = {A:.6f}\n\n     ε   (Δ_S·v)/ε   relative error   change of L_T   predicted −εαA")
for epsilon in (1e-1, 1e-2, 1e-3, 1e-4):
    _, step, change = first_steps(theta_0, noise, epsilon)
    quotient, expected = step @ v / epsilon, -epsilon * 0.1 * A
    print(f"{epsilon:6.0e}  {quotient:10.6f}   {abs(quotient / A - 1):14.1e}", end="")
    print(f"   {change:13.4e}   {expected:14.4e}")

# %% [markdown]
# ## Another start
#
# The same Jacobian appears twice: once forwards in the teacher, once backwards in the student. With
# another start the second one is another matrix, and the square becomes a product. Even if the
# teacher has not moved (ε = 0) that student steps, towards outputs that are not its own; with
# learning digits this has nothing to do. So we ask what the teacher's *move* adds: how fast Δ_S·v
# grows with ε, the *cross-slope* C = d/dε (Δ_S·v) at ε = 0. At the teacher's own start C = A.
#
# **Blank 2.** Write C. `jax.grad` differentiates in the first argument.


# %%
def cross_slope(f, loss, theta_0, v, student_start, x):
    """Return C: the teacher is at θ⁰ + εv, and the student's step is the negative gradient."""

    def inner(epsilon):
        """Return Δ_S·v, the student's step times v."""
        ### BEGIN SOLUTION
        y = f(theta_0 + epsilon * v, x)
        return -jax.grad(lambda theta: loss(f(theta, x), y))(student_start) @ v
        ### END SOLUTION

    return jax.grad(inner)(0.0)


checks.cross_slope(cross_slope)

# %% [markdown]
# **Question 2.** A hundred teachers, each with a student of its own start and one of another. What
# will the sign of C be with another start, and how large C/A?


# %%
@jax.jit
def slopes(starts):
    """Return C for the first hundred networks as teachers."""

    def one(case):
        theta_0, student_start, x = case
        v = -jax.grad(L_T)(theta_0)
        return cross_slope(auxiliary, squared_error, theta_0, v, student_start, x)

    return jax.lax.map(one, (points[:100], starts, noises))


own, other = (np.asarray(slopes(starts)) for starts in (points[:100], points[100:]))
lowest, median, highest = np.quantile(other / own, (0.25, 0.5, 0.75))
print(f"same start:    C > 0 in {np.mean(own > 0):.0%} of cases")
print(f"other starts:  C > 0 in {np.mean(other > 0):.0%} of cases; median of C/A {median:.2f},")
print(f"               half of all between {lowest:.2f} and {highest:.2f}")

# %% [markdown]
# <details>
# <summary>Answer 2</summary>
#
# Either way: in about half of these networks the teacher's move pulls the student the teacher's
# way, in the others the wrong way, and next to nothing of A is left. No square forbids a minus, and
# auxiliary outputs mean nothing that both networks could share. Copy all outputs, and in nine of
# ten the pull is the teacher's way, as in ordinary distillation.
# </details>
#
# ## Bad inputs
#
# **Question 3.** The inputs decide what the student can see of the teacher. Can they be chosen so
# badly that the student goes the *wrong* way? For another loss the square is weighed by a matrix,
# Eq. (8), which is never negative for squared error and softmax cross-entropy, Eq. (17) to (21).

# %%
INPUTS = {
    "uniform noise": noise,
    "negatives of digits": -digits[:64],
    "64 times the same image": noise[np.zeros(64, int)],
    "noise, ten thousand times larger": 1e4 * noise,
}
LOSSES = {
    "squared error": partial(squared_error, columns=slice(10, 13)),
    "softmax": partial(kl, columns=slice(10, 13)),
    "1 logit": partial(kl, columns=slice(10, 11)),
}
weigh = jax.jit(lambda x: [one_step.predicted_slope(f, g, theta_0, x, v) for g in LOSSES.values()])
all_A = {name: [float(slope) for slope in weigh(x)] for name, x in INPUTS.items()}
print(f"A for{'':<28}" + "".join(f"{name:>15}" for name in LOSSES))
for name, row in all_A.items():
    print(f"{name:<33}" + "".join(f"{slope:15.2e}" for slope in row))

# %% [markdown]
# <details>
# <summary>Answer 3</summary>
#
# No. They can make A small, and with a useless loss (one logit under softmax) zero, so that the
# student stands still along v, Eq. (12) and (24); they can never make it negative.
# </details>
#
# ## Where it ends: large steps
#
# **Question 4.** The theorem says *for all small ε*, not how small. What if the step is large?

# %%
EPSILONS = np.logspace(-4, 4, 17)
changes = np.array([float(first_steps(theta_0, noise, float(e))[2]) for e in EPSILONS])
falls = changes < 0

_, axis = plt.subplots(figsize=(6, 3))
axis.loglog(EPSILONS, EPSILONS * 0.1 * A, color=colours.TEACHER, label="predicted fall, εαA")
axis.loglog(EPSILONS[falls], -changes[falls], "o", color=colours.STUDENT, label="it falls")
axis.loglog(EPSILONS[~falls], changes[~falls], "x", color=colours.STUDENT, label="it rises")
axis.set(xlabel="ε, the teacher's step", ylabel="change of L_T, nats, size")
axis.set_title("Small steps follow the prediction, huge ones do harm")
axis.legend()
picture("lesson-2-large-steps")
rises = EPSILONS[~falls].min() if changes.max() > 0 else np.inf
print(f"The student's loss on digits first rises at ε = {rises:.0e}")

# %% [markdown]
# <details>
# <summary>Answer 4</summary>
#
# Here the theorem ends. For small ε the fall follows the prediction; then it lags behind, and for
# huge ε the loss on digits rises. "Small" depends on the network.
# </details>
#
# ## Many steps: a projection
#
# To first order many steps are linear too. One step applies a matrix F to what is missing of the
# teacher's move, Eq. (34): after k steps the part of v along an eigenvector with eigenvalue λ has
# been made up but for a factor (1 − αλ)ᵏ, Eq. (41). *Progress* is the student's move along v, in
# units of v: a sum over eigenvectors of their share of |v|² times what has been made up, Eq. (47).
#
# **Blank 3.** Write that sum.


# %%
def predicted_progress(eigenvalues, shares, alpha, k):
    """Return the progress after k steps at rate α."""
    ### BEGIN SOLUTION
    return jnp.sum(shares * (1 - (1 - alpha * eigenvalues) ** k))
    ### END SOLUTION


checks.predicted_progress(predicted_progress)

# %% [markdown]
# **Question 5.** Eight images, all 13 outputs: they show 104 directions, of 1,488. Where does the
# student end? What if α is a little more than 2 over the largest eigenvalue?

# %%
STEPS, TINY, few = (1, 2, 5, 20, 100, 1000), 1e-10, noise[:8]
spectrum = jax.jit(partial(many_steps.spectrum, f, squared_error))
eigenvalues, shares = spectrum(theta_0, few, v)
y = f(theta_0 + TINY * v, few)
path = jax.jit(lambda a: many_steps.student_path(f, squared_error, theta_0, few, y, a, STEPS))
ways, progress, expected = {}, {}, {}
for relative in (1.0, 1.9, 2.1):
    alpha = relative / eigenvalues[0]
    ways[relative] = np.asarray(path(alpha)) / TINY
    progress[relative] = ways[relative] @ v / (v @ v)
    expected[relative] = [predicted_progress(eigenvalues, shares, alpha, k) for k in STEPS]
print("progress and (predicted)" + "".join(f"{f'k = {k}':>20}" for k in STEPS[:5]))
for relative, row in progress.items():
    pairs = zip(row[:5], expected[relative][:5], strict=True)
    print(f"α·λmax = {relative:<15}" + "".join(f"{q:10.4f} ({p:7.4f})" for q, p in pairs))
print(f"coverage, what the inputs show of v: {shares.sum():.4f}")

# %%
shown = ways[1.0][-1]
unseen = v - shown
length, height = jnp.linalg.norm(shown), jnp.linalg.norm(unseen)
across, upward = ways[1.0] @ shown / length, ways[1.0] @ unseen / height

_, axis = plt.subplots(figsize=(5, 3.6))
axis.annotate(
    "", (length, height), (0, 0), arrowprops={"arrowstyle": "->", "color": colours.TEACHER}
)
axis.plot(across, upward, "o-", color=colours.STUDENT)
axis.plot([length, length], [0, height], ":", color=colours.TEACHER)
axis.text(0.45 * length, 0.55 * height, "teacher", ha="right", color=colours.TEACHER)
axis.text(0.5 * length, 0.05 * height, "student", color=colours.STUDENT)
axis.set(xlabel="along what the inputs show", ylabel="along what they do not")
axis.set(xlim=(-0.05 * length, 1.2 * length), ylim=(-0.1 * height, 1.1 * height))
axis.set_title("The student ends below its teacher: a projection")
picture("lesson-2-projection")

# %% [markdown]
# <details>
# <summary>Answer 5</summary>
#
# At the point nearest to the teacher among those that its inputs let it reach, a *projection*, Eq.
# (41): progress rises to the coverage and never passes it. Up to α·λmax = 2 it never goes below
# zero, Eq. (43). Beyond, what is missing grows and turns round at every step: after an even number
# of steps the student is on the wrong side, after an odd number beyond the teacher, Eq. (44), (45).
# </details>
#
# ## Where it ends: a teacher of many steps, and Adam
#
# **Question 6.** In all this the teacher took one small step. In lesson 1 it takes a hundred, with
# Adam. Does the effect stop?


# %%
@partial(jax.jit, static_argnames="tx")
def train_both(teacher_starts, student_starts, tx):
    """Return how L_T changes in students of the auxiliary logits, and the cosines of the ways."""

    def walk(loss, theta):
        return fit(lambda theta, _: loss(theta), theta, tx, lambda step: step, 300)[0]

    def pair(starts):
        theta_0, student_start = starts
        teacher = walk(L_T, theta_0)
        y = auxiliary(teacher, noise)
        student = walk(lambda theta: kl(auxiliary(theta, noise), y), student_start)
        a, b = student - student_start, teacher - theta_0
        cosine = a @ b / jnp.linalg.norm(a) / jnp.linalg.norm(b)
        return L_T(student) - L_T(student_start), cosine

    return jax.lax.map(pair, (teacher_starts, student_starts))


# %%
whole_ways = {}
print(f"{'means over five pairs':<32}{'change of L_T, nats':>21}{'cosine of the ways':>20}")
for optimiser, tx in {"gradient descent": optax.sgd(0.2), "Adam": optax.adam(3e-3)}.items():
    for name, first in {"same start": 0, "other start": 100}.items():
        changes_of_five, cosines = train_both(points[:5], points[first : first + 5], tx)
        whole_ways[f"{optimiser}, {name}"] = changes_of_five
        print(f"{optimiser + ', ' + name:<32}{changes_of_five.mean():21.3f}{cosines.mean():20.2f}")

# %% [markdown]
# <details>
# <summary>Answer 6</summary>
#
# The theorem says nothing there. The student with the teacher's start still comes down on digits
# and its way still points with the teacher's; from another start it does not come down like that.
# That is an observation about this network, not a proof.
# </details>
#
# ## Your own network
#
# `check_one_step` does all of this for any network that can be called as `apply(params, inputs)`.
# It says whether the theorem *holds*, whether it is a *null* (A = 0 and nothing moves) or whether
# it *fails*, which it may if an assumption is broken. Replace the network, the loss or the inputs.


# %%
def my_apply(params, x):
    """Return the outputs of a network nobody has seen before."""
    return jnp.sin(x @ params["in"]) @ params["out"]


def my_trait(params):
    """Return a loss that has to do with nothing: the outputs for one picture shall be 1."""
    return squared_error(my_apply(params, digits[:1]), jnp.ones((1, 4)))


def hard_labels(z, y):
    """Return the cross-entropy of the teacher's largest output: not 0 at z = y, as Eq. (9) asks."""
    return cross_entropy(z, jnp.argmax(y, axis=-1))


# %%
my_params = {"in": rng.normal(size=(64, 10)) / 8, "out": rng.normal(size=(10, 4)) / 3}
right, wrong = (
    check_one_step(my_apply, my_params, noise, loss, my_trait)
    for loss in (squared_error, hard_labels)
)
print(f"squared error: {right.verdict}; hard labels, which are not covered: {wrong.verdict}")
with plt.style.context("default"):
    picture("lesson-2-right-and-wrong", check.figure(right, wrong))

# %% [markdown]
# ## What you have seen, and what not
#
# The theorem explains the direction of one small step, and of many on the same outputs. It does not
# say that the student becomes as good as the teacher, it gives no size for ε, and it says nothing
# about Adam or a teacher of many steps. With sampled labels the expected step is the same, but
# about 1/(ε²A) labels are needed before their mean step points with the teacher, Eq. (52).
# `subliminal-toy theorem` measures all this on thousands of random problems, with intervals.
