# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Speech recognition by speaker: LibriSpeech, and data like it.

The paper's fourth task [1, Section 4], of which it publishes results and no
code: a transformer of 6 layers and 15 M parameters trained with CTC. Units are
characters; what counts is the word error rate, errors over reference words, of
each speaker.

A client's utterances enter a computation as they were stored, audio or
features, padded to the client's own longest; each batch is cut to its own
longest, and batches are made of utterances of like length.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

import collections
from collections.abc import Mapping
import functools

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.data import sql_clients
from tff_partial.evaluation import metric as metric_lib
from tff_partial.experiments import task
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition

from . import ctc
from . import encoder as encoder_lib
from . import features as features_lib
from . import librispeech
from . import voices

DEFAULT_MODEL = 'small'
MODELS = {
    'small': (encoder_lib.SMALL, 'transformer of 4 layers'),
    'base': (encoder_lib.BASE, 'transformer of 6 layers'),
}


def create_task(
    data: str = 'embedded',
    *,
    model: str = DEFAULT_MODEL,
    batch_size: int = 4,
    beam_width: int = 1,
    augment: bool = True,
) -> task.Task:
  """Creates the task.

  Args:
    data: 'embedded' for synthetic voices, 'tff' for LibriSpeech of TensorFlow
      Datasets, or a folder made by `tasks.import_client_data`, of audio or of
      features.
    model: 'small', for laptops, or 'base', the paper's size.
    batch_size: Utterances a step.
    beam_width: Of decoding: 1 is greedy, more a prefix beam search.
    augment: Whether training masks parts of what is heard.

  Raises:
    ValueError: If the model is unknown or the data are not as expected.
    OSError: If data cannot be read.
  """
  if model not in MODELS:
    raise errors.DataError(
        f'Expected a model of {sorted(MODELS)}, found {model!r}.'
    )
  if beam_width < 1:
    raise errors.DataError(
        f'Expected a beam of at least 1, found {beam_width}.'
    )
  size, description = MODELS[model]
  if data == 'embedded':
    train, test = client_data.open_folder(voices.create_voices())
    words = 'voices, synthesized for demonstration'
  elif data == 'tff':
    train, test = client_data.open_folder(librispeech.create_librispeech())
    words = 'LibriSpeech'
  else:
    train, test = client_data.open_folder(data)
    words = data
  form = Form(train)
  return task.Task(
      name='speech',
      data=words,
      model=f'{description} on {form.description}, CTC',
      model_fn=functools.partial(
          create_model_fn, form.num_features, size, beam_width=beam_width
      ),
      splits=encoder_lib.splits(size),
      train=client_data.Mapped(train, form.to_xy),
      # Test batches are cut in the order of the examples.
      test=client_data.Mapped(
          test, lambda stored: _shortest_first(form.to_xy(stored))
      ),
      client_examples=examples_lib.Tensors(
          batch_size,
          size_fn=lambda examples: examples['x']['length'],
          prepare_train=functools.partial(form.prepare, augment=augment),
          prepare_test=functools.partial(form.prepare, augment=False),
          element_spec=form.element_spec,
      ),
      metric=metric_lib.Metric('wer', higher_is_better=False),
      demonstration=data == 'embedded',
  )


