import type { Peer } from '../overlay/core/index.ts';
import { Membership } from '../overlay/membership/index.ts';
import { Broadcast } from '../overlay/pubsub/broadcast.ts';
import { Mesh } from '../overlay/pubsub/mesh.ts';
import { pubsubCodecs } from '../overlay/pubsub/messages.ts';
import { Links, type LinksOptions } from './links.ts';
import { Engine } from './engine.ts';

export interface Told { readonly origin: number; readonly seq: number; readonly hops: number }

/** Membership, mesh and broadcast on the engine, with a subscriber on every node; `heard` has what each was handed, in order. */
export class TopicWorld {
  readonly engine: Engine;
  readonly mesh: Mesh;
  readonly broadcast: Broadcast;
  readonly membership: Membership;
  readonly heard: Told[][];
  readonly gaps: { self: number; from: number; to: number }[] = [];
  /** What every node believes of a message; for tests of forgery. */
  check: (self: number, bytes: Uint8Array) => 'good' | 'bad' | 'unknown' = () => 'good';
  learn: (self: number, origin: number) => boolean = () => true;

  constructor(nodes: number, seed: number, links: LinksOptions = {}) {
    this.engine = new Engine({ capacity: nodes, seed, links: new Links(links), codecs: [...Membership.codecs, ...pubsubCodecs] });
    this.heard = Array.from({ length: nodes }, () => []);
    const { engine } = this;
    this.membership = new Membership(engine, { rows: engine.rows, fallback: () => [0, 1, 2], verdict: (self, peer, why) => engine.gone(self, peer, why) });
    engine.add(this.membership);
    this.broadcast = new Broadcast(engine, {
      own: (self) => ({ origin: self, epoch: 1 }), check: (self, _id, bytes) => this.check(self, bytes), find: (_self, origin) => origin, learn: (self, origin) => this.learn(self, origin),
    }, {
      deliver: (self, { origin, seq, hops }) => void this.heard[self]!.push({ origin: origin.id, seq, hops }),
      gap: (self, _origin, from, to) => void this.gaps.push({ self, from, to }),
    });
    this.mesh = new Mesh(engine, (self) => this.membership.any(self), this.broadcast);
    this.broadcast.use(this.mesh);
    engine.add(this.broadcast);
    engine.add(this.mesh);
    for (let node = 0; node < nodes; node++) engine.start(node, node === 0 ? [] : Array.from({ length: 3 }, () => engine.random.below(node)));
  }

  living(): Peer[] {
    return Array.from({ length: this.engine.capacity }, (_, node) => node).filter((node) => this.engine.alive[node] === 1);
  }

  anyone(): Peer {
    const living = this.living();
    return living[this.engine.random.below(living.length)]!;
  }

  /** Publishes; returns its number. */
  publish(self: Peer, bytes = 100): number {
    const seq = this.broadcast.next(self);
    this.broadcast.publish(self, Buffer.alloc(bytes));
    return seq;
  }

  /** The share of the living that were handed a message. */
  delivered(origin: Peer, seq: number): number {
    const living = this.living();
    return living.filter((node) => this.heard[node]!.some((told) => told.origin === origin && told.seq === seq)).length / living.length;
  }

  received(): number {
    return this.engine.metrics.get('pubsub.received');
  }
}

