# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""CTC's loss, decoders and error counts, computed by hand and by jiwer."""

from absl.testing import absltest
from absl.testing import parameterized
import jiwer
import numpy as np
import tensorflow as tf

from tasks.speech import ctc

A, B = ctc.encode('AB')


def logits_of(frames):
  """Log probabilities of [{class: probability}], [1, frames, classes]."""
  values = np.full([1, len(frames), ctc.NUM_CLASSES], -30, np.float32)
  for i, frame in enumerate(frames):
    for c, probability in frame.items():
      values[0, i, c] = np.log(probability)
  return tf.constant(values)


def loss_and_gradient(transcripts, logits, num_frames):
  ids = tf.ragged.constant([ctc.encode(t).tolist() for t in transcripts])
  ids = tf.cast(ids, tf.int32)
  with tf.GradientTape() as tape:
    tape.watch(logits)
    losses = ctc.loss(
        ids.to_tensor(),
        tf.cast(ids.row_lengths(), tf.int32),
        logits,
        tf.constant(num_frames),
    )
  return losses.numpy(), tape.gradient(losses, logits).numpy()


class LossTest(absltest.TestCase):

  def test_sums_over_all_alignments(self):
    frame = {A: 0.4, ctc.BLANK: 0.6}
    losses, _ = loss_and_gradient(['A'], logits_of([frame, frame]), [2])
    # AA, A-, -A: 0.16 + 0.24 + 0.24.
    np.testing.assert_allclose(losses, [-np.log(0.64)], rtol=1e-5)

  def test_padding_changes_nothing(self):
    frame = {A: 0.4, ctc.BLANK: 0.6}
    padded = logits_of([frame, frame, {B: 1.0}])
    losses, gradient = loss_and_gradient(['A'], padded, [2])
    np.testing.assert_allclose(losses, [-np.log(0.64)], rtol=1e-5)
    np.testing.assert_array_equal(gradient[0, 2], np.zeros(ctc.NUM_CLASSES))

  def test_too_few_frames_teach_nothing(self):
    logits = tf.zeros([3, 2, ctc.NUM_CLASSES])
    # 'AA' takes three frames, with a blank between; the last has no frames.
    losses, gradient = loss_and_gradient(['AA', 'AB', 'A'], logits, [2, 2, 0])
    np.testing.assert_allclose(
        losses, [0, 2 * np.log(ctc.NUM_CLASSES), 0], rtol=1e-5
    )
    np.testing.assert_array_equal(gradient[[0, 2]], np.zeros_like(gradient[:2]))
    self.assertGreater(np.abs(gradient[1]).max(), 0)

  def test_min_frames(self):
    self.assertEqual(ctc.min_frames('HELLO'), 6)
    self.assertEqual(ctc.min_frames(''), 0)


class DecodeTest(absltest.TestCase):

  def test_greedy_merges_repetitions_and_drops_blanks(self):
    one = lambda c: {c: 1.0}
    frames = map(one, [A, A, ctc.BLANK, A, 0, 0, ctc.BLANK, 0, B, B, 0])
    text = ctc.decode(logits_of(list(frames)), tf.constant([11]))
    # 'AA  B ', with the spaces made single.
    self.assertEqual(text.numpy().tolist(), [b'AA B'])

  def test_beam_finds_a_likelier_transcript(self):
    frame = {A: 0.4, ctc.BLANK: 0.6}
    logits = logits_of([frame, frame])
    # Nothing has probability 0.36, 'A' the rest.
    self.assertEqual(ctc.decode(logits, [2]).numpy().tolist(), [b''])
    found = ctc.decode(logits, [2], beam_width=4)
    self.assertEqual(found.numpy().tolist(), [b'A'])

  def test_frames_beyond_the_length_are_ignored(self):
    logits = tf.concat(
        [logits_of([{A: 1.0}, {B: 1.0}]), logits_of([{B: 1.0}, {A: 1.0}])], 0
    )
    for beam_width in (1, 4):
      found = ctc.decode(logits, tf.constant([1, 2]), beam_width=beam_width)
      self.assertEqual(found.numpy().tolist(), [b'A', b'BA'])

  def test_decodes_what_was_encoded(self):
    text = "IT'S ALL RIGHT"
    ids = ctc.encode(text).astype(np.int32)
    ids = tf.RaggedTensor.from_row_lengths(ids, [len(text)])
    self.assertEqual(ctc.to_text(ids).numpy().tolist(), [text.encode()])

  def test_unknown_characters_are_named(self):
    with self.assertRaisesRegex(ValueError, "found '29É' in 'CAFÉ 92'"):
      ctc.encode('CAFÉ 92')
    self.assertEqual(ctc.normalize(' it is\tso '), 'IT IS SO')


class ErrorsTest(parameterized.TestCase):

  def test_by_hand(self):
    references = tf.constant(['A B C', 'ONE', 'ONE TWO'])
    hypotheses = tf.constant(['A X C D', '', 'ONE TWO'])
    # One word substituted and one inserted; one left out; nothing.
    errors, words = ctc.word_errors(references, hypotheses)
    np.testing.assert_array_equal(errors, [2, 1, 0])
    np.testing.assert_array_equal(words, [3, 1, 2])
    errors, characters = ctc.character_errors(references, hypotheses)
    np.testing.assert_array_equal(errors, [3, 3, 0])  # X for B; ' D' inserted.
    np.testing.assert_array_equal(characters, [5, 3, 7])

  def test_empty_transcripts(self):
    errors, words = ctc.word_errors(tf.constant(['A B']), tf.constant(['']))
    np.testing.assert_array_equal(errors, [2])
    np.testing.assert_array_equal(words, [2])

  def test_same_counts_as_jiwer(self):
    rng = np.random.default_rng(0)
    draw = lambda least: ' '.join(
        ''.join(rng.choice(list('ABC'), rng.integers(1, 4)))
        for _ in range(rng.integers(least, 7))
    )
    references = [draw(1) for _ in range(200)]
    hypotheses = [draw(0) for _ in range(200)]
    for ours, theirs in (
        (ctc.word_errors, jiwer.process_words),
        (ctc.character_errors, jiwer.process_characters),
    ):
      errors, units = ours(tf.constant(references), tf.constant(hypotheses))
      for i, (r, h) in enumerate(zip(references, hypotheses)):
        counts = theirs(r, h)
        self.assertEqual(
            errors[i],
            counts.substitutions + counts.deletions + counts.insertions,
            (r, h),
        )
        self.assertEqual(
            units[i], counts.hits + counts.substitutions + counts.deletions
        )


if __name__ == '__main__':
  absltest.main()
