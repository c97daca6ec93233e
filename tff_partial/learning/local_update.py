# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""One client's work: phases of training, independent of placements.

A phase trains the groups of variables that have a `GroupTraining`, and no
others, for some epochs over the client's examples. FedSim is one phase that
trains both groups, and FedAlt is a phase for the personal variables followed by
one for the shared variables [1, Algorithms 1 and 2]. Fine-tuning is a single
personal phase. All of them repeat the same step (`training_step.py`).

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_partial import errors
from tff_partial.learning import dual_model
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import training_step

_FEWEST = 1e-9  # Examples of a class that a client has none of.


class ClientInputs(NamedTuple):
  """What a client's work starts from.

  Attributes:
    shared: The server's shared variables.
    personal: This client's personal variables.
    examples: This client's examples, in the form of a `ClientExamples`.
    round_num: Number of the round in the learning-rate schedules, int32 scalar.
    initial_personal: The initial personal variables, if a penalty is anchored
      there (`needs_initial_personal`).
    learning_rates: A `LearningRates` for each phase; without any, those of the
      optimizers.
  """

  shared: tff.learning.models.ModelWeights
  personal: tff.learning.models.ModelWeights
  examples: Any
  round_num: Any = 0
  initial_personal: Any = ()
  learning_rates: Sequence[phase_lib.LearningRates] = ()


class ClientCounts(NamedTuple):
  """The cost and the outcome of a client's work, int64 scalars.

  Attributes:
    steps: Gradient steps, over all phases.
    examples: Examples seen in these steps; one that is seen twice counts twice.
    non_finite: 1 if the loss, the update or a personal variable was not finite.
    empty: 1 if the client has no examples.
  """

  steps: tf.Tensor
  examples: tf.Tensor
  non_finite: tf.Tensor
  empty: tf.Tensor


class ClientOutput(NamedTuple):
  """The results of a client's work.

  The work fails if `counts.non_finite` is 1.

  Attributes:
    update: Initial minus final shared trainable variables, as the model's
      `sent` has it; zeros if the work failed or the client has no examples.
    weight: The number of the client's examples, or 1 if clients are weighted
      uniformly; 0 if the work failed or the client has no examples. Epochs and
      `max_steps` do not change it, whereas TFF's FedAvg weights a client by the
      examples that it has seen in all steps.
    personal: Final personal variables; unchanged if the work failed.
    metrics: By name, the two terms of each of the model's metrics, summed over
      the steps of the last phase; zeros if the work failed.
    counts: A `ClientCounts`.
  """

  update: Any
  weight: tf.Tensor  # float32 scalar
  personal: tff.learning.models.ModelWeights
  metrics: Any
  counts: ClientCounts


def local_update(
    model: partial_model.PartialModel,
    phases: Sequence[phase_lib.Phase],
    inputs: ClientInputs,
    *,
    client_examples: examples_lib.ClientExamples,
    uniform_weight: bool = False,
) -> ClientOutput:
  """Trains a client's copy of the shared variables and its personal variables.

  Args:
    model: Created in the current graph; its variables are overwritten.
    phases: What to train, in order.
    inputs: The client's variables and examples.
    client_examples: The form of `inputs.examples`.
    uniform_weight: Whether all clients have weight 1, rather than the number of
      their examples.

  Returns:
    A `ClientOutput`.

  Raises:
    errors.SettingsError: If a penalty needs `inputs.initial_personal`, or
      dropout a seed, that is not there.
  """
  progress = run_phases(model, phases, inputs, client_examples=client_examples)
  last = progress[-1]
  update = model.sent(
      [
          before - after
          for before, after in zip(
              inputs.shared.trainable, model.shared.trainable
          )
      ]
  )
  personal = model.values('personal')
  finite = _all_finite(progress, [update, personal])
  empty = tf.equal(last.examples, 0)
  weight = 1.0
  if not uniform_weight:
    number = _num_examples(
        phases[-1], last, inputs.examples, client_examples=client_examples
    )
    weight = tf.cast(number, tf.float32)
  zeros = lambda value: tf.nest.map_structure(tf.zeros_like, value)
  # A mean over all clients counts also those whose part has not changed.
  counts = any(phase.dual_rho for phase in phases)
  return ClientOutput(
      update=_choose(finite & ~empty, update, zeros(update)),
      weight=tf.where((finite & ~empty) | counts, weight, 0.0),
      personal=_choose(finite, personal, inputs.personal),
      metrics=_choose(finite, last.metrics, zeros(last.metrics)),
      counts=ClientCounts(
          steps=tf.add_n([p.steps for p in progress]),
          examples=tf.add_n([p.examples for p in progress]),
          non_finite=tf.cast(~finite, tf.int64),
          empty=tf.cast(empty, tf.int64),
      ),
  )


def _num_examples(
    phase: phase_lib.Phase,
    progress: training_step.Progress,
    examples: Any,
    *,
    client_examples: examples_lib.ClientExamples,
) -> tf.Tensor:
  """The number of a client's examples, int64 scalar."""
  if phase.max_steps is None and not phase.tolerance:
    # Without another pass over a dataset.
    return progress.examples // (phase.epochs * phase.inner_steps)
  return client_examples.count(examples)


