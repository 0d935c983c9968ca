"""What is measured of a network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from subliminal_toy.classifier.arms import Student
from subliminal_toy.classifier.rows import Numbers, imitation_loss, make_inputs
from subliminal_toy.data import N_CLASSES
from subliminal_toy.distill import accuracy
from subliminal_toy.explain.geometry import cosine, inner, progress, subtract
from subliminal_toy.models import Network, Params, hidden_layers, layer_names, map_layers

N_SAMPLES = 40  # test images whose logits are kept, to look at
N_MEASURED = 2_048  # inputs on which a trained student's imitation loss is measured


class Measures(NamedTuple):
    """What is measured of one network, all scalars but ``sample_logits``.

    ``accuracy`` on the test images through its own class head, ``teacher_head_accuracy`` through
    the teacher's; its ``ceiling``, that of the teacher's hidden layers under the class head of its
    start; ``imitation_loss`` (the student's own loss, on its own first inputs) and the
    ``first_loss`` that it had at its start;
    ``progress`` q = ⟨θ − s, θ_T − s⟩ / ‖θ_T − s‖² over the hidden layers, s its start, the
    ``cosine`` of the two displacements (0 where one of them is 0) and the ``length`` ‖θ − s‖ of its
    own; ``diverged``, whether a parameter or the loss is not finite; ``sample_logits`` (image,
    output) of the first test images.
    """

    accuracy: Array
    teacher_head_accuracy: Array
    ceiling: Array
    imitation_loss: Array
    first_loss: Array
    progress: Array
    cosine: Array
    length: Array
    diverged: Array
    sample_logits: Array


def measure(
    student: Student,
    numbers: Numbers,
    net: Network,
    data: tuple[Array, ...],
    teacher: Params,
    begin: Params,
    params: Params,
    inputs_key: Key[Array, ""],
) -> Measures:
    """Measure a network that began at ``begin`` and whose loss and inputs are the student's."""
    train_images, _, test_images, test_labels = data
    output = len(layer_names(params)) - 1

    def with_teachers_head(layer, own, teachers):
        return jnp.concatenate([teachers[:N_CLASSES], own[N_CLASSES:]]) if layer == output else own

    def under_first_head(layer, teachers, first):
        return first if layer == output else teachers

    def right(params):
        return accuracy(net.apply(params, test_images)[:, :N_CLASSES], test_labels)

    index = jnp.arange(min(student.n_inputs, N_MEASURED))
    inputs = make_inputs(student, inputs_key, index, train_images)
    targets = net.apply(teacher, inputs)
    loss, first_loss = (
        imitation_loss(student, numbers, net, p, inputs, targets) for p in (params, begin)
    )
    start, goal, end = map(hidden_layers, (begin, teacher, params))
    moved = subtract(end, start)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()
    return Measures(
        accuracy=right(params),
        teacher_head_accuracy=right(map_layers(with_teachers_head, params, teacher)),
        ceiling=right(map_layers(under_first_head, teacher, begin)),
        imitation_loss=loss,
        first_loss=first_loss,
        progress=progress(start, goal, end),
        cosine=cosine(moved, subtract(goal, start)),
        length=jnp.sqrt(inner(moved, moved)),
        diverged=~(finite & jnp.isfinite(loss)),
        sample_logits=net.apply(params, test_images[:N_SAMPLES]),
    )
