# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--personal_l2=auto`: how strongly to hold personal variables, from data.

Before training, at the model that it starts from, a sample of clients measures
what `evaluation.shrinkage` needs for the penalty s / N_i. The noise is measured
where it matters, at personalized points, on examples that did not train them.
The formula's s is then one of several candidates, among them no penalty and no
personalization, and the smallest loss on held-out training examples decides.
Squared norms, losses and numbers of examples leave clients, and means over them
of the Hessian along random directions; `leaves.py` has the report's words.
"""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any, Optional

import numpy as np

from tff_partial import files
from tff_partial.evaluation import evaluation
from tff_partial.evaluation import measurements
from tff_partial.evaluation import moments as moments_lib
from tff_partial.evaluation import probes
from tff_partial.evaluation import shrinkage
from tff_partial.experiments import parts as parts_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import start as start_lib
from tff_partial.experiments.estimates import held_out_sample
from tff_partial.experiments.estimates import penalty_estimate
from tff_partial.experiments.settings import setting
from tff_partial.learning import algorithms
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import phase as phase_lib
from tff_partial.reporting import page
from tff_partial.runtime import sharding as sharding_lib

_FACTORS = (1 / 8, 1 / 4, 1 / 2, 1, 2)
_CLIENTS = 50
_DIRECTIONS = 8
_CROSS_FITS = 2
_EPOCHS_FACTOR = 2  # Fits take this many times the epochs of fine-tuning.
_KEPT_OF_NOTHING = 0.01  # Of the way from the anchor, if clients do not differ.
_NO_PENALTY, _NOT_PERSONAL = 'no penalty', 'no personalization'


def resolve(
    plan: plan_lib.Plan,
    folder: pathlib.Path,
    init_from: Optional[str],
    *,
    sharding: sharding_lib.Sharding,
    progress: bool = True,
) -> plan_lib.Plan:
  """Replaces a penalty that is to be estimated by the estimate.

  Args:
    plan: The run's plan.
    folder: Where the estimate is kept, as `personal_l2.json`.
    init_from: What training starts from.
    sharding: How many clients are computed at a time, and by whom.
    progress: Whether to print what was found.

  Returns:
    The plan itself if it has a number.

  Raises:
    errors.SettingsError: If the task or its clients do not allow an estimate.
  """
  if not plan.config.estimates_penalty:
    return plan
  found = penalty_estimate.read(folder)
  if found is None:
    found = page.plain(_Estimation(plan, init_from, sharding).run())
    files.replace_text(folder / penalty_estimate.FILE_NAME, page.to_json(found))
  if progress:
    print('\n'.join(penalty_estimate.lines(found)), flush=True)
  return plan_lib.build(
      plan.task,
      setting.replace(
          plan.config, personal_l2=None, personal_l2_total=found['total']
      ),
      on_validation=plan.on_validation,
  )


class _Estimation:
  """One estimate."""

  def __init__(
      self,
      plan: plan_lib.Plan,
      init_from: Optional[str],
      sharding: sharding_lib.Sharding,
  ):
    self._plan = plan
    self._sharding = sharding
    self._start = start_lib.load(plan, init_from)
    self._sample = held_out_sample.draw(
        plan,
        plan.model_fn,
        name='personal_l2',
        most_clients=_CLIENTS,
        least_held_out=2,
        least_examples=8,
        advice='Give a number.',
    )

  def run(self) -> dict[str, Any]:
    """Estimates and chooses."""
    anchor = lambda client_ids: [self._start.personal] * len(client_ids)
    at_anchor, noise = self._gradients(self._sample.training, anchor)
    between = shrinkage.between_clients(**at_anchor)
    curvature = self._curvature(anchor)
    sizes = at_anchor['num_examples']
    for _ in range(_CROSS_FITS if between > 0 else 0):
      fitted, _ = self._fit(curvature * noise / between)
      _, noise = self._gradients(
          self._sample.held_out,
          lambda client_ids, f=fitted: [f[c] for c in client_ids],
          batch_size=1,
      )
    formula = shrinkage.total(**at_anchor, curvature=curvature, noise=noise)
    strong = (1 / _KEPT_OF_NOTHING - 1) * curvature * float(np.median(sizes))
    base = formula.value if np.isfinite(formula.value) else strong
    candidates = self._candidates(base)
    # A loss that is not finite is that of a penalty which does harm.
    finite = [c for c in candidates if np.isfinite(c['loss'])]
    best = min(finite or candidates[-1:], key=lambda c: c['loss'])
    total = best['total']
    if best['name'] == _NOT_PERSONAL or not np.isfinite(formula.value):
      total = max(strong, base)
    quartiles = np.quantile(sizes, [0.25, 0.5, 0.75])
    return {
        'total': total,
        'chosen': best['name'],
        'formula': formula._asdict(),
        'kappa': curvature,
        'noise': noise,
        'between_clients': between,
        'clients': len(self._sample.client_ids),
        'candidates': candidates,
        'num_examples_quartiles': list(quartiles),
        'penalty_quartiles': [total / n for n in quartiles],
        'kept_quartiles': list(shrinkage.kept(total, quartiles, curvature)),
    }

  def _candidates(self, base: float) -> list[dict[str, Any]]:
    """The held-out loss of several weights."""
    totals: dict[str, Optional[float]] = {
        f'{factor:g} s': factor * base for factor in _FACTORS
    }
    found = [
        {'name': name, 'total': total, 'loss': self._fit(total)[1]}
        for name, total in {**totals, _NO_PENALTY: 0.0}.items()
    ]
    unchanged = self._fit(None)[1]
    return [*found, {'name': _NOT_PERSONAL, 'total': None, 'loss': unchanged}]

  def _fit(self, total: Optional[float]) -> tuple[dict[str, Any], float]:
    """Personal variables trained with a weight, and their held-out loss.

    Args:
      total: The weight; `None` trains nothing.
    """
    fitted: dict[str, Any] = {}

    def keep(client_ids, outputs):
      fitted.update(zip(client_ids, (o['personal'] for o in outputs)))

    phases = [] if total is None else self._phases(total)
    table = evaluation.evaluate(
        {
            'fit': evaluation.TestedModel(
                self._plan.build_evaluation(phases),
                self._start.shared,
                lambda client_ids: [self._start.personal] * len(client_ids),
                initial_personal=self._start.personal if total else (),
                keep_fn=keep if phases else None,
            )
        },
        evaluation.Population(
            train=self._sample.training,
            test=self._sample.held_out,
            participated=lambda _: True,
        ),
        self._sample.client_ids,
        seed=self._plan.config.seed,
        sharding=self._sharding,
        progress=False,
    )
    weights = table.weights('fit', 'loss')
    return fitted, float(table.totals('fit', 'loss').sum() / weights.sum())

  def _phases(self, total: float) -> Sequence[phase_lib.Phase]:
    config = self._plan.config
    parts = parts_lib.Parts(config)
    personal = dataclasses.replace(
        parts.unscheduled_personal,
        penalty=0.0,
        penalty_total=total,
        anchor=phase_lib.INITIAL,
    )
    epochs = _EPOCHS_FACTOR * config.num_newcomer_epochs
    return algorithms.finetune(personal, steps=parts.steps_of(epochs)).phases

  def _gradients(
      self,
      examples: clients_lib.Clients,
      personal_fn: Any,
      batch_size: Optional[int] = None,
  ) -> tuple[dict[str, np.ndarray], float]:
    """Squared norms, variances and sizes of personal gradients; their noise.

    Args:
      examples: Which ones to measure on.
      personal_fn: Client ids to personal variables.
      batch_size: Of the measurement; by default as large as it can be with two
        batches at every client.
    """
    form = self._sample.form
    smallest = min(map(examples.num_examples, self._sample.client_ids))
    size = batch_size or max(1, min(self._sample.batch_size, smallest // 2))
    probe = probes.build_gradient_probe(
        self._plan.model_fn,
        client_examples=form.in_batches(size),
    )
    found = measurements.gradient_moments(
        probe,
        self._point(examples, personal_fn),
        self._sample.client_ids,
        sharding=self._sharding,
    )
    variances = moments_lib.example_variance(
        found['personal_squares'],
        found['personal_norms'],
        found['num_examples'],
        found['num_batches'],
    )
    return {
        'norms': found['personal_norms'],
        'variances': variances,
        'num_examples': found['num_examples'],
    }, shrinkage.pool(variances, found['num_batches'])

  def _curvature(self, personal_fn: Any) -> float:
    """kappa, by random directions of signs."""
    rng = np.random.default_rng(
        clients_lib.stream(self._plan.config.seed, 'personal_l2')
    )
    trainable = self._start.personal.trainable
    directions = [
        [
            rng.choice([-1.0, 1.0], np.shape(v)).astype(np.float32)
            for v in trainable
        ]
        for _ in range(_DIRECTIONS)
    ]
    probe = probes.build_curvature_probe(
        self._plan.model_fn, client_examples=self._sample.form
    )
    found = measurements.curvature(
        probe,
        self._point(self._sample.training, personal_fn),
        self._sample.client_ids,
        directions,
        sharding=self._sharding,
    )
    return shrinkage.kappa(*found)

  def _point(
      self, examples: clients_lib.Clients, personal_fn: Any
  ) -> measurements.Point:
    return measurements.Point(
        self._start.shared, personal_fn, examples, self._plan.config.seed
    )
