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
    """Return Coq source without its (nested) comments; strings do not occur in ours."""
    depth, kept = 0, []
    for token in re.split(r"(\(\*|\*\))", source):
        if token == "(*":
            depth += 1
        elif token == "*)":
            depth -= 1
        elif depth == 0:
            kept.append(token)
    return "".join(kept)


def loose_ends(source: str) -> list[str]:
    """Return the sentences that leave something unproved, or assume it outside a section."""
    found, sections = [], []
    for sentence in re.split(r"\.(?=\s|$)", without_comments(source)):
        words = sentence.split()
        if not words:
            continue
        head = words[0]
        if head == "Section":
            sections.append(words[1])
        elif head == "End" and sections and words[1] == sections[-1]:
            sections.pop()
        unproved = re.search(r"\b(Admitted|admit|Abort|give_up|bypass_check)\b", sentence)
        axiom = re.match(r"\s*(Local\s+|Global\s+)?(Axiom|Parameter|Conjecture)s?\b", sentence)
        assumed = re.match(r"\s*(Hypothes[ie]s|Variables?|Context)\b", sentence)
        if unproved or axiom or (assumed and not sections):
            found.append(" ".join(words))
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


def stated(sources: dict[str, str]) -> dict[str, str]:
    """Return the file of every theorem and definition: what the report and the prose may cite."""
    pattern = r"^\s*(?:Theorem|Definition|Fixpoint|Record)\s+(\w+)"
    return {
        name: file
        for file, source in sources.items()
        for name in re.findall(pattern, without_comments(source), re.MULTILINE)
    }


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
        "(* a (* nested *) comment *) Conjecture a : False.",
    ],
)
def test_a_loose_end_is_found(source):
    assert loose_ends(source)


def test_words_in_comments_and_assumptions_in_sections_are_no_loose_ends():
    assert (
        loose_ends("(* admit (* Axiom a. *) Admitted. *) Lemma a : True. Proof. by []. Qed.") == []
    )
    assert loose_ends("Section S. Hypothesis a : 0 = 1. Lemma b : 0 = 1. End S.") == []


def test_the_prose_cites_every_theorem_and_nothing_that_the_report_lacks():
    # The report of assumptions lists what is called Theorem: a Lemma may not be cited.
    named = re.findall(r"`(\w+)` \(\[(\w+\.v)\]\((\w+\.v)\)\)", PROSE)
    assert len(named) > 20
    found = stated(SOURCES)
    for name, file, link in named:
        assert file == link
        assert found.get(name) == file, f"{name} is no theorem or definition of {file}"
    assert set(THEOREMS) <= {name for name, _, _ in named}


def test_make_compiles_every_file():
    makefile = (PROOFS / "Makefile").read_text().replace("\\\n", " ")
    files = re.search(r"^FILES := (.*)$", makefile, re.MULTILINE)
    assert files
    assert {f"{name}.v" for name in files[1].split()} == SOURCES.keys()


def test_equations_are_numbered_in_order_and_every_cited_one_exists():
    numbers = set(EQUATIONS)
    assert EQUATIONS == sorted(numbers) == list(range(1, len(numbers) + 1))
    assert cited_equations(PROSE) <= numbers
    for name, source in SOURCES.items():
        assert cited_equations(source) <= numbers, name
    cited = {
        path.relative_to(ROOT): cited_equations(path.read_text())
        for path in (ROOT / "subliminal_toy").rglob("*.py")
        if "proofs/README.md" in path.read_text()
    }
    for path, its_citations in cited.items():
        assert its_citations <= numbers, path
    assert cited.get(Path("subliminal_toy/theorem/one_step.py")), "one_step.py cites the proof"


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
        if function:
            assert re.search(rf"^(def|class) {function}\b", path.read_text(), re.MULTILINE), (
                function
            )


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
        (
            "Axiom wish : 0 = 1.\nTheorem cheat : 0 = 1.\nProof. exact wish. Qed.",
            "NOT ALLOWED: wish",
        ),
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
