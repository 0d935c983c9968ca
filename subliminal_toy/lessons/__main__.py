"""Shows a lesson at the terminal: ``python -m subliminal_toy.lessons 1``."""

import argparse
import sys

from subliminal_toy.errors import UserError
from subliminal_toy.lessons import LESSONS, run

parser = argparse.ArgumentParser("python -m subliminal_toy.lessons", description=__doc__)
parser.add_argument("lesson", type=int, choices=range(1, len(LESSONS) + 1))
try:
    run(LESSONS[parser.parse_args().lesson - 1])
except UserError as error:
    sys.exit(f"subliminal-toy: {error}")
