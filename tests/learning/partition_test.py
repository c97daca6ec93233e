# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Split rules, and splits that are refused."""

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial import errors
from tff_partial.learning import partition

PATHS = (
    'head/kernel',
    'head/proj/bias',
    'head_norm/gamma',
    'block/head/kernel',
)


def variable(path, *, personal=False, shape=(2, 3), **kwargs):
  return partition.VariableInfo(path, shape, 'float32', personal, **kwargs)


class RuleTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('none', partition.none, []),
      ('everything', partition.everything, list(PATHS)),
      # Matches whole names at the beginning of the path.
      ('layers', partition.layers('head'), ['head/kernel', 'head/proj/bias']),
      ('no_layers', partition.layers(), []),
      ('matches', partition.matches('norm|bias$'), list(PATHS[1:3])),
      (
          'any_of',
          partition.any_of(
              partition.layers('block'), partition.matches('norm')
          ),
          list(PATHS[2:]),
      ),
  )
  def test_matches(self, rule, expected):
    self.assertEqual([path for path in PATHS if rule(path)], expected)

  @parameterized.parameters(
      ('none', 0), ('all', 4), ('top', 2), ('regex:kernel$', 2), ('regex:', 4)
  )
  def test_rule_by_name(self, name, expected):
    rule = partition.rule_by_name(name, {'top': partition.layers('head')})
    self.assertEqual(sum(map(rule, PATHS)), expected)

  def test_task_can_redefine_all(self):
    rule = partition.rule_by_name('all', {'all': partition.none})
    self.assertFalse(rule('head/kernel'))

  @parameterized.parameters(
      (
          'head',
          r"`personal` to be one of \['all', 'none', 'top'\], or regex:E,"
          " .* found 'head'",
      ),
      ('regex:(', r"regular expression after \"regex:\", found '\(': .*"),
      ('', "found ''"),
  )
  def test_unknown_name(self, name, message):
    with self.assertRaisesRegex(ValueError, message):
      partition.rule_by_name(name, {'top': partition.none})

  @parameterized.parameters(
      ('first+second', 'abcd', 'ab'),
      ('first+regex:[cd]+$', 'abcd', 'acd'),
      ('regex:a+b', ['ab', 'aab', 'a'], ['ab', 'aab']),
  )
  def test_names_can_be_joined(self, name, paths, expected):
    splits = {'first': lambda p: p == 'a', 'second': lambda p: p == 'b'}
    rule = partition.rule_by_name(name, splits)
    self.assertEqual([p for p in paths if rule(p)], list(expected))

  def test_every_joined_name_is_checked(self):
    with self.assertRaisesRegex(errors.SettingsError, "joined by .*'thrid'"):
      partition.rule_by_name('first+thrid', {'first': partition.none})


class CheckTest(parameterized.TestCase):

  @parameterized.parameters(
      ('none', (False, False)),
      ('all', (True, True)),
      ('half', (True, False)),
      (None, (True, True)),
      (None, (False, False)),
  )
  def test_accepts(self, rule_name, personal):
    partition.check(
        [variable(f'v{i}', personal=p) for i, p in enumerate(personal)],
        rule_name=rule_name,
    )

  @parameterized.parameters(
      (False, "Split 'top' matches no variable .* Variables: a, b. .*none"),
      (True, "Split 'top' matches every variable .* Variables: a, b. .*all"),
  )
  def test_refuses_an_empty_group(self, personal, message):
    variables = [variable(path, personal=personal) for path in 'ab']
    with self.assertRaisesRegex(ValueError, message):
      partition.check(variables, rule_name='top')

  def test_refuses_shared_moving_averages(self):
    with self.assertRaisesRegex(
        ValueError, "'top' shares norm/mean: moving averages, .*group"
    ):
      partition.check(
          [
              variable('a', personal=True),
              variable('norm/mean', trainable=False, moving=True),
              variable('norm/gamma'),
          ],
          rule_name='top',
      )

  def test_shares_constants(self):
    partition.check(
        [
            variable('a', personal=True),
            variable('frozen/kernel', trainable=False),
            variable('head/kernel'),
        ],
        rule_name='top',
    )

  def test_personal_variables_need_not_be_trainable(self):
    partition.check(
        [
            variable('norm/mean', personal=True, trainable=False),
            variable('norm/gamma'),
        ]
    )


class CheckPretrainedTest(parameterized.TestCase):

  def check(self, before, after):
    partition.check_pretrained(
        [variable(path) for path in before],
        [variable(path) for path in after],
        rule_name='adapter',
    )

  @parameterized.parameters(
      (['dense/kernel', 'dense_1/kernel'],) * 2,
      (['block_0/norm/bias'], ['block_0/norm/bias', 'block_0/adapter/bias']),
      (['dense/kernel'], ['dense/kernel', 'personal/dense/kernel']),
  )
  def test_accepts(self, before, after):
    self.check(before, after)

  @parameterized.parameters(
      (['dense', 'dense_1'], ['dense', 'dense_1', 'dense_2'], 'dense_2 too'),
      (['head'], ['top'], 'none of head'),
      (['a/dense_1/b'], ['a/dense_1/b', 'a/dense_2/b'], 'a/dense_2/b too'),
  )
  def test_refuses_other_names(self, before, after, message):
    with self.assertRaisesRegex(
        errors.SettingsError, f"'adapter', found {message}. Give each layer"
    ):
      self.check(before, after)

  def test_refuses_other_shapes(self):
    with self.assertRaisesRegex(
        errors.SettingsError, r'found a \[2, 3\] as \[4\]'
    ):
      partition.check_pretrained(
          [variable('a')], [variable('a', shape=(4,))], rule_name='none'
      )


class VariableInfoTest(absltest.TestCase):

  def test_sizes(self):
    v = partition.VariableInfo('v', (2, 3), 'float16', personal=True)
    self.assertEqual((v.size, v.num_bytes), (6, 12))
    scalar = partition.VariableInfo('s', (), 'int64', personal=False)
    self.assertEqual((scalar.size, scalar.num_bytes), (1, 8))

  def test_format_table(self):
    lines = partition.format_table(
        [
            variable('dense/kernel', shape=(2, 3)),
            variable('head/bias', shape=(2,), personal=True),
        ]
    ).splitlines()
    # 6 of 8 parameters are shared, 4 bytes each.
    self.assertEqual(
        [line.split() for line in lines],
        [
            ['path', 'shape', 'group', 'bytes', 'share'],
            ['dense/kernel', '[2,', '3]', 'shared', '24', '75.00%'],
            ['head/bias', '[2]', 'personal', '8', '25.00%'],
            ['1', 'variables', 'shared', '24', '75.00%'],
            ['1', 'variables', 'personal', '8', '25.00%'],
        ],
    )


if __name__ == '__main__':
  absltest.main()
