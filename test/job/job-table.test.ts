import test from 'ava';
import { JobTable, type JobEvent } from '../../src/job/job-table.ts';
import { limits } from '../../src/job/limits.ts';
import { isFinal } from '../../src/job/model.ts';
import { sampleJob, seeded } from './samples.ts';

const ended = (id: string): JobEvent => ({ kind: 'ended', id, exit_code: 3, exit_signal: null, cpu_seconds: 1.5 });
const lost = (id: string): JobEvent => ({ kind: 'lost', id, node: 'n2', reason: "node 'n2' does not answer" });

function run(...events: readonly JobEvent[]): JobTable {
  const table = new JobTable();
  for (const event of events) table.apply(event, 2_000_000);
  return table;
}

test('a job starts, stops, goes on and ends with its status', (t) => {
  const table = run(
    { kind: 'started', job: sampleJob({ state: 'starting' }) }, { kind: 'state', id: 'n1-1', state: 'running' },
    { kind: 'state', id: 'n1-1', state: 'stopped' }, { kind: 'state', id: 'n1-1', state: 'running' }, ended('n1-1'),
  );
  t.like(table.get('n1-1'), { state: 'ended', exit_code: 3, exit_signal: null, cpu_seconds: 1.5, ended_ms: 2_000_000 });
});

test('a protected job whose node is lost has its checkpoint, and goes on elsewhere as the same job', (t) => {
  const table = run({ kind: 'started', job: sampleJob({ protect_s: 0 }) }, { kind: 'kept', id: 'n1-1', checkpoint_ms: 5 }, { kind: 'state', id: 'n1-1', state: 'recovering' });
  t.like(table.get('n1-1'), { state: 'recovering', checkpoint_ms: 5, node: 'n2' });
  t.deepEqual(table.apply({ kind: 'kept', id: 'n1-1', checkpoint_ms: 5 }, 0), { changed: [], resync: false });
  t.true(table.apply({ kind: 'kept', id: 'n1-9', checkpoint_ms: 5 }, 0).resync);
  table.apply({ kind: 'state', id: 'n1-1', state: 'restoring' }, 0);
  table.apply({ kind: 'started', job: sampleJob({ node: 'n3', protect_s: 0, checkpoint_ms: 5 }) }, 0);
  t.like(table.get('n1-1'), { node: 'n3', state: 'running', checkpoint_ms: 5 });
});

test('a job that was refused elsewhere, or restored, has its new node by a second start', (t) => {
  const table = run({ kind: 'started', job: sampleJob() }, { kind: 'started', job: sampleJob({ node: 'n1' }) });
  t.is(table.get('n1-1')?.node, 'n1');
  table.apply({ kind: 'state', id: 'n1-1', state: 'restoring' }, 0);
  table.apply({ kind: 'started', job: sampleJob({ node: 'n3' }) }, 0);
  t.like(table.get('n1-1'), { node: 'n3', state: 'running' });
});

test('every event applied twice changes nothing the second time', (t) => {
  const events: JobEvent[] = [
    { kind: 'started', job: sampleJob({ state: 'starting' }) }, { kind: 'state', id: 'n1-1', state: 'running' },
    { kind: 'state', id: 'n1-1', state: 'checkpointing' }, { kind: 'resync', jobs: [sampleJob({ state: 'checkpointing' })] }, ended('n1-1'),
    { kind: 'resync', jobs: [sampleJob({ state: 'ended', ended_ms: 2_000_000, exit_code: 3 })] },
  ];
  const table = new JobTable();
  for (const event of events) {
    table.apply(event, 2_000_000);
    t.deepEqual(table.apply(event, 2_000_000), { changed: [], resync: false }, event.kind);
  }
});

test('a late start, state or second end does not wake a job that has ended', (t) => {
  const table = run({ kind: 'started', job: sampleJob() }, ended('n1-1'));
  for (const late of [{ kind: 'started', job: sampleJob() }, { kind: 'state', id: 'n1-1', state: 'running' }, lost('n1-1')] as const) {
    t.deepEqual(table.apply(late, 3_000_000).changed, [], late.kind);
  }
  t.is(table.get('n1-1')?.state, 'ended');
});

test('an event of an unknown job asks for a resync', (t) => {
  for (const event of [{ kind: 'state', id: 'n1-9', state: 'running' }, ended('n1-9'), lost('n1-9')] as const) {
    t.true(new JobTable().apply(event, 0).resync, event.kind);
  }
  t.true(run({ kind: 'started', job: sampleJob() }).apply({ kind: 'state', id: 'n1-1', state: 'ended' }, 0).resync, 'an end without a status');
});

