# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0

import base64
import csv
import html.parser
import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_partial.evaluation import client_table
from tff_partial.evaluation import metric as metric_lib
from tff_partial.evaluation import summary
from tff_partial.learning import partition
from tff_partial.reporting import report

_COST = summary.Cost(
    gradient_steps=1200,
    examples_processed=24000,
    bytes_down_per_client=4000,
    bytes_up_per_client=3000,
    bytes_down=4_000_000,
    bytes_up=3_000_000,
    bytes_stored=500,
    seconds=75.0,
    personal_parameters=25,
    shared_parameters=75,
)
_VARIABLES = (
    partition.VariableInfo('body/kernel', (25, 3), 'float32', False),
    partition.VariableInfo('head/kernel', (5, 5), 'float32', True),
)
_HISTORY = (
    {'round': 1.0, 'train/loss': 2.0, 'train/accuracy': 0.1},
    {'round': 2.0, 'train/loss': 1.0, 'eval/personalized/accuracy': 0.5},
)


def _table(client_ids, participated, metric='accuracy', **models):
  """A table of examples with weight 1, from totals by model and client."""
  sizes = np.array([len(client) for client in next(iter(models.values()))])
  scores = {}
  for name, clients in models.items():
    total = np.array([x for client in clients for x in client], float)
    scores[name] = {metric: client_table.Scores(total, np.ones_like(total))}
  return client_table.ClientTable(
      client_ids=tuple(client_ids),
      train_examples=4 * sizes,
      test_examples=sizes,
      participated=np.array(participated),
      scores=scores,
  )


def _four_clients():
  """Clients: one helped, one hurt, one never seen, one without test data."""
  return _table(
      ('ann', 'bob', 'cy', 'dee'),
      (True, True, False, True),
      non_personalized=[[1, 0, 0, 0, 0], [1] * 5, [1, 0], []],
      personalized=[[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0], []],
  )


