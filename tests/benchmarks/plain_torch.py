"""The same protocol in plain PyTorch, as people write it: all models batched by einsum.

Parameters have a leading axis of models, the noise of every model is stored, one Adam per
network. The published script distils one student after the other; a more careful one trains all
four in one loop, so that batches are gathered and the teacher's logits computed once.
"""

from itertools import pairwise

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

N_CLASSES = 10
STUDENTS = (("own", "aux"), ("own", "all"), ("other", "aux"), ("other", "all"))


def init(n_models, widths):
    """Return weights N(0, 1/fan_in) and zero biases, models first."""
    return [
        (torch.randn(n_models, i, o) / i**0.5, torch.zeros(n_models, 1, o))
        for i, o in pairwise(widths)
    ]


def trainable(layers):
    """Return a copy of the layers that gradients flow to."""
    return [(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in layers]


def apply(layers, x):
    """Return the logits (model, batch, output) of images (model, batch, pixel)."""
    for number, (weight, bias) in enumerate(layers):
        x = torch.einsum("nbi,nio->nbo", x, weight) + bias
        if number < len(layers) - 1:
            x = x.relu()
    return x


def teacher_loss(layers, images, labels):
    """Return the sum over models of the mean cross-entropy of the class logits."""
    logits = apply(layers, images)[..., :N_CLASSES]
    return cross_entropy(logits.flatten(0, 1), labels.flatten()) * len(images)


def student_loss(layers, images, targets, learns):
    """Return the sum over models of the mean KL(teacher ‖ student) on the imitated logits."""
    columns = slice(N_CLASSES if learns == "aux" else 0, None)
    log_q = log_softmax(apply(layers, images)[..., columns], -1).flatten(0, 1)
    log_p = log_softmax(targets[..., columns], -1).flatten(0, 1)
    return kl_div(log_q, log_p, reduction="batchmean", log_target=True) * len(images)


def orders(n_models, n_examples, batch_size):
    """Yield the example numbers (model, batch) of one epoch, a new order for each model."""
    order = torch.stack([torch.randperm(n_examples) for _ in range(n_models)])
    for first in range(0, n_examples, batch_size):
        yield order[:, first : first + batch_size]


def distil(config, teacher, students, noise, seed):
    """Train ``students``, (what it learns, its layers) each, in one loop over the noise."""
    torch.manual_seed(seed)
    n = len(noise)
    models = torch.arange(n)[:, None]
    adams = [
        torch.optim.Adam([p for layer in layers for p in layer], lr=config.learning_rate)
        for _, layers in students
    ]
    for _ in range(config.student_epochs):
        for index in orders(n, config.n_inputs, config.batch_size):
            batch = noise[models, index]
            with torch.no_grad():
                targets = apply(teacher, batch)
            for (learns, layers), adam in zip(students, adams, strict=True):
                adam.zero_grad()
                student_loss(layers, batch, targets, learns).backward()
                adam.step()


def run(config, images, labels, test_images, test_labels, together):
    """Train teachers and students of all models; return the test accuracy of each network.

    Students of a model see the same batches in the same order, whether they are trained
    ``together`` or one after the other.
    """
    n = config.n_replicates
    widths = (images.shape[1], *config.hidden_sizes, N_CLASSES + config.n_aux)
    reference = init(n, widths)
    teacher = trainable(reference)
    adam = torch.optim.Adam([p for layer in teacher for p in layer], lr=config.learning_rate)
    for _ in range(config.teacher_epochs):
        for index in orders(n, len(images), config.batch_size):
            adam.zero_grad()
            teacher_loss(teacher, images[index], labels[index]).backward()
            adam.step()
    shifted = [(w.roll(-1, 0), b.roll(-1, 0)) for w, b in reference]
    starts = {"own": reference, "other": shifted}
    students = [(learns, trainable(starts[start])) for start, learns in STUDENTS]
    noise = torch.rand(n, config.n_inputs, images.shape[1]) * 2 - 1
    for group in [students] if together else [[student] for student in students]:
        distil(config, teacher, group, noise, seed=1)
    with torch.no_grad():
        x = test_images.expand(n, *test_images.shape)
        return [
            (apply(layers, x)[..., :N_CLASSES].argmax(-1) == test_labels).float().mean(1)
            for layers in (reference, teacher, *(layers for _, layers in students))
        ]