test('a node that is gone takes its running jobs, not the ended ones and not those elsewhere', (t) => {
  const table = run(
    { kind: 'started', job: sampleJob() }, { kind: 'started', job: sampleJob({ id: 'n1-2', node: 'n3' }) },
    { kind: 'started', job: sampleJob({ id: 'n1-3' }) }, ended('n1-3'),
    { kind: 'node-gone', node: 'n2', reason: "node 'n2' was removed from the VO" },
  );
  t.deepEqual(table.list().map(({ id, state }) => `${id} ${state}`), ['n1-1 lost', 'n1-2 running', 'n1-3 ended']);
  t.is(table.get('n1-1')?.reason, "node 'n2' was removed from the VO");
});

test('after a resync the table is what the relay knows; a running job that it does not know is lost', (t) => {
  const table = run(
    { kind: 'started', job: sampleJob() }, { kind: 'started', job: sampleJob({ id: 'n1-2' }) }, { kind: 'started', job: sampleJob({ id: 'n1-3' }) }, ended('n1-3'),
  );
  const { changed } = table.apply({ kind: 'resync', jobs: [sampleJob({ node: 'n3', state: 'stopped' }), sampleJob({ id: 'n1-4' })] }, 2_500_000);
  t.deepEqual(changed.map(({ id, state }) => `${id} ${state}`), ['n1-1 stopped', 'n1-4 running', 'n1-2 lost']);
  t.is(table.get('n1-3')?.state, 'ended');
  t.is(table.get('n1-1')?.node, 'n3');
});

test('of a job with events during a resync the events count, of others the resync', (t) => {
  const table = run({ kind: 'started', job: sampleJob() }, { kind: 'started', job: sampleJob({ id: 'n1-2' }) }, ended('n1-2'), { kind: 'started', job: sampleJob({ id: 'n1-3' }) });
  table.apply({ kind: 'resync', jobs: [sampleJob({ state: 'stopped' }), sampleJob({ id: 'n1-2' }), sampleJob({ id: 'n1-4' })], newer: new Set(['n1-2', 'n1-3', 'n1-4']) }, 0);
  t.deepEqual(table.list().map(({ id, state }) => `${id} ${state}`), ['n1-1 stopped', 'n1-2 ended', 'n1-3 running', 'n1-4 running']);
});

test('a restore wakes a lost job on its new node, without the old end', (t) => {
  const table = run(
    { kind: 'started', job: sampleJob() }, lost('n1-1'), { kind: 'state', id: 'n1-1', state: 'restoring', node: 'n3' }, { kind: 'state', id: 'n1-1', state: 'running' },
  );
  t.like(table.get('n1-1'), { state: 'running', node: 'n3', ended_ms: null, reason: '' });
});

test('ended jobs are forgotten by age and beyond the number; running ones never', (t) => {
  const table = new JobTable();
  table.apply({ kind: 'started', job: sampleJob({ id: 'n1-0' }) }, 0);
  for (let index = 1; index <= limits.ended_jobs_max + 5; index++) {
    table.apply({ kind: 'started', job: sampleJob({ id: `n1-${index}` }) }, index);
    table.apply(ended(`n1-${index}`), index);
  }
  t.is(table.prune(2_000), 5);
  t.is(table.get('n1-5'), null);
  t.not(table.get('n1-6'), null);
  t.is(table.prune(limits.ended_jobs_ms + 10_000), limits.ended_jobs_max);
  t.deepEqual(table.list().map(({ id }) => id), ['n1-0']);
});

test('over 500 random histories with doubled and swapped events, a resync ends in what the relay knows', (t) => {
  for (let seed = 1; seed <= 500; seed++) {
    const random = seeded(seed);
    const table = new JobTable();
    for (let step = 0; step < 40; step++) {
      const id = `n1-${random(4)}`;
      const events: JobEvent[] = [
        { kind: 'started', job: sampleJob({ id, state: random(2) ? 'starting' : 'running' }) },
        { kind: 'state', id, state: (['running', 'stopped', 'checkpointing', 'checkpointed', 'restoring'] as const)[random(5)] ?? 'running' },
        ended(id), lost(id), { kind: 'node-gone', node: 'n2', reason: '' },
      ];
      table.apply(events[random(events.length)] ?? ended(id), 1_000 + step);
    }
    for (const job of table.list()) t.is(isFinal(job.state), job.ended_ms !== null, `seed ${seed}: an end has a time and only an end`);
    const truth = [sampleJob({ id: 'n1-0', state: 'stopped', node: 'n3' }), sampleJob({ id: 'n1-2', state: 'running' })];
    table.apply({ kind: 'resync', jobs: truth }, 9_000);
    const alive = table.list().filter(({ state }) => !isFinal(state)).map(({ id, state, node }) => `${id} ${state} ${node}`).sort();
    t.deepEqual(alive, ['n1-0 stopped n3', 'n1-2 running n2'], `seed ${seed}`);
  }
});
