# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Splitting text into words, and the numbers of words."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tasks.stackoverflow import example
from tasks.stackoverflow import text
from tasks.stackoverflow import vocabulary
from tff_partial.data import sql_writer


class TextTest(parameterized.TestCase):

  @parameterized.parameters(
      (
          "You're right, it's a well-known Bug!",
          "you're right , it's a well-known bug !",
      ),
      ('See https://a.b/c?d=1, (or www.e.org).', 'see <URL> , ( or <URL> ) .'),
      ('a &lt; b &amp; c', 'a < b & c'),
      ('Élan isn’t 2.5%', "élan isn't 2 . 5 %"),
      ('  ', ''),
      # Vowel signs and accents belong to their letters: six words stay six.
      (
          'यह मेरी पहली हिन्दी किताब है।',
          'यह मेरी पहली हिन्दी किताब है ।',
      ),
      ('நான் தமிழ் படிக்கிறேன்', 'நான் தமிழ் படிக்கிறேன்'),
      ('كَتَبَ الوَلَدُ', 'كَتَبَ الوَلَدُ'),
      ('שָׁלוֹם עוֹלָם', 'שָׁלוֹם עוֹלָם'),
      ('צה״ל', 'צה״ל'),
      ('می\u200cخواهم', 'می\u200cخواهم'),
      ('Le cafe\u0301 pre\u0300s', 'le café près'),
      ('Tie\u0302\u0301ng Vie\u0323\u0302t', 'tiếng việt'),
      ("İstanbul'da", "i\u0307stanbul'da"),
      ('col·legi', 'col·legi'),
      ('so ❤\ufe0f👩\u200d👧!', 'so ❤\ufe0f 👩\u200d👧 !'),
      # Korean has spaces.
      ('한국어 공부', '한국어 공부'),
      # Scripts without spaces: each character with its signs is a word.
      ('我去学校。OK', '我 去 学 校 。 ok'),
      ('iPhone手机2台', 'iphone 手 机 2 台'),
      ('コーヒーが', 'コ ー ヒ ー が'),
      ('ที่นี่', 'ที่ นี่'),
  )
  def test_words(self, sentence, expected):
    self.assertEqual(' '.join(text.to_words(sentence)), expected)
    # So does the example of an export, without the package for scripts.
    self.assertEqual(' '.join(example.to_words(sentence, ['a'])), expected)

  def test_scripts_without_spaces_as_they_are(self):
    words = text.to_words('我去 学校。iPhone手机', unspaced='keep')
    self.assertEqual(words, ['我去', '学校', '。', 'iphone手机'])
    self.assertEqual(
        example.to_words('我去 学校。iPhone手机', ['学校', 'a']), words
    )
    self.assertEqual(text.unspaced_of(words), 'keep')
    self.assertEqual(text.unspaced_of(['我', 'iphone', '한국어']), 'characters')
    self.assertTrue(text.is_unspaced('a 我'))
    self.assertFalse(text.is_unspaced('a é हिन्दी 한국어'))

  def test_sentences_of_other_scripts(self):
    for sentences in (
        ['我今天去。', '他说：「好。」', '真的！？', '是'],
        ['यह है। ', 'वह है॥ ', 'क्या'],
        ['کیا؟ ', 'ہاں۔ ', 'ٹھیک'],
    ):
      self.assertEqual(
          text.split_sentences(''.join(sentences)),
          [sentence.strip() for sentence in sentences],
      )

  def test_sentences(self):
    self.assertEqual(
        text.split_sentences(
            'One, e.g. this.  Two?\nNo, not two. (Three.)\n\nfour\n\n'
        ),
        ['One, e.g. this.', 'Two?', 'No, not two.', '(Three.)', 'four'],
    )


class VocabularyTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name

  def test_numbers(self):
    # Padding 0, a 1, b 2, c 3, other words 4, start 5, end 6: 7 numbers.
    words = vocabulary.Vocabulary(('a', 'b', 'c'))
    self.assertEqual(words.size, 7)
    np.testing.assert_array_equal(
        words.encode(['b x', b'c', 'a b c a', 'a b c', ''], 4),
        [
            [5, 2, 4, 6, 0],
            [5, 3, 6, 0, 0],
            [5, 1, 2, 3, 1],  # A sentence of full length has no end.
            [5, 1, 2, 3, 6],
            [5, 6, 0, 0, 0],
        ],
    )
    np.testing.assert_array_equal(words.encode(['a b c'], 2), [[5, 1, 2]])

  def test_words_that_most_people_use_come_first(self):
    with sql_writer.SqlWriter(
        os.path.join(self.folder, 'train.sqlite'), vocabulary.FEATURES
    ) as writer:
      writer.write('ann', {'tokens': ['a a a c', 'a d d']})
      writer.write('bob', {'tokens': ['b c']})
      writer.write('cat', {'tokens': ['b']})
    number = vocabulary.write(self.folder, min_people_per_word=1)
    self.assertEqual(number, 0)
    # People (uses): c 2 (2), b 2 (2), a 1 (4), d 1 (2).
    found = vocabulary.load(self.folder)
    self.assertEqual(found.words, ('b', 'c', 'a', 'd'))
    vocabulary.write(self.folder, min_people_per_word=1, max_words=2)
    self.assertEqual(vocabulary.load(self.folder).words, ('b', 'c'))
    self.assertNotEqual(vocabulary.load(self.folder).digest, found.digest)
    number = vocabulary.write(self.folder, min_people_per_word=2)
    self.assertEqual(number, 2)
    self.assertEqual(vocabulary.load(self.folder).words, ('b', 'c'))
    with self.assertRaisesRegex(
        ValueError, 'at least 3 people use, found none among 3 .* `min_people_p'
    ):
      vocabulary.write(self.folder, min_people_per_word=3)

  def test_bad_files(self):
    with self.assertRaisesRegex(
        OSError, r'vocabulary in .*vocabulary\.txt, found no such file. Import'
    ):
      vocabulary.load(self.folder)
    for contents, message in (
        (b'a\n\xff\n', 'Expected UTF-8 text in .*vocabulary.txt'),
        (b'a\nb\na\n', "Expected every word once, found 'a' again"),
        (b'', 'Expected at least one word'),
    ):
      with open(os.path.join(self.folder, vocabulary.FILE), 'wb') as f:
        f.write(contents)
      with self.assertRaisesRegex(ValueError, message):
        vocabulary.load(self.folder)

  def test_sentence_that_is_not_utf8(self):
    with self.assertRaisesRegex(ValueError, 'UTF-8 text in sentence 1'):
      vocabulary.Vocabulary(('a',)).encode([b'a', b'\xff'], 3)


if __name__ == '__main__':
  absltest.main()
