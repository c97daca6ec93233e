# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The common mean of a run with mean regularization, measured before training.

It is that of the model that the run starts from, over all clients that take
part in training. The run's folder keeps it: clients send their means once.
"""

import dataclasses
import pathlib
from typing import Optional

import numpy as np

from tff_partial import errors
from tff_partial import files
from tff_partial.evaluation import mean_probe
from tff_partial.evaluation import measurements
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import start as start_lib
from tff_partial.experiments.settings import kept_choice
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import mean_regularizer
from tff_partial.reporting import page
from tff_partial.runtime import sharding as sharding_lib

FILE_NAME = 'feature_mean.json'


def resolve(
    plan: plan_lib.Plan,
    folder: pathlib.Path,
    init_from: Optional[str],
    *,
    sharding: sharding_lib.Sharding,
) -> plan_lib.Plan:
  """Gives a plan its common mean.

  Args:
    plan: The run's plan.
    folder: Where the mean is kept.
    init_from: What training starts from.
    sharding: How many clients are computed at a time, and by whom.

  Returns:
    The plan itself if its model has no mean regularization.

  Raises:
    errors.DataError: If the file is damaged.
    errors.DivergedError: If the mean is not finite.
  """
  if not mean_regularizer.is_in(plan.variables):
    return plan
  found = kept(plan, folder)
  if found.feature_mean is not None:
    return found
  start = start_lib.load(plan, init_from)
  mean = measurements.common_mean(
      mean_probe.build(plan.model_fn, client_examples=plan.client_examples),
      measurements.Point(
          shared=start.shared,
          personal_fn=lambda client_ids: [start.personal] * len(client_ids),
          examples=clients_lib.ExcludingClients(
              plan.train_clients, plan.unseen
          ),
          seed=plan.config.seed,
      ),
      sharding=sharding,
  )
  if not np.all(np.isfinite(mean)):
    raise errors.DivergedError(
        'Expected finite representations under the model that training starts'
        ' from, found a mean that is not. Start from another model.'
    )
  files.replace_text(
      folder / FILE_NAME, page.to_json({'mean': page.plain(list(mean))})
  )
  return kept(plan, folder)


def kept(plan: plan_lib.Plan, folder: pathlib.Path) -> plan_lib.Plan:
  """A plan with the common mean that its folder has, if both have one.

  Args:
    plan: The run's plan.
    folder: The run's.

  Raises:
    errors.DataError: If the file is damaged.
  """
  if not mean_regularizer.is_in(plan.variables):
    return plan
  found = kept_choice.read(
      folder / FILE_NAME,
      lambda found: [float(x) for x in found['mean']],
      what='the common mean of representations',
      verb='measure it',
  )
  if found is None:
    return plan
  mean = np.array(found['mean'], np.float32)
  return dataclasses.replace(plan, feature_mean=mean)
