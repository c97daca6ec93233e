# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The expected loss after one round, over the number of clients per round."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tff_partial.evaluation import one_round
from tff_partial.experiments import methods
from tff_partial.experiments import split_study
from tff_partial.learning import clients as clients_lib
from tff_partial.training import rehearsal as rehearsal_lib

_CONTRASTS = 4  # Halves of the clients that are set against each other.
_SIZES = 24  # Numbers of clients per round that are looked at.


def lookahead(
    study: split_study.SplitStudy, point: split_study.Point
) -> dict[str, Any]:
  """The expected loss after one round, over the number of clients per round.

  The parts of `one_round.lookahead` come from rounds of all measured clients
  and of random halves of them, set against each other: half the difference of
  two halves' shared variables is a random combination of the clients' updates
  whose covariance is known. So nothing is computed but ordinary rounds.

  Args:
    study: The split.
    point: The state before the round.
  """
  population = len(study.training.client_ids)
  sizes = np.unique(
      np.geomspace(1, population, min(_SIZES, population)).round()
  ).astype(int)
  losses = {
      name: one_round.lookahead(
          _parts(study, name, point),
          clients_per_round=sizes,
          population=population,
      )
      for name in (methods.ALTERNATING, methods.SIMULTANEOUS)
  }
  difference = losses[methods.ALTERNATING] - losses[methods.SIMULTANEOUS]
  return {
      'clients_per_round': sizes.tolist(),
      'difference': difference.tolist(),
      'relative': (difference / losses[methods.SIMULTANEOUS]).tolist(),
  }


def _parts(
    study: split_study.SplitStudy, name: str, point: split_study.Point
) -> one_round.LookaheadParts:
  everyone = list(study.measured)
  whole, personal = _one_round(study, name, point, everyone, 'all')
  loss = functools.partial(study.loss, examples=study.training)
  after = loss(point, shared=whole)
  rng = np.random.default_rng(clients_lib.stream(study.config.seed, 'halves'))
  curvatures = []
  for i in range(_CONTRASTS):
    order = rng.permutation(len(everyone))
    halves = np.array_split(order, 2)
    ends = [
        _one_round(study, name, point, [everyone[j] for j in half], i)[0]
        for half in halves
    ]
    move = lambda sign: tf.nest.map_structure(
        lambda w, a, b: (w + sign * (a - b) / 2).astype(w.dtype),
        whole,
        *ends,
    )
    change = loss(point, shared=move(1)) + loss(point, shared=move(-1))
    curvatures.append(change - 2 * after)
  return one_round.LookaheadParts(
      everyone=after,
      personal=loss(split_study.Point(point.state, personal), shared=whole)
      - after,
      # The contrast has the covariance of updates over M - 1.
      between=float(np.mean(curvatures)) / 2 * (len(everyone) - 1),
      within=0.0,
  )


def _one_round(
    study: split_study.SplitStudy,
    name: str,
    point: split_study.Point,
    cohort: Sequence[str],
    stream: Any,
) -> tuple[Any, rehearsal_lib.ScratchVariables]:
  """Shared and personal variables after a round of these clients."""
  personal = rehearsal_lib.ScratchVariables(
      study.start.personal, point.personal.read
  )
  done = rehearsal_lib.rehearse(
      study.plans[name].process,
      _Cohort(study.training, cohort, f'{study.config.seed} {stream}'),
      state=point.state,
      personal=personal,
      first_round=0,
      rounds=1,
      sharding=study.sharding,
  )
  return done.state.global_model_weights, done.personal


@dataclasses.dataclass(frozen=True)
class _Cohort:
  """The same clients in every round."""

  clients: clients_lib.Clients
  client_ids: Sequence[str]
  stream: str

  def cohort(self, round_num: int) -> Sequence[str]:
    del round_num
    return self.client_ids

  def shuffle_seed(self, round_num: int, client_id: str) -> np.ndarray:
    return clients_lib.seed_for(self.stream, round_num, client_id)
