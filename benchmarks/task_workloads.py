# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tasks, with the paper's models and random data of the right shapes.

Training on noise takes as long as training on photos. The data are in files
that are read as in a run.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import os
import pathlib
import tempfile
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from benchmarks import apart
from benchmarks import interleaved
from benchmarks import workload as workload_lib
from tasks.emnist import task as emnist
from tasks.landmarks import photo_folder
from tasks.landmarks import task as landmarks
from tasks.speech import ctc
from tasks.speech import features as features_lib
from tasks.speech import import_speech
from tasks.speech import task as speech
from tasks.stackoverflow import task as stackoverflow
from tasks.stackoverflow import vocabulary as vocabulary_lib
from tff_partial.data import client_data
from tff_partial.data import sql_examples
from tff_partial.data import sql_writer
from tff_partial.experiments import task as task_lib
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import examples as examples_lib

_LANDMARKS = 2028  # The paper's classes.


def create_emnist(
    folder: str, *, clients: int = 10, examples: int = 100, batch_size: int = 32
) -> workload_lib.Workload:
  """The CNN with adapters; every client has the paper's minimum of examples."""

  def draw(rng):
    return {
        'pixels': rng.integers(0, 256, [examples, 28, 28], np.uint8),
        'label': rng.integers(0, emnist.NUM_CLASSES, examples, np.int32),
    }

  features = {
      'pixels': tf.TensorSpec([28, 28], tf.uint8),
      'label': tf.TensorSpec([], tf.int32),
  }
  _write(folder, features, clients, draw)
  task = emnist.create_task(folder, batch_size=batch_size)
  return _workload('EMNIST CNN', task, 'adapter')


def create_landmarks(
    folder: str,
    *,
    model: str = 'resnet18',
    image_size: int = 112,
    clients: int = 4,
    examples: int = 32,
    batch_size: int = 16,
) -> workload_lib.Workload:
  """ResNet-18 with adapters; the paper's photos have 224 x 224 pixels."""
  stored = round(image_size * 8 / 7)

  def draw(rng):
    shape = [examples, stored, stored, 3]
    return {
        'pixels': rng.integers(0, 256, shape, np.uint8),
        'label': rng.integers(0, _LANDMARKS, examples, np.int32),
    }

  features = {
      'pixels': tf.TensorSpec([stored, stored, 3], tf.uint8),
      'label': tf.TensorSpec([], tf.int32),
  }
  _write(folder, features, clients, draw)
  (pathlib.Path(folder) / photo_folder.CLASSES).write_text(
      photo_folder.format_classes([f'landmark {i}' for i in range(_LANDMARKS)]),
      encoding='utf-8',
  )
  task = landmarks.create_task(
      folder, model=model, batch_size=batch_size, image_size=image_size
  )
  return _workload(
      f'{model.replace("resnet", "ResNet-")}, {image_size} pixels',
      task,
      'adapter',
      # The task's clients only have the locations of their photos.
      arrays=client_data.open_folder(folder)[0],
  )


def create_stackoverflow(
    folder: str,
    *,
    model: str = 'mini',
    words: int = 10_000,
    clients: int = 4,
    examples: int = 128,
    batch_size: int = 64,
) -> workload_lib.Workload:
  """The transformer with a personal last block; sentences of 1 to 20 words."""
  vocabulary = vocabulary_lib.Vocabulary(tuple(f'w{i}' for i in range(words)))

  def draw(rng):
    lengths = rng.integers(1, stackoverflow.LENGTH, examples, endpoint=True)
    return {
        'tokens': [
            ' '.join(rng.choice(vocabulary.words, length)) for length in lengths
        ]
    }

  _write(folder, vocabulary_lib.FEATURES, clients, draw)
  vocabulary_lib.save(folder, vocabulary)
  task = stackoverflow.create_task(folder, model=model, batch_size=batch_size)
  return _workload('Stack Overflow transformer', task, 'output', clip_norm=0.25)


def create_speech(
    folder: str,
    *,
    model: str = 'small',
    seconds: float = 2.0,
    clients: int = 4,
    examples: int = 16,
    batch_size: int = 4,
) -> workload_lib.Workload:
  """The transformer with adapters; all utterances have the same length."""

  def draw(rng):
    samples = round(seconds * features_lib.SAMPLE_RATE)
    return {
        'audio': [
            rng.integers(-(2**12), 2**12, samples, np.int16)
            for _ in range(examples)
        ],
        'transcript': [
            ''.join(rng.choice(list(ctc.CHARACTERS), round(8 * seconds)))
            for _ in range(examples)
        ],
    }

  _write(folder, import_speech.AUDIO_FEATURES, clients, draw)
  task = speech.create_task(folder, model=model, batch_size=batch_size)
  form = task.client_examples
  assert isinstance(form, examples_lib.Tensors)
  # Batches are not sorted by length, so that the bare loop has the same ones.
  task = dataclasses.replace(
      task, client_examples=dataclasses.replace(form, size_fn=None)
  )
  return _workload('Speech transformer', task, 'adapter', clip_norm=1.0)


# Functions that create workloads, by the name of the task.
CREATE: Mapping[str, Callable[..., workload_lib.Workload]] = {
    'emnist': create_emnist,
    'landmarks': create_landmarks,
    'speech': create_speech,
    'stackoverflow': create_stackoverflow,
}


def run_next_to(
    bare: str,
    bare_fn: Callable[[workload_lib.Workload], apart.Round],
    create: Callable[[str, dict[str, int], str], Mapping[str, apart.Round]],
    task: str,
    sizes: dict[str, int],
    num_rounds: int,
) -> dict[str, np.ndarray]:
  """Measures something of this library next to something bare.

  Args:
    bare: The name of the latter, which everything is compared with.
    bare_fn: Creates it, in this process.
    create: Creates the rounds of this library in a process of their own, from
      the task, its sizes and a folder.
    task: One of `CREATE`.
    sizes: Arguments of the function that creates the workload.
    num_rounds: Number of rounds of each kind that are counted.

  Returns:
    What `interleaved.measure` returns.
  """
  with tempfile.TemporaryDirectory() as folder:
    workload = CREATE[task](folder, **sizes)
    return interleaved.run(
        workload.name,
        functools.partial(create, task, sizes),
        lambda: {bare: bare_fn(workload)},
        num_rounds,
        {bare: lambda kind: bare},
    )


def _write(folder: str, features: Any, clients: int, draw: Any) -> None:
  for part, name in enumerate(('train', 'test')):
    path = os.path.join(folder, f'{name}.sqlite')
    with sql_writer.SqlWriter(path, features) as writer:
      for i in range(clients):
        writer.write(f'client_{i:03}', draw(np.random.default_rng([part, i])))


def _workload(
    name: str,
    task: task_lib.Task,
    split: str,
    *,
    arrays: Optional[clients_lib.Clients] = None,
    clip_norm: Optional[float] = None,
) -> workload_lib.Workload:
  """The training of a task with all its clients.

  Args:
    name: Name of the workload in the table.
    task: The task.
    split: What is personal.
    arrays: The clients with their examples as arrays; by default the task's.
    clip_norm: Bound on the global norm of a step's gradients.
  """
  form = task.client_examples
  tensors = form.tensors if isinstance(form, sql_examples.SqlExamples) else form
  assert isinstance(tensors, examples_lib.Tensors)
  return workload_lib.Workload(
      name=name,
      model_fn=task.model_fn,
      split=split,
      clients=task.train,
      client_examples=form,
      arrays=arrays or task.train,
      tensors=tensors,
      clients_per_round=len(task.train.client_ids),
      clip_norm=clip_norm,
  )
