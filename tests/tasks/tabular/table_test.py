# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables: import, and the task that learns from them."""

import os
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow
from pyarrow import parquet

from tasks import import_client_data
from tasks.tabular import columns as columns_lib
from tasks.tabular import example
from tasks.tabular import import_table
from tasks.tabular import task as tabular
from tests.helpers import commands
from tests.helpers import programs
from tff_partial import errors
from tff_partial.data import client_data
from tff_partial.learning import outlines


class TableTest(programs.FolderTest):

  def write(self, *rows, name='t.csv'):
    path = self.folder / name
    path.write_text('\n'.join(rows) + '\n', encoding='utf-8')
    return str(path)

  def read(self, path, **kwargs):
    return import_table.read(path, **{'person': 'who', 'label': 'y', **kwargs})

  def test_import(self):
    path = self.write(
        'who,a,color,y,note',
        'ann,1,red,no,x',
        'ann ,3,blue,yes,x',
        'bob,5,red,no,x',
        'bob,,red,no,x',
        'bob,7,red,yes,x',
    )
    status, out, said = commands.call(
        import_client_data,
        *('table', path, '--person=who', '--label=y', '--features=a,color'),
        f'--output_dir={self.folder}/out',
    )
    self.assertEqual((status, said), (0, ''))
    self.assertIn('2 people, 4 examples', out)
    self.assertRegex(out, "left out +rows without a value in 'a' +1  row 4 of")
    train, test = client_data.open_folder(f'{self.folder}/out')
    rows = np.concatenate(
        [c.read('ann')['features'] for c in (train, test)]
    ).tolist()
    self.assertCountEqual(rows, [[1, 0, 1], [3, 1, 0]])
    columns = columns_lib.load(f'{self.folder}/out')
    self.assertEqual(columns.features, ('a', 'color=blue', 'color=red'))
    self.assertEqual(columns.classes, ('no', 'yes'))
    inputs = np.concatenate([train.read(i)['features'] for i in ('ann', 'bob')])
    np.testing.assert_allclose(columns.mean, inputs.mean(0))
    deviation = inputs.std(0)
    np.testing.assert_allclose(
        columns.deviation, np.where(deviation > 0, deviation, 1)
    )

  def test_parquet(self):
    path = str(self.folder / 't.parquet')
    parquet.write_table(
        pyarrow.table(
            {
                'who': [1, 1, 2, 2],
                'a': [0.5, 1.5, None, float('nan')],
                'b': [True, False, True, True],
                'y': [10, 9, 9, 10],
            }
        ),
        path,
    )
    source = self.read(path)
    ((name, examples),) = source.examples
    self.assertEqual(name, '1')
    # Classes are in the order of numbers, not of text.
    np.testing.assert_array_equal(examples['label'], [1, 0])
    np.testing.assert_array_equal(examples['features'], [[0.5, 1], [1.5, 0]])
    self.assertEqual(source.left_out, {"rows without a value in 'a'": 2})

  def test_what_stands_for_no_value_and_for_one_class(self):
    source = self.read(
        self.write(
            'who,age,food,code,y',
            'ann,31,none,1_2,1.0',
            'ann,NA,meat,12,1',
            'bob,45,meat,12,0',
            'bob,12,none,12,01',
        )
    )
    # Nobody eats "no value", and 1_2 is not 12.
    self.assertEqual(
        source.finish_fn.keywords,
        {
            'features': (
                'age',
                'food=meat',
                'food=none',
                'code=12',
                'code=1_2',
            ),
            'classes': ('0', '1'),
        },
    )
    self.assertEqual(source.left_out, {"rows without a value in 'age'": 1})
    self.assertEqual(dict(source.examples)['bob']['label'].tolist(), [0, 1])

  def test_example_reads_what_the_import_reads(self):
    for rows, message in (
        (['speed;rain=x', '1; no', '2;yes'], None),
        (['rain=x\tspeed', 'no\t1', 'yes\t2'], None),
        (['speed,rain=x', '1,snow'], "'snow' in rain=x, where .*yes"),
        (['speed,rain=x', ',no'], 'could not convert'),
        (['speed', '1'], 'no column for rain=x=no'),
    ):
      read = example.read(self.write(*rows))
      features = ['speed', 'rain=x=no', 'rain=x=yes']
      if message is None:
        self.assertEqual(
            [example.encode(row, features) for row in read],
            [[1, 1, 0], [2, 0, 1]],
        )
      else:
        with self.assertRaisesRegex(ValueError, message):
          example.encode(read[0], features)

  @parameterized.parameters(
      (
          ['who,a,y', 'x,1,0,9', 'x,2,1'],
          {},
          "more cells than columns .*'9' beyond them in row 1",
      ),
      (
          ['who,a,a,y', 'x,1,2,0', 'x,1,2,1'],
          {'features': ['a']},
          "one column 'a' .*found 2",
      ),
      (['who,a,y', 'x,1,0', 'x,2,0'], {}, "2 to 1,000 classes .*'y'.*found 1"),
      (['who,a,y', 'x,1,0.5', 'x,2,1'], {}, 'text or whole numbers'),
      (['who,a,y', 'x,,0'], {}, 'none. Left out: rows without a value in'),
      (['who,y', 'x,0', 'x,1'], {}, 'columns of features'),
      (['who,a,y', 'x,1,0'], {'features': ['b']}, "column 'b'.*`features`"),
      (
          ['who,a,y', *(f'x,t{i},{i % 2}' for i in range(101))],
          {},
          'at most 100',
      ),
  )
  def test_mistakes(self, rows, kwargs, message):
    path = self.write(*rows)
    with self.assertRaisesRegex(ValueError, message):
      self.read(path, **kwargs)

  def test_empty_file(self):
    path = os.path.join(self.folder, 'empty.csv')
    with open(path, 'w'):
      pass
    with self.assertRaisesRegex(errors.DataError, 'found an empty file'):
      self.read(path)

  def test_no_file(self):
    for name in ('none.csv', 'none.parquet'):
      with self.assertRaisesRegex(OSError, f'Expected a table {name}'):
        self.read(name)
    path = self.write('text', name='t.parquet')
    with self.assertRaisesRegex(ValueError, 'Expected a Parquet file'):
      self.read(path)

  def test_folder_of_another_task(self):
    programs.write_data(self.folder)
    with self.assertRaisesRegex(OSError, 'import_client_data table'):
      tabular.create_task(str(self.folder))
    with self.assertRaisesRegex(ValueError, "found 'tff'"):
      tabular.create_task('tff')

  def test_one_command_each(self):
    rng = np.random.default_rng(0)
    rows = ['who,a,b,y']
    for person in range(4):
      for a, b in rng.normal(100, 5, [20, 2]):
        rows.append(f'p{person},{a:.3f},{b:.3f},{int(a > b)}')
    path = self.write(*rows)
    data = os.fspath(self.folder / 'data')
    status, _, _ = commands.call(
        import_client_data,
        *('table', path, '--person=who', '--label=y', '--features=a,b'),
        f'--output_dir={data}',
    )
    self.assertEqual(status, 0)
    # Inputs 2, hidden layers 64, classes 2; adapters of width 16.
    task = tabular.create_task(data)
    examples = task.train.read(task.train.client_ids[0])
    np.testing.assert_array_equal(task.labels_fn(examples), examples['y'])
    for split, total, personal in (
        ('output', 3 * 64 + 65 * 64 + 65 * 2, 65 * 2),
        ('input', 3 * 64 + 65 * 64 + 65 * 2, 3 * 64),
    ):
      variables = outlines.describe(task.model_fn(split))
      self.assertEqual(sum(v.size for v in variables), total)
      self.assertEqual(sum(v.size for v in variables if v.personal), personal)
    code, out, said = self.call(
        *('--task=tabular', f'--data={data}', '--total_rounds=1'),
        f'--output_dir={self.folder}/run',
        *('--pretrain_rounds=1', '--clients_per_round=4', '--unseen_clients=0'),
        '--personal=adapter',
    )
    self.assertEqual(code, 0, said)
    page = pathlib.Path(self.folder, 'run', 'report.html').read_text()
    self.assertIn('The client’s most frequent class', page)


if __name__ == '__main__':
  absltest.main()
