(* The theorem further, part 7: samples that pass a filter, for a student and for a
   control that learns from what the start itself writes (README.md, sections 16 and 17). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From mathcomp.analysis Require Import sequences exp.
From OneStep Require Import Definitions Toolbox OneStep Losses Sampled.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.

(* Eq. (59): a model gives each of finitely many samples ω the probability e^(log p);
   that these add up to one is needed for a filter of inputs only. *)
Section Samples.
Variables (R : realType) (p : nat) (Ω : finType).
Variables (logp : 'rV[R]_p.+1 -> Ω -> R) (θ0 v : 'rV[R]_p.+1).

Definition chance (θ : 'rV[R]_p.+1) (ω : Ω) : R := expR (logp θ ω).

(* How likely a sample becomes when the model moves as the teacher does. *)
Definition score (ω : Ω) : R := 'D_v (logp^~ ω) θ0.

(* One step on samples that are seen with the weights W: minus the gradient, at the
   start, of minus the mean log-likelihood. *)
Definition sample_loss (W : Ω -> R) (θ : 'rV[R]_p.+1) : R := - \sum_ω W ω * logp θ ω.
Definition sample_step (W : Ω -> R) : 'rV[R]_p.+1 := - grad (sample_loss W) θ0.

(* What passes the filter φ, how much that is, and its share among what passes. *)
Variable φ : Ω -> R.
Definition passing (θ : 'rV[R]_p.+1) (ω : Ω) : R := φ ω * chance θ ω.
Definition pass_rate (θ : 'rV[R]_p.+1) : R := \sum_ω passing θ ω.
Definition passing_share (θ : 'rV[R]_p.+1) (ω : Ω) : R := passing θ ω / pass_rate θ.

(* Samples that are counted as they are, and a set of fixed size of those that pass. *)
Definition filtered_step (θT : 'rV[R]_p.+1) : 'rV[R]_p.+1 := sample_step (passing θT).
Definition share_step (θT : 'rV[R]_p.+1) : 'rV[R]_p.+1 := sample_step (passing_share θT).

End Samples.

Section Filter.
Variables (R : realType) (p : nat) (Ω : finType).
Variables (logp : 'rV[R]_p.+1 -> Ω -> R) (θ0 v : 'rV[R]_p.+1).
Hypothesis logp_diff : forall ω, differentiable (logp^~ ω) θ0.

Local Notation s := (score logp θ0 v).
Local Notation step := (sample_step logp θ0).

(* One step on weighted samples, in any direction. *)
Lemma sample_step_dot W u : dot (step W) u = \sum_ω W ω * 'D_u (logp^~ ω) θ0.
Proof.
have loss_diff : is_diff θ0 (sample_loss logp W)
    (fun h => - \sum_ω W ω * 'd (logp^~ ω) θ0 h).
  exact: is_diff_opp (is_diff_sum _ (fun ω _ =>
    is_diff_scale (W ω) (differentiableP (logp_diff ω)))).
have [loss_ex _] := loss_diff.
rewrite dotNl -(is_diff_dir u (has_gradP loss_ex)) (is_diff_dir u loss_diff) opprK.
by apply: eq_bigr => ω _; rewrite deriveE.
Qed.

Lemma sample_step_sum W : step W = \sum_ω W ω *: grad (logp^~ ω) θ0.
Proof.
apply/rowP => k; rewrite -[LHS]dot_basis sample_step_dot -[RHS]dot_basis dot_suml.
by apply: eq_bigr => ω _; rewrite dotZl dot_basis mxE.
Qed.

(* Weights that follow the teacher: W' = W (s - c), where c = 0 or the weights add up to
   the same for every ε. Both ways of filtering are of this kind. *)
Record follows (W : R -> Ω -> R) (c : R) : Prop := Follows {
  follows_ge0 : forall ω, 0 <= W 0 ω;
  follows_null : forall ω, W 0 ω = 0 -> forall ε, W ε ω = 0;
  follows_diff : forall ω, is_diff 0 (W^~ ω) (fun h => h * (W 0 ω * (s ω - c)));
  follows_mass : forall ε, c * (\sum_ω W ε ω) = c * (\sum_ω W 0 ω)
}.

Section Weights.
Variables (W : R -> Ω -> R) (c : R).
Hypothesis W_follows : follows W c.

Local Notation gap ε := (step (W ε) - step (W 0)).
Local Notation C := (\sum_ω W 0 ω * (s ω - c) ^+ 2).

Lemma weight_diff ω : is_diff 0 (fun ε => W ε ω - W 0 ω) (fun h => h * (W 0 ω * (s ω - c))).
Proof.
apply: is_diff_eqf (is_diff_add (follows_diff W_follows ω) (is_diff_const (- W 0 ω) 0)) _ => h.
by rewrite addr0.
Qed.

Lemma gap_diff : is_diff 0 (fun ε => gap ε)
  (fun h => h *: (\sum_ω (W 0 ω * (s ω - c)) *: grad (logp^~ ω) θ0)).
Proof.
apply: (@is_diff_ext _ _ _ (fun ε => \sum_ω (W ε ω - W 0 ω) *: grad (logp^~ ω) θ0)) => [ε|].
  rewrite !sample_step_sum -sumrB; apply: eq_bigr => ω _; exact: scalerBl.
apply: is_diff_eqf (is_diff_sum _ (fun ω _ => is_diff_scalel_by _ (weight_diff ω))) _.
move=> h; rewrite scaler_sumr; apply: eq_bigr => ω _.
by rewrite scalerA.
Qed.

Lemma gap_dot ε : dot (gap ε) v = \sum_ω (W ε ω - W 0 ω) * (s ω - c).
Proof.
have -> : dot (gap ε) v = \sum_ω W ε ω * s ω - \sum_ω W 0 ω * s ω.
  rewrite dotDl dotNl.
  exact (congr2 (fun a b => a - b) (sample_step_dot (W ε) v) (sample_step_dot (W 0) v)).
rewrite -sumrB.
transitivity (\sum_ω ((W ε ω - W 0 ω) * (s ω - c) + c * (W ε ω - W 0 ω))).
  by apply: eq_bigr => ω _; rewrite mulrBr (mulrC c) subrK mulrBl.
by rewrite big_split /= -mulr_sumr sumrB mulrBr (follows_mass W_follows) subrr addr0.
Qed.

Lemma gap_dot_diff : is_diff 0 (fun ε => dot (gap ε) v) (fun h => h * C).
Proof.
apply: (@is_diff_ext _ _ _ (fun ε => \sum_ω (s ω - c) * (W ε ω - W 0 ω))) => [ε|].
  by rewrite gap_dot; apply: eq_bigr => ω _; rewrite mulrC.
apply: is_diff_eqf (is_diff_sum _ (fun ω _ => is_diff_scale (s ω - c) (weight_diff ω))) _.
move=> h; rewrite mulr_sumr; apply: eq_bigr => ω _.
by rewrite /GRing.scale /= mulrCA expr2 (mulrCA (s ω - c)).
Qed.

Lemma gap0 : gap 0 = 0.
Proof. exact: subrr. Qed.

Lemma weights_slope_ge0 : 0 <= C.
Proof. by apply: sumr_ge0 => ω _; rewrite mulr_ge0 ?sqr_ge0 ?(follows_ge0 W_follows). Qed.

Lemma weights_slope0 : C = 0 -> forall ω, W 0 ω != 0 -> s ω = c.
Proof.
move=> /eqP; rewrite psumr_eq0 => [/allP terms0 ω W0|ω _]; last first.
  by rewrite mulr_ge0 ?sqr_ge0 ?(follows_ge0 W_follows).
have := terms0 ω (mem_index_enum ω); rewrite mulf_eq0 (negbTE W0) /= sqrf_eq0.
by rewrite subr_eq0 => /eqP.
Qed.

Lemma weights_no_gap : C = 0 -> forall ε, dot (gap ε) v = 0.
Proof.
move=> C0 ε; rewrite gap_dot big1 // => ω _.
have [W0|W0] := eqVneq (W 0 ω) 0; first by rewrite (follows_null W_follows W0) W0 subrr mul0r.
by rewrite (weights_slope0 C0 W0) subrr mulr0.
Qed.

Lemma weights_dichotomy : ((forall ω, W 0 ω != 0 -> s ω = c) /\
    forall ε, dot (gap ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d -> 0 < ε * dot (gap ε) v.
Proof.
have := weights_slope_ge0; rewrite le_eqVlt => /orP[/eqP C0|C0].
  by left; split; [exact: weights_slope0 | exact: weights_no_gap].
right; have [|d d0 pos] := positive_derivative gap_dot_diff _ C0; first by rewrite gap0 dot0l.
by exists d.
Qed.

(* The teacher's loss, where v is its descent. *)
Variable L : 'rV[R]_p.+1 -> R.
Hypothesis v_def : v = - grad L θ0.

Lemma gap_downhill : 0 < C ->
  dot (grad L θ0) (\sum_ω (W 0 ω * (s ω - c)) *: grad (logp^~ ω) θ0) < 0.
Proof.
move=> C0; rewrite -[grad L θ0]opprK -v_def dotNl oppr_lt0 dotC dot_suml.
rewrite (_ : \sum_ω _ = C) //.
have along := is_diff_dotl v gap_diff; have slope := is_diff_dir 1 gap_dot_diff.
rewrite (is_diff_dir 1 along) mul1r scale1r dot_suml in slope.
exact: slope.
Qed.

Lemma weights_theorem1 : has_strict_grad L θ0 (grad L θ0) ->
  (forall ε, dot (gap ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α < d ->
    L (θ0 + α *: step (W ε)) < L (θ0 + α *: step (W 0)).
Proof.
move=> L_strict; have := weights_slope_ge0; rewrite le_eqVlt => /orP[/eqP C0|C0].
  by left; exact: weights_no_gap.
by right; exact (descent_two L_strict gap_diff (gap_downhill C0)).
Qed.

(* If the control does not move, every learning rate will do. *)
Lemma weights_theorem1_start : differentiable L θ0 -> step (W 0) = 0 ->
  (forall ε, dot (gap ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L (θ0 + α *: step (W ε)) < L θ0.
Proof.
move=> L_diff still; have := weights_slope_ge0; rewrite le_eqVlt => /orP[/eqP C0|C0].
  by left; exact: weights_no_gap.
right; have [d d0 fall] := descent (has_gradP L_diff) gap_diff gap0 (gap_downhill C0).
by exists d => // ε α εd α0 αε; have := fall ε α εd α0 αε; rewrite still subr0.
Qed.

End Weights.

(* Samples that are counted as they are. *)
Section Counted.
Variables (φ : Ω -> R) (T : R -> 'rV[R]_p.+1).
Hypothesis φ_ge0 : forall ω, 0 <= φ ω.
Hypotheses (T0 : T 0 = θ0) (T_diff : is_diff 0 T (fun h => h *: v)).

Local Notation P := (chance logp θ0).
Local Notation Z := (pass_rate logp φ).
Local Notation Δ := (filtered_step logp θ0 φ).

Lemma score_diff ω : is_diff 0 (fun ε => logp (T ε) ω) (fun h => h * s ω).
Proof.
have at0 : is_diff (T 0) (logp^~ ω) ('d (logp^~ ω) θ0) by rewrite T0.
apply: is_diff_eqf (is_diff_chain T_diff at0) _ => h.
by rewrite linearZ /= /score deriveE.
Qed.

Lemma passing_diff ω : is_diff 0 (fun ε => passing logp φ (T ε) ω)
  (fun h => h * (passing logp φ (T 0) ω * s ω)).
Proof.
apply: is_diff_eqf (is_diff_scale (φ ω) (is_diff_exp (score_diff ω))) _ => h.
have product (a b c k : R) : a * (k * (b * c)) = k * (a * b * c).
  by rewrite mulrCA -(mulrA a).
exact: product.
Qed.

Lemma passing_ge0 θ ω : 0 <= passing logp φ θ ω.
Proof. by apply: mulr_ge0 => //; exact/ltW/expR_gt0. Qed.

Lemma passing0 θ ω : (passing logp φ θ ω == 0) = (φ ω == 0).
Proof. by rewrite mulf_eq0 [X in _ || X]gt_eqF ?expR_gt0 ?orbF. Qed.

Lemma passing_null ω : passing logp φ (T 0) ω = 0 -> forall ε, passing logp φ (T ε) ω = 0.
Proof. by move=> /eqP; rewrite passing0 => φ0 ε; apply/eqP; rewrite passing0. Qed.

Lemma pass_rate_has_grad : has_grad Z θ0 (Δ θ0).
Proof.
have d ω : is_diff θ0 (fun θ => passing logp φ θ ω)
    (fun h => passing logp φ θ0 ω * 'd (logp^~ ω) θ0 h).
  have e := is_diff_chain (differentiableP (logp_diff ω)) (is_diff_real (is_derive_expR _)).
  apply: is_diff_eqf (is_diff_scale (φ ω) e) _ => h.
  have product (a b c : R) : a * (b * c) = a * c * b by rewrite (mulrC b) mulrA.
  exact: product.
have dotE h : dot (Δ θ0) h = \sum_ω passing logp φ θ0 ω * 'd (logp^~ ω) θ0 h.
  by rewrite sample_step_dot //; apply: eq_bigr => ω _; rewrite deriveE.
by apply: is_diff_eqf (is_diff_sum _ (fun ω _ => d ω)) _ => h; rewrite dotE.
Qed.

(* Eq. (61): the control learns to pass the filter. *)
Theorem filter_push : Δ θ0 = grad Z θ0.
Proof. by rewrite (has_grad_grad pass_rate_has_grad). Qed.

(* Eq. (66): a filter that looks at the inputs only; b says which samples exist, and how much of an
   input z there is does not depend on the model. *)
Theorem input_filter_pushes_nothing (X : finType) (input : Ω -> X) (ψ q : X -> R)
    (b : Ω -> R) : (forall ω, φ ω = ψ (input ω) * b ω) ->
  (forall θ z, \sum_(ω | input ω == z) b ω * chance logp θ ω = q z) -> Δ θ0 = 0.
Proof.
move=> φ_input total; rewrite filter_push.
suff -> : Z = fun=> \sum_z ψ z * q z.
  by apply: has_grad_grad; apply: is_diff_eqf (is_diff_const _ _) _ => h; rewrite dot0l.
apply/funext => θ; rewrite /pass_rate (partition_big input xpredT) //=.
apply: eq_bigr => z _; rewrite -(total θ) mulr_sumr; apply: eq_bigr => ω /eqP <-.
by rewrite /passing φ_input -mulrA.
Qed.

(* Eq. (62), the slope of what the teacher adds to the control's step. *)
Definition filtered_slope : R := \sum_ω passing logp φ θ0 ω * s ω ^+ 2.

Let W ε ω := passing logp φ (T ε) ω.

Lemma counted_follows : follows W 0.
Proof.
split=> [ω|ω|ω|ε]; first exact: passing_ge0.
- exact: passing_null.
- by rewrite subr0; exact: passing_diff.
- by rewrite !mul0r.
Qed.

Lemma filtered_slopeE : \sum_ω W 0 ω * (s ω - 0) ^+ 2 = filtered_slope.
Proof. by rewrite /W T0; apply: eq_bigr => ω _; rewrite subr0. Qed.

Theorem filtered_gap : is_diff 0 (fun ε => dot (Δ (T ε) - Δ θ0) v) (fun h => h * filtered_slope).
Proof.
rewrite -filtered_slopeE -[X in Δ X]T0.
exact (gap_dot_diff counted_follows).
Qed.

Theorem filtered_slope_ge0 : 0 <= filtered_slope.
Proof. by apply: sumr_ge0 => ω _; rewrite mulr_ge0 ?sqr_ge0 ?passing_ge0. Qed.

(* Eq. (64). *)
Theorem filtered_dichotomy : ((forall ω, φ ω != 0 -> s ω = 0) /\
    forall ε, dot (Δ (T ε) - Δ θ0) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d -> 0 < ε * dot (Δ (T ε) - Δ θ0) v.
Proof.
have := weights_dichotomy counted_follows.
rewrite -[X in Δ X]T0 => -[[s0 gap0]|]; last by right.
by left; split=> // ω φω; apply: s0; rewrite /W passing0.
Qed.

(* Eq. (65). *)
Theorem filtered_theorem1 (L : 'rV[R]_p.+1 -> R) :
  (\forall θ \near θ0, differentiable L θ) ->
  (forall k, {for θ0, continuous (fun θ => 'D_(basis k) L θ)}) -> v = - grad L θ0 ->
  (forall ε, dot (Δ (T ε) - Δ θ0) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α < d ->
    L (θ0 + α *: Δ (T ε)) < L (θ0 + α *: Δ θ0).
Proof.
move=> L_near L_cont v_def; rewrite -[X in Δ X]T0.
exact (weights_theorem1 counted_follows v_def (strict_gradP L_near L_cont)).
Qed.

(* A control that does not move, as under a filter of inputs: Theorem 1 as it is. *)
Theorem filtered_theorem1_start (L : 'rV[R]_p.+1 -> R) :
  differentiable L θ0 -> v = - grad L θ0 -> Δ θ0 = 0 ->
  (forall ε, dot (Δ (T ε)) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L (θ0 + α *: Δ (T ε)) < L θ0.
Proof.
move=> L_diff v_def; rewrite -[X in Δ X]T0 => still; have control0 : step (W 0) = 0 := still.
have [zero|] := weights_theorem1_start counted_follows v_def L_diff still; last by right.
by left=> ε; have := zero ε; rewrite control0 subr0.
Qed.

(* A training set of fixed size: the weights are divided by what passes. *)
Hypothesis some_pass : exists ω, φ ω != 0.

Local Notation Δ1 := (share_step logp θ0 φ).
Local Notation share := (passing_share logp φ).

Lemma pass_rate_gt0 θ : 0 < Z θ.
Proof.
have [ω φω] := some_pass; rewrite /pass_rate (bigD1 ω) //= ltr_paddr //.
  by apply: sumr_ge0 => i _; exact: passing_ge0.
by rewrite lt_neqAle eq_sym passing0 φω passing_ge0.
Qed.

Lemma share_sum θ : \sum_ω share θ ω = 1.
Proof. by rewrite -mulr_suml divff // gt_eqF ?pass_rate_gt0. Qed.

(* Eq. (61) for a set of fixed size. *)
Theorem share_push : Δ1 θ0 = (Z θ0)^-1 *: grad Z θ0.
Proof.
rewrite -filter_push /share_step /filtered_step !sample_step_sum scaler_sumr.
by apply: eq_bigr => ω _; rewrite scalerA mulrC.
Qed.

(* The mean of the score over what passes, and its variance there, Eq. (63). *)
Definition passing_mean : R := \sum_ω share θ0 ω * s ω.
Definition passing_variance : R := \sum_ω share θ0 ω * (s ω - passing_mean) ^+ 2.

Let W1 ε ω := share (T ε) ω.

Lemma pass_rate_diff : is_diff 0 (fun ε => Z (T ε)) (fun h => h * (Z θ0 * passing_mean)).
Proof.
apply: is_diff_eqf (is_diff_sum _ (fun ω _ => passing_diff ω)) _ => h.
rewrite !mulr_sumr; apply: eq_bigr => ω _; rewrite T0 /passing_share.
by congr (_ * _); rewrite [RHS]mulrA (mulrC (Z θ0)) divfK // gt_eqF ?pass_rate_gt0.
Qed.

Lemma share_diff ω :
  is_diff 0 (W1^~ ω) (fun h => h * (W1 0 ω * (s ω - passing_mean))).
Proof.
pose inverse ε := (Z (T ε))^-1; pose gain ε := passing logp φ (T ε) ω - W1 0 ω * Z (T ε).
have inverse_cont : {for 0, continuous inverse}.
  apply: continuousV; first by rewrite gt_eqF ?pass_rate_gt0.
  by apply: differentiable_continuous; have [] := pass_rate_diff.
have gain0 : gain 0 = 0 by rewrite /gain /W1 /passing_share divfK ?subrr // gt_eqF ?pass_rate_gt0.
have gain_diff : is_diff 0 gain
    (fun h => h * (passing logp φ (T 0) ω * s ω - W1 0 ω * (Z θ0 * passing_mean))).
  apply: is_diff_eqf (is_diff_add (passing_diff ω)
    (is_diff_opp (is_diff_scale (W1 0 ω) pass_rate_diff))) _ => h.
  by rewrite mulrBr; congr (_ - _); rewrite /GRing.scale /= mulrCA.
have whole := is_diff_add (is_diff_const (W1 0 ω) 0) (is_diff_weight inverse_cont gain0 gain_diff).
apply: is_diff_ext (is_diff_eqf whole _) => [ε|h].
  rewrite /inverse /gain mulrBr (mulrCA _ (W1 0 ω)) mulVf ?gt_eqF ?pass_rate_gt0 //.
  by rewrite mulr1 addrC subrK mulrC.
rewrite add0r; congr (h * _); rewrite /inverse /W1 /passing_share -T0 mulrBr.
rewrite mulrA (mulrC _^-1) mulrBr; congr (_ - _).
by rewrite (mulrCA _^-1) (mulrA _^-1) mulVf ?mul1r // gt_eqF ?pass_rate_gt0.
Qed.

Lemma share_follows : follows W1 passing_mean.
Proof.
split=> [ω|ω||ε].
- by rewrite divr_ge0 ?passing_ge0 ?ltW ?pass_rate_gt0.
- move=> /eqP; rewrite mulf_eq0 invr_eq0 [X in _ || X]gt_eqF ?pass_rate_gt0 // orbF.
  by move=> /eqP/passing_null P0 ε; rewrite /W1 /passing_share P0 mul0r.
- exact: share_diff.
- by rewrite !share_sum.
Qed.

Lemma passing_varianceE : \sum_ω W1 0 ω * (s ω - passing_mean) ^+ 2 = passing_variance.
Proof. by rewrite /W1 T0. Qed.

Theorem passing_variance_ge0 : 0 <= passing_variance.
Proof.
apply: sumr_ge0 => ω _; rewrite mulr_ge0 ?sqr_ge0 //.
by rewrite divr_ge0 ?passing_ge0 ?ltW ?pass_rate_gt0.
Qed.

Theorem share_gap :
  is_diff 0 (fun ε => dot (Δ1 (T ε) - Δ1 θ0) v) (fun h => h * passing_variance).
Proof.
rewrite -passing_varianceE -[X in Δ1 X]T0.
exact (gap_dot_diff share_follows).
Qed.

(* Eq. (64) for a set of fixed size. *)
Theorem share_dichotomy : ((forall ω, φ ω != 0 -> s ω = passing_mean) /\
    forall ε, dot (Δ1 (T ε) - Δ1 θ0) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d -> 0 < ε * dot (Δ1 (T ε) - Δ1 θ0) v.
Proof.
have := weights_dichotomy share_follows.
rewrite -[X in Δ1 X]T0 => -[[s0 gap0]|]; last by right.
left; split=> // ω φω; apply: s0.
by rewrite mulf_neq0 ?invr_eq0 ?passing0 // gt_eqF ?pass_rate_gt0.
Qed.

(* Eq. (65) for a set of fixed size. *)
Theorem share_theorem1 (L : 'rV[R]_p.+1 -> R) :
  (\forall θ \near θ0, differentiable L θ) ->
  (forall k, {for θ0, continuous (fun θ => 'D_(basis k) L θ)}) -> v = - grad L θ0 ->
  (forall ε, dot (Δ1 (T ε) - Δ1 θ0) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α < d ->
    L (θ0 + α *: Δ1 (T ε)) < L (θ0 + α *: Δ1 θ0).
Proof.
move=> L_near L_cont v_def; rewrite -[X in Δ1 X]T0.
exact (weights_theorem1 share_follows v_def (strict_gradP L_near L_cont)).
Qed.

End Counted.

(* How many samples. N of the teacher's samples and N of the start's are drawn; X is what one of
   them adds to the step along v. *)
Section Draws.
Variables (φ : Ω -> R) (θT : 'rV[R]_p.+1) (N : nat).

Local Notation drawn_mean X a b := (N.+1%:R^-1 * (\sum_(i < N.+1) X (a (b, i)))).

Lemma step_gap_mean (P : 'rV[R]_p.+1 -> Ω -> R) :
  dot (step (P θT) - step (P θ0)) v = mean s (P θT) - mean s (P θ0).
Proof.
rewrite dotDl dotNl.
exact (congr2 (fun a b => a - b) (sample_step_dot (P θT) v) (sample_step_dot (P θ0) v)).
Qed.

(* A set of fixed size: the samples are drawn from those that pass. *)
Theorem share_chebyshev : (forall ω, 0 <= φ ω) -> (exists ω, φ ω != 0) ->
  let P := passing_share logp φ in
  let μ := dot (share_step logp θ0 φ θT - share_step logp θ0 φ θ0) v in
  0 < μ ->
  \sum_(a : {ffun bool * 'I_N.+1 -> Ω} | drawn_mean s a true <= drawn_mean s a false)
    probability (fun i => if i.1 then P θT else P θ0) a <=
  (variance s (P θT) + variance s (P θ0)) / (N.+1%:R * μ ^+ 2).
Proof.
move=> φ0 some P μ; have P_sum θ : \sum_ω P θ ω = 1 by exact: share_sum.
have P_ge0 θ ω : 0 <= P θ ω.
  by rewrite divr_ge0 ?passing_ge0 ?ltW ?pass_rate_gt0.
rewrite {}/μ (step_gap_mean P) => μ0.
exact: gap_chebyshev (P_ge0 θT) (P_sum θT) (P_ge0 θ0) (P_sum θ0) μ0.
Qed.

(* Samples that are counted: drawn from all, of which b says how likely their inputs are. *)
Theorem counted_chebyshev (b : Ω -> R) : (forall ω, 0 <= b ω) ->
  (forall θ, \sum_ω passing logp b θ ω = 1) ->
  let P := passing logp b in
  let X ω := φ ω * s ω in
  let φb ω := φ ω * b ω in
  let μ := dot (filtered_step logp θ0 φb θT - filtered_step logp θ0 φb θ0) v in
  0 < μ ->
  \sum_(a : {ffun bool * 'I_N.+1 -> Ω} | drawn_mean X a true <= drawn_mean X a false)
    probability (fun i => if i.1 then P θT else P θ0) a <=
  (variance X (P θT) + variance X (P θ0)) / (N.+1%:R * μ ^+ 2).
Proof.
move=> b0 P_sum P X φb μ; have P_ge0 θ ω : 0 <= P θ ω by exact: passing_ge0.
have passE θ : mean s (passing logp φb θ) = mean X (P θ).
  by apply: eq_bigr => ω _; rewrite /P /X /passing /φb -(mulrA (φ ω)) -mulrA mulrCA.
rewrite {}/μ (step_gap_mean (passing logp φb)) !passE => μ0.
exact: gap_chebyshev (P_ge0 θT) (P_sum θT) (P_ge0 θ0) (P_sum θ0) μ0.
Qed.

End Draws.

(* In the first form a stricter filter leaves less. *)
Theorem filtered_slope_le (φ ψ : Ω -> R) : (forall ω, φ ω <= ψ ω) ->
  filtered_slope φ <= filtered_slope ψ.
Proof.
move=> le; apply: ler_sum => ω _; apply: ler_wpmul2r; first exact: sqr_ge0.
by apply: ler_wpmul2r; [exact/ltW/expR_gt0 | exact: le].
Qed.

End Filter.

(* Inputs with classes: the samples are pairs of an input and a class of S. *)
Section Classes.
Variables (R : realType) (p n m : nat) (X : Type).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 v : 'rV[R]_p.+1) (S : {set 'I_n.+1}).
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.

Local Notation sample := ('I_m * 'I_n.+1)%type.

Definition class_logp (θ : 'rV[R]_p.+1) (ω : sample) : R := ln (softmax S (f θ (x ω.1)) ω.2).

(* The weights of the inputs, for a filter that looks at them only w_i φ_i. *)
Definition class_weights (ω : sample) : R := if ω.2 \in S then w ω.1 else 0.

Lemma class_chance θ ω : ω.2 \in S -> chance class_logp θ ω = softmax S (f θ (x ω.1)) ω.2.
Proof. by move=> ωS; rewrite /chance /class_logp lnK // posrE softmax_gt0. Qed.

Lemma class_diff ω : (exists k, k \in S) -> is_diff θ0 (class_logp^~ ω) (fun h =>
  (h *m jacobian (f^~ (x ω.1)) θ0) 0 ω.2 -
  dot (softmax_row S (f θ0 (x ω.1))) (h *m jacobian (f^~ (x ω.1)) θ0)).
Proof.
move=> [k kS].
exact: is_diff_chain (network_diff f_diff ω.1) (ln_softmax_diff _ ω.2 kS).
Qed.

(* Eq. (66): the counted step without a filter is that of Eq. (4) ... *)
Theorem class_step ε :
  filtered_step class_logp θ0 class_weights (teacher θ0 v ε) =
  student_step (cross_entropy S) f x w θ0 v ε.
Proof.
rewrite /filtered_step /sample_step /student_step; congr (- grad _ θ0).
apply/funext => θ; rewrite /sample_loss /student_loss.
rewrite -(pair_bigA _ (fun i j => passing class_logp class_weights (teacher θ0 v ε) (i, j) *
  class_logp θ (i, j))) -sumrN /=.
apply: eq_bigr => i _; rewrite mulrN; congr (- _); rewrite mulr_sumr [RHS]big_mkcond /=.
apply: eq_bigr => j _; rewrite /passing /class_weights /=; case: ifP => jS; last by rewrite !mul0r.
by rewrite class_chance // mulrA.
Qed.

(* ... and its slope is A. *)
Theorem class_slope : (exists k, k \in S) ->
  filtered_slope class_logp θ0 v class_weights = slope f x w θ0 v (cross_entropy_matrix S).
Proof.
move=> S0; rewrite /filtered_slope.
rewrite -(pair_bigA _ (fun i j => passing class_logp class_weights θ0 (i, j) *
  score class_logp θ0 v (i, j) ^+ 2)) /=.
apply: eq_bigr => i _; rewrite cross_entropy_matrix_variance mulr_sumr.
apply: eq_bigr => j _; rewrite /passing /class_weights mxE /=.
case: ifP => jS; last by rewrite !(mul0r, mulr0).
by rewrite class_chance // /score (is_diff_dir v (class_diff _ S0)) (responseE f_diff) mulrA.
Qed.

End Classes.

(* Eq. (68): lists of N tokens, of any network that reads the tokens so far. The next token is
   drawn by softmax on those that are allowed; after the end of a list only the end is,
   so that shorter lists are covered. *)
Section Lists.
Variables (R : realType) (p n m N : nat) (X : Type).
Local Notation token := 'I_n.+1.
Variables (f : 'rV[R]_p.+1 -> X -> seq token -> 'rV[R]_n.+1) (x : 'I_m -> X).
Variables (allowed : seq token -> {set token}) (θ0 v : 'rV[R]_p.+1).
Hypothesis allowed_some : forall s, exists k, k \in allowed s.

Local Notation sample := ('I_m * N.-tuple token)%type.

Definition token_logp (θ : 'rV[R]_p.+1) (ω : sample) (t : 'I_N) : R :=
  ln (softmax (allowed (take t ω.2)) (f θ (x ω.1) (take t ω.2)) (tnth ω.2 t)).
Definition list_logp (θ : 'rV[R]_p.+1) (ω : sample) : R := \sum_t token_logp θ ω t.
Definition possible (ω : sample) : bool :=
  [forall t : 'I_N, tnth ω.2 t \in allowed (take t ω.2)].
Definition list_filter (φ : sample -> R) (ω : sample) : R := if possible ω then φ ω else 0.

Hypothesis f_diff : forall i s, differentiable (fun θ => f θ (x i) s) θ0.

Lemma token_logp_diff ω t : differentiable (fun θ => token_logp θ ω t) θ0.
Proof.
have [k kS] := allowed_some (take t ω.2).
by have [] := is_diff_chain (differentiableP (f_diff ω.1 (take t ω.2)))
  (ln_softmax_diff _ (tnth ω.2 t) kS).
Qed.

Lemma list_logp_diff ω : differentiable (list_logp^~ ω) θ0.
Proof.
have := is_diff_sum (index_enum _) (P := xpredT)
  (fun t _ => differentiableP (token_logp_diff ω t)).
by case.
Qed.

(* The score of a list is the sum of its tokens' scores. *)
Theorem list_score ω :
  score list_logp θ0 v ω = \sum_t 'D_v (fun θ => token_logp θ ω t) θ0.
Proof.
have d := is_diff_sum (index_enum _) (P := xpredT)
  (fun t _ => differentiableP (token_logp_diff ω t)).
rewrite /score (is_diff_dir v d); apply: eq_bigr => t _.
by rewrite deriveE //; exact: token_logp_diff.
Qed.

(* The probabilities of the lists to one prompt add up to one. *)
Lemma tuple_sum (k : nat) (q : seq token -> token -> R) : (forall s, \sum_a q s a = 1) ->
  \sum_(u : k.-tuple token) \prod_(t < k) q (take t u) (tnth u t) = 1.
Proof.
elim: k q => [|k IH] q q1.
  rewrite (bigD1 [tuple]) //= big_ord0 big1 ?addr0 // => u.
  by rewrite (tuple0 u).
rewrite (reindex (fun b : token * k.-tuple token => [tuple of b.1 :: b.2])) /=; last first.
  exists (fun u : k.+1.-tuple token => (thead u, [tuple of behead u])) => [[a u] _|u _] /=.
    by congr pair; apply: val_inj.
  by rewrite [RHS]tuple_eta; apply: val_inj.
rewrite -(pair_bigA _ (fun a (u : k.-tuple token) =>
  \prod_(t < k.+1) q (take t (a :: u)) (tnth [tuple of a :: u] t))) /=.
rewrite -[RHS](q1 [::]); apply: eq_bigr => a _.
rewrite -[RHS]mulr1 -[X in _ = _ * X](IH (fun s => q (a :: s))) => [|s]; last exact: q1.
rewrite mulr_sumr.
apply: eq_bigr => u _; rewrite big_ord_recl; congr (_ * _).
by apply: eq_bigr => t _; rewrite tnthS.
Qed.

Theorem list_chance_sum θ i : \sum_(ω | ω.1 == i) list_filter (fun=> 1) ω * chance list_logp θ ω = 1.
Proof.
pose q s := softmax_row (allowed s) (f θ (x i) s) 0.
have q1 s : \sum_a q s a = 1.
  rewrite softmax_row_sum; have [k ks] := allowed_some s.
  by rewrite (_ : _ != _) //; apply/set0Pn; exists k.
rewrite -[RHS](tuple_sum N q1) (reindex (fun u : N.-tuple token => (i, u))) /=; last first.
  exists snd => [//|[j u]]; by rewrite inE /= => /eqP ->.
apply: eq_big => [u|u _]; first by rewrite eqxx.
rewrite /list_filter; case: ifP => [/forallP all_ok|/negbT].
  rewrite mul1r /chance /list_logp.
  rewrite (@big_morph _ _ (@expR R) 1 *%R 0 +%R (@expRD R) (@expR0 R)).
  apply: eq_bigr => t _; have ok := all_ok t; rewrite /= in ok.
  by rewrite lnK ?posrE ?softmax_gt0 // /q mxE ok.
rewrite negb_forall => /existsP[t /= bad].
by rewrite mul0r (bigD1 t) //= /q mxE (negbTE bad) mul0r.
Qed.

(* Any filter of whole lists, on the lists of a teacher at any T(ε). *)
Theorem list_theorem1 (φ : sample -> R) (T : R -> 'rV[R]_p.+1) (L : 'rV[R]_p.+1 -> R) :
  (forall ω, 0 <= φ ω) -> T 0 = θ0 -> is_diff 0 T (fun h => h *: v) ->
  (\forall θ \near θ0, differentiable L θ) ->
  (forall k, {for θ0, continuous (fun θ => 'D_(basis k) L θ)}) -> v = - grad L θ0 ->
  let Δ := filtered_step list_logp θ0 (list_filter φ) in
  (forall ε, dot (Δ (T ε) - Δ θ0) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α < d ->
    L (θ0 + α *: Δ (T ε)) < L (θ0 + α *: Δ θ0).
Proof.
move=> φ0 T0 T_diff L_near L_cont v_def.
apply: (filtered_theorem1 list_logp_diff _ T0 T_diff L_near L_cont v_def) => ω.
by rewrite /list_filter; case: ifP.
Qed.

Theorem list_share_theorem1 (φ : sample -> R) (T : R -> 'rV[R]_p.+1) (L : 'rV[R]_p.+1 -> R) :
  (forall ω, 0 <= φ ω) -> (exists2 ω, possible ω & φ ω != 0) ->
  T 0 = θ0 -> is_diff 0 T (fun h => h *: v) ->
  (\forall θ \near θ0, differentiable L θ) ->
  (forall k, {for θ0, continuous (fun θ => 'D_(basis k) L θ)}) -> v = - grad L θ0 ->
  let Δ := share_step list_logp θ0 (list_filter φ) in
  (forall ε, dot (Δ (T ε) - Δ θ0) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α < d ->
    L (θ0 + α *: Δ (T ε)) < L (θ0 + α *: Δ θ0).
Proof.
move=> φ0 [ω0 ω0_ok φω0] T0 T_diff L_near L_cont v_def.
apply: (share_theorem1 list_logp_diff _ T0 T_diff _ L_near L_cont v_def) => [ω|].
  by rewrite /list_filter; case: ifP.
by exists ω0; rewrite /list_filter ω0_ok.
Qed.

(* How many lists, where the prompt i has the probability r i: N lists of the teacher's against
   N of the start's, counted as they are. *)
Theorem list_chebyshev (r : 'I_m -> R) (φ : sample -> R) (θT : 'rV[R]_p.+1) (k : nat) :
  (forall i, 0 <= r i) -> \sum_i r i = 1 ->
  let b := list_filter (fun ω => r ω.1) in
  let X ω := φ ω * score list_logp θ0 v ω in
  let P := passing list_logp b in
  let φb ω := φ ω * b ω in
  let μ := dot (filtered_step list_logp θ0 φb θT - filtered_step list_logp θ0 φb θ0) v in
  0 < μ ->
  \sum_(a : {ffun bool * 'I_k.+1 -> sample} |
      k.+1%:R^-1 * (\sum_(i < k.+1) X (a (true, i))) <=
      k.+1%:R^-1 * (\sum_(i < k.+1) X (a (false, i))))
    probability (fun i => if i.1 then P θT else P θ0) a <=
  (variance X (P θT) + variance X (P θ0)) / (k.+1%:R * μ ^+ 2).
Proof.
move=> r0 r1 b gain P φb μ μ0; have b_ge0 ω : 0 <= b ω.
  by rewrite /b /list_filter; case: ifP.
have total θ : \sum_ω P θ ω = 1.
  rewrite (partition_big fst xpredT) //= -r1; apply: eq_bigr => i _.
  rewrite -[RHS]mulr1 -(list_chance_sum θ i) mulr_sumr; apply: eq_bigr => ω /eqP ωi.
  by rewrite /P /passing /b /list_filter ωi; case: ifP => _; rewrite ?mul1r ?(mul0r, mulr0).
exact (counted_chebyshev list_logp_diff k b_ge0 total μ0).
Qed.

(* A filter of prompts only pushes nothing. *)
Theorem prompt_filter_pushes_nothing (ψ : 'I_m -> R) :
  filtered_step list_logp θ0 (list_filter (fun ω => ψ ω.1)) θ0 = 0.
Proof.
apply: (input_filter_pushes_nothing list_logp_diff (input := fst) (ψ := ψ) (q := fun=> 1)
  (b := list_filter (fun=> 1))) => [ω|θ i]; last exact: list_chance_sum.
by rewrite /list_filter; case: ifP; rewrite ?mulr1 ?mulr0.
Qed.

End Lists.

(* Where it ends: two logits, and one parameter or one for each. *)
Section TwoLogits.
Variable R : realType.

Local Notation q := (softmax_row [set: 'I_2]).

Lemma two_logits_softmax (z : 'rV[R]_2) j :
  softmax [set: 'I_2] z j = expR (z 0 j) / (expR (z 0 0) + expR (z 0 1)).
Proof.
rewrite /softmax; congr (_ / _).
rewrite (eq_bigl xpredT) => [|i]; last exact: finset.in_setT.
rewrite !big_ord_recl big_ord0 addr0; congr (_ + expR (z 0 _)); exact: val_inj.
Qed.

Lemma half_softmax (z : 'rV[R]_2) j : z 0 0 = 0 -> z 0 1 = 0 -> softmax [set: 'I_2] z j = 2^-1.
Proof.
move=> z0 z1; rewrite two_logits_softmax z0 z1 expR0 -(natrD R 1 1).
have [->|->] : j = 0 \/ j = 1 by case: j => [[|[|//]] ?]; [left|right]; exact: val_inj.
  by rewrite z0 expR0 mul1r.
by rewrite z1 expR0 mul1r.
Qed.

Lemma half_row (z h : 'rV[R]_2) : z 0 0 = 0 -> z 0 1 = 0 ->
  dot (q z) h = 2^-1 * (h 0 0 + h 0 1).
Proof.
move=> z0 z1; rewrite /dot !big_ord_recl big_ord0 addr0 !mxE !finset.in_setT !half_softmax //.
by rewrite -mulrDr; congr (_ * (_ + h 0 _)); exact: val_inj.
Qed.

(* Eq. (67): the logits are the parameters, and only the second class passes. *)
Definition two_class_logp (θ : 'rV[R]_2) (j : 'I_2) : R := ln (softmax [set: 'I_2] θ j).
Definition second_only (j : 'I_2) : R := (j == 1)%:R.

Local Notation Δ := (filtered_step two_class_logp 0 second_only).

(* The teacher's loss: it wants the first class. *)
Definition minus_first (θ : 'rV[R]_2) : R := - θ 0 0.
Local Notation v := (- grad minus_first 0).

Lemma first_direction : v = basis 0.
Proof.
have d : has_grad minus_first 0 (- basis 0).
  apply: is_diff_eqf (is_diff_opp (is_diff_coord 0 (0 : 'rV[R]_2))) _ => h.
  by rewrite dotNl dotC dot_basis.
by rewrite (has_grad_grad d) opprK.
Qed.

Lemma two_class_diff j : is_diff 0 (two_class_logp^~ j)
  (fun h => h 0 j - 2^-1 * (h 0 0 + h 0 1)).
Proof.
have d := ln_softmax_diff (0 : 'rV[R]_2) j (finset.in_setT (0 : 'I_2)).
by apply: is_diff_eqf d _ => h; rewrite half_row ?mxE.
Qed.

(* The step is along (-1, 1), whatever the teacher, and longer without one. *)
Lemma second_only_step θ : dot (Δ θ) (basis 0) = - (2^-1 * softmax [set: 'I_2] θ 1).
Proof.
have logp_diff j : differentiable (two_class_logp^~ j) 0 by have [] := two_class_diff j.
rewrite /filtered_step sample_step_dot // (bigD1 1) //= big1 => [|j /negbTE j1]; last first.
  by rewrite /passing /second_only j1 !mul0r.
rewrite addr0 (is_diff_dir _ (two_class_diff 1)) !mxE /= addr0 mulr1 sub0r mulrN.
by rewrite /passing /second_only eqxx mul1r /chance lnK ?posrE ?softmax_gt0 ?finset.in_setT // mulrC.
Qed.

Lemma two_class_teacher ε : 0 < ε ->
  0 < softmax [set: 'I_2] (teacher (0 : 'rV[R]_2) (basis 0) ε) 1 < 2^-1.
Proof.
move=> ε0; rewrite softmax_gt0 ?finset.in_setT // two_logits_softmax /teacher add0r !mxE /=.
rewrite mulr1 mulr0 expR0 mul1r ltf_pinv ?posrE ?addr_gt0 ?expR_gt0 ?ltr01 //.
by rewrite -[X in X < _]/(1 *+ 2 : R) mulr2n ltr_add2r expR_gt1.
Qed.

Theorem filter_against_start ε α : 0 < ε -> 0 < α ->
  [/\ dot (Δ (teacher 0 v ε)) v = - (2 * (1 + expR ε))^-1,
      dot (Δ (teacher 0 v ε)) v < 0,
      minus_first 0 < minus_first (0 + α *: Δ (teacher 0 v ε)) &
      minus_first (0 + α *: Δ (teacher 0 v ε)) < minus_first (0 + α *: Δ 0)].
Proof.
move=> ε0 α0; rewrite first_direction; have /andP[t0 t1] := two_class_teacher ε0.
have half0 : 0 < 2^-1 :> R by rewrite invr_gt0 ltr0n.
have after θ : minus_first (0 + α *: Δ θ) = α * (2^-1 * softmax [set: 'I_2] θ 1).
  by rewrite /minus_first add0r mxE -dot_basis second_only_step mulrN opprK.
split.
- rewrite second_only_step two_logits_softmax /teacher add0r !mxE /= mulr1 mulr0 expR0 mul1r.
  by rewrite invfM addrC.
- by rewrite second_only_step oppr_lt0 mulr_gt0.
- rewrite (after (teacher _ _ _)) /minus_first mxE oppr0.
  by apply: mulr_gt0 => //; exact: mulr_gt0.
have less : α * (2^-1 * softmax [set: 'I_2] (teacher 0 (basis 0) ε) 1) < α * (2^-1 * 2^-1).
  by rewrite (ltr_pmul2l α0) (ltr_pmul2l half0).
have after0 := after 0; rewrite half_softmax ?mxE // in after0.
by rewrite -after -after0 in less.
Qed.

(* Eq. (69): lists of two tokens, and a mask that counts the second token if it is 1. *)
Definition one_logit_row (c : R) (θ : 'rV[R]_1) : 'rV[R]_2 := \row_j (c * θ 0 0 * (j == 1)%:R).
Definition first_logp (θ : 'rV[R]_1) (a : 'I_2) : R :=
  ln (softmax [set: 'I_2] (one_logit_row (- 2) θ) a).
Definition second_logp (θ : 'rV[R]_1) (a b : 'I_2) : R :=
  ln (softmax [set: 'I_2] (one_logit_row (a == 1)%:R θ) b).
Definition two_token_chance (θ : 'rV[R]_1) (ω : 'I_2 * 'I_2) : R :=
  expR (first_logp θ ω.1 + second_logp θ ω.1 ω.2).

Definition masked_loss (θT θ : 'rV[R]_1) : R :=
  - \sum_ω two_token_chance θT ω * ((ω.2 == 1)%:R * second_logp θ ω.1 ω.2).
Definition masked_step (θT : 'rV[R]_1) : 'rV[R]_1 := - grad (masked_loss θT) 0.

Lemma one_logit_diff c : is_diff 0 (fun θ => ln (softmax [set: 'I_2] (one_logit_row c θ) 1))
  (fun h : 'rV[R]_1 => 2^-1 * (c * h 0 0)).
Proof.
have row_diff : is_diff 0 (one_logit_row c)
    (fun h : 'rV[R]_1 => \row_j (c * h 0 0 * (j == 1)%:R)).
  apply: is_diff_row => j.
  apply: (@is_diff_ext _ _ _ (fun θ : 'rV[R]_1 => (c * (j == 1)%:R) * θ 0 0)) => [θ|].
    by rewrite mxE mulrAC.
  apply: is_diff_eqf (is_diff_scale _ (is_diff_coord 0 (0 : 'rV[R]_1))) _ => h.
  by rewrite mxE mulrAC.
have d := is_diff_chain row_diff (ln_softmax_diff (one_logit_row c 0) 1 (finset.in_setT (0 : 'I_2))).
apply: is_diff_eqf d _ => h; rewrite half_row ?mxE /= ?mulr0 ?mul0r //.
rewrite !mulr1 add0r -{1}[c * _]mul1r -mulrBl; congr (_ * _).
by rewrite {1}[1]splitr mul1r addrK.
Qed.

Lemma masked_step_dot θT : dot (masked_step θT) (basis 0) = 2^-1 * two_token_chance θT (1, 1).
Proof.
have term ω : is_diff 0
    (fun θ => two_token_chance θT ω * ((ω.2 == 1)%:R * second_logp θ ω.1 ω.2))
    (fun h : 'rV[R]_1 => two_token_chance θT ω *
      ((ω.2 == 1)%:R * (2^-1 * ((ω.1 == 1)%:R * h 0 0)))).
  apply: is_diff_scale; case: (eqVneq ω.2 1) => [->|_].
    exact (is_diff_scale 1 (one_logit_diff (ω.1 == 1)%:R)).
  apply: (@is_diff_ext _ _ _ (fun=> 0)) => [θ|]; first by rewrite mul0r.
  by apply: is_diff_eqf (is_diff_const _ _) _ => h; rewrite mul0r.
have d := is_diff_opp (is_diff_sum (index_enum _) (P := xpredT) (fun ω _ => term ω)).
have [ex _] := d.
rewrite dotNl -(is_diff_dir (basis 0) (has_gradP ex)) (is_diff_dir (basis 0) d) opprK.
rewrite (bigD1 (1, 1)) //= big1 => [|[a b] ab]; first by rewrite mxE !mul1r mulr1 addr0 mulrC.
rewrite /=; case: (eqVneq a 1) ab => [->|_ _]; last by rewrite mul0r !mulr0.
by case: (eqVneq b 1) => [->|_ _]; [rewrite eqxx | rewrite mul0r mulr0].
Qed.

Lemma two_token_diff : is_diff 0 (fun ε => two_token_chance (teacher 0 (basis 0) ε) (1, 1))
  (fun h => h * - 8^-1).
Proof.
pose path ε := teacher (0 : 'rV[R]_1) (basis 0) ε; have at0 : path 0 = 0 := teacher0 _ _.
have along c : is_diff 0 (fun ε => ln (softmax [set: 'I_2] (one_logit_row c (path ε)) 1))
    (fun h => h * (2^-1 * c)).
  have d : is_diff (path 0) (fun θ => ln (softmax [set: 'I_2] (one_logit_row c θ) 1))
    (fun h : 'rV[R]_1 => 2^-1 * (c * h 0 0)) by rewrite at0; exact: one_logit_diff.
  have path_diff : is_diff 0 path (fun h => h *: basis 0) := is_diff_line _ _ _.
  apply: is_diff_eqf (is_diff_chain path_diff d) _ => h.
  by rewrite !mxE mulr1 mulrA mulrC.
have half : softmax [set: 'I_2] (one_logit_row (- 2) (path 0)) 1 = 2^-1.
  by rewrite at0 half_softmax ?mxE ?(mulr0, mul0r).
have half' : softmax [set: 'I_2] (one_logit_row 1 (path 0)) 1 = 2^-1.
  by rewrite at0 half_softmax ?mxE ?(mulr0, mul0r).
have sum : is_diff 0 (fun ε => first_logp (path ε) 1 + second_logp (path ε) 1 1)
    (fun h => h * - 2^-1).
  apply: is_diff_eqf (is_diff_add (along (- 2)) (along 1)) _ => h.
  rewrite -mulrDr; congr (_ * _); rewrite mulrN mulVf ?pnatr_eq0 // mulr1 {1}[1]splitr mul1r.
  by rewrite opprD subrK.
apply: is_diff_eqf (is_diff_exp sum) _ => h; rewrite expRD /first_logp /second_logp half half'.
rewrite lnK ?posrE ?invr_gt0 ?ltr0n // mulrN -!invfM -!natrM.
by [].
Qed.

Theorem token_mask_slope :
  is_diff 0 (fun ε => dot (masked_step (teacher 0 (basis 0) ε) - masked_step 0) (basis 0))
    (fun h : R => h * - 16^-1).
Proof.
have d := is_diff_add (is_diff_scale 2^-1 two_token_diff)
  (is_diff_const (- (2^-1 * two_token_chance 0 (1, 1))) 0).
have gap θ : dot (masked_step θ - masked_step 0) (basis 0) =
    2^-1 * two_token_chance θ (1, 1) - 2^-1 * two_token_chance 0 (1, 1).
  rewrite dotDl dotNl.
  exact (congr2 (fun a b => a - b) (masked_step_dot θ) (masked_step_dot 0)).
apply: is_diff_ext (is_diff_eqf d _) => [ε|h]; first exact/esym/gap.
by rewrite addr0 /GRing.scale /= mulrCA mulrN -invfM -natrM.
Qed.

End TwoLogits.
