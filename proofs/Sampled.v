(* The theorem further, part 5: labels drawn from the teacher's probabilities
   (README.md, section 13). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From mathcomp.analysis Require Import sequences exp.
From OneStep Require Import Definitions Toolbox OneStep Losses.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.

(* Independent draws from finite sets: the value of draw i has the probabilities P i,
   and an outcome a is the list of all values. *)
Section Independent.
Variables (R : realType) (I T : finType) (P : I -> T -> R).

Definition probability (a : {ffun I -> T}) : R := \prod_i P i (a i).

Definition expected (X : {ffun I -> T} -> R) : R := \sum_a probability a * X a.

Hypothesis P_sum : forall i, \sum_t P i t = 1.

Lemma expected_prod (X : I -> T -> R) :
  expected (fun a => \prod_i X i (a i)) = \prod_i \sum_t P i t * X i t.
Proof.
rewrite bigA_distr_bigA; apply: eq_bigr => a _.
by rewrite -big_split.
Qed.

Lemma expectedD X Y : expected (fun a => X a + Y a) = expected X + expected Y.
Proof. by rewrite -big_split; apply: eq_bigr => a _; exact: mulrDr. Qed.

Lemma expectedZ c X : expected (fun a => c * X a) = c * expected X.
Proof. by rewrite mulr_sumr; apply: eq_bigr => a _; exact: mulrCA. Qed.

Lemma expected_sum (J : finType) (X : J -> {ffun I -> T} -> R) :
  expected (fun a => \sum_j X j a) = \sum_j expected (X j).
Proof.
rewrite exchange_big; apply: eq_bigr => a _ /=.
by rewrite mulr_sumr.
Qed.

(* What depends on one draw only. *)
Lemma expected_one i (X : T -> R) : expected (fun a => X (a i)) = \sum_t P i t * X t.
Proof.
have := expected_prod (fun j t => if j == i then X t else 1).
rewrite (bigD1 i) //= eqxx [X in _ * X]big1 ?mulr1 => [<-|j /negbTE ->].
  apply: eq_bigr => a _; congr (_ * _).
  by rewrite (bigD1 i) //= eqxx big1 ?mulr1 // => j /negbTE ->.
by rewrite -[RHS](P_sum j); apply: eq_bigr => t _; rewrite mulr1.
Qed.

Lemma expected_cst c : expected (fun=> c) = c.
Proof.
have -> : expected (fun=> c) = c * expected (fun a => \prod_(i : I) 1).
  by rewrite -expectedZ; apply: eq_bigr => a _; rewrite big1 ?mulr1.
rewrite (expected_prod (fun _ _ => 1)) big1 ?mulr1 // => i _.
by rewrite -[RHS](P_sum i); apply: eq_bigr => t _; rewrite mulr1.
Qed.

(* Two different draws. *)
Lemma expected_two i j (X Y : T -> R) : i != j ->
  expected (fun a => X (a i) * Y (a j)) = (\sum_t P i t * X t) * (\sum_t P j t * Y t).
Proof.
move=> ij; have := expected_prod (fun k t => if k == i then X t else if k == j then Y t else 1).
have ji : (j == i) = false by rewrite eq_sym (negbTE ij).
rewrite (bigD1 i) //= eqxx (bigD1 j) ?ji //= eqxx.
rewrite [X in _ * (_ * X)]big1 ?mulr1 => [<-|k /andP[/negbTE -> /negbTE ->]].
  apply: eq_bigr => a _; congr (_ * _).
  rewrite (bigD1 i) //= eqxx (bigD1 j) ?ji //= eqxx.
  by rewrite big1 ?mulr1 // => k /andP[/negbTE -> /negbTE ->].
by rewrite -[RHS](P_sum k); apply: eq_bigr => t _; rewrite mulr1.
Qed.

(* The variance of a sum of independent terms of mean zero. *)
Lemma expected_square (Y : I -> T -> R) : (forall i, \sum_t P i t * Y i t = 0) ->
  expected (fun a => (\sum_i Y i (a i)) ^+ 2) = \sum_i \sum_t P i t * Y i t ^+ 2.
Proof.
move=> mean0.
have -> : expected (fun a => (\sum_i Y i (a i)) ^+ 2) =
    expected (fun a => \sum_i \sum_j Y i (a i) * Y j (a j)).
  by apply: eq_bigr => a _; rewrite expr2 mulr_suml; congr (_ * _);
    apply: eq_bigr => i _; rewrite mulr_sumr.
rewrite expected_sum; apply: eq_bigr => i _.
rewrite expected_sum (bigD1 i) //= [X in _ + X]big1 ?addr0 => [|j ji].
  by rewrite (expected_one i (fun t => Y i t * Y i t)); apply: eq_bigr => t _; rewrite expr2.
by rewrite (expected_two (Y i) (Y j)) 1?eq_sym // mean0 mul0r.
Qed.

(* Chebyshev's inequality, for the event that a variable of mean μ > 0 is not positive. *)
Hypothesis P_ge0 : forall i t, 0 <= P i t.

Lemma probability_ge0 a : 0 <= probability a.
Proof. by apply: prodr_ge0. Qed.

Lemma chebyshev (X : {ffun I -> T} -> R) μ : 0 < μ ->
  \sum_(a | X a <= 0) probability a <= expected (fun a => (X a - μ) ^+ 2) / μ ^+ 2.
Proof.
move=> μ0; rewrite ler_pdivl_mulr ?exprn_gt0 // mulr_suml big_mkcond.
apply: ler_sum => a _; have pa := probability_ge0 a.
case: ifP => [Xa|_]; last by rewrite mulr_ge0 ?sqr_ge0.
apply: ler_wpmul2l => //; rewrite -[X in _ <= X]sqrrN opprB.
have le : μ <= μ - X a by rewrite ler_addl oppr_ge0.
by rewrite ler_sqr ?nnegrE ?(le_trans (ltW μ0) le) // ltW.
Qed.

Lemma probability_sum : \sum_a probability a = 1.
Proof.
by rewrite -[RHS](expected_cst 1); apply: eq_bigr => a _; rewrite mulr1.
Qed.

End Independent.

(* Mean and variance of X where t has the probability P t, and weighted sums of independent
   draws of X. *)
Section Draws.
Variables (R : realType) (T : finType) (X : T -> R).

Definition mean (P : T -> R) : R := \sum_t P t * X t.
Definition variance (P : T -> R) : R := \sum_t P t * (X t - mean P) ^+ 2.

Lemma sum_chebyshev (I : finType) (P : I -> T -> R) (k : I -> R) (μ : R) :
  (forall i t, 0 <= P i t) -> (forall i, \sum_t P i t = 1) ->
  \sum_i k i * mean (P i) = μ -> 0 < μ ->
  \sum_(a : {ffun I -> T} | \sum_i k i * X (a i) <= 0) probability P a <=
  (\sum_i k i ^+ 2 * variance (P i)) / μ ^+ 2.
Proof.
move=> P_ge0 P_sum <- μ0; apply: le_trans (chebyshev P_ge0 _ μ0) _.
apply: ler_wpmul2r; first by rewrite invr_ge0 sqr_ge0.
pose Y i t := k i * (X t - mean (P i)).
rewrite le_eqVlt; apply/predU1P; left.
transitivity (expected P (fun a => (\sum_i Y i (a i)) ^+ 2)).
  apply: eq_bigr => a _; congr (_ * _ ^+ 2); rewrite -sumrB.
  by apply: eq_bigr => i _; rewrite -mulrBr.
rewrite (expected_square P_sum) => [|i].
  apply: eq_bigr => i _; rewrite mulr_sumr; apply: eq_bigr => t _.
  by rewrite exprMn mulrCA.
rewrite /Y; under eq_bigr do rewrite mulrCA mulrBr.
by rewrite -mulr_sumr sumrB -[X in _ * (_ - X)]mulr_suml P_sum mul1r subrr mulr0.
Qed.

(* The mean of N + 1 equal numbers, and a factor in the denominator. *)
Lemma mean_same N (c : R) : \sum_(s < N.+1) N.+1%:R^-1 * c = c.
Proof. by rewrite sumr_const card_ord -mulr_natl mulVKf ?pnatr_eq0. Qed.

Lemma mean_square_same N (c : R) : \sum_(s < N.+1) N.+1%:R^-1 ^+ 2 * c = N.+1%:R^-1 * c.
Proof. by rewrite -[RHS](mean_same N); apply: eq_bigr => s _; rewrite expr2 mulrA. Qed.

Lemma div_of_mul (a b c : R) : a / (b * c) = b^-1 * a / c.
Proof. by rewrite invfM mulrCA mulrA. Qed.

(* N draws, and their mean. *)
Lemma mean_chebyshev (P : T -> R) N :
  (forall t, 0 <= P t) -> \sum_t P t = 1 -> 0 < mean P ->
  \sum_(a : {ffun 'I_N.+1 -> T} | N.+1%:R^-1 * (\sum_s X (a s)) <= 0) probability (fun=> P) a <=
  variance P / (N.+1%:R * mean P ^+ 2).
Proof.
move=> P_ge0 P_sum μ0; rewrite div_of_mul -mean_square_same.
have event (a : {ffun 'I_N.+1 -> T}) : (N.+1%:R^-1 * (\sum_s X (a s)) <= 0) =
    (\sum_s N.+1%:R^-1 * X (a s) <= 0) by rewrite mulr_sumr.
rewrite (eq_bigl _ _ event).
exact (@sum_chebyshev (ordinal_finType N.+1) (fun=> P) (fun=> N.+1%:R^-1) (mean P)
  (fun=> P_ge0) (fun=> P_sum) (mean_same N (mean P)) μ0).
Qed.

(* N draws from P and N from Q: the chance that the means are not in the order of the
   expectations. *)
Theorem gap_chebyshev (P Q : T -> R) N :
  (forall t, 0 <= P t) -> \sum_t P t = 1 -> (forall t, 0 <= Q t) -> \sum_t Q t = 1 ->
  0 < mean P - mean Q ->
  \sum_(a : {ffun bool * 'I_N.+1 -> T} | N.+1%:R^-1 * (\sum_s X (a (true, s))) <=
      N.+1%:R^-1 * (\sum_s X (a (false, s))))
    probability (fun i => if i.1 then P else Q) a <=
  (variance P + variance Q) / (N.+1%:R * (mean P - mean Q) ^+ 2).
Proof.
move=> P_ge0 P_sum Q_ge0 Q_sum μ0; rewrite div_of_mul mulrDr -!mean_square_same.
pose D (i : bool * 'I_N.+1) := if i.1 then P else Q.
pose k (i : bool * 'I_N.+1) : R := if i.1 then N.+1%:R^-1 else - N.+1%:R^-1.
have pairs (E : bool * 'I_N.+1 -> R) :
    \sum_i E i = \sum_s E (true, s) + \sum_s E (false, s).
  transitivity (\sum_b \sum_s E (b, s)); last by rewrite big_bool.
  by rewrite pair_bigA; apply: eq_bigr => -[].
have means : \sum_i k i * mean (D i) = mean P - mean Q.
  rewrite pairs; congr (_ + _); first exact (mean_same N (mean P)).
  by rewrite -[RHS](mean_same N); apply: eq_bigr => s _; rewrite /k /= mulNr mulrN.
have vars : \sum_i k i ^+ 2 * variance (D i) =
    \sum_(s < N.+1) N.+1%:R^-1 ^+ 2 * variance P + \sum_(s < N.+1) N.+1%:R^-1 ^+ 2 * variance Q.
  by rewrite pairs; congr (_ + _); apply: eq_bigr => s _; rewrite /k /= sqrrN.
have event (a : {ffun bool * 'I_N.+1 -> T}) : (N.+1%:R^-1 * (\sum_s X (a (true, s))) <=
    N.+1%:R^-1 * (\sum_s X (a (false, s)))) = (\sum_i k i * X (a i) <= 0).
  rewrite pairs -subr_le0 !mulr_sumr -sumrN; congr (_ + _ <= _).
  by apply: eq_bigr => s _; rewrite mulNr.
rewrite (eq_bigl _ _ event) -vars.
by apply: sum_chebyshev means μ0 => -[[] s].
Qed.

End Draws.

Section SampledLabels.
Variables (R : realType) (p n m : nat) (X : Type).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 v : 'rV[R]_p.+1) (S : {set 'I_n.+1}).
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.
Hypothesis S_nonempty : S != set0.

(* One label for every input. *)
Local Notation labels := {ffun 'I_m -> 'I_n.+1}.

(* Eq. (48): the cross-entropy on drawn labels, and its step. *)
Definition drawn_loss (a : labels) (θ : 'rV[R]_p.+1) : R :=
  - \sum_i w i * ln (softmax S (f θ (x i)) (a i)).
Definition drawn_step (a : labels) : 'rV[R]_p.+1 := - grad (drawn_loss a) θ0.

(* The probabilities with which the teacher draws: its softmax, zero outside S. *)
Definition label_probability (ε : R) (i : 'I_m) (j : 'I_n.+1) : R :=
  softmax_row S (f (teacher θ0 v ε) (x i)) 0 j.

Local Notation q := (softmax_row S).
Local Notation y ε i := (f (teacher θ0 v ε) (x i)).
Local Notation J i := (jacobian (f^~ (x i)) θ0).
Local Notation Δ ε := (student_step (cross_entropy S) f x w θ0 v ε).

Let step_dot ε u : dot (Δ ε) u =
    - \sum_i w i * dot (q (f θ0 (x i)) - q (y ε i)) (u *m J i) :=
  student_step_dot v f_diff (fun i => cross_entropy_admissible S _) w ε u.

Lemma label_probability_sum ε i : \sum_j label_probability ε i j = 1.
Proof. by rewrite softmax_row_sum S_nonempty. Qed.

Lemma label_probability_ge0 ε i j : 0 <= label_probability ε i j.
Proof. exact: softmax_row_ge0. Qed.

Lemma drawn_step_dot a u : dot (drawn_step a) u =
  \sum_i w i * ((u *m J i) 0 (a i) - dot (q (f θ0 (x i))) (u *m J i)).
Proof.
have /set0Pn[k kS] := S_nonempty.
have term i := is_diff_scale (w i)
  (is_diff_chain (network_diff f_diff i) (ln_softmax_diff _ (a i) kS)).
have loss_diff : is_diff θ0 (drawn_loss a) (fun h => - \sum_i w i *
    ((h *m J i) 0 (a i) - dot (q (f θ0 (x i))) (h *m J i))).
  exact (is_diff_opp (is_diff_sum (index_enum _) (P := xpredT) (fun i _ => term i))).
have [loss_ex _] := loss_diff.
rewrite dotNl -(is_diff_dir u (has_gradP loss_ex)) (is_diff_dir u loss_diff).
by rewrite opprK.
Qed.

Lemma expected_drawn_dot ε u :
  expected (label_probability ε) (fun a => dot (drawn_step a) u) = dot (Δ ε) u.
Proof.
have Psum := label_probability_sum ε.
rewrite [RHS]step_dot -sumrN.
transitivity (\sum_i expected (label_probability ε) (fun a =>
    w i * ((u *m J i) 0 (a i) - dot (q (f θ0 (x i))) (u *m J i)))).
  rewrite -expected_sum; apply: eq_bigr => a _; congr (_ * _); exact: drawn_step_dot.
apply: eq_bigr => i _; rewrite expectedZ expectedD expected_cst //.
rewrite (expected_one Psum i (fun j => (u *m J i) 0 j)) -mulrN.
by rewrite dotDl dotNl opprD opprK addrC.
Qed.

(* Eq. (49): the expected step is the step on the soft labels. *)
Theorem expected_drawn_step ε :
  \sum_a probability (label_probability ε) a *: drawn_step a = Δ ε.
Proof.
apply/rowP => k; rewrite -[RHS]dot_basis -expected_drawn_dot -dot_basis dot_suml.
by apply: eq_bigr => a _; rewrite dotZl.
Qed.

(* Eq. (50). *)
Theorem drawn_step_variance ε :
  expected (label_probability ε) (fun a => (dot (drawn_step a) v - dot (Δ ε) v) ^+ 2) =
  \sum_i w i ^+ 2 * dot (response f θ0 v (x i) *m cross_entropy_matrix S (y ε i))
    (response f θ0 v (x i)).
Proof.
pose Y i j := w i * ((v *m J i) 0 j - dot (q (y ε i)) (v *m J i)).
have gap a : dot (drawn_step a) v - dot (Δ ε) v = \sum_i Y i (a i).
  rewrite [X in X - _]drawn_step_dot [X in _ - X]step_dot opprK -big_split.
  apply: eq_bigr => i _ /=; rewrite -mulrDr.
  by rewrite dotDl dotNl addrA subrK.
transitivity (expected (label_probability ε) (fun a => (\sum_i Y i (a i)) ^+ 2)).
  by apply: eq_bigr => a _; rewrite gap.
rewrite (expected_square (label_probability_sum ε)) => [|i].
  apply: eq_bigr => i _; rewrite responseE // cross_entropy_matrix_variance mulr_sumr.
  by apply: eq_bigr => j _; rewrite /Y exprMn mulrCA.
rewrite /Y; under eq_bigr do rewrite mulrCA mulrBr.
rewrite -mulr_sumr sumrB -[X in _ * (_ - X)]mulr_suml.
by rewrite label_probability_sum mul1r subrr mulr0.
Qed.

(* Eq. (51): the mean of N independent draws of all labels. *)
Theorem drawn_mean_chebyshev ε N : 0 < dot (Δ ε) v ->
  \sum_(draws : {ffun 'I_N.+1 -> labels} |
      N.+1%:R^-1 * (\sum_s dot (drawn_step (draws s)) v) <= 0)
    probability (fun=> probability (label_probability ε)) draws <=
  (\sum_i w i ^+ 2 * dot (response f θ0 v (x i) *m cross_entropy_matrix S (y ε i))
    (response f θ0 v (x i))) / (N.+1%:R * dot (Δ ε) v ^+ 2).
Proof.
pose P := probability (label_probability ε); pose D a := dot (drawn_step a) v.
have mD : mean D P = dot (Δ ε) v := expected_drawn_dot ε v.
have V : variance D P = expected (label_probability ε) (fun a => (D a - dot (Δ ε) v) ^+ 2).
  by rewrite -mD.
have P_ge0 a : 0 <= P a by apply: probability_ge0 => i; exact: label_probability_ge0.
have := mean_chebyshev (X := D) N P_ge0 (probability_sum (label_probability_sum ε)).
by rewrite mD V drawn_step_variance.
Qed.

End SampledLabels.
