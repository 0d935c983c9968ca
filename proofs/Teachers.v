(* The theorem further, part 8: teachers that need not go straight, or that are far away,
   and many steps in a metric (README.md, section 18). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From OneStep Require Import Definitions Toolbox OneStep Losses Contraction ManySteps.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

(* Eq. (70): a teacher T(ε) on any path that leaves θ0 with derivative v. Its labels are those of a
   teacher that moved by T(ε) - θ0. *)
Section Path.
Variables (R : realType) (p n m : nat) (X : Type) (l : bregman_loss R n).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 v : 'rV[R]_p.+1) (T : R -> 'rV[R]_p.+1).
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.
Hypotheses (T0 : T 0 = θ0) (T_diff : is_diff 0 T (fun h => h *: v)).

Local Notation r := (loss_response l).
Local Notation J i := (jacobian (f^~ (x i)) θ0).
Local Notation M i := (loss_matrix l (f θ0 (x i))).
Local Notation F := (gauss_newton f x w θ0 (loss_matrix l)).
Local Notation Δ ε := (student_step l f x w θ0 (T ε - θ0) 1).

Lemma path_step_dot ε u :
  dot (Δ ε) u = \sum_i w i * dot (r (f (T ε) (x i)) - r (f θ0 (x i))) (u *m J i).
Proof.
rewrite (student_step_dot (T ε - θ0) f_diff (fun i => loss_first_order l _)) path_teacher -sumrN.
by apply: eq_bigr => i _; rewrite -mulrN -dotNl opprB.
Qed.

(* Eq. (11) for the path. *)
Theorem path_step_diff : is_diff 0 (fun ε => Δ ε) (fun h => h *: (v *m F)).
Proof.
have term i u : is_diff 0
    (fun ε => w i * dot (r (f (T ε) (x i)) - r (f θ0 (x i))) (u *m J i))
    (fun h => w i * dot (h *: (v *m J i *m M i)) (u *m J i)).
  have label : is_diff (T 0) (f^~ (x i)) (fun h => h *m J i).
    by rewrite T0; exact: network_diff f_diff i.
  have r_diff : is_diff (f (T 0) (x i)) r (fun h => h *m M i).
    by rewrite T0; exact: response_diff.
  have d := is_diff_add (is_diff_chain (is_diff_chain T_diff label) r_diff)
    (is_diff_const (- r (f θ0 (x i))) 0).
  apply: is_diff_eqf (is_diff_scale (w i) (is_diff_dotl (u *m J i) d)) _ => h.
  by rewrite addr0 -!scalemxAl.
apply: is_diff_row => k.
have sum := is_diff_sum (index_enum _) (P := xpredT) (fun i _ => term i (basis k)).
apply: is_diff_ext (is_diff_eqf sum _) => [ε|h].
  by rewrite -path_step_dot dot_basis.
rewrite -[RHS]dot_basis dotZl (gauss_newton_dot _ _ _ _ (fun=> w)) mulr_sumr.
by apply: eq_bigr => i _; rewrite dotZl mulrCA.
Qed.

