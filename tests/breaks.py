"""Deliberate mistakes in the methods and in what they share, for ``tests/mutations.py``.

Each subject names a file, the tests that should notice first, and breaks: what is wrong, the text as it
stands in the file, where it must occur exactly once, and the text that takes its place.
"""

# ruff: noqa: E501 - a table: one mistake per line

from __future__ import annotations

from dataclasses import dataclass

LOSSES = ("tests/methods/test_oracles_losses.py", "tests/methods/test_oracles.py")
SELECTION = ("tests/methods/test_oracles_selection.py",)
CORRECTION = ("tests/methods/test_oracles_correction.py",)
FOLDS = ("tests/methods/test_oracles_out_of_fold.py",)
DIVIDEMIX = ("tests/methods/test_oracles_dividemix.py",)
MIXING = ("tests/methods/test_oracles_mixing.py",)
UNICON = ("tests/methods/test_oracles_unicon.py",)
TURN = ("tests/methods/test_oracles_turn.py",)
RCAL = ("tests/methods/test_oracles_rcal.py",)
VOTING = ("tests/methods/test_voting.py",)


@dataclass(frozen=True)
class Break:
    """One mistake: `before`, found exactly once in `file`, becomes `after`."""

    subject: str
    what: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


def _of(
    subject: str, file: str, tests: tuple[str, ...], *mistakes: tuple[str, str, str]
) -> tuple[Break, ...]:
    return tuple(Break(subject, what, f"noisylib/{file}", a, b, tests) for what, a, b in mistakes)


