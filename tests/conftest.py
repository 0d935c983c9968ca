"""Types and shapes are checked, implicit promotions are errors, and keys are used once."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

install_import_hook("subliminal_toy", "beartype.beartype")