(* Eq. (16) for the path, where A > 0: the teacher went c steps down its loss. *)
Theorem path_theorem1 (L : 'rV[R]_p.+1 -> R) (c : R) :
  differentiable L θ0 -> 0 < c -> v = - (c *: grad L θ0) ->
  0 < slope f x w θ0 v (loss_matrix l) ->
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L (θ0 + α *: Δ ε) < L θ0.
Proof.
move=> L_diff c0 v_def A0; apply: (descent (has_gradP L_diff) path_step_diff).
  apply/rowP => k; rewrite -dot_basis path_step_dot big1 ?mxE // => i _.
  by rewrite T0 subrr dot0l mulr0.
rewrite -(pmulr_rlt0 _ c0) -dotZl -[c *: _]opprK -v_def dotNl oppr_lt0 dotC.
by rewrite (gauss_newton_slope (loss_matrix l) v f_diff (fun=> w)).
Qed.

End Path.

(* A teacher that takes K small steps down its own loss is on such a path. *)
Section TeacherSteps.
Variables (R : realType) (p : nat) (L : 'rV[R]_p.+1 -> R) (θ0 : 'rV[R]_p.+1).
Hypothesis L_cont : forall k, {for θ0, continuous (fun θ => 'D_(basis k) L θ)}.

Fixpoint teacher_after (K : nat) (ε : R) : 'rV[R]_p.+1 :=
  if K is j.+1 then teacher_after j ε - ε *: grad L (teacher_after j ε) else θ0.

Theorem teacher_steps_diff K : teacher_after K 0 = θ0 /\
  is_diff 0 (teacher_after K) (fun h => h *: - (K%:R *: grad L θ0)).
Proof.
elim: K => [|K [at0 IH]].
  split=> //; apply: is_diff_eqf (is_diff_const θ0 (0 : R)) _ => h.
  by rewrite scale0r oppr0 scaler0.
split; first by rewrite /= at0 scale0r subr0.
have step : is_diff 0 (fun ε => ε *: grad L (teacher_after K ε)) (fun h => h *: grad L θ0).
  have cont : {for 0, continuous (teacher_after K)}.
    by apply: differentiable_continuous; have [] := IH.
  apply: is_diff_row => k.
  apply: (@is_diff_ext _ _ _ (fun ε => 'D_(basis k) L (teacher_after K ε) * ε)) => [ε|].
    by rewrite !mxE mulrC.
  have partial : {for 0, continuous (fun ε => 'D_(basis k) L (teacher_after K ε))}.
    apply: (continuous_comp (f := teacher_after K) (g := fun θ => 'D_(basis k) L θ)) => //.
    by rewrite at0; exact: L_cont.
  have line : is_diff (0 : R) id (fun h => h * 1).
    by apply: is_diff_eqf (is_diff_id _) _ => h; rewrite mulr1.
  apply: is_diff_eqf (is_diff_weight partial erefl line) _ => h.
  by rewrite at0 mulr1 !mxE.
apply: is_diff_eqf (is_diff_add IH (is_diff_opp step)) _ => h.
by rewrite -scalerBr -opprD -(addn1 K) natrD scalerDl scale1r.
Qed.

End TeacherSteps.

(* Eq. (73): a teacher at any distance δ. What the labels moved by is compared with what
   the derivative says; e is the difference. *)
Section Far.
Variables (R : realType) (p n m : nat) (X : Type) (l : bregman_loss R n).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 δ : 'rV[R]_p.+1).
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.

Local Notation r := (loss_response l).
Local Notation u i := (response f θ0 δ (x i)).
Local Notation A := (slope f x w θ0 δ (loss_matrix l)).

Definition label_error i : 'rV[R]_n.+1 :=
  r (f (θ0 + δ) (x i)) - r (f θ0 (x i)) - u i *m loss_matrix l (f θ0 (x i)).

Theorem far_teacher ρ : - (ρ * A) <= \sum_i w i * dot (label_error i) (u i) ->
  (1 - ρ) * A <= dot (student_step l f x w θ0 δ 1) δ.
Proof.
move=> close; have -> : dot (student_step l f x w θ0 δ 1) δ =
    A + \sum_i w i * dot (label_error i) (u i).
  rewrite (student_step_dot δ f_diff (fun i => loss_first_order l _)) -big_split -sumrN.
  apply: eq_bigr => i _ /=; rewrite -mulrN -dotNl opprB -mulrDr -dotDl.
  by rewrite [_ + label_error i]addrC subrK -(responseE f_diff) /teacher scale1r.
by rewrite mulrBl mul1r ler_add2l.
Qed.

End Far.

Section FarSquaredError.
Variables (R : realType) (p n m : nat) (X : Type) (c : 'I_n.+1 -> R).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 δ : 'rV[R]_p.+1).
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.
Hypotheses (c_ge0 : forall j, 0 <= c j) (w_ge0 : forall i, 0 <= w i).

Local Notation u i := (response f θ0 δ (x i)).
Local Notation A := (slope f x w θ0 δ (squared_error_matrix c)).

(* The squared error of a vector for each input, and its mean. *)
Definition mean_square (a : 'I_m -> 'rV[R]_n.+1) : R :=
  \sum_i w i * \sum_j c j * a i 0 j ^+ 2.

Lemma slope_mean_square : A = 2 * mean_square (fun i => u i).
Proof.
rewrite /slope /mean_square mulr_sumr; apply: eq_bigr => i _.
rewrite squared_error_matrixE [RHS]mulrCA; congr (w i * _).
rewrite [RHS]mulr_sumr; apply: eq_bigr => j _.
by rewrite mxE expr2 !mulrA.
Qed.

Theorem far_teacher_squared_error ρ : 0 < ρ ->
  mean_square (fun i => f (θ0 + δ) (x i) - f θ0 (x i) - u i) <=
    ρ ^+ 2 * mean_square (fun i => u i) ->
  (1 - ρ) * A <= dot (student_step (squared_error c) f x w θ0 δ 1) δ.
Proof.
move=> ρ0 close.
apply: (far_teacher (l := squared_error_loss c_ge0) f_diff).
set e := fun i => f (θ0 + δ) (x i) - f θ0 (x i) - u i in close.
rewrite -(ler_pmul2l ρ0) mulrN slope_mean_square mulrCA mulrA -expr2.
have -> : \sum_i w i * dot (label_error (squared_error_loss c_ge0) f x θ0 δ i) (u i) =
    \sum_i w i * \sum_j 2 * (c j * (e i 0 j * u i 0 j)).
  apply: eq_bigr => i _; congr (_ * _); apply: eq_bigr => j _.
  rewrite /label_error /e /= /squared_error_response squared_error_matrixE !mxE.
  by rewrite -!mulrBr !mulrA.
apply: (@le_trans _ _ (- (mean_square e + ρ ^+ 2 * mean_square (fun i => u i)))).
  by rewrite ler_opp2 mulrCA mulr_natl mulr2n ler_add2r.
rewrite ler_oppl /mean_square !mulr_sumr -sumrN -big_split; apply: ler_sum => i _ /=.
rewrite mulrCA -mulrN mulrCA -mulrDr; apply: ler_wpmul2l => //.
rewrite !mulr_sumr -sumrN -big_split; apply: ler_sum => j _ /=.
have square (a b k r : R) :
    k * a ^+ 2 + r ^+ 2 * (k * b ^+ 2) - - (r * (2 * (k * (a * b)))) = k * (a + r * b) ^+ 2.
  rewrite opprK sqrrD exprMn !mulrDr addrAC; congr (_ + _ + _); last exact: mulrCA.
  by rewrite !(mulrCA r) mulr_natl mulr2n.
by rewrite -subr_ge0 square mulr_ge0 ?sqr_ge0.
Qed.

End FarSquaredError.

(* Eq. (74): many steps in the metric Q = S S^T, such as adapters θ0 + φ S^T. *)
Section MetricSteps.
Variables (R : realType) (p q n m : nat) (X : Type) (l : bregman_loss R n).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 : 'rV[R]_p.+1) (L : 'rV[R]_p.+1 -> R) (S : 'M[R]_(p.+1, q.+1)) (α : R).
Hypothesis f_near : forall i, \forall θ \near θ0, differentiable (f^~ (x i)) θ.
Hypothesis f_cont : forall i k j,
  {for θ0, continuous (fun θ : 'rV[R]_p.+1 => 'D_(basis k) (f^~ (x i)) θ 0 j)}.
Hypothesis L_diff : differentiable L θ0.
Hypotheses (w_ge0 : forall i, 0 <= w i) (α_ge0 : 0 <= α).

Local Notation g := (grad L θ0).
Local Notation F := (gauss_newton f x w θ0 (loss_matrix l)).
Local Notation Q := (S *m S^T).
Local Notation K := (1 - α *: (S^T *m F *m S)).
Local Notation θ_ k := (metric_student_after l f x Q (fun=> α) (fun=> w) θ0
  (teacher θ0 (- (g *m Q))) k).

(* s_k of Eq. (74). *)
Definition metric_fall (k : nat) : R := moment K (g *m S) 0 - moment K (g *m S) k.

Lemma metric_powers k : S^T *m (1 - α *: (F *m Q)) ^+ k = K ^+ k *m S^T.
Proof.
elim: k => [|k IH]; first by rewrite !expr0 mul1mx mulmx1.
rewrite exprSr -[_ * _]/(_ *m _) mulmxA IH exprSr -[K ^+ k * _]/(_ *m _) -!mulmxA.
congr (_ *m _); rewrite mulmxBr mulmxBl mulmx1 mul1mx; congr (_ - _).
by rewrite -scalemxAr -scalemxAl !mulmxA.
Qed.

Theorem metric_steps_loss_expansion k :
  (fun ε => (L (θ_ k ε) - L θ0) / ε) @ 0^' --> - metric_fall k.
Proof.
have [at0 θD] := metric_steps_expansion l Q (fun=> α) (fun=> w)
  (teacher0 θ0 _) (is_diff_line θ0 (- (g *m Q)) 0) f_near f_cont k.
have L_grad : has_grad L (θ_ k 0) g by rewrite at0; exact: has_gradP.
have change : is_diff 0 (fun ε => L (θ_ k ε)) (fun h => h * - metric_fall k).
  apply: is_diff_eqf (is_diff_chain θD L_grad) _ => h.
  rewrite dotZr prodr_const card_ord mulNmx -opprD dotNr dotDr dotNr /metric_fall.
  congr (h * - (_ - _)); first by rewrite moment0 mulmxA dotC dot_mulmx trmxK.
  rewrite /moment (mulmxA g S) -(mulmxA (g *m S)) metric_powers (mulmxA (g *m S)).
  by rewrite dotC dot_mulmx trmxK.
by apply: (quotient_cvg change); rewrite at0.
Qed.

Theorem metric_steps_sign k :
  (forall u, α * dot (u *m (S^T *m F *m S)) u <= 2 * dot u u) -> 0 <= metric_fall k.
Proof.
have F_sym : F^T = F by exact: gauss_newton_sym.
have quad u : dot (u *m (S^T *m F *m S)) u = dot (u *m S^T *m F) (u *m S^T).
  by rewrite !mulmxA [LHS]dot_mulmx.
have K_dot u : dot (u *m K) u = dot u u - α * dot (u *m (S^T *m F *m S)) u.
  by rewrite mulmxBr mulmx1 -scalemxAr dotDl dotNl dotZl.
move=> small; rewrite subr_ge0; apply: moment_le => [|u|u].
- by rewrite linearB /= trmx1 linearZ /= !trmx_mul trmxK F_sym mulmxA.
- rewrite K_dot ger_addl oppr_le0 mulr_ge0 // quad.
  by apply: gauss_newton_ge0.
- by rewrite K_dot -subr_ge0 opprK addrAC -mulr2n -mulr_natl subr_ge0.
Qed.

End MetricSteps.