class _Page(html.parser.HTMLParser):
  """Collects what a page loads, and its text by section."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.sources, self.text, self._section = set(), [], {}, ''
    self.feed(text)
    self.text = {k: ' '.join(v.split()) for k, v in self.text.items()}

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    self.tags.add(tag)
    self.sources += [attrs[k] for k in ('src', 'href', 'data') if k in attrs]
    if tag in ('section', 'header', 'style', 'title'):
      self._section = attrs.get('id', tag)
    elif attrs.get('class') == 'tiles':
      self._section = 'tiles'

  def handle_data(self, data):
    # A bar separates the cells.
    text = self.text.get(self._section, '')
    self.text[self._section] = f'{text} | {data}' if data.strip() else text


class ReportTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name, 'out')

  def _read(self, name):
    return (self.folder / name).read_text(encoding='utf-8')

  def _report(self, table, history=_HISTORY, **kwargs):
    """Writes a report and returns its page and its JSON."""
    arguments = dict(
        title='A run',
        settings={'task': 'emnist', 'rate': float('inf'), 'rounds': 2},
        variables=_VARIABLES,
        table=table,
        metric=metric_lib.Metric('accuracy', higher_is_better=True),
        baseline='non_personalized',
        candidate='personalized',
        history=history,
        cost=_COST,
        leaves_client='Leaves a client each round: the update.',
    )
    path = report.write(
        self.folder, report.RunReport(**{**arguments, **kwargs})
    )
    self.assertEqual(path, self.folder / 'report.html')

    def refuse(constant):
      raise ValueError(f'{constant} is not strict JSON')

    numbers = json.loads(self._read('report.json'), parse_constant=refuse)
    page = _Page(self._read('report.html'))
    self.assertNotIn('– to –', ' '.join(page.text.values()))
    return page, numbers

  def test_numbers_by_hand(self):
    page, numbers = self._report(_four_clients())
    # Ann goes from 1/5 to 5/5, Bob from 5/5 to 3/5: 6/10 becomes 8/10. Of two
    # clients one is worse, on 2 examples, too few for the test to ever alarm.
    # The interval of -0.4 and 0.8 is 0.2 +- t(.975, 1) 0.6 = 0.2 +- 7.624.
    sentence = (
        'Personalization makes no clear change to accuracy (60.0% to 80.0%,'
        ' +20.00 points, 95% interval −742.37 to +782.37) over 2 clients that'
        ' took part in training: 1 is better and 1 is worse (sign test over'
        ' clients, p = 1.000), with too few test examples per client to say'
        ' which.'
    )
    self.assertEqual(numbers['headline'], sentence)
    self.assertIn(sentence, page.text['header'])
    group = numbers['groups']['participated']
    self.assertEqual(group['clients'], 3)
    self.assertEqual(group['test_examples'], 10)
    model = group['models']['personalized']
    self.assertEqual((model['clients'], model['left_out']), (2, 1))
    self.assertAlmostEqual(model['weighted_mean'], 0.8)
    self.assertAlmostEqual(model['uniform_quantiles']['0.1'], 0.6)
    comparison = group['comparisons']['personalized']
    self.assertAlmostEqual(comparison['change']['weighted_mean'], 0.2)
    self.assertEqual(comparison['hurt']['clients'], 1)
    self.assertIn(
        '| +20.00 | Change of the mean accuracy, in percentage points |'
        ' 60.0% → 80.0%, weighted by test data; 95% interval −742.37 to'
        ' +782.37',
        page.text['tiles'],
    )
    self.assertIn(
        '| 60.0% | 10th percentile of clients | before: 20.0%',
        page.text['tiles'],
    )
    self.assertIn('| 50.0% | Clients worse at all | 1 of 2', page.text['tiles'])
    self.assertIn(
        '| – | Worse by more than chance | too few test examples',
        page.text['tiles'],
    )
    self.assertIn('| 25.0% | Personal parameters', page.text['tiles'])
    self.assertIn(
        '| Personalized | 80.00% | 80.00% | 20.00% | +20.00'
        ' | −742.37 to +782.37 | 50.0% | 50.0%',
        page.text['models'],
    )
    # P(Binomial(2, 1/2) >= 2) = 1/4.
    self.assertIn(
        '| bob | 20 | 5 | 100.00% | 60.00% | −40.00 | 0.250',
        page.text['worst'],
    )
    self.assertNotIn('ann', page.text['worst'])

  def test_unseen_clients_are_summarized_separately(self):
    page, numbers = self._report(_four_clients())
    unseen = numbers['groups']['never_seen']
    self.assertEqual(unseen['clients'], 1)
    self.assertEqual(unseen['models']['personalized']['weighted_mean'], 0)
    self.assertIn(
        'changes accuracy from 50.0% to 0.0% (−50.00 points, no interval) over'
        ' 1 client never seen in training: none is better and 1 is worse',
        page.text['never_seen'],
    )
    page, numbers = self._report(
        _four_clients().select(np.array([True, True, False, False]))
    )
    self.assertNotIn('never_seen', page.text)
    self.assertNotIn('took part', numbers['headline'])

  def test_all_groups_are_in_percent_or_none(self):
    table = _table(
        ('ann', 'cy'),
        (True, False),
        metric='score',
        non_personalized=[[0.5], [1.5]],
        personalized=[[0.75], [1.5]],
    )
    score = metric_lib.Metric('score', higher_is_better=True)
    _, numbers = self._report(table, metric=score)
    self.assertFalse(numbers['percent'])
    participated = numbers['groups']['participated']
    for headline in (numbers['headline'], participated['headline']):
      self.assertIn('score from 0.5 to 0.75 (+0.25, no', headline)

  def test_group_whose_examples_the_metric_does_not_count(self):
    table = _four_clients()
    for scores in table.scores.values():
      scores['accuracy'].weight[10:] = 0  # Those of Cy, who never took part.
    _, numbers = self._report(table)
    self.assertEqual(list(numbers['groups']), ['participated'])
    self.assertIn('over 2 clients: 1 is better', numbers['headline'])

  def test_metric_that_is_not_a_number(self):
    table = _four_clients()
    table.scores['personalized']['accuracy'].total[0] = np.nan
    _, numbers = self._report(table)
    self.assertEqual(
        numbers['headline'],
        'Nothing can be said about accuracy, which is not a finite number at 1'
        ' of 2 clients that took part in training.',
    )

  def test_split_cost_settings_and_notes(self):
    page, numbers = self._report(_four_clients(), notes=['Made of fonts.'])
    self.assertIn(
        '| head/kernel | 5 × 5 | personal | 100 | 25.0%', page.text['split']
    )
    self.assertIn('| 1 variable | shared | 300 | 75.0%', page.text['split'])
    for row in (
        '| Gradient steps | 1,200 |',
        '| Sent to a client in a round | 4 kB |',
        '| Sent by a client in a round | 3 kB |',
        '| 4 MB down, 3 MB up |',
        '| Personal variables stored | 500 bytes |',
        '| Time | 1 minute and 15 seconds',
    ):
      self.assertIn(row, page.text['cost'])
    self.assertEqual(numbers['cost']['personal_fraction'], 0.25)
    # 100 bytes are personal.
    [main] = list(numbers['groups'].values())[:1]
    change = main['comparisons']['personalized']['change']['weighted_mean']
    self.assertAlmostEqual(numbers['gain_per_kilobyte'], 10 * change)
    self.assertIn('Gain per stored kilobyte of a client', page.text['cost'])
    self.assertIn('| task | emnist', page.text['settings'])
    self.assertIsNone(numbers['settings']['rate'])
    self.assertIn('Made of fonts.', page.text['notes'])
    self.assertNotIn('details', page.tags)
    self.assertNotIn('choosing', page.text['cost'])
    page, _ = self._report(_four_clients(), variables=_VARIABLES * 10)
    self.assertIn('details', page.tags)
    self.assertIn('20 variables, of which 10 personal', page.text['split'])

  def test_csv_has_a_row_for_every_client(self):
    self._report(_four_clients())
    rows = list(csv.DictReader(self._read('clients.csv').splitlines()))
    self.assertEqual(
        [r['client_id'] for r in rows], ['ann', 'bob', 'cy', 'dee']
    )
    self.assertEqual([r['participated'] for r in rows], ['1', '1', '0', '1'])
    bob = rows[1]
    self.assertEqual(float(bob['accuracy/non_personalized']), 1)
    self.assertEqual(float(bob['accuracy/personalized']), 0.6)
    self.assertEqual(float(bob['accuracy/weight']), 5)
    self.assertAlmostEqual(float(bob['accuracy/change']), -0.4)
    self.assertEqual(float(bob['p_hurt']), 0.25)
    self.assertEqual(rows[3]['accuracy/change'], '')
    self.assertEqual(rows[3]['p_hurt'], '')

  def test_page_loads_nothing(self):
    page, _ = self._report(_four_clients())
    self.assertTrue(
        page.tags.isdisjoint({'script', 'link', 'iframe', 'object'})
    )
    self.assertNotIn('url(', page.text['style'])
    self.assertNotIn('@import', page.text['style'])
    self.assertLen(page.sources, 4)
    prefix = 'data:image/svg+xml;base64,'
    for source in page.sources:
      self.assertStartsWith(source, prefix)
      svg = base64.b64decode(source.removeprefix(prefix)).decode()
      self.assertContainsSubset(['</svg>'], svg.split('\n'))
      self.assertNotIn('href="http', svg)

  def test_names_cannot_reverse_what_stands_around_them(self):
    table = _table(
        ('\u202ename',),
        (True,),
        non_personalized=[[1, 1]],
        personalized=[[0, 1]],
    )
    page, _ = self._report(table)
    self.assertIn('bdi', page.tags)

  def test_page_may_not_load_anything(self):
    self._report(_four_clients())
    text = (self.folder / 'report.html').read_text(encoding='utf-8')
    self.assertIn("default-src 'none'; img-src data:", text)

  def test_names_cannot_become_markup(self):
    name = '<script>alert("ü & 字")</script>'
    table = _table(
        (name,), (True,), non_personalized=[[1, 1]], personalized=[[0, 1]]
    )
    page, numbers = self._report(table, title=name, notes=[name])
    self.assertNotIn('script', page.tags)
    self.assertIn(name, page.text['worst'])
    self.assertIn(name, page.text['notes'])
    worst = numbers['groups']['participated']['worst_clients']
    self.assertEqual(worst[0]['client_id'], name)

  def test_lower_is_better(self):
    table = _table(
        ('ann', 'bob'),
        (True, True),
        metric='word_error_rate',
        shared=[[2, 1], [0, 0]],
        finetuned=[[1, 0], [0, 1]],
    )
    page, numbers = self._report(
        table,
        metric=metric_lib.Metric('word_error_rate', higher_is_better=False),
        baseline='shared',
        candidate='finetuned',
    )
    # 3 of 4 words are wrong, then 2 of 4, though the rate exceeds 1.
    self.assertStartsWith(
        numbers['headline'],
        'Fine-tuning makes no clear change to word error rate (75.0% to 50.0%,'
        ' −25.00 points, ',
    )
    self.assertIn('| bob | 8 | 2 | 0.00% | 50.00% | +50.00', page.text['worst'])
    self.assertIn('90th percentile', page.text['tiles'])

  def test_verb_follows_from_the_interval(self):
    def headline(changes, higher_is_better=True):
      table = _table(
          [str(i) for i in range(len(changes))],
          [True] * len(changes),
          metric='wer',
          non_personalized=[[1.0]] * len(changes),
          personalized=[[1.0 + c] for c in changes],
      )
      metric = metric_lib.Metric(
          'wer', higher_is_better=higher_is_better, percent=True
      )
      return self._report(table, metric=metric)[1]['headline']

    # 0.02 +- t(.975, 3) 0.01 / sqrt(3) excludes 0; 0.01 +- 0.026 does not.
    up, unclear = [0.01, 0.03, 0.01, 0.03], [-0.01, 0.03, 0.01, 0.01]
    interval = '(+2.00 points, 95% interval +0.16 to +3.84)'
    self.assertIn(
        f'improves word error rate from 100.0% to 102.0% {interval}',
        headline(up),
    )
    self.assertIn(
        f'worsens word error rate from 100.0% to 102.0% {interval}',
        headline(up, higher_is_better=False),
    )
    for higher_is_better in (True, False):
      self.assertIn(
          'makes no clear change to word error rate (100.0% to 101.0%, +1.00',
          headline(unclear, higher_is_better),
      )

  def test_many_clients_with_few_test_examples(self):
    # 41 are worse by one example, 3 are better, 11 are equal.
    before = [[1] * 12] * 41 + [[0] + [1] * 11] * 3 + [[1] * 12] * 11
    after = [[0] + [1] * 11] * 41 + [[1] * 12] * 3 + [[1] * 12] * 11
    table = _table(
        [str(i) for i in range(55)],
        [True] * 55,
        non_personalized=before,
        personalized=after,
    )
    _, numbers = self._report(table)
    self.assertStartsWith(numbers['headline'], 'Personalization worsens')
    self.assertEndsWith(
        numbers['headline'],
        'over 55 clients: 3 are better and 41 are worse (sign test over'
        ' clients, p < 0.001), with too few test examples per client to say'
        ' which.',
    )

  def test_clients_that_tests_can_tell(self):
    # One of three has enough examples, and is hurt: p = 1/2^6.
    table = _table(
        'abc',
        [True] * 3,
        non_personalized=[[1] * 6, [1, 0], [0, 0]],
        personalized=[[0] * 6, [1, 0], [1, 0]],
    )
    _, numbers = self._report(table)
    self.assertEndsWith(
        numbers['headline'],
        '1 is better and 1 is worse (sign test over clients, p = 1.000); 1 is'
        ' worse by more than chance (chance alone gives 0.0); only 1 client had'
        ' enough test examples to show a change.',
    )

  def test_who_gains_reads_as_a_sentence(self):
    # Over clients, p = 2 * (1 + 13) / 2^13 = 0.003 and then 2 / 2^12. For each
    # client, p = 1 / 2^10, which is below the smallest threshold, 0.05 / 13.
    table = _table(
        [str(i) for i in range(13)],
        [True] * 13,
        non_personalized=[*([[0] * 10] * 12), [1] * 10],
        personalized=[*([[1] * 10] * 12), [0] * 10],
    )
    page, _ = self._report(table)
    self.assertIn(
        '12 better, 0 exactly equal, 1 worse (p = 0.003 in',
        page.text['clients'],
    )
    self.assertIn('12 are significantly better and', page.text['clients'])
    self.assertIn('1 is significantly worse', page.text['clients'])
    alone = table.select(np.arange(13) < 12)
    page, _ = self._report(alone)
    self.assertIn(' 0 worse (p < 0.001 in', page.text['clients'])
    self.assertIn('none is significantly worse', page.text['clients'])

  @parameterized.parameters(1, 60)
  def test_nobody_trained(self, clients):
    table = _table(
        [str(i) for i in range(clients)],
        [False] * clients,
        non_personalized=[[1, 0]] * clients,
        personalized=[[1, 0]] * clients,
    )
    page, numbers = self._report(table, history=())
    self.assertIn('leaves accuracy at 50.0%', numbers['headline'])
    self.assertEndsWith(
        numbers['headline'], 'never seen in training: none is better or worse.'
    )
    self.assertIn('recorded no history', page.text['curves'])
    self.assertIn('No client is worse', page.text['worst'])
    group = numbers['groups']['never_seen']
    self.assertIsNone(group['comparisons']['personalized']['correlation'])

  def test_clients_without_scores(self):
    table = _table(('ann',), (True,), non_personalized=[[]], personalized=[[]])
    with self.assertRaisesRegex(ValueError, 'found none at 1 clients'):
      self._report(table)
    self.assertFalse(self.folder.exists())

  def test_unknown_metric(self):
    loss = metric_lib.Metric('loss', higher_is_better=False)
    with self.assertRaisesRegex(
        ValueError, r"metrics \['accuracy'\].*found 'loss'"
    ):
      self._report(_four_clients(), metric=loss)

  def test_unknown_model(self):
    with self.assertRaisesRegex(ValueError, "found 'finetuned'"):
      self._report(_four_clients(), candidate='finetuned')

  def test_a_folder_that_cannot_be_written(self):
    self.folder.write_text('not a folder')
    with self.assertRaises(OSError):
      self._report(_four_clients())
    self.assertEqual(self.folder.read_text(), 'not a folder')

  def test_the_page_is_written_after_everything_else(self):
    # What cannot be replaced by a file stops the report before its page.
    for name in ('report.json', 'clients.csv'):
      (self.folder / name).mkdir(parents=True)
      with self.assertRaises(OSError):
        self._report(_four_clients())
      self.assertFalse((self.folder / 'report.html').exists())
      (self.folder / name).rmdir()
    self._report(_four_clients())

  def test_second_report_is_the_same_and_leaves_no_other_files(self):
    self._report(_four_clients())
    names = ['clients.csv', 'report.html', 'report.json']
    first = [self._read(name) for name in names]
    self._report(_four_clients())
    self.assertEqual([self._read(name) for name in names], first)
    self.assertCountEqual([p.name for p in self.folder.iterdir()], names)


if __name__ == '__main__':
  absltest.main()
