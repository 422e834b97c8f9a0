import test from 'ava';
import { kinds, packet, type Peer } from '../../../src/overlay/core/index.ts';
import { Membership, membershipLimits as limits } from '../../../src/overlay/membership/index.ts';
import { Engine } from '../../../src/sim/engine.ts';
import { Links } from '../../../src/sim/links.ts';

interface Verdict { readonly self: number; readonly peer: Peer; readonly why: 'left' | 'dead' }

class Small {
  readonly verdicts: Verdict[] = [];
  readonly engine: Engine;
  readonly membership: Membership;

  constructor(nodes: number, fallback: readonly Peer[] = [0]) {
    this.engine = new Engine({ capacity: nodes, seed: 12, codecs: Membership.codecs, links: new Links({ sites: 2 }) });
    const { engine } = this;
    this.membership = new Membership(engine, {
      rows: engine.rows, fallback: () => fallback, verdict: (self, peer, why) => {
        this.verdicts.push({ self, peer, why });
        engine.gone(self, peer, why);
      },
    });
    engine.add(this.membership);
    for (let node = 0; node < nodes; node++) engine.start(node, node === 0 ? [] : [engine.random.below(node)]);
    this.cycles(10);
  }

  cycles(count: number): void {
    this.engine.run(count * this.engine.cycle_ms);
  }

  view(node: number): Peer[] {
    return [...this.membership.view(node)].map(({ peer }) => peer);
  }
}

test('everybody has a full view of others, itself not among them, nobody twice', (t) => {
  const small = new Small(60);
  for (let node = 0; node < 60; node++) {
    const view = small.view(node);
    t.is(view.length, limits.view);
    t.is(new Set(view).size, limits.view);
    t.false(view.includes(node));
  }
  t.deepEqual(small.verdicts, []);
});

test('who dies is found out by those who know it, and by nobody else is anybody accused', (t) => {
  const small = new Small(60);
  for (const node of [7, 8, 9]) small.engine.crash(node);
  small.cycles(20);
  t.true(small.verdicts.length > 0);
  t.true(small.verdicts.every(({ peer, why }) => [7, 8, 9].includes(peer) && why === 'dead'));
  for (let node = 0; node < 60; node++) if (small.engine.alive[node] === 1) for (const dead of [7, 8, 9]) t.false(small.view(node).includes(dead));
});

test('who leaves says so: its peers know at once, and believe no hearsay that it is there', (t) => {
  const small = new Small(60);
  const view = small.view(5);
  small.engine.stop(5);
  small.engine.run(1_000);
  t.deepEqual([...new Set(small.verdicts.map(({ self }) => self))].sort((a, b) => a - b), [...view].sort((a, b) => a - b));
  t.true(small.verdicts.every(({ peer, why }) => peer === 5 && why === 'left'));
  const hearsay = packet(kinds.shuffle_reply);
  hearsay.words.set([1, 5, 0]);
  small.engine.send(1, view[0]!, hearsay);
  small.engine.run(500);
  t.false(small.view(view[0]!).includes(5));
  t.true(small.membership.gone(view[0]!, 5));
});

test('a word of its own brings a buried peer back', (t) => {
  const small = new Small(20);
  small.engine.gone(3, 4, 'dead');
  t.true(small.membership.gone(3, 4));
  small.engine.send(4, 3, ping());
  small.engine.run(1_000);
  t.false(small.membership.gone(3, 4));
});

const ping = (): ReturnType<typeof packet> => {
  const message = packet(kinds.ping);
  message.words[0] = 0xffff_ffff;
  return message;
};

test('a node that hears nobody accuses nobody: it finds itself unwell, and isolated', (t) => {
  const small = new Small(40);
  for (let node = 0; node < 40; node++) small.engine.site[node] = node === 11 ? 1 : 0;
  small.engine.links.partition([0, 1]);
  small.cycles(12);
  t.deepEqual(small.verdicts.filter(({ self }) => self === 11), []);
  t.true(small.membership.unwell(11) > 0);
  t.true(small.membership.isolated(11));
  t.true(small.engine.metrics.get('membership.own_trouble') > 0);
  t.true(small.verdicts.every(({ peer }) => peer === 11));
  small.engine.links.partition(null);
  small.cycles(6);
  t.false(small.membership.isolated(11));
  t.is(small.view(11).length, limits.view);
});

test('what a stranger sends is bounded: a view never grows beyond its size', (t) => {
  const small = new Small(40);
  for (let round = 0; round < 50; round++) {
    const flood = packet(kinds.shuffle);
    flood.words[0] = limits.shuffle;
    for (let i = 0; i < limits.shuffle; i++) flood.words.set([(round * limits.shuffle + i) % 40, 0], 1 + 2 * i);
    small.engine.send(1, 2, flood);
  }
  small.engine.run(2_000);
  t.is(small.view(2).length, limits.view);
  t.false(small.view(2).includes(2));
});

test('a join that claims more hops than there are is refused', (t) => {
  const small = new Small(10);
  const message = packet(kinds.join);
  message.words.set([3, limits.join_hops + 1]);
  small.engine.send(3, 4, message);
  small.engine.run(1_000);
  t.is(small.engine.metrics.get('rejected.malformed'), 1);
});
