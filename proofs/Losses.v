(* The one-step theorem, part 4: weighted squared error and softmax
   cross-entropy are admissible, and so are the losses made from admissible
   ones (README.md, section 6). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From mathcomp.analysis Require Import sequences exp.
From OneStep Require Import Definitions Toolbox OneStep.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.

Definition admissible_loss (R : realType) (n : nat) (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R) r M
    (l_adm : forall z, admissible_at l (fun z y => r z - r y) M z)
    (M_sym : forall z, (M z)^T = M z) : loss R n :=
  @Loss R n (@BregmanLoss R n l r M (fun z => l_adm z) M_sym) l_adm.

(* Weighted squared error, Eq. (17). *)
Section SquaredError.
Variables (R : realType) (n : nat) (c : 'I_n.+1 -> R).
Hypothesis c_ge0 : forall j, 0 <= c j.
Implicit Types z y h u : 'rV[R]_n.+1.

Definition squared_error_response z : 'rV[R]_n.+1 := \row_j (2 * c j * z 0 j).

Definition squared_error_grad z y := squared_error_response z - squared_error_response y.

Lemma squared_error_gradE z y j : squared_error_grad z y 0 j = 2 * c j * (z 0 j - y 0 j).
Proof. by rewrite !mxE mulrBr. Qed.

Lemma squared_error_matrixE z h :
  h *m squared_error_matrix c z = \row_j (2 * c j * h 0 j).
Proof. by apply/rowP => j; rewrite mul_mx_diag !mxE mulrC. Qed.

Lemma squared_error_has_grad z y :
  has_grad (squared_error c ^~ y) z (squared_error_grad z y).
Proof.
apply: is_diff_sum => j _.
have diff_j : is_diff z (fun t : 'rV[R]_n.+1 => t 0 j - y 0 j) (fun h => h 0 j).
  apply: is_diff_eqf (is_diff_add (is_diff_coord j z) (is_diff_const (- y 0 j) z)) _ => h.
  by rewrite addr0.
apply: is_diff_eqf (is_diff_scale (c j) (is_diff_mul diff_j diff_j)) _ => h.
by rewrite squared_error_gradE -mulr2n -mulr_natl /GRing.scale /= mulrCA !mulrA.
Qed.

Theorem squared_error_admissible z :
  admissible_at (squared_error c) squared_error_grad (squared_error_matrix c) z.
Proof.
have quad u : dot (u *m squared_error_matrix c z) u = \sum_j 2 * c j * u 0 j ^+ 2.
  by rewrite squared_error_matrixE; apply: eq_bigr => j _; rewrite mxE -mulrA -expr2.
have quad_ge0 u j : 0 <= 2 * c j * u 0 j ^+ 2.
  by rewrite mulr_ge0 ?sqr_ge0 // mulr_ge0 // ler0n.
split; first split.
- exact: squared_error_has_grad.
- exact: subrr.
- apply: is_diff_row => j.
  apply: (@is_diff_ext _ _ _ (fun y => 2 * c j * (z 0 j - y 0 j))) => [y|].
    by rewrite squared_error_gradE.
  apply: is_diff_eqf (is_diff_scale (2 * c j)
    (is_diff_add (is_diff_const (z 0 j) z) (is_diff_opp (is_diff_coord j z)))) _ => h.
  by rewrite squared_error_matrixE !mxE add0r /GRing.scale /= mulrN.
- by move=> u; rewrite quad sumr_ge0.
- move=> u; rewrite quad => /eqP; rewrite psumr_eq0 // => /allP terms0 y.
  apply: big1 => j _; have := terms0 j (mem_index_enum j).
  rewrite squared_error_gradE mulf_eq0 sqrf_eq0.
  move=> /orP[] /eqP zero; first by rewrite zero !mul0r.
  by rewrite zero mulr0.
Qed.

Lemma squared_error_matrix_sym z : (squared_error_matrix c z)^T = squared_error_matrix c z.
Proof. exact: tr_diag_mx. Qed.

Definition squared_error_loss : loss R n :=
  admissible_loss squared_error_admissible squared_error_matrix_sym.

End SquaredError.

(* Softmax cross-entropy on the logits in S, Eqs. (18) to (21). *)
Section CrossEntropy.
Variables (R : realType) (n : nat) (S : {set 'I_n.+1}).
Implicit Types z y h u : 'rV[R]_n.+1.

(* The normalising sum. *)
Let Z z := \sum_(k in S) expR (z 0 k).
Let q z := softmax_row S z.

Lemma Z_gt0 z j : j \in S -> 0 < Z z.
Proof.
move=> jS; rewrite /Z (bigD1 j) //= ltr_paddr ?expR_gt0 //.
by apply: sumr_ge0 => k _; rewrite ltW ?expR_gt0.
Qed.

Lemma softmax_gt0 z j : j \in S -> 0 < softmax S z j.
Proof. by move=> jS; rewrite divr_gt0 ?expR_gt0 // (Z_gt0 z jS). Qed.

Lemma softmax_row_ge0 z j : 0 <= q z 0 j.
Proof. by rewrite mxE; case: ifP => // jS; rewrite ltW ?softmax_gt0. Qed.

(* The probabilities add up to one, unless there are none. *)
Lemma softmax_row_sum z : \sum_j q z 0 j = (S != set0)%:R.
Proof.
under eq_bigr => j _ do rewrite mxE.
rewrite -big_mkcond /=; case: (set_0Vmem S) => [S0|[j jS]].
  by rewrite S0 eqxx big1 // => j; rewrite inE.
have -> : S != set0 by apply/set0Pn; exists j.
by rewrite -mulr_suml divff // gt_eqF // (Z_gt0 z jS).
Qed.

(* With another logit no probability is one. *)
Lemma softmax_row_inside z j k : j \in S -> k \in S -> k != j -> 0 < q z 0 j < 1.
Proof.
move=> jS kS kj; rewrite [q z 0 j]mxE jS softmax_gt0 //=.
rewrite /softmax ltr_pdivr_mulr ?(Z_gt0 z jS) // mul1r /Z (bigD1 j) //= ltr_addl.
rewrite (bigD1 k) ?kS //= ltr_paddr ?expR_gt0 //.
by apply: sumr_ge0 => a _; rewrite ltW ?expR_gt0.
Qed.

Lemma ln_softmax z j k : k \in S -> ln (softmax S z j) = z 0 j - ln (Z z).
Proof.
by move=> kS; rewrite ln_div ?expK // posrE ?expR_gt0 // (Z_gt0 z kS).
Qed.

Lemma dot_softmax_row z h : dot (q z) h = \sum_(k in S) softmax S z k * h 0 k.
Proof.
rewrite [RHS]big_mkcond; apply: eq_bigr => k _.
by rewrite mxE; case: ifP; rewrite ?mul0r.
Qed.

(* The logarithm of a probability, and a probability, as functions of the logits; for
   the first S must only be non-empty. *)
Lemma ln_softmax_diff z j k : k \in S ->
  is_diff z (fun t => ln (softmax S t j)) (fun h => h 0 j - dot (q z) h).
Proof.
move=> kS; apply: (@is_diff_ext _ _ _ (fun t : 'rV[R]_n.+1 => t 0 j - ln (Z t))) => [t|].
  by rewrite (ln_softmax t j kS).
have Z_diff : is_diff z Z (fun h => \sum_(i in S) h 0 i * expR (z 0 i)).
  apply: is_diff_sum => i _.
  exact: is_diff_chain (is_diff_coord i z) (is_diff_real (is_derive_expR _)).
have ln_diff := is_diff_real (is_derive1_ln (Z_gt0 z kS)).
apply: is_diff_eqf (is_diff_add (is_diff_coord j z) (is_diff_opp (is_diff_chain Z_diff ln_diff))) _.
move=> h; rewrite dot_softmax_row mulr_suml; congr (_ - _); apply: eq_bigr => i _.
by rewrite -mulrA mulrC.
Qed.

Lemma softmax_diff z j : j \in S ->
  is_diff z (fun t => softmax S t j) (fun h => softmax S z j * (h 0 j - dot (q z) h)).
Proof.
move=> jS.
apply: (@is_diff_ext _ _ _ (fun t => expR (ln (softmax S t j)))) => [t|].
  by rewrite lnK // posrE softmax_gt0.
have := is_diff_chain (ln_softmax_diff z j jS) (is_diff_real (is_derive_expR _)).
by move/is_diff_eqf; apply => h; rewrite lnK ?posrE ?softmax_gt0 // mulrC.
Qed.

Lemma cross_entropy_matrixE z h :
  h *m cross_entropy_matrix S z = \row_j (q z 0 j * (h 0 j - dot (q z) h)).
Proof.
apply/rowP => j; rewrite mulmxBr mulmxA mul_mx_diag !mxE big_ord1 mulrBr.
congr (_ - _); rewrite mulrC //; congr (_ * _); first by rewrite mxE.
by rewrite mxE; apply: eq_bigr => k _; rewrite [_^T _ _]mxE mulrC.
Qed.

Theorem softmax_row_diff z :
  is_diff z q (fun h => h *m cross_entropy_matrix S z).
Proof.
apply: is_diff_row => j; case: (boolP (j \in S)) => jS.
  apply: (@is_diff_ext _ _ _ (fun t => softmax S t j)) => [t|].
    by rewrite mxE jS.
  apply: is_diff_eqf (softmax_diff z jS) _ => h.
  by rewrite cross_entropy_matrixE !mxE jS.
apply: (@is_diff_ext _ _ _ (fun=> 0)) => [t|].
  by rewrite mxE (negbTE jS).
apply: is_diff_eqf (is_diff_const _ _) _ => h.
by rewrite cross_entropy_matrixE !mxE (negbTE jS) mul0r.
Qed.

Definition cross_entropy_grad z y : 'rV[R]_n.+1 := softmax_row S z - softmax_row S y.

(* Eq. (19): the gradient is p(z) - p(y). *)
Theorem cross_entropy_has_grad z y :
  has_grad (cross_entropy S ^~ y) z (cross_entropy_grad z y).
Proof.
have terms := is_diff_sum (index_enum _) (P := mem S)
  (fun j jS => is_diff_scale (softmax S y j) (ln_softmax_diff z j jS)).
apply: is_diff_eqf (is_diff_opp terms) _ => h; rewrite dotDl dotNl (dot_softmax_row y).
under [in LHS]eq_bigr => j _ do rewrite [_ *: _]mulrBr.
rewrite sumrB opprB; congr (_ - _); rewrite -mulr_suml.
have -> : \sum_(j in S) softmax S y j = (S != set0)%:R.
  by rewrite -(softmax_row_sum y) big_mkcond; apply: eq_bigr => j _; rewrite mxE.
case: eqP => [S0|_]; last by rewrite mul1r.
by rewrite mul0r dot_softmax_row big1 // => j; rewrite S0 inE.
Qed.

(* Eq. (20): the matrix is a variance. *)
Theorem cross_entropy_matrix_variance z u :
  dot (u *m cross_entropy_matrix S z) u =
  \sum_j q z 0 j * (u 0 j - dot (q z) u) ^+ 2.
Proof.
rewrite cross_entropy_matrixE; set mean := dot (q z) u.
have centred : mean * (\sum_j q z 0 j * (u 0 j - mean)) = 0.
  under eq_bigr => j _ do rewrite mulrBr.
  rewrite sumrB -mulr_suml softmax_row_sum -/(dot (q z) u) -/mean.
  case: eqP => [S0|_]; last by rewrite mul1r subrr mulr0.
  by rewrite /mean dot_softmax_row big1 ?mul0r // => j; rewrite S0 inE.
rewrite -[RHS]addr0 -[X in _ = _ + X]centred mulr_sumr -big_split; apply: eq_bigr => j _ /=.
by rewrite mxE expr2 [mean * _]mulrCA -mulrDr -mulrDl subrK -mulrA (mulrC (u 0 j)).
Qed.

Theorem cross_entropy_admissible z :
  admissible_at (cross_entropy S) cross_entropy_grad (cross_entropy_matrix S) z.
Proof.
have term_ge0 u j : 0 <= q z 0 j * (u 0 j - dot (q z) u) ^+ 2.
  by rewrite mulr_ge0 ?softmax_row_ge0 ?sqr_ge0.
split; first split.
- exact: cross_entropy_has_grad.
- exact: subrr.
- apply: is_diff_eqf (is_diff_add (is_diff_const (q z) z) (is_diff_opp (softmax_row_diff z))) _.
  by move=> h; rewrite add0r.
- by move=> u; rewrite cross_entropy_matrix_variance sumr_ge0.
- move=> u; rewrite cross_entropy_matrix_variance => /eqP.
  rewrite psumr_eq0 // => /allP terms0 y.
  (* on S every u_j is the mean, and outside S the gradient is zero *)
  rewrite /dot; under eq_bigr => j _.
    rewrite (_ : _ * _ = (q z 0 j - q y 0 j) * dot (q z) u); last first.
      rewrite /cross_entropy_grad !mxE; case: ifP => jS; last by rewrite subrr !mul0r.
      have := terms0 j (mem_index_enum j); rewrite mulf_eq0 sqrf_eq0 mxE jS.
      by rewrite gt_eqF ?softmax_gt0 //= subr_eq0 => /eqP ->.
  over.
  by rewrite -mulr_suml sumrB !softmax_row_sum subrr mul0r.
Qed.

Lemma cross_entropy_matrix_sym z : (cross_entropy_matrix S z)^T = cross_entropy_matrix S z.
Proof. by rewrite linearB /= tr_diag_mx trmx_mul trmxK. Qed.

Definition cross_entropy_loss : loss R n :=
  admissible_loss cross_entropy_admissible cross_entropy_matrix_sym.

End CrossEntropy.

Arguments cross_entropy_loss {R n} S.

(* What may be done to admissible losses: sums, factors >= 0, a temperature, and
   terms that depend on the label only. *)
Section Rules.
Variables (R : realType) (n : nat).
Implicit Types (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R) (z y h u : 'rV[R]_n.+1).
Implicit Types (G : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> 'rV[R]_n.+1).
Implicit Types (M : 'rV[R]_n.+1 -> 'M[R]_n.+1).

Theorem admissible_add l1 l2 G1 G2 M1 M2 z :
  admissible_at l1 G1 M1 z -> admissible_at l2 G2 M2 z ->
  admissible_at (fun t y => l1 t y + l2 t y) (fun t y => G1 t y + G2 t y)
    (fun t => M1 t + M2 t) z.
Proof.
move=> [[grad1 self1 label1 ge1] null1] [[grad2 self2 label2 ge2] null2].
have quad u : dot (u *m (M1 z + M2 z)) u = dot (u *m M1 z) u + dot (u *m M2 z) u.
  by rewrite mulmxDr dotDl.
split; first split.
- by move=> y; apply: is_diff_eqf (is_diff_add (grad1 y) (grad2 y)) _ => h; rewrite dotDl.
- by rewrite self1 self2 addr0.
- by apply: is_diff_eqf (is_diff_add label1 label2) _ => h; rewrite mulmxDr opprD.
- by move=> u; rewrite quad addr_ge0.
- move=> u; rewrite quad => /eqP; rewrite paddr_eq0 // => /andP[/eqP u1 /eqP u2] y.
  by rewrite dotDl null1 // null2 // addr0.
Qed.

Theorem admissible_scale (c : R) l G M z : 0 <= c -> admissible_at l G M z ->
  admissible_at (fun t y => c * l t y) (fun t y => c *: G t y) (fun t => c *: M t) z.
Proof.
move=> c0 [[grad_z self label ge0] null].
have quad u : dot (u *m (c *: M z)) u = c * dot (u *m M z) u.
  by rewrite -scalemxAr dotZl.
split; first split.
- by move=> y; apply: is_diff_eqf (is_diff_scale c (grad_z y)) _ => h; rewrite dotZl.
- by rewrite self scaler0.
- by apply: is_diff_eqf (is_diff_scale c label) _ => h; rewrite scalerN scalemxAr.
- by move=> u; rewrite quad mulr_ge0.
- move=> u; rewrite quad => /eqP; rewrite mulf_eq0 => /orP[] /eqP zero y.
    by rewrite zero scale0r dot0l.
  by rewrite dotZl null ?mulr0.
Qed.

Theorem admissible_label_term (k : 'rV[R]_n.+1 -> R) l G M z :
  admissible_at l G M z -> admissible_at (fun t y => l t y + k y) G M z.
Proof.
move=> [[grad_z self label ge0] null]; split; [split|] => //.
move=> y; apply: is_diff_eqf (is_diff_add (grad_z y) (is_diff_const (k y) z)) _ => h.
by rewrite addr0.
Qed.

(* Output and label divided by a temperature: b is 1/τ. *)
Theorem admissible_temperature (b : R) l G M z : admissible_at l G M (b *: z) ->
  admissible_at (fun t y => l (b *: t) (b *: y)) (fun t y => b *: G (b *: t) (b *: y))
    (fun t => b ^+ 2 *: M (b *: t)) z.
Proof.
move=> [[grad_z self label ge0] null].
have scaling : is_diff z (fun t : 'rV[R]_n.+1 => b *: t) (fun h => b *: h).
  exact: is_diff_scale (is_diff_id z).
have quad u : dot (u *m (b ^+ 2 *: M (b *: z))) u = b ^+ 2 * dot (u *m M (b *: z)) u.
  by rewrite -scalemxAr dotZl.
split; first split.
- move=> y; apply: is_diff_eqf (is_diff_chain scaling (grad_z (b *: y))) _ => h.
  by rewrite dotZl dotZr.
- by rewrite self scaler0.
- apply: is_diff_eqf (is_diff_scale b (is_diff_chain scaling label)) _ => h.
  by rewrite scalerN -scalemxAl scalerA scalemxAr -expr2.
- by move=> u; rewrite quad mulr_ge0 ?sqr_ge0.
- move=> u; rewrite quad => /eqP; rewrite mulf_eq0 sqrf_eq0 => /orP[] /eqP zero y.
    by rewrite zero scale0r dot0l.
  by rewrite dotZl null ?mulr0.
Qed.

End Rules.

(* The same rules for the type loss, which is what the final statements are about. *)
Section LossRules.
Variables (R : realType) (n : nat).
Implicit Types l : loss R n.

Lemma admissible_eq_grad (l : 'rV[R]_n.+1 -> 'rV[R]_n.+1 -> R) G H M z :
  (forall t y, G t y = H t y) -> admissible_at l G M z -> admissible_at l H M z.
Proof. by move=> GH; have -> : H = G by apply/funext => t; apply/funext => y. Qed.

Definition loss_add l1 l2 : loss R n.
apply: (@admissible_loss R n (fun z y => l1 z y + l2 z y)
  (fun z => loss_response l1 z + loss_response l2 z)
  (fun z => loss_matrix l1 z + loss_matrix l2 z)) => z.
  apply: admissible_eq_grad (admissible_add (loss_admissible l1 z) (loss_admissible l2 z)).
  by move=> t y; rewrite opprD addrACA.
by rewrite linearD /= !loss_matrix_sym.
Defined.

Definition loss_scale (c : R) l : 0 <= c -> loss R n.
move=> c0; apply: (@admissible_loss R n (fun z y => c * l z y)
  (fun z => c *: loss_response l z) (fun z => c *: loss_matrix l z)) => z.
  apply: admissible_eq_grad (admissible_scale c0 (loss_admissible l z)).
  by move=> t y; rewrite scalerBr.
by rewrite linearZ /= loss_matrix_sym.
Defined.

Definition loss_temperature (b : R) l : loss R n.
apply: (@admissible_loss R n (fun z y => l (b *: z) (b *: y))
  (fun z => b *: loss_response l (b *: z)) (fun z => b ^+ 2 *: loss_matrix l (b *: z))) => z.
  apply: admissible_eq_grad (admissible_temperature (loss_admissible l (b *: z))).
  by move=> t y; rewrite scalerBr.
by rewrite linearZ /= loss_matrix_sym.
Defined.

End LossRules.

(* Kullback-Leibler divergence from the teacher's softmax to the student's,
   with a temperature and a factor: cross-entropy up to a term in the label. *)
Section Distillation.
Variables (R : realType) (n : nat) (S : {set 'I_n.+1}) (c τ : R).
Hypothesis c_ge0 : 0 <= c.

Definition distillation_response (z : 'rV[R]_n.+1) : 'rV[R]_n.+1 :=
  c *: (τ^-1 *: softmax_row S (τ^-1 *: z)).

Definition distillation_grad z y := distillation_response z - distillation_response y.

Lemma distillation_gradE z y :
  distillation_grad z y = c *: (τ^-1 *: cross_entropy_grad S (τ^-1 *: z) (τ^-1 *: y)).
Proof. by rewrite /distillation_grad -!scalerBr. Qed.

Theorem distillation_admissible z :
  admissible_at (distillation S c τ) distillation_grad (distillation_matrix S c τ) z.
Proof.
have -> : distillation S c τ = fun z y => c * (cross_entropy S (τ^-1 *: z) (τ^-1 *: y) +
    \sum_(j in S) softmax S (τ^-1 *: y) j * ln (softmax S (τ^-1 *: y) j)).
  apply/funext => t; apply/funext => y; congr (_ * _).
  rewrite addrC -sumrB; apply: eq_bigr => j _; exact: mulrBr.
have -> : distillation_grad = fun z y =>
    c *: (τ^-1 *: cross_entropy_grad S (τ^-1 *: z) (τ^-1 *: y)).
  by apply/funext => t; apply/funext => y; exact: distillation_gradE.
apply: (admissible_scale c_ge0).
apply: (@admissible_label_term _ _ (fun y =>
  \sum_(j in S) softmax S (τ^-1 *: y) j * ln (softmax S (τ^-1 *: y) j))).
exact/admissible_temperature/cross_entropy_admissible.
Qed.

Lemma distillation_matrix_sym z : (distillation_matrix S c τ z)^T = distillation_matrix S c τ z.
Proof. by rewrite !linearZ /= cross_entropy_matrix_sym. Qed.

Definition distillation_loss : loss R n :=
  admissible_loss distillation_admissible distillation_matrix_sym.

End Distillation.
