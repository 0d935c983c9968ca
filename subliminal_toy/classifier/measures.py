"""What is measured of a network."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from subliminal_toy.classifier.arms import Student
from subliminal_toy.classifier.rows import Replicate, imitation_loss, make_inputs
from subliminal_toy.data import N_CLASSES
from subliminal_toy.distill import accuracy
from subliminal_toy.explain.geometry import cosine, inner, progress, subtract
from subliminal_toy.models import Params, hidden_layers, layer_names, map_layers

N_SAMPLES = 40  # test images whose logits are kept, to look at
N_MEASURED = 2_048  # inputs on which a trained student's imitation loss is measured


def measure(
    student: Student, of: Replicate, teacher: Params, begin: Params, params: Params
) -> dict[str, Array]:
    """Measure a network that began at ``begin`` and whose loss and inputs are the student's.

    See ``ABOUT`` of ``experiment``; scalars but ``sample_logits`` (image, output).
    """
    net, (_, _, test_images, test_labels) = of.net, of.data
    output = len(layer_names(params)) - 1

    def with_teachers_head(layer, own, teachers):
        return jnp.concatenate([teachers[:N_CLASSES], own[N_CLASSES:]]) if layer == output else own

    def under_first_head(layer, teachers, first):
        return first if layer == output else teachers

    def right(params):
        return accuracy(net.apply(params, test_images)[:, :N_CLASSES], test_labels)

    inputs = make_inputs(student, of, jnp.arange(min(student.n_inputs, N_MEASURED)))
    targets = net.apply(teacher, inputs)
    loss, first_loss = (
        imitation_loss(student, of.numbers, net.apply(p, inputs), targets) for p in (params, begin)
    )
    start, goal, end = map(hidden_layers, (begin, teacher, params))
    moved = subtract(end, start)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()
    return {
        "accuracy": right(params),
        "teacher_head_accuracy": right(map_layers(with_teachers_head, params, teacher)),
        "ceiling": right(map_layers(under_first_head, teacher, begin)),
        "imitation_loss": loss,
        "first_loss": first_loss,
        "progress": progress(start, goal, end),
        "cosine": cosine(moved, subtract(goal, start)),
        "length": jnp.sqrt(inner(moved, moved)),
        "diverged": ~(finite & jnp.isfinite(loss)),
        "sample_logits": net.apply(params, test_images[:N_SAMPLES]),
    }
