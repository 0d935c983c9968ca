(* The one-step theorem, part 3: the theorem for every loss that is admissible at
   the outputs of the common start, with weights that may depend on ε (README.md,
   sections 2 to 5 and 7). Final.v has the same without a section's hypotheses. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From OneStep Require Import Definitions Toolbox.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

Section OneStep.
Variables (R : realType) (p n m : nat) (X : Type).
Variables (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R).
Variables (G : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> 'rV[R]_n.+1).
Variables (M : 'rV[R]_n.+1 -> 'M[R]_n.+1).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X).
Variables (θ0 v : 'rV[R]_p.+1).

(* The network is differentiable at the start, at that one point only. *)
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.
Hypothesis l_first : forall i, first_order_at l G M (f θ0 (x i)).

Local Notation z i := (f θ0 (x i)).
Local Notation y i ε := (f (teacher θ0 v ε) (x i)).
Local Notation J i := (jacobian (f^~ (x i)) θ0).

Lemma network_diff i : is_diff θ0 (f^~ (x i)) (fun h => h *m J i).
Proof. by apply: is_diff_eqf (differentiableP (f_diff i)) _ => h; rewrite mul_rV_lin1. Qed.

Lemma responseE i h : response f θ0 h (x i) = h *m J i.
Proof. exact: derivemxE. Qed.

Lemma teacher0 : teacher θ0 v 0 = θ0.
Proof. by rewrite /teacher scale0r addr0. Qed.

(* The labels move along J_x v. *)
Lemma label_diff i : is_diff 0 (fun ε => y i ε) (fun h => h *: (v *m J i)).
Proof.
have fi : is_diff (teacher θ0 v 0) (f^~ (x i)) (fun h => h *m J i).
  by rewrite teacher0; exact: network_diff.
apply: is_diff_eqf (is_diff_chain (is_diff_line θ0 v 0) fi) _ => h.
by rewrite -scalemxAl.
Qed.

Section FixedWeights.
Variable w : 'I_m -> R.

Lemma student_loss_diff ε : is_diff θ0 (student_loss l f x w θ0 v ε)
  (fun h => \sum_i w i * dot (G (z i) (y i ε)) (h *m J i)).
Proof.
apply: is_diff_sum => i _; apply: (is_diff_scale (w i)).
exact: is_diff_chain (network_diff i) (loss_gradient (l_first i) _).
Qed.

(* Eq. (4): the step is minus the gradient of a loss that is differentiable. *)
Lemma student_loss_grad ε :
  has_grad (student_loss l f x w θ0 v ε) θ0 (- student_step l f x w θ0 v ε).
Proof. by rewrite opprK; apply: has_gradP; have [] := student_loss_diff ε. Qed.

(* Eq. (7), in any direction u: the chain rule for the student's loss. *)
Theorem student_step_dot ε u :
  dot (student_step l f x w θ0 v ε) u = - \sum_i w i * dot (G (z i) (y i ε)) (u *m J i).
Proof.
rewrite -[LHS]opprK -dotNl; congr (- _).
by rewrite -(is_diff_dir u (student_loss_grad ε)) (is_diff_dir u (student_loss_diff ε)).
Qed.

(* Eq. (26): a student that already equals its teacher does not move. *)
Theorem student_step0 : student_step l f x w θ0 v 0 = 0.
Proof.
apply/rowP => k; rewrite -dot_basis student_step_dot big1 ?oppr0 ?mxE // => i _.
by rewrite teacher0 (gradient_at_label (l_first i)) dot0l mulr0.
Qed.

End FixedWeights.

(* The weights may depend on ε. *)
Variable W : R -> 'I_m -> R.
Hypothesis W_cont : forall i, {for 0, continuous (W^~ i)}.

Local Notation Δ ε := (student_step l f x (W ε) θ0 v ε).
Local Notation A := (slope f x (W 0) θ0 v M).
Local Notation F := (gauss_newton f x (W 0) θ0 M).

Lemma gauss_newton_dot u h :
  dot (u *m F) h = \sum_i W 0 i * dot (u *m J i *m M (z i)) (h *m J i).
Proof.
rewrite mulmx_sumr dot_suml; apply: eq_bigr => i _.
by rewrite -scalemxAr dotZl !mulmxA [in LHS]dot_mulmx trmxK.
Qed.

(* Eq. (11): B . v = A. *)
Theorem gauss_newton_slope : dot (v *m F) v = A.
Proof. by rewrite gauss_newton_dot; apply: eq_bigr => i _; rewrite responseE. Qed.

(* Eq. (11): the whole step, to first order. *)
Theorem student_step_diff : is_diff 0 (fun ε => Δ ε) (fun h => h *: (v *m F)).
Proof.
have term k i : is_diff 0 (fun ε => W ε i * dot (G (z i) (y i ε)) (basis k *m J i))
    (fun h => h * (W 0 i * - dot (v *m J i *m M (z i)) (basis k *m J i))).
  apply: (is_diff_weight (g := fun ε => dot (G (z i) (y i ε)) (basis k *m J i))) => //.
    by rewrite teacher0 (gradient_at_label (l_first i)) dot0l.
  have Gy : is_diff (y i 0) (G (z i)) (fun h => - (h *m M (z i))).
    by rewrite teacher0; exact: gradient_in_label (l_first i).
  apply: is_diff_eqf (is_diff_dotl _ (is_diff_chain (label_diff i) Gy)) _ => h.
  by rewrite -scalemxAl dotNl dotZl mulrN.
apply: is_diff_row => k; have sum := is_diff_opp (is_diff_sum (index_enum _) (P := xpredT)
  (fun i _ => term k i)).
apply: is_diff_ext (is_diff_eqf sum _) => [ε|h].
  by rewrite -dot_basis student_step_dot.
rewrite mxE -dot_basis gauss_newton_dot -sumrN mulr_sumr.
by apply: eq_bigr => i _; rewrite !mulrN opprK.
Qed.

Lemma step_dot_diff : is_diff 0 (fun ε => dot (Δ ε) v) (fun h => h * A).
Proof.
apply: is_diff_eqf (is_diff_dotl v student_step_diff) _ => h.
by rewrite dotZl gauss_newton_slope.
Qed.

Lemma step_dot0 : dot (Δ 0) v = 0.
Proof. by rewrite student_step0 dot0l. Qed.

(* Eq. (10): (Δ_S(ε) . v) / ε -> A. *)
Theorem expansion_at : (fun ε => dot (Δ ε) v / ε) @ 0^' --> A.
Proof.
have := quotient_cvg step_dot_diff step_dot0.
by under eq_fun do rewrite subr0.
Qed.

(* What follows in whatever way the teacher's loss L depends on its direction: the
   student moves by α Δ T for a fixed matrix T (Eq. (4): T = 1; Eq. (35): T = Q). *)
Section Loss.
Variables (L : 'rV[R]_p.+1 -> R) (T : 'M[R]_p.+1).
Hypothesis L_diff : differentiable L θ0.
Hypothesis v_def : v = - (grad L θ0 *m T^T).

Lemma slope_along : dot (grad L θ0) (v *m F *m T) = - A.
Proof.
by rewrite dotC dot_mulmx -[grad L θ0 *m T^T]opprK -v_def dotNr gauss_newton_slope.
Qed.

Lemma moved_step_diff : is_diff 0 (fun ε => Δ ε *m T) (fun h => h *: (v *m F *m T)).
Proof. exact: is_diff_mulmxr student_step_diff. Qed.

(* Eqs. (14) and (36): the fall of the teacher's loss, for any real α. *)
Theorem loss_expansion_at α :
  (fun ε => (L (θ0 + α *: (Δ ε *m T)) - L θ0) / ε) @ 0^' --> - (α * A).
Proof.
have start : θ0 + α *: (Δ 0 *m T) = θ0 by rewrite student_step0 mul0mx scaler0 addr0.
have path : is_diff 0 (fun ε => θ0 + α *: (Δ ε *m T)) (fun h => 0 + α *: (h *: (v *m F *m T))).
  exact: is_diff_add (is_diff_const _ _) (is_diff_scale α moved_step_diff).
have fall : is_diff 0 (fun ε => L (θ0 + α *: (Δ ε *m T))) (fun h => h * - (α * A)).
  apply: is_diff_eqf (is_diff_chain (g := L) path _) _; first by rewrite start; exact: has_gradP.
  by move=> h; rewrite /= add0r !dotZr slope_along !mulrN mulrCA.
by apply: (quotient_cvg fall); rewrite start.
Qed.

(* Eqs. (16) and (37) where A > 0: one threshold for every learning rate. *)
Theorem theorem1_positive_at : 0 < A -> exists2 d, 0 < d & forall ε α,
  0 < ε < d -> 0 < α -> α * ε < d -> L (θ0 + α *: (Δ ε *m T)) < L θ0.
Proof.
move=> A0; apply: (descent (has_gradP L_diff) moved_step_diff).
  by rewrite student_step0 mul0mx.
by rewrite slope_along oppr_lt0.
Qed.

End Loss.

(* From here on the weights are not negative. *)
Hypothesis W_ge0 : forall i, 0 <= W 0 i.

Lemma slope_term_ge0 i :
  0 <= W 0 i * dot (response f θ0 v (x i) *m M (z i)) (response f θ0 v (x i)).
Proof. by rewrite mulr_ge0 // (matrix_nonneg (l_first i)). Qed.

Lemma slope_ge0 : 0 <= A.
Proof. by apply: sumr_ge0 => i _; exact: slope_term_ge0. Qed.

End OneStep.

(* The exact dichotomy: the loss is admissible, and no weight is born after ε = 0. *)
Section Dichotomy.
Variables (R : realType) (p n m : nat) (X : Type).
Variables (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R).
Variables (G : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> 'rV[R]_n.+1).
Variables (M : 'rV[R]_n.+1 -> 'M[R]_n.+1).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X).
Variables (θ0 v : 'rV[R]_p.+1) (W : R -> 'I_m -> R).
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.
Hypothesis l_adm : forall i, admissible_at l G M (f θ0 (x i)).
Hypothesis W_cont : forall i, {for 0, continuous (W^~ i)}.
Hypothesis W_ge0 : forall i, 0 <= W 0 i.
Hypothesis W_null : forall i, W 0 i = 0 -> forall ε, W ε i = 0.

Local Notation Δ ε := (student_step l f x (W ε) θ0 v ε).
Local Notation A := (slope f x (W 0) θ0 v M).

Let l_first i : first_order_at l G M (f θ0 (x i)) := l_adm i.

(* Eq. (12): a slope of zero means that nothing happens at any ε. *)
Theorem dichotomy_at : A = 0 -> forall ε, dot (Δ ε) v = 0.
Proof.
move=> /eqP; rewrite psumr_eq0 => [/allP terms0 ε|i _]; last exact: (slope_term_ge0 v l_first W_ge0).
rewrite (student_step_dot _ f_diff l_first) big1 ?oppr0 // => i _.
have := terms0 i (mem_index_enum i); rewrite mulf_eq0 => /orP[/eqP W0|/eqP u0].
  by rewrite (W_null W0) mul0r.
by rewrite -(responseE f_diff) (matrix_null (l_adm i) u0) mulr0.
Qed.

(* Eq. (13): Lemma 1. *)
Theorem lemma1_at : (forall ε, dot (Δ ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d -> 0 < ε * dot (Δ ε) v.
Proof.
have := slope_ge0 v l_first W_ge0; rewrite le_eqVlt => /orP[/eqP A0|A0].
  by left; apply: dichotomy_at.
right; have [d d0 pos] := positive_derivative (step_dot_diff v f_diff l_first W_cont)
  (step_dot0 v f_diff l_first W) A0.
by exists d.
Qed.

(* Eqs. (16) and (37): Theorem 1. *)
Theorem theorem1_at (L : 'rV[R]_p.+1 -> R) (T : 'M[R]_p.+1) :
  differentiable L θ0 -> v = - (grad L θ0 *m T^T) ->
  (forall ε, dot (Δ ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
  L (θ0 + α *: (Δ ε *m T)) < L θ0.
Proof.
move=> L_diff v_def; have := slope_ge0 v l_first W_ge0; rewrite le_eqVlt => /orP[/eqP A0|A0].
  by left; apply: dichotomy_at.
by right; exact: (theorem1_positive_at f_diff l_first W_cont L_diff v_def).
Qed.

End Dichotomy.
