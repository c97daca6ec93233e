# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clients whose training examples choose a setting before training."""

from collections.abc import Sequence
import dataclasses
import functools

import tensorflow as tf

from tff_partial import errors
from tff_partial.evaluation import split_probes
from tff_partial.experiments import plan as plan_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import hold_out
from tff_partial.learning import partial_model

_SHARE = 0.2
_LEAST_CLIENTS = 3


@dataclasses.dataclass(frozen=True)
class HeldOutSample:
  """Clients with their training examples in two parts.

  Attributes:
    form: The form of examples.
    batch_size: The size of training's batches.
    training: Clients with what they may train on.
    held_out: Clients with the rest.
    client_ids: The clients that were drawn.
  """

  form: examples_lib.ClientExamples
  batch_size: int
  training: clients_lib.Clients
  held_out: clients_lib.Clients
  client_ids: Sequence[str]


def draw(
    plan: plan_lib.Plan,
    model_fn: partial_model.ModelFn,
    *,
    name: str,
    most_clients: int,
    least_held_out: int,
    least_examples: int,
    advice: str,
) -> HeldOutSample:
  """Draws clients that have at least two training examples left.

  Args:
    plan: The run's plan.
    model_fn: Makes a model whose metrics are compared.
    name: The name of the setting, which is `auto`. Determines the draw.
    most_clients: How many are drawn, before those without enough are left out.
    least_held_out: The least number of examples that are held out.
    least_examples: The least number of training examples with which that is so.
    advice: What to do if there is no such sample.

  Raises:
    errors.SettingsError: If the form of examples hides the size of batches,
      there is no metric 'loss', or there are fewer than three clients.
  """
  form = plan.client_examples
  if form.batching is None:
    raise errors.SettingsError(
        f'Expected a task with examples.Tensors for `{name}` auto, found'
        f' {type(form).__name__}. {advice}'
    )
  with tf.Graph().as_default():
    names = model_fn().metric_names
  if split_probes.LOSS not in names:
    raise errors.SettingsError(
        f'Expected a metric named {split_probes.LOSS!r} for `{name}` auto,'
        f' which compares losses, found {list(names)}. {advice}'
    )
  view = functools.partial(
      hold_out.HoldOutView,
      clients_lib.ExcludingClients(plan.train_clients, plan.unseen),
      form.take,
      share=_SHARE,
      seed=plan.config.seed,
  )
  training, held_out = view(held_out=False), view(held_out=True)
  sample = clients_lib.sample(
      training.client_ids,
      min(most_clients, len(training.client_ids)),
      seed=clients_lib.stream(plan.config.seed, name),
      round_num=0,
  )
  enough = [
      c
      for c in sample
      if held_out.num_examples(c) >= least_held_out
      and training.num_examples(c) >= 2
  ]
  if len(enough) < _LEAST_CLIENTS:
    raise errors.SettingsError(
        f'Expected at least {_LEAST_CLIENTS} clients with {least_examples}'
        f' training examples or more for `{name}` auto, found {len(enough)} of'
        f' {len(sample)}. {advice}'
    )
  return HeldOutSample(
      form, form.batching.batch_size, training, held_out, enough
  )
