(* The one-step theorem, part 3: the theorem for every admissible loss, with
   weights that may depend on ε (README.md, sections 2 to 5 and 7). *)
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

(* Eq. (9): what is asked of the loss at the output z of the common start.
   G z y is its gradient in the first argument, M z minus the derivative of
   y |-> G z y at y = z. *)
Record admissible_at (R : realType) (n : nat) (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R)
  (G : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> 'rV[R]_n.+1) (M : 'rV[R]_n.+1 -> 'M[R]_n.+1)
  (z : 'rV[R]_n.+1) : Prop := Admissible {
  loss_gradient : forall y, has_grad (l^~ y) z (G z y);
  gradient_at_label : G z z = 0;
  gradient_in_label : has_diff (G z) z (fun h => - (h *m M z));
  matrix_nonneg : forall u, 0 <= dot (u *m M z) u;
  matrix_null : forall u, dot (u *m M z) u = 0 -> forall y, dot (G z y) u = 0
}.

Section OneStep.
Variables (R : realType) (p n m : nat) (X : Type).
Variables (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R).
Variables (G : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> 'rV[R]_n.+1).
Variables (M : 'rV[R]_n.+1 -> 'M[R]_n.+1).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X).
Variables (θ0 v : 'rV[R]_p.+1).

(* The network is differentiable at the start, at that one point only. *)
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.
Hypothesis l_adm : forall i, admissible_at l G M (f θ0 (x i)).

Let z i := f θ0 (x i).
Let y i ε := f (teacher θ0 v ε) (x i).
Let J i h := response f θ0 h (x i).

Lemma response_diff i : has_diff (f^~ (x i)) θ0 (J i).
Proof. by split=> // h; rewrite /J /response deriveE. Qed.

Lemma responseZ i a h : J i (a *: h) = a *: J i h.
Proof. by have [_ E] := response_diff i; rewrite -!E linearZ. Qed.

Lemma response_sum i u : J i u = \sum_k u 0 k *: J i (basis k).
Proof.
have [_ E] := response_diff i; rewrite -E [in LHS](row_basis u) linear_sum.
by apply: eq_bigr => k _; rewrite linearZ E.
Qed.

Lemma teacher0 : teacher θ0 v 0 = θ0.
Proof. by rewrite /teacher scale0r addr0. Qed.

Lemma label0 i : y i 0 = z i.
Proof. by rewrite /y teacher0. Qed.

(* The labels move along J_x v. *)
Lemma label_diff i : has_diff (y i) 0 (fun h => h *: J i v).
Proof.
apply: has_diff_eq.
  apply: (has_diff_comp (f := teacher θ0 v) (g := f^~ (x i))).
    exact: has_diff_line.
  by rewrite teacher0; exact: response_diff.
by move=> h; exact: responseZ.
Qed.

Section FixedWeights.
Variable w : 'I_m -> R.

(* Eq. (7), in any direction u: the chain rule for the student's loss. *)
Lemma student_step_dot ε u :
  dot (student_step l f x w θ0 v ε) u = - \sum_i w i * dot (G (z i) (y i ε)) (J i u).
Proof.
have loss_diff : has_diff (student_loss l f x w θ0 v ε) θ0
    (fun h => \sum_i w i * dot (G (z i) (y i ε)) (J i h)).
  apply: has_diff_sum => i _; apply: (has_diffZ (w i)).
  exact: has_diff_comp (response_diff i) (loss_gradient (l_adm i) _).
have [loss_ex <-] := loss_diff.
by rewrite dotNl; have [_ ->] := has_gradP loss_ex.
Qed.

(* Eq. (26): a student that already equals its teacher does not move. *)
Lemma student_step0 : student_step l f x w θ0 v 0 = 0.
Proof.
apply/rowP => k; rewrite -dot_basis student_step_dot big1 ?oppr0 ?mxE // => i _.
by rewrite label0 (gradient_at_label (l_adm i)) dot0l mulr0.
Qed.

End FixedWeights.

(* The weights: at ε = 0 nonnegative and continuous, and an input that has no
   weight there never has. Constant weights >= 0 are the first case of this. *)
Variable W : R -> 'I_m -> R.
Hypothesis W_ge0 : forall i, 0 <= W 0 i.
Hypothesis W_cont : forall i, {for 0, continuous (W^~ i)}.
Hypothesis W_null : forall i, W 0 i = 0 -> forall ε, W ε i = 0.

Let Δ ε := student_step l f x (W ε) θ0 v ε.
Let A := slope f x (W 0) θ0 v M.

(* The vector B of Eq. (11). *)
Definition step_slope : 'rV[R]_p.+1 :=
  \row_k \sum_i W 0 i * dot (J i v *m M (z i)) (J i (basis k)).

Lemma step_slope_dot u :
  dot step_slope u = \sum_i W 0 i * dot (J i v *m M (z i)) (J i u).
Proof.
rewrite {1}/dot.
under eq_bigr => k _ do rewrite mxE mulr_suml.
rewrite exchange_big; apply: eq_bigr => i _.
rewrite (response_sum i u) dot_sumr mulr_sumr; apply: eq_bigr => k _.
by rewrite dotZr -mulrA (mulrC (u 0 k)).
Qed.

(* Eq. (11): B . v = A. *)
Lemma step_slope_v : dot step_slope v = A.
Proof. exact: step_slope_dot. Qed.

(* Eq. (11): the whole step, to first order. *)
Lemma student_step_diff : has_diff Δ 0 (fun h => h *: step_slope).
Proof.
apply: has_diff_row => k.
apply: (@has_diff_ext _ _ _
  (fun ε => - \sum_i W ε i * dot (G (z i) (y i ε)) (J i (basis k)))) => [ε|].
  by rewrite -student_step_dot dot_basis.
apply: has_diff_eq.
  apply/has_diffN/has_diff_sum => i _.
  apply: (@has_diff_weight _ (W^~ i) (fun ε => dot (G (z i) (y i ε)) (J i (basis k)))
    (- dot (J i v *m M (z i)) (J i (basis k)))) => //.
    by rewrite label0 (gradient_at_label (l_adm i)) dot0l.
  have Gy : has_diff (G (z i)) (y i 0) (fun h => - (h *m M (z i))).
    by rewrite label0; exact: gradient_in_label (l_adm i).
  apply: has_diff_eq (has_diff_dotl _ (has_diff_comp (label_diff i) Gy)) _ => h.
  by rewrite -scalemxAl dotNl dotZl mulrN.
move=> h /=; rewrite !mxE -sumrN mulr_sumr; apply: eq_bigr => i _.
by rewrite !mulrN opprK.
Qed.

Lemma step_dot_diff : has_diff (fun ε => dot (Δ ε) v) 0 (fun h => h * A).
Proof.
apply: has_diff_eq (has_diff_dotl v student_step_diff) _ => h.
by rewrite dotZl step_slope_v.
Qed.

Lemma step_dot0 : dot (Δ 0) v = 0.
Proof. by rewrite /Δ student_step0 dot0l. Qed.

(* Eq. (10): (Δ_S(ε) . v) / ε -> A. *)
Theorem expansion : (fun ε => dot (Δ ε) v / ε) @ 0^' --> A.
Proof.
have := quotient_cvg step_dot_diff step_dot0.
by under eq_fun do rewrite subr0.
Qed.

(* Each term of A is nonnegative. *)
Lemma slope_term_ge0 i : 0 <= W 0 i * dot (J i v *m M (z i)) (J i v).
Proof. by rewrite mulr_ge0 // (matrix_nonneg (l_adm i)). Qed.

Lemma slope_ge0 : 0 <= A.
Proof. by apply: sumr_ge0 => i _; exact: slope_term_ge0. Qed.

(* Eq. (12): a slope of zero means that nothing happens at any ε. *)
Theorem dichotomy : A = 0 -> forall ε, dot (Δ ε) v = 0.
Proof.
move=> /eqP; rewrite psumr_eq0 => [/allP terms0 ε|i _]; last exact: slope_term_ge0.
rewrite student_step_dot big1 ?oppr0 // => i _.
have := terms0 i (mem_index_enum i); rewrite mulf_eq0 => /orP[/eqP W0|/eqP u0].
  by rewrite (W_null W0) mul0r.
by rewrite (matrix_null (l_adm i) u0) mulr0.
Qed.

(* Eq. (13): Lemma 1. *)
Theorem lemma1 : (forall ε, dot (Δ ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d -> 0 < ε * dot (Δ ε) v.
Proof.
have := slope_ge0; rewrite le_eqVlt => /orP[/eqP A0|A0].
  by left; apply: dichotomy.
right; have [d d0 pos] := positive_derivative step_dot_diff step_dot0 A0.
by exists d.
Qed.

(* From here on the teacher follows its own loss: v = - grad L_T(θ0), Eq. (5). *)
Variable L_T : 'rV[R]_p.+1 -> R.
Hypothesis L_diff : differentiable L_T θ0.
Hypothesis v_def : v = - grad L_T θ0.

Let grad_L : has_grad L_T θ0 (- v).
Proof. by rewrite v_def opprK; exact: has_gradP. Qed.

(* Eq. (14): the fall of the teacher's loss, to first order, for any real α. *)
Theorem loss_expansion α :
  (fun ε => (L_T (θ0 + α *: Δ ε) - L_T θ0) / ε) @ 0^' --> - (α * A).
Proof.
have path : has_diff (fun ε => θ0 + α *: Δ ε) 0 (fun h => h *: (α *: step_slope)).
  apply: has_diff_eq (has_diffD (has_diff_cst _ _) (has_diffZ α student_step_diff)) _.
  by move=> h; rewrite add0r !scalerA mulrC.
have start : θ0 + α *: Δ 0 = θ0 by rewrite /Δ student_step0 scaler0 addr0.
have fall : has_diff (fun ε => L_T (θ0 + α *: Δ ε)) 0 (fun h => h * - (α * A)).
  apply: has_diff_eq (has_diff_comp (g := L_T) path _) _; first by rewrite start; exact: grad_L.
  by move=> h; rewrite /= dotZr dotZr dotNl dotC step_slope_v mulrN.
by apply: (quotient_cvg fall); rewrite start.
Qed.

(* Eq. (16): Theorem 1 with one threshold for every learning rate. *)
Theorem theorem1_uniform : (forall ε, dot (Δ ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
  L_T (θ0 + α *: Δ ε) < L_T θ0.
Proof.
have := slope_ge0; rewrite le_eqVlt => /orP[/eqP A0|A0].
  by left; apply: dichotomy.
right; apply: (descent grad_L student_step_diff).
  by rewrite /Δ student_step0.
by rewrite dotNl dotC step_slope_v oppr_lt0.
Qed.

(* Eq. (15): Theorem 1. *)
Theorem theorem1 α : 0 < α -> (forall ε, dot (Δ ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < ε < d -> L_T (θ0 + α *: Δ ε) < L_T θ0.
Proof.
move=> α0; have [zero|[d d0 fall]] := theorem1_uniform; [by left | right].
exists (Num.min d (d / α)); first by rewrite lt_minr d0 divr_gt0.
move=> ε /andP[ε0]; rewrite lt_minr ltr_pdivl_mulr // mulrC => /andP[εd αεd].
by apply: fall => //; rewrite ε0.
Qed.

End OneStep.
