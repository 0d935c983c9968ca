(* The theorem further, part 2: powers of a symmetric matrix K <= 1, by their moments
   g K^k . g alone, without eigenvectors (README.md, the proof of Eqs. (43) and (44)). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.analysis Require Import reals.
From OneStep Require Import Definitions Toolbox.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Moments.
Variables (R : realType) (q : nat) (K : 'M[R]_q.+1).
Hypothesis K_sym : K^T = K.
Hypothesis K_le1 : forall u : 'rV[R]_q.+1, dot (u *m K) u <= dot u u.

Definition moment (g : 'rV[R]_q.+1) k := dot (g *m K ^+ k) g.

Lemma moment_add g a b : dot (g *m K ^+ a) (g *m K ^+ b) = moment g (a + b).
Proof.
have power_sym : (K ^+ b)^T = K ^+ b.
  elim: b => [|b IH]; first by rewrite expr0 trmx1.
  by rewrite [in LHS]exprS -mulmxE trmx_mul IH K_sym mulmxE -exprSr.
by rewrite /moment exprD -mulmxE mulmxA [RHS]dot_mulmx power_sym.
Qed.

Lemma moment0 g : moment g 0 = dot g g.
Proof. by rewrite /moment expr0 mulmx1. Qed.

Lemma mul_power (g : 'rV[R]_q.+1) k : g *m K ^+ k *m K = g *m K ^+ k.+1.
Proof. by rewrite -mulmxA mulmxE -exprSr. Qed.

Lemma moment_odd g j : moment g j.*2.+1 <= moment g j.*2.
Proof.
have := K_le1 (g *m K ^+ j).
by rewrite mul_power !moment_add addSn addnn.
Qed.

Lemma moment_pair g j :
  moment g j.*2.+2 + moment g j.*2.+3 <= moment g j.*2 + moment g j.*2.+1.
Proof.
have := K_le1 (g *m K ^+ j + g *m K ^+ j.+1).
rewrite mulmxDl !mul_power !dotDl !dotDr !moment_add !addSn !addnS addnn.
by rewrite addrC ler_add2r.
Qed.

(* Half of the first difference stays, however far below -1 the matrix reaches. *)
Lemma moment_half g j : moment g 0 - moment g 1 <= 2 * (moment g 0 - moment g j.*2.+1).
Proof.
have pairs : moment g j.*2 + moment g j.*2.+1 <= moment g 0 + moment g 1.
  elim: j => [|j IH]; first exact: lexx.
  exact: le_trans (moment_pair g j) IH.
have := le_trans (ler_add (moment_odd g j) (lexx (moment g j.*2.+1))) pairs.
move: (moment g 0) (moment g 1) (moment g _) => a b c cc.
rewrite ler_subl_addr (_ : _ + b = a + (a + b - (c + c))) ?ler_addl ?subr_ge0 //.
by rewrite mulr_natl mulr2n addrACA -opprD -!addrA; congr (_ + (_ + _)); exact: addrC.
Qed.

(* Where also -1 <= K, applied to g K^j (1 - K), the even moments fall. *)
Lemma moment_gap g j : let u := g *m K ^+ j - g *m K ^+ j.+1 in
  dot (u *m K) u + dot u u =
  (moment g j.*2 - moment g j.*2.+1) - (moment g j.*2.+2 - moment g j.*2.+3).
Proof.
rewrite /= mulmxBl !mul_power !(dotDl, dotDr, dotNl, dotNr) !moment_add !addSn !addnS addnn.
move: (moment g _) (moment g _) (moment g _) (moment g _) => a b c d.
rewrite !opprK opprB (addrC (- d)) -(opprB d c) (addrC (d - c)) addrACA subrr addr0.
by rewrite addrC (addrC b).
Qed.

Lemma below_of_pairs (a b c d : R) : c + d <= a + b -> 0 <= (a - b) - (c - d) -> c <= a.
Proof.
rewrite subr_ge0 => sums gaps; have := ler_add sums gaps.
by rewrite addrACA subrr addr0 (addrACA a) subrr addr0 -!mulr2n ler_pmuln2r.
Qed.

Lemma strictly_below_of_pairs (a b c d : R) :
  c + d <= a + b -> 0 < (a - b) - (c - d) -> c < a.
Proof.
rewrite subr_gt0 => sums gaps; have := ler_lt_add sums gaps.
by rewrite addrACA subrr addr0 (addrACA a) subrr addr0 -!mulr2n ltr_pmuln2r.
Qed.

(* Where even 0 <= K, the moments are not negative and all of them fall. *)
Section Nonnegative.
Hypothesis K_ge0 : forall u : 'rV[R]_q.+1, 0 <= dot (u *m K) u.

Lemma moment_ge0 g k : 0 <= moment g k.
Proof.
rewrite -[k]odd_double_half; case: (odd k); last by rewrite add0n -addnn -moment_add dot_ge0.
by have := K_ge0 (g *m K ^+ k./2); rewrite mul_power moment_add addSn addnn.
Qed.

Lemma moment_falls g k : moment g k.+1 <= moment g k.
Proof.
rewrite -[k]odd_double_half; case: (odd k); last exact: moment_odd.
have := ler_add (moment_odd g k./2.+1) (K_ge0 (g *m K ^+ k./2 - g *m K ^+ k./2.+1)).
rewrite mulmxBl !mul_power !(dotDl, dotDr, dotNl, dotNr) !moment_add !addSn !addnS addnn.
move: (moment g _) (moment g _) (moment g _) => a b c.
rewrite opprK addr0 !addrA => le; rewrite -subr_ge0; move: le.
by rewrite ler_addr (addrC b) addrK.
Qed.

End Nonnegative.

Hypothesis K_geN1 : forall u : 'rV[R]_q.+1, - dot u u <= dot (u *m K) u.

Lemma moment_even g j : moment g j.*2.+2 <= moment g j.*2.
Proof.
apply: below_of_pairs (moment_pair g j) _; rewrite -moment_gap.
by rewrite -ler_subl_addr sub0r K_geN1.
Qed.

Lemma moment_le g k : moment g k <= moment g 0.
Proof.
have even j : moment g j.*2 <= moment g 0.
  elim: j => [|j IH]; first exact: lexx.
  exact: le_trans (moment_even g j) IH.
rewrite -[k]odd_double_half; case: (odd k); last exact: even.
exact: le_trans (moment_odd g _) (even _).
Qed.

(* If g K . g < g . g, and -1 < K, every moment but the first is smaller than it. *)
Lemma moment_lt g k :
  (forall u : 'rV[R]_q.+1, u != 0 -> - dot u u < dot (u *m K) u) ->
  moment g 1 < moment g 0 -> moment g k.+1 < moment g 0.
Proof.
move=> K_gtN1 first_lt; have second_lt : moment g 2 < moment g 0.
  apply: strictly_below_of_pairs (moment_pair g 0) _; rewrite -(moment_gap g 0).
  rewrite -ltr_subl_addr sub0r K_gtN1 // subr_eq0; apply: contraTneq first_lt.
  by rewrite /moment => <-; rewrite ltxx.
have even j : moment g j.+1.*2 <= moment g 2.
  elim: j => [|j IH]; first exact: lexx.
  exact: le_trans (moment_even g _) IH.
case: k => [//|k]; apply: le_lt_trans second_lt.
rewrite -[k]odd_double_half; case: (odd k); last exact: (even k./2).
exact: le_trans (moment_odd g k./2.+1) (even k./2).
Qed.

(* Such a matrix is a contraction. *)
Lemma contraction u : dot (u *m K) (u *m K) <= dot u u.
Proof. by have := moment_even u 0; rewrite -(moment_add u 1 1) moment0 expr1. Qed.

End Moments.

(* What is no longer than u has no larger component along u. *)
Lemma dot_contraction (R : realType) (q : nat) (u v : 'rV[R]_q) :
  dot v v <= dot u u -> 0 <= dot (u - v) u.
Proof.
move=> vu; have := dot_ge0 (u - v).
rewrite !(dotDl, dotDr, dotNl, dotNr) (dotC v u) opprK => uv.
have := ler_add uv vu; rewrite add0r.
move: (dot u u) (dot u v) (dot v v) => a b c.
rewrite -subr_ge0 (_ : _ - _ = 2 * (a - b)) ?pmulr_rge0 ?ltr0n //.
by rewrite addrA (addrAC _ c) addrK mulr_natl mulr2n [in RHS]addrA [in LHS]addrAC.
Qed.
