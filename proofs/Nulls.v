(* The one-step theorem, part 6: cases where exactly nothing happens
   (README.md, section 8). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.analysis Require Import reals topology normedtype derive.
From mathcomp.analysis Require Import sequences exp.
From OneStep Require Import Definitions Toolbox OneStep Losses.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.

(* The common step: where (r(z) - r(y)) . J_x e_k = 0 on all inputs, θ_k is not moved. *)
Section NoGradient.
Variables (R : realType) (p n m : nat) (X : Type) (l : bregman_loss R n).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 v : 'rV[R]_p.+1).
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.

Local Notation r := (loss_response l).
Local Notation step_dot := (student_step_dot v f_diff (fun i => loss_first_order l _)).

Lemma no_gradient_no_step : (forall z y, r z = r y) ->
  forall ε, student_step l f x w θ0 v ε = 0.
Proof.
move=> r0 ε; apply/rowP => k; rewrite -dot_basis step_dot big1 ?oppr0 ?mxE // => i _.
by rewrite (r0 _ (f (teacher θ0 v ε) (x i))) subrr dot0l mulr0.
Qed.

(* The coordinates of the response are partial derivatives. *)
Lemma response_coord i h j :
  response f θ0 h (x i) 0 j = 'D_h (fun θ => f θ (x i) 0 j) θ0.
Proof.
have coord_j := is_diff_chain (network_diff f_diff i) (is_diff_coord j _).
by rewrite (is_diff_dir h coord_j) responseE.
Qed.

Variable S : {set 'I_n.+1}.
Hypothesis r_outside : forall z y j, j \notin S -> r z 0 j = r y 0 j.

Theorem unseen_parameter k :
  (forall i j, j \in S -> 'D_(basis k) (fun θ => f θ (x i) 0 j) θ0 = 0) ->
  forall ε, student_step l f x w θ0 v ε 0 k = 0.
Proof.
move=> unseen ε; rewrite -dot_basis step_dot big1 ?oppr0 // => i _.
rewrite /dot big1 ?mulr0 // => j _; case: (boolP (j \in S)) => jS.
  have := unseen i j jS; rewrite -response_coord responseE // => ->; exact: mulr0.
by rewrite !mxE (r_outside _ (f (teacher θ0 v ε) (x i)) jS) subrr mul0r.
Qed.

(* What depends on unseen parameters only does not change. *)
Lemma unseen_function (P : {set 'I_p.+1}) (T : Type) (F : 'rV[R]_p.+1 -> T) :
  (forall k, k \in P -> forall i j, j \in S ->
     'D_(basis k) (fun θ => f θ (x i) 0 j) θ0 = 0) ->
  (forall h : 'rV[R]_p.+1, (forall k, k \in P -> h 0 k = 0) -> F (θ0 + h) = F θ0) ->
  forall α ε, F (student l f x w θ0 v α ε) = F θ0.
Proof.
move=> unseen F_P α ε; apply: F_P => k kP.
by rewrite mxE unseen_parameter ?mulr0 //; exact: unseen.
Qed.

End NoGradient.

Section Nulls.
Variables (R : realType) (p n m : nat) (X : Type).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 v : 'rV[R]_p.+1) (S : {set 'I_n.+1}).

(* A single logit has probability one. *)
Lemma softmax_one_logit (z : 'rV[R]_n.+1) j : (#|S| <= 1)%N -> j \in S ->
  softmax S z j = 1.
Proof.
move=> /card_le1_eqP one jS; rewrite /softmax (bigD1 j) //= big1 ?addr0.
  by rewrite divff // gt_eqF // expR_gt0.
by move=> k /andP[kS]; rewrite (one _ _ kS jS) eqxx.
Qed.

Lemma one_logit_response (z y : 'rV[R]_n.+1) : (#|S| <= 1)%N ->
  softmax_row S z = softmax_row S y.
Proof.
move=> one; apply/rowP => j; rewrite !mxE; case: ifP => // jS.
by rewrite !softmax_one_logit.
Qed.

(* Eq. (24): with one logit, or none, softmax gives no gradient at all. *)
Theorem one_logit_cross_entropy :
  (forall i, differentiable (f^~ (x i)) θ0) -> (#|S| <= 1)%N ->
  forall ε, student_step (cross_entropy S) f x w θ0 v ε = 0.
Proof.
move=> f_diff one.
apply: (no_gradient_no_step (l := cross_entropy_loss S) w v f_diff) => z y.
exact: one_logit_response.
Qed.

Theorem one_logit_distillation (c τ : R) : 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) -> (#|S| <= 1)%N ->
  forall ε, student_step (distillation S c τ) f x w θ0 v ε = 0.
Proof.
move=> c0 f_diff one.
apply: (no_gradient_no_step (l := distillation_loss S τ c0) w v f_diff) => z y.
by rewrite /= /distillation_response (one_logit_response _ (τ^-1 *: y)).
Qed.

(* Eq. (25): what depends on unseen parameters only (the teacher's loss, an
   output of the network on some input) is the same before and after the step. *)
Theorem cross_entropy_unseen (P : {set 'I_p.+1}) (T : Type) (F : 'rV[R]_p.+1 -> T) :
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (forall k, k \in P -> forall i j, j \in S ->
     'D_(basis k) (fun θ => f θ (x i) 0 j) θ0 = 0) ->
  (forall h : 'rV[R]_p.+1, (forall k, k \in P -> h 0 k = 0) -> F (θ0 + h) = F θ0) ->
  forall α ε, F (student (cross_entropy S) f x w θ0 v α ε) = F θ0.
Proof.
move=> f_diff.
apply: (unseen_function (l := cross_entropy_loss S) w v f_diff) => z y j jS.
by rewrite !mxE (negbTE jS).
Qed.

Theorem distillation_unseen (c τ : R) (P : {set 'I_p.+1}) (T : Type)
    (F : 'rV[R]_p.+1 -> T) : 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (forall k, k \in P -> forall i j, j \in S ->
     'D_(basis k) (fun θ => f θ (x i) 0 j) θ0 = 0) ->
  (forall h : 'rV[R]_p.+1, (forall k, k \in P -> h 0 k = 0) -> F (θ0 + h) = F θ0) ->
  forall α ε, F (student (distillation S c τ) f x w θ0 v α ε) = F θ0.
Proof.
move=> c0 f_diff.
apply: (unseen_function (l := distillation_loss S τ c0) w v f_diff) => z y j jS.
by rewrite !mxE (negbTE jS).
Qed.

Theorem squared_error_unseen (c : 'I_n.+1 -> R) (P : {set 'I_p.+1}) (T : Type)
    (F : 'rV[R]_p.+1 -> T) : (forall j, 0 <= c j) ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (forall k, k \in P -> forall i j, c j != 0 ->
     'D_(basis k) (fun θ => f θ (x i) 0 j) θ0 = 0) ->
  (forall h : 'rV[R]_p.+1, (forall k, k \in P -> h 0 k = 0) -> F (θ0 + h) = F θ0) ->
  forall α ε, F (student (squared_error c) f x w θ0 v α ε) = F θ0.
Proof.
move=> c0 f_diff unseen.
apply: (unseen_function (l := squared_error_loss c0) (S := [set j | c j != 0]) w v f_diff).
  by move=> z y j; rewrite inE negbK !mxE => /eqP ->; rewrite mulr0 !mul0r.
by move=> k kP i j; rewrite inE; exact: unseen.
Qed.

End Nulls.
