"""Records in words: the claims table for terminal, README and page, and the page itself.

Read ``tables`` (rows), ``documents`` (what is made of the templates), ``payloads`` (what the page's
script needs). ``words.toml`` has the titles and captions of the page.
"""

from subliminal_toy.report.documents import claims_markdown, page, published_markdown, update_block
from subliminal_toy.report.tables import claims_rows

__all__ = ["claims_markdown", "claims_rows", "page", "published_markdown", "update_block"]
