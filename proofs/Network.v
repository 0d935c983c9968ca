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

Variables (m : nat) (l : loss R n) (x : 'I_m -> 'rV[R]_d) (w : 'I_m -> R).
Variables (θ0 v : parameters).

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
apply/is_diff_opp/is_diff_sum => i _; apply: (is_diff_scale (w_T i)).
have net := differentiableP (@tanh_network_differentiable (x_T i) θ).
exact: is_diff_chain net (ln_softmax_diff _ (class i) (classC i)).
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

(* Many steps, Eqs. (41) and (42). *)
Theorem tanh_many_steps α k :
  is_diff 0 (student_after l tanh_network x (fun=> α) (fun=> w) θ0 v k)
  (fun h => h *: (v - v *m (1 - α *: gauss_newton tanh_network x w θ0 (loss_matrix l)) ^+ k)).
Proof.
have [_] := many_steps_expansion l (fun=> α) (fun=> w) v
  (fun i => @tanh_network_near (x i) θ0)
  (fun i => @tanh_network_partial (x i) θ0) k.
by rewrite prodr_const card_ord.
Qed.

Theorem tanh_many_steps_loss α k : (forall i, class i \in C) ->
  (fun ε => (class_loss (student_after l tanh_network x (fun=> α) (fun=> w) θ0
    (- grad class_loss θ0) k ε) - class_loss θ0) / ε) @ 0^' -->
  - fall l tanh_network x θ0 class_loss (fun=> α) (fun=> w) k.
Proof.
move=> classC; apply: many_steps_loss_expansion => [i|i|].
- exact: tanh_network_near.
- exact: tanh_network_partial.
- exact: class_loss_differentiable.
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

Theorem tanh_bias_slope (c : 'I_n.+1 -> R) j :
  slope tanh_network x w θ0 (basis (output_bias j)) (squared_error_matrix c) =
  2 * c j * \sum_i w i.
Proof.
have response_bias i : response tanh_network θ0 (basis (output_bias j)) (x i) = basis j.
  have net := differentiableP (@tanh_network_differentiable (x i) θ0).
  pose path t := θ0 + t *: basis (output_bias j).
  have net0 : is_diff (path 0) (tanh_network^~ (x i)) ('d (tanh_network^~ (x i)) θ0).
    by rewrite /path scale0r addr0.
  have along := is_diff_chain (is_diff_line θ0 (basis (output_bias j)) (0 : R)) net0.
  have along1 := is_diff_dir 1 along; rewrite scale1r in along1.
  rewrite /response deriveE; last exact: tanh_network_differentiable.
  rewrite -along1.
  rewrite (_ : (fun t => _) = fun t => tanh_network θ0 (x i) + t *: basis j).
    by rewrite (is_diff_dir 1 (is_diff_line _ (basis j) (0 : R))) scale1r.
  by apply/funext => t; exact: output_bias_shift.
rewrite mulr_sumr; apply: eq_bigr => i _.
rewrite response_bias dot_basis squared_error_matrixE !mxE !eqxx mulr1.
by rewrite mulrC.
Qed.

End TanhNetwork.
