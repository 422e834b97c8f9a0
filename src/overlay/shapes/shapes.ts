import type { Host, Protocol } from '../core/host.ts';
import type { Message } from '../core/message.ts';
import type { Peer } from '../core/peer.ts';
import { hashText, mix32 } from '../core/random.ts';
import { kinds } from './kinds.ts';
import { limits } from './limits.ts';
import { Members } from './members.ts';
import type { Entry, Offer } from './messages.ts';
import type { Shape } from './shape.ts';

interface Instance {
  readonly id: number;
  readonly members: Members;
  readonly changed: (neighbours: readonly Entry[]) => void;
  last: string;
  quiet: number;
  timer: number;
}

export interface Joining {
  /** The same for all members: a job, an application. */
  readonly name: string;
  readonly shape: Shape;
  readonly position: number;
  /** Members that may be there already. */
  readonly seeds: readonly Entry[];
  /** Called with the members beside this one whenever they are others. */
  readonly changed: (neighbours: readonly Entry[]) => void;
}

const instanceOf = (name: string): number => hashText(name) * 2 ** 20 + (mix32(hashText(`shape ${name}`)) >>> 12);

/**
 * Members of an application arrange themselves (T-Man: Jelasity, Montresor, Babaoglu, Computer Networks 53, 2009): each round a member
 * exchanges the best it knows with a near one, keeping a few contacts at every scale of distance, and asks those closest to a place that
 * is still free who belongs there. So a shape stands after O(log n) rounds, and a hole is closed by the same steps.
 */
export class Shapes implements Protocol {
  readonly name = 'shapes';
  readonly kinds = [kinds.offer, kinds.answer];
  readonly #host: Host;
  readonly #rows: (Map<number, Instance> | undefined)[] = [];

  constructor(host: Host) {
    this.#host = host;
  }

  start(self: number): void {
    this.#rows[self] = new Map();
  }

  stop(self: number): void {
    for (const instance of this.#rows[self]?.values() ?? []) this.#host.cancel(instance.timer);
    this.#rows[self] = undefined;
  }

  marks(self: number, mark: (peer: Peer) => void): void {
    for (const { members } of this.#rows[self]?.values() ?? []) for (const { peer } of members.all()) mark(peer);
  }

  onGone(self: number, peer: Peer): void {
    for (const instance of this.#rows[self]?.values() ?? []) {
      instance.members.bury(peer);
      this.#tell(instance);
    }
  }

  /** Takes part; false when it does already or takes part in too many. */
  join(self: number, joining: Joining): boolean {
    const row = this.#rows[self];
    const id = instanceOf(joining.name);
    if (row === undefined || row.has(id) || row.size >= limits.instances_max) return false;
    const instance: Instance = { id, members: new Members(self, joining.position, joining.shape), changed: joining.changed, last: '', quiet: 0, timer: -1 };
    row.set(id, instance);
    instance.members.merge(joining.seeds);
    this.#later(self, row, instance, this.#host.random.below(limits.round_ms));
    return true;
  }

  leave(self: number, name: string): void {
    const instance = this.#rows[self]?.get(instanceOf(name));
    if (instance === undefined) return;
    this.#host.cancel(instance.timer);
    this.#rows[self]!.delete(instance.id);
  }

  neighbours(self: number, name: string): readonly Entry[] {
    return this.#rows[self]?.get(instanceOf(name))?.members.neighbours() ?? [];
  }

  /** More members that may be there: found in the directory after the start. */
  learn(self: number, name: string, seeds: readonly Entry[]): void {
    this.#rows[self]?.get(instanceOf(name))?.members.merge(seeds);
  }

  onMessage(self: number, from: Peer, message: Message): void {
    const { instance: id, wanted, entries } = message as Offer;
    const instance = this.#rows[self]?.get(id);
    if (instance === undefined) return this.#host.metrics.add('rejected.no_instance');
    // The first entry is the sender's own: nobody else can say that it is there now.
    if (entries[0]?.peer !== from || entries[0].age !== 0) return this.#host.metrics.add('rejected.shape_sender');
    const { members } = instance;
    members.heard(from);
    members.merge(entries.map((entry, at) => (at === 0 ? entry : { ...entry, age: Math.max(1, entry.age) })));
    if (message.kind === kinds.offer) this.#send(self, instance, kinds.answer, from, wanted, members.position);
    this.#tell(instance);
  }

  #later(self: number, row: Map<number, Instance>, instance: Instance, delay_ms: number): void {
    instance.timer = this.#host.after(self, delay_ms, () => {
      if (row.get(instance.id) !== instance) return;
      this.#round(self, instance);
      this.#later(self, row, instance, instance.quiet < limits.quiet_after_rounds ? limits.round_ms : limits.quiet_round_ms);
    });
  }

  #round(self: number, instance: Instance): void {
    const { members } = instance;
    const { random } = this.#host;
    members.grow();
    const partner = this.#partner(members);
    if (partner !== null) this.#offer(self, instance, partner, members.position);
    const wanted = members.wanted();
    for (let request = 0; request < Math.min(limits.requests_per_round, wanted.length); request++) {
      const position = wanted[random.below(wanted.length)]!;
      const [closest] = members.near(position, 1);
      if (closest !== undefined && closest.peer !== partner?.peer) this.#offer(self, instance, closest, position);
    }
    instance.quiet++;
    this.#tell(instance);
  }

  /** In turns a neighbour that was not heard for long, and one of the nearest by chance. */
  #partner(members: Members): Entry | null {
    const { random } = this.#host;
    if (random.chance(0.5)) {
      const [oldest] = [...members.neighbours()].sort((a, b) => b.age - a.age);
      if (oldest !== undefined && oldest.age > 2) return oldest;
    }
    const near = members.near(members.position, limits.partners);
    return near[random.below(near.length)] ?? null;
  }

  #offer(self: number, instance: Instance, to: Entry, wanted: number): void {
    instance.members.asked(to.peer);
    this.#send(self, instance, kinds.offer, to.peer, to.position, wanted);
  }

  #send(self: number, instance: Instance, kind: number, to: Peer, about: number, wanted: number): void {
    const { members } = instance;
    const best = members.near(about, limits.entries_per_message).filter(({ peer }) => peer !== to).slice(0, limits.entries_per_message - 1);
    const entries = [{ peer: self, position: members.position, age: 0 }, ...best.map(({ peer, position, age }) => ({ peer, position, age: Math.min(age, 255) }))];
    this.#host.send(self, to, { kind, instance: instance.id, wanted, entries } as Offer);
  }

  #tell(instance: Instance): void {
    const neighbours = instance.members.neighbours();
    const now = neighbours.map(({ peer, position }) => `${position}:${peer}`).join();
    if (now === instance.last) return;
    instance.last = now;
    instance.quiet = 0;
    instance.changed(neighbours);
  }
}
