# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The variables that a run starts from: seeded, or from a run or a file."""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Optional

from absl import logging
import tensorflow_federated as tff

from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments import pretrained
from tff_partial.experiments import run_folder
from tff_partial.learning import client_work
from tff_partial.learning import mean_regularizer
from tff_partial.learning import nested_model
from tff_partial.learning import partition
from tff_partial.learning import weights


@dataclasses.dataclass(frozen=True)
class Start:
  """What there is before round 1.

  Attributes:
    shared: The shared variables.
    personal: The personal variables of a client that never trained.
    baseline_personal: Those of the model that the run is compared with.
    new: Paths of the personal variables that this model does not have, such as
      adapters. They start from seeded values.
  """

  shared: tff.learning.models.ModelWeights
  personal: tff.learning.models.ModelWeights
  baseline_personal: tff.learning.models.ModelWeights
  new: Sequence[str] = ()


def load(plan: plan_lib.Plan, init_from: Optional[str]) -> Start:
  """Makes the variables that a run starts from.

  Args:
    plan: The run's.
    init_from: A run's folder, or a file with weights; `None` starts from
      seeded values.

  Raises:
    errors.FileError: If there is no such file.
    errors.DataError: If it is damaged or holds no weights.
  """
  shared, personal = client_work.build_initial_weights(
      plan.model_fn, seed=plan.config.seed
  )()
  if init_from is None:
    return Start(_with_mean(plan, shared), personal, personal)
  filled = _fill(plan, init_from, shared, personal)
  personal_paths = {v.path for v in plan.variables if v.personal}
  personal_paths.discard(nested_model.LEVEL)  # Set for each client.
  return Start(
      _with_mean(plan, filled.shared),
      filled.personal if plan.config.method.starts_pretrained else personal,
      filled.personal,
      new=[path for path in filled.missing if path in personal_paths],
  )


def _with_mean(
    plan: plan_lib.Plan, shared: tff.learning.models.ModelWeights
) -> tff.learning.models.ModelWeights:
  """Shared variables with the plan's common mean, if it has one."""
  if plan.feature_mean is None:
    return shared
  constants = [
      v.path for v in plan.variables if not (v.personal or v.trainable)
  ]
  values = list(shared.non_trainable)
  values[constants.index(mean_regularizer.PATH)] = plan.feature_mean
  return shared._replace(non_trainable=values)


def _fill(
    plan: plan_lib.Plan,
    init_from: str,
    shared: tff.learning.models.ModelWeights,
    personal: tff.learning.models.ModelWeights,
) -> weights.Filled:
  """The values that a run or file has, and the given ones for others."""
  path = pathlib.Path(init_from).expanduser()
  if path.is_dir():
    path /= run_folder.WEIGHTS
    values = weights.load(path)
  else:
    values = pretrained.load(str(path), plan.variables)
  # Clients start with copies of what was trained, not with the copies that the
  # clients of that run started with.
  values = {
      path: value
      for path, value in values.items()
      if not (
          path.startswith(partition.COPY_PREFIX)
          and path.removeprefix(partition.COPY_PREFIX) in values
      )
  }
  filled = weights.fill(values, plan.variables, shared, personal)
  shared_paths = {v.path for v in plan.variables if not v.personal}
  shared_paths.discard(mean_regularizer.PATH)  # Measured before training.
  # The report mentions personal ones: adapters, for example, should be new.
  lost = [name for name in filled.missing if name in shared_paths]
  _warn(path, lost, 'are missing and start from seeded values')
  _warn(path, filled.unused, 'are not used')
  return filled


def _warn(path: pathlib.Path, paths: Sequence[str], what: str) -> None:
  if paths:
    logging.warning(
        'Of %s, %d variables %s: %s', path, len(paths), what, ', '.join(paths)
    )
