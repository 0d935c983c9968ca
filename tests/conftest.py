"""Types and shapes are checked, implicit rank promotion is an error, and keys are used once.

Strict dtype promotion stays off: optax itself mixes integers and floats in its step counts.
"""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

install_import_hook("subliminal_toy", "beartype.beartype")
