(* The one-step theorem, part 5: the final statements, with nothing assumed but
   weights >= 0, differentiability at θ0 and α > 0. The words used here are
   defined in Definitions.v; README.md has the same statements in prose.

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
Variables (R : realType) (p n m : nat) (X : Type).
(* The network, the inputs with their weights, the common start, the direction of
   the teacher (for the lemma) or the teacher's loss (for the theorem). *)
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 v : 'rV[R]_p.+1) (L_T : 'rV[R]_p.+1 -> R).
(* Inputs that come from the teacher: weights that depend on ε. *)
Variable W : R -> 'I_m -> R.

(* Constant weights are the first case of weights that depend on ε. *)
Let w_cont i : {for (0 : R), continuous (fun=> w i)}.
Proof. exact: cst_continuous. Qed.

Let w_null i : w i = 0 -> R -> w i = 0.
Proof. by []. Qed.

(* Weighted squared error, Eq. (17): sum_j c_j (z_j - y_j)^2. *)
Section SquaredError.
Variable c : 'I_n.+1 -> R.
Local Notation loss := (squared_error c).
Local Notation matrix := (squared_error_matrix c).

Theorem squared_error_expansion :
  (forall i, 0 <= w i) -> (forall j, 0 <= c j) ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (fun ε => dot (student_step loss f x w θ0 v ε) v / ε) @ 0^' -->
    slope f x w θ0 v matrix.
Proof.
move=> w0 c0 f_diff.
exact: (expansion (W := fun=> w) f_diff (fun i => squared_error_admissible c0 _)
  w_cont).
Qed.

Theorem squared_error_dichotomy :
  (forall i, 0 <= w i) -> (forall j, 0 <= c j) ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  0 <= slope f x w θ0 v matrix /\
  (slope f x w θ0 v matrix = 0 ->
   forall ε, dot (student_step loss f x w θ0 v ε) v = 0).
Proof.
move=> w0 c0 f_diff; split.
  exact: (slope_ge0 (W := fun=> w) _ (fun i => squared_error_admissible c0 _) w0).
exact: (dichotomy (W := fun=> w) f_diff (fun i => squared_error_admissible c0 _)
  w0 w_null).
Qed.

Theorem squared_error_lemma1 :
  (forall i, 0 <= w i) -> (forall j, 0 <= c j) ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d ->
    0 < ε * dot (student_step loss f x w θ0 v ε) v.
Proof.
move=> w0 c0 f_diff.
exact: (lemma1 (W := fun=> w) v f_diff (fun i => squared_error_admissible c0 _)
  w0 w_cont w_null).
Qed.

Theorem squared_error_loss_expansion α :
  (forall i, 0 <= w i) -> (forall j, 0 <= c j) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (fun ε => (L_T (student loss f x w θ0 v α ε) - L_T θ0) / ε) @ 0^' -->
    - (α * slope f x w θ0 v matrix).
Proof.
move=> w0 c0 f_diff L_diff.
exact: (loss_expansion (W := fun=> w) f_diff (fun i => squared_error_admissible c0 _)
  w_cont L_diff erefl).
Qed.

Theorem squared_error_theorem1 α :
  (forall i, 0 <= w i) -> (forall j, 0 <= c j) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 -> 0 < α ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < ε < d ->
    L_T (student loss f x w θ0 v α ε) < L_T θ0.
Proof.
move=> w0 c0 f_diff L_diff α0.
exact: (theorem1 (W := fun=> w) f_diff (fun i => squared_error_admissible c0 _)
  w0 w_cont w_null L_diff erefl α0).
Qed.

Theorem squared_error_theorem1_uniform :
  (forall i, 0 <= w i) -> (forall j, 0 <= c j) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student loss f x w θ0 v α ε) < L_T θ0.
Proof.
move=> w0 c0 f_diff L_diff.
exact: (theorem1_uniform (W := fun=> w) f_diff (fun i => squared_error_admissible c0 _)
  w0 w_cont w_null L_diff erefl).
