(* The one-step theorem, part 8: the theorem is false for infinite data if the
   outputs are only asked to be differentiable at θ0 (README.md, section 9). What is
   refuted is the reading in which the step is the expectation of the gradients. In
   the other reading, the gradient of the expected loss, there is no step at all: for
   a fixed ε the expected loss jumps at the points weight k, arbitrarily near θ0. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive sequences.
From OneStep Require Import Definitions Toolbox.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

(* Eq. (29): a countable sample, k = 0, 1, 2, ... with weights 1/2, 1/4, 1/8, ...
   (k counts from 0 here, from 1 in README.md). *)
Section CountableSample.
Variable R : realType.

Definition weight (k : nat) : R := geometric 2^-1 2^-1 k.

(* The output on input k is θ, but for one jump, at θ = weight k. *)
Definition jumping (θ : R) (k : nat) : R := if θ == weight k then -1 else θ.

(* The teacher's loss and its direction v at θ0 = 0. *)
Definition falling_loss (θ : R) : R := - θ.
Definition direction : R := - 'D_1 falling_loss 0.

(* Minus the gradient at θ0 of the squared error on input k, with the label of the
   teacher θ0 + ε v ... *)
Definition example_step (ε : R) (k : nat) : R :=
  - 'D_1 (fun θ => (jumping θ k - jumping (0 + ε * direction) k) ^+ 2) 0.

(* ... and its expectation. *)
Definition expected_step (ε : R) : R :=
  lim (series (fun k => weight k * example_step ε k)).

Let half_lt1 : `|2^-1 : R| < 1.
Proof. by rewrite gtr0_norm ?invr_gt0 ?ltr0n // invf_lt1 ?ltr1n ?ltr0n. Qed.

Lemma directionE : direction = 1.
Proof. by rewrite /direction (is_diff_dir 1 (is_diff_opp (is_diff_id _))) opprK. Qed.

Lemma weight_gt0 k : 0 < weight k.
Proof. by rewrite /weight /geometric /= mulr_gt0 ?exprn_gt0 // invr_gt0 ltr0n. Qed.

Lemma weight_inj : injective weight.
Proof.
have half0 : 0 < 2^-1 :> R by rewrite invr_gt0 ltr0n.
move=> j k /(mulfI (lt0r_neq0 half0)); apply: ieexprIn => //.
by rewrite lt_eqF // invf_lt1 ?ltr1n ?ltr0n.
Qed.

(* The weights add up to one. *)
Theorem countable_sample_weights : series weight --> (1 : R).
Proof.
have half : 2^-1 / (1 - 2^-1) = 1 :> R.
  by rewrite {2}[1]splitr mul1r addrK divff // invr_eq0 pnatr_eq0.
by have := cvg_geometric_series (a := 2^-1) half_lt1; rewrite half.
Qed.

(* Every output is differentiable at the start, with derivative 1 ... *)
Lemma jumping_diff k : is_diff 0 (jumping^~ k) (fun h => h * 1).
Proof.
apply: cvg_quotient; apply: cvg_near_cst; near=> ε.
have ε0 : ε != 0 by near: ε; exact: withinT.
have εk : `|ε| < weight k by near: ε; apply: dnbhs0_lt; exact: weight_gt0.
rewrite /jumping [0 == _]lt_eqF ?weight_gt0 // [ε == _]lt_eqF; last first.
  exact: le_lt_trans (ler_norm _) εk.
by rewrite subr0 divff.
Unshelve. all: by end_near. Qed.

Theorem countable_sample_derivative k : is_derive (0 : R) 1 (jumping^~ k) 1.
Proof.
have /derivable1_diffP diff_k : differentiable (jumping^~ k) 0.
  by have [] := jumping_diff k.
by apply: DeriveDef => //; rewrite (is_diff_dir _ (jumping_diff k)) mulr1.
Qed.

(* ... so that the slope A, with M = 2, is positive ... *)
Theorem countable_sample_slope :
  series (fun k => weight k * ('D_1 (jumping^~ k) 0 * 2 * 'D_1 (jumping^~ k) 0)) --> (2 : R).
Proof.
have -> : (fun k => weight k * ('D_1 (jumping^~ k) 0 * 2 * 'D_1 (jumping^~ k) 0)) =
    (2 : R) *: weight.
  apply/funext => k; rewrite (is_diff_dir _ (jumping_diff k)) mulr1 mul1r mulr1.
  exact: mulrC.
rewrite seriesZ -[X in _ --> X](mulr1 (2 : R)).
by apply: cvgZr; exact: countable_sample_weights.
Qed.

Lemma example_stepE ε k : example_step ε k = 2 * jumping ε k.
Proof.
rewrite /example_step directionE mulr1 add0r.
have diff_k := is_diff_add (jumping_diff k) (is_diff_const (- jumping ε k) 0).
rewrite (is_diff_dir 1 (is_diff_mul diff_k diff_k)).
rewrite mulr1 addr0 {1 3}/jumping lt_eqF ?weight_gt0 // sub0r mulr1 -opprD opprK.
by rewrite mulr_natl mulr2n.
Qed.

(* ... but on the input whose jump is at ε the label is far off. *)
Lemma spike_series (j : nat) (a : R) : series (fun k => if k == j then a else 0) --> a.
Proof.
apply: cvg_near_cst; exists j.+1 => // n /= jn.
rewrite /series /= (bigD1_seq j) ?mem_index_iota ?iota_uniq //= eqxx.
by rewrite big1 ?addr0 // => k /negbTE ->.
Qed.

Theorem countable_sample_step j :
  series (fun k => weight k * example_step (weight j) k) --> - (2 * weight j ^+ 2).
Proof.
set spike := - (2 * weight j * (1 + weight j)).
have -> : (fun k => weight k * example_step (weight j) k) =
    (2 * weight j) *: weight + (fun k => if k == j then spike else 0).
  apply/funext => k; rewrite example_stepE /jumping (inj_eq weight_inj) eq_sym.
  rewrite /GRing.scale /GRing.add /=; case: eqP => [->|_]; last by rewrite addr0 mulrC.
  by rewrite /spike mulrDr mulr1 opprD addrCA subrr addr0 mulrN1 mulrN mulrC.
have -> : - (2 * weight j ^+ 2) = (2 * weight j) *: 1 + spike.
  by rewrite /spike /GRing.scale /= mulrDr mulr1 opprD addNKr expr2 mulrA.
rewrite seriesD seriesZ; apply: cvgD; last exact: spike_series.
by apply: cvgZr; exact: countable_sample_weights.
Qed.

(* Theorem 1 fails: for some ε as small as we like the step points away from the
   teacher, and every learning rate raises the teacher's loss. *)
Theorem countable_sample_fails d : 0 < d -> exists2 ε, 0 < ε < d &
  expected_step ε * direction < 0 /\
  forall α, 0 < α -> falling_loss 0 < falling_loss (0 + α * expected_step ε).
Proof.
move=> d0; have /cvgrPdist_lt/(_ d d0)[j _ /(_ j (leqnn j))] := cvg_geometric 2^-1 half_lt1.
rewrite sub0r normrN gtr0_norm ?weight_gt0 // => jd.
exists (weight j); first by rewrite weight_gt0.
have -> : expected_step (weight j) = - (2 * weight j ^+ 2).
  by apply/cvg_lim => //; exact: countable_sample_step.
have step0 : - (2 * weight j ^+ 2) < 0.
  by rewrite oppr_lt0 mulr_gt0 ?exprn_gt0 ?weight_gt0 ?ltr0n.
rewrite directionE mulr1; split=> // α α0.
by rewrite /falling_loss ltr_oppr opprK add0r pmulr_rlt0.
Qed.

End CountableSample.
