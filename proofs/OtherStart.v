(* The theorem further, part 6: a student that starts elsewhere (README.md, section 14). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From OneStep Require Import Definitions Toolbox OneStep Losses ManySteps.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.

Section OtherStart.
Variables (R : realType) (p n m : nat) (X : Type) (l : bregman_loss R n).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 θ1 v : 'rV[R]_p.+1).
Hypothesis f_diff0 : forall i, differentiable (f^~ (x i)) θ0.
Hypothesis f_diff1 : forall i, differentiable (f^~ (x i)) θ1.

Local Notation r := (loss_response l).
Local Notation M i := (loss_matrix l (f θ0 (x i))).
Local Notation y i ε := (f (teacher θ0 v ε) (x i)).

(* The step of a student at θ1, whose teacher started at θ0. *)
Definition step_elsewhere (ε : R) : 'rV[R]_p.+1 := - grad (student_loss l f x w θ0 v ε) θ1.

(* Eq. (53). *)
Definition cross_slope : R := \sum_i w i *
  dot (response f θ0 v (x i) *m M i) (response f θ1 v (x i)).

Lemma step_elsewhere_dot ε : dot (step_elsewhere ε) v =
  \sum_i w i * dot (r (y i ε) - r (f θ1 (x i))) (response f θ1 v (x i)).
Proof.
have loss_diff : is_diff θ1 (student_loss l f x w θ0 v ε) (fun h => \sum_i w i *
    dot (r (f θ1 (x i)) - r (y i ε)) ('d (f^~ (x i)) θ1 h)).
  apply: is_diff_sum => i _; apply: (is_diff_scale (w i)).
  exact: is_diff_chain (differentiableP (f_diff1 i)) (loss_gradient (loss_first_order l _) _).
have [loss_ex _] := loss_diff.
rewrite dotNl -(is_diff_dir v (has_gradP loss_ex)) (is_diff_dir v loss_diff) -sumrN.
by apply: eq_bigr => i _; rewrite -mulrN -dotNl opprB /response deriveE.
Qed.

Theorem cross_slope_derivative :
  is_diff 0 (fun ε => dot (step_elsewhere ε) v) (fun h => h * cross_slope).
Proof.
have term i : is_diff 0
    (fun ε => w i * dot (r (y i ε) - r (f θ1 (x i))) (response f θ1 v (x i)))
    (fun h => w i * dot (h *: (v *m jacobian (f^~ (x i)) θ0) *m M i + 0)
      (response f θ1 v (x i))).
  have r_diff : is_diff (y i 0) r (fun h => h *m M i).
    by rewrite teacher0; exact: response_diff.
  have label := is_diff_chain (label_diff v f_diff0 i) r_diff.
  exact: (is_diff_scale (w i) (is_diff_dotl _ (is_diff_add label (is_diff_const _ _)))).
apply: is_diff_ext (is_diff_eqf (is_diff_sum _ (fun i _ => term i)) _) => [ε|h].
  by rewrite step_elsewhere_dot.
rewrite mulr_sumr; apply: eq_bigr => i _.
by rewrite addr0 -!scalemxAl dotZl (responseE f_diff0) mulrCA.
Qed.

(* Eq. (54): |u|_1 |a|_∞ bounds u . a, so the norm is that of the coordinates. *)
Theorem cross_slope_near (κ : 'I_m -> R) (s : R) : (forall i, 0 <= w i) ->
  (forall i j, `|response f θ1 v (x i) 0 j - response f θ0 v (x i) 0 j| <= κ i * s) ->
  slope f x w θ0 v (loss_matrix l) -
    (\sum_i w i * (κ i * \sum_j `|(response f θ0 v (x i) *m M i) 0 j|)) * s <= cross_slope.
Proof.
move=> w0 near; rewrite ler_subl_addr mulr_suml -big_split; apply: ler_sum => i _ /=.
rewrite -(mulrA (w i)) -mulrDr; apply: ler_wpmul2l => //.
rewrite -ler_subl_addl -dotNr -dotDr mulrAC mulr_sumr; apply: ler_sum => j _.
apply: le_trans (ler_norm _) _; rewrite normrM [X in _ <= X]mulrC.
apply: ler_wpmul2l => //.
by rewrite !mxE distrC.
Qed.

(* A network that is affine in its parameters, such as one linear layer. *)
Theorem cross_slope_affine (b : 'I_m -> 'rV[R]_n.+1) (B : 'I_m -> 'M[R]_(p.+1, n.+1)) :
  (forall i θ, f θ (x i) = b i + θ *m B i) -> cross_slope = slope f x w θ0 v (loss_matrix l).
Proof.
move=> f_affine; have f_response i θ : response f θ v (x i) = v *m B i.
  suff d : is_diff θ (f^~ (x i)) (fun h => h *m B i) by rewrite /response (is_diff_dir v d).
  apply: is_diff_row => j.
  apply: (@is_diff_ext _ _ _ (fun θ => b i 0 j + dot θ (\row_k B i k j))) => [t|].
    by rewrite f_affine !mxE; congr (_ + _); apply: eq_bigr => k _; rewrite mxE.
  have along := is_diff_dotl (\row_k B i k j) (is_diff_id θ).
  apply: is_diff_eqf (is_diff_add (is_diff_const (b i 0 j) θ) along) _ => h.
  by rewrite add0r mxE; apply: eq_bigr => k _; rewrite mxE.
by apply: eq_bigr => i _; rewrite !f_response.
Qed.

End OtherStart.

(* Eq. (55): the cross-slope can have the other sign. *)
Section OppositeSign.
Variable R : realType.

Definition square_network (θ : 'rV[R]_1) (_ : unit) : 'rV[R]_1 := const_mx (θ 0 0 ^+ 2).

Let c_ge0 (j : 'I_1) : 0 <= (1 : R). Proof. exact: ler01. Qed.
Let x (_ : 'I_1) := tt.
Let w (_ : 'I_1) : R := 1.

Lemma square_response (a : R) : response square_network (const_mx a) (const_mx 1) tt = const_mx (2 * a).
Proof.
have at0 := is_diff_coord 0 (const_mx a : 'rV[R]_1).
have d : is_diff (const_mx a) (square_network^~ tt) (fun h => const_mx (2 * a * h 0 0)).
  apply: is_diff_row => j.
  apply: (@is_diff_ext _ _ _ (fun θ : 'rV[R]_1 => θ 0 0 * θ 0 0)) => [θ|].
    by rewrite mxE expr2.
  apply: is_diff_eqf (is_diff_mul at0 at0) _ => h.
  by rewrite !mxE -mulr2n -mulr_natl mulrA.
by rewrite /response (is_diff_dir _ d) mxE mulr1.
Qed.

Theorem opposite_sign : let v := const_mx 1 in let l := squared_error_loss c_ge0 in
  slope square_network x w (const_mx 1) v (loss_matrix l) = 8 /\
  cross_slope l square_network x w (const_mx 1) (const_mx (-1)) v = - 8.
Proof.
rewrite /slope /cross_slope [X in X = _ /\ _]big_ord1 [X in _ /\ X = _]big_ord1.
rewrite !square_response /dot !big_ord1 /=.
rewrite !squared_error_matrixE !mxE !mul1r !mulr1 mulrN1 mulrN -!natrM.
by [].
Qed.

End OppositeSign.
