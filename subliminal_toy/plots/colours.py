"""One colour for one meaning, in all figures and on the page (``page/style.css``)."""

STUDENT, OTHER_START, CONTROL = "#d55e00", "#0072b2", "#009e73"
"""A student that began as its teacher began; one of another start; a neutral control."""
TEACHER, UNTRAINED = "#4d565f", "#98a0a8"
KINDS = ("#e69f00", "#cc79a7", "#56b4e9", "#7a5195", "#595959")
"""Whatever else is told apart, which means nothing beyond its own figure."""
INK = "#1b1f24"
"""Of what is written on a coloured cell, on a dark page too."""

DARK = {
    "#ffffff": "#14171a", "#000000": "#e6e9ec", "#595959": "#b4bcc4", "#808080": "#9aa2aa",
    "#4d565f": "#c4ccd4", "#d55e00": "#f28a3c", "#0072b2": "#56b4e9", "#009e73": "#2fc79b",
    "#7a5195": "#b493cc",
}  # fmt: skip
"""What colours become on a dark page."""
