import test from 'ava';
import { defaultName, movingName, parseCheckpointName } from '../../src/checkpoint/names.ts';

test('a name is one path component that no shell or terminal stumbles over', (t) => {
  for (const name of ['a', 'crunch', 'python3-n1-42-1', 'v1.2_b+c', 'A'.repeat(64)]) t.is(parseCheckpointName(name), name);
  for (const name of ['', '.', '..', '.hidden', '-n', 'a/b', '../x', 'a b', 'a\n', 'ä', 'A'.repeat(65), 7, null]) {
    t.throws(() => parseCheckpointName(name), { code: 'XOS_BAD_NAME', message: /is not valid/ }, String(name));
  }
});

test('the default name counts on from the highest there is, and is always a valid name', async (t) => {
  const disk = { list: async (): Promise<readonly string[]> => ['python3-n1-4-1', 'python3-n1-4-7', 'python3-n1-42-9', 'python3-n1-4-x', 'other'] };
  t.is(await defaultName(disk, '/d', '/usr/bin/python3', 'n1-4'), 'python3-n1-4-8');
  t.is(await defaultName(disk, '/d', 'vim', 'n1-4'), 'vim-n1-4-1');
  for (const program of ['', '-x', '..', 'a b\nc', 'ä'.repeat(50), '/', 'p'.repeat(100)]) {
    const name = await defaultName(disk, '/d', program, 'n1-4');
    t.is(parseCheckpointName(name), name);
  }
});

test('a job is moved under a name that nothing has, not even the half of a move whose node was lost', (t) => {
  t.is(movingName('n1-4', ['moving-n1-42', 'other']), 'moving-n1-4');
  t.is(movingName('n1-4', ['moving-n1-4', 'moving-n1-4+2']), 'moving-n1-4+3');
});
