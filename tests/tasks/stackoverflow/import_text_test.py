# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Importing text in JSON lines."""

import gzip
import json
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from tasks import import_client_data
from tasks.stackoverflow import import_text
from tasks.stackoverflow import vocabulary
from tests.helpers import commands
from tests.helpers import paths
from tff_partial.data import people as people_lib
from tff_partial.data import sql_clients


def _line(user, day, *sentences, **other):
  return json.dumps(
      {'user': user, 'on': f'2020-01-{day:02d}', 'said': sentences, **other}
  )


class ReadJsonlTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    self.path = os.path.join(self.folder, 'text.jsonl')

  def write(self, *lines):
    with open(self.path, 'wb') as f:
      for line in lines:
        f.write(line if isinstance(line, bytes) else line.encode())
        f.write(b'\n')
    return self.path

  def read(self, path=None, **kwargs):
    kwargs = {
        'text': 'said',
        'person': 'user',
        'date': 'on',
        'min_people_per_word': 1,
        **kwargs,
    }
    return import_text.read_jsonl(path or self.path, **kwargs)

  def imported(self, **kwargs):
    """Each person's training and test sentences."""
    output = os.path.join(self.folder, 'out')
    self.summary = people_lib.write_folder(self.read(), output, **kwargs)
    found = []
    for name in ('train', 'test'):
      clients = sql_clients.SqlClients(os.path.join(output, f'{name}.sqlite'))
      found.append(
          {
              client_id: [s.decode() for s in clients.read(client_id)['tokens']]
              for client_id in clients.client_ids
          }
      )
    self.words = vocabulary.load(output).words
    return found

  def test_latest_texts_are_for_testing(self):
    self.write(
        _line('bob', 3, 'B three.', 'B four.'),
        _line('ann', 9, 'A nine.', 'A ten!'),
        '',
        _line('ann', 1, 'A one.', ' ', 'A two.', 'A two.'),
        _line('bob', 2, 'B two.'),
        _line('ann', 2, 'A three.'),
        _line('cat', 2, 'Only once.', 'On one line.'),
        _line('dan', 2),
    )
    # A fifth of ann's six sentences is one, but her last line has two.
    train, test = self.imported()
    self.assertEqual(
        train,
        {
            'ann': ['a one .', 'a two .', 'a two .', 'a three .'],
            'bob': ['b two .'],
        },
    )
    self.assertEqual(
        test, {'ann': ['a nine .', 'a ten !'], 'bob': ['b three .', 'b four .']}
    )
    # 'a' and 'b' by one person each, 'two' and '.' by two.
    self.assertEqual(self.words, ('.', 'two', 'a', 'b', 'one', 'three'))
    self.assertRegex(
        self.summary, r'empty sentences +1  in line 4 of .*text.jsonl'
    )
    self.assertRegex(
        self.summary, r"people whose examples all belong together +1  'cat'"
    )

  def test_words_of_few_people_are_in_no_file_but_the_examples(self):
    # 'we' by five people; '0123' by ann, and by four with a dot.
    self.write(
        *(_line(f'p{i}', 1, 'We 0123.' if i else 'We 4567.') for i in range(5)),
        *(_line(f'p{i}', 2, 'Bye.') for i in range(5)),
    )
    kwargs = {'text': 'said', 'person': 'user', 'date': 'on'}
    output = os.path.join(self.folder, 'out')
    summary = people_lib.write_folder(
        import_text.read_jsonl(self.path, **kwargs), output
    )
    self.assertEqual(vocabulary.load(output).words, ('.', 'we'))
    self.assertRegex(
        summary, 'changed +words of fewer than 5 people, not in the voc.* 2$'
    )
    self.assertNotIn('4567', summary)
    with self.subTest('too few people'):
      self.write(_line('ann', 1, 'One.'), _line('ann', 2, 'Two.'))
      with self.assertRaisesRegex(ValueError, 'none among 1 people. Import te'):
        people_lib.write_folder(
            import_text.read_jsonl(self.path, **kwargs), f'{output}2'
        )
      self.assertEqual(os.listdir(f'{output}2'), ['.lock'])
    with self.assertRaisesRegex(ValueError, 'of at least 1, found 0'):
      self.read(min_people_per_word=0)

  def test_dates_are_compared_as_times(self):
    for first, second in (
        (9, 10.5),
        ('2020-01-02T00:30:00+02:00', '2020-01-01T23:00:00'),
        # Milliseconds, next to ISO 8601.
        (1_577_836_800_000, '2020-01-01T00:00:01Z'),
        ('2019-12-31T23:59:59Z', 1_577_836_800_000),
    ):
      self.write(
          json.dumps({'user': 1, 'on': second, 'said': 'Later.'}),
          json.dumps({'user': 1, 'on': first, 'said': 'Earlier.'}),
      )
      _, test = self.imported(overwrite=True)
      self.assertEqual(test, {'1': ['later .']})

  def test_without_dates_lines_stay_together(self):
    self.write(
        *(
            json.dumps({'user': 'ann', 'said': f'Word{i} here. Word{i} there.'})
            for i in range(20)
        )
    )
    people = self.read(date=None)
    output = os.path.join(self.folder, 'out')
    people_lib.write_folder(people, output, test_fraction=0.3)
    test = sql_clients.SqlClients(os.path.join(output, 'test.sqlite'))
    found = [s.split()[0] for s in test.read('ann')['tokens']]
    # 0.3 of 40 sentences are 12, of 6 lines, and not the last 6.
    self.assertLen(found, 12)
    self.assertLen(set(found), 6)
    self.assertNotEqual(found[0], b'word14')

  @parameterized.parameters(
      (b'{"user": "\xff"}', 'Expected UTF-8 text in line 2 of .*text.jsonl'),
      ('{"user": ', 'Expected a JSON object in line 2 of'),
      ('[1]', 'Expected a JSON object in line 2 .*found a list'),
      ('{"user": "x", "on": 1}', "Expected a field 'said' in line 2 of"),
      (_line('', 1, 'A.'), "Expected a name in 'user' in line 2"),
      (_line('x', 1, said=3), "list of sentences in 'said' in line 2.* int"),
      ('{"user": ' + '[' * 10**5, 'Expected a JSON object in line 2 of'),
      (_line('x', 1, 'A.', on='9' * 4000), "In 'on' in line 2"),
      (_line('x', 1, 'A.', on='May'), "In 'on' in line 2 of .*: .* date such"),
      (_line('x', 1, 'A.', on=None), "field 'on' in line 2 .*found null"),
      (_line('x', 1, 'A.', on=float('nan')), "'on' in line 2 .*found nan"),
      ('{"user": "x", "said": "\\ud83d.", "on": 1}', "'said' in line 2.*half"),
      ('{"user": "\\ud83d", "said": "A.", "on": 1}', "'user' in line 2.*half"),
      ('{"user": ' + '1' * 5_000 + '}', 'JSON object in line 2'),
  )
  def test_bad_line(self, line, message):
    self.write(_line('ann', 1, 'Fine.'), line)
    with self.assertRaisesRegex(ValueError, message):
      self.read()

  def test_bad_lines_are_skipped_and_counted(self):
    self.write(
        _line('ann', 1, 'One.'),
        _line('ann', 2, 'Two.'),
        '{"user": "ann", "on": 1}',
        _line('ann', 3, said=None),
        _line(None, 3, 'Three.'),
        _line(' ', 3, 'Three.'),
        _line('ann', 3, said=5),
        _line('ann', 3, 'Three.', on='yesterday'),
        '{"user": "ann", "said": "\\ud83d", "on": 1}',
        b'\xff',
        'null',
    )
    source = self.read(on_error='skip')
    ((name, examples),) = source.examples
    self.assertEqual((name, examples['tokens']), ('ann', ['one .', 'two .']))
    self.assertEqual(
        source.left_out,
        {
            "lines without 'said'": 2,
            "lines without 'user'": 1,
            "lines without a name in 'user'": 1,
            "lines without text in 'said'": 1,
            "lines with a 'on' that cannot be read": 1,
            'lines with a lone surrogate': 1,
            'lines that are not UTF-8': 1,
            'lines that are not JSON objects': 1,
        },
    )
    self.assertEqual(
        source.left_out.first["lines without 'said'"],
        f'in line 3 of {self.path}',
    )
    with self.assertRaisesRegex(ValueError, 'line 3 .*`on_error`=skip'):
      self.read()
    with self.assertRaisesRegex(ValueError, '`on_error` of .*skip'):
      self.read(on_error='ignore')

  def test_dates_in_two_units(self):
    self.write(
        *(
            json.dumps({'user': 'ann', 'on': on, 'said': 'A.'})
            for on in (1_577_836_800, 1_577_836_801_000)
        )
    )
    with self.assertRaisesRegex(
        ValueError,
        "seconds since 1970 in 'on' in line 2 .* as in line 1 .*milliseconds",
    ):
      self.read()

  def test_byte_order_mark(self):
    self.write(b'\xef\xbb\xbf' + _line('ann', 1, 'A.').encode())
    self.assertEqual(self.read().num_people, 1)

  def test_one_person_has_one_name(self):
    self.write(
        _line('Zoé ', 1, 'A.'),
        _line('Zoe\u0301', 2, 'B.'),
        _line('\tZoé', 3, 'C.'),
        _line('zoé', 3, 'C.'),
    )
    found = [name for name, _ in self.read().examples]
    self.assertEqual(found, ['Zoé', 'zoé'])

  def test_copies_are_on_one_side(self):
    self.write(
        _line('ann', 1, 'One.'),
        _line('ann', 2, 'Two.', 'Two.'),
        _line('ann', 3, 'one.'),
        _line('ann', 4, 'Three.', 'One.'),
        _line('bob', 1, 'One.'),
        _line('bob', 2, 'One.'),
    )
    train, test = self.imported()
    # Of the three texts that differ, the last one is for testing.
    self.assertEqual(train, {'ann': ['one .', 'two .', 'two .', 'one .']})
    self.assertEqual(test, {'ann': ['three .', 'one .']})
    self.assertRegex(
        self.summary, 'changed   copies, .* +2  line 3 repeats line 1'
    )
    self.assertRegex(
        self.summary, "people whose examples all belong together +1  'bob'"
    )

  def test_scripts_without_spaces(self):
    self.write(_line('ann', 1, '我去。'), _line('ann', 2, '我 go'))
    for unspaced, expected, how in (
        ('characters', ['我 去 。', '我 go'], 'cut at each character'),
        ('keep', ['我去 。', '我 go'], 'not cut'),
    ):
      source = self.read(unspaced=unspaced)
      ((_, examples),) = source.examples
      self.assertEqual(examples['tokens'], expected)
      ((reason, count),) = source.changed.items()
      self.assertIn(how, reason)
      self.assertEqual(count, 2)
    with self.assertRaisesRegex(ValueError, "`unspaced` of .*found 'cut'"):
      self.read(unspaced='cut')

  def test_bad_file(self):
    with self.assertRaisesRegex(OSError, 'Expected a file .*none.jsonl'):
      self.read('none.jsonl')
    self.write(_line('ann', 1, ' '))
    with self.assertRaisesRegex(
        ValueError,
        r'Expected text in .*found none. Left out: empty sentences \(1, the'
        ' first: in line 1 of',
    ):
      self.read()
    path = self.path + '.gz'
    with open(path, 'wb') as f:
      f.write(gzip.compress(_line('ann', 1, 'Fine.').encode())[:-9])
    with self.assertRaisesRegex(ValueError, 'Expected a gzip file .*cut short'):
      self.read(path)
    content = bytearray(gzip.compress(_line('ann', 1, 'Fine.').encode()))
    content[10] ^= 0xFF  # Where the compressed data begin.
    with open(path, 'wb') as f:
      f.write(content)
    with self.assertRaisesRegex(ValueError, 'Expected a gzip file .*'):
      self.read(path)

  def test_command_line(self):
    self.write(_line('ann', 1, 'One.'), _line('ann', 2, 'Two.'))
    status, out, said = commands.call(
        import_client_data,
        *('jsonl', self.path),
        *('--text=said', '--person=user', '--date=on'),
        f'--output_dir={self.folder}/out',
        '--min_people_per_word=1',
    )
    self.assertEqual((status, said), (0, ''))
    self.assertIn('1 person, 2 examples (1 for training', out)
    self.assertEqual(
        sorted(os.listdir(f'{self.folder}/out')),
        [
            '.lock',
            'import.json',
            'test.sqlite',
            'train.sqlite',
            'vocabulary.txt',
        ],
    )

  def test_stack_exchange(self):
    people = self.read(
        paths.real_data(self, 'text', 'stackexchange_by_user.jsonl.gz'),
        text='sentences',
        person='user',
        date='creation_date',
    )
    self.assertEqual(people.num_people, 320)
    sizes = [len(examples['tokens']) for _, examples in people.examples]
    self.assertEqual((sum(sizes), min(sizes), max(sizes)), (67_118, 50, 2_785))


if __name__ == '__main__':
  absltest.main()
