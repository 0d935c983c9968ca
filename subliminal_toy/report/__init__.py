"""Records in words: the claims table for terminal, README and page, and the page itself.

Read ``tables`` (rows), ``documents`` (what is made of the templates), ``payloads`` (what the page's
script needs). ``words.toml`` has the titles and captions of the page.
"""

from subliminal_toy.report.documents import block, page, update_blocks
from subliminal_toy.report.tables import claims_rows

__all__ = ["block", "claims_rows", "page", "update_blocks"]
