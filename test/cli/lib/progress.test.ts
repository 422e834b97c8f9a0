import test from 'ava';
import { startProgress } from '../../../src/cli/lib/progress.ts';

function harness(isTTY: boolean) {
  const state = { now: 0, text: '' };
  const progress = startProgress({ isTTY, columns: 12, write: (text) => { state.text += text; return true; } }, () => state.now);
  return { state, progress };
}

test('on a terminal one line is rewritten, cut to the width and removed at the end', (t) => {
  const { state, progress } = harness(true);
  progress.update('writing 10 %');
  state.now = 50; progress.update('too soon');
  state.now = 200; progress.update('done');
  progress.stop();
  t.is(state.text, '\rwriting 10 \x1b[K\rdone\x1b[K\r\x1b[K');
});

test('elsewhere lines are sparse and plain', (t) => {
  const { state, progress } = harness(false);
  progress.update('writing 10 %');
  state.now = 4_999; progress.update('writing 60 %');
  state.now = 5_000; progress.update('writing 61 %');
  progress.stop();
  t.is(state.text, 'writing 10 %\nwriting 61 %\n');
});
