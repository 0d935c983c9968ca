(* The one-step theorem, part 1: everything that the final statements mention.
   The equation numbers are those of README.md. Read this file and Final.v;
   the files between them are the proof. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype sequences derive exp.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

(* Vectors are rows: 'rV[R]_p.+1 is R^(p+1), and u 0 j is the coordinate j of u. *)
Section Vectors.
Variables (R : realType) (p : nat).

(* The inner product of two vectors. *)
Definition dot (u v : 'rV[R]_p) : R := \sum_j u 0 j * v 0 j.

(* The k-th vector of the standard basis. *)
Definition basis (k : 'I_p) : 'rV[R]_p := delta_mx 0 k.

End Vectors.

Arguments basis {R p} k.

(* The gradient: the row of the partial derivatives. *)
Definition grad (R : realType) (p : nat) (F : 'rV[R]_p.+1 -> R) (θ : 'rV[R]_p.+1) :
  'rV[R]_p.+1 := \row_k 'D_(basis k) F θ.

(* g is the gradient of F at θ. is_diff θ F df is the library's: F is differentiable
   at θ in the sense of Fréchet, with differential df. *)
Definition has_grad (R : realType) (p : nat) (F : 'rV[R]_p.+1 -> R) (θ g : 'rV[R]_p.+1) :
  Prop := is_diff θ F (dot g).

(* The set-up, Eqs. (1) to (4): a network f, a loss l(output, label), inputs x_i
   with weights w_i, a common start θ0 and the direction v of the teacher. *)
Section SetUp.
Variables (R : realType) (p n m : nat) (X : Type).
Variables (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1).
Variables (x : 'I_m -> X) (w : 'I_m -> R) (θ0 v : 'rV[R]_p.+1).

(* Eq. (1): the teacher's parameters. *)
Definition teacher (ε : R) : 'rV[R]_p.+1 := θ0 + ε *: v.

(* Eqs. (2) and (3): the student's loss on the teacher's outputs. *)
Definition student_loss (ε : R) (θ : 'rV[R]_p.+1) : R :=
  \sum_(i < m) w i * l (f θ (x i)) (f (teacher ε) (x i)).

(* Eq. (4): the student's step is minus the gradient of that loss at θ0 ... *)
Definition student_step (ε : R) : 'rV[R]_p.+1 := - grad (student_loss ε) θ0.

(* ... and the student is found at θ0 + α Δ_S(ε). *)
Definition student (α ε : R) : 'rV[R]_p.+1 := θ0 + α *: student_step ε.

(* Eq. (35): the step in a metric, along the gradient multiplied by the matrix Q. *)
Definition metric_step (Q : 'M[R]_p.+1) (ε : R) : 'rV[R]_p.+1 := student_step ε *m Q.

(* What the network's outputs do on input x when θ moves along v: the vector J_x v. *)
Definition response (z : X) : 'rV[R]_n.+1 := 'D_v (f^~ z) θ0.

(* Eq. (8): the slope A, for a loss with matrix M. *)
Definition slope (M : 'rV[R]_n.+1 -> 'M[R]_n.+1) : R :=
  \sum_(i < m) w i * dot (response (x i) *m M (f θ0 (x i))) (response (x i)).

(* Eq. (34): the matrix F. It acts on rows from the right, and so does the Jacobian:
   response z = v *m jacobian (f^~ z) θ0. *)
Definition gauss_newton (M : 'rV[R]_n.+1 -> 'M[R]_n.+1) : 'M[R]_p.+1 :=
  \sum_(i < m) w i *: (jacobian (f^~ (x i)) θ0 *m M (f θ0 (x i)) *m
    (jacobian (f^~ (x i)) θ0)^T).

End SetUp.

(* What is asked of the loss at the output z of the common start: Eq. (9) but for its last
   condition. G z y is the gradient in the first argument, M z minus the derivative of
   y |-> G z y at y = z. What is to first order only needs no more. *)
Record first_order_at (R : realType) (n : nat) (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R)
  (G : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> 'rV[R]_n.+1) (M : 'rV[R]_n.+1 -> 'M[R]_n.+1)
  (z : 'rV[R]_n.+1) : Prop := FirstOrder {
  loss_gradient : forall y, has_grad (l^~ y) z (G z y);
  gradient_at_label : G z z = 0;
  gradient_in_label : is_diff z (G z) (fun h => - (h *m M z));
  matrix_nonneg : forall u, 0 <= dot (u *m M z) u
}.

(* Eq. (9), all of it: the dichotomy, Lemma 1 and Theorem 1 ask for the last condition too. *)
Record admissible_at (R : realType) (n : nat) (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R)
  (G : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> 'rV[R]_n.+1) (M : 'rV[R]_n.+1 -> 'M[R]_n.+1)
  (z : 'rV[R]_n.+1) : Prop := Admissible {
  admissible_first_order :> first_order_at l G M z;
  matrix_null : forall u, dot (u *m M z) u = 0 -> forall y, dot (G z y) u = 0
}.

(* Eq. (40): a loss whose gradient is a difference r(z) - r(y), at every output. *)
Record bregman_loss (R : realType) (n : nat) := BregmanLoss {
  loss_value :> 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R;
  loss_response : 'rV[R]_n.+1 -> 'rV[R]_n.+1;
  loss_matrix : 'rV[R]_n.+1 -> 'M[R]_n.+1;
  loss_first_order : forall z,
    first_order_at loss_value (fun z y => loss_response z - loss_response y) loss_matrix z;
  loss_matrix_sym : forall z, (loss_matrix z)^T = loss_matrix z
}.

(* Such a loss that is admissible at every output. All losses below are (Losses.v). *)
Record loss (R : realType) (n : nat) := Loss {
  loss_bregman :> bregman_loss R n;
  loss_admissible : forall z, admissible_at loss_bregman
    (fun z y => loss_response loss_bregman z - loss_response loss_bregman y)
    (loss_matrix loss_bregman) z
}.

(* Eq. (23): weights that come from the teacher. *)
Record teacher_weights (R : realType) (m : nat) (W : R -> 'I_m -> R) : Prop := TeacherWeights {
  weights_ge0 : forall i, 0 <= W 0 i;
  weights_cont : forall i, {for 0, continuous (W^~ i)};
  weights_null : forall i, W 0 i = 0 -> forall ε, W ε i = 0
}.

(* The losses, Eqs. (17) to (22). *)
Section Losses.
Variables (R : realType) (n : nat).

(* Eq. (17): squared error with a weight for every output. *)
Definition squared_error (c : 'I_n -> R) (z y : 'rV[R]_n) : R :=
  \sum_j c j * (z 0 j - y 0 j) ^+ 2.

(* Eqs. (18) and (21): softmax over the logits in S ... *)
Definition softmax (S : {set 'I_n}) (z : 'rV[R]_n) (j : 'I_n) : R :=
  expR (z 0 j) / \sum_(k in S) expR (z 0 k).

(* ... and cross-entropy against the labels softmax(y). *)
Definition cross_entropy (S : {set 'I_n}) (z y : 'rV[R]_n) : R :=
  - \sum_(j in S) softmax S y j * ln (softmax S z j).

(* The matrices of the two losses: 2 diag(c), and diag(p) - p^T p for the row p
   of probabilities, with zeros outside S. *)
Definition squared_error_matrix (c : 'I_n -> R) (_ : 'rV[R]_n) : 'M[R]_n :=
  diag_mx (\row_j (2 * c j)).

Definition softmax_row (S : {set 'I_n}) (z : 'rV[R]_n) : 'rV[R]_n :=
  \row_j (if j \in S then softmax S z j else 0).

Definition cross_entropy_matrix (S : {set 'I_n}) (z : 'rV[R]_n) : 'M[R]_n :=
  diag_mx (softmax_row S z) - (softmax_row S z)^T *m softmax_row S z.

(* Eq. (22): Kullback-Leibler divergence at temperature τ, times a factor c. *)
Definition distillation (S : {set 'I_n}) (c τ : R) (z y : 'rV[R]_n) : R :=
  c * \sum_(j in S) softmax S (τ^-1 *: y) j *
    (ln (softmax S (τ^-1 *: y) j) - ln (softmax S (τ^-1 *: z) j)).

Definition distillation_matrix (S : {set 'I_n}) (c τ : R) (z : 'rV[R]_n) : 'M[R]_n :=
  c *: (τ^-1 ^+ 2 *: cross_entropy_matrix S (τ^-1 *: z)).

End Losses.
