(* The theorem further, part 4: one hidden layer of tanh units meets the assumptions
   at every θ0 (README.md, section 10). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From mathcomp.analysis Require Import sequences exp.
From OneStep Require Import Definitions Toolbox OneStep Losses Final ManySteps.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

(* Functions with a continuous gradient: closed under what a network does. *)
Section Smooth.
Variables (R : realType) (p : nat).
Implicit Types (F G : 'rV[R]_p.+1 -> R).

Definition smooth F := exists2 dF : 'rV[R]_p.+1 -> 'rV[R]_p.+1,
  (forall a, has_grad F a (dF a)) & continuous dF.

Lemma smooth_continuous F : smooth F -> continuous F.
Proof. by move=> [dF Fd _] a; have [? _] := Fd a; exact: differentiable_continuous. Qed.

Lemma smooth_cst c : smooth (fun=> c).
Proof.
exists (fun=> 0) => [a|]; last exact: cst_continuous.
by apply: is_diff_eqf (is_diff_const c a) _ => h; rewrite dot0l.
Qed.

Lemma smooth_coord j : smooth (fun θ => θ 0 j).
Proof.
exists (fun=> basis j) => [a|]; last exact: cst_continuous.
by apply: is_diff_eqf (is_diff_coord j a) _ => h; rewrite dotC dot_basis.
Qed.

Lemma smooth_add F G : smooth F -> smooth G -> smooth (fun θ => F θ + G θ).
Proof.
move=> [dF Fd Fc] [dG Gd Gc]; exists (fun θ => dF θ + dG θ) => a; last exact: cvgD (Fc a) (Gc a).
by apply: is_diff_eqf (is_diff_add (Fd a) (Gd a)) _ => h; rewrite dotDl.
Qed.

Lemma smooth_mul F G : smooth F -> smooth G -> smooth (fun θ => F θ * G θ).
Proof.
move=> Fs Gs; have Fc := smooth_continuous Fs; have Gc := smooth_continuous Gs.
move: Fs Gs => [dF Fd dFc] [dG Gd dGc]; exists (fun θ => F θ *: dG θ + G θ *: dF θ) => a.
  by apply: is_diff_eqf (is_diff_mul (Fd a) (Gd a)) _ => h; rewrite dotDl !dotZl.
exact: cvgD (cvgZ (Fc a) (dGc a)) (cvgZ (Gc a) (dFc a)).
Qed.

Lemma smooth_sum (I : Type) (r : seq I) (F : I -> 'rV[R]_p.+1 -> R) :
  (forall i, smooth (F i)) -> smooth (fun θ => \sum_(i <- r) F i θ).
Proof.
move=> Fs; elim: r => [|i r IH].
  by rewrite (_ : (fun _ => _) = fun=> 0); [exact: smooth_cst | apply/funext => θ; rewrite big_nil].
rewrite (_ : (fun _ => _) = fun θ => F i θ + \sum_(i <- r) F i θ); first exact: smooth_add.
by apply/funext => θ; rewrite big_cons.
Qed.

Lemma smooth_comp (σ dσ : R -> R) F : (forall t, is_diff t σ (fun h => h * dσ t)) ->
  continuous dσ -> smooth F -> smooth (fun θ => σ (F θ)).
Proof.
move=> σd σc Fs; have Fc := smooth_continuous Fs.
move: Fs => [dF Fd dFc]; exists (fun θ => dσ (F θ) *: dF θ) => a.
  apply: is_diff_eqf (is_diff_chain (Fd a) (σd (F a))) _ => h.
  by rewrite dotZl mulrC.
apply: cvgZ (dFc a).
exact: (continuous_comp (Fc a) (σc (F a))).
Qed.

End Smooth.

Lemma eq_continuous (S T : topologicalType) (f g : S -> T) :
  (forall t, f t = g t) -> continuous f -> continuous g.
Proof. by move=> /funext ->. Qed.

(* A map with smooth coordinates has what section 12 asks for. *)
Section SmoothMaps.
Variables (R : realType) (p n : nat) (F : 'rV[R]_p.+1 -> 'rV[R]_n.+1).
Hypothesis F_smooth : forall j, smooth (fun θ => F θ 0 j).

Lemma smooth_differentiable θ : differentiable F θ.
Proof.
suff [] : is_diff θ F (fun h => \row_j 'd (fun θ => F θ 0 j) θ h) by [].
apply: is_diff_row => j; have [dF Fd _] := F_smooth j; have [Fj _] := Fd θ.
by apply: is_diff_eqf (differentiableP Fj) _ => h; rewrite mxE.
Qed.

Lemma smooth_partial k j : continuous (fun θ => 'D_(basis k) F θ 0 j).
Proof.
have [dF Fd dFc] := F_smooth j.
have partial θ : 'D_(basis k) F θ 0 j = dF θ 0 k.
  have F1 := differentiableP (@smooth_differentiable θ).
  have := is_diff_dir (basis k) (is_diff_chain F1 (is_diff_coord j _)).
  by rewrite (is_diff_dir _ (Fd θ)) dot_basis (is_diff_dir _ F1).
apply: (@eq_continuous _ _ (fun θ => dF θ 0 k)) => [θ|a]; first by rewrite partial.
apply: (@cvg_comp _ _ _ dF (fun u : 'rV[R]_p.+1 => u 0 k) _ _ _ (dFc a)).
exact: (smooth_continuous (@smooth_coord R p k) (x := dF a)).
Qed.

End SmoothMaps.

Section Tanh.
Variable R : realType.

(* (e^t - e^-t) / (e^t + e^-t), with e^-2t written once. *)
Definition tanh (t : R) : R := 1 - 2 / (expR (2 * t) + 1).

Lemma tanh_diff t : is_diff t tanh (fun h => h * (1 - tanh t ^+ 2)).
Proof.
have E0 s : 0 < expR (2 * s) + 1 :> R by rewrite addr_gt0 ?expR_gt0 ?ltr01.
have two_diff : is_diff t (fun s : R => 2 * s) (fun h => 2 * h).
  exact: (is_diff_scale 2 (is_diff_id t)).
have exp_diff := is_diff_chain two_diff (is_diff_real (is_derive_expR (2 * t))).
have E_diff := is_diff_add exp_diff (is_diff_const 1 t).
have ln_diff := is_diff_chain E_diff (is_diff_real (is_derive1_ln (E0 t))).
have inv_diff := is_diff_chain (is_diff_opp ln_diff) (is_diff_real (is_derive_expR _)).
have whole := is_diff_add (is_diff_const 1 t) (is_diff_opp (is_diff_scale 2 inv_diff)).
have inv s : expR (- ln (expR (2 * s) + 1)) = (expR (2 * s) + 1)^-1 :> R.
  by rewrite expRN lnK // posrE.
apply: is_diff_ext (is_diff_eqf whole _) => [s|h]; first by rewrite inv.
rewrite inv /tanh; set a := expR (2 * t); set I := (a + 1)^-1.
have aI : a * I = 1 - I.
  by rewrite -[X in X - _](mulfV (lt0r_neq0 (E0 t))) -/a -/I mulrDl mul1r addrK.
have -> : 1 - (1 - 2 * I) ^+ 2 = 2 * I * (2 * (a * I)).
  rewrite -{1}(expr1n R 2) subr_sqr opprB addrC subrK; congr (_ * _).
  by rewrite aI mulrBr mulr1 addrA -(natrD R 1 1).
rewrite add0r addr0 mulNr scalerN opprK /GRing.scale /= !mulrA.
by rewrite (mulrC h 2) (mulrAC _ I 2) (mulrAC _ I a) (mulrAC 2 h 2).
Qed.

Lemma tanh_slope_continuous : continuous (fun t => 1 - tanh t ^+ 2).
Proof.
move=> t; have [ex _] := is_diff_add (is_diff_const 1 t)
  (is_diff_opp (is_diff_mul (tanh_diff t) (tanh_diff t))).
exact: differentiable_continuous ex.
Qed.

End Tanh.

(* Eq. (32): d inputs, h hidden units, n + 1 outputs. The parameters are, in this order,
   the output biases, the hidden biases, the weights of layer one, those of layer two. *)
Section TanhNetwork.
Variables (R : realType) (d h n : nat).

Local Notation size := (n + (h + (h * d + n.+1 * h))).+1.
Local Notation parameters := 'rV[R]_size.

Definition output_bias (j : 'I_n.+1) : 'I_size :=
  @lshift n.+1 _ j.
Definition hidden_bias (i : 'I_h) : 'I_size :=
  @rshift n.+1 _ (lshift _ i).
Definition first_weight (i : 'I_h) (a : 'I_d) : 'I_size :=
  @rshift n.+1 _ (rshift _ (lshift _ (mxvec_index i a))).
Definition second_weight (j : 'I_n.+1) (i : 'I_h) : 'I_size :=
  @rshift n.+1 _ (rshift _ (rshift _ (mxvec_index j i))).

Definition tanh_network (θ : parameters) (z : 'rV[R]_d) : 'rV[R]_n.+1 :=
  \row_j (θ 0 (output_bias j) + \sum_i θ 0 (second_weight j i) *
    tanh (θ 0 (hidden_bias i) + \sum_a θ 0 (first_weight i a) * z 0 a)).

Lemma tanh_network_smooth z j : smooth (fun θ => tanh_network θ z 0 j).
Proof.
rewrite (_ : (fun _ => _) = fun θ : parameters => θ 0 (output_bias j) +
    \sum_i θ 0 (second_weight j i) *
    tanh (θ 0 (hidden_bias i) + \sum_a θ 0 (first_weight i a) * z 0 a)); last first.
  by apply/funext => θ; rewrite mxE.
apply: smooth_add; first exact: smooth_coord.
apply: smooth_sum => i; apply: smooth_mul; first exact: smooth_coord.
apply: (smooth_comp (@tanh_diff R) (@tanh_slope_continuous R)).
apply: smooth_add; first exact: smooth_coord.
by apply: smooth_sum => a; apply: smooth_mul; [exact: smooth_coord | exact: smooth_cst].
Qed.

(* What sections 1 and 12 ask of a network, at every θ0. *)
Lemma tanh_network_differentiable z θ : differentiable (tanh_network^~ z) θ.
Proof. by apply: smooth_differentiable => j; exact: tanh_network_smooth. Qed.

Lemma tanh_network_near z (θ0 : parameters) :
  \forall θ \near θ0, differentiable (tanh_network^~ z) θ.
Proof.
exact: (filterE (nbhs_filter θ0) (fun θ => @tanh_network_differentiable z θ)).
Qed.

Lemma tanh_network_partial z θ0 k j :
  {for θ0, continuous (fun θ : parameters => 'D_(basis k) (tanh_network^~ z) θ 0 j)}.
Proof. by apply: smooth_partial => i; exact: tanh_network_smooth. Qed.

Variables (m : nat) (l : loss R n) (b : bregman_loss R n) (x : 'I_m -> 'rV[R]_d).
Variables (w : 'I_m -> R) (θ0 v : parameters).

(* A teacher's loss: weighted cross-entropy on class labels, on the logits in C. *)
Variables (m_T : nat) (C : {set 'I_n.+1}) (x_T : 'I_m_T -> 'rV[R]_d) (w_T : 'I_m_T -> R).
Variable class : 'I_m_T -> 'I_n.+1.

Definition class_loss (θ : parameters) : R :=
  - \sum_i w_T i * ln (softmax C (tanh_network θ (x_T i)) (class i)).

Lemma class_loss_differentiable θ : (forall i, class i \in C) -> differentiable class_loss θ.
Proof.
move=> classC; suff [] : is_diff θ class_loss (fun h => - \sum_i w_T i *
    ('d (tanh_network^~ (x_T i)) θ h 0 (class i) -
     dot (softmax_row C (tanh_network θ (x_T i))) ('d (tanh_network^~ (x_T i)) θ h))) by [].
have net i := differentiableP (@tanh_network_differentiable (x_T i) θ).
have term i := is_diff_scale (w_T i)
  (is_diff_chain (net i) (ln_softmax_diff _ (class i) (classC i))).
exact (is_diff_opp (is_diff_sum (index_enum _) (P := xpredT) (fun i _ => term i))).
Qed.

Theorem tanh_lemma1 : (forall i, 0 <= w i) ->
  (forall ε, dot (student_step l tanh_network x w θ0 v ε) v = 0) \/
  exists2 δ, 0 < δ & forall ε, 0 < `|ε| < δ ->
    0 < ε * dot (student_step l tanh_network x w θ0 v ε) v.
Proof. by move=> w0; apply: lemma1 => // i; exact: tanh_network_differentiable. Qed.

Theorem tanh_theorem1 : (forall i, 0 <= w i) -> (forall i, class i \in C) ->
  let v := - grad class_loss θ0 in
  (forall ε, dot (student_step l tanh_network x w θ0 v ε) v = 0) \/
  exists2 δ, 0 < δ & forall ε α, 0 < ε < δ -> 0 < α -> α * ε < δ ->
    class_loss (student l tanh_network x w θ0 v α ε) < class_loss θ0.
Proof.
move=> w0 classC; apply: theorem1_uniform => // [i|]; first exact: tanh_network_differentiable.
exact: class_loss_differentiable.
Qed.

(* Many steps, Eqs. (41) to (44) and (46). *)
Local Notation F w := (gauss_newton tanh_network x w θ0 (loss_matrix b)).
Local Notation s α w k := (fall b tanh_network x θ0 class_loss α w k).
Let near i := @tanh_network_near (x i) θ0.
Let partial i := @tanh_network_partial (x i) θ0.

Theorem tanh_many_steps α k :
  is_diff 0 (student_after b tanh_network x (fun=> α) (fun=> w) θ0 v k)
  (fun h => h *: (v - v *m (1 - α *: F w) ^+ k)).
Proof.
have [_] := many_steps_expansion b (fun=> α) (fun=> w) v near partial k.
by rewrite prodr_const card_ord.
Qed.

Theorem tanh_many_steps_loss α k : (forall i, class i \in C) ->
  (fun ε => (class_loss (student_after b tanh_network x (fun=> α) (fun=> w) θ0
    (- grad class_loss θ0) k ε) - class_loss θ0) / ε) @ 0^' --> - s (fun=> α) (fun=> w) k.
Proof.
move=> /(class_loss_differentiable θ0) L_diff.
exact: (many_steps_loss_expansion near partial L_diff).
Qed.

Theorem tanh_many_steps_sign α k : 0 <= α -> (forall i, 0 <= w i) ->
  (forall u, α * dot (u *m F w) u <= 2 * dot u u) -> 0 <= s (fun=> α) (fun=> w) k.
Proof. by move=> α0 w0 small; apply: many_steps_sign. Qed.

Theorem tanh_many_steps_strict α k : 0 < α -> (forall i, 0 <= w i) ->
  (forall u, u != 0 -> α * dot (u *m F w) u < 2 * dot u u) ->
  0 < dot (grad class_loss θ0 *m F w) (grad class_loss θ0) -> 0 < s (fun=> α) (fun=> w) k.+1.
Proof. by move=> α0 w0 small gFg; apply: many_steps_strict => //; exact: ltW. Qed.

Theorem tanh_many_steps_odd α k : 0 <= α -> (forall i, 0 <= w i) -> odd k ->
  2^-1 * (α * dot (grad class_loss θ0 *m F w) (grad class_loss θ0)) <= s (fun=> α) (fun=> w) k.
Proof. by move=> α0 w0 k_odd; apply: many_steps_odd. Qed.

Theorem tanh_changing_steps_sign α ws k :
  (forall j, 0 <= α j) -> (forall j i, 0 <= ws j i) ->
  (forall j u, α j * dot (u *m F (ws j)) u <= 2 * dot u u) -> 0 <= s α ws k.
Proof. by move=> α0 w0 small; apply: changing_steps_sign. Qed.

Theorem tanh_many_steps_theorem1 α k : 0 < α -> (forall i, 0 <= w i) ->
  (forall i, class i \in C) -> (forall u, u != 0 -> α * dot (u *m F w) u < 2 * dot u u) ->
  0 < slope tanh_network x w θ0 (- grad class_loss θ0) (loss_matrix b) ->
  exists2 δ, 0 < δ & forall ε, 0 < ε < δ ->
    class_loss (student_after b tanh_network x (fun=> α) (fun=> w) θ0
      (- grad class_loss θ0) k.+1 ε) < class_loss θ0.
Proof.
move=> α0 w0 /(class_loss_differentiable θ0) L_diff small A0.
by apply: many_steps_theorem1 => //; exact: ltW.
Qed.

(* Eq. (33): along an output bias the slope is positive. *)
Lemma output_bias_shift θ z j t :
  tanh_network (θ + t *: basis (output_bias j)) z = tanh_network θ z + t *: basis j.
Proof.
have other (k : 'I_(h + (h * d + n.+1 * h))) : (@rshift n.+1 _ k == output_bias j) = false.
  exact: eq_rlshift.
have bias i : (output_bias i == output_bias j) = (i == j) by exact: eq_lshift.
have entry k : (θ + t *: basis (output_bias j)) 0 k = θ 0 k + t * (k == output_bias j)%:R.
  by rewrite !mxE eqxx.
have shift i : (tanh_network θ z + t *: basis j) 0 i = tanh_network θ z 0 i + t * (i == j)%:R.
  by rewrite !mxE eqxx.
apply/rowP => i; rewrite shift [LHS]mxE [tanh_network θ z 0 i]mxE entry bias addrAC.
congr (_ + _ + _).
apply: eq_bigr => k _; rewrite !entry !other !mulr0 !addr0; congr (_ * tanh (_ + _)).
by apply: eq_bigr => a _; rewrite entry other mulr0 addr0.
Qed.

Lemma response_bias z j : response tanh_network θ0 (basis (output_bias j)) z = basis j.
Proof.
pose path t := θ0 + t *: basis (output_bias j).
have net0 : is_diff (path 0) (tanh_network^~ z) ('d (tanh_network^~ z) θ0).
  rewrite /path scale0r addr0; exact: differentiableP (@tanh_network_differentiable z θ0).
have along := is_diff_dir 1 (is_diff_chain (is_diff_line θ0 (basis (output_bias j)) (0 : R)) net0).
rewrite /response deriveE; last exact: tanh_network_differentiable.
rewrite -[basis (output_bias j)]scale1r -along.
rewrite (_ : (fun t => _) = fun t => tanh_network θ0 z + t *: basis j).
  by rewrite (is_diff_dir 1 (is_diff_line _ (basis j) (0 : R))) scale1r.
by apply/funext => t; exact: output_bias_shift.
Qed.

Theorem tanh_bias_slope (c : 'I_n.+1 -> R) j :
  slope tanh_network x w θ0 (basis (output_bias j)) (squared_error_matrix c) =
  2 * c j * \sum_i w i.
Proof.
rewrite mulr_sumr; apply: eq_bigr => i _.
rewrite response_bias dot_basis squared_error_matrixE !mxE !eqxx mulr1.
by rewrite mulrC.
Qed.

(* The same under softmax cross-entropy: a variance. *)
Theorem tanh_bias_slope_softmax (S : {set 'I_n.+1}) j :
  let q i := softmax_row S (tanh_network θ0 (x i)) 0 j in
  slope tanh_network x w θ0 (basis (output_bias j)) (cross_entropy_matrix S) =
  \sum_i w i * (q i * (1 - q i)).
Proof.
apply: eq_bigr => i _; congr (_ * _).
by rewrite response_bias dot_basis cross_entropy_matrixE mxE dot_basis !mxE !eqxx.
Qed.

(* It is positive as soon as S has another logit and some input has weight. *)
Theorem tanh_bias_slope_softmax_gt0 (S : {set 'I_n.+1}) j k i :
  j \in S -> k \in S -> k != j -> (forall i, 0 <= w i) -> 0 < w i ->
  0 < slope tanh_network x w θ0 (basis (output_bias j)) (cross_entropy_matrix S).
Proof.
move=> jS kS kj w0 wi; rewrite tanh_bias_slope_softmax.
have pq i' : 0 < softmax_row S (tanh_network θ0 (x i')) 0 j *
    (1 - softmax_row S (tanh_network θ0 (x i')) 0 j).
  by have /andP[q0 q1] := softmax_row_inside (tanh_network θ0 (x i')) jS kS kj;
    rewrite mulr_gt0 // subr_gt0.
rewrite (bigD1 i) //= ltr_paddr //; last exact: mulr_gt0 (pq i).
by apply: sumr_ge0 => i' _; rewrite mulr_ge0 // ltW.
Qed.

End TanhNetwork.

(* The second case of Theorem 1 occurs: the teacher learns one example, and the student sees its
   input, with all outputs. *)
Section TanhFalls.
Variables (R : realType) (d h n m : nat) (x : 'I_m -> 'rV[R]_d) (w : 'I_m -> R).
Variables (c : 'I_n.+1 -> R) (C : {set 'I_n.+1}) (i : 'I_m) (j k : 'I_n.+1).
Hypotheses (w_ge0 : forall i, 0 <= w i) (w_gt0 : 0 < w i) (c_gt0 : forall k, 0 < c k).
Hypotheses (jC : j \in C) (kC : k \in C) (kj : k != j).

Local Notation net := (@tanh_network R d h n).
Local Notation L := (@class_loss R d h n 1 C (fun=> x i) (fun=> 1) (fun=> j)).

Theorem tanh_falls θ0 : exists2 δ, 0 < δ & forall ε α, 0 < ε < δ -> 0 < α -> α * ε < δ ->
  L (student (squared_error c) net x w θ0 (- grad L θ0) α ε) < L θ0.
Proof.
set v := - grad L θ0; pose q := softmax_row C (net θ0 (x i)).
have net_diff i' : differentiable (net^~ (x i')) θ0 := @tanh_network_differentiable _ _ _ _ _ _.
have L_diff : differentiable L θ0 by apply: class_loss_differentiable.
have L_along u : dot v u = response net θ0 u (x i) 0 j - dot q (response net θ0 u (x i)).
  have term := is_diff_chain (differentiableP (net_diff i)) (ln_softmax_diff _ j jC).
  have LE : is_diff θ0 L (fun u => - \sum_(a < 1) 1 * ('d (net^~ (x i)) θ0 u 0 j -
      dot q ('d (net^~ (x i)) θ0 u))).
    exact (is_diff_opp (is_diff_sum (index_enum _) (P := xpredT)
      (fun _ _ => is_diff_scale 1 term))).
  rewrite dotNl -(is_diff_dir u (has_gradP L_diff)) (is_diff_dir u LE) big_ord1 mul1r opprK.
  by rewrite /response deriveE.
have seen : response net θ0 v (x i) != 0.
  apply/eqP => u0; have := L_along v; rewrite u0 mxE dotC dot0l subr0 => vv.
  have /eqP v0 : v == 0 by apply: contraT => /dot_gt0; rewrite vv ltxx.
  have := L_along (basis (output_bias d h j)); rewrite v0 dot0l response_bias dot_basis mxE !eqxx.
  have /andP[_ q1] := softmax_row_inside (net θ0 (x i)) jC kC kj.
  by move/esym/eqP; rewrite subr_eq0 eq_sym lt_eqF.
have c_ge0 a : 0 <= c a by exact: ltW.
have A0 : 0 < slope net x w θ0 v (squared_error_matrix c).
  have term_ge0 i' := slope_term_ge0 v (fun i => squared_error_admissible c_ge0 _)
    (W := fun=> w) w_ge0 i'.
  rewrite /slope (bigD1 i) //= ltr_paddr ?sumr_ge0 // mulr_gt0 //.
  have [a ua] : exists a, response net θ0 v (x i) 0 a != 0.
    by apply/rV0Pn.
  rewrite squared_error_matrixE /dot (bigD1 a) //= ltr_paddr //.
    by apply: sumr_ge0 => a' _; rewrite mxE -mulrA -expr2 mulr_ge0 ?sqr_ge0 // mulr_ge0 ?ler0n.
  by rewrite mxE -mulrA -expr2 mulr_gt0 ?exprn_even_gt0 // mulr_gt0 ?ltr0n.
exact (theorem1_positive (l := squared_error_loss c_ge0) net_diff L_diff A0).
Qed.

End TanhFalls.
