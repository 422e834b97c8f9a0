import test from 'ava';
import { defaultName, parseCheckpointName, parseNewName } from '../../../src/checkpoint/names.ts';
import { nextKeptName, orphans, readKeptName, superseded } from '../../../src/checkpoint/protect/kept.ts';

const names = ['protected+n1-4+1', 'protected+n1-4+12', 'protected+n1-42+3', 'protected+n2-4+1', 'python3-n1-4-1', 'protected+n1-4', 'protected+n1-4+x', 'protected+n1-4+1+2'];

test('the name tells the job, and is counted on from the highest there is', (t) => {
  t.deepEqual(readKeptName('protected+my-node-4+12'), { name: 'protected+my-node-4+12', job: 'my-node-4', number: 12 });
  for (const name of [...names.slice(4), 'protected+../x-1+1', 'protected+n1-4+0', '']) t.is(readKeptName(name), null, name);
  t.is(nextKeptName('n1-4', names, 0), 'protected+n1-4+13');
  t.is(nextKeptName('n1-5', names, 0), 'protected+n1-5+1');
  t.is(nextKeptName('n1-4', names, 14), 'protected+n1-4+15', 'one that a lost node has begun is not seen yet');
});

test('of a job that runs one checkpoint stays, and nothing of other jobs is touched', (t) => {
  t.deepEqual(superseded('n1-4', 'protected+n1-4+12', names), ['protected+n1-4+1']);
  t.deepEqual(superseded('n1-4', '', names), ['protected+n1-4+1', 'protected+n1-4+12']);
  t.deepEqual(superseded('n1-5', '', names), []);
});

test('what nobody knows any more is told by its home only', (t) => {
  t.deepEqual(orphans('n1', new Set(['n1-4']), names).map(({ name }) => name), ['protected+n1-42+3']);
  t.deepEqual(orphans('n3', new Set(), names), []);
});

test('no user can take such a name, but restart and remove what has it', async (t) => {
  t.is(parseCheckpointName('protected+n1-4+1'), 'protected+n1-4+1');
  t.throws(() => parseNewName('protected+n1-4+1'), { code: 'XOS_BAD_NAME', message: /are for the checkpoints of protected jobs/ });
  t.is(await defaultName({ list: async () => [] }, '/d', 'protected+x', 'n1-4'), 'job-n1-4-1');
});
