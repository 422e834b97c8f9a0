import { describe, hasCode } from '../core/errors.ts';
import type { Log } from '../core/ports.ts';
import type { NodeContext } from '../daemon/context.ts';
import { SessionsDefinition } from '../proto/xos/session/v1/session.ts';
import { sessionProofBytes } from '../vo/proof.ts';
import { prove } from './sign.ts';
import { isGranted, type HeldSession, type SessionTable } from './table.ts';

/** How long a login waits for the other nodes; those that are slower get the session in the background. */
const login_wait_ms = 1_500;
const call_ms = 10_000;

/**
 * Brings the sessions of this node's logins to the other nodes of the VO, and keeps them there: at login to all at once, later by
 * comparing (Sync), which also serves nodes that join later, were away, or lost their state.
 */
export class Spread {
  readonly #context: NodeContext;
  readonly #table: SessionTable;
  readonly #log: Log;
  readonly #told = new Map<string, string>();

  constructor(context: NodeContext, table: SessionTable) {
    this.#context = context;
    this.#table = table;
    this.#log = context.ports.log.child('session');
  }

  #targets(): readonly string[] {
    return this.#context.members.admitted().filter((node) => node.node !== this.#context.node && node.roles.includes('relay')).map((node) => node.node);
  }

  /** Opens a new session everywhere; resolves when all nodes have it, or after a moment. Never rejects. */
  async openEverywhere(held: HeldSession, signal: AbortSignal): Promise<void> {
    const all = Promise.all(this.#targets().map((node) => this.#try(node, () => this.#open(node, held, signal))));
    const enough = new AbortController();
    await Promise.race([all, this.#context.ports.clock.sleep(login_wait_ms, AbortSignal.any([signal, enough.signal])).catch(() => {})]);
    enough.abort();
  }

  async closeEverywhere(session: string, reason: string, kill: boolean, signal: AbortSignal): Promise<void> {
    const sessions = (node: string) => this.#context.rpc.client(node, SessionsDefinition);
    await Promise.all(this.#targets().map((node) => this.#try(node, () => sessions(node).close({ session, reason, kill }, { deadline_ms: call_ms, signal }))));
  }

  /** One round of comparing with every node. Never rejects. */
  async syncAll(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#targets().map((node) => this.#try(node, () => this.#sync(node, signal))));
  }

  async #sync(node: string, signal: AbortSignal): Promise<void> {
    const own = this.#table.all().filter(isGranted);
    const sessions = own.map(({ session, expires_ms }) => ({ session, expires_ms }));
    const { missing } = await this.#context.rpc.client(node, SessionsDefinition).sync({ sessions }, { deadline_ms: call_ms, signal });
    for (const session of missing) {
      const held = this.#table.held(session);
      if (held?.own != null) await this.#open(node, held, signal);
    }
  }

  async #open(node: string, held: HeldSession, signal: AbortSignal): Promise<void> {
    const { ports, rpc, vo, node: origin } = this.#context;
    const { session, expires_ms } = held;
    const proof = prove(held, ports, (moment) => sessionProofBytes({ vo, session, origin, target: node, expires_ms, ...moment }));
    await rpc.client(node, SessionsDefinition).open({ session, credential: held.own!.credential, expires_ms, ...proof }, { deadline_ms: call_ms, signal });
  }

  /** A node that is away is no news at each round; what it says is told when it changes. */
  async #try(node: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
      if (this.#told.delete(node)) this.#log.info('sessions reach the node again', { node });
    } catch (thrown) {
      const reason = describe(thrown);
      if (hasCode(thrown, 'XOS_ABORTED') || this.#told.get(node) === reason) return;
      this.#told.set(node, reason);
      this.#log.warn('sessions do not reach a node; trying again', { node, reason });
    }
  }
}
