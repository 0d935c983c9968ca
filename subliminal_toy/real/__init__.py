"""The owl in a real open model: read ``decoder``, then ``experiment``."""