def _all_finite(
    progress: Sequence[training_step.Progress], values: Any
) -> tf.Tensor:
  """Whether the losses of all steps and all values are finite."""
  return tf.reduce_all(
      [
          *(p.finite for p in progress),
          *(
              tf.reduce_all(tf.math.is_finite(t))
              for t in tf.nest.flatten(values)
              if t.dtype.is_floating
          ),
      ]
  )


def run_phases(
    model: partial_model.PartialModel,
    phases: Sequence[phase_lib.Phase],
    inputs: ClientInputs,
    *,
    client_examples: examples_lib.ClientExamples,
) -> list[training_step.Progress]:
  """Assigns the client's variables to the model and trains them.

  Args:
    model: Created in the current graph. Its variables are left as trained.
    phases: What to train, in order; may be empty.
    inputs: The client's variables and examples.
    client_examples: The form of `inputs.examples`.

  Returns:
    The sums of each phase, with metrics in the last one.

  Raises:
    errors.SettingsError: As `local_update`.
  """
  model.assign(inputs.shared, inputs.personal)
  progress = []
  rates = inputs.learning_rates or phase_lib.learning_rates(phases)
  for number, phase in enumerate(phases):
    groups = [
        _create_group(
            model, name, training, inputs, rate, client_examples=client_examples
        )
        for name, training, rate in (
            ('personal', phase.personal, rates[number].personal),
            ('shared', phase.shared, rates[number].shared),
        )
    ]
    progress.append(
        training_step.train(
            model,
            [group for group in groups if group is not None],
            inputs.examples,
            client_examples,
            phase,
            number=number,
            log_counts=_log_counts(model, phase, inputs, client_examples),
            measured=number == len(phases) - 1,
        )
    )
    if phase.dual_rho:
      assert isinstance(model, dual_model.DualModel)
      model.take_dual_step(
          inputs.shared.trainable, phase.dual_rho, progress[-1].steps > 0
      )
  return progress


def _log_counts(
    model: partial_model.PartialModel,
    phase: phase_lib.Phase,
    inputs: ClientInputs,
    client_examples: examples_lib.ClientExamples,
) -> Optional[tf.Tensor]:
  """What balances the loss of a phase, float32 [classes], if anything does."""
  classes = model.num_classes
  if not phase.shared_ignores_personal or classes is None:
    return None
  counts = client_examples.reduce(
      inputs.examples,
      tf.zeros([classes]),
      lambda total, batch: total
      + tf.reduce_sum(tf.one_hot(batch['y'], classes), 0),
  )
  # A class without examples has next to no probability; log 0 has none, but
  # makes some losses 0 times infinity.
  return tf.math.log(tf.maximum(counts, _FEWEST))


def _create_group(
    model: partial_model.PartialModel,
    name: str,
    training: Optional[phase_lib.GroupTraining],
    inputs: ClientInputs,
    rate: Any,
    *,
    client_examples: examples_lib.ClientExamples,
) -> Optional[training_step.Group]:
  """A group as a phase trains it; `None` if there is nothing to train."""
  variables = tuple(getattr(model, name).trainable)
  if training is None or not variables:
    return None
  learning_rate = None if isinstance(rate, tuple) else rate
  if training.schedule is not None:
    round_num = tf.cast(inputs.round_num, tf.int32)
    learning_rate = rate * training.schedule(round_num)
  penalty: Any = training.penalty
  if training.penalty_total:
    number = tf.maximum(client_examples.count(inputs.examples), 1)
    penalty = training.penalty_total / tf.cast(number, tf.float32)
  return training_step.Group(
      name,
      variables,
      training.optimizer,
      learning_rate=learning_rate,
      penalty=penalty,
      anchor=_anchor(model, name, training, inputs),
      implicit=training.penalty_total > 0,
      gates=_gates(model, name, training, inputs.round_num),
  )


def _gates(
    model: partial_model.PartialModel,
    name: str,
    training: phase_lib.GroupTraining,
    round_num: Any,
) -> tuple[tf.Tensor, ...]:
  """For each variable whether it is trained in a round, 1.0 or 0.0."""
  if not training.turns:
    return ()
  number = tf.cast(round_num, tf.int32) % len(training.turns)
  return tuple(
      tf.gather([float(turn(v.path)) for turn in training.turns], number)
      for v in model.variables
      if v.trainable and v.personal == (name == 'personal')
  )


def _anchor(
    model: partial_model.PartialModel,
    name: str,
    training: phase_lib.GroupTraining,
    inputs: ClientInputs,
) -> tuple[tf.Tensor, ...]:
  """The values that a penalty is anchored at; none without a penalty."""
  if not training.has_penalty:
    return ()
  if training.anchor == phase_lib.SHARED:
    return tuple(model.shared.trainable)
  anchors = {
      phase_lib.RECEIVED: getattr(inputs, name),
      phase_lib.INITIAL: inputs.initial_personal,
  }
  anchor = anchors[training.anchor]
  if not anchor:
    raise errors.SettingsError(
        'Expected `initial_personal` for a penalty that is anchored there,'
        ' found none. Pass the initial personal variables.'
    )
  return tuple(tf.convert_to_tensor(a) for a in anchor.trainable)


def _choose(condition: tf.Tensor, value: Any, otherwise: Any) -> Any:
  """Returns one of two structures; NaNs of the other have no effect."""
  flat = [
      tf.where(condition, v, o)
      for v, o in zip(tf.nest.flatten(value), tf.nest.flatten(otherwise))
  ]
  return tf.nest.pack_sequence_as(value, flat)
