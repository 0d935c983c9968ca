"""Records in words: the claims table for terminal, README and page, and the page itself.

Read ``tables`` (claims and README blocks), ``words`` (titles and captions), ``payloads`` (what the
page's script needs), ``document`` (the page; its template, style and script are ``page.*``).
"""

from subliminal_toy.report.document import page
from subliminal_toy.report.tables import (
    ClaimRow,
    Records,
    claims_markdown,
    claims_rows,
    published_markdown,
    update_block,
)

__all__ = [
    "ClaimRow",
    "Records",
    "claims_markdown",
    "claims_rows",
    "page",
    "published_markdown",
    "update_block",
]
