import test from 'ava';
import { dirMachine, type DirCommand, type DirState } from '../../src/volume/state.ts';
import { seeded } from '../job/samples.ts';

const run = (commands: readonly DirCommand[]): DirState => commands.reduce((state, command) => dirMachine.apply(state, command).state, dirMachine.initial());

test('a pair gets one key, whoever asks first', (t) => {
  const state = run([
    { kind: 'osd-add', osd: 'n2', at_ms: 1 }, { kind: 'mrc-add', mrc: 'n1', at_ms: 2 },
    { kind: 'key-add', mrc: 'n1', osd: 'n2', key: 'aa' }, { kind: 'key-add', mrc: 'n1', osd: 'n2', key: 'bb' },
  ]);
  t.deepEqual(state.keys, { 'n1 n2': 'aa' });
});

test('no key without both servers', (t) => {
  t.deepEqual(run([{ kind: 'osd-add', osd: 'n2', at_ms: 1 }, { kind: 'key-add', mrc: 'n1', osd: 'n2', key: 'aa' }]).keys, {});
});

test('a node that is put out loses its keys, and gets new ones when it comes back', (t) => {
  const state = run([
    { kind: 'osd-add', osd: 'n2', at_ms: 1 }, { kind: 'mrc-add', mrc: 'n1', at_ms: 2 }, { kind: 'key-add', mrc: 'n1', osd: 'n2', key: 'aa' },
    { kind: 'server-remove', node: 'n2' }, { kind: 'osd-add', osd: 'n2', at_ms: 9 }, { kind: 'key-add', mrc: 'n1', osd: 'n2', key: 'bb' },
  ]);
  t.deepEqual(state, { osds: { n2: { since_ms: 9 } }, mrcs: { n1: { since_ms: 2 } }, keys: { 'n1 n2': 'bb' } });
});

test('a command of another version is refused and changes nothing', (t) => {
  const state = run([{ kind: 'osd-add', osd: 'n2', at_ms: 1 }]);
  const applied = dirMachine.apply(state, { kind: 'future' } as unknown as DirCommand);
  t.is(applied.state, state);
  t.is(applied.refused?.code, 'XOS_BAD_ARGUMENT');
});

test('over 500 random histories: keys only between servers that are there, and a key never changes while they are', (t) => {
  for (let seed = 1; seed <= 500; seed++) {
    const random = seeded(seed);
    let state = dirMachine.initial();
    for (let step = 0; step < 60; step++) {
      const [a, b] = [`n${random(4)}`, `n${random(4)}`];
      const commands: DirCommand[] = [
        { kind: 'osd-add', osd: a, at_ms: step }, { kind: 'mrc-add', mrc: a, at_ms: step }, { kind: 'key-add', mrc: a, osd: b, key: `${step}` },
        { kind: 'server-remove', node: a },
      ];
      const command = commands[random(8)] ?? commands[2]!;
      const next = dirMachine.apply(state, command).state;
      for (const pair of Object.keys(next.keys)) {
        const [mrc = '', osd = ''] = pair.split(' ');
        t.true(mrc in next.mrcs && osd in next.osds, `seed ${seed}`);
        if (pair in state.keys) t.is(next.keys[pair], state.keys[pair], `seed ${seed}`);
      }
      state = next;
    }
    t.deepEqual(JSON.parse(JSON.stringify(state)), state);
  }
});
