"""The machine-checked proof compiles, assumes nothing of its own, and is what the prose cites."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROOFS = ROOT / "proofs"
PROSE = (PROOFS / "README.md").read_text()
EQUATIONS = [int(number) for number in re.findall(r"\\tag\{(\d+)\}", PROSE)]
SOURCES = {
    path.name: path.read_text()
    for path in sorted(PROOFS.glob("*.v"))
    if path.name != "Assumptions.v"  # written by make, not by us
}
THEOREMS = re.findall(r"^Theorem (\w+)", "".join(SOURCES.values()), re.MULTILINE)

needs_coq = pytest.mark.skipif(
    shutil.which("coqc") is None or shutil.which("make") is None,
    reason="coqc is not installed: `make -C proofs deps` names the packages",
)


def without_comments(source: str) -> str:
    """Return Coq source without its comments; ours are not nested."""
    return re.sub(r"\(\*.*?\*\)", "", source, flags=re.DOTALL)


def loose_ends(source: str) -> list[str]:
    """Return the sentences that leave something unproved, or assume it outside a section."""
    found, depth = [], 0
    for sentence in re.split(r"\.(?=\s|$)", without_comments(source)):
        depth += len(re.findall(r"^\s*Section\b", sentence))
        depth -= len(re.findall(r"^\s*End\b", sentence))
        unproved = re.search(r"\b(Admitted|admit|Abort|give_up|bypass_check)\b", sentence)
        axiom = re.match(r"\s*(Local\s+|Global\s+)?(Axiom|Parameter|Conjecture)s?\b", sentence)
        assumed = re.match(r"\s*(Hypothes[ie]s|Variables?|Context)\b", sentence)
        if unproved or axiom or (assumed and not depth):
            found.append(sentence.strip())
    return found


def cited_equations(text: str) -> set[int]:
    """Return the numbers in 'Eq. (1)', 'Eqs. (1), (2) and (3)', 'Eq. (4) to (7)'."""
    cited: set[int] = set()
    one_line = re.sub(r"\s*\n\s*(#\s*)?", " ", text)
    for listing in re.findall(r"Eqs?\.\s((?:\(\d+\)(?:,| and| to)? ?)+)", one_line):
        cited |= {int(number) for number in re.findall(r"\((\d+)\)", listing)}
        for first, last in re.findall(r"\((\d+)\) to \((\d+)\)", listing):
            cited |= set(range(int(first), int(last) + 1))
    return cited


def test_nothing_is_left_unproved_or_assumed():
    assert SOURCES
    for name, source in SOURCES.items():
        assert loose_ends(source) == [], name


@pytest.mark.parametrize(
    "source",
    [
        "Lemma a : True. Proof. admit. Admitted.",
        "Axiom a : False.",
        "Local Axiom a : False.",
        "Parameters (a b : nat).",
        "Hypothesis a : False.",
        "Section S. End S. Variable a : False.",
        "(* a comment *) Conjecture a : False.",
    ],
)
def test_a_loose_end_is_found(source):
    assert loose_ends(source)


def test_words_in_comments_and_assumptions_in_sections_are_no_loose_ends():
    assert loose_ends("(* admit. Axiom a. Admitted. *) Lemma a : True. Proof. by []. Qed.") == []
    assert loose_ends("Section S. Hypothesis a : 0 = 1. Lemma b : 0 = 1. End S.") == []


def test_the_prose_cites_every_theorem_and_nothing_that_the_report_lacks():
    # The report of assumptions lists what is called Theorem: a Lemma may not be cited.
    named = re.findall(r"`(\w+)` \(\[(\w+\.v)\]\((\w+\.v)\)\)", PROSE)
    assert len(named) > 20
    for name, file, link in named:
        assert file == link
        stated = rf"^\s*(Theorem|Definition|Fixpoint|Record)\s+{name}\b"
        source = without_comments(SOURCES[file])
        assert re.search(stated, source, re.MULTILINE), f"{name} is not stated in {file}"
    assert set(THEOREMS) <= {name for name, _, _ in named}


def test_make_compiles_every_file():
    makefile = (PROOFS / "Makefile").read_text().replace("\\\n", " ")
    files = re.search(r"^FILES := (.*)$", makefile, re.MULTILINE)
    assert files and {f"{name}.v" for name in files[1].split()} == SOURCES.keys()


def test_equations_are_numbered_in_order_and_every_cited_one_exists():
    numbers = set(EQUATIONS)
    assert EQUATIONS == sorted(numbers) == list(range(1, len(numbers) + 1))
    assert cited_equations(PROSE) <= numbers
    package = {
        path: path.read_text()
        for path in (ROOT / "subliminal_toy").rglob("*.py")
        if "proofs/README.md" in path.read_text()
    }
    assert len(package) > 5
    for name, source in [*SOURCES.items(), *package.items()]:
        assert cited_equations(source) <= numbers, name


def test_citations_are_read_in_every_form():
    assert cited_equations("Eq. (3).") == {3}
    assert cited_equations("proofs/README.md, Eq. (1), (2),\n    (8) and (11).") == {1, 2, 8, 11}
    assert cited_equations("Eqs. (12) to (15), and (with 9 more) Eq. (20)") == {12, 13, 14, 15, 20}


def test_python_names_in_the_prose_exist():
    named = re.findall(r"`((?:subliminal_toy|tests)/[\w/]+\.py)`(?:, `(\w+)`)?", PROSE)
    assert named
    for file, function in named:
        path = ROOT / file
        assert path.exists(), file
        defined = re.findall(r"^(?:def|class) (\w+)", path.read_text(), re.MULTILINE)
        assert not function or function in defined, function


@needs_coq
def test_the_proof_compiles_and_assumes_only_what_is_allowed(tmp_path):
    copy = sources_in(tmp_path)
    done = subprocess.run(["make", "-j2", "-C", copy], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "no assumption outside the allowed list" in done.stdout
    for name in THEOREMS:
        assert f"Theorem: {name}\n" in done.stdout


@needs_coq
@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("Axiom wish : 0 = 1.\nTheorem cheat : 0 = 1. Proof. exact wish. Qed.", "ALLOWED: wish"),
        ("Theorem cheat : 0 = 1.\nProof. Admitted.", "NOT ALLOWED: cheat"),
        ("Lemma nothing : True.\nProof. exact I. Qed.", "assumptions: FAILED"),
        ("Theorem fair : 0 = 0.\nProof. reflexivity. Qed.", None),
    ],
)
def test_the_check_of_the_assumptions_fails_where_it_must(tmp_path, source, complaint):
    copy = sources_in(tmp_path)
    (copy / "Cheat.v").write_text(source + "\n")
    done = subprocess.run(
        ["make", "-C", copy, "FILES=Cheat"], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode != 0) == (complaint is not None)
    assert complaint is None or complaint in done.stdout


def sources_in(folder: Path) -> Path:
    """Copy the development, not what was built from it, so that the tree stays clean."""
    copy = folder / "proofs"
    copy.mkdir()
    for name in ["Makefile", "_CoqProject", *SOURCES]:
        shutil.copy(PROOFS / name, copy)
    return copy
