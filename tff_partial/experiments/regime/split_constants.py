# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The constants of theory for one split of a task, as a dictionary."""

from typing import Any

import numpy as np

from tff_partial.evaluation import measurements
from tff_partial.evaluation import moments as moments_lib
from tff_partial.evaluation import one_round
from tff_partial.evaluation import paper_bounds
from tff_partial.evaluation import probes
from tff_partial.experiments.regime import split_study

_CURVATURES = ('shared_curvature', 'personal_curvature', 'mixed_curvature')


class Constants:
  """Measures the constants of a study's split; probes are built once."""

  def __init__(self, study: split_study.SplitStudy):
    form = study.examples.in_batches(study.probe_batch_size)
    self._study = study
    self._gradient_probe = probes.build_gradient_probe(
        study.plan.model_fn, client_examples=form, weighted=study.weighted
    )
    self._secant_probe = probes.build_secant_probe(
        study.plan.model_fn, client_examples=study.examples
    )

  def at(self, point: split_study.Point) -> dict[str, Any]:
    """The constants at a point, and what follows from them."""
    study = self._study
    steps = study.steps(study.measured)
    personal_steps = study.steps(
        study.measured, epochs=study.config.num_personal_epochs
    )
    where = measurements.Point(
        point.shared, point.personal.read, study.training, study.config.seed
    )
    moments = self._moments(where, steps, personal_steps, radius=1.0)
    half = self._moments(where, steps, personal_steps, radius=0.5)
    # Without a gradient there is no step, and no secant.
    finite = np.flatnonzero(
        np.isfinite(moments.personal_curvature)
        & np.isfinite(half.personal_curvature)
        & np.isfinite(moments.mixed_curvature)
    )
    moments, half = moments.take(finite), half.take(finite)
    steps, personal_steps = steps[finite], personal_steps[finite]
    population = len(study.training.client_ids)
    estimates = moments_lib.estimate(
        moments, population=population, batch_size=study.batching.batch_size
    )
    rates = study.rates
    return {
        'clients': len(steps),
        'left_out': len(study.sample) - len(steps),
        'probe_batch_size': study.probe_batch_size,
        'steps': float(steps.mean()),
        **{name: value._asdict() for name, value in vars(estimates).items()},
        'curvature_quartiles': {
            name: list(
                np.quantile(getattr(moments, name), [0.25, 0.5, 0.75, 1])
            )
            for name in _CURVATURES
        },
        'normalised_steps': {
            'shared': moments_lib.mean_over_clients(
                rates.shared * steps * moments.shared_curvature
            )._asdict(),
            'personal': moments_lib.mean_over_clients(
                rates.personal * personal_steps * moments.personal_curvature
            )._asdict(),
        },
        'half_radius_change': _relative_change(moments, half),
        'clipped': self._clipped_share(where),
        'leading_difference': one_round.leading_difference(
            moments,
            rates=rates,
            steps=steps,
            participation=study.config.clients_per_round / population,
        )._asdict(),
        'criterion': {
            name: _criterion(study, moments, steps, drawn=drawn)
            for name, drawn in (('as_drawn', True), ('independent', False))
        },
    }

  def _moments(
      self,
      where: measurements.Point,
      steps: np.ndarray,
      personal_steps: np.ndarray,
      *,
      radius: float,
  ) -> moments_lib.ClientMoments:
    """What clients measure along this fraction of a round's steps."""
    study = self._study
    return measurements.measure(
        self._gradient_probe,
        self._secant_probe,
        where,
        study.measured,
        shared_step=radius * study.rates.shared * float(steps.mean()),
        personal_steps=list(radius * study.rates.personal * personal_steps),
        weighted=study.weighted,
        sharding=study.sharding,
    )

  def _clipped_share(self, where: measurements.Point) -> float:
    study = self._study
    clip_norm = study.config.client.clip_norm
    if clip_norm is None:
      return 0.0
    probe = probes.build_clipping_probe(
        study.plan.model_fn,
        client_examples=study.examples,
        clip_norm=clip_norm,
    )
    return measurements.clipped_share(
        probe, where, study.measured, sharding=study.sharding
    )


def _criterion(
    study: split_study.SplitStudy,
    moments: moments_lib.ClientMoments,
    steps: np.ndarray,
    *,
    drawn: bool,
) -> dict[str, Any]:
  """The comparison of the paper's bounds."""
  population = len(study.training.client_ids)
  terms = paper_bounds.bound_terms(
      moments,
      population=population,
      batch_size=study.batching.batch_size,
      steps=steps,
      drawn=drawn,
  )
  return {
      'terms': terms._asdict(),
      'margin': paper_bounds.criterion(
          terms,
          clients_per_round=study.config.clients_per_round,
          population=population,
      ),
      'probability_alternating': paper_bounds.criterion_probability(
          moments,
          clients_per_round=study.config.clients_per_round,
          population=population,
          batch_size=study.batching.batch_size,
          steps=steps,
          drawn=drawn,
          seed=study.config.seed,
      ),
      'flip_points': paper_bounds.flip_points(terms, population=population),
  }


def _relative_change(
    whole: moments_lib.ClientMoments, half: moments_lib.ClientMoments
) -> float:
  """How much curvatures differ between a round's steps and half of them."""
  return max(
      abs(np.mean(getattr(half, name)) / np.mean(getattr(whole, name)) - 1)
      for name in _CURVATURES
  )