BREAKS = (
    *_of(
        "ce", "methods/ce.py", LOSSES,
        ("label with the wrong sign", "softmax(logits), targets, -1)", "softmax(logits), targets, 1)"),
        ("gradient not divided by the batch", ".div_(targets.shape[-1])", ""),
        ("sum over the batch", "cross_entropy(logits, targets).mean(-1)", "cross_entropy(logits, targets).sum(-1)"),
    ),
    *_of(
        "losses", "methods/losses.py", LOSSES,
        ("cross entropy with the wrong sign", "return -pick(", "return pick("),
        ("softmax over the samples", "logits.mT.softmax(-2).mT", "logits.mT.softmax(-1).mT"),
        ("softmax in log_softmax", "logits.mT.log_softmax(-2).mT", "logits.mT.softmax(-2).mT"),
        ("labels of the first network only", "values.scatter_add_(-1, where, values", "values[:1].scatter_add_(-1, where[:1], values"),
    ),
    *_of(
        "ls", "methods/label_smoothing.py", LOSSES,
        ("uniform part summed", "log_softmax(logits).mean(-1)", "log_softmax(logits).sum(-1)"),
        ("mass of the label not reduced", "(1 - self.smoothing) * cross_entropy", "cross_entropy"),
        ("a / (K - 1) for a / K", "self.smoothing / logits.shape[-1]", "self.smoothing / (logits.shape[-1] - 1)"),
        ("smoothing with the wrong sign", "targets, self.smoothing - 1)", "targets, -self.smoothing - 1)"),
    ),
    *_of(
        "gce", "methods/gce.py", LOSSES,
        ("not divided by q", "targets)) / self.q)", "targets)))"),
        ("q with the wrong sign", "torch.expm1(-self.q", "torch.expm1(self.q"),
        ("gradient of cross entropy", "pick(p, targets) ** self.q /", "pick(p, targets) ** 0 /"),
        ("weight p^(1 - q)", "pick(p, targets) ** self.q /", "pick(p, targets) ** (1 - self.q) /"),
    ),
    *_of(
        "tgce", "methods/truncated_gce.py", LOSSES,
        ("the likely samples left out", "(probability > self.k)", "(probability <= self.k)"),
        ("gradient on all samples", "weight = kept * pick", "weight = pick"),
        ("loss on all samples", "(kept * above)", "above"),
        ("bound forgotten", "(self.k**self.q - torch.exp", "(1 - torch.exp"),
        ("pruned one epoch late", "since >= 0 and since %", "since > 0 and (since - 1) %"),
        ("pruned every epoch", "and since % self.refresh == 0", ""),
        ("pruned from the start", "since = epoch - round(self.start_at * training.context.epochs)", "since = epoch"),
    ),
    *_of(
        "sce", "methods/sce.py", LOSSES,
        ("weights swapped", "self.alpha * ce - self.beta * self.log_zero", "self.beta * ce - self.alpha * self.log_zero"),
        ("reverse with the wrong sign", "(self.alpha - self.beta * self.log_zero * pick", "(self.alpha + self.beta * self.log_zero * pick"),
        ("p for 1 - p", "(1 - (-ce).exp())", "(-ce).exp()"),
        ("gradient without p", "self.log_zero * pick(p, targets)", "self.log_zero"),
    ),
    *_of(
        "elr", "methods/elr.py", LOSSES,
        ("regulariser with the wrong sign", "+ self.lam * regulariser", "- self.lam * regulariser"),
        ("pull with the wrong sign", "(-self.lam / (1 -", "(self.lam / (1 -"),
        ("momentum swapped", "now.mul_(1 - self.beta).add_(batch.take(\"target\"), alpha=self.beta)", "now.mul_(self.beta).add_(batch.take(\"target\"), alpha=1 - self.beta)"),
        ("nothing remembered", 'batch.put("target", t)', "pass"),
        ("not normalised", "now = p[0] / p[0].sum(-1, keepdim=True)", "now = p[0].clone()"),
        ("buffer used before its update", 'batch.put("target", t)\n        return t', 't, old = batch.take("target"), t\n        batch.put("target", old)\n        return t'),
        ("gradient through clamped values", "torch.where(p == clamped, t, 0)", "t"),
        ("softmax half differentiated", "p * (g - (p * g).sum(-1, keepdim=True))", "p * g"),
        ("buffer by place in the batch", 'batch.take("target")', 'batch.state["target"][:, :, : p.shape[3]]'),
    ),
    *_of(
        "forward_oracle", "methods/correction.py", CORRECTION,
        ("T transposed", 'batch.state["log_T"].mT', 'batch.state["log_T"]'),
        ("r - p", "log_softmax(logits).exp() - posterior)", "posterior - log_softmax(logits).exp())"),
        ("sum over the batch", ".logsumexp(-1).mean(-1)", ".logsumexp(-1).sum(-1)"),
        ("singular T let through", "if not (condition < SINGULAR).all():", "if False:"),
        ("one singular T let through", "(condition < SINGULAR).all()", "(condition < SINGULAR).any()"),
    ),
    *_of(
        "forward", "methods/correction.py", CORRECTION,
        ("outliers kept", "columns < ceiling, columns", "columns < 2, columns"),
        ("the percentile itself kept", "columns < ceiling, columns", "columns <= ceiling, columns"),
        ("nothing left is sample 0", "torch.where(none_left, columns, left)", "left"),
        ("rows for columns", "columns = P.mT.contiguous()", "columns = P.contiguous()"),
        ("percentile one place off", "* (values.shape[-1] - 1)", "* values.shape[-1] - 1.5"),
        ("percentile not interpolated", "torch.lerp(lower, upper, place - low)", "lower"),
        ("T not estimated", "log_T = T.clamp(", "log_T = torch.eye(T.shape[-1]).expand_as(T).clamp("),
    ),
    *_of(
        "backward", "methods/correction.py", CORRECTION,
        ("inverse transposed", "inverse = batch.state[\"inverse\"]\n", "inverse = batch.state[\"inverse\"].mT\n"),
        ("T for its inverse", "torch.linalg.inv(T)", "T.clone()"),
        ("loss with the wrong sign", "return -(self._weights", "return (self._weights"),
        ("gradient not divided by the batch", "log_softmax(logits).exp() - self._weights(targets, batch)) / targets.shape[-1]", "log_softmax(logits).exp() - self._weights(targets, batch))"),
    ),
    *_of(
        "out_of_fold", "methods/out_of_fold.py", FOLDS,
        ("trained on the own fold", "!= numbers)", "== numbers)"),
        ("trained on all folds", "(fold_of.gather(2, at) != numbers)", "(fold_of.gather(2, at) != -numbers - 1)"),
        ("probabilities of another fold", "fold[None, ..., None]", "(fold[None, ..., None] + 1).remainder(folds)"),
        ("folds not stratified", "one_hot.cumsum(2).sub_(1).mul_(one_hot).sum(-1)", "torch.arange(N).expand_as(y)"),
        ("folds in the order of the samples", 'torch.randperm(N, generator=torch_generator("folds", seed))', "torch.arange(N)"),
        ("mean over the whole batch", "seen.sum(-1, keepdim=True)", "seen.sum(-1, keepdim=True) * 0 + seen.shape[-1]"),
        ("learning rate not lowered", "recipe.learning_rate_at(epoch)", "recipe.learning_rate"),
        ("same batches every epoch", 'torch_generator("fold-batches", seed, epoch)', 'torch_generator("fold-batches", seed)'),
        ("too few samples let through", "if counts.min() < folds:", "if counts.min() < 1:"),
        ("probabilities in single precision", "heads.forward(rows).double()", "heads.forward(rows).float()"),
    ),
    *_of(
        "cl_prune", "methods/confident_learning.py", FOLDS,
        ("the pruned kept", "kept = keep_mask(training.y, P)", "kept = ~keep_mask(training.y, P)"),
        ("mean over the whole batch", "kept.sum(-1, keepdim=True).clamp(min=1)", "kept.shape[-1]"),
        ("nothing kept divides by zero", ".clamp(min=1)", ""),
        ("gradient on all samples", ".mul_(self._weights(batch).unsqueeze(-1))", ".div_(targets.shape[-1])"),
    ),
    *_of(
        "confident", "confident.py", ("tests/test_confident.py",),
        ("the pruned kept", "return ~cleanlab.find_label_issues", "return cleanlab.find_label_issues"),
        ("another way to prune", 'filter_by="prune_by_noise_rate"', 'filter_by="predicted_neq_given"'),
        ("labels of the first run", "_keep_run(labels[run], rows[run])", "_keep_run(labels[0], rows[run])"),
    ),
    *_of(
        "coteaching", "methods/coteaching.py", SELECTION,
        ("networks not exchanged", "easy.flip(0)", "easy"),
        ("ramp one epoch late", "(epoch + 1) / (self", "epoch / (self"),
        ("ramp one epoch long", "(self.ramp_epochs - 1)", "self.ramp_epochs"),
        ("exponent on the ramp", "noise_rate**self.exponent * min((epoch + 1) / (self.ramp_epochs - 1), 1.0)", "noise_rate * min((epoch + 1) / (self.ramp_epochs - 1), 1.0) ** self.exponent"),
        ("floor of rounded products", " + 1e-9).floor()", ").floor()"),
        ("rounded up", ".floor().clamp", ".ceil().clamp"),
        ("nothing may be kept", ".clamp(min=1)", ""),
        ("loss divided by the batch", "torch.where(batch.selected, losses, 0).sum(-1) / kept", "torch.where(batch.selected, losses, 0).mean(-1)"),
        ("gradient divided by the batch", "weight = batch.selected / kept.to(logits.dtype).unsqueeze(-1)", "weight = batch.selected / targets.shape[-1]"),
        ("ties to the later sample", "order = losses.argsort(dim=-1, stable=True)", "order = losses.shape[-1] - 1 - losses.flip(-1).argsort(dim=-1, stable=True)"),
        ("largest losses kept", "losses.argsort(dim=-1, stable=True)", "losses.argsort(dim=-1, stable=True, descending=True)"),
    ),
    *_of(
        "jocor", "methods/jocor.py", SELECTION,
        ("weights swapped", "(1 - self.lam) * supervised + self.lam * apart", "self.lam * supervised + (1 - self.lam) * apart"),
        ("one direction only", "((log_p[0].exp() - log_p[1].exp()) * (log_p[0] - log_p[1]))", "(log_p[0].exp() * (log_p[0] - log_p[1]))"),
        ("agreement held for one network", "log_p[0].exp() - log_p[1].exp()", "log_p[0].exp() - log_p[1].exp().detach()"),
        ("divergence with the wrong sign", "+ self.lam * apart", "- self.lam * apart"),
        ("chosen by cross entropy only", "small_losses(joint.detach()", "small_losses(supervised.detach()"),
        ("loss divided by the batch", "torch.where(easy, joint, 0).sum(-1) / kept", "torch.where(easy, joint, 0).mean(-1)"),
        ("supervised by one network", "-pick(log_p, targets).sum(0)", "-2 * pick(log_p, targets)[0]"),
    ),
    *_of(
        "cufit", "methods/cufit.py", SELECTION,
        ("modules choose for themselves", "logits.detach()[:2].argmax", "logits.detach()[1:].argmax"),
        ("LPM chooses for both", "logits.detach()[:2].argmax", "logits.detach()[[0, 0]].argmax"),
        ("disagreement chosen", "argmax(-1) == targets", "argmax(-1) != targets"),
        ("LPM masked", "torch.cat([torch.ones_like(agrees[:1]), agrees])", "torch.cat([agrees[:1], agrees])"),
        ("loss divided by the kept", "cross_entropy(logits, targets), 0).mean(-1)", "cross_entropy(logits, targets), 0).sum(-1) / batch.selected.sum(-1).clamp(min=1)"),
        ("gradient divided by the kept", ".unsqueeze(-1) / targets.shape[-1]", ".unsqueeze(-1) / batch.selected.sum(-1).clamp(min=1)[..., None, None]"),
        ("predictions of the IAM", "return logits[2]", "return logits[1]"),
        ("two linear modules", '(("linear", 1), (head, 2))', '(("linear", 2), (head, 1))'),
    ),
    *_of(
        "dividemix", "methods/dividemix.py", DIVIDEMIX,
        ("own division", "training.losses())).flip(0)", "training.losses()))"),
        ("the noisy labelled", "weight > self.threshold", "weight < self.threshold"),
        ("losses not scaled", "low_posterior(scale_to_unit(training.losses()))", "low_posterior(training.losses())"),
        ("threshold ignored", "weight > self.threshold", "weight > 0.5"),
        ("rate ignored", "(~asymmetric & (context.noise_rate > FEW_WRONG_UP_TO))", "~asymmetric"),
        ("type ignored", "(~asymmetric & (context.noise_rate > FEW_WRONG_UP_TO))", "(context.noise_rate > FEW_WRONG_UP_TO)"),
        ("limit of the rate", "FEW_WRONG_UP_TO, MANY_WRONG = 0.205", "FEW_WRONG_UP_TO, MANY_WRONG = 0.25"),
        ("penalty for symmetric noise", "penalty = asymmetric if", "penalty = ~asymmetric if"),
        ("penalty with the wrong sign", "penalty * p * (log_p - confidence)", "-penalty * p * (log_p - confidence)"),
        ("penalty half differentiated", "(log_p - confidence)", "log_p"),
        ("loss rewards confidence", '+ batch.state["penalty"].unsqueeze(-1) * confidence', '- batch.state["penalty"].unsqueeze(-1) * confidence'),
    ),
    *_of(
        "mixing", "methods/semisupervised.py", MIXING,
        ("sharpened the wrong way", "** (1 / temperature)", "** temperature"),
        ("sharpened, not normalised", "return powered / powered.sum(-1, keepdim=True)", "return powered"),
        ("smaller share kept", "torch.maximum(lam, 1 - lam)", "torch.minimum(lam, 1 - lam)"),
        ("share as drawn", "torch.maximum(lam, 1 - lam)", "lam"),
        ("ramp in whole epochs", "batch.epoch + batch.step / batch.n_steps - self", "batch.epoch - self"),
        ("ramp from the first epoch", "min(since / self.ramp_epochs, 1.0)", "min((batch.epoch + batch.step / batch.n_steps) / self.ramp_epochs, 1.0)"),
        ("ramp without end", "min(since / self.ramp_epochs, 1.0)", "since / self.ramp_epochs"),
        ("no ramp", "* min(since / self.ramp_epochs, 1.0)", ""),
        ("division from the first epoch", "if epoch >= self.warm_up_epochs", "if epoch >= 0 * self.warm_up_epochs"),
        ("division one epoch late", "if epoch >= self.warm_up_epochs", 'if not epoch or "labelled" not in state or epoch > self.warm_up_epochs'),
        ("guessed by the own network", "guessed = p.mean(0).expand_as(p)", "guessed = p"),
        ("refined by both", "weight * one_hot + (1 - weight) * p", "weight * one_hot + (1 - weight) * p.mean(0)"),
        ("weights swapped", "weight * one_hot + (1 - weight) * p", "(1 - weight) * one_hot + weight * p"),
        ("refined and guessed swapped", "refined, guessed)", "guessed, refined)"),
        ("targets of the other sample", "lam * q + (1 - lam) * q.gather", "(1 - lam) * q + lam * q.gather"),
        ("targets not mixed", "return rows, lam * q + (1 - lam) * q.gather(3, where.unsqueeze(-1).expand_as(q))", "return rows, q"),
        ("part of the other sample", "labelled = batch.selected.repeat(1, 1, 1, views)", "labelled = batch.selected.flip(-1).repeat(1, 1, 1, views)"),
        ("squared error summed over classes", "((p - targets) ** 2).mean(-1)", "((p - targets) ** 2).sum(-1)"),
        ("K forgotten in the gradient", "share = 2 / K * weight", "share = 2 * weight"),
        ("penalty with the wrong sign", "supervised + weight * squared + prior * penalty", "supervised + weight * squared - prior * penalty"),
        ("weight of the penalty ignored", "(prior / (K * rows))", "(1 / (K * rows))"),
        ("weight of the penalty lost in the loss", "+ prior * penalty", "+ penalty"),
        ("weight of the penalty not handed on", "labelled, weight, self.prior_weight)", "labelled, weight)"),
        ("penalty per row", "_mean_prediction(p).unsqueeze(-2)\n", "p.clamp(min=1e-30)\n"),
        ("parts swapped in the gradient", "apart.mul_(_share(labelled, p)", "apart.mul_(_share(~labelled, p)"),
        ("an empty part divides by zero", "part.sum(-1, keepdim=True).clamp(min=1)", "part.sum(-1, keepdim=True)"),
        ("one network predicts", "return logits.sum(0)", "return logits[0]"),
        ("no warm-up in short runs", "max(1, round(self.warm_up * epochs))", "round(self.warm_up * epochs)"),
        ("targets from one view", "p.unflatten(3, (len(target_views), -1)).mean(3)", "p.unflatten(3, (len(target_views), -1))[:, :, :, 0]"),
    ),
    *_of(
        "unicon", "methods/unicon.py", UNICON,
        ("natural logarithm", "both + (1 - p) + (2 / (1 + p)).log2()", "both + (1 - p) + (2 / (1 + p)).log()"),
        ("divergence not halved", "return 0.5 * (both", "return (both"),
        ("cut raised", "cut - (cut - d.amin", "cut + (cut - d.amin"),
        ("low cuts lowered", "torch.where(cut > d_mu,", "torch.where(cut < d_mu,"),
        ("cut never lowered", "torch.where(cut > d_mu,", "torch.where(cut > 2,"),
        ("quota of the whole set", "/ n_classes + 1e-9", "+ 1e-9"),
        ("quota less one", "(place <= quota)", "(place < quota)"),
        ("largest divergences kept", "d.argsort(dim=-1, stable=True)", "d.argsort(dim=-1, stable=True, descending=True)"),
        ("not balanced", "place = (one_hot.cumsum(-2) * one_hot).sum(-1)", "place = one_hot.sum(-1).cumsum(-1) / n_classes"),
        ("weight grows with the divergence", "torch.where(d < 0.5, 1, 1 - d)", "torch.where(d < 0.5, 1, d)"),
        ("divergence of one network", "softmax(z.double()).mean(0)", "softmax(z.double())[0]"),
        ("mean of logits", "softmax(z.double()).mean(0)", "softmax(z.double().mean(0))"),
        ("views swapped", "(self.weak_drop, self.weak_drop, self.strong_drop, self.strong_drop)", "(self.strong_drop, self.strong_drop, self.weak_drop, self.weak_drop)"),
        ("all views mixed", "self.strong_drop, self.strong_drop), 2", "self.strong_drop, self.strong_drop), 0"),
    ),
    *_of(
        "turn", "methods/turn.py", TURN,
        ("phase II one epoch late", "if epoch == probe_epochs:", "if epoch == probe_epochs + 1:"),
        ("linear layer not copied", "networks.banks[1].parameters[name].copy_(networks.banks[0].parameters[name])", "pass"),
        ("copied the wrong way", "networks.banks[1].parameters[name].copy_(networks.banks[0].parameters[name])", "networks.banks[0].parameters[name].copy_(networks.banks[1].parameters[name])"),
        ("both heads train", 'networks.train_only([state["phase"]])', "networks.train_only([0, 1])"),
        ("losses of the probe", "training.losses()[1, :, 0]", "training.losses()[0, :, 0]"),
        ("one mixture for all classes", "member = torch.nn.functional.one_hot(y, n_classes).mT.bool()", "member = torch.nn.functional.one_hot(y, n_classes).mT.bool() | True"),
        ("losses not scaled", "low_posterior(scale_to_unit(per_class, member), member)", "low_posterior(per_class.contiguous(), member)"),
        ("the noisy taken for clean", "return (posterior > tau) |", "return (posterior < tau) |"),
        ("classes without a clean sample", "return (posterior > tau) | best ", "return posterior > tau "),
        ("mixture of three samples", "FEWEST = 4", "FEWEST = 2"),
        ("tau ignored", "return (posterior > tau) |", "return (posterior > 0.5) |"),
        ("as many as the richest", ".amin(1, keepdim=True).clamp(min=1)", ".amax(1, keepdim=True).clamp(min=1)"),
        ("absent classes counted", "torch.where(member.any(1), counts, counts.amax())", "counts"),
        ("noisy samples drawn", "torch.where(clean, keys, 2.0)", "keys"),
        ("one too many drawn", "(place <= n).long()", "(place <= n + 1).long()"),
        ("same draw every epoch", 'torch_generator("redraw", seed, epoch)', 'torch_generator("redraw", seed)'),
        ("draw not shuffled", "torch.randperm(N, generator=generator)", "torch.arange(N)"),
        ("draw not random", "torch.rand(N, generator=generator, dtype=torch.float64)", "torch.arange(N, dtype=torch.float64) / N"),
        ("draw not repeated", "torch.arange(N, device=y.device) % drawn.sum(1, keepdim=True)", "torch.arange(N, device=y.device).expand_as(y)"),
        ("phases swap their losses", "CrossEntropy() if phase else", "CrossEntropy() if not phase else"),
        ("phases swap their scores", 'return logits[state["phase"]]', 'return logits[1 - state["phase"]]'),
    ),
    *_of(
        "rcal", "methods/rcal.py", RCAL,
        ("outliers kept, the rest dropped", ".fit_predict(X) == 1]", ".fit_predict(X) == -1]"),
        ("outliers kept", "if len(X) > neighbours:", "if False:"),
        ("own and borrowed swapped", "mixed_means[k] += self.mix *", "mixed_means[k] += (1 - self.mix) *"),
        ("covariance not mixed", "mixed_covariances[k] += self.mix * (borrowed - covariances[k])", "pass"),
        ("heads weigh the same", "weights = counts[nearest] / counts[nearest].sum()", "weights = np.full(len(nearest), 1 / len(nearest))"),
        ("farthest heads", "np.argsort(distance, kind=\"stable\")", "np.argsort(-distance, kind=\"stable\")"),
        ("all classes are heads", "large = np.flatnonzero(counts >= np.median(counts))", "large = np.arange(len(counts))"),
        ("median class is a tail", "np.flatnonzero(counts < np.median(counts))", "np.flatnonzero(counts <= np.median(counts))"),
        ("cap ignored", "min(counts.max() - count, self.cap * count)", "counts.max() - count"),
        ("filled up to the cap", "min(counts.max() - count, self.cap * count)", "max(counts.max() - count, self.cap * count) * (count < counts.max())"),
        ("factor transposed", "noise @ factor.T", "noise @ factor"),
        ("mean forgotten", "points.append(mean + noise", "points.append(noise"),
        ("covariance for its factor", "np.linalg.cholesky(covariance + JITTER * np.eye(X.shape[1]))", "covariance + JITTER * np.eye(X.shape[1])"),
        ("same noise for all classes", 'numpy_generator("rcal", seed, int(c))', 'numpy_generator("rcal", seed)'),
        ("drawn points left out", "torch.randperm(N + len(points), generator", "torch.randperm(N + 0 * len(points), generator"),
        ("longer epochs", "(\"batches\", seed, epoch))[:N]", "(\"batches\", seed, epoch))"),
        ("labels not mixed", "labels.gather(1, permutation).unsqueeze(1)", "labels.unsqueeze(1)"),
        ("one off among drawn points", "drawn = batch.index - N", "drawn = batch.index - N - 1"),
        ("labels of drawn points forgotten", "labels[s, extra] = classes[drawn[s, extra]]", "pass"),
    ),
    *_of(
        "mixup", "methods/mixup.py", (*MIXING, *RCAL),
        ("rows of the other sample", "torch.lerp(other, rows,", "torch.lerp(rows, other,"),
        ("rows left alone", "torch.lerp(other, rows, weight.view(-1, 1, 1))", "rows"),
        ("same draw every step", "batch.epoch, batch.step)", "batch.epoch)"),
        ("weight not from alpha", "random.beta(alpha, alpha)", "random.beta(1, 1)"),
    ),
    *_of(
        "knn", "methods/voting.py", VOTING,
        ("one voter less", "nearest(X, self.k, X_test), y, n_classes)", "nearest(X, self.k - 1, X_test), y, n_classes)"),
        ("neighbours among the tested", "nearest(X, self.k, X_test)", "nearest(X_test, self.k, X_test)"),
        ("votes not rounded", "return votes.mul_(2**40).round_().div_(2**40)", "return votes"),
        ("even numbers let through", "if value % 2 == 0:", "if False:"),
        ("too few samples let through", "if n_samples <= value:", "if n_samples < value:"),
    ),
    *_of(
        "ann", "methods/voting.py", VOTING,
        ("k of the farthest", "k[..., index[:, 0]]", "k[..., index[:, -1]]"),
        ("one voter more", "(position < k[:, :, part].unsqueeze(-1))", "(position <= k[:, :, part].unsqueeze(-1))"),
        ("all vote", "if k is not None:", "if False:"),
        ("k found among all kmin", "confirming_k(nearest(X, self.kmax), y, self.kmin, n_classes)", "confirming_k(nearest(X, self.kmax), y, self.kmax, n_classes)"),
    ),
    *_of(
        "wann", "methods/voting.py", VOTING,
        ("weights upside down", "1 / k.double() if", "k.double() if"),
        ("weights ignored", "if self.weighted else None", "if False else None"),
        ("weight of the tested", "weight[:, :, index[part]]", "weight[:, :, index[part][:, :1]]"),
    ),
    *_of(
        "neighbours", "neighbours.py", ("tests/test_neighbours.py",),
        ("a sample is its own neighbour", "partial[at, start + at] = torch.inf", "pass"),
        ("farthest neighbours", "largest=False", "largest=True"),
        ("label never confirmed", "(counts.argmax(-1) == own)", "(counts.argmax(-1) != own)"),
        ("last k that confirms", "& (block == kmax), k)", ", k)"),
        ("every k tried", "range(kmin, kmax, 2)", "range(kmin, kmax, 1)"),
        ("votes of the last step only", "labels[..., first:k], one[..., first:k]", "labels[..., first : k - 1], one[..., first : k - 1]"),
        ("duplicates as the product rounds them", "doubtful = (values.diff(dim=1) <= 2 * error.unsqueeze(1)).any(1)", "doubtful = torch.zeros_like(error, dtype=torch.bool)"),
    ),
    *_of(
        "mixtures", "mixtures.py", ("tests/test_mixtures.py",),
        ("high component", "odds, out, size = joint[..., :1] - joint[..., 1:],", "odds, out, size = joint[..., 1:] - joint[..., :1],"),
        ("equal values are noisy", "theta[:, 0, 0] = 1.0", "theta[:, 0, 1] = 1.0"),
        ("components in any order", "em.low_first(theta)", "theta"),
        ("scaled by the maximum", "(flat - low).div_(torch.where(high > low, high - low, 1.0))", "(flat - low).div_(torch.where(high > low, high, 1.0))"),
        ("not moved to zero", "(flat - low).div_(", "flat.clone().div_("),
        ("masked values count", "_read(values, mask)\n    _check_options", "_read(values, None)\n    _check_options"),
        ("masked values have a posterior", ".masked_fill_(~mask, 0.0)\n\n\ndef fit_mixture", "\n\n\ndef fit_mixture"),
    ),
    *_of(
        "mixture_em", "mixture_em.py", ("tests/test_mixtures.py",),
        ("variances not regularised", ".clamp_(min=0.0) + problems.reg", ".clamp_(min=0.0) + 1e-12"),
        ("no tolerance", "(bound - before).abs() < tol", "(bound - before).abs() < 0"),
        ("one iteration less", "for iteration in range(1, max_iter + 1):", "for iteration in range(1, max_iter):"),
        ("stopped without the last step", "theta = m_step(problems, sums)\n        done", "theta = m_step(problems, sums) if iteration < 3 else theta\n        done"),
        ("weights forgotten", "constant = weights.log() + precision.log() / 2", "constant = precision.log() / 2"),
        ("variances forgotten", "weights.log() + precision.log() / 2 -", "weights.log() -"),
        ("threshold at the mean", "threshold, before = (low_sum / count + (total - low_sum) / (n - count)) / 2, count", "before = count"),
        ("bound without the smaller posterior", "bound -= _log_product(", "bound += _log_product("),
    ),
    *_of(
        "networks", "networks.py", ("tests/test_networks.py", "tests/methods/test_oracles_turn.py"),
        ("all kinds start at network 0", "            first += count\n        # The widest", "        # The widest"),
        ("narrow preparation", "self._widest = max(", "self._widest = min("),
        ("resting heads train", "bank.flat_gradient if position in banks else None", "bank.flat_gradient"),
        ("kinds in reverse", "return torch.cat(parts, out=self._scratch).mT", "return torch.cat(parts[::-1], out=self._scratch).mT"),
        ("gradient of the first kind for all", "gradient[first : first + count]", "gradient[:count]"),
        ("features for all kinds", "bank.backward(x[..., : bank.n_inputs], gradient", "bank.backward(x[..., -bank.n_inputs :], gradient"),
    ),
    *_of(
        "views", "training.py", MIXING,
        ("not scaled up", "x * (keep / (1 - drop)).to(x)", "x * keep.to(x)"),
        ("the dropped kept", ">= drop.float()", "< drop.float()"),
        ("same views every step", 'torch_generator("views", seed, batch.epoch, batch.step)', 'torch_generator("views", seed, batch.epoch)'),
        ("same view for all samples", "torch.rand((B, kept), generator=g).argsort(1)", "torch.rand((1, kept), generator=g).argsort(1).expand(B, -1)"),
        ("views not standardised", "None if views is None else (views - mean) / std", "views"),
    ),
)  # fmt: skip
