(* The one-step theorem, part 5: the final statements, with nothing assumed but
   weights >= 0, differentiability at θ0 and α > 0. They hold for every l of type
   loss (Definitions.v), and Losses.v has these:

     squared_error_loss c_ge0    weighted squared error, for weights c_j >= 0
     cross_entropy_loss S        softmax cross-entropy on the logits in S
     distillation_loss S τ c_ge0 divergence at temperature τ, times a factor c >= 0

   and what loss_add, loss_scale and loss_temperature make of them. Where the weights W(ε) of the
   inputs come from the teacher they are teacher_weights: nonnegative and continuous
   at ε = 0, and W_i(0) = 0 only if W_i is 0 for every ε.

   The words are defined in Definitions.v; README.md has the statements in prose.
   grad, dot: gradient and inner product.  'D_v: derivative along v.
   F @ 0^' --> a: F(ε) tends to a as ε tends to 0, ε <> 0.
   student_step l f x w θ0 v ε: minus the gradient at θ0 of the student's loss
     sum_i w_i l(f_θ(x_i), f_(θ0 + ε v)(x_i)).
   student l f x w θ0 v α ε: θ0 + α student_step l f x w θ0 v ε.
   slope f x w θ0 v M: sum_i w_i u_i M(z_i) u_i^T with u_i = J_i v, z_i = f_θ0(x_i). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From OneStep Require Import Definitions Toolbox OneStep Losses.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

Section Final.
Variables (R : realType) (p n m : nat) (X : Type) (l : loss R n).
(* The network, the inputs with their weights, the common start, the direction of
   the teacher (for the lemma) or the teacher's loss (for the theorem). *)
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 v : 'rV[R]_p.+1) (L_T : 'rV[R]_p.+1 -> R).

Local Notation l_adm := (fun i => loss_admissible l _).

(* Constant weights are the first case of weights that depend on ε. *)
Local Notation w_cont := (fun i => @cst_continuous R R (w i) (0 : R)).

Theorem student_loss_gradient : (forall i, differentiable (f^~ (x i)) θ0) ->
  forall ε, has_grad (student_loss l f x w θ0 v ε) θ0 (- student_step l f x w θ0 v ε).
Proof. by move=> f_diff ε; apply: (student_loss_grad _ f_diff l_adm). Qed.

(* Eq. (11): the whole step is ε B + o(ε), where B = F v and B . v = A. *)
Theorem step_expansion : (forall i, differentiable (f^~ (x i)) θ0) ->
  let B := v *m gauss_newton f x w θ0 (loss_matrix l) in
  is_diff 0 (student_step l f x w θ0 v) (fun h => h *: B) /\
  dot B v = slope f x w θ0 v (loss_matrix l).
Proof.
move=> f_diff; split; first exact: (student_step_diff (W := fun=> w) v f_diff l_adm w_cont).
exact: (gauss_newton_slope (loss_matrix l) v f_diff (fun=> w)).
Qed.

(* Eq. (10). *)
Theorem expansion : (forall i, differentiable (f^~ (x i)) θ0) ->
  (fun ε => dot (student_step l f x w θ0 v ε) v / ε) @ 0^' -->
    slope f x w θ0 v (loss_matrix l).
Proof. move=> f_diff; exact: (expansion_at (W := fun=> w) f_diff l_adm w_cont). Qed.

(* Eq. (12). *)
Theorem dichotomy :
  (forall i, 0 <= w i) -> (forall i, differentiable (f^~ (x i)) θ0) ->
  0 <= slope f x w θ0 v (loss_matrix l) /\
  (slope f x w θ0 v (loss_matrix l) = 0 ->
   forall ε, dot (student_step l f x w θ0 v ε) v = 0).
Proof.
move=> w0 f_diff; split; first exact: (slope_ge0 (W := fun=> w) v l_adm w0).
exact: (dichotomy_at (W := fun=> w) f_diff l_adm w0).
Qed.

(* Eq. (13). *)
Theorem lemma1 :
  (forall i, 0 <= w i) -> (forall i, differentiable (f^~ (x i)) θ0) ->
  (forall ε, dot (student_step l f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d ->
    0 < ε * dot (student_step l f x w θ0 v ε) v.
Proof.
by move=> w0 f_diff; apply: (lemma1_at (W := fun=> w) v f_diff l_adm w_cont w0).
Qed.

(* Eq. (14). *)
Theorem loss_expansion α :
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (fun ε => (L_T (student l f x w θ0 v α ε) - L_T θ0) / ε) @ 0^' -->
    - (α * slope f x w θ0 v (loss_matrix l)).
Proof.
move=> f_diff L_diff v'; have v'E : v' = - (grad L_T θ0 *m 1%:M^T) by rewrite trmx1 mulmx1.
have := loss_expansion_at f_diff l_adm (W := fun=> w) w_cont L_diff v'E (α := α).
by under eq_fun do rewrite mulmx1.
Qed.

(* Eq. (16) with weights as in Eq. (23): data that come from the teacher. *)
Theorem theorem1_teacher_data (W : R -> 'I_m -> R) : teacher_weights W ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step l f x (W ε) θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student l f x (W ε) θ0 v α ε) < L_T θ0.
Proof.
move=> [W0 W_cont W_null] f_diff L_diff v'.
have v'E : v' = - (grad L_T θ0 *m 1%:M^T) by rewrite trmx1 mulmx1.
have [|[d d0 fall]] := theorem1_at f_diff l_adm W_cont W0 W_null L_diff v'E; first by left.
by right; exists d => // ε α εd α0 αε; have := fall ε α εd α0 αε; rewrite mulmx1.
Qed.

(* Eq. (16): one threshold for every learning rate. *)
Theorem theorem1_uniform :
  (forall i, 0 <= w i) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step l f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student l f x w θ0 v α ε) < L_T θ0.
Proof.
move=> w0; apply: (theorem1_teacher_data (W := fun=> w)).
by split=> // i; exact: w_cont.
Qed.

(* Eq. (16) where A > 0. *)
Theorem theorem1_positive :
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  0 < slope f x w θ0 v (loss_matrix l) ->
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student l f x w θ0 v α ε) < L_T θ0.
Proof.
move=> f_diff L_diff v' A0; have v'E : v' = - (grad L_T θ0 *m 1%:M^T) by rewrite trmx1 mulmx1.
have [d d0 fall] := theorem1_positive_at (W := fun=> w) f_diff l_adm w_cont L_diff v'E A0.
by exists d => // ε α εd α0 αε; have := fall ε α εd α0 αε; rewrite mulmx1.
Qed.

(* Eq. (15). *)
Theorem theorem1 α :
  (forall i, 0 <= w i) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 -> 0 < α ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step l f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < ε < d -> L_T (student l f x w θ0 v α ε) < L_T θ0.
Proof.
move=> w0 f_diff L_diff α0.
have [|[d d0 fall]] := theorem1_uniform w0 f_diff L_diff; [by left | right].
exists (Num.min d (d / α)); first by rewrite lt_minr d0 divr_gt0.
move=> ε /andP[ε0]; rewrite lt_minr ltr_pdivl_mulr // mulrC => /andP[εd αεd].
by apply: fall => //; rewrite ε0.
Qed.

End Final.