class Form:
  """What clients' utterances are stored as, and how a model gets them.

  Attributes:
    stored: The name of the feature that holds the signal.
    num_features: Features a frame, as the model gets them.
    description: The features in words.
    element_spec: One example as handed to a computation.
  """

  def __init__(self, clients: sql_clients.SqlClients):
    """Finds out what is stored.

    Raises:
      ValueError: If it is neither audio nor features with transcripts.
    """
    features = clients.features
    audio, ready_made = features.get('audio'), features.get('features')
    if audio is not None and audio.shape.rank == 1 and audio.dtype == tf.int16:
      self.stored, signal = 'audio', audio
      self.num_features = features_lib.NUM_BINS
      self.description = f'{self.num_features} log-mel energies'
    elif ready_made is not None and ready_made.shape.rank == 2:
      self.stored, signal = 'features', ready_made
      self.num_features = ready_made.shape[1]
      self.description = f'{self.num_features} ready-made features'
    else:
      signal = None
    if signal is None or 'transcript' not in features:
      raise errors.DataError(
          "Expected features 'transcript' and 'audio' int16 [None] or"
          f" 'features' float32 [None, N] in {clients.path}, found"
          f' {sorted(features)}. Import them with "python -m'
          ' tasks.import_client_data librispeech" or "... npz --lengths=...".'
      )
    self.element_spec = collections.OrderedDict(
        x=collections.OrderedDict(
            signal=tf.TensorSpec([None, *signal.shape[1:]], signal.dtype),
            length=tf.TensorSpec([], tf.int32),
        ),
        y=collections.OrderedDict(
            labels=tf.TensorSpec([None], tf.uint8),
            num_labels=tf.TensorSpec([], tf.int32),
        ),
    )

  def to_xy(self, stored: Mapping[str, np.ndarray]) -> Mapping[str, object]:
    """Stored features to examples, padded to the client's longest."""
    signal, length = _pad(stored[self.stored], self.element_spec['x']['signal'])
    labels, num_labels = _pad(
        [ctc.encode(t.decode()) for t in stored['transcript']],
        self.element_spec['y']['labels'],
    )
    return collections.OrderedDict(
        x=collections.OrderedDict(signal=signal, length=length),
        y=collections.OrderedDict(labels=labels, num_labels=num_labels),
    )

  def prepare(self, batch, seed, *, augment: bool):
    """Cuts a batch to its longest, and computes what the model hears."""
    x, y = batch['x'], batch['y']
    signal = x['signal'][:, : tf.reduce_max(x['length'])]
    if self.stored == 'audio':
      features, num_frames = features_lib.log_mel(signal, x['length'])
    else:
      features, num_frames = signal, x['length']
    features = features_lib.normalize(features, num_frames)
    if augment:
      features = features_lib.augment(features, num_frames, seed)
    labels = y['labels'][:, : tf.maximum(1, tf.reduce_max(y['num_labels']))]
    return collections.OrderedDict(
        x=collections.OrderedDict(features=features, num_frames=num_frames),
        y=collections.OrderedDict(
            labels=tf.cast(labels, tf.int32), num_labels=y['num_labels']
        ),
    )


def create_model_fn(
    num_features: int,
    size: encoder_lib.Size,
    split: str,
    *,
    beam_width: int = 1,
) -> partial_model.ModelFn:
  """The models of a split; those with adapters have them for no other.

  Args:
    num_features: Features a frame.
    size: How large a model.
    split: A name of `encoder_lib.splits`, or any that all tasks have.
    beam_width: Of the decoding that counts errors.

  Raises:
    ValueError: If there is no such split.
  """
  rule = partition.rule_by_name(split, encoder_lib.splits(size))
  return lambda: partial_model.PartialModel(
      encoder_lib.create_encoder(
          num_features,
          ctc.NUM_CLASSES,
          size,
          with_adapters='adapter' in split,
      ),
      rule,
      loss_fn=lambda labels, outputs: tf.math.divide_no_nan(
          *map(tf.reduce_sum, _loss(labels, outputs))
      ),
      metric_fns={
          'loss': _loss,
          'wer': functools.partial(_errors, ctc.word_errors, beam_width),
          'cer': functools.partial(_errors, ctc.character_errors, beam_width),
      },
      input_spec=collections.OrderedDict(
          x=collections.OrderedDict(
              features=tf.TensorSpec([None, None, num_features], tf.float32),
              num_frames=tf.TensorSpec([None], tf.int32),
          ),
          y=collections.OrderedDict(
              labels=tf.TensorSpec([None, None], tf.int32),
              num_labels=tf.TensorSpec([None], tf.int32),
          ),
      ),
      rule_name=split,
  )


def _loss(labels, outputs):
  """Nats of each transcript, and its characters."""
  losses = ctc.loss(
      labels['labels'],
      labels['num_labels'],
      outputs['logits'],
      outputs['num_frames'],
  )
  return losses, tf.cast(labels['num_labels'], tf.float32)


def _errors(count_fn, beam_width, labels, outputs):
  """What was heard against what was said."""
  references = ctc.to_text(
      tf.RaggedTensor.from_tensor(labels['labels'], labels['num_labels'])
  )
  heard = ctc.decode(
      outputs['logits'], outputs['num_frames'], beam_width=beam_width
  )
  return count_fn(references, heard)


def _pad(values, spec: tf.TensorSpec) -> tuple[np.ndarray, np.ndarray]:
  """Arrays of different lengths as one, with zeros, and their lengths."""
  lengths = np.array([len(value) for value in values], np.int32)
  shape = [len(values), lengths.max(initial=0), *spec.shape[1:]]
  padded = np.zeros(shape, spec.dtype.as_numpy_dtype)
  for row, value in zip(padded, values):
    row[: len(value)] = value
  return padded, lengths


def _shortest_first(examples):
  order = np.argsort(examples['x']['length'], kind='stable')
  return tf.nest.map_structure(lambda values: values[order], examples)