Qed.

Theorem squared_error_theorem1_teacher_data :
  (forall i, 0 <= W 0 i) -> (forall i, {for 0, continuous (W^~ i)}) ->
  (forall i, W 0 i = 0 -> forall ε, W ε i = 0) -> (forall j, 0 <= c j) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x (W ε) θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student loss f x (W ε) θ0 v α ε) < L_T θ0.
Proof.
move=> W0 W_cont W_null c0 f_diff L_diff.
exact: (theorem1_uniform f_diff (fun i => squared_error_admissible c0 _)
  W0 W_cont W_null L_diff erefl).
Qed.

End SquaredError.

(* Softmax cross-entropy on any set S of the logits, Eqs. (18) to (21). *)
Section CrossEntropy.
Variable S : {set 'I_n.+1}.
Local Notation loss := (cross_entropy S).
Local Notation matrix := (cross_entropy_matrix S).

Theorem cross_entropy_expansion :
  (forall i, 0 <= w i) ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (fun ε => dot (student_step loss f x w θ0 v ε) v / ε) @ 0^' -->
    slope f x w θ0 v matrix.
Proof.
move=> w0 f_diff.
exact: (expansion (W := fun=> w) f_diff (fun i => cross_entropy_admissible S _)
  w_cont).
Qed.

Theorem cross_entropy_dichotomy :
  (forall i, 0 <= w i) ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  0 <= slope f x w θ0 v matrix /\
  (slope f x w θ0 v matrix = 0 ->
   forall ε, dot (student_step loss f x w θ0 v ε) v = 0).
Proof.
move=> w0 f_diff; split.
  exact: (slope_ge0 (W := fun=> w) _ (fun i => cross_entropy_admissible S _) w0).
exact: (dichotomy (W := fun=> w) f_diff (fun i => cross_entropy_admissible S _)
  w0 w_null).
Qed.

Theorem cross_entropy_lemma1 :
  (forall i, 0 <= w i) ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d ->
    0 < ε * dot (student_step loss f x w θ0 v ε) v.
Proof.
move=> w0 f_diff.
exact: (lemma1 (W := fun=> w) v f_diff (fun i => cross_entropy_admissible S _)
  w0 w_cont w_null).
Qed.

Theorem cross_entropy_loss_expansion α :
  (forall i, 0 <= w i) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (fun ε => (L_T (student loss f x w θ0 v α ε) - L_T θ0) / ε) @ 0^' -->
    - (α * slope f x w θ0 v matrix).
Proof.
move=> w0 f_diff L_diff.
exact: (loss_expansion (W := fun=> w) f_diff (fun i => cross_entropy_admissible S _)
  w_cont L_diff erefl).
Qed.

Theorem cross_entropy_theorem1 α :
  (forall i, 0 <= w i) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 -> 0 < α ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < ε < d ->
    L_T (student loss f x w θ0 v α ε) < L_T θ0.
Proof.
move=> w0 f_diff L_diff α0.
exact: (theorem1 (W := fun=> w) f_diff (fun i => cross_entropy_admissible S _)
  w0 w_cont w_null L_diff erefl α0).
Qed.

Theorem cross_entropy_theorem1_uniform :
  (forall i, 0 <= w i) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student loss f x w θ0 v α ε) < L_T θ0.
Proof.
move=> w0 f_diff L_diff.
exact: (theorem1_uniform (W := fun=> w) f_diff (fun i => cross_entropy_admissible S _)
  w0 w_cont w_null L_diff erefl).
Qed.

Theorem cross_entropy_theorem1_teacher_data :
  (forall i, 0 <= W 0 i) -> (forall i, {for 0, continuous (W^~ i)}) ->
  (forall i, W 0 i = 0 -> forall ε, W ε i = 0) ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x (W ε) θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student loss f x (W ε) θ0 v α ε) < L_T θ0.
Proof.
move=> W0 W_cont W_null f_diff L_diff.
exact: (theorem1_uniform f_diff (fun i => cross_entropy_admissible S _)
  W0 W_cont W_null L_diff erefl).
