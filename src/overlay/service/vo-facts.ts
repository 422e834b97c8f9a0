import { describe } from '../../core/errors.ts';
import type { Log } from '../../core/ports.ts';
import type { NodeContext } from '../../daemon/context.ts';
import { limits as topics } from '../pubsub/limits.ts';
import type { Topics } from './topics.ts';

export const fact_kinds = ['revocation', 'membership'] as const;
export type FactKind = (typeof fact_kinds)[number];

/** The signed documents of the VO. Whichever way brings one first wins: they are versioned, and verified by whoever uses them. */
export interface Facts {
  /** On the registry's node: the documents as they are now; null elsewhere. */
  readonly registry: { current(): Readonly<Record<FactKind, Uint8Array>>; onChange(listener: () => void): () => void } | null;
  /** Verifies and uses a document. False when what the node holds is as new. Throws XOS_DOCUMENT. */
  take(kind: FactKind, envelope: Uint8Array): Promise<boolean>;
}

/** Membership and revocations as messages on VO/vo: a revoked user is out everywhere in the time of a broadcast. */
export class VoFacts {
  readonly #facts: Facts;
  readonly #context: NodeContext;
  readonly #topics: Topics;
  readonly #log: Log;
  readonly #sent = new Map<FactKind, Uint8Array>();

  constructor(facts: Facts, context: NodeContext, published: Topics, log: Log) {
    this.#facts = facts;
    this.#context = context;
    this.#topics = published;
    this.#log = log;
  }

  /** Returns the way to stop. */
  start(): () => void {
    const undo = fact_kinds.map((kind) => this.#topics.listen(`${this.#context.vo}/vo/${kind}`, ({ node, payload }) => {
      if (node !== this.#context.node) void this.#take(kind, node, payload);
    }));
    if (this.#facts.registry !== null) undo.push(this.#facts.registry.onChange(() => this.#publish()));
    return () => { for (const stop of undo) stop(); };
  }

  async #take(kind: FactKind, node: string, payload: Buffer): Promise<void> {
    try {
      if (await this.#facts.take(kind, payload)) this.#log.info('a document of the VO came by the overlay', { kind, node });
    } catch (thrown) {
      this.#log.warn('a document of the VO was refused', { kind, node, reason: describe(thrown) });
    }
  }

  /** A document that is too long for a message comes to the nodes by the registry's stream. */
  #publish(): void {
    const current = this.#facts.registry!.current();
    for (const kind of fact_kinds) {
      const envelope = current[kind];
      if (this.#sent.get(kind) === envelope || envelope.length > topics.payload_bytes_max) continue;
      this.#sent.set(kind, envelope);
      this.#topics.publish({ kind: 'node', node: this.#context.node }, `${this.#context.vo}/vo/${kind}`, Buffer.from(envelope))
        .catch((thrown: unknown) => this.#log.debug('a document of the VO was not published', { kind, reason: describe(thrown) }));
    }
  }
}
