# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which layers a split adds to a network, by its name.

All of them are initially the identity, so that a pretrained network with new
ones computes what it computed without them.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Additions:
  """Layers that are added to a network.

  Attributes:
    adapters: Whether there are residual adapters.
    feature_bias: Whether a vector, of the layer `feature_bias`, is added to the
      representation in front of the output layer.
    input_norm: Whether each channel of the input has a scale and an offset, of
      the layer `input_norm`.
  """

  adapters: bool = False
  feature_bias: bool = False
  input_norm: bool = False


NOTHING = Additions()


def of_split(split: str) -> Additions:
  """What a split adds: what its names or its regular expression mention.

  Args:
    split: As for `partition.rule_by_name`, such as `bias+output`. A regular
      expression mentions layers: `regex:feature_bias|head`.
  """
  names = split.partition('regex:')[0].split('+')
  return Additions(
      adapters='adapter' in split,
      feature_bias='bias' in names or 'feature_bias' in split,
      input_norm='input_norm' in split,
  )
