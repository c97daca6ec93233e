# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Records of settings: bounds, nesting and flattening."""

import dataclasses
from typing import Optional

from absl.testing import absltest
from absl.testing import parameterized

from tff_partial import errors
from tff_partial.experiments.settings import setting


@dataclasses.dataclass(frozen=True)
class Inner(setting.Settings):
  """Inner"""

  rate: float = setting.field(0.5, 'A rate.', least=0, below=1)
  names: tuple[str, ...] = setting.field((), 'Some names.')


@dataclasses.dataclass(frozen=True)
class Outer(setting.Settings):
  """Outer"""

  count: Optional[int] = setting.field(None, 'How many.', least=1)
  kind: str = setting.field('a', 'Which.', choices=('a', 'b'), common=True)
  share: float = setting.field(0.0, 'How much.', least=0, most=1)
  inner: Inner = Inner()


class SettingTest(parameterized.TestCase):

  def test_declared(self):
    self.assertEqual(list(setting.records(Outer)), [Outer, Inner])
    count, kind, share = setting.declared(Outer)
    self.assertEqual(
        (count.name, count.type, count.default), ('count', int, None)
    )
    self.assertEqual((kind.type, kind.facts.choices), (str, ('a', 'b')))
    self.assertEqual((share.type, share.facts.most), (float, 1))
    rate, names = setting.declared(Inner)
    self.assertEqual((rate.type, names.type), (float, tuple))

  def test_internal_settings_are_not_for_users(self):
    @dataclasses.dataclass(frozen=True)
    class Record(setting.Settings):
      mine: int = setting.field(1, 'A setting.')
      own: int = setting.field(2, 'The program gives it.', internal=True)

    self.assertEqual([s.name for s in setting.declared(Record)], ['mine'])
    made = setting.replace(setting.replace(Record(), own=3), mine=4)
    self.assertEqual(setting.flatten(made), {'mine': 4, 'own': 3})

  def test_create_and_flatten(self):
    made = setting.create(Outer, {'rate': 0.25, 'kind': 'b'})
    self.assertEqual(made, Outer(kind='b', inner=Inner(rate=0.25)))
    self.assertEqual(
        setting.flatten(made),
        {'count': None, 'kind': 'b', 'share': 0.0, 'rate': 0.25, 'names': ()},
    )
    changed = setting.replace(made, rate=0.75, count=3)
    self.assertEqual((changed.inner.rate, changed.count), (0.75, 3))
    self.assertEqual(changed.kind, 'b')

  @parameterized.parameters(
      ({'rate': 1.0}, '`rate` to be at least 0 and below 1, found 1.0'),
      ({'rate': float('nan')}, '`rate` .* found nan'),
      ({'count': 0}, '`count` to be at least 1, found 0'),
      ({'share': 1.5}, '`share` to be from 0 to 1, found 1.5'),
      ({'share': float('nan')}, '`share` .* found nan'),
      ({'kind': 'c'}, r"`kind` to be one of \['a', 'b'\], found 'c'"),
      ({'rates': 0.1}, "setting of Outer, found 'rates'. Did you mean 'rate'?"),
      ({'zzz': 0.1}, "found 'zzz'.$"),
  )
  def test_refuses(self, values, message):
    with self.assertRaisesRegex(errors.SettingsError, message):
      setting.create(Outer, values)


if __name__ == '__main__':
  absltest.main()
