import test from 'ava';
import { Random, type Host, type Message, type Peer, type Protocol } from '../../src/overlay/core/index.ts';
import { Engine } from '../../src/sim/engine.ts';
import { Heap } from '../../src/sim/heap.ts';
import { Links } from '../../src/sim/links.ts';
import { PerNode } from '../../src/sim/per-node.ts';

interface Note extends Message { readonly text: string }

class Recorder implements Protocol {
  readonly name = 'recorder';
  readonly kinds = [200];
  readonly heard: string[] = [];
  readonly #host: Host;
  cycles = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  start(self: number): void {
    this.heard.push(`${self} starts`);
  }

  stop(self: number): void {
    this.heard.push(`${self} stops`);
  }

  onCycle(): void {
    this.cycles++;
  }

  onMessage(self: number, from: Peer, message: Message): void {
    this.heard.push(`${self} hears ${(message as Note).text} from ${from} at ${this.#host.now_ms(self)}`);
  }
}

const note = (text: string): Message => ({ kind: 200, text } as Message);

test('a message takes as long as the links say, and goes only to the living', (t) => {
  const engine = new Engine({ capacity: 3, seed: 1, links: new Links({ latency_ms: [[5]], jitter: 0 }) });
  const recorder = new Recorder(engine);
  engine.add(recorder);
  for (const node of [0, 1, 2]) engine.start(node, []);
  engine.send(0, 1, note('one'));
  engine.send(0, 2, note('lost'));
  engine.crash(2);
  engine.run(100);
  t.deepEqual(recorder.heard.slice(3), ['1 hears one from 0 at 5']);
  t.is(engine.messages[200], 2);
});

test('timers fire once, not when cancelled, and not in another life', (t) => {
  const engine = new Engine({ capacity: 1, seed: 1 });
  engine.add(new Recorder(engine));
  engine.start(0, []);
  const fired: string[] = [];
  engine.after(0, 10, () => fired.push('a'));
  engine.cancel(engine.after(0, 10, () => fired.push('cancelled')));
  engine.after(0, 30, () => fired.push('other life'));
  engine.run(20);
  engine.crash(0);
  engine.start(0, []);
  engine.run(100);
  t.deepEqual(fired, ['a']);
});

test('every node has one cycle in each period, also with clocks that drift about as many', (t) => {
  for (const drift of [0, 0.2]) {
    const engine = new Engine({ capacity: 50, seed: 2, drift });
    const recorder = new Recorder(engine);
    engine.add(recorder);
    for (let node = 0; node < 50; node++) engine.start(node, []);
    engine.run(20 * engine.cycle_ms);
    t.true(Math.abs(recorder.cycles - 1_000) <= (drift === 0 ? 0 : 60), String(recorder.cycles));
  }
});

test('a partition keeps sites apart until it is healed; loss and doubles are as often as asked', (t) => {
  const links = new Links({ latency_ms: [[1, 1], [1, 1]] });
  const engine = new Engine({ capacity: 2, seed: 3, links });
  const recorder = new Recorder(engine);
  engine.add(recorder);
  engine.site[1] = 1;
  engine.start(0, []);
  engine.start(1, []);
  const heard = (count: number): number => {
    recorder.heard.length = 0;
    for (let i = 0; i < count; i++) engine.send(0, 1, note(String(i)));
    engine.run(100);
    return recorder.heard.length;
  };
  links.partition([0, 1]);
  t.is(heard(10), 0);
  links.partition(null);
  t.is(heard(10), 10);
  links.loss = 0.25;
  t.true(Math.abs(heard(4_000) - 3_000) < 150);
  links.loss = 0;
  links.duplicate = 0.5;
  t.true(Math.abs(heard(4_000) - 6_000) < 150);
});

test('bandwidth makes large messages late', (t) => {
  const links = new Links({ latency_ms: [[10]], bandwidth: [[1_000]], jitter: 0 });
  t.is(links.delay(0, 0, 500, new Random(1)), 510);
});

test('a protocol of one object a node hears what is its own', (t) => {
  const engine = new Engine({ capacity: 2, seed: 1 });
  const each = new PerNode(() => new Recorder(engine));
  engine.add(each);
  engine.start(0, []);
  engine.start(1, []);
  engine.send(0, 1, note('x'));
  engine.run(200);
  t.is(each.nodes[0]!.heard.length, 1);
  t.is(each.nodes[1]!.heard.length, 2);
});

test('a heap gives back in the order of time, equal times in that of asking', (t) => {
  const random = new Random(9);
  const heap = new Heap<{ at_ms: number; order: number }>();
  const all = Array.from({ length: 500 }, (_, order) => ({ at_ms: random.below(50), order }));
  for (const item of all) heap.push(item);
  const back = all.map(() => heap.pop()!);
  t.deepEqual(back, [...all].sort((a, b) => a.at_ms - b.at_ms || a.order - b.order));
  t.is(heap.pop(), undefined);
});
