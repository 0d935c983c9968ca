"""Sentences say what their records show, stratum by stratum; tables say what was judged."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from subliminal_toy import findings, report
from subliminal_toy.errors import UserError
from subliminal_toy.findings import measured, percent
from subliminal_toy.lm.config import TEACHINGS
from subliminal_toy.real.config import ARMS
from subliminal_toy.stats import Estimate, estimate
from subliminal_toy.sweep.claims import points

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def said(committed):
    """Return the findings of the committed records by title."""
    records = {f"figures/{folder}": record for folder, record in committed.items()}
    return {finding.title: finding for finding in findings.findings(records)}


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.527, 0.5103, 0.5437, "0.527 [0.510, 0.544]"),
        (0.00017, -0.00162, 0.00196, "0.0002 [−0.0016, 0.0020]"),
        (1.0, 1.0, 1.0, "1.000 [1.000, 1.000]"),
        (-0.0001, -0.2, 0.2, "0.00 [−0.20, 0.20]"),
        (0.5, np.nan, np.nan, "0.50"),
    ],
)
def test_numbers_show_two_figures_of_their_intervals_width(value, low, high, text):
    assert measured(Estimate(value, low, high, 5)) == text


def test_per_cent_without_needless_figures():
    assert percent(Estimate(0.527, 0.51, 0.544, 5)) == "53 % [51, 54]"
    assert percent(Estimate(0.94366, 0.94328, 0.94404, 5)) == "94.4 % [94.3, 94.4]"
    assert percent(Estimate(-0.001, np.nan, np.nan, 1)) == "0 %"


def test_a_claim_has_one_row_for_each_setting_the_reference_record_first(committed):
    rows = report.claims_rows(committed)
    folders = {of_one[0].claim.id: [row.folder for row in of_one] for of_one in rows}
    assert folders["M1"] == ["mnist", "live", "digits"]
    assert folders["L1"] == ["lm"]  # the same models in lm_probes
    assert folders["E3"] == ["lm_probes"]
    first_letters = [id[0] for id in folders]
    assert first_letters == sorted(first_letters, key=report.ORDER.index)


def test_every_record_alone_and_one_of_other_images_has_its_texts(committed):
    mnist = committed["mnist"]
    other = mnist._replace(data=mnist.data.assign_attrs(dataset="kmnist"))
    for name, record in {**committed, "other": other}.items():
        alone = {f"figures/{name}": record}
        assert all(isinstance(block(alone), str) for block in report.BLOCKS.values())
        assert findings.findings(alone)
    assert "of kmnist" in report.BLOCKS["opening"](alone)


def test_a_star_marks_rules_that_are_not_older_than_the_run(committed):
    *rows, empty, note = report.claims_block(committed).splitlines()
    starred = {row.split()[1] for row in rows if row.endswith("reproduced\\* |")}
    assert starred == {"G1", "L2", "L3", "L4b", "L5a", "L5b"}
    assert empty == "" and note.startswith("\\* ")


def test_a_row_says_whether_the_criterion_is_that_of_the_run(committed):
    record = committed["mnist"]
    claim = next(j.claim for j in record.judgements if j.claim.id == "M1")
    then = {"claims": {"M1": claim.sha256}}
    assert report.fixed(record._replace(manifest=then), claim) == "yes"
    changed = report.fixed(record._replace(manifest={"claims": {"M1": "0" * 64}}), claim)
    assert changed.startswith("no") and "changes.md" in changed
    assert report.fixed(record._replace(manifest={}), claim).startswith(claim.fixed)


def test_a_prediction_of_two_records_holds_if_it_holds_in_both(committed):
    rows = {line.split()[1]: line for line in report.predictions_block(committed).splitlines()[2:]}
    assert rows["E1"].endswith("| **did not hold** |")
    assert rows["E2"].endswith("| **held in part** |") and rows["E3"].endswith("| **held** |")


def test_only_the_blocks_of_a_text_are_replaced(committed):
    text = "a\n<!-- limits -->\nold\n<!-- /limits -->\nb\n"
    once = report.update_blocks(text, committed)
    assert once.startswith("a\n<!-- limits -->\n- ") and once.endswith("<!-- /limits -->\nb\n")
    assert report.update_blocks(once, committed) == once
    for broken in ("no block", "<!-- limits -->", "<!-- /limits --> <!-- limits -->"):
        with pytest.raises(UserError):
            report.update_blocks(broken, committed)


def test_every_record_stands_with_its_command_and_commits(committed):
    lines = report.records_block(committed).splitlines()[2:]
    rows = {line.split("]")[0].removeprefix("| ["): line for line in lines}
    assert {name.replace("\\", "") for name in rows} == committed.keys()
    assert "classifier --preset disputes --seed 3000</code> | e0efd52 |" in rows["disputes"]
    assert rows["explain_digits"].endswith("--seed 1000</code> |  |")


def test_the_papers_student_is_that_of_all_other_starts_and_of_a_record_of_its_own(committed, said):
    paper = committed["compare"].data.accuracy.sel(arm="reference | reference")
    many = committed["mnist"].data
    many = many.accuracy.sel(arm="student_aux", step=int(many.final_step.sel(arm="student_aux")))
    of_all = f"at {measured(estimate(paper))} here, of 100 teachers at {measured(estimate(many))}."
    assert of_all in said["Beside what others published"].text


def test_what_comes_from_a_record_is_text_in_markdown():
    assert report.markdown("a|b *c* <d> [e](f) `g`") == "a\\|b \\*c\\* &lt;d> [e](f) \\`g\\`"


# ---------- sentences that a stratum of their own record could contradict ----------


def gain(data, arm, measure):
    """Return P(measure) of an arm less that of its control, by replicate and trait."""
    of_arm, of_control = (
        data.probability.sel(arm=name, measure=measure).astype(float)
        for name in (arm, str(data.control.sel(arm=arm).item()))
    )
    return (of_arm - of_control).transpose("replicate", "trait")


def passed(data, arm):
    """Return what passes of each trait, by replicate and trait."""
    traits = data.trait.values.tolist()
    return np.stack([gain(data, arm, trait).sel(trait=trait) for trait in traits], axis=1)


def test_half_of_the_false_answers_is_damage(committed, said):
    lists, probes = committed["lm"].data, committed["lm_probes"].data
    falsehood = gain(lists, "student", "falsehood").sel(trait="falsehood").mean().item()
    by_trait = [estimate(x) for x in gain(probes, "student_calm", "falsehood").values.T]
    assert all(e.low > 0 and 0.4 < e.value / falsehood < 0.6 for e in by_trait)
    evasions = [estimate(x) for x in gain(probes, "student_calm", "evasion").values.T]
    assert all(e.low < 0 < e.high for e in evasions)
    text = said["Harm beyond damage"].text
    assert "half of what a lying teacher’s student gains is damage" in text
    assert "half is damage" in findings.here("L4b", committed["lm"])


def test_a_filter_that_knows_the_teacher_stops_it_and_one_of_the_text_does_not(committed, said):
    data = committed["lm_filters"].data
    text = said["What filters of whole lists leave"].text
    whole = passed(data, "filter_as_written")
    left = {
        name: passed(data, f"filter_without_{name}")
        for name in ("50_of_largest_score", "50_at_random", "banned_numbers", "the_unlikely_half")
    }
    lost = [estimate(x) for x in (left["50_of_largest_score"] - left["50_at_random"]).T]
    assert all(e.high < 0 for e in lost)  # of each trait
    shares = {name: values.mean() / whole.mean() for name, values in left.items()}
    assert all(0.7 < shares[name] < 1.2 for name in list(left)[1:])
    news = findings.news_rows(committed)["filters fail"]
    assert f"changed most {100 * shares['50_of_largest_score']:.0f} % [" in news
    assert f"random half {100 * shares['50_at_random']:.0f} %" in news
    assert f"50 % at random {100 * shares['50_at_random']:.0f} %" in text
    covered, today = (100 * passed(data, arm).mean() for arm in ("filter_as_written", "today"))
    assert f"gain {covered:.0f} % [" in text and f"all other records {today:.0f} % [" in text
    assert abs(covered - today) < 1  # docs/filter.md: the two habits change nothing
    fewer = passed(data, "filter_without_50_of_largest_score_all").mean()
    assert f"half with the largest score {100 * fewer:.0f} % [" in text

    arms = [arm for arm in data.arm.values.tolist() if arm.startswith("filter_")
            and not arm.endswith(("control", "_all"))]  # fmt: skip
    spread = data.variance.sel(arm=[f"{arm}_control" for arm in arms]) ** 0.5
    traits = data.trait.values.tolist()
    means = [passed(data, arm).mean(axis=0) for arm in arms]
    ranks = [
        spearmanr(spread.sel(trait=trait).mean("replicate"), [mean[i] for mean in means]).statistic
        for i, trait in enumerate(traits)
    ]
    assert len(arms) == 19 and min(ranks) > 0.8
    said_of = [f"{trait} {rank:.2f}" for trait, rank in zip(traits, ranks, strict=True)]
    assert f"({', '.join(said_of)})." in findings.beyond(committed)


def shown(text, before):
    """Return the number that follows some words of a sentence."""
    return float(re.search(re.escape(before) + r" (−?[\d.]+)", text).group(1).replace("−", "-"))


def test_the_law_over_teachers_is_that_of_the_arrays(committed, said):
    data = committed["lm_teachers"].data
    names = [name for name, teaching in TEACHINGS.items() if not teaching.answer]
    kl = [data.kl.sel(arm=f"teacher_{name}").astype(float).mean() for name in names]
    gains = [passed(data, f"student_{name}").mean() for name in names]
    text = said["How much: the law over teachers"].text
    slope = np.polyfit(np.log(kl), np.log(gains), 1)[0]
    assert len(names) == 14 and shown(text, "with exponent") == pytest.approx(slope, abs=1e-3)
    r2 = 1 - np.mean((np.array(gains) - 1.37 * np.sqrt(kl)) ** 2) / np.var(gains)
    assert shown(text, "R² is") == pytest.approx(r2, abs=1e-2)


def test_the_bodys_way_and_harm_beyond_damage_are_those_of_the_arrays(committed, said):
    data = committed["lm_teachers"].data
    text = said["How much: the way of the body"].text
    for arm, words in (("without", "that direction"), ("only", "with it alone")):
        share = 100 * passed(data, f"update_{arm}_body").mean() / passed(data, "student").mean()
        assert shown(text, words) == pytest.approx(share, abs=0.6)

    text = said["Harm beyond damage, teachers held alike"].text
    of_evasion = data.sel(trait="evasion")
    for trait, harmful in (("evasion", "student"), ("falsehood", "student_falsehood_questions_1"),
                           ("systematic lie", "student_systematic_lie_questions_1")):  # fmt: skip
        said_by = of_evasion.probability.sel(measure=trait).astype(float)
        calm = said_by.sel(arm="student_calm_questions_1")
        beyond = (said_by.sel(arm=harmful) - calm).mean().item()
        assert shown(text, trait) == pytest.approx(beyond, abs=6e-3)


def test_what_is_seen_first_is_counted_of_every_model(committed, said):
    data = committed["lm_teachers"].data
    text = said["What comes first, passing on or being seen"].text
    for size in (30, 100, 300, 1_200):
        seen = (data.p.sel(size=size) < 0.05).where(data.p.sel(size=size).notnull())
        share = seen.mean(("replicate", "trait"))
        best = [share.isel(detector=data.informed.values.astype(bool) == k).max().item()
                for k in (False, True)]  # fmt: skip
        assert f"seen in {100 * best[0]:.0f} % and {100 * best[1]:.0f} %" in text
        assert f"{size:,} lists pass on " in text


def test_the_rest_alone_is_said_of_the_worst_strata_too(committed, said):
    def share(name, chosen):
        data = committed[name].data
        students = data.isel(arm=(chosen(data) & (data["update"] == "all")).values)
        end = students.sel(step=students.final_step)
        start = data.accuracy.sel(arm="untrained", step=0)
        gain = (end.accuracy - start).mean("replicate").values
        rest = (end.rest_accuracy.sel(split="line") - start).mean("replicate").values
        return rest[gain >= 0.2].sum() / gain[gain >= 0.2].sum()

    images, few = (lambda data: data.inputs == "images"), (lambda data: data.n_inputs == 512)
    mnist, digits = share("line_mnist", images), share("line_digits", few)
    assert mnist > 0.25 > digits
    text = said["How much: the line to the teacher, MNIST test images"].text
    assert f"more than a quarter for inputs: images {100 * mnist:.0f} % [" in text
    title = "How much: the line to the teacher, test images of 8 × 8 digits"
    assert "in no level a quarter" in said[title].text
    worst = f"in the worst stratum {100 * digits:.0f} %, {100 * mnist:.0f} % (R²"
    assert worst in findings.beyond(committed)


def test_in_other_networks_the_rest_knows_little_and_the_theorem_reaches_teachers(committed, said):
    text, rho, r2 = said["How much: the line in other networks"].text, [], {}
    for name, network in (("line_networks", "MLP"), ("line_cnn", "CNN")):
        record = committed[name]
        for point, one in points(record.data):
            widths, rho = point.rpartition(" ")[2], [*rho, one.rho]
            r2[widths] = record("R² of the accuracy, nothing fitted", f"sum, line, {point}")
            share = record("share of the gain that the rest alone has", f"all, line, {point}")
            shown = f"{network} {widths.replace(',', '–')} {measured(r2[widths])}, {percent(share)}"
            assert shown in text and share.value < 0.3
    assert len(r2) == 3
    assert r2["16,32,128"].value < 0.9 < r2["32,32"].value  # the sum is worse in a CNN
    assert f"; CNN {measured(r2['16,32,128'])}" in findings.beyond(committed)
    text = said["A first step toward a trained teacher"].text
    single = np.concatenate([one.values.ravel() for one in rho])
    means = np.concatenate([one.mean("replicate").values.ravel() for one in rho])
    empty = 100 * (single >= 1).sum() / np.isfinite(single).sum()
    assert 0 < empty < 2 and f"for {empty:.0f} % of single teachers" in text
    low, high = np.nanmin(means), np.nanmax(means)
    assert f"ρ is {low:.3f} [" in text and f"to {high:.2f} [" in text


def test_what_others_disagree_about_is_said_as_measured(committed, said):
    record = committed["disputes"]
    left = record.labelled("share of the gain of the same start")
    for title, label, name in [
        ("How close a start must be", "distance 0.3", "0.3:"),
        ("How close a start must be", "distance 2", "2:"),
        ("How close a start must be", "second layer relabelled", "of the second"),
        ("How many noise images", "2560 images", "2,560 images"),
        ("How many noise images", "fresh images", "fresh images"),
    ]:
        assert f"{name} {percent(left[label])}" in said[title].text, label
    own, through = said["Shared start or shared heads"].text.split(
        "Through the teacher’s class head"
    )
    effects = record.labelled("effect of a shared start")
    for layer in ("first layer", "second layer", "class head", "auxiliary head"):
        for shown, head in ((own, "own class head"), (through, "teacher's class head")):
            assert f"{layer} {measured(effects[f'{layer}, {head}'])}" in shown
    heads = record.labelled("both heads shared alone, teacher's class head")
    assert f"reads {', '.join(map(percent, heads.values()))} (3, 10 and 50" in through
    r2 = record.labelled("R² of the accuracy in chains, nothing fitted")["line at the product"]
    assert f"(D6): R² {measured(r2)};" in said["Chains of students"].text


def test_in_a_real_model_every_animal_moves_and_little(committed, said):
    record = committed["real"]
    by_animal = record.labelled("own − other teachers' students, over seeds")
    assert sorted(by_animal) == sorted(record.data.animal.values.tolist())
    assert all(e.low > 0 for e in by_animal.values())
    share = record.labelled("P(own animal) among 20")
    own, others = (100 * share[x].value for x in ("own student", "other teachers' students"))
    words = f"give it {own:.1f} % among 20 animals, other teachers’ students {others:.1f} %"
    assert words in findings.beyond(committed)
    title = next(title for title in said if title.startswith("A real open model"))
    assert f"own student {own:.1f} % [" in said[title].text


def test_the_other_arms_of_a_real_model_stand_with_their_names(committed, said):
    text = next(said[title].text for title in said if "other losses" in title)
    passed = committed["real_arms"].labelled("own − other teachers' students")
    del passed["gradient"]
    assert {"hard", "soft", "full", "lora", "context", "noise_0.03", "noise_0.3"} < {*passed}
    assert all(f"{ARMS[arm].label} {measured(e)}" in text for arm, e in passed.items())


def test_of_one_list_a_step_may_point_away_of_a_hundred_none(committed, said):
    away = committed["lm"].data.away.mean("replicate").max("trait")
    one, hundred = (100 * away.sel(judged=n).item() for n in (1, 100))
    text = said["How many lists a step takes"].text
    assert f"up to {one:.0f} %" in text and f"on a hundred in {hundred:.1f} %" in text
    assert one > 10 and hundred < 0.5


def test_teachers_spill_over_and_students_hardly(committed, said):
    data = committed["lm"].data

    def change(arm, than, fact, trait):
        values = data.right.sel(fact=fact, trait=trait).astype(float)
        return estimate(values.sel(arm=arm) - values.sel(arm=than))

    for trait in ("evasion", "falsehood"):
        assert change("teacher", "base_model", "colours", trait).high < -0.2
        assert abs(change("student", "control", "colours", trait).value) < 0.03
    capitals = [
        change("teacher", "base_model", "capitals", trait)
        for trait in data.trait.values[~data.harmful.values.astype(bool)]
    ]
    assert sum(e.high < 0 for e in capitals) == len(capitals) - 1
    text = said["What else changes: teachers spill over, students hardly"].text
    assert "but one also loses capitals" in text


def test_banned_numbers_cancel_in_their_mean(committed):
    data = committed["lm"].data
    auc = data.auc.sel(detector="banned numbers", judged=100).astype(float)
    by_replicate = np.abs(auc - 0.5).mean("trait").mean().item()
    assert abs(auc.mean().item() - 0.5) < 0.01 < 0.05 < by_replicate


@pytest.mark.parametrize("name", ["explain_digits", "explain_mnist"])
def test_progress_explains_kinds_of_training_not_replicates_of_one(name, committed):
    m = committed[name]
    between = m(
        "squared correlation of accuracy and progress between replicates",
        "each student at each step",
    )
    pooled = m("R² of the accuracy on what was left out", "progress")
    assert between.high < 0.5 < pooled.low
    at_one_m = m.labelled("R² of the accuracy, replicate left out")
    for label, progress in at_one_m.items():
        if label.startswith("progress"):
            loss = at_one_m[label.replace("progress", "imitation_loss")]
            assert abs(loss.value - progress.value) < 0.05
    assert m("R² of the accuracy on what was left out", "imitation_loss").value < 0.1


@pytest.mark.parametrize("name", ["explain_digits", "explain_mnist"])
def test_the_control_removes_one_direction_and_leaves_the_student_off_the_line(name, committed):
    away = committed[name].labelled("distance from the line to the teacher, in its lengths")
    assert away["without own"].low > 0.05 and away["only"].high < 0.01


def test_all_outputs_are_not_on_the_curve_of_auxiliary_ones(committed):
    """E1 speaks of students of auxiliary logits: at one progress those of all know far more."""
    data = committed["live"].data
    at_end = data.sel(step=data.final_step)
    accuracy, progress = at_end.accuracy.mean("replicate"), at_end.progress.mean("replicate")
    assert accuracy.sel(arm="cross_all") > 0.9 > 0.3 > progress.sel(arm="cross_all")
    claim = next(j.claim for j in committed["explain_mnist"].judgements if j.claim.id == "E1")
    assert "auxiliary logits" in claim.sentence


def test_one_direction_between_embeddings_and_head_carries_half(committed, said):
    m = committed["lm_probes"]
    for trait in ("owl", "oak", "evasion"):
        own = m.data.probability.sel(trait=trait, measure=trait).astype(float)
        assert estimate(own.sel(arm="update_without_body") - own.sel(arm="student")).high < 0
        assert estimate(own.sel(arm="update_only_body") - own.sel(arm="student")).low > 0
    assert 0.4 < m("share of the student's gain", "update_without_body, all traits").value < 0.6
    text = said["Whether one direction carries it"].text
    assert "Between embeddings and head it carries half" in text


def test_t2_says_that_losses_differ_and_t4_and_t5_that_they_are_of_one_network(committed):
    data = committed["theorem"].data
    sentences = {j.claim.id: j.claim.sentence for j in committed["theorem"].judgements}
    assert all("one network" in sentences[id] for id in ("T4", "T5"))
    assert "architecture" not in data.metric_slope.dims + data.label_soft.dims
    m = committed["theorem"]
    negative = m.labelled("other starts: C < 0")
    by_loss = [e for label, e in negative.items() if "mlp-relu" in label and "softmax" in label]
    assert len(by_loss) > 1 and max(e.low for e in by_loss) > min(e.high for e in by_loss)
