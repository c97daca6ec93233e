# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Next-word prediction by author: Stack Overflow and text like it.

In the paper's task [1, Section 4], a transformer of four post-LN blocks reads
the first words of a sentence and predicts the next one out of the 10,000 most
common words. The loss is the mean over all tokens that follow, including the
end of the sentence and uncommon words. Accuracy and perplexity count words of
the vocabulary only. Test sentences are other sentences of the same people; for
Stack Overflow, later ones.

The split 'input' makes the first block personal, 'output' the last one, and
'adapter' the layer norms and two bottlenecks per block, of width 16 (or 64, in
'adapter64'). In 'bias', a vector is added in front of the softmax; the mean
regularization of FedDBE is on the representations of all words of a batch. The
embedding, which is also the matrix of the softmax, stays shared.

[1] Pillutla et al. ICML 2022. https://arxiv.org/abs/2204.03809
"""

import collections
from collections.abc import Mapping
import dataclasses
import functools
import inspect
from typing import Optional

import numpy as np
import tensorflow as tf

from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.data import source
from tff_partial.evaluation import metric as metric_lib
from tff_partial.experiments import task
from tff_partial.experiments import usage as usage_lib
from tff_partial.learning import examples as examples_lib
from tff_partial.learning import lora as lora_lib
from tff_partial.learning import partial_model
from tff_partial.learning import partition

from ..networks import additions as additions_lib
from ..networks import transformer
from . import docstrings
from . import example
from . import tff_data
from . import vocabulary as vocabulary_lib

DEFAULT_MODEL = 'tiny'
LENGTH = 20  # Words of a sentence that are read; the rest is cut off.
_MAX_EXAMPLES = 1000  # Training sentences per client, as in the paper.
_SOURCE = source.Source(
    embedded_fn=docstrings.create_docstrings,
    embedded_description='docstrings of installed packages, for demonstration',
    tff_fn=tff_data.create_stackoverflow,
    tff_description='Stack Overflow',
    features=vocabulary_lib.FEATURES,
)


@dataclasses.dataclass(frozen=True)
class Size:
  """The size of a network: blocks, width, attention heads, hidden width."""

  blocks: int
  width: int
  heads: int
  feedforward: int

  @property
  def splits(self) -> Mapping[str, partition.Rule]:
    adapter = partition.matches(r'/adapter\d/|/norm\d/')
    return {
        'input': partition.layers('block_0'),
        'output': partition.layers(f'block_{self.blocks - 1}'),
        'adapter': adapter,
        'adapter64': adapter,
        'norm': partition.matches(r'/norm\d/'),
        **additions_lib.SPLITS,
    }


SIZES: Mapping[str, Size] = {
    'tiny': Size(blocks=2, width=64, heads=2, feedforward=256),
    'mini': Size(blocks=4, width=256, heads=4, feedforward=1024),
}


def create_task(
    data: str = 'embedded',
    *,
    model: str = DEFAULT_MODEL,
    batch_size: int = 64,
    lora_rank: int = 8,
    lora_targets: str = '.',
    mean_regularization: float = 0.0,
) -> task.Task:
  """Creates the task.

  Args:
    data: 'embedded' for docstrings, 'tff' for TFF's Stack Overflow, or a folder
      made by `tasks.import_client_data`.
    model: 'tiny', for laptops, or 'mini', the paper's.
    batch_size: Sentences per gradient step.
    lora_rank: Rank of the matrices of the splits 'lora' and 'lora_b'.
    lora_targets: A regular expression, searched for in the paths of dense
      layers, that says which of them have such matrices.
    mean_regularization: The weight of FedDBE's mean regularization, for splits
      with 'bias'; 0 for none.

  Raises:
    errors.SettingsError: If the model is unknown.
    errors.DataError: If the data are not as expected.
    errors.FileError: If the data cannot be read or downloaded.
  """
  if model not in SIZES:
    raise errors.SettingsError(
        f'Expected `model` of {sorted(SIZES)}, found {model!r}.'
    )
  size = SIZES[model]
  opened = _SOURCE.open(data)
  vocabulary = vocabulary_lib.load(opened.folder)
  to_tokens = functools.partial(_to_tokens, vocabulary)
  return task.Task(
      name='stackoverflow',
      data=(
          f'{opened.description}; {len(vocabulary.words):,} words'
          f' ({vocabulary.digest})'
      ),
      model=f'transformer of {size.blocks} blocks, width {size.width}',
      model_fn=functools.partial(
          create_model_fn,
          size,
          vocabulary,
          lora=lora_lib.Lora(lora_rank, lora_targets),
          mean_regularization=mean_regularization,
      ),
      splits=size.splits,
      train=client_data.MappedClients(opened.train, to_tokens),
      test=client_data.MappedClients(opened.test, to_tokens),
      client_examples=examples_lib.Tensors(
          batch_size,
          max_examples=_MAX_EXAMPLES,
          prepare_train=_prepare,
          prepare_test=_prepare,
          element_spec=collections.OrderedDict(
              tokens=tf.TensorSpec([LENGTH + 1], tf.int32)
          ),
      ),
      metric=metric_lib.Metric('accuracy', higher_is_better=True),
      labels_fn=functools.partial(_words, len(vocabulary.words)),
      usage=usage_lib.Usage(
          raw={'tokens': tf.TensorSpec([None, None], tf.int32)},
          prepare_fn=lambda tokens: tokens,
          inputs=(
              f'numbers of at most {LENGTH} words, padded with'
              f' {vocabulary_lib.PADDING}: first'
              f' {vocabulary.start}, the start of a sentence, then the line of'
              f' each word in {vocabulary_lib.FILE}, counted from 1, or'
              f' {vocabulary.other} for any other word. Words are in lower'
              ' case; each punctuation mark is a word'
          ),
          outputs=(
              'for each word that is not padding, sentence after sentence,'
              ' logits of the numbers of the next word;'
              f' {vocabulary.end} is the end of the sentence'
          ),
          files={vocabulary_lib.FILE: vocabulary.text},
          example=inspect.getsource(example),
      ),
      demonstration=opened.demonstration,
      texts={vocabulary_lib.FILE: vocabulary.text},
  )


def create_transformer(
    size: Size,
    vocabulary_size: int,
    *,
    adapter_width: Optional[int] = None,
    additions: additions_lib.Additions = additions_lib.NOTHING,
) -> tf.keras.Model:
  """Builds the network from tokens to logits.

  Inputs are int32 [batch, time], padded at the end. Outputs are float32
  [tokens, vocabulary_size], for all tokens except padding, sentence after
  sentence. Most of the work is the softmax, which padding would waste.

  Args:
    size: The size of the network.
    vocabulary_size: The number of tokens.
    adapter_width: Bottleneck width of the adapters; `None` means no adapters.
    additions: Layers that are added, apart from adapters. Only the dense layers
      of the blocks can have low-rank matrices.
  """
  tokens = tf.keras.Input([None], dtype=tf.int32)
  words = TiedEmbedding(vocabulary_size, size.width, name='words')
  x = words(tokens)
  for i in range(size.blocks):
    x = transformer.TransformerBlock(
        num_heads=size.heads,
        feedforward_width=size.feedforward,
        causal=True,
        attention_bias=False,
        adapter_width=adapter_width,
        lora=additions.lora,
        name=f'block_{i}',
    )(x)
  real = tf.boolean_mask(x, tf.not_equal(tokens, vocabulary_lib.PADDING))
  real = additions.add_bias(real)
  logits = words(real, reverse=True)
  return tf.keras.Model(tokens, additions.add_head(real, logits))


@tf.keras.saving.register_keras_serializable('tff_partial')
class TiedEmbedding(tf.keras.layers.Layer):
  """Maps tokens to vectors with positions, and vectors back to logits."""

  def __init__(self, vocabulary_size: int, width: int, **kwargs):
    super().__init__(**kwargs)
    self._vocabulary_size = vocabulary_size
    self._width = width

  def build(self, input_shape):
    del input_shape  # The variables do not depend on it.
    normal = lambda: tf.keras.initializers.RandomNormal(stddev=0.02)
    self.embedding = self.add_weight(
        'embedding', [self._vocabulary_size, self._width], initializer=normal()
    )
    self.position = self.add_weight(
        'position', [LENGTH, self._width], initializer=normal()
    )
    self.bias = self.add_weight(
        'bias', [self._vocabulary_size], initializer='zeros'
    )

  def call(self, inputs, reverse=False):
    if reverse:
      return tf.matmul(inputs, self.embedding, transpose_b=True) + self.bias
    vectors = tf.gather(self.embedding, inputs) * self._width**0.5
    return tf.nn.relu(vectors + self.position[: tf.shape(inputs)[1]])

  def get_config(self):
    return {
        **super().get_config(),
        'vocabulary_size': self._vocabulary_size,
        'width': self._width,
    }


def create_model_fn(
    size: Size,
    vocabulary: vocabulary_lib.Vocabulary,
    split: str,
    *,
    lora: lora_lib.Lora = lora_lib.DEFAULT,
    mean_regularization: float = 0.0,
) -> partial_model.ModelFn:
  """Returns a function that makes the models of a split.

  Models of some splits have more layers than others (`additions.py`).

  Args:
    size: The size of the network.
    vocabulary: The words, which determine the number of tokens.
    split: A name of `size.splits`, or any that all tasks have.
    lora: The low-rank matrices of the splits that have some.
    mean_regularization: The weight of the mean regularization of FedDBE in
      splits with `bias`.

  Raises:
    errors.SettingsError: If there is no such split.
  """
  rule = partition.rule_by_name(split, size.splits)
  additions = additions_lib.of_split(
      split, lora, mean_regularization=mean_regularization
  )
  adapter_width = None
  if additions.adapters:
    adapter_width = 64 if 'adapter64' in split.split('+') else 16
  return lambda: partial_model.PartialModel(
      create_transformer(
          size,
          vocabulary.size,
          adapter_width=adapter_width,
          additions=additions,
      ),
      rule,
      loss_fn=lambda y, logits: tf.reduce_mean(_cross_entropy(y, logits)),
      metric_fns=metric_fns(vocabulary),
      input_spec=collections.OrderedDict(
          x=tf.TensorSpec([None, None], tf.int32),
          y=tf.TensorSpec([None, None], tf.int32),
      ),
      rule_name=split,
      frozen=additions_lib.frozen(split, rule),
  )


def metric_fns(
    vocabulary: vocabulary_lib.Vocabulary,
) -> Mapping[str, partial_model.MetricFn]:
  """Metrics per sentence, of labels [batch, time] and logits [tokens, words].

  'loss' counts all tokens except padding; the others count words of the
  vocabulary. Perplexity is exp of 'log_perplexity', which can be averaged.
  """

  def of_words(count):
    def metric(y, logits):
      is_word = (y > 0) & (y <= len(vocabulary.words))
      counted = tf.cast(count(y, logits), tf.float32)
      counted *= tf.cast(_tokens(is_word, y), tf.float32)
      return _by_sentence(y, counted), tf.reduce_sum(
          tf.cast(is_word, tf.float32), axis=1
      )

    return metric

  return {
      'loss': lambda y, logits: (
          _by_sentence(y, _cross_entropy(y, logits)),
          tf.math.count_nonzero(y, axis=1),
      ),
      'accuracy': of_words(lambda y, logits: _rank(y, logits) < 1),
      'top3': of_words(lambda y, logits: _rank(y, logits) < 3),
      'top5': of_words(lambda y, logits: _rank(y, logits) < 5),
      'log_perplexity': of_words(_cross_entropy),
  }


def _tokens(values, y):
  """Selects values [batch, time] where there are labels, as a row [tokens]."""
  return tf.boolean_mask(values, tf.not_equal(y, vocabulary_lib.PADDING))


def _by_sentence(y, values):
  """Sums values [tokens] over each sentence, [batch]."""
  real = tf.not_equal(y, vocabulary_lib.PADDING)
  return tf.math.unsorted_segment_sum(
      values, tf.where(real)[:, 0], tf.shape(y, tf.int64)[0]
  )


def _cross_entropy(y, logits):
  return tf.nn.sparse_softmax_cross_entropy_with_logits(
      labels=_tokens(y, y), logits=logits
  )


def _rank(y, logits):
  """Counts the tokens at least as likely as the right one, int32 [tokens].

  This is cheaper than sorting. Ties make the rank worse, and so do NaNs.
  """
  right = tf.gather(logits, _tokens(y, y), batch_dims=1)[:, tf.newaxis]
  less = tf.reduce_sum(tf.cast(logits < right, tf.int32), axis=-1)
  return tf.shape(logits)[1] - 1 - less


def _prepare(batch, seed):
  """Makes inputs and the tokens that follow, cut to the longest sentence.

  The end of a sentence is no input, so inputs and labels have the same padding.
  """
  del seed  # There is no augmentation.
  tokens = batch['tokens']
  longest = tf.reduce_max(tf.math.count_nonzero(tokens, axis=1))
  y = tokens[:, 1:longest]
  x = tf.where(tf.equal(y, vocabulary_lib.PADDING), 0, tokens[:, : longest - 1])
  return collections.OrderedDict(x=x, y=y)


def _words(num_words: int, examples: Mapping[str, np.ndarray]) -> np.ndarray:
  """The words that accuracy counts, [sentences, LENGTH], or -1."""
  following = examples['tokens'][:, 1:]
  return np.where((following > 0) & (following <= num_words), following, -1)


def _to_tokens(
    vocabulary: vocabulary_lib.Vocabulary, features: Mapping[str, np.ndarray]
) -> collections.OrderedDict[str, np.ndarray]:
  """Converts stored sentences to examples."""
  return collections.OrderedDict(
      tokens=vocabulary.encode(features['tokens'], LENGTH)
  )
