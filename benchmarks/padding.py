# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how many of the frames that a speech model computes are padding.

python -m benchmarks.padding --data=embedded
"""

import dataclasses

from absl import app
from absl import flags
import numpy as np
import tensorflow as tf

from tasks.speech import task as speech
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.runtime import local


def padding_share(client_examples: examples_lib.Tensors, examples) -> float:
  """The fraction of a client's frames in an epoch of training that is padding.

  Args:
    client_examples: How examples are divided into batches.
    examples: All of a client's examples, as a value of `client_examples`.
  """

  def step(state, batch):
    padded = tf.reduce_prod(tf.shape(batch['x']['features'])[:2])
    real = tf.reduce_sum(batch['x']['num_frames'])
    return state[0] + real, state[1] + padded

  real, padded = client_examples.reduce(
      tf.nest.map_structure(tf.constant, examples), (0, 0), step
  )
  return 1 - real.numpy() / padded.numpy()


def measure(data: str, batch_size: int) -> list[tuple[str, float, float]]:
  """Measures two ways to make batches: (name, mean over clients, maximum)."""
  task = speech.create_task(data, batch_size=batch_size)
  by_length = task.client_examples
  assert isinstance(by_length, examples_lib.Tensors)  # As speech makes them.
  rows = []
  for name, client_examples in (
      ('utterances of similar length', by_length),
      ('any utterances', dataclasses.replace(by_length, size_fn=None)),
  ):
    shares = [
        padding_share(
            client_examples,
            client_examples.value(
                task.train.read(client_id), clients_lib.seed_for(client_id)
            ),
        )
        for client_id in task.train.client_ids
    ]
    rows.append((name, float(np.mean(shares)), float(np.max(shares))))
  return rows


def main(unused_argv):
  local.remove_default_context()
  print('| batches of | padding, mean over clients | maximum |')
  print('| --- | ---: | ---: |')
  for name, mean, maximum in measure(FLAGS.data, FLAGS.batch_size):
    print(f'| {name} | {mean:.1%} | {maximum:.1%} |')


if __name__ == '__main__':
  flags.DEFINE_string('data', 'embedded', 'Data of the speech task.')
  flags.DEFINE_integer('batch_size', 4, 'Utterances per step.', lower_bound=1)
  FLAGS = flags.FLAGS
  app.run(main)
