import test from 'ava';
import { mergeJobs } from '../../src/job/merge.ts';
import { sampleJob } from './samples.ts';

const usage = (job: string, home: string) => ({ job, home, uid: 1879113729, processes: 2, cpu_seconds: 7.5, memory_bytes: 4096 });
const nameOf = (): string => 'alice';

test("a running job has its figures from where it runs and its name from its home", (t) => {
  const rows = mergeJobs([
    { node: 'n1', answer: { jobs: [sampleJob()], usages: [] } }, { node: 'n2', answer: { jobs: [], usages: [usage('n1-1', 'n1')] } },
  ], 'demo', nameOf);
  t.is(rows.length, 1);
  t.like(rows[0], { id: 'n1-1', name: 'python3', node: 'n2', home: 'n1', user: 'alice', cpu_seconds: 7.5, memory_bytes: 4096, processes: 2 });
});

test('an ended job keeps the CPU time of its end', (t) => {
  const rows = mergeJobs([{ node: 'n1', answer: { jobs: [sampleJob({ state: 'ended', cpu_seconds: 9, ended_ms: 5, exit_code: 0 })], usages: [] } }], 'demo', nameOf);
  t.like(rows[0], { cpu_seconds: 9, memory_bytes: 0 });
});

test('a cell whose home is silent is shown as lost; one whose home answered without it has just ended', (t) => {
  const cells = { jobs: [], usages: [usage('n1-1', 'n1'), usage('n3-1', 'n3')] };
  const rows = mergeJobs([{ node: 'n1', answer: null }, { node: 'n2', answer: cells }, { node: 'n3', answer: { jobs: [], usages: [] } }], 'demo', nameOf);
  t.deepEqual(rows.map(({ id, state, reason }) => ({ id, state, reason })), [{ id: 'n1-1', state: 'lost', reason: "its home node 'n1' does not answer" }]);
});

test('jobs are sorted by home and number, not by text', (t) => {
  const jobs = ['n1-10', 'n1-9', 'n1-100'].map((id) => sampleJob({ id }));
  t.deepEqual(mergeJobs([{ node: 'n1', answer: { jobs, usages: [] } }], 'demo', nameOf).map(({ id }) => id), ['n1-9', 'n1-10', 'n1-100']);
});
