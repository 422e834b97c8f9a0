import test from 'ava';
import { replicasText, withOldNames } from '../../src/cli/replicas.ts';

const osd = (name: string, up = true) => ({ osd: name, node: name, up });
const still = { running: false, bytes: 0, bytes_total: 0, reason: '' };

test('replicas are shown with their servers, what is missing and how far it is', (t) => {
  const whole = { state: 'whole', osds: [osd('n1'), osd('n2', false)] };
  t.is(replicasText({ ...still, copies: [whole] }), 'n1+n2 (down)');
  const making = { state: 'making', osds: [osd('n3')] };
  t.is(replicasText({ copies: [whole, making], running: true, bytes: 2048, bytes_total: 4096, reason: 'x' }), 'n1+n2 (down), n3 (being made); 2.0K of 4.0K copied');
  t.is(replicasText({ ...still, copies: [whole, { ...making, state: 'dropping' }], reason: 'Host is down' }), 'n1+n2 (down), n3 (going); it is tried again: Host is down');
  t.is(replicasText({ ...still, copies: [whole], reason: 'of before' }), 'n1+n2 (down)');
});

const rewritten: readonly [given: readonly string[], now: readonly string[]][] = [
  [['--add-replica', 'auto', '/grid/f'], ['replicate', '--to', 'auto', '/grid/f']],
  [['-a', 'AUTO', '/grid/f'], ['replicate', '--to', 'auto', '/grid/f']],
  [['--add-replica=n2', '/grid/f'], ['replicate', '--to', 'n2', '/grid/f']],
  [['-d', 'n2', '/grid/f'], ['replicate', '--drop', 'n2', '/grid/f']],
  [['--delete-replica', 'n2', '/grid/f'], ['replicate', '--drop', 'n2', '/grid/f']],
  [['--set-replication-policy', 'none', 'f'], ['replicate', '--count', '1', 'f']],
  [['--create-snapshot', 'monday', '/grid/v'], ['snapshot', 'create', '/grid/v', 'monday']],
  [['--create-snapshot=monday', '/grid/v', '--json'], ['snapshot', 'create', '/grid/v', 'monday', '--json']],
  [['--delete-snapshot', 'monday', '/grid/v'], ['snapshot', 'rm', '/grid/v', 'monday']],
  [['--list-snapshots', '/grid/v'], ['snapshot', 'ls', '/grid/v']],
  [['/grid/f'], ['show', '/grid/f']],
  [['./f', '--json'], ['show', './f', '--json']],
  [['quota', 'data'], ['quota', 'data']],
  [['--help'], ['--help']],
  [[], []],
];
for (const [given, now] of rewritten) {
  test(`as XtreemFS had it: xtfsutil ${given.join(' ')}`, (t) => t.deepEqual(withOldNames(given), now));
}

test('a replication policy that cannot be set is refused with a way to what is meant', (t) => {
  t.throws(() => withOldNames(['--set-replication-policy', 'ronly', '/grid/f']), { message: /--add-replica/ });
});
