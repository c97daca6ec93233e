# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which layers a split adds to a network, by its name.

All of them are initially the identity, so that a pretrained network with new
ones computes what it computed without them.
"""

import dataclasses

import tensorflow as tf

from tff_partial import errors
from tff_partial.learning import identity_layers
from tff_partial.learning import lora as lora_lib
from tff_partial.learning import mean_regularizer
from tff_partial.learning import partition

_MATRICES = partition.matches(r'/lora_[ab]$')
# The splits that added layers make possible in every network.
SPLITS = {
    'bias': partition.layers('feature_bias'),
    'second_head': partition.layers('second_head'),
    'lora': _MATRICES,
    'lora_b': partition.matches(r'/lora_b$'),
    'lora_shared': partition.none,
}


@dataclasses.dataclass(frozen=True)
class Additions:
  """Layers that are added to a network.

  Attributes:
    adapters: Whether there are residual adapters.
    feature_bias: Whether a vector, of the layer `feature_bias`, is added to the
      representation in front of the output layer.
    input_norm: Whether each channel of the input has a scale and an offset, of
      the layer `input_norm`.
    second_head: Whether the outputs are sums, to which a dense layer
      `second_head` is added that is initially zero (FedRoD).
    lora: The dense layers that get low-rank matrices.
    mean_regularization: The weight of the mean regularization of FedDBE in
      front of `feature_bias`; 0 for none.
  """

  adapters: bool = False
  feature_bias: bool = False
  input_norm: bool = False
  second_head: bool = False
  lora: lora_lib.Lora = lora_lib.NONE
  mean_regularization: float = 0.0

  def add_bias(self, representation: tf.Tensor) -> tf.Tensor:
    """The representation, or its sum with the bias.

    Args:
      representation: What the output layer takes, [..., features].
    """
    if not self.feature_bias:
      return representation
    if self.mean_regularization:
      representation = mean_regularizer.MeanRegularizer(
          self.mean_regularization
      )(representation)
    return identity_layers.FeatureBias(name='feature_bias')(representation)

  def add_head(
      self, representation: tf.Tensor, outputs: tf.Tensor
  ) -> tf.Tensor:
    """The outputs, or their sum with those of a second head.

    Args:
      representation: What the output layer takes, [..., features].
      outputs: What it makes of it, [..., units].
    """
    if not self.second_head:
      return outputs
    second = tf.keras.layers.Dense(
        outputs.shape[-1], kernel_initializer='zeros', name='second_head'
    )
    return tf.keras.layers.Add(name='heads')([outputs, second(representation)])


NOTHING = Additions()


def of_split(
    split: str,
    lora: lora_lib.Lora = lora_lib.DEFAULT,
    *,
    mean_regularization: float = 0.0,
) -> Additions:
  """What a split adds: what its names or its regular expression mention.

  Args:
    split: As for `partition.rule_by_name`, such as `bias+output`. A regular
      expression mentions layers: `regex:feature_bias|head`.
    lora: The low-rank matrices of splits that mention `lora`.
    mean_regularization: Its weight, for splits that mention `bias`.

  Raises:
    errors.SettingsError: If the weight is below 0.
  """
  if not mean_regularization >= 0:
    raise errors.SettingsError(
        'Expected `mean_regularization` of at least 0, found'
        f' {mean_regularization:g}.'
    )
  names = split.partition('regex:')[0].split('+')
  return Additions(
      adapters='adapter' in split,
      feature_bias='bias' in names or 'feature_bias' in split,
      mean_regularization=mean_regularization,
      input_norm='input_norm' in split,
      second_head='second_head' in split,
      lora=lora if 'lora' in split else lora_lib.NONE,
  )


def frozen(split: str, rule: partition.Rule) -> partition.Rule:
  """What a split never trains.

  In `lora_b`, which is FedSA-LoRA, and `lora_shared`, these are all variables
  but the low-rank matrices and those that are personal. In other splits, there
  are none.

  Args:
    split: As for `partition.rule_by_name`.
    rule: The rule that it names.
  """
  names = split.partition('regex:')[0].split('+')
  if not {'lora_b', 'lora_shared'} & {*names}:
    return partition.none
  return lambda path: not (_MATRICES(path) or rule(path))
