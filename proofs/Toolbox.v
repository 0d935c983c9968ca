(* The one-step theorem, part 2: the calculus that the proof uses. Nothing here
   knows of teachers and students. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp.classical Require Import boolp classical_sets functions.
From mathcomp.analysis Require Import reals topology normedtype landau derive.
From mathcomp.analysis Require Import sequences exp.
From OneStep Require Import Definitions.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Import numFieldNormedType.Exports.
Local Open Scope ring_scope.
Local Open Scope classical_set_scope.

Section InnerProduct.
Variables (R : realType) (p : nat).
Implicit Types (u v w : 'rV[R]_p) (a : R).

Lemma dotC u v : dot u v = dot v u.
Proof. by apply: eq_bigr => j _; rewrite mulrC. Qed.

Lemma dotDl u v w : dot (u + v) w = dot u w + dot v w.
Proof. by rewrite -big_split; apply: eq_bigr => j _; rewrite mxE mulrDl. Qed.

Lemma dotZl a u v : dot (a *: u) v = a * dot u v.
Proof. by rewrite mulr_sumr; apply: eq_bigr => j _; rewrite mxE mulrA. Qed.

Lemma dotNl u v : dot (- u) v = - dot u v.
Proof. by rewrite -scaleN1r dotZl mulN1r. Qed.

Lemma dot0l v : dot 0 v = 0.
Proof. by rewrite -(scale0r 0) dotZl mul0r. Qed.

Lemma dotDr u v w : dot u (v + w) = dot u v + dot u w.
Proof. by rewrite dotC dotDl !(dotC u). Qed.

Lemma dotZr a u v : dot u (a *: v) = a * dot u v.
Proof. by rewrite dotC dotZl dotC. Qed.

Lemma dotNr u v : dot u (- v) = - dot u v.
Proof. by rewrite dotC dotNl dotC. Qed.

Lemma dot0r u : dot u 0 = 0.
Proof. by rewrite dotC dot0l. Qed.

Lemma dot_suml (I : Type) (r : seq I) (P : pred I) (F : I -> 'rV[R]_p) v :
  dot (\sum_(i <- r | P i) F i) v = \sum_(i <- r | P i) dot (F i) v.
Proof. by elim/big_rec2: _ => [|i a b _ <-]; rewrite ?dot0l ?dotDl. Qed.

Lemma dot_sumr (I : Type) (r : seq I) (P : pred I) (F : I -> 'rV[R]_p) v :
  dot v (\sum_(i <- r | P i) F i) = \sum_(i <- r | P i) dot v (F i).
Proof. by rewrite dotC dot_suml; apply: eq_bigr => i _; rewrite dotC. Qed.

(* The coordinate k is the inner product with the basis vector k. *)
Lemma dot_basis u k : dot u (basis k) = u 0 k.
Proof.
rewrite /dot (bigD1 k) //= big1 => [|j jk].
  by rewrite mxE !eqxx mulr1 addr0.
by rewrite mxE eqxx (negbTE jk) mulr0.
Qed.

Lemma row_basis u : u = \sum_k u 0 k *: basis k.
Proof. exact: row_sum_delta. Qed.

(* A vector that is orthogonal to itself is zero. *)
Lemma dot_eq0 u : dot u u = 0 -> u = 0.
Proof.
move=> /eqP; rewrite psumr_eq0 => [/allP u0|j _]; last exact: sqr_ge0.
apply/rowP => j; rewrite mxE.
by have := u0 j (mem_index_enum j); rewrite /= -expr2 sqrf_eq0 => /eqP.
Qed.

End InnerProduct.

(* "f is differentiable at a and its differential there is df". *)
Definition has_diff (R : realType) (V W : normedModType R) (f : V -> W) (a : V)
  (df : V -> W) : Prop := differentiable f a /\ forall h, 'd f a h = df h.

(* "g is the gradient of F at a". *)
Definition has_grad (R : realType) (p : nat) (F : 'rV[R]_p.+1 -> R) (a g : 'rV[R]_p.+1) :
  Prop := has_diff F a (dot g).

Section HasDiff.
Variable R : realType.
Implicit Types (U V W : normedModType R).

Lemma has_diffP V W (f : V -> W) a : differentiable f a -> has_diff f a ('d f a).
Proof. by []. Qed.

Lemma has_diff_eq V W (f : V -> W) a df dg :
  has_diff f a df -> (forall h, df h = dg h) -> has_diff f a dg.
Proof. by move=> [fa dfE] dE; split=> // h; rewrite dfE. Qed.

Lemma has_diff_ext V W (f g : V -> W) a df :
  (forall t, f t = g t) -> has_diff f a df -> has_diff g a df.
Proof. by move=> /funext ->. Qed.

Lemma has_diff_cst V W (b : W) (a : V) : has_diff (fun=> b) a (fun=> 0).
Proof. by split; [exact: differentiable_cst | move=> h; rewrite diff_cst]. Qed.

Lemma has_diff_id V (a : V) : has_diff id a id.
Proof. by split; [exact: ex_diff | move=> h; rewrite diff_val]. Qed.

Lemma has_diffD V W (f g : V -> W) a df dg :
  has_diff f a df -> has_diff g a dg ->
  has_diff (fun t => f t + g t) a (fun h => df h + dg h).
Proof.
move=> [fa dfE] [ga dgE]; split; first exact: differentiableD.
by move=> h; rewrite (diffD fa ga) /= -dfE -dgE.
Qed.

Lemma has_diffN V W (f : V -> W) a df :
  has_diff f a df -> has_diff (fun t => - f t) a (fun h => - df h).
Proof.
move=> [fa dfE]; split; first exact: differentiableN.
by move=> h; rewrite (diffN fa) -dfE.
Qed.

Lemma has_diff_sum V W (I : Type) (r : seq I) (P : pred I) (f df : I -> V -> W) a :
  (forall i, P i -> has_diff (f i) a (df i)) ->
  has_diff (fun t => \sum_(i <- r | P i) f i t) a (fun h => \sum_(i <- r | P i) df i h).
Proof.
move=> fi; elim: r => [|i r IH].
  apply: (@has_diff_ext _ _ (fun=> 0)) => [t|]; first by rewrite big_nil.
  by apply: has_diff_eq (has_diff_cst _ _) _ => h; rewrite big_nil.
case: (boolP (P i)) => Pi.
  apply: has_diff_ext (has_diff_eq (has_diffD (fi i Pi) IH) _) => t.
    by rewrite big_cons Pi.
  by rewrite big_cons Pi.
apply: has_diff_ext (has_diff_eq IH _) => t.
  by rewrite big_cons (negbTE Pi).
by rewrite big_cons (negbTE Pi).
Qed.

Lemma has_diffZ V W (f : V -> W) (c : R) a df :
  has_diff f a df -> has_diff (fun t => c *: f t) a (fun h => c *: df h).
Proof.
move=> [fa dfE]; split; first exact: differentiableZ.
by move=> h; rewrite (diffZ c fa) -dfE.
Qed.

Lemma has_diffZl V W (f : V -> R) (b : W) a df :
  has_diff f a df -> has_diff (fun t => f t *: b) a (fun h => df h *: b).
Proof.
move=> [fa dfE]; split; first exact: differentiableZl.
by move=> h; rewrite (diffZl b fa) -dfE.
Qed.

Lemma has_diffM V (f g : V -> R) a df dg :
  has_diff f a df -> has_diff g a dg ->
  has_diff (fun t => f t * g t) a (fun h => f a * dg h + g a * df h).
Proof.
move=> [fa dfE] [ga dgE]; split; first exact: differentiableM.
by move=> h; rewrite (diffM fa ga) -dfE -dgE.
Qed.

(* The chain rule. *)
Lemma has_diff_comp U V W (f : U -> V) (g : V -> W) a df dg :
  has_diff f a df -> has_diff g (f a) dg ->
  has_diff (fun t => g (f t)) a (fun h => dg (df h)).
Proof.
move=> [fa dfE] [ga dgE]; split; first exact: differentiable_comp.
by move=> h; rewrite (diff_comp fa ga) /= dfE dgE.
Qed.

(* A real function of one variable with derivative d. *)
Lemma has_diff_derive (f : R -> R) (a d : R) :
  is_derive a 1 f d -> has_diff f a (fun h => h * d).
Proof.
move=> fd; have fa : derivable f a 1 by exact: ex_derive.
split; first exact/derivable1_diffP.
by move=> h; rewrite (deriv1E fa) derive1E derive_val.
Qed.

(* Directional derivatives are values of the differential. *)
Lemma has_diff_dir V W (f : V -> W) a df v : has_diff f a df -> 'D_v f a = df v.
Proof. by move=> [fa dfE]; rewrite deriveE ?dfE. Qed.

(* A straight line. *)
Lemma has_diff_line V (b v : V) (a : R) :
  has_diff (fun t : R => b + t *: v) a (fun h => h *: v).
Proof.
apply: has_diff_eq (has_diffD (has_diff_cst b a) (has_diffZl v (has_diff_id a))) _.
by move=> h; rewrite add0r.
Qed.

End HasDiff.

(* Maps into R^q, by coordinates. *)
Section Coordinates.
Variables (R : realType) (p : nat).

Lemma has_diff_coord (j : 'I_p.+1) (a : 'rV[R]_p.+1) :
  has_diff (fun u : 'rV[R]_p.+1 => u 0 j) a (fun h => h 0 j).
Proof.
split; first exact: differentiable_coord.
have lin : linear (fun u : 'rV[R]_p.+1 => u 0 j : R).
  by move=> c u v; rewrite !mxE.
move=> h; rewrite (diff_lin (f := Linear lin)) // => b.
exact/differentiable_continuous/differentiable_coord.
Qed.

Lemma has_diff_row (V : normedModType R) (f df : V -> 'rV[R]_p.+1) a :
  (forall j, has_diff (fun t => f t 0 j) a (fun h => df h 0 j)) -> has_diff f a df.
Proof.
move=> fj.
apply: (@has_diff_ext _ _ _ (fun t => \sum_j f t 0 j *: basis j)) => [t|].
  by rewrite -row_basis.
apply: has_diff_eq (has_diff_sum _ (fun j _ => has_diffZl (basis j) (fj j))) _ => h.
by rewrite -row_basis.
Qed.

Lemma has_diff_dotl (V : normedModType R) (f df : V -> 'rV[R]_p.+1) a u :
  has_diff f a df -> has_diff (fun t => dot (f t) u) a (fun h => dot (df h) u).
Proof.
move=> fa; apply: has_diff_sum => j _.
have fj := has_diff_comp fa (has_diff_coord j (f a)).
apply: has_diff_eq (has_diffM fj (has_diff_cst (u 0 j) a)) _ => h.
by rewrite mulr0 add0r mulrC.
Qed.

End Coordinates.

Section Gradients.
Variables (R : realType) (p : nat).
Implicit Types (F : 'rV[R]_p.+1 -> R) (a g : 'rV[R]_p.+1).

(* The row of partial derivatives represents the differential ... *)
Lemma has_gradP F a : differentiable F a -> has_grad F a (grad F a).
Proof.
move=> Fa; split=> // h; rewrite [in LHS](row_basis h) linear_sum.
by apply: eq_bigr => k _; rewrite linearZ /= mxE deriveE // mulrC.
Qed.

(* ... and nothing else does. *)
Lemma has_grad_grad F a g : has_grad F a g -> grad F a = g.
Proof. by move=> Fg; apply/rowP => k; rewrite mxE (has_diff_dir _ Fg) dot_basis. Qed.

End Gradients.

(* First-order expansions, in epsilons and deltas. *)
Section FirstOrder.
Variable R : realType.

(* The definition of the differential. *)
Lemma first_order (V W : normedModType R) (f df : V -> W) a :
  has_diff f a df -> forall η, 0 < η -> exists2 δ, 0 < δ &
  forall h, `|h| < δ -> `|f (a + h) - f a - df h| <= η * `|h|.
Proof.
move=> [/diff_locally /eqaddoP fa dfE] η η0.
have /nbhs_ballP[δ δ0 near0] := fa η η0.
exists δ => // h hδ; have := near0 h.
rewrite -ball_normE /= sub0r normrN => /(_ hδ).
by rewrite -dfE (addrC a) -addrA -opprD.
Qed.

(* A real function with derivative d: the difference quotient tends to d. *)
Lemma quotient_cvg (g : R -> R) (d b : R) : has_diff g 0 (fun h => h * d) -> g 0 = b ->
  (fun ε => (g ε - b) / ε) @ 0^' --> d.
Proof.
move=> gd <-; have [/derivable1_diffP gd1 _] := gd.
have quot : (fun h => h^-1 *: ((g \o shift 0) (h *: 1) - g 0)) @ 0^' --> 'D_1 g 0.
  exact: gd1.
rewrite (has_diff_dir _ gd) mul1r in quot.
rewrite (_ : (fun _ => _) =
  (fun h : R => h^-1 *: ((g \o shift (0 : R)) (h *: (1 : R)) - g 0))) //.
by apply/funext => h /=; rewrite addr0 [_ *: 1]mulr1 mulrC.
Qed.

(* Conversely, the limit of the difference quotient is the derivative. *)
Lemma cvg_quotient (g : R -> R) (d : R) :
  (fun ε => (g ε - g 0) / ε) @ 0^' --> d -> has_diff g 0 (fun h => h * d).
Proof.
move=> gd; apply: has_diff_derive.
suff quot : (fun h => h^-1 *: ((g \o shift 0) (h *: 1) - g 0)) @ 0^' --> d.
  by apply: DeriveDef; [apply/cvg_ex; exists d | apply/cvg_lim].
rewrite (_ : (fun _ => _) = (fun h => (g h - g 0) / h)) //.
by apply/funext => h /=; rewrite addr0 [_ *: 1]mulr1 mulrC.
Qed.

(* If g(0) = 0 and d > 0, the sign of g(ε) is that of ε, near 0. *)
Lemma positive_derivative (g : R -> R) (d : R) :
  has_diff g 0 (fun h => h * d) -> g 0 = 0 -> 0 < d -> exists2 δ, 0 < δ &
  forall ε, 0 < `|ε| < δ -> 0 < ε * g ε.
Proof.
move=> gd g0 d0; have d2 := divr_gt0 d0 (ltr0n R 2).
have [δ δ0 near0] := first_order gd d2; exists δ => // ε /andP[ε0 εδ].
have := near0 _ εδ; rewrite add0r g0 subr0; set r := _ - _ * _ => rε.
rewrite (_ : g ε = r + ε * d); last by rewrite /r subrK.
have -> : ε * (r + ε * d) = ε * r + `|ε| ^+ 2 * d.
  by rewrite real_normK ?num_real // mulrDr mulrA expr2.
rewrite -ltr_subl_addl sub0r; apply: le_lt_trans (ler_norm _) _.
rewrite normrN normrM; apply: le_lt_trans (ler_wpmul2l (ltW ε0) rε) _.
rewrite mulrCA -expr2 mulrC ltr_pmul2l ?exprn_gt0 //.
by rewrite ltr_pdivr_mulr // mulr_natr mulr2n ltr_addl.
Qed.

(* A weight that is only continuous, times a function that vanishes at 0. *)
Lemma has_diff_weight (W g : R -> R) (d : R) : {for 0, continuous W} -> g 0 = 0 ->
  has_diff g 0 (fun h => h * d) -> has_diff (fun ε => W ε * g ε) 0 (fun h => h * (W 0 * d)).
Proof.
move=> W0 g0 gd; apply: cvg_quotient.
rewrite (_ : (fun _ => _) = (fun ε => W ε * ((g ε - g 0) / ε))); last first.
  by apply/funext => ε; rewrite g0 mulr0 !subr0 mulrA.
apply: cvgM (quotient_cvg gd erefl).
exact/continuous_withinNx.
Qed.

(* A point a + α D(ε) that starts downhill for L stays below L(a), with one
   threshold for all α: Eq. (16) away from teachers and students. *)
Lemma descent (p : nat) (L : 'rV[R]_p.+1 -> R) (D : R -> 'rV[R]_p.+1) a g B :
  has_grad L a g -> has_diff D 0 (fun h => h *: B) -> D 0 = 0 -> dot g B < 0 ->
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
  L (a + α *: D ε) < L a.
Proof.
move=> La DB D0 gB; set A := - dot g B; have A0 : 0 < A by rewrite oppr_gt0.
have A2 := divr_gt0 A0 (ltr0n R 2).
pose C := `|B| + 1; have C0 : 0 < C by exact: ltr_paddl.
have [δ1 δ1_gt0 size_D] := first_order DB ltr01.
have gD : has_diff (fun ε => dot (D ε) g) 0 (fun h => h * dot g B).
  by apply: has_diff_eq (has_diff_dotl g DB) _ => h; rewrite dotZl dotC.
have [δ2 δ2_gt0 slope_D] := first_order gD A2.
have η0 : 0 < A / 2 / 2 / C by rewrite !divr_gt0 // ltr0n.
have [δ3 δ3_gt0 expand_L] := first_order La η0.
exists (Num.min (Num.min δ1 δ2) (δ3 / C)).
  by rewrite !lt_minr δ1_gt0 δ2_gt0 divr_gt0.
move=> ε α /andP[ε0]; rewrite !lt_minr => /andP[/andP[ε1 ε2] _] α0 /andP[_ αε].
have DC : `|D ε| <= ε * C.
  have := size_D ε; rewrite gtr0_norm // => /(_ ε1).
  rewrite add0r D0 subr0 mul1r => near_B.
  rewrite -[D ε](subrK (ε *: B)) (le_trans (ler_norm_add _ _)) //.
  by rewrite normrZ gtr0_norm // mulrDr mulr1 addrC ler_add2l.
have Dg : dot g (D ε) <= - (ε * (A / 2)).
  have := slope_D ε; rewrite gtr0_norm // => /(_ ε2).
  rewrite add0r D0 dot0l subr0 dotC => /(le_trans (ler_norm _)).
  rewrite ler_subl_addr => /le_trans -> //.
  rewrite -[dot g B]opprK -/A mulrN (mulrC _ ε) {2}[A]splitr mulrDr.
  by rewrite opprD addrA subrr add0r.
have αD : `|α *: D ε| <= α * ε * C.
  by rewrite normrZ gtr0_norm // -mulrA ler_pmul2l.
have := expand_L (α *: D ε); rewrite ltr_pdivl_mulr // in αε.
move=> /(_ (le_lt_trans αD αε)) /(le_trans (ler_norm _)).
rewrite !ler_subl_addr dotZr => /le_lt_trans; apply.
rewrite gtr_addr; apply: (@le_lt_trans _ _ (α * ε * (A / 2 / 2) - α * ε * (A / 2))).
  apply: ler_add; last by rewrite -mulrA -mulrN ler_pmul2l.
  apply: le_trans (ler_wpmul2l (ltW η0) αD) _.
  by rewrite mulrCA divfK // gt_eqF.
rewrite subr_lt0 ltr_pmul2l ?mulr_gt0 //.
by rewrite ltr_pdivr_mulr ?ltr0n // mulr_natr mulr2n ltr_addl.
Qed.

End FirstOrder.
