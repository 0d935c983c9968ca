"""The owl that travels in numbers: a language model from scratch."""
