import type { Message, Peer, Protocol } from '../overlay/core/index.ts';

/** Runs a protocol that is written for one node (capacity 1) for many: one object a node. Fine up to some 10^5 nodes. */
export class PerNode<P extends Protocol> implements Protocol {
  readonly name: string;
  readonly kinds: readonly number[];
  readonly nodes: (P | undefined)[] = [];
  readonly #make: (self: number) => P;

  /** `make` builds the protocol of one node; it is called with the same `self` as the protocol's methods. */
  constructor(make: (self: number) => P) {
    const example = make(0);
    this.name = example.name;
    this.kinds = example.kinds;
    this.#make = make;
  }

  start(self: number, seeds: readonly Peer[]): void {
    this.nodes[self] = this.#make(self);
    this.nodes[self].start(self, seeds);
  }

  stop(self: number): void {
    this.nodes[self]?.stop(self);
    this.nodes[self] = undefined;
  }

  onCycle(self: number): void {
    this.nodes[self]?.onCycle?.(self);
  }

  onMessage(self: number, from: Peer, message: Message): void {
    this.nodes[self]?.onMessage(self, from, message);
  }

  onGone(self: number, peer: Peer, why: 'left' | 'dead'): void {
    this.nodes[self]?.onGone?.(self, peer, why);
  }

  onChanged(self: number): void {
    this.nodes[self]?.onChanged?.(self);
  }
}
