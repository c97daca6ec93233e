# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Speech recognition by speaker: LibriSpeech, and data like it.

This is the paper's fourth task [1, Section 4], for which it publishes results
but no code: a transformer of 6 layers and 15 M parameters trained with CTC. The
units are characters. The metric is each speaker's word error rate: errors
divided by the number of reference words.

A client's utterances enter a computation as they were stored, as audio or as
features, padded to the client's longest utterance. Batches are made of
utterances of similar length, and each is cut to its own longest.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

import collections
from collections.abc import Mapping
import functools
import inspect
from typing import Optional

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.data import source
from tff_partial.data import sql_clients
from tff_partial.evaluation import metric as metric_lib
from tff_partial.experiments import task
from tff_partial.experiments import usage as usage_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition

from . import ctc
from . import encoder as encoder_lib
from . import example
from . import features as features_lib
from . import librispeech
from . import voices

DEFAULT_MODEL = 'small'
MODELS = {
    'small': (encoder_lib.SMALL, 'transformer of 4 layers'),
    'base': (encoder_lib.BASE, 'transformer of 6 layers'),
}
_SOURCE = source.Source(
    embedded_fn=voices.create_voices,
    embedded_description='synthesized voices, for demonstration',
    tff_fn=librispeech.create_librispeech,
    tff_description='LibriSpeech',
)


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
    data: 'embedded' for synthetic voices, 'tff' for LibriSpeech from TensorFlow
      Datasets, or a folder of audio or features made by
      `tasks.import_client_data`.
    model: 'small', for laptops, or 'base', the paper's size.
    batch_size: Utterances per gradient step.
    beam_width: Beam width of decoding; 1 means greedy decoding, more a prefix
      beam search.
    augment: Whether training masks parts of the features.

  Raises:
    errors.SettingsError: If the model is unknown or `beam_width` below 1.
    errors.DataError: If the data are not as expected.
    errors.FileError: If the data cannot be read or downloaded.
    errors.WorkerError: If the speech synthesizer fails.
  """
  if model not in MODELS:
    raise errors.SettingsError(
        f'Expected `model` of {sorted(MODELS)}, found {model!r}.'
    )
  if beam_width < 1:
    raise errors.SettingsError(
        f'Expected `beam_width` of at least 1, found {beam_width}.'
    )
  size, description = MODELS[model]
  opened = _SOURCE.open(data)
  form = Form(opened.train)
  return task.Task(
      name='speech',
      data=opened.description,
      model=f'{description} on {form.description}, CTC',
      model_fn=functools.partial(
          create_model_fn, form.num_features, size, beam_width=beam_width
      ),
      splits=encoder_lib.splits(size),
      train=client_data.MappedClients(opened.train, form.to_xy),
      # Test batches are taken in the order of the examples.
      test=client_data.MappedClients(
          opened.test, lambda stored: _shortest_first(form.to_xy(stored))
      ),
      client_examples=examples_lib.Tensors(
          batch_size,
          size_fn=lambda examples: examples['x']['length'],
          prepare_train=functools.partial(form.prepare, augment=augment),
          prepare_test=functools.partial(form.prepare, augment=False),
          element_spec=form.element_spec,
      ),
      metric=metric_lib.Metric('wer', higher_is_better=False, percent=True),
      usage=form.usage,
      demonstration=opened.demonstration,
  )


class Form:
  """The form in which utterances are stored, and how they are prepared.

  Attributes:
    stored: The name of the stored feature that holds the signal.
    num_features: Features per frame of the model's input.
    description: What reports call the features.
    element_spec: One example, as it is passed to a computation.
  """

  def __init__(self, clients: sql_clients.SqlClients):
    """Finds out what is stored.

    Raises:
      errors.DataError: If it is neither audio nor features, or there are no
        transcripts.
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
          f' {sorted(features)}. Import speech with "python -m'
          ' tasks.import_client_data librispeech" or with "python -m'
          ' tasks.import_client_data npz --lengths=...".'
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
    """Converts stored features to examples, padded to the client's longest."""
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
    """Cuts a batch to its longest utterance and computes the model's input."""
    x, y = batch['x'], batch['y']
    signal = x['signal'][:, : tf.reduce_max(x['length'])]
    features, num_frames = self._to_features(signal, x['length'])
    if augment:
      features = features_lib.augment(features, num_frames, seed)
    labels = y['labels'][:, : tf.maximum(1, tf.reduce_max(y['num_labels']))]
    return collections.OrderedDict(
        x=collections.OrderedDict(features=features, num_frames=num_frames),
        y=collections.OrderedDict(
            labels=tf.cast(labels, tf.int32), num_labels=y['num_labels']
        ),
    )

  @property
  def usage(self) -> Optional[usage_lib.Usage]:
    """How people use a model of audio; nobody brings ready-made features."""
    if self.stored != 'audio':
      return None

    def prepare(signal, length):
      features, num_frames = self._to_features(signal, length)
      return {'features': features, 'num_frames': num_frames}

    return usage_lib.Usage(
        raw={
            'signal': tf.TensorSpec([None, None], tf.int16),
            'length': tf.TensorSpec([None], tf.int32),
        },
        prepare_fn=prepare,
        inputs=features_lib.DESCRIPTION,
        outputs=(
            'for each frame of 40 ms, logits of the classes, of which the last'
            ' is the blank of CTC; num_frames are the frames without padding'
        ),
        classes=(*ctc.CHARACTERS, ''),
        example=inspect.getsource(example),
    )

  def _to_features(self, signal, length):
    """Normalized features, and the numbers of their frames."""
    if self.stored == 'audio':
      signal, length = features_lib.log_mel(signal, length)
    return features_lib.normalize(signal, length), length


def create_model_fn(
    num_features: int,
    size: encoder_lib.Size,
    split: str,
    *,
    beam_width: int = 1,
) -> partial_model.ModelFn:
  """Returns a function that makes the models of a split.

  Only models of the split 'adapter' have adapters.

  Args:
    num_features: Features per frame.
    size: The size of the network.
    split: A name of `encoder_lib.splits`, or any that all tasks have.
    beam_width: Beam width of the decoding that counts errors.

  Raises:
    errors.SettingsError: If there is no such split.
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
  """Returns each transcript's loss in nats and its number of characters."""
  losses = ctc.loss(
      labels['labels'],
      labels['num_labels'],
      outputs['logits'],
      outputs['num_frames'],
  )
  return losses, tf.cast(labels['num_labels'], tf.float32)


def _errors(count_fn, beam_width, labels, outputs):
  """Counts the errors in the decoded transcripts."""
  references = ctc.to_text(
      tf.RaggedTensor.from_tensor(labels['labels'], labels['num_labels'])
  )
  heard = ctc.decode(
      outputs['logits'], outputs['num_frames'], beam_width=beam_width
  )
  return count_fn(references, heard)


def _pad(values, spec: tf.TensorSpec) -> tuple[np.ndarray, np.ndarray]:
  """Pads arrays with zeros to one length; returns one array and the lengths."""
  lengths = np.array([len(value) for value in values], np.int32)
  shape = [len(values), lengths.max(initial=0), *spec.shape[1:]]
  padded = np.zeros(shape, spec.dtype.as_numpy_dtype)
  for row, value in zip(padded, values):
    row[: len(value)] = value
  return padded, lengths


def _shortest_first(examples):
  order = np.argsort(examples['x']['length'], kind='stable')
  return tf.nest.map_structure(lambda values: values[order], examples)
