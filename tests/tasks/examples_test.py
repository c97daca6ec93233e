# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""`example.py` of an export reads what people have, without this project."""

import collections
import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tasks.landmarks import task as landmarks
from tasks.speech import ctc
from tasks.speech import task as speech
from tasks.tabular import columns
from tasks.tabular import task as tabular
from tests.helpers import alone
from tests.helpers import small_networks
from tests.helpers import speech_data
from tff_partial.data import people as people_lib
from tff_partial.experiments.exports import export
from tff_partial.runtime import local

setUpModule = local.remove_default_context


class ExamplesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.data, self.out = self.folder / 'data', self.folder / 'out'
    self.out.mkdir()

  def example(self, model, task, name, content):
    """Exports a model and lets its example read a file; what it prints."""
    export.write_folder(self.out, model, task.usage, {})
    path = self.folder / name
    path.write_bytes(content)
    return alone.run(self.out / 'example.py', path, cwd=self.folder)

  def write(self, features, examples, finish_fn=lambda folder: None):
    people_lib.write_folder(
        people_lib.ClientSource(
            collections.OrderedDict(features),
            1,
            [('ann', examples)],
            finish_fn=finish_fn,
        ),
        str(self.data),
    )
    return str(self.data)

  def test_rows_of_a_table(self):
    rng = np.random.default_rng(0)
    rows = rng.normal(5, 2, [10, 3]).astype(np.float32)
    rows[:, 1:] = np.eye(2)[rng.integers(2, size=10)]
    names = ('speed', 'mode=walk', 'mode=run')
    task = tabular.create_task(
        self.write(
            {
                'features': tf.TensorSpec([3], tf.float32),
                'label': tf.TensorSpec([], tf.int32),
            },
            {'features': rows, 'label': np.arange(10, dtype=np.int32) % 2},
            lambda folder: columns.write(
                folder, features=names, classes=('no', 'yes')
            ),
        )
    )
    model = task.model_fn('output')()
    said = self.example(
        model, task, 'rows.csv', b'mode,speed\nrun,3.5\nwalk,9\n'
    )
    # The same by NumPy, from the file of columns.
    found = json.loads((self.out / 'columns.json').read_text())
    x = np.array([[3.5, 0, 1], [9, 1, 0]])
    x = (x - found['mean']) / found['deviation']
    values = iter([v.numpy() for v in model.to_keras().variables])
    for i in range(3):
      x = x @ next(values) + next(values)
      x = np.maximum(x, 0) if i < 2 else x
    chances = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    self.assertEqual(
        said.splitlines(),
        [f'{("no", "yes")[np.argmax(c)]}\t{c.max():.1%}' for c in chances],
    )

  def test_recording(self):
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 3000, 9000).astype(np.int16)
    folder = speech_data.make_folder(
        self,
        {'audio': tf.TensorSpec([None], tf.int16)},
        {'ann': {'audio': [signal] * 2, 'transcript': ['ONE', 'TWO']}},
    )
    with small_networks.speech_small():
      task = speech.create_task(folder)
    model = speech.create_model_fn(80, speech_data.TINY, 'none')()
    examples = task.train.read('ann')
    batch = tf.nest.map_structure(lambda a: tf.constant(a[:1]), examples)
    x = task.client_examples.prepare_test(batch, tf.constant([0, 0]))['x']
    # Most frames are spaces, also the first and the last ones.
    space = ctc.CHARACTERS.index(' ')
    logits = model.outputs({'x': x}, training=False)['logits'][0].numpy()
    behind = logits.max(-1) - logits[:, space]
    [bias] = [v for v in model.shared.trainable if v.shape == logits.shape[1:]]
    bias.assign_add(
        tf.one_hot(space, bias.shape[0], float(np.quantile(behind, 0.7)), 0.0)
    )
    wav = tf.audio.encode_wav(signal[:, np.newaxis] / 2**15, 16_000).numpy()
    said = self.example(model, task, 'speech.wav', wav)
    # What the task's own preparation, model and decoder make of it.
    outputs = model.outputs({'x': x}, training=False)
    [heard] = ctc.decode(
        outputs['logits'], outputs['num_frames'], beam_width=1
    ).numpy()
    self.assertNotEmpty(heard)
    self.assertEqual(said.rstrip('\n'), heard.decode())

  def test_photo(self):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, [18, 18, 3]).astype(np.uint8)
    task = landmarks.create_task(
        self.write(
            {
                'pixels': tf.TensorSpec([18, 18, 3], tf.uint8),
                'label': tf.TensorSpec([], tf.int32),
            },
            {'pixels': np.stack([photo] * 4), 'label': np.zeros(4, np.int32)},
            lambda folder: pathlib.Path(folder, 'classes.txt').write_text(
                'café\ntower\n'
            ),
        ),
        image_size=16,
    )
    model = task.model_fn('output')()
    # Its middle is the photo.
    wide = np.concatenate([photo[:, :6] * 0, photo, photo[:, :6] * 0], 1)
    said = self.example(
        model, task, 'photo.png', tf.io.encode_png(wide).numpy()
    )
    x = tf.image.resize(photo[np.newaxis], [16, 16], antialias=True) / 255
    x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    [logits] = model.outputs({'x': x}, training=False).numpy()
    chances = np.exp(logits) / np.exp(logits).sum()
    best = int(np.argmax(chances))
    self.assertEqual(
        said.splitlines()[0], f'{("café", "tower")[best]}\t{chances[best]:.1%}'
    )


if __name__ == '__main__':
  absltest.main()
