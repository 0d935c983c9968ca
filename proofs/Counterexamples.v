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

(* The linear model θ . z with two parameters, one output and one input of weight one. *)
Section LinearModel.
Variable R : realType.

Definition linear_model (θ z : 'rV[R]_2) : 'rV[R]_1 := const_mx (dot θ z).

Let w (_ : 'I_1) : R := 1.
Let c (_ : 'I_1) : R := 1.
Let c_ge0 j : 0 <= c j. Proof. exact: ler01. Qed.

Lemma linear_model_diff z : is_diff 0 (linear_model^~ z) (linear_model^~ z).
Proof.
apply: is_diff_row => j.
apply: (@is_diff_ext _ _ _ (fun θ => dot θ z)) => [θ|]; first by rewrite mxE.
by apply: is_diff_eqf (is_diff_dotl z (is_diff_id _)) _ => h; rewrite mxE.
Qed.

(* The step from 0 is along the input. *)
Lemma linear_step z v ε : student_step (squared_error c) linear_model (fun=> z) w 0 v ε =
  (2 * (ε * dot v z)) *: z.
Proof.
have f_diff (i : 'I_1) : differentiable (linear_model^~ z) 0 by have [] := linear_model_diff z.
apply/rowP => k; rewrite -dot_basis.
rewrite (student_step_dot _ f_diff (fun i => squared_error_admissible c_ge0 _)).
rewrite big_ord1 mul1r {1}/dot big_ord1 squared_error_gradE -(responseE f_diff ord0).
rewrite /response (is_diff_dir _ (linear_model_diff z)) /teacher add0r !mxE dot0l dotZl.
by rewrite (dotC (basis k)) dot_basis mulr1 sub0r mulrN mulNr opprK.
Qed.

(* Eq. (27). The teacher's loss: half the squared distance to the point (1, 1). *)
Definition target_loss (θ : 'rV[R]_2) : R := squared_error (fun=> 2^-1) θ (const_mx 1).

(* The one training input, and the input on which we look. *)
Definition training_input : 'rV[R]_2 := basis 0.
Definition other_input : 'rV[R]_2 := basis 0 - 2 *: basis 1.

(* The teacher starts at 0 and follows its loss; the student imitates it there. *)
Definition linear_teacher (ε : R) : 'rV[R]_2 := teacher 0 (- grad target_loss 0) ε.
Definition linear_student (α ε : R) : 'rV[R]_2 :=
  student (squared_error c) linear_model (fun=> training_input) w 0 (- grad target_loss 0) α ε.

Lemma target_direction : - grad target_loss 0 = const_mx 1.
Proof.
rewrite (has_grad_grad (squared_error_has_grad _ _ _)).
by apply/rowP => j; rewrite mxE squared_error_gradE !mxE sub0r mulfV ?pnatr_eq0 // mul1r opprK.
Qed.

(* The student moves by 2 α ε along its one training input. *)
Lemma linear_studentE α ε : linear_student α ε = (2 * α * ε) *: training_input.
Proof.
rewrite /linear_student /student linear_step target_direction add0r scalerA.
by rewrite dot_basis mxE mulr1 mulrA (mulrC α).
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

Local Notation step := (student_step (squared_error (fun=> 1)) (@linear_model R)
  (fun _ : 'I_1 => const_mx 1) (fun=> 1) 0).

Lemma difference_grad : grad difference_loss 0 = basis 0 - basis 1.
Proof.
have at1 := is_diff_coord 1 (0 : 'rV[R]_2); have at0 := is_diff_coord 0 (0 : 'rV[R]_2).
apply: has_grad_grad; apply: is_diff_eqf (is_diff_add at0 (is_diff_opp at1)) _ => h.
by rewrite dotDl dotNl !(dotC (basis _)) !dot_basis.
Qed.

(* The teacher's direction is (-2, 1), and its output falls by ε. *)
Lemma two_metrics_step ε :
  step (- (grad difference_loss 0 *m teacher_metric)) ε = (- (2 * ε)) *: const_mx 1.
Proof.
rewrite linear_step difference_grad /dot big_ord_recl big_ord1 !mul_mx_diag !mxE /=.
rewrite !mulr1 subr0 sub0r mul1r opprK addrC -[X in _ - X](natrD R 1 1) opprD addrA subrr sub0r.
by rewrite mulrN1 mulrN.
Qed.

Theorem two_metrics_rise (ε α : R) :
  let v := - (grad difference_loss 0 *m teacher_metric) in
  difference_loss (0 + α *: (step v ε *m student_metric)) - difference_loss 0 = 2 * α * ε.
Proof.
rewrite /= two_metrics_step /difference_loss /student_metric.
rewrite mul_mx_diag !mxE /= !mulr1 ?subr0 ?add0r mulNr !mulrN opprK.
set a := 2 * ε; rewrite (mulrA α a) mulr_natr mulr2n addKr /a.
by rewrite mulrCA mulrA.
Qed.

End TwoMetrics.

(* Eq. (75): teacher and student step along the signs of their gradients, as sign descent does
   and Adam's first step with its ϵ = 0. *)
Section Signs.
Variable R : realType.

Definition signs (u : 'rV[R]_2) : 'rV[R]_2 := \row_k Num.sg (u 0 k).

Definition sign_loss (θ : 'rV[R]_2) : R := θ 0 1 - 3 * θ 0 0.

Lemma sign_direction : signs (- grad sign_loss 0) = basis 0 - basis 1.
Proof.
have at1 := is_diff_coord 1 (0 : 'rV[R]_2); have at0 := is_diff_coord 0 (0 : 'rV[R]_2).
have g : has_grad sign_loss 0 (basis 1 - 3 *: basis 0).
  apply: is_diff_eqf (is_diff_add at1 (is_diff_opp (is_diff_scale 3 at0))) _ => h.
  by rewrite dotDl dotNl dotZl !(dotC (basis _)) !dot_basis.
rewrite (has_grad_grad g); apply/rowP => -[[|[|//]] lt2]; rewrite !mxE /=.
  by rewrite sub0r opprK mulr1 gtr0_sg ?ltr0n // subr0.
by rewrite mulr0 subr0 ltr0_sg ?ltrN10 // sub0r.
Qed.

Theorem sign_descent_rises (α ε : R) : 0 < ε ->
  let v := signs (- grad sign_loss 0) in
  let Δ := student_step (squared_error (fun=> 1)) (@linear_model R)
    (fun _ : 'I_1 => basis 0 + 2 *: basis 1) (fun=> 1) 0 v ε in
  sign_loss (0 + α *: signs Δ) - sign_loss 0 = 2 * α.
Proof.
move=> ε0; rewrite /= linear_step sign_direction.
rewrite dotDl dotNl !(dotC (basis _)) !dot_basis !mxE /= mulr0 addr0 mulr1 !add0r.
have -> : 1 - 2 = -1 :> R by rewrite -[2](natrD R 1 1) opprD addrA subrr sub0r.
have neg : 2 * (ε * -1) < 0 by rewrite mulrN1 mulrN oppr_lt0 mulr_gt0 ?ltr0n.
rewrite /sign_loss /signs !mxE /= mulr0 addr0 mulr1 !add0r mulr1.
have neg2 : 2 * (ε * -1) * 2 < 0 by rewrite pmulr_llt0 // ltr0n.
rewrite !ltr0_sg // mulr0 oppr0 subr0 !mulrN1 mulrN opprK addrC.
by rewrite -{2}[α]mul1r -mulrBl -(natrB _ (isT : 1 <= 3)%N).
Qed.

End Signs.

(* Eqs. (31) and (76): in the first case of Theorem 1 the teacher's loss can still rise, at a
   higher order in ε, and so can what two steps do along v. *)
Section Edge.
Variable R : realType.

Definition edge_network (b : R) (θ : 'rV[R]_2) (_ : unit) : 'rV[R]_1 :=
  const_mx (θ 0 1 + θ 0 0 ^+ 2 + b * (θ 0 0 * θ 0 1)).
Definition edge_loss (a : R) (θ : 'rV[R]_2) : R := a * θ 0 1 ^+ 2 - θ 0 0.

Let x (_ : 'I_1) := tt.
Let w (_ : 'I_1) : R := 1.
Let c (_ : 'I_1) : R := 1.
Let c_ge0 j : 0 <= c j. Proof. exact: ler01. Qed.

Lemma edge_direction a : - grad (edge_loss a) 0 = basis 0.
Proof.
have at1 := is_diff_coord 1 (0 : 'rV[R]_2); have at0 := is_diff_coord 0 (0 : 'rV[R]_2).
suff g : has_grad (edge_loss a) 0 (- basis 0) by rewrite (has_grad_grad g) opprK.
have d := is_diff_add (is_diff_scale a (is_diff_mul at1 at1)) (is_diff_opp at0).
apply: is_diff_eqf d _ => h.
by rewrite !mxE !mul0r addr0 scaler0 add0r dotNl dotC dot_basis.
Qed.

(* The gradient of the output. *)
Definition edge_grad (b : R) (θ : 'rV[R]_2) : 'rV[R]_2 :=
  (2 * θ 0 0 + b * θ 0 1) *: basis 0 + (1 + b * θ 0 0) *: basis 1.

Lemma edge_network_diff b θ :
  is_diff θ ((edge_network b)^~ tt) (fun h => const_mx (dot (edge_grad b θ) h)).
Proof.
have at1 := is_diff_coord 1 θ; have at0 := is_diff_coord 0 θ; apply: is_diff_row => j.
have d := is_diff_add (is_diff_add at1 (is_diff_mul at0 at0))
  (is_diff_scale b (is_diff_mul at0 at1)).
apply: is_diff_ext (is_diff_eqf d _) => [t|h]; first by rewrite mxE expr2.
rewrite mxE dotDl !dotZl !(dotC (basis _)) !dot_basis /GRing.scale /= -mulr2n -mulr_natl.
rewrite !mulrDl mulrDr !mulrA [b * _ * h 0 1 + _]addrC [RHS]addrCA -addrA.
by rewrite !mul1r !addrA.
Qed.

Local Notation loss_at b ε := (student_loss (squared_error c) (edge_network b) x w 0 (basis 0) ε).

(* The teacher's output is ε². *)
Lemma edge_loss_grad b ε θ : grad (loss_at b ε) θ =
  (2 * (θ 0 1 + θ 0 0 ^+ 2 + b * (θ 0 0 * θ 0 1) - ε ^+ 2)) *: edge_grad b θ.
Proof.
apply: has_grad_grad; rewrite /student_loss.
apply: (@is_diff_ext _ _ _
  (fun t => squared_error c (edge_network b t tt) (const_mx (ε ^+ 2)))) => [t|].
  rewrite big_ord1 mul1r; congr (squared_error c _ _); apply/rowP => j.
  by rewrite /teacher add0r !mxE /= !mulr0 mulr1 add0r addr0.
apply: is_diff_eqf (is_diff_chain (edge_network_diff b θ) (squared_error_has_grad c _ _)) _ => h.
by rewrite {1}/dot big_ord1 squared_error_gradE !mxE dotZl mulr1.
Qed.

Lemma edge_first_step b ε : grad (loss_at b ε) 0 = (- (2 * ε ^+ 2)) *: basis 1.
Proof.
rewrite edge_loss_grad /edge_grad !mxE expr0n /= !mulr0 !addr0 scale0r scale1r.
by rewrite sub0r add0r mulrN.
Qed.

Theorem edge (ε α : R) : let L := edge_loss 1 in let v := - grad L 0 in
  dot (student_step (squared_error c) (edge_network 0) x w 0 v ε) v = 0 /\
  L (student (squared_error c) (edge_network 0) x w 0 v α ε) - L 0 =
    4 * α ^+ 2 * ε ^+ 4.
Proof.
rewrite /= /student /student_step edge_direction edge_first_step -scaleNr opprK.
split; first by rewrite dot_basis !mxE mulr0.
rewrite /edge_loss !mxE /= !mulr0 !mulr1 expr0n add0r !subr0 !mul1r.
by rewrite addr0 !subr0 !exprMn -exprD mulrCA mulrA -natrX.
Qed.

Lemma edge_product (α ε : R) :
  α * (2 * (α * (2 * ε ^+ 2) - ε ^+ 2) * (α * (2 * ε ^+ 2))) =
  4 * α ^+ 2 * ε ^+ 4 * (2 * α - 1).
Proof.
have -> : α * (2 * ε ^+ 2) - ε ^+ 2 = ε ^+ 2 * (2 * α - 1).
  by rewrite [RHS]mulrBr mulr1; congr (_ - _); rewrite mulrA mulrC (mulrC α).
rewrite (exprM ε 2 2) (_ : 4 = 2 * 2 :> R); last by rewrite -natrM.
move: (ε ^+ 2) (2 * α - 1) => e t.
rewrite [2 * (e * t) * _]mulrCA [2 * (e * t) * _]mulrACA (mulrAC e t e).
by rewrite [2 * 2 * α ^+ 2]mulrC !expr2 !mulrA.
Qed.

(* Eq. (76): A = 0 and F <= 2, and the second step goes against v. *)
Theorem two_step_edge (ε α : R) : let L := edge_loss 0 in let v := - grad L 0 in
  let θ2 := student_after (squared_error c) (edge_network 1) x (fun=> α) (fun=> w) 0 v 2 ε in
  let M := squared_error_matrix c in
  [/\ slope (edge_network 1) x w 0 v M = 0,
      forall u, dot (u *m gauss_newton (edge_network 1) x w 0 M) u <= 2 * dot u u,
      dot θ2 v = - (4 * α ^+ 2 * ε ^+ 4 * (2 * α - 1)) &
      L θ2 - L 0 = 4 * α ^+ 2 * ε ^+ 4 * (2 * α - 1)].
Proof.
move=> L v θ2 M; have vE : v = basis 0 := edge_direction 0.
have slopeE u : slope (edge_network 1) x w 0 u M = 2 * u 0 1 ^+ 2.
  rewrite /slope big_ord1 mul1r {1}/dot big_ord1 /response.
  rewrite (is_diff_dir u (edge_network_diff 1 0)) squared_error_matrixE !mxE.
  rewrite dotDl !dotZl !(dotC (basis _)) !dot_basis !mxE.
  by rewrite !mulr0 !addr0 mul0r add0r mul1r mulr1 -mulrA -expr2.
have θ2E : θ2 = (α * (2 * ε ^+ 2)) *: basis 1 - α *: grad (loss_at 1 ε)
    ((α * (2 * ε ^+ 2)) *: basis 1).
  by rewrite /θ2 vE /= edge_first_step sub0r scaleNr scalerN opprK scalerA.
have along : θ2 0 0 = - (4 * α ^+ 2 * ε ^+ 4 * (2 * α - 1)).
  rewrite θ2E edge_loss_grad !mxE /= !mulr0 !mulr1 expr0n /= !mul0r !mulr0 !addr0 !add0r !mul1r.
  by rewrite edge_product.
clear θ2E; clearbody θ2; split=> [|u||].
- by rewrite vE slopeE !mxE expr0n mulr0.
- have f_diff i : differentiable ((edge_network 1)^~ (x i)) 0 by have [] := edge_network_diff 1 0.
  rewrite (gauss_newton_slope M u f_diff (fun=> w)) slopeE.
  by apply: ler_wpmul2l; [exact: ler0n | exact: coord_sqr_le].
- by rewrite vE dot_basis along.
- by rewrite /L /edge_loss along !mxE !mul0r !sub0r opprK oppr0 subr0.
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
Let c_ge0 j : 0 <= c j. Proof. exact: ler01. Qed.

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

(* An instance of Eq. (43): F = 2, and L falls after any number of steps with α < 1. *)
Theorem identity_falls α k : 0 < α < 1 -> exists2 d, 0 < d & forall ε, 0 < ε < d ->
  minus_loss (θ_ α k.+1 ε) < minus_loss 0.
Proof.
move=> /andP[α0 α1]; pose b : bregman_loss R 0 := squared_error_loss c_ge0.
have f_diff (z : unit) θ : is_diff θ (identity_network^~ z) id := is_diff_id θ.
have slopeE u : slope identity_network x w 0 u (loss_matrix b) = 2 * dot u u.
  rewrite /slope big_ord1 mul1r /response (is_diff_dir u (f_diff _ _)) squared_error_matrixE.
  by rewrite /dot !big_ord1 mxE mulr1 mulrA.
have f_diff0 i : differentiable (identity_network^~ (x i)) 0 by have [] := f_diff tt 0.
have nonzero : dot (- grad minus_loss 0) (- grad minus_loss 0) = 1.
  by rewrite minus_direction dot_basis mxE.
have f_cont i a j :
    {for 0, continuous (fun θ => 'D_(basis a) (identity_network^~ (x i)) θ 0 j)}.
  pose g θ := 'D_(basis a) (identity_network^~ (x i)) θ 0 j.
  suff : {for 0, continuous g} by [].
  have -> : g = fun=> basis a 0 j.
    by apply/funext => θ; rewrite /g (is_diff_dir _ (f_diff tt θ)).
  exact: cst_continuous.
have minus_diff : differentiable minus_loss 0.
  by have [] := is_diff_opp (is_diff_coord 0 (0 : 'rV[R]_1)).
have f_near i : \forall θ \near 0, differentiable (identity_network^~ (x i)) θ.
  by apply: filterE => θ; have [] := f_diff tt θ.
apply: (many_steps_theorem1 (l := b) f_near f_cont minus_diff) => // [|u u0|].
- exact: ltW.
- rewrite (gauss_newton_slope (loss_matrix b) u f_diff0 (fun=> w)) slopeE mulrCA.
  by rewrite ltr_pmul2l ?ltr0n // gtr_pmull // dot_gt0.
- by rewrite slopeE nonzero mulr1 ltr0n.
Qed.

End TwoSteps.
