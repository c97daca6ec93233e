# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What leaves a client, in words for the report.

The words are made from the computation that trains (`learning/data_flow.py`),
not from the settings. Only what is measured once before training
(`estimates/`) has words of its own.
"""

from collections.abc import Sequence
import math
import pathlib
from typing import Optional

import tensorflow_federated as tff

from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.estimates import penalty_estimate
from tff_partial.experiments.settings import split_choice
from tff_partial.learning import data_flow
from tff_partial.learning import mean_regularizer
from tff_partial.learning import partition
from tff_partial.reporting import formatting

_EXPECTED = ('update', 'weight', 'metrics', 'counts')


def in_words(plan: plan_lib.Plan, folder: Optional[pathlib.Path] = None) -> str:
  """What leaves a client each round of a run, a sentence or two.

  Args:
    plan: The run's plan.
    folder: The run's, which has what was chosen before training.
  """
  before = _before_training(plan, folder)
  if plan.sampler is None:
    when = ' in training' if before else ''
    text = f'Leaves a client{when}: nothing; clients train alone.'
  else:
    text = f'Leaves a client each round: {_of_a_round(plan)}.'
  if plan.pretraining is not None:
    rounds = formatting.quantity(plan.pretraining.config.total_rounds, 'round')
    text += (
        f' In the {rounds} of pretraining before:'
        f' {_of_a_round(plan.pretraining)}.'
    )
  text += ''.join(f' Once, before training{what}.' for what in before)
  if plan.control is not None:
    text += f' In the rounds of the control: {_of_a_round(plan.control)}.'
  return text


def _before_training(
    plan: plan_lib.Plan, folder: Optional[pathlib.Path]
) -> list[str]:
  """What leaves clients before the first round, for what, and from whom."""
  found = []
  quantity = formatting.quantity
  choice = None if folder is None else split_choice.read(folder)
  if choice is not None:
    variables = sum(v.trainable for v in plan.variables)
    # Choices of earlier versions do not say.
    numbers = choice.get('numbers', 4)
    about = ' and what training changes' if numbers > 2 else ''
    found.append(
        ', to choose what is personal, from each of'
        f' {quantity(choice["clients"], "client")}: {numbers} numbers for each'
        f' of {quantity(variables, "variable")}, about its gradients{about};'
        ' how many examples and batches it has; and, for each'
        f' of {quantity(len(choice["candidates"]), "choice")}, its loss'
    )
  penalty = None if folder is None else penalty_estimate.read(folder)
  if penalty is not None:
    size = sum(v.size for v in plan.variables if v.trainable)
    found.append(
        ', to estimate the penalty, from each of'
        f' {quantity(penalty["clients"], "client")}: squared norms of its'
        ' gradients, how many examples and batches it has and, for each of'
        f' {len(penalty["candidates"])} weights, its loss; and, in means over'
        f' these clients, derivatives by {size:,} parameters'
    )
  if mean_regularizer.is_in(plan.variables):
    [mean] = [v for v in plan.variables if v.path == mean_regularizer.PATH]
    found.append(
        ': the mean of the representations of its examples'
        f' ({quantity(mean.size, "number")}) and how many these are'
    )
  return found


def _of_a_round(plan: plan_lib.Plan) -> str:
  server = plan.config.server
  return describe(
      plan.once(
          'leaves clients', lambda: data_flow.leaves_clients(plan.process.next)
      ),
      plan.variables,
      bits=None if server.compression == 'none' else server.compression_bits,
      tells_shares=plan.levels is not None,
  )


def describe(
    found: Sequence[data_flow.SentValue],
    variables: Sequence[partition.VariableInfo],
    *,
    bits: Optional[int] = None,
    tells_shares: bool = False,
) -> str:
  """Describes what leaves a client in one round.

  Args:
    found: What `leaves_clients` finds in the round.
    variables: The model's variables.
    bits: How many an update's numbers are quantized to, if they are.
    tells_shares: Whether a client says with its update which variables it
      shares.
  """
  shared = [v for v in variables if v.trainable and not v.personal]
  size = sum(v.size for v in shared)
  from_update = [x for x in found if 'update' in x.fields]
  # What else is computed from it, such as a norm, has other shapes. The bit for
  # an adaptive bound comes after it in the same sum.
  shapes = [v.shape for v in shared]
  whole = [x for x in from_update if _shapes(x)[: len(shapes)] == shapes]
  num_others = sum(
      math.prod(shape)
      for x in from_update
      for shape in _shapes(x)[len(shapes) if x in whole else 0 :]
  )
  all_secure = len(found) > 1 and all(x.is_secure for x in found)
  parts = []
  if whole:
    num_bytes = sum(
        math.prod(t.shape) * t.dtype.itemsize
        for x in whole
        for t in _tensors(x.type_spec)[: len(shapes)]
    )
    name = 'parameter' if size == 1 else 'parameters'
    is_secure_update = all(x.is_secure for x in whole) and not all_secure
    parts.append(
        f'the update of {size:,} shared {name} ({num_bytes:,} bytes'
        f'{f", before it is quantized to {bits} bits" if bits else ""}'
        f'{", in secure sums" if is_secure_update else ""})'
    )
  if num_others and tells_shares:
    parts.append(f'which of {num_others:,} variables it shares')
  elif num_others:
    more = 'more ' if whole else ''
    parts.append(
        f'{formatting.quantity(num_others, f"{more}number")} computed from the'
        ' update'
    )
  if any('weight' in x.fields for x in found):
    parts.append("the client's weight")
  for field in ('metrics', 'counts'):
    if names := _names(found, field):
      parts.append(f'the {field} {_listed(names)}')
  others = sorted(
      origin
      for x in found
      for origin in x.origins
      if origin.split('/')[0] not in _EXPECTED
  )
  everything = ', all in secure sums' if all_secure else ''
  if others:
    return f'{_listed([*parts, *others])}{everything}'
  return f'{_listed(parts)}{everything}; nothing else, and nothing personal'


def _shapes(sent: data_flow.SentValue) -> list[tuple[int, ...]]:
  return [tuple(t.shape) for t in _tensors(sent.type_spec)]


def _tensors(type_spec: tff.Type) -> list[tff.TensorType]:
  if isinstance(type_spec, tff.StructType):
    return [
        tensor
        for _, part in tff.structure.iter_elements(type_spec)
        for tensor in _tensors(part)
    ]
  assert isinstance(type_spec, tff.TensorType)
  return [type_spec]


def _names(found: Sequence[data_flow.SentValue], field: str) -> list[str]:
  """The parts of a field, in the order of their names."""
  names = [
      origin.split('/')[1]
      for x in found
      for origin in x.origins
      if origin.startswith(f'{field}/')
  ]
  return [formatting.words(name) for name in sorted(set(names))]


def _listed(words: Sequence[str]) -> str:
  *first, last = words
  return f'{", ".join(first)} and {last}' if first else last
