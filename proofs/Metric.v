(* The theorem further, part 1: one metric for teacher and student (README.md, section
   11). That two metrics can go the wrong way is two_metrics_rise in Counterexamples.v. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype derive.
From OneStep Require Import Definitions Toolbox OneStep.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

Section Metric.
Variables (R : realType) (p n m : nat) (X : Type) (l : loss R n).
Variables (f : 'rV[R]_p.+1 -> X -> 'rV[R]_n.+1) (x : 'I_m -> X) (w : 'I_m -> R).
Variables (θ0 : 'rV[R]_p.+1) (L_T : 'rV[R]_p.+1 -> R) (Q : 'M[R]_p.+1).
Hypothesis f_diff : forall i, differentiable (f^~ (x i)) θ0.
Hypothesis L_diff : differentiable L_T θ0.
Hypothesis Q_sym : Q^T = Q.

Local Notation g := (grad L_T θ0).
Local Notation v := (- (g *m Q)).
Local Notation F := (gauss_newton f x w θ0 (loss_matrix l)).
Local Notation Δ := (metric_step l f x w θ0 v Q).
Local Notation l_adm := (fun i => loss_admissible l _).
Local Notation w_cont := (fun i => @cst_continuous R R (w i) (0 : R)).

Let v_def : v = - (g *m Q^T). Proof. by rewrite Q_sym. Qed.

Lemma metric_slope : dot (g *m Q *m F *m Q) g = slope f x w θ0 v (loss_matrix l).
Proof.
rewrite -(gauss_newton_slope (loss_matrix l) v f_diff (fun=> w)).
by rewrite [in LHS]dot_mulmx Q_sym mulNmx dotNl dotNr opprK.
Qed.

(* Eq. (36). *)
Theorem metric_loss_expansion α :
  (fun ε => (L_T (θ0 + α *: Δ ε) - L_T θ0) / ε) @ 0^' --> - (α * dot (g *m Q *m F *m Q) g).
Proof.
rewrite metric_slope.
exact: (loss_expansion_at f_diff l_adm (W := fun=> w) w_cont L_diff v_def).
Qed.

Hypothesis w_ge0 : forall i, 0 <= w i.

Theorem metric_slope_ge0 : 0 <= dot (g *m Q *m F *m Q) g.
Proof. by rewrite metric_slope; exact: (slope_ge0 (W := fun=> w) v l_adm w_ge0). Qed.

(* Eq. (37). *)
Theorem metric_theorem1 : (forall ε, dot (Δ ε) g = 0) \/
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
  L_T (θ0 + α *: Δ ε) < L_T θ0.
Proof.
have [zero|fall] := theorem1_at f_diff l_adm (W := fun=> w) w_cont w_ge0
  (fun i w0 _ => w0) L_diff v_def; [left => ε | by right].
by rewrite dot_mulmx Q_sym; apply: oppr_inj; rewrite -dotNr oppr0; exact: zero.
Qed.

End Metric.