Qed.

End CrossEntropy.

(* Kullback-Leibler divergence at temperature τ, with a factor c, Eq. (22). *)
Section Distillation.
Variables (S : {set 'I_n.+1}) (c τ : R).
Local Notation loss := (distillation S c τ).
Local Notation matrix := (distillation_matrix S c τ).

Theorem distillation_expansion :
  (forall i, 0 <= w i) -> 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (fun ε => dot (student_step loss f x w θ0 v ε) v / ε) @ 0^' -->
    slope f x w θ0 v matrix.
Proof.
move=> w0 c0 f_diff.
exact: (expansion (W := fun=> w) f_diff (fun i => distillation_admissible S τ c0 _)
  w_cont).
Qed.

Theorem distillation_dichotomy :
  (forall i, 0 <= w i) -> 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  0 <= slope f x w θ0 v matrix /\
  (slope f x w θ0 v matrix = 0 ->
   forall ε, dot (student_step loss f x w θ0 v ε) v = 0).
Proof.
move=> w0 c0 f_diff; split.
  exact: (slope_ge0 (W := fun=> w) _ (fun i => distillation_admissible S τ c0 _) w0).
exact: (dichotomy (W := fun=> w) f_diff (fun i => distillation_admissible S τ c0 _)
  w0 w_null).
Qed.

Theorem distillation_lemma1 :
  (forall i, 0 <= w i) -> 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) ->
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < `|ε| < d ->
    0 < ε * dot (student_step loss f x w θ0 v ε) v.
Proof.
move=> w0 c0 f_diff.
exact: (lemma1 (W := fun=> w) v f_diff (fun i => distillation_admissible S τ c0 _)
  w0 w_cont w_null).
Qed.

Theorem distillation_loss_expansion α :
  (forall i, 0 <= w i) -> 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (fun ε => (L_T (student loss f x w θ0 v α ε) - L_T θ0) / ε) @ 0^' -->
    - (α * slope f x w θ0 v matrix).
Proof.
move=> w0 c0 f_diff L_diff.
exact: (loss_expansion (W := fun=> w) f_diff (fun i => distillation_admissible S τ c0 _)
  w_cont L_diff erefl).
Qed.

Theorem distillation_theorem1 α :
  (forall i, 0 <= w i) -> 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 -> 0 < α ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε, 0 < ε < d ->
    L_T (student loss f x w θ0 v α ε) < L_T θ0.
Proof.
move=> w0 c0 f_diff L_diff α0.
exact: (theorem1 (W := fun=> w) f_diff (fun i => distillation_admissible S τ c0 _)
  w0 w_cont w_null L_diff erefl α0).
Qed.

Theorem distillation_theorem1_uniform :
  (forall i, 0 <= w i) -> 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x w θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student loss f x w θ0 v α ε) < L_T θ0.
Proof.
move=> w0 c0 f_diff L_diff.
exact: (theorem1_uniform (W := fun=> w) f_diff (fun i => distillation_admissible S τ c0 _)
  w0 w_cont w_null L_diff erefl).
Qed.

Theorem distillation_theorem1_teacher_data :
  (forall i, 0 <= W 0 i) -> (forall i, {for 0, continuous (W^~ i)}) ->
  (forall i, W 0 i = 0 -> forall ε, W ε i = 0) -> 0 <= c ->
  (forall i, differentiable (f^~ (x i)) θ0) -> differentiable L_T θ0 ->
  let v := - grad L_T θ0 in
  (forall ε, dot (student_step loss f x (W ε) θ0 v ε) v = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
    L_T (student loss f x (W ε) θ0 v α ε) < L_T θ0.
Proof.
move=> W0 W_cont W_null c0 f_diff L_diff.
exact: (theorem1_uniform f_diff (fun i => distillation_admissible S τ c0 _)
  W0 W_cont W_null L_diff erefl).
Qed.

End Distillation.

End Final.
