(* The one-step theorem, part 7: where the published wording goes too far
   (README.md, section 9), and where the statements of sections 11 and 12 end. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive sequences.
From OneStep Require Import Definitions Toolbox OneStep Losses ManySteps.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

(* Eq. (27): the linear model θ . z with two parameters and one output. *)
Section LinearModel.
Variable R : realType.

Definition linear_model (θ z : 'rV[R]_2) : 'rV[R]_1 := const_mx (dot θ z).

(* The teacher's loss: half the squared distance to the point (1, 1). *)
Definition target_loss (θ : 'rV[R]_2) : R := squared_error (fun=> 2^-1) θ (const_mx 1).

(* The one training input, and the input on which we look. *)
Definition training_input : 'rV[R]_2 := basis 0.
Definition other_input : 'rV[R]_2 := basis 0 - 2 *: basis 1.

Let x (_ : 'I_1) := training_input.
Let w (_ : 'I_1) : R := 1.
Let c (_ : 'I_1) : R := 1.
Let c_ge0 j : 0 <= c j. Proof. exact: ler01. Qed.

(* The teacher starts at 0 and follows its loss; the student imitates it there. *)
Definition linear_teacher (ε : R) : 'rV[R]_2 := teacher 0 (- grad target_loss 0) ε.
Definition linear_student (α ε : R) : 'rV[R]_2 :=
  student (squared_error c) linear_model x w 0 (- grad target_loss 0) α ε.

Lemma target_direction : - grad target_loss 0 = const_mx 1.
Proof.
rewrite (has_grad_grad (squared_error_has_grad _ _ _)).
by apply/rowP => j; rewrite mxE squared_error_gradE !mxE sub0r mulfV ?pnatr_eq0 // mul1r opprK.
Qed.

Lemma linear_model_diff z : is_diff 0 (linear_model^~ z) (linear_model^~ z).
Proof.
apply: is_diff_row => j.
apply: (@is_diff_ext _ _ _ (fun θ => dot θ z)) => [θ|]; first by rewrite mxE.
by apply: is_diff_eqf (is_diff_dotl z (is_diff_id _)) _ => h; rewrite mxE.
Qed.

(* The student moves by 2 α ε along its one training input. *)
Lemma linear_studentE α ε : linear_student α ε = (2 * α * ε) *: training_input.
Proof.
rewrite /linear_student /student target_direction add0r.
have f_diff i : differentiable (linear_model^~ (x i)) 0.
  by have [] := linear_model_diff (x i).
have step_u := student_step_dot (const_mx 1) f_diff
  (fun i => squared_error_admissible c_ge0 _) w ε.
set Δ := student_step _ _ _ _ _ _ _ in step_u *.
suff -> : Δ = (2 * ε) *: training_input.
  by rewrite scalerA mulrA (mulrC α).
apply/rowP => k; rewrite -dot_basis step_u big_ord1 mul1r {1}/dot big_ord1.
rewrite squared_error_gradE -responseE // /response (is_diff_dir _ (linear_model_diff _)).
rewrite /teacher add0r !mxE (dotC (basis k)) dot_basis dot0l dotZl dot_basis !mxE.
by rewrite !mulr1 sub0r !mulrN !mulNr opprK eq_sym.
Qed.

Lemma linear_teacherE ε : linear_teacher ε = ε *: const_mx 1.
Proof. by rewrite /linear_teacher /teacher target_direction add0r. Qed.

Lemma outputE θ z : linear_model θ z 0 0 = dot θ z.
Proof. by rewrite mxE. Qed.

Lemma dot_training θ : dot θ training_input = θ 0 0.
Proof. exact: dot_basis. Qed.

Lemma dot_other θ : dot θ other_input = θ 0 0 - 2 * θ 0 1.
Proof. by rewrite /other_input dotDr dotNr dotZr !dot_basis. Qed.

Lemma target_lossE θ :
  target_loss θ = 2^-1 * (θ 0 0 - 1) ^+ 2 + 2^-1 * (θ 0 1 - 1) ^+ 2.
Proof.
rewrite /target_loss /squared_error !big_ord_recl big_ord0 addr0 !mxE.
by rewrite (_ : lift ord0 ord0 = 1) //; exact: val_inj.
Qed.

(* The student's loss falls as long as its one step is not longer than twice the way. *)
Lemma linear_student_loss α ε : 0 < α -> 0 < ε -> α * ε < 1 ->
  target_loss (linear_student α ε) < target_loss 0.
Proof.
move=> α0 ε0 αε; rewrite !target_lossE linear_studentE !mxE /=.
rewrite mulr1 mulr0 ltr_add2r sub0r sqrrN expr1n ltr_pmul2l ?invr_gt0 ?ltr0n //.
have two : 0 < 2 :> R by rewrite ltr0n.
rewrite -mulrA -subr_lt0 subr_sqr_1 subrK pmulr_llt0 ?mulr_gt0 //.
by rewrite -addrA -opprD subr_lt0 -(natrD R 1 1) gtr_pmulr.
Qed.

(* Eq. (27): the teacher's loss falls, and on the other input the teacher's
   output goes down while the student's goes up. *)
Theorem outputs_move_apart α ε : 0 < α -> 0 < ε -> α * ε < 1 ->
  [/\ target_loss (linear_student α ε) < target_loss 0,
      linear_model (linear_teacher ε) other_input 0 0 < linear_model 0 other_input 0 0 &
      linear_model 0 other_input 0 0 < linear_model (linear_student α ε) other_input 0 0].
Proof.
move=> α0 ε0 αε; split; first exact: linear_student_loss.
  rewrite !outputE !dot_other linear_teacherE !mxE !mulr1 mulr0 subr0.
  by rewrite mulr_natl mulr2n opprD addrA subrr sub0r oppr_lt0.
rewrite !outputE !dot_other linear_studentE !mxE /= mulr1 !mulr0 !subr0.
by rewrite !mulr_gt0 // ltr0n.
Qed.

Lemma far_side (α ε before goal after : R) : 1 < α -> 0 < ε ->
  before = 0 -> goal = ε -> after = 2 * α * ε -> `|before - goal| < `|after - goal|.
Proof.
move=> α1 ε0 -> -> ->; have long : 1 < 2 * α - 1.
  by rewrite ltr_subr_addr -(natrD R 1 1) -[X in X < _]mulr1 ltr_pmul2l ?ltr0n.
rewrite sub0r normrN (gtr0_norm ε0).
rewrite -[X in _ < `|_ - X|]mul1r -mulrBl normrM (gtr0_norm ε0) ltr_pmull //.
exact: lt_le_trans long (ler_norm _).
Qed.

(* Eq. (28): with α > 1 the student's output on the training input ends up
   further from the teacher's than it was at the start, on the other side. *)
Theorem step_overshoots α ε : 1 < α -> 0 < ε ->
  `|linear_model 0 training_input 0 0 - linear_model (linear_teacher ε) training_input 0 0|
  < `|linear_model (linear_student α ε) training_input 0 0 -
      linear_model (linear_teacher ε) training_input 0 0|.
Proof.
move=> α1 ε0; apply: (far_side α1 ε0).
- by rewrite outputE dot_training mxE.
- by rewrite outputE dot_training linear_teacherE !mxE mulr1.
- by rewrite outputE dot_training linear_studentE !mxE /= mulr1.
Qed.

End LinearModel.

(* Eq. (38): a teacher and a student with different metrics. *)
Section TwoMetrics.
Variable R : realType.

Definition difference_loss (θ : 'rV[R]_2) : R := θ 0 0 - θ 0 1.
Definition teacher_metric : 'M[R]_2 := diag_mx (\row_j (if j == 0 then 2 else 1)).
Definition student_metric : 'M[R]_2 := diag_mx (\row_j (if j == 0 then 1 else 2)).

Local Notation f := (@linear_model R).
Let x (_ : 'I_1) : 'rV[R]_2 := const_mx 1.
Let w (_ : 'I_1) : R := 1.
Let c (_ : 'I_1) : R := 1.
Let c_ge0 j : 0 <= c j. Proof. exact: ler01. Qed.

Lemma difference_grad : grad difference_loss 0 = basis 0 - basis 1.
Proof.
have at1 := is_diff_coord 1 (0 : 'rV[R]_2); have at0 := is_diff_coord 0 (0 : 'rV[R]_2).
apply: has_grad_grad; apply: is_diff_eqf (is_diff_add at0 (is_diff_opp at1)) _ => h.
by rewrite dotDl dotNl !(dotC (basis _)) !dot_basis.
Qed.

(* The teacher's direction is (-2, 1), and its output falls by ε. *)
Lemma two_metrics_step ε :
  student_step (squared_error c) f x w 0
    (- (grad difference_loss 0 *m teacher_metric)) ε = (- (2 * ε)) *: const_mx 1.
Proof.
have f_diff i : differentiable (f^~ (x i)) 0.
  by have [] := @linear_model_diff R (x i).
have fall : dot (- (grad difference_loss 0 *m teacher_metric)) (const_mx 1) = -1.
  rewrite difference_grad /dot big_ord_recl big_ord1 !mul_mx_diag !mxE /=.
  by rewrite !mulr1 subr0 sub0r mul1r opprK addrC -[X in _ - X](natrD R 1 1) opprD addrA subrr sub0r.
apply/rowP => k; rewrite -dot_basis.
rewrite (student_step_dot _ f_diff (fun i => squared_error_admissible c_ge0 _)).
rewrite big_ord1 mul1r {1}/dot big_ord1 squared_error_gradE -responseE //.
rewrite /response (is_diff_dir _ (@linear_model_diff R _)) /teacher add0r !mxE.
by rewrite (dotC (basis k)) dot_basis dot0l dotZl fall !mxE !mulr1 sub0r mulrN1 opprK.
Qed.

Theorem two_metrics_rise (ε α : R) :
  let v := - (grad difference_loss 0 *m teacher_metric) in
  difference_loss (0 + α *: metric_step (squared_error c) f x w 0 v
    student_metric ε) - difference_loss 0 = 2 * α * ε.
Proof.
rewrite /= /metric_step two_metrics_step /difference_loss /student_metric.
rewrite mul_mx_diag !mxE /= !mulr1 ?subr0 ?add0r mulNr !mulrN opprK.
set a := 2 * ε; rewrite (mulrA α a) mulr_natr mulr2n addKr /a.
by rewrite mulrCA mulrA.
Qed.

End TwoMetrics.

(* Eq. (31): in the first case of Theorem 1 the teacher's loss can still rise, at a
   higher order in ε. *)
Section Edge.
Variable R : realType.

Definition edge_network (θ : 'rV[R]_2) (_ : unit) : 'rV[R]_1 :=
  const_mx (θ 0 1 + θ 0 0 ^+ 2).
Definition edge_loss (θ : 'rV[R]_2) : R := θ 0 1 ^+ 2 - θ 0 0.

Let x (_ : 'I_1) := tt.
Let w (_ : 'I_1) : R := 1.
Let c (_ : 'I_1) : R := 1.
Let c_ge0 j : 0 <= c j. Proof. exact: ler01. Qed.

Lemma edge_direction : - grad edge_loss 0 = basis 0.
Proof.
have at1 := is_diff_coord 1 (0 : 'rV[R]_2); have at0 := is_diff_coord 0 (0 : 'rV[R]_2).
apply/rowP => k; rewrite 2!mxE; have := is_diff_add (is_diff_mul at1 at1) (is_diff_opp at0).
move=> /(is_diff_dir (basis k)) ->; rewrite !mxE mul0r add0r add0r opprK.
by rewrite (eq_sym 0 k).
Qed.

Lemma edge_network_diff : is_diff 0 (edge_network^~ tt) (fun h => const_mx (h 0 1)).
Proof.
have at1 := is_diff_coord 1 (0 : 'rV[R]_2); have at0 := is_diff_coord 0 (0 : 'rV[R]_2).
apply: is_diff_row => j.
apply: (@is_diff_ext _ _ _ (fun θ : 'rV[R]_2 => θ 0 1 + θ 0 0 * θ 0 0)) => [θ|].
  by rewrite mxE expr2.
apply: is_diff_eqf (is_diff_add at1 (is_diff_mul at0 at0)) _ => h.
by rewrite !mxE !mul0r !addr0.
Qed.

(* The step is 2 ε² along θ_1, orthogonal to v, which is along θ_0. *)
Lemma edge_step ε :
  student_step (squared_error c) edge_network x w 0 (- grad edge_loss 0) ε =
  (2 * ε ^+ 2) *: basis 1.
Proof.
have f_diff i : differentiable (edge_network^~ (x i)) 0 by have [] := edge_network_diff.
apply/rowP => k; rewrite -dot_basis edge_direction.
rewrite (student_step_dot _ f_diff (fun i => squared_error_admissible c_ge0 _)).
rewrite big_ord1 mul1r {1}/dot big_ord1 squared_error_gradE -responseE //.
rewrite /response (is_diff_dir _ edge_network_diff) /teacher add0r !mxE /=.
by rewrite !mulr1 mulr0 expr0n /= !add0r mulrN mulNr opprK eq_sym.
Qed.

Theorem edge (ε α : R) : let v := - grad edge_loss 0 in
  dot (student_step (squared_error c) edge_network x w 0 v ε) v = 0 /\
  edge_loss (student (squared_error c) edge_network x w 0 v α ε) - edge_loss 0 =
    4 * α ^+ 2 * ε ^+ 4.
Proof.
rewrite /= /student edge_step edge_direction; split; first by rewrite dot_basis !mxE mulr0.
rewrite /edge_loss !mxE /= !mulr0 !mulr1 expr0n add0r !subr0.
by rewrite addr0 subr0 !exprMn -exprD mulrCA mulrA -natrX.
Qed.

End Edge.

(* Eq. (45): two steps with α F > 2 can raise the teacher's loss. *)
Section TwoSteps.
Variable R : realType.

Definition identity_network (θ : 'rV[R]_1) (_ : unit) : 'rV[R]_1 := θ.
Definition minus_loss (θ : 'rV[R]_1) : R := - θ 0 0.

Let x (_ : 'I_1) := tt.
Let w (_ : 'I_1) : R := 1.
Let c (_ : 'I_1) : R := 1.

Local Notation θ_ α := (student_after (squared_error c) identity_network x (fun=> α)
  (fun=> w) 0 (- grad minus_loss 0)).

Lemma minus_direction : - grad minus_loss 0 = basis 0.
Proof.
have minus_grad : has_grad minus_loss 0 (- basis 0).
  apply: is_diff_eqf (is_diff_opp (is_diff_coord 0 (0 : 'rV[R]_1))) _ => h.
  by rewrite dotNl dotC dot_basis.
by rewrite (has_grad_grad minus_grad) opprK.
Qed.

(* One step keeps the share 1 - 2α of the distance to the teacher. *)
Lemma one_step_of_two α k ε :
  θ_ α k.+1 ε = ε *: basis 0 + (1 - 2 * α) *: (θ_ α k ε - ε *: basis 0).
Proof.
rewrite /=; set θ := θ_ α k ε.
have loss_grad : has_grad
    (student_loss (squared_error c) identity_network x w 0 (- grad minus_loss 0) ε) θ
    (2 *: (θ - ε *: basis 0)).
  apply: (@is_diff_ext _ _ _ (squared_error c ^~ (ε *: basis 0))) => [t|].
    by rewrite /student_loss big_ord1 mul1r /identity_network /teacher add0r minus_direction.
  apply: is_diff_eqf (squared_error_has_grad c _ _) _ => h.
  congr (dot _ h); apply/rowP => j; rewrite squared_error_gradE !mxE.
  by rewrite mulr1.
rewrite (has_grad_grad loss_grad) scalerBl scale1r scalerA (mulrC α) addrA.
by rewrite addrCA subrr addr0.
Qed.

Theorem two_steps_rise α ε : 1 < α -> 0 < ε -> minus_loss 0 < minus_loss (θ_ α 2 ε).
Proof.
move=> α1 ε0; rewrite !one_step_of_two /= sub0r /minus_loss !mxE /=.
have long : 1 < 2 * α - 1.
  by rewrite ltr_subr_addr -(natrD R 1 1) -[X in X < _]mulr1 ltr_pmul2l ?ltr0n.
rewrite mulr1 addrAC subrr add0r !mulrN mulrA -expr2 -sqrrN opprB.
by rewrite oppr0 oppr_gt0 subr_lt0 ltr_pmull // expr2 mulr_egt1.
Qed.

End TwoSteps.
