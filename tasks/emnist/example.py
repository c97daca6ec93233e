# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names the character in a picture. Needs TensorFlow and this folder alone.

python example.py character.png
"""

import json
import pathlib
import sys

import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent


def read(path: str) -> tf.Tensor:
  """Reads a PNG, JPEG, GIF or BMP as uint8 [28, 28] with ink 255."""
  image = tf.io.decode_image(
      tf.io.read_file(path), channels=1, expand_animations=False
  )
  image = tf.image.resize(image, [28, 28], method='area')
  if tf.reduce_mean(image) > 127:  # Dark ink on light paper.
    image = 255 - image
  return tf.cast(tf.round(image[..., 0]), tf.uint8)


def main(path: str) -> None:
  model = tf.saved_model.load(str(FOLDER / 'saved_model'))
  logits = model.signatures['raw'](pixels=read(path)[tf.newaxis])['outputs']
  chances = tf.nn.softmax(logits[0])
  description = json.loads((FOLDER / 'export.json').read_text('utf-8'))
  for i in tf.argsort(chances, direction='DESCENDING')[:3].numpy():
    print(f'{description["classes"][i]}\t{chances[i]:.1%}')


if __name__ == '__main__':
  main(*sys.argv[1:])
