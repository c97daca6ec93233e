# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The speech task: its networks, their inputs, and rounds of training."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from benchmarks import padding
from tasks.networks import additions as additions_lib
from tasks.speech import ctc
from tasks.speech import encoder as encoder_lib
from tasks.speech import task as speech
from tests.helpers import small_networks
from tests.helpers import speech_data
from tests.helpers import worker
from tff_partial.evaluation import evaluation
from tff_partial.learning import algorithms
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import outlines
from tff_partial.learning import phase as phase_lib
from tff_partial.learning import process

setUpModule, tearDownModule = worker.start, worker.stop


class EncoderTest(parameterized.TestCase):

  # Width d, feed-forward width f, 80 features, 29 classes. The convolutions
  # have 5 * 80 * d + d and 5 * d * d + d; a block 4 * (d * d + d) for its
  # attention, 2 * d * f + f + d, and 4 * d for two norms; the last norm 2 * d;
  # the head 29 * d + 29. An adapter of width w has 2 * d * w + w + d, a block
  # two of them.
  # small: 57,744 + 103,824 + 4 * 250,704 + 288 + 4,205, adapters 4 * 9,536.
  # base: 205,312 + 1,311,232 + 6 * 2,102,784 + 1,024 + 14,877, 6 * 132,224.
  @parameterized.parameters(
      ('small', 'none', 0, 1_168_877),
      ('small', 'input', 57_744 + 103_824 + 250_704, 1_168_877),
      ('small', 'output', 250_704 + 288 + 4_205, 1_168_877),
      ('small', 'norm', 4 * 4 * 144 + 288, 1_168_877),
      ('small', 'adapter', 38_144 + 4 * 4 * 144 + 288, 1_207_021),
      ('base', 'input', 3_619_328, 14_149_149),
      ('base', 'output', 2_118_685, 14_149_149),
      ('base', 'adapter', 793_344 + 6 * 4 * 512 + 1_024, 14_942_493),
  )
  def test_number_of_parameters(self, model, split, personal, everything):
    size, _ = speech.MODELS[model]
    variables = outlines.describe(speech.create_model_fn(80, size, split))
    self.assertEqual(sum(v.size for v in variables), everything)
    self.assertEqual(sum(v.size for v in variables if v.personal), personal)

  def test_fresh_adapters_change_nothing(self):
    build = lambda adapters: encoder_lib.create_encoder(
        5,
        7,
        speech_data.TINY,
        additions=additions_lib.Additions(adapters=adapters),
    )
    plain, adapted = build(False), build(True)
    values = {p: v for p, v in plain.get_weight_paths().items()}
    for path, variable in adapted.get_weight_paths().items():
      if 'adapter' not in path:
        variable.assign(values[path])
    x = {
        'features': tf.random.stateless_normal([2, 30, 5], [1, 2]),
        'num_frames': tf.constant([30, 30]),
    }
    np.testing.assert_array_equal(plain(x)['logits'], adapted(x)['logits'])

  @parameterized.parameters(20, 21, 22, 23)
  def test_padding_changes_nothing(self, frames):
    model = encoder_lib.create_encoder(5, 7, speech_data.TINY)
    x = tf.random.stateless_normal([1, frames, 5], [1, 2])
    alone = model({'features': x, 'num_frames': tf.constant([frames])})
    padded = model(
        {
            'features': tf.pad(x, [[0, 1], [0, 31 - frames], [0, 0]]),
            'num_frames': tf.constant([frames, 31]),
        }
    )
    length = encoder_lib.num_frames(frames)
    self.assertEqual(alone['logits'].shape, (1, length, 7))
    np.testing.assert_array_equal(alone['num_frames'], [length])
    np.testing.assert_array_equal(padded['num_frames'], [length, 8])
    np.testing.assert_allclose(
        alone['logits'][0], padded['logits'][0, :length], atol=1e-4
    )


class DataTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.enter_context(small_networks.speech_small())

  def test_utterances_are_padded_to_the_longest_of_the_client(self):
    task = speech.create_task(speech_data.make_features(self))
    x, y = task.train.read('s0').values()
    self.assertEqual(
        x['signal'].shape, (4, x['length'].max(), speech_data.NUM_FEATURES)
    )
    self.assertEqual(y['labels'].shape, (4, y['num_labels'].max()))
    np.testing.assert_array_equal(x['length'], 8 * y['num_labels'])
    x, _ = task.test.read('s0').values()
    self.assertEqual(x['length'].tolist(), sorted(x['length']))

  def test_batches_are_cut_to_their_longest(self):
    folder = speech_data.make_features(self, utterances=20)
    task = speech.create_task(folder, batch_size=2)
    examples = task.client_examples.value(
        task.train.read('s0'), np.array([0, 1], np.int32)
    )
    lengths = examples['examples']['x']['length']
    whole = 1 - lengths.mean() / lengths.max()
    share = padding.padding_share(task.client_examples, examples)
    self.assertLess(share, whole)
    bucketed, mixed = padding.measure(folder, 2)
    self.assertBetween(bucketed[1], 0, mixed[1], bucketed)
    self.assertLess(bucketed[1], mixed[1])
    for _, mean, most in padding.measure(folder, 1):
      self.assertEqual((mean, most), (0, 0))

  def test_audio_becomes_energies(self):
    noise = np.random.default_rng(0).integers(-999, 999, [5, 8000])
    folder = speech_data.make_folder(
        self,
        {'audio': tf.TensorSpec([None], tf.int16)},
        {'s': {'audio': noise.astype(np.int16), 'transcript': 5 * ['YES']}},
    )
    task = speech.create_task(folder)
    self.assertIn('80 log-mel', task.model)
    batch = task.client_examples.prepare_test(
        tf.nest.map_structure(tf.constant, task.test.read('s')), None
    )
    # 500 ms: windows of 25 ms start at 0, 10, ..., 470.
    self.assertEqual(batch['x']['features'].shape, (1, 48, 80))

  def test_mistakes(self):
    folder = speech_data.make_features(self)
    for arguments, message in (
        ({'model': 'huge'}, r"`model` of \['base', 'small'\], found 'huge'"),
        ({'beam_width': 0}, '`beam_width` of at least 1, found 0'),
        ({'data': 'nowhere'}, 'train.sqlite, found no such file'),
    ):
      with self.assertRaisesRegex((ValueError, OSError), message):
        speech.create_task(**{'data': folder, **arguments})
    pixels = speech_data.make_folder(
        self,
        {'pixels': tf.TensorSpec([4], tf.uint8)},
        {'p': {'pixels': np.zeros([3, 4], np.uint8), 'transcript': 3 * ['A']}},
    )
    with self.assertRaisesRegex(ValueError, "'audio' int16 .* found .'pixels'"):
      speech.create_task(pixels)


class TrainingTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.enter_context(small_networks.speech_small())

  def test_rounds_and_an_evaluation_of_every_speaker(self):
    task = speech.create_task(speech_data.make_features(self), augment=False)
    model_fn = speech.create_model_fn(
        speech_data.NUM_FEATURES, speech_data.TINY, 'output'
    )
    sgd = phase_lib.GroupTraining(tff.learning.optimizers.build_sgdm(0.3))
    rounds = process.build_partial_process(
        model_fn,
        algorithms.fed_sim(sgd, sgd, steps=algorithms.Steps(clip_norm=1.0)),
        client_examples=task.client_examples,
    )
    state = rounds.initialize()
    personal = [rounds.initialize_personal()] * 2
    losses = []
    for round_num in range(6):
      examples = [
          task.client_examples.value(
              task.train.read(c), clients_lib.seed_for(round_num, c)
          )
          for c in task.train.client_ids
      ]
      state, personal, metrics = rounds.next(state, personal, examples)
      self.assertEqual(metrics['counts'].non_finite, 0)
      losses.append(metrics['train']['loss'])
    self.assertLess(losses[-1], 0.8 * losses[0])
    table = evaluation.evaluate(
        {
            'personalized': evaluation.TestedModel(
                evaluation=evaluation.build_evaluation(
                    model_fn, client_examples=task.client_examples
                ),
                shared=state.global_model_weights,
                personal_fn=lambda ids: personal,
            )
        },
        evaluation.Population(
            train=task.train,
            test=task.test,
            participated=lambda client_id: True,
        ),
        task.test.client_ids,
        progress=False,
    )
    words, errors = [], {'wer': [], 'cer': []}
    model = model_fn()
    for client_id, own in zip(task.test.client_ids, personal):
      batch = task.client_examples.prepare_test(
          tf.nest.map_structure(tf.constant, task.test.read(client_id)), None
      )
      labels = ctc.to_text(
          tf.RaggedTensor.from_tensor(
              batch['y']['labels'], batch['y']['num_labels']
          )
      )
      words += [len(text.split()) for text in labels.numpy()]
      model.assign(state.global_model_weights, own)
      outputs = model.outputs(batch, training=False)
      heard = ctc.decode(outputs['logits'], outputs['num_frames'], beam_width=1)
      errors['wer'].extend(ctc.word_errors(labels, heard)[0].numpy())
      errors['cer'].extend(ctc.character_errors(labels, heard)[0].numpy())
    scores = table.scores['personalized']
    np.testing.assert_array_equal(scores['wer'].weight, words)
    self.assertGreater(sum(errors['cer']), sum(errors['wer']))
    for name, expected in errors.items():
      np.testing.assert_array_equal(scores[name].total, expected)


if __name__ == '__main__':
  absltest.main()
