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

Lemma dot_suml (I : Type) (r : seq I) (P : pred I) (F : I -> 'rV[R]_p) v :
  dot (\sum_(i <- r | P i) F i) v = \sum_(i <- r | P i) dot (F i) v.
Proof. by elim/big_rec2: _ => [|i a b _ <-]; rewrite ?dot0l ?dotDl. Qed.

(* The coordinate k is the inner product with the basis vector k. *)
Lemma dot_basis u k : dot u (basis k) = u 0 k.
Proof.
rewrite /dot (bigD1 k) //= big1 => [|j jk].
  by rewrite mxE !eqxx mulr1 addr0.
by rewrite mxE eqxx (negbTE jk) mulr0.
Qed.

Lemma row_basis u : u = \sum_k u 0 k *: basis k.
Proof. exact: row_sum_delta. Qed.

Lemma dot_ge0 u : 0 <= dot u u.
Proof. by apply: sumr_ge0 => j _; exact: sqr_ge0. Qed.

Lemma coord_sqr_le u j : u 0 j ^+ 2 <= dot u u.
Proof. by rewrite expr2 /dot (bigD1 j) //= ler_addl; apply: sumr_ge0 => k _; exact: sqr_ge0. Qed.

Lemma dot_gt0 u : u != 0 -> 0 < dot u u.
Proof.
move=> u0; have [j uj] : exists j, u 0 j != 0 by apply/rV0Pn.
by apply: lt_le_trans (coord_sqr_le u j); rewrite exprn_even_gt0.
Qed.

End InnerProduct.

(* A matrix changes sides by its transpose. *)
Lemma dot_mulmx (R : realType) (p q : nat) (A : 'M[R]_(p, q)) u v :
  dot (u *m A) v = dot u (v *m A^T).
Proof.
have dotE k (a b : 'rV[R]_k) : dot a b = (a *m b^T) 0 0.
  by rewrite mxE; apply: eq_bigr => j _; rewrite mxE.
by rewrite !dotE trmx_mul trmxK mulmxA.
Qed.

(* The library's rules, for functions given by their values. *)
Section IsDiff.
Variable R : realType.
Implicit Types (U V W : normedModType R).

Lemma is_diff_eqf V W (f : V -> W) a df dg :
  is_diff a f df -> (forall h, df h = dg h) -> is_diff a f dg.
Proof. by move=> fa /funext; exact: is_diff_eq. Qed.

Lemma is_diff_ext V W (f g : V -> W) a df :
  (forall t, f t = g t) -> is_diff a f df -> is_diff a g df.
Proof. by move=> /funext ->. Qed.

Lemma is_diff_const V W (b : W) (a : V) : is_diff a (fun=> b) (fun=> 0).
Proof. exact: is_diff_cst. Qed.

Lemma is_diff_add V W (f g : V -> W) a df dg :
  is_diff a f df -> is_diff a g dg ->
  is_diff a (fun t => f t + g t) (fun h => df h + dg h).
Proof. exact: is_diffD. Qed.

Lemma is_diff_opp V W (f : V -> W) a df :
  is_diff a f df -> is_diff a (fun t => - f t) (fun h => - df h).
Proof. exact: is_diffN. Qed.

Lemma is_diff_sum V W (I : Type) (r : seq I) (P : pred I) (f df : I -> V -> W) a :
  (forall i, P i -> is_diff a (f i) (df i)) ->
  is_diff a (fun t => \sum_(i <- r | P i) f i t) (fun h => \sum_(i <- r | P i) df i h).
Proof.
move=> fi; elim: r => [|i r IH].
  apply: (@is_diff_ext _ _ (fun=> 0)) => [t|]; first by rewrite big_nil.
  by apply: is_diff_eqf (is_diff_const _ _) _ => h; rewrite big_nil.
case: (boolP (P i)) => Pi.
  apply: is_diff_ext (is_diff_eqf (is_diff_add (fi i Pi) IH) _) => t.
    by rewrite big_cons Pi.
  by rewrite big_cons Pi.
apply: is_diff_ext (is_diff_eqf IH _) => t.
  by rewrite big_cons (negbTE Pi).
by rewrite big_cons (negbTE Pi).
Qed.

Lemma is_diff_scale V W (f : V -> W) (c : R) a df :
  is_diff a f df -> is_diff a (fun t => c *: f t) (fun h => c *: df h).
Proof. exact: is_diffZ. Qed.

Lemma is_diff_scalel_by V W (f : V -> R) (b : W) a df :
  is_diff a f df -> is_diff a (fun t => f t *: b) (fun h => df h *: b).
Proof.
move=> fa; apply: DiffDef; first exact: differentiableZl.
by rewrite -[in RHS](@diff_val _ _ _ _ _ _ df fa); exact: diffZl.
Qed.

Lemma is_diff_mul V (f g : V -> R) a df dg :
  is_diff a f df -> is_diff a g dg ->
  is_diff a (fun t => f t * g t) (fun h => f a * dg h + g a * df h).
Proof. exact: is_diffM. Qed.

(* The chain rule. *)
Lemma is_diff_chain U V W (f : U -> V) (g : V -> W) a df dg :
  is_diff a f df -> is_diff (f a) g dg ->
  is_diff a (fun t => g (f t)) (fun h => dg (df h)).
Proof. exact: is_diff_comp. Qed.

(* A real function of one variable with derivative d. *)
Lemma is_diff_real (f : R -> R) (a d : R) :
  is_derive a 1 f d -> is_diff a f (fun h => h * d).
Proof.
move=> fd; have fa : derivable f a 1 by exact: ex_derive.
apply: DiffDef; first exact/derivable1_diffP.
by apply/funext => h; rewrite (deriv1E fa) derive1E derive_val.
Qed.

(* Directional derivatives are values of the differential. *)
Lemma is_diff_dir V W (f : V -> W) a df v : is_diff a f df -> 'D_v f a = df v.
Proof. by move=> [fa <-]; exact: deriveE. Qed.

(* A straight line. *)
Lemma is_diff_line V (b v : V) (a : R) :
  is_diff a (fun t : R => b + t *: v) (fun h => h *: v).
Proof.
apply: is_diff_eqf (is_diff_add (is_diff_const b a) (is_diff_scalel_by v (is_diff_id a))) _.
by move=> h; rewrite add0r.
Qed.

End IsDiff.

(* Maps into R^q, by coordinates. *)
Section Coordinates.
Variables (R : realType) (p : nat).

Lemma is_diff_coord (j : 'I_p.+1) (a : 'rV[R]_p.+1) :
  is_diff a (fun u : 'rV[R]_p.+1 => u 0 j) (fun h => h 0 j).
Proof.
have lin : linear (fun u : 'rV[R]_p.+1 => u 0 j : R).
  by move=> c u v; rewrite !mxE.
apply: DiffDef; first exact: differentiable_coord.
apply: (diff_lin (f := Linear lin)) => b.
exact/differentiable_continuous/differentiable_coord.
Qed.

Lemma is_diff_row (V : normedModType R) (f df : V -> 'rV[R]_p.+1) a :
  (forall j, is_diff a (fun t => f t 0 j) (fun h => df h 0 j)) -> is_diff a f df.
Proof.
move=> fj.
apply: (@is_diff_ext _ _ _ (fun t => \sum_j f t 0 j *: basis j)) => [t|].
  by rewrite -row_basis.
apply: is_diff_eqf (is_diff_sum _ (fun j _ => is_diff_scalel_by (basis j) (fj j))) _ => h.
by rewrite -row_basis.
Qed.

Lemma is_diff_dotl (V : normedModType R) (f df : V -> 'rV[R]_p.+1) a u :
  is_diff a f df -> is_diff a (fun t => dot (f t) u) (fun h => dot (df h) u).
Proof.
move=> fa; apply: is_diff_sum => j _.
have fj := is_diff_chain fa (is_diff_coord j (f a)).
apply: is_diff_eqf (is_diff_mul fj (is_diff_const (u 0 j) a)) _ => h.
by rewrite mulr0 add0r mulrC.
Qed.

End Coordinates.

(* A fixed matrix after a path. *)
Lemma is_diff_mulmxr (R : realType) (p q : nat) (f : R -> 'rV[R]_p.+1) (d : 'rV[R]_p.+1)
    (A : 'M[R]_(p.+1, q.+1)) a :
  is_diff a f (fun h => h *: d) -> is_diff a (fun t => f t *m A) (fun h => h *: (d *m A)).
Proof.
move=> fd; apply: is_diff_row => k.
apply: (@is_diff_ext _ _ _ (fun t => dot (f t) (basis k *m A^T))) => [t|].
  by rewrite -dot_mulmx dot_basis.
apply: is_diff_eqf (is_diff_dotl _ fd) _ => h.
by rewrite dotZl -dot_mulmx dot_basis [in RHS]mxE.
Qed.

Section Gradients.
Variables (R : realType) (p : nat).
Implicit Types (F : 'rV[R]_p.+1 -> R) (a g : 'rV[R]_p.+1).

(* The row of partial derivatives represents the differential ... *)
Lemma has_gradP F a : differentiable F a -> has_grad F a (grad F a).
Proof.
move=> Fa; apply: DiffDef => //; apply/funext => h.
rewrite [in LHS](row_basis h) linear_sum.
by apply: eq_bigr => k _; rewrite linearZ /= mxE deriveE // mulrC.
Qed.

(* ... and nothing else does. *)
Lemma has_grad_grad F a g : has_grad F a g -> grad F a = g.
Proof. by move=> Fg; apply/rowP => k; rewrite mxE (is_diff_dir _ Fg) dot_basis. Qed.

End Gradients.

(* First-order expansions, in epsilons and deltas. *)
Section FirstOrder.
Variable R : realType.

(* The definition of the differential. *)
Lemma first_order (V W : normedModType R) (f df : V -> W) a :
  is_diff a f df -> forall η, 0 < η -> exists2 δ, 0 < δ &
  forall h, `|h| < δ -> `|f (a + h) - f a - df h| <= η * `|h|.
Proof.
move=> [/diff_locally /eqaddoP fa dfE] η η0.
have /nbhs_ballP[δ δ0 near0] := fa η η0.
exists δ => // h hδ; have := near0 h.
rewrite -ball_normE /= sub0r normrN => /(_ hδ).
by rewrite -dfE (addrC a) -addrA -opprD.
Qed.

(* A real function with derivative d: the difference quotient tends to d. *)
Lemma quotient_cvg (g : R -> R) (d b : R) : is_diff 0 g (fun h => h * d) -> g 0 = b ->
  (fun ε => (g ε - b) / ε) @ 0^' --> d.
Proof.
move=> gd <-; have /derivable1_diffP gd1 : differentiable g 0 by [].
have quot : (fun h => h^-1 *: ((g \o shift 0) (h *: 1) - g 0)) @ 0^' --> 'D_1 g 0.
  exact: gd1.
rewrite (is_diff_dir _ gd) mul1r in quot.
rewrite (_ : (fun _ => _) =
  (fun h : R => h^-1 *: ((g \o shift (0 : R)) (h *: (1 : R)) - g 0))) //.
by apply/funext => h /=; rewrite addr0 [_ *: 1]mulr1 mulrC.
Qed.

(* Conversely, the limit of the difference quotient is the derivative. *)
Lemma cvg_quotient (g : R -> R) (d : R) :
  (fun ε => (g ε - g 0) / ε) @ 0^' --> d -> is_diff 0 g (fun h => h * d).
Proof.
move=> gd; apply: is_diff_real.
suff quot : (fun h => h^-1 *: ((g \o shift 0) (h *: 1) - g 0)) @ 0^' --> d.
  by apply: DeriveDef; [apply/cvg_ex; exists d | apply/cvg_lim].
rewrite (_ : (fun _ => _) = (fun h => (g h - g 0) / h)) //.
by apply/funext => h /=; rewrite addr0 [_ *: 1]mulr1 mulrC.
Qed.

(* What is differentiable at 0 is decided near 0. *)
Lemma is_diff_near (p : nat) (f g : R -> 'rV[R]_p.+1) (d : 'rV[R]_p.+1) :
  (\forall ε \near 0, f ε = g ε) -> is_diff 0 f (fun h => h *: d) ->
  is_diff 0 g (fun h => h *: d).
Proof.
move=> fg fd; apply: is_diff_row => j.
apply: (@is_diff_eqf _ _ _ _ _ (fun h => h * d 0 j)) => [|h]; last by rewrite mxE.
apply: cvg_quotient.
have fdj : is_diff 0 (fun ε => f ε 0 j) (fun h => h * d 0 j).
  by apply: is_diff_eqf (is_diff_chain fd (is_diff_coord j _)) _ => h; rewrite mxE.
apply: cvg_trans (quotient_cvg fdj erefl); apply: near_eq_cvg.
rewrite (nbhs_singleton fg).
near=> ε; have -> : f ε = g ε by near: ε; exact: nbhs_dnbhs.
by [].
Unshelve. all: by end_near. Qed.

(* If g(0) = 0 and d > 0, the sign of g(ε) is that of ε, near 0. *)
Lemma positive_derivative (g : R -> R) (d : R) :
  is_diff 0 g (fun h => h * d) -> g 0 = 0 -> 0 < d -> exists2 δ, 0 < δ &
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
Theorem is_diff_weight (W g : R -> R) (d : R) : {for 0, continuous W} -> g 0 = 0 ->
  is_diff 0 g (fun h => h * d) -> is_diff 0 (fun ε => W ε * g ε) (fun h => h * (W 0 * d)).
Proof.
move=> W0 g0 gd; apply: cvg_quotient.
rewrite (_ : (fun _ => _) = (fun ε => W ε * ((g ε - g 0) / ε))); last first.
  by apply/funext => ε; rewrite g0 mulr0 !subr0 mulrA.
apply: cvgM (quotient_cvg gd erefl).
exact/continuous_withinNx.
Qed.

(* The same for vectors: one continuous, the other differentiable and zero at 0. *)
Lemma is_diff_weight_dot (q : nat) (W g : R -> 'rV[R]_q.+1) (d : 'rV[R]_q.+1) :
  (forall j, {for 0, continuous (fun ε => W ε 0 j)}) -> g 0 = 0 ->
  is_diff 0 g (fun h => h *: d) ->
  is_diff 0 (fun ε => dot (g ε) (W ε)) (fun h => h * dot d (W 0)).
Proof.
move=> W0 g0 gd.
apply: is_diff_eqf.
  apply: is_diff_sum => j _; apply: (@is_diff_ext _ _ _ (fun ε => W ε 0 j * g ε 0 j)) => [ε|].
    exact: mulrC.
  apply: (@is_diff_weight (fun ε => W ε 0 j) (fun ε => g ε 0 j) (d 0 j)).
  - exact: W0.
  - by rewrite g0 mxE.
  - by apply: is_diff_eqf (is_diff_chain gd (is_diff_coord j _)) _ => h; rewrite mxE.
by move=> h; rewrite mulr_sumr; apply: eq_bigr => j _; rewrite (mulrC (W 0 0 j)).
Qed.

(* The exponential of a real function. *)
Lemma is_diff_exp (g : R -> R) (d : R) : is_diff 0 g (fun h => h * d) ->
  is_diff 0 (fun ε => expR (g ε)) (fun h => h * (expR (g 0) * d)).
Proof.
move=> gd; apply: is_diff_eqf (is_diff_chain gd (is_diff_real (is_derive_expR _))) _ => h.
by rewrite (mulrC (expR _)) mulrA.
Qed.

End FirstOrder.

(* What goes downhill to first order goes downhill. *)
Section Descent.
Variables (R : realType) (p : nat).
Implicit Types (F L : 'rV[R]_p.+1 -> R) (a b g u B : 'rV[R]_p.+1).

(* Strict differentiability: two points near a are compared, not one of them with a.
   It is what a comparison of two students asks for, neither of which stays at a. *)
Definition has_strict_grad F a g := forall η, 0 < η -> exists2 δ, 0 < δ &
  forall b (h : 'rV[R]_p.+1), `|b - a| < δ -> `|h| < δ -> `|F (b + h) - F b - dot g h| <= η * `|h|.

Lemma coord_le_norm u j : `|u 0 j| <= `|u|.
Proof. by rewrite [leRHS]/Num.norm /= mx_normrE; apply/bigmax_geP; right => /=; exists (0, j). Qed.

Lemma dot_le_norm u (h : 'rV[R]_p.+1) c : (forall k, `|u 0 k| <= c) -> `|dot u h| <= p.+1%:R * c * `|h|.
Proof.
move=> uc; apply: le_trans (ler_norm_sum _ _ _) _.
rewrite -mulrA -[X in X%:R]card_ord mulr_natl -sumr_const; apply: ler_sum => k _.
by rewrite normrM; apply: ler_pmul => //; exact: coord_le_norm.
Qed.

Theorem strict_gradP F a : (\forall θ \near a, differentiable F θ) ->
  (forall k, {for a, continuous (fun θ => 'D_(basis k) F θ)}) ->
  has_strict_grad F a (grad F a).
Proof.
move=> F_near F_cont η η0; pose c := η / p.+1%:R.
have c0 : 0 < c by rewrite divr_gt0 ?ltr0n.
have near_k k : \forall θ \near a, `|grad F a 0 k - grad F θ 0 k| <= c.
  have /cvgr_dist_le/(_ c c0) := F_cont k.
  by apply: filterS => θ; rewrite !mxE.
have near_all := filter_forall (nbhs_filter a) near_k.
have : \forall θ \near a, differentiable F θ /\ forall k, `|grad F a 0 k - grad F θ 0 k| <= c.
  exact: filterI F_near near_all.
move=> /nbhs_ballP[δ δ0 near_a].
exists (δ / 2) => [|b h ba hδ]; first by rewrite divr_gt0 ?ltr0n.
pose segment (t : R) := b + t *: h.
have inside t : t \in `[0, 1]%R -> ball a δ (segment t).
  rewrite in_itv /= -ball_normE /= => /andP[t0 t1].
  rewrite opprD addrA [δ]splitr (le_lt_trans (ler_norm_sub _ _)) // distrC.
  apply: ltr_le_add => //; rewrite normrZ ger0_norm //; apply: le_trans (ltW hδ).
  by rewrite ler_pimull.
pose φ t := F (segment t) - t * dot (grad F a) h.
have φ_diff t : t \in `[0, 1]%R -> is_diff t φ (fun s => s * dot (grad F (segment t) - grad F a) h).
  move=> /inside/near_a[Fs _].
  have whole := is_diff_add (is_diff_chain (is_diff_line b h t) (has_gradP Fs))
    (is_diff_opp (is_diff_mul (is_diff_id t) (is_diff_const (dot (grad F a) h) t))).
  apply: is_diff_eqf whole _ => s.
  by rewrite mulr0 add0r dotZr dotDl dotNl mulrBr (mulrC _ s).
have φ_derive t : t \in `]0, 1[%R ->
    is_derive t 1 φ (dot (grad F (segment t) - grad F a) h).
  move=> /subset_itv_oo_cc t01; have d := φ_diff t t01; have [φ_ex _] := d.
  by apply: DeriveDef; [apply/derivable1_diffP | rewrite (is_diff_dir 1 d) mul1r].
have [|t t01] := MVT (@ltr01 R) φ_derive.
  apply: continuous_in_subspaceT => t; rewrite inE => t01; apply: differentiable_continuous.
  by have [] := φ_diff t t01.
rewrite /φ /segment scale0r addr0 scale1r mul1r mul0r !subr0 mulr1 addrAC => ->.
have [_ close] := near_a _ (inside t (subset_itv_oo_cc t01)).
apply: le_trans (dot_le_norm _ (c := c) _) _ => [k|].
  by have := close k; rewrite distrC !mxE.
by rewrite /c mulrCA divff ?mulr1 ?pnatr_eq0.
Qed.

(* A path that leaves downhill: what it gains is more than a small share of its length. *)
Lemma downhill g B (D : R -> 'rV[R]_p.+1) :
  is_diff 0 D (fun h => h *: B) -> D 0 = 0 -> dot g B < 0 ->
  exists C η d : R, [/\ 0 < C, 0 < η, 0 < d & forall ε, 0 < ε < d ->
    `|D ε| <= ε * C /\ dot g (D ε) + η * `|D ε| < 0].
Proof.
move=> DB D0 gB; set A := - dot g B; have A0 : 0 < A by rewrite oppr_gt0.
have A2 := divr_gt0 A0 (ltr0n R 2).
pose C := `|B| + 1; have C0 : 0 < C by exact: ltr_paddl.
have [δ1 δ1_gt0 size_D] := first_order DB ltr01.
have gD : is_diff 0 (fun ε => dot (D ε) g) (fun h => h * dot g B).
  by apply: is_diff_eqf (is_diff_dotl g DB) _ => h; rewrite dotZl dotC.
have [δ2 δ2_gt0 slope_D] := first_order gD A2.
have η0 : 0 < A / 2 / 2 / C by rewrite !divr_gt0 // ltr0n.
exists C, (A / 2 / 2 / C), (Num.min δ1 δ2); split=> //; first by rewrite lt_minr δ1_gt0.
move=> ε /andP[ε0]; rewrite lt_minr => /andP[ε1 ε2].
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
split=> //; apply: le_lt_trans (ler_add Dg (ler_wpmul2l (ltW η0) DC)) _.
rewrite [X in _ + X]mulrCA divfK ?gt_eqF // addrC subr_lt0 ltr_pmul2l //.
by rewrite ltr_pdivr_mulr ?ltr0n // mulr_natr mulr2n ltr_addl.
Qed.


Lemma falls_along L b g η α u : 0 < α -> dot g u + η * `|u| < 0 ->
  `|L (b + α *: u) - L b - dot g (α *: u)| <= η * `|α *: u| -> L (b + α *: u) < L b.
Proof.
move=> α0 down /(le_trans (ler_norm _)); rewrite !ler_subl_addr => /le_lt_trans; apply.
rewrite gtr_addr dotZr normrZ gtr0_norm // mulrCA -mulrDr addrC.
by rewrite pmulr_rlt0.
Qed.

(* A point a + α D(ε) that starts downhill for L stays below L(a), with one
   threshold for all α: Eq. (16) away from teachers and students. *)
Theorem descent L (D : R -> 'rV[R]_p.+1) a g B :
  has_grad L a g -> is_diff 0 D (fun h => h *: B) -> D 0 = 0 -> dot g B < 0 ->
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α -> α * ε < d ->
  L (a + α *: D ε) < L a.
Proof.
move=> La DB D0 /(downhill DB D0)[C [η [d [C0 η0 d0 down]]]].
have [δ δ0 expand] := first_order La η0.
exists (Num.min d (δ / C)); first by rewrite lt_minr d0 divr_gt0.
move=> ε α; rewrite !lt_minr => /andP[ε0 /andP[εd _]] α0 /andP[_].
rewrite ltr_pdivl_mulr // => αε.
have [DC slope] := down ε (introT andP (conj ε0 εd)).
apply: (falls_along α0 slope); apply: expand; apply: le_lt_trans αε.
by rewrite normrZ gtr0_norm // -mulrA ler_pmul2l.
Qed.

(* Two points a + α D(ε) and a + α D(0), neither of which is a: L is lower at the first. *)
Theorem descent_two L (D : R -> 'rV[R]_p.+1) a g B :
  has_strict_grad L a g -> is_diff 0 (fun ε => D ε - D 0) (fun h => h *: B) -> dot g B < 0 ->
  exists2 d, 0 < d & forall ε α, 0 < ε < d -> 0 < α < d ->
  L (a + α *: D ε) < L (a + α *: D 0).
Proof.
move=> La DB /(downhill DB (subrr _))[C [η [d [C0 η0 d0 down]]]].
have [δ δ0 expand] := La η η0; pose N := `|D 0| + C.
have N0 : 0 < N by rewrite ltr_paddl.
exists (Num.min (Num.min d 1) (δ / N)); first by rewrite !lt_minr d0 ltr01 divr_gt0.
move=> ε α; rewrite !lt_minr => /andP[ε0 /andP[/andP[εd ε1] _]].
rewrite ltr_pdivl_mulr // mulrDr => /andP[α0 /andP[_ small]].
have [DC slope] := down ε (introT andP (conj ε0 εd)).
have -> : a + α *: D ε = a + α *: D 0 + α *: (D ε - D 0).
  by rewrite -addrA -scalerDr addrCA subrr addr0.
have DC1 : α * `|D ε - D 0| <= α * C.
  by rewrite ler_pmul2l // (le_trans DC) // ler_pimull ?ltW.
apply: (falls_along α0 slope); apply: expand.
  by rewrite addrAC subrr add0r normrZ gtr0_norm // (le_lt_trans _ small) // ler_addl mulr_ge0 ?ltW.
by rewrite normrZ gtr0_norm // (le_lt_trans DC1) // (le_lt_trans _ small) // ler_addr mulr_ge0 // ltW.
Qed.

End Descent.
