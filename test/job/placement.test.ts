import test from 'ava';
import { limits } from '../../src/job/limits.ts';
import { choose, freeCpus, rank, type Candidate, type KnownNode } from '../../src/job/placement.ts';
import { sampleNode, seeded } from './samples.ts';

test('the local node is chosen while it has a whole free CPU, however free others are', (t) => {
  t.is(choose(rank([sampleNode('n1', { running: 1 }), sampleNode('n2', { cpus: 64 })], 'n1'), 'n1')?.node, 'n1');
  t.is(choose(rank([sampleNode('n1', { running: 1, load: 1 }), sampleNode('n2', { cpus: 64 })], 'n1'), 'n1')?.node, 'n2');
});

test('a draw goes to the local node, then to memory, then to the name', (t) => {
  const full = { running: 2 };
  t.is(choose(rank([sampleNode('n1', full), sampleNode('n2', full)], 'n2'), 'n2')?.node, 'n2');
  t.is(choose(rank([sampleNode('n3', full), sampleNode('n2', { ...full, memory_free_bytes: 2 ** 31 }), sampleNode('n1', { running: 3 })], 'n1'), 'n1')?.node, 'n2');
  t.deepEqual(rank([sampleNode('n3'), sampleNode('n2')], 'n1').map(({ node }) => node), ['n2', 'n3']);
});

const refused = test.macro({
  title: (_given, changes: Parameters<typeof sampleNode>[1], reason: string) => `a node is not eligible: ${reason} ${JSON.stringify(changes)}`,
  exec: (t, changes: Parameters<typeof sampleNode>[1], reason: string) => {
    const candidates = rank([sampleNode('n2', changes)], 'n2');
    t.false(candidates[0]?.eligible);
    t.is(candidates[0]?.reason, reason);
    t.is(choose(candidates, 'n2'), null);
  },
});
test(refused, { age_ms: limits.report_silence_ms + 1 }, 'silent for 5 s');
test(refused, { report: null }, 'not heard of yet');
test(refused, { admitted: false }, 'not admitted to the VO');
test(refused, { runs_jobs: false }, 'does not run jobs (it has no role relay)');
test(refused, { memory_free_bytes: limits.memory_free_bytes_min - 1 }, 'out of memory');

test('a node heard exactly at the bound of silence is still eligible', (t) => {
  t.true(rank([sampleNode('n2', { age_ms: limits.report_silence_ms, memory_free_bytes: limits.memory_free_bytes_min })], 'n1')[0]?.eligible);
});

/** What native/relay/src/relayd/placement.h does with the table that it is pushed: strictly the first best by free CPUs, then load. */
function relayChoice(candidates: readonly Candidate[], local: string): string {
  const free = (row: Candidate): number => row.cpus - (row.running + row.load);
  let best: Candidate | undefined;
  for (const row of candidates.filter(({ eligible }) => eligible)) {
    if (row.node === local && free(row) >= 1) return local;
    if (best === undefined || free(row) > free(best) || (free(row) === free(best) && row.load < best.load)) best = row;
  }
  return best?.node ?? local;
}

test('over 2,000 random VOs the choice is eligible and no eligible node is freer, unless it is the local one with a CPU', (t) => {
  for (let seed = 1; seed <= 2_000; seed++) {
    const random = seeded(seed);
    const nodes: KnownNode[] = Array.from({ length: random(8) }, (_each, index) => sampleNode(`n${index}`, {
      cpus: 1 + random(8), running: random(10), load: random(4), memory_free_bytes: random(4) * limits.memory_free_bytes_min,
      age_ms: random(8_000), admitted: random(10) > 0, runs_jobs: random(10) > 0, ...(random(10) === 0 ? { report: null } : {}),
    }));
    const candidates = rank(nodes, 'n0');
    const choice = choose(candidates, 'n0');
    const eligible = candidates.filter((each) => each.eligible);
    t.is(choice === null, eligible.length === 0, `seed ${seed}`);
    const chosen = eligible.find(({ node }) => node === choice?.node);
    if (choice === null) continue;
    const draw = eligible.filter((each) => freeCpus(each) === freeCpus(eligible[0]!));
    if (draw.every(({ load }) => load === draw[0]!.load)) t.is(relayChoice(candidates, 'n0'), choice.node, `seed ${seed}: the relay decides alike`);
    if (chosen === undefined) { t.fail(`seed ${seed}: not eligible`); continue; }
    const freest = Math.max(...eligible.map(freeCpus));
    t.true(freeCpus(chosen) === freest || (chosen.node === 'n0' && freeCpus(chosen) >= 1), `seed ${seed}`);
    t.deepEqual(rank([...nodes].reverse(), 'n0'), candidates, `seed ${seed}: the order of the input does not matter`);
  }
});
