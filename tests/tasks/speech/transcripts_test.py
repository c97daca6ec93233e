# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rule for transcripts."""

from absl.testing import absltest
from absl.testing import parameterized

from tasks.speech import transcripts


class TranscriptsTest(parameterized.TestCase):

  @parameterized.parameters(
      ('It’s  fine.', "IT'S FINE"),
      ('"Well-known," (she) said\u2014no?!', 'WELL KNOWN SHE SAID NO'),
      ('e.g. one...two', 'E G ONE TWO'),
      ('\tYES ', 'YES'),
      ('?!', ''),
  )
  def test_rule(self, transcript, expected):
    self.assertEqual(transcripts.normalize(transcript), expected)
    refused = transcripts.why_refused(expected)
    self.assertEqual(refused, '' if expected else 'utterances without words')

  @parameterized.parameters(
      ('room 12', 'with digits'),
      ('१२', 'with digits'),
      ('50%', 'with digits'),
      ('half %', 'with characters'),
      ('a & b', 'with characters'),
      ('[laughter] yes', 'with characters'),
      ('<unk>', 'with characters'),
      ('schön', 'with characters'),
      ('да', 'with characters'),
  )
  def test_refused(self, transcript, reason):
    normalized = transcripts.normalize(transcript)
    self.assertIn(reason, transcripts.why_refused(normalized))


if __name__ == '__main__':
  absltest.main()
