# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests for paced."""

from absl.testing import absltest

from tff_partial.reporting import paced


class PacerTest(absltest.TestCase):

  def setUp(self) -> None:
    super().setUp()
    self.now = 0.0
    self.written: list[int] = []
    self.pacer = paced.Pacer(clock=lambda: self.now)

  def _offer(self, page: int, *, seconds: float = 1.0) -> None:
    def write() -> None:
      self.now += seconds
      self.written.append(page)

    self.pacer.offer(write)

  def test_writes_the_first_page_at_once(self) -> None:
    self._offer(0)
    self.assertEqual(self.written, [0])

  def test_takes_a_twentieth_of_the_time_at_most(self) -> None:
    for page in range(1000):
      self._offer(page, seconds=2.0)
      self.now += 1.0
    self.assertBetween(
        2.0 * len(self.written), 0.03 * self.now, 0.05 * self.now
    )

  def test_writes_all_pages_if_time_allows(self) -> None:
    for page in range(5):
      self._offer(page)
      self.now += 20.0
    self.assertEqual(self.written, [0, 1, 2, 3, 4])

  def test_writes_the_last_page_at_the_end(self) -> None:
    with self.pacer:
      for page in range(3):
        self._offer(page)
    self.assertEqual(self.written, [0, 2])

  def test_writes_the_last_page_once(self) -> None:
    with self.pacer:
      self._offer(0)
    self.assertEqual(self.written, [0])

  def test_writes_the_last_page_of_what_is_interrupted(self) -> None:
    with self.assertRaises(KeyboardInterrupt), self.pacer:
      self._offer(0)
      self._offer(1)
      raise KeyboardInterrupt()
    self.assertEqual(self.written, [0, 1])

  def test_does_not_try_again_what_could_not_be_written(self) -> None:
    def fail() -> None:
      self.written.append(-1)
      raise OSError('No space left on device')

    with self.assertRaises(OSError), self.pacer:
      self.pacer.offer(fail)
    self.assertEqual(self.written, [-1])


if __name__ == '__main__':
  absltest.main()
