import test from 'ava';
import { Gains } from '../../../src/overlay/pubsub/gains.ts';
import { limits } from '../../../src/overlay/pubsub/limits.ts';

const noted = (gains: Gains, parent: number, saved: readonly number[]): boolean => saved.map((each) => gains.note(parent, each)).at(-1)!;

test('a way that is shorter again and again is worth a change; one that was once is not', (t) => {
  const gains = new Gains();
  t.false(noted(gains, 1, Array.from({ length: limits.shorter_messages_min - 1 }, () => 3)));
  t.true(gains.note(1, 3));
  t.false(noted(new Gains(), 1, [9, ...Array.from({ length: 20 }, () => -1)]));
});

test('what is shorter for one publisher and longer for another is left as it is', (t) => {
  const gains = new Gains();
  for (let i = 0; i < 50; i++) t.false(gains.note(1, i % 2 === 0 ? -2 : 2));
});

test('each of the links that messages come by is judged by itself', (t) => {
  const gains = new Gains();
  noted(gains, 1, [-3, -3, -3, -3, -3]);
  t.true(noted(gains, 2, [1, 1, 1, 1]));
  gains.clear();
  t.false(gains.note(2, 1), 'forgotten');
});

test('however many parents are noted, few are kept', (t) => {
  const gains = new Gains();
  for (let parent = 0; parent < 1_000; parent++) gains.note(parent, 5);
  t.false(gains.note(0, 5), 'the first was let go on the way');
});
