(* The theorem further, part 3: many steps of gradient descent on the fixed labels,
   with batches and learning rates that may change (README.md, section 12). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From OneStep Require Import Definitions Toolbox OneStep Contraction Losses.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

(* Eq. (39): k steps with learning rates α_j and weights w_j. *)
Fixpoint student_after (R : realType) (p n m : nat) (X : Type)
    (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R) (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1)
    (x : 'I_m -> X) (α : nat -> R) (w : nat -> 'I_m -> R) (θ0 v : 'rV[R]_p.+1)
    (k : nat) (ε : R) : 'rV[R]_p.+1 :=
  if k is j.+1 then
    let θ := student_after l f x α w θ0 v j ε in
    θ - α j *: grad (student_loss l f x (w j) θ0 v ε) θ
  else θ0.

(* One step is that of Eq. (4). *)
Theorem student_after1 (R : realType) (p n m : nat) (X : Type)
    (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R) (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1)
    (x : 'I_m -> X) α w (θ0 v : 'rV[R]_p.+1) ε :
  student_after l f x α w θ0 v 1 ε = student l f x (w 0%N) θ0 v (α 0%N) ε.
Proof. by rewrite /student /student_step scalerN. Qed.

(* The same in a metric Q, and for a teacher T(ε) that need not go straight: Eqs. (70) and
   (71). The labels of T(ε) are those of a teacher that moved by T(ε) - θ0. *)
Fixpoint metric_student_after (R : realType) (p n m : nat) (X : Type)
    (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R) (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1)
    (x : 'I_m -> X) (Q : 'M[R]_p.+1) (α : nat -> R) (w : nat -> 'I_m -> R)
    (θ0 : 'rV[R]_p.+1) (T : R -> 'rV[R]_p.+1) (k : nat) (ε : R) : 'rV[R]_p.+1 :=
  if k is j.+1 then
    let θ := metric_student_after l f x Q α w θ0 T j ε in
    θ - α j *: (grad (student_loss l f x (w j) θ0 (T ε - θ0) 1) θ *m Q)
  else θ0.

Lemma path_teacher (R : realType) (p : nat) (θ0 θT : 'rV[R]_p.+1) :
  teacher θ0 (θT - θ0) 1 = θT.
Proof. by rewrite /teacher scale1r addrC subrK. Qed.

Lemma straight_after (R : realType) (p n m : nat) (X : Type)
    (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R) (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1)
    (x : 'I_m -> X) α w (θ0 v : 'rV[R]_p.+1) k :
  metric_student_after l f x 1 α w θ0 (teacher θ0 v) k =
  student_after l f x α w θ0 v k.
Proof.
apply/funext => ε; elim: k => [//|k /= ->]; rewrite mulmx1.
suff -> : student_loss l f x (w k) θ0 (teacher θ0 v ε - θ0) 1 =
    student_loss l f x (w k) θ0 v ε by [].
by apply/funext => θ; rewrite /student_loss path_teacher.
Qed.

Section Expansion.
Variables (R : realType) (p n m : nat) (X : Type) (l : bregman_loss R n).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X).
Variables (Q : 'M[R]_p.+1) (α : nat -> R) (w : nat -> 'I_m -> R) (θ0 v : 'rV[R]_p.+1).
Variable T : R -> 'rV[R]_p.+1.
Hypotheses (T0 : T 0 = θ0) (T_diff : is_diff 0 T (fun h => h *: v)).

(* What is assumed of the network: differentiable near θ0, and its partial
   derivatives are continuous at θ0. *)
Hypothesis f_near : forall i, \forall θ \near θ0, differentiable (f^~ (x i)) θ.
Hypothesis f_cont : forall i k j,
  {for θ0, continuous (fun θ : 'rV[R]_p.+1 => 'D_(basis k) (f^~ (x i)) θ 0 j)}.

Local Notation r := (loss_response l).
Local Notation F j := (gauss_newton f x (w j) θ0 (loss_matrix l)).
Local Notation θ_ k := (metric_student_after l f x Q α w θ0 T k).
Local Notation y i ε := (f (T ε) (x i)).

Let f_diff i : differentiable (f^~ (x i)) θ0 := nbhs_singleton (f_near i).

Lemma response_diff z : is_diff z r (fun h => h *m loss_matrix l z).
Proof.
have label := gradient_in_label (loss_first_order l z).
apply: (@is_diff_ext _ _ _ (fun y => r z - (r z - r y))) => [y|].
  by rewrite opprB addrC subrK.
apply: is_diff_eqf (is_diff_add (is_diff_const (r z) z) (is_diff_opp label)) _ => h.
by rewrite add0r opprK.
Qed.

(* The gradient of the student's loss where the network is differentiable. *)
Lemma student_loss_grad_at j ε θ : (forall i, differentiable (f^~ (x i)) θ) ->
  grad (student_loss l f x (w j) θ0 (T ε - θ0) 1) θ = \row_k \sum_i w j i *
    dot (r (f θ (x i)) - r (y i ε)) ('D_(basis k) (f^~ (x i)) θ).
Proof.
move=> fθ; apply/rowP => k; rewrite !mxE.
have d : is_diff θ (student_loss l f x (w j) θ0 (T ε - θ0) 1)
    (fun h => \sum_i w j i * dot (r (f θ (x i)) - r (y i ε)) ('d (f^~ (x i)) θ h)).
  rewrite /student_loss path_teacher.
  apply: is_diff_sum => i _; apply: (is_diff_scale (w j i)).
  exact: is_diff_chain (differentiableP (fθ i)) (loss_gradient (loss_first_order l _) _).
by rewrite (is_diff_dir _ d); apply: eq_bigr => i _; rewrite deriveE.
Qed.

(* One more step, where θ_j starts at θ0 with derivative D. *)
Lemma one_more_step j D : θ_ j 0 = θ0 -> is_diff 0 (θ_ j) (fun h => h *: D) ->
  θ_ j.+1 0 = θ0 /\ is_diff 0 (θ_ j.+1) (fun h => h *: (D - α j *: ((D - v) *m F j *m Q))).
Proof.
move=> at0 θD.
have cont : {for 0, continuous (θ_ j)} by apply: differentiable_continuous; have [] := θD.
pose slope_k ε k := \sum_i w j i *
  dot (r (f (θ_ j ε) (x i)) - r (y i ε)) ('D_(basis k) (f^~ (x i)) (θ_ j ε)).
have near_grad : \forall ε \near 0, θ_ j ε - α j *: ((\row_k slope_k ε k) *m Q) = θ_ j.+1 ε.
  have near_i i : \forall ε \near 0, differentiable (f^~ (x i)) (θ_ j ε).
    apply: (cont [set θ | differentiable (f^~ (x i)) θ]).
    by rewrite at0; exact: f_near.
  have near_all := filter_forall (nbhs_filter (0 : R)) near_i.
  by apply: (filterS _ near_all) => ε fε; rewrite /= student_loss_grad_at.
split.
  rewrite -(nbhs_singleton near_grad) at0 (_ : \row_k _ = 0) ?mul0mx ?scaler0 ?subr0 //.
  apply/rowP => k; rewrite !mxE /slope_k big1 // => i _.
  by rewrite at0 T0 subrr dot0l mulr0.
apply: is_diff_near near_grad _.
suff slope_diff : is_diff 0 (fun ε => \row_k slope_k ε k) (fun h => h *: ((D - v) *m F j)).
  have moved := is_diff_mulmxr Q slope_diff.
  apply: is_diff_eqf (is_diff_add θD (is_diff_opp (is_diff_scale (α j) moved))) _ => h.
  by rewrite scalerBr !scalerA mulrC.
apply: is_diff_row => k.
apply: (@is_diff_ext _ _ _ (slope_k^~ k)) => [ε|]; first by rewrite mxE.
have gap i : is_diff 0 (fun ε => r (f (θ_ j ε) (x i)) - r (y i ε))
  (fun h => h *: ((D - v) *m jacobian (f^~ (x i)) θ0 *m loss_matrix l (f θ0 (x i)))).
  have fi : is_diff (θ_ j 0) (f^~ (x i)) (fun h => h *m jacobian (f^~ (x i)) θ0).
    by rewrite at0; exact: network_diff f_diff i.
  have r1 : is_diff (f (θ_ j 0) (x i)) r (fun h => h *m loss_matrix l (f θ0 (x i))).
    by rewrite at0; exact: response_diff.
  have r2 : is_diff (y i 0) r (fun h => h *m loss_matrix l (f θ0 (x i))).
    by rewrite T0; exact: response_diff.
  have student_part := is_diff_chain (is_diff_chain θD fi) r1.
  have label : is_diff (T 0) (f^~ (x i)) (fun h => h *m jacobian (f^~ (x i)) θ0).
    by rewrite T0; exact: network_diff f_diff i.
  have teacher_part := is_diff_chain (is_diff_chain T_diff label) r2.
  apply: is_diff_eqf (is_diff_add student_part (is_diff_opp teacher_part)) _ => h.
  by rewrite -!scalemxAl -scalerBr -!mulmxBl.
apply: is_diff_eqf.
  apply: is_diff_sum => i _; apply: (is_diff_scale (w j i)).
  apply: (is_diff_weight_dot (W := fun ε => 'D_(basis k) (f^~ (x i)) (θ_ j ε)) _ _ (gap i)).
    move=> c; apply: (continuous_comp (f := θ_ j)
      (g := fun θ => 'D_(basis k) (f^~ (x i)) θ 0 c)) => //.
    by rewrite at0; exact: f_cont.
  by rewrite at0 T0 subrr.
have F_dot u h : dot (u *m F j) h = \sum_i w j i * dot (u *m jacobian (f^~ (x i)) θ0 *m
    loss_matrix l (f θ0 (x i))) (h *m jacobian (f^~ (x i)) θ0).
  exact: (gauss_newton_dot _ _ _ _ (fun=> w j)).
move=> h /=; rewrite -[RHS]dot_basis dotZl F_dot mulr_sumr.
apply: eq_bigr => i _; rewrite at0 (derivemxE _ (f_diff i)).
by rewrite /GRing.scale /= mulrCA.
Qed.

(* Eqs. (70) and (71), for any matrix Q. *)
Theorem metric_steps_expansion k : θ_ k 0 = θ0 /\ is_diff 0 (θ_ k)
  (fun h => h *: (v - v *m \prod_(j < k) (1 - α j *: (F j *m Q)))).
Proof.
elim: k => [|k [at0 IH]].
  split=> //; apply: is_diff_eqf (is_diff_const θ0 (0 : R)) _ => h.
  by rewrite big_ord0 mulmx1 subrr scaler0.
have [at0' IH'] := one_more_step at0 IH; split=> //.
apply: is_diff_eqf IH' _ => h; congr (h *: _).
rewrite big_ord_recr /=; set K := \prod_(j < k) _.
rewrite (_ : v - v *m K - v = - (v *m K)); last by rewrite addrAC subrr add0r.
rewrite !mulNmx scalerN opprK -[K * _]/(K *m _) mulmxA mulmxBr mulmx1 opprB.
by rewrite -scalemxAr mulmxA addrA [in RHS]addrAC.
Qed.

End Expansion.

(* Eqs. (41) and (46), for any v and any α. *)
Theorem many_steps_expansion (R : realType) (p n m : nat) (X : Type) (l : bregman_loss R n)
    (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) α w (θ0 v : 'rV[R]_p.+1) :
  (forall i, \forall θ \near θ0, differentiable (f^~ (x i)) θ) ->
  (forall i k j,
    {for θ0, continuous (fun θ : 'rV[R]_p.+1 => 'D_(basis k) (f^~ (x i)) θ 0 j)}) ->
  forall k, let θ_ := student_after l f x α w θ0 v k in
  θ_ 0 = θ0 /\ is_diff 0 θ_ (fun h =>
    h *: (v - v *m \prod_(j < k) (1 - α j *: gauss_newton f x (w j) θ0 (loss_matrix l)))).
Proof.
move=> f_near f_cont k /=; rewrite -straight_after.
have [at0 d] := metric_steps_expansion l 1 α w (teacher0 θ0 v) (is_diff_line θ0 v 0)
  f_near f_cont k.
split=> //; apply: is_diff_eqf d _ => h; congr (h *: (v - v *m _)).
by apply: eq_bigr => j _; rewrite mulmx1.
Qed.

(* The change of the teacher's loss, and its sign. *)
Section Fall.
Variables (R : realType) (p n m : nat) (X : Type) (l : bregman_loss R n).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X).
Variables (θ0 : 'rV[R]_p.+1) (L_T : 'rV[R]_p.+1 -> R).
Hypothesis f_near : forall i, \forall θ \near θ0, differentiable (f^~ (x i)) θ.
Hypothesis f_cont : forall i k j,
  {for θ0, continuous (fun θ : 'rV[R]_p.+1 => 'D_(basis k) (f^~ (x i)) θ 0 j)}.
Hypothesis L_diff : differentiable L_T θ0.

Local Notation g := (grad L_T θ0).
Local Notation F w := (gauss_newton f x w θ0 (loss_matrix l)).
Local Notation θ_ α w := (student_after l f x α w θ0 (- g)).

(* s_k of Eqs. (42) and (46). *)
Definition fall (α : nat -> R) (w : nat -> 'I_m -> R) k : R :=
  dot (g - g *m \prod_(j < k) (1 - α j *: F (w j))) g.

Lemma loss_after_diff α w k :
  is_diff 0 (fun ε => L_T (θ_ α w k ε)) (fun h => h * - fall α w k).
Proof.
have [at0 θD] := many_steps_expansion l α w (- g) f_near f_cont k.
have L_grad : has_grad L_T (θ_ α w k 0) g by rewrite at0; exact: has_gradP.
apply: is_diff_eqf (is_diff_chain θD L_grad) _ => h.
by rewrite /fall dotZr mulNmx -opprD dotNr dotC.
Qed.

(* Eq. (42). *)
Theorem many_steps_loss_expansion α w k :
  (fun ε => (L_T (θ_ α w k ε) - L_T θ0) / ε) @ 0^' --> - fall α w k.
Proof.
have [at0 _] := many_steps_expansion l α w (- g) f_near f_cont k.
by apply: (quotient_cvg (loss_after_diff α w k)); rewrite at0.
Qed.

Theorem many_steps_fall α w k : 0 < fall α w k ->
  exists2 d, 0 < d & forall ε, 0 < ε < d -> L_T (θ_ α w k ε) < L_T θ0.
Proof.
move=> s0; have [at0 _] := many_steps_expansion l α w (- g) f_near f_cont k.
have gain_diff : is_diff 0 (fun ε => L_T θ0 - L_T (θ_ α w k ε)) (fun h => h * fall α w k).
  apply: is_diff_eqf (is_diff_add (is_diff_const _ _) (is_diff_opp (loss_after_diff α w k))) _.
  by move=> h; rewrite add0r mulrN opprK.
have [|d d0 pos] := positive_derivative gain_diff _ s0; first by rewrite at0 subrr.
exists d => // ε /andP[ε0 εd]; rewrite -subr_gt0 -(pmulr_rgt0 _ ε0).
by apply: pos; rewrite gtr0_norm // ε0.
Qed.

Lemma slope_fall w : dot (g *m F w) g = slope f x w θ0 (- g) (loss_matrix l).
Proof.
have f_diff i := nbhs_singleton (f_near i).
rewrite -(gauss_newton_slope (loss_matrix l) (- g) f_diff (fun=> w)).
by rewrite mulNmx dotNl dotNr opprK.
Qed.

(* One step: s_1 = α A, so that Eq. (42) is Eq. (14). *)
Theorem fall1 α w : fall α w 1 = α 0%N * slope f x (w 0%N) θ0 (- g) (loss_matrix l).
Proof.
rewrite /fall big_ord_recl big_ord0 mulr1 mulmxBr mulmx1 opprB addrC subrK.
by rewrite -scalemxAr dotZl slope_fall.
Qed.

Lemma gauss_newton_sym w : (F w)^T = F w.
Proof.
rewrite linear_sum; apply: eq_bigr => i _.
by rewrite linearZ /= !trmx_mul trmxK loss_matrix_sym mulmxA.
Qed.

Lemma gauss_newton_ge0 w u : (forall i, 0 <= w i) -> 0 <= dot (u *m F w) u.
Proof.
move=> w0; have f_diff i := nbhs_singleton (f_near i).
rewrite (gauss_newton_slope (loss_matrix l) u f_diff (fun=> w)).
exact: (slope_ge0 (W := fun=> w) u (fun i => loss_first_order l _) w0).
Qed.

Section Matrix.
Variables (α : R) (w : 'I_m -> R).
Hypotheses (α_ge0 : 0 <= α) (w_ge0 : forall i, 0 <= w i).

Local Notation K := (1 - α *: F w).

Lemma step_matrix_dot u : dot (u *m K) u = dot u u - α * dot (u *m F w) u.
Proof. by rewrite mulmxBr mulmx1 -scalemxAr dotDl dotNl dotZl. Qed.

Lemma step_matrix_sym : K^T = K.
Proof. by rewrite linearB /= trmx1 linearZ /= gauss_newton_sym. Qed.

Lemma step_matrix_le1 u : dot (u *m K) u <= dot u u.
Proof. by rewrite step_matrix_dot ger_addl oppr_le0 mulr_ge0 // gauss_newton_ge0. Qed.

(* "α F <= 2". *)
Lemma step_matrix_geN1 u : α * dot (u *m F w) u <= 2 * dot u u -> - dot u u <= dot (u *m K) u.
Proof.
by move=> u2; rewrite step_matrix_dot -subr_ge0 opprK addrAC -mulr2n -mulr_natl subr_ge0.
Qed.

Lemma fall_constant k :
  fall (fun=> α) (fun=> w) k = moment K g 0 - moment K g k.
Proof. by rewrite /fall prodr_const card_ord dotDl dotNl moment0. Qed.

(* Eq. (43). *)
Theorem many_steps_sign k :
  (forall u, α * dot (u *m F w) u <= 2 * dot u u) -> 0 <= fall (fun=> α) (fun=> w) k.
Proof.
move=> small; rewrite fall_constant subr_ge0.
apply: (moment_le step_matrix_sym step_matrix_le1) => u.
exact: step_matrix_geN1.
Qed.

Theorem many_steps_strict k : 0 < α ->
  (forall u, u != 0 -> α * dot (u *m F w) u < 2 * dot u u) ->
  0 < dot (g *m F w) g -> 0 < fall (fun=> α) (fun=> w) k.+1.
Proof.
move=> α0 small gFg; rewrite fall_constant subr_gt0.
have strict u : u != 0 -> - dot u u < dot (u *m K) u.
  move=> /small u2.
  by rewrite step_matrix_dot -subr_gt0 opprK addrAC -mulr2n -mulr_natl subr_gt0.
apply: (moment_lt step_matrix_sym step_matrix_le1) => //.
- move=> u; case: (eqVneq u 0) => [->|/strict/ltW //].
  by rewrite mul0mx !dot0l oppr0.
- rewrite moment0 /moment expr1 step_matrix_dot.
  by rewrite gtr_addl oppr_lt0 mulr_gt0.
Qed.

(* Theorem 1 for many steps, where A > 0. *)
Theorem many_steps_theorem1 k : 0 < α ->
  (forall u, u != 0 -> α * dot (u *m F w) u < 2 * dot u u) ->
  0 < slope f x w θ0 (- g) (loss_matrix l) ->
  exists2 d, 0 < d & forall ε, 0 < ε < d -> L_T (θ_ (fun=> α) (fun=> w) k.+1 ε) < L_T θ0.
Proof.
by rewrite -slope_fall => α0 small A0; apply: many_steps_fall; apply: many_steps_strict.
Qed.

(* Eq. (72). *)
Theorem progress_rises (v : 'rV[R]_p.+1) : (forall u, α * dot (u *m F w) u <= dot u u) ->
  let s k := dot (v - v *m K ^+ k) v in
  [/\ s 0%N = 0, forall k, s k <= s k.+1 & forall k, s k <= dot v v].
Proof.
move=> small; have K_ge0 u : 0 <= dot (u *m K) u by rewrite step_matrix_dot subr_ge0.
have sE k : dot (v - v *m K ^+ k) v = moment K v 0 - moment K v k.
  by rewrite dotDl dotNl moment0.
rewrite /=; split=> [|k|k].
- by rewrite sE subrr.
- rewrite !sE ler_add2l ler_opp2.
  exact: (moment_falls step_matrix_sym step_matrix_le1 K_ge0).
- rewrite sE moment0 ger_addl oppr_le0.
  exact: (moment_ge0 step_matrix_sym K_ge0).
Qed.

(* Eq. (44). *)
Theorem many_steps_odd k : odd k ->
  2^-1 * (α * dot (g *m F w) g) <= fall (fun=> α) (fun=> w) k.
Proof.
move=> k_odd; rewrite fall_constant -[k]odd_double_half k_odd.
have := moment_half step_matrix_sym step_matrix_le1 g k./2.
rewrite {1}moment0 {1}/moment expr1 step_matrix_dot opprB addrC subrK.
by rewrite ler_pdivr_mull ?ltr0n.
Qed.

End Matrix.

(* Eq. (46): batches and rates that change. *)
Theorem changing_steps_sign α w k :
  (forall j, 0 <= α j) -> (forall j i, 0 <= w j i) ->
  (forall j u, α j * dot (u *m F (w j)) u <= 2 * dot u u) -> 0 <= fall α w k.
Proof.
move=> α0 w0 small; apply: dot_contraction.
elim: k => [|k IH]; first by rewrite big_ord0 mulmx1.
rewrite big_ord_recr /= -[_ * _]/(_ *m _) mulmxA; apply: le_trans IH.
apply: contraction; first exact: step_matrix_sym.
  by move=> u; apply: step_matrix_le1.
by move=> u; apply: step_matrix_geN1; exact: small.
Qed.

End Fall.
