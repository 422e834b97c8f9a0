import { XosError, describe, hasCode } from '../core/errors.ts';
import { Listeners } from '../core/signal.ts';
import type { Log } from '../core/ports.ts';
import type { OrderedLog } from './log.ts';
import type { StateMachine } from './machine.ts';

export interface ReplicaOptions {
  readonly log: Log;
  /** Entries between snapshots. */
  readonly snapshot_entries?: number;
  /** Commands that one append takes at most. */
  readonly batch_max?: number;
}

const snapshot_entries_default = 1_000;
const batch_max_default = 256;

interface Proposal<Command> {
  readonly command: Command;
  readonly data: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Runs a state machine over a log: a proposal resolves when its command is durable and applied. Commands that arrive while an append is
 * under way go into the next one together (group commit): the cost of a sync is shared, and nothing waits for a timer.
 */
export class Replica<State, Command, Effect> {
  readonly #machine: StateMachine<State, Command, Effect>;
  readonly #log: OrderedLog;
  readonly #options: ReplicaOptions;
  readonly #changes = new Listeners<[State, readonly Effect[]]>();
  #queue: Proposal<Command>[] = [];
  #state: State;
  #last = 0;
  #snapshotAt = 0;
  #working: Promise<void> | null = null;
  #ended: XosError | null = new XosError('XOS_UNAVAILABLE', 'the state machine is not started');

  constructor(machine: StateMachine<State, Command, Effect>, log: OrderedLog, options: ReplicaOptions) {
    this.#machine = machine;
    this.#log = log;
    this.#options = options;
    this.#state = machine.initial();
  }

  /** The state after every command that was acknowledged. */
  get state(): State {
    return this.#state;
  }

  /** Index of the last applied entry. */
  get last(): number {
    return this.#last;
  }

  /** Called after each batch with the state and the effects of its commands. */
  onChange(listener: (state: State, effects: readonly Effect[]) => void): () => void {
    return this.#changes.add(listener);
  }

  /** Opens the log and rebuilds the state from snapshot and entries. */
  async start(): Promise<void> {
    const start = await this.#log.open();
    if (start.snapshot !== null) this.#state = this.#decodeSnapshot(start.snapshot.state);
    this.#last = this.#snapshotAt = start.snapshot?.index ?? 0;
    for await (const entry of this.#log.read(this.#last)) {
      if (entry.index !== this.#last + 1) throw new XosError('XOS_LOG', `log of '${this.#machine.name}' is damaged: entry ${this.#last + 1} is missing`);
      this.#state = this.#machine.apply(this.#state, decode(entry.data) as Command).state;
      this.#last = entry.index;
    }
    this.#ended = null;
  }

  /** Proposals under way still end; later ones are refused. Closes the log. */
  async stop(): Promise<void> {
    this.#ended ??= new XosError('XOS_UNAVAILABLE', `'${this.#machine.name}' is stopped`);
    await this.#working;
    await this.#log.close();
  }

  /** Rejects with the machine's refusal, or with XOS_LOG, XOS_FENCED, XOS_UNAVAILABLE: then the command had no effect. */
  async propose(command: Command): Promise<void> {
    if (this.#ended !== null) throw this.#ended;
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ command, data: encode(command), resolve, reject });
      this.#working ??= this.#work().finally(() => (this.#working = null));
    });
  }

  async #work(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, this.#options.batch_max ?? batch_max_default);
      try {
        this.#last = await this.#log.append(batch.map((proposal) => proposal.data), this.#last);
      } catch (thrown) {
        this.#fail(batch, thrown);
        continue;
      }
      this.#apply(batch);
      if (this.#last - this.#snapshotAt >= (this.#options.snapshot_entries ?? snapshot_entries_default)) await this.#snapshot();
    }
  }

  #fail(batch: readonly Proposal<Command>[], thrown: unknown): void {
    if (hasCode(thrown, 'XOS_FENCED', 'XOS_LOG_CONFLICT')) {
      // Somebody else leads now; what this one believes is not to be trusted any more.
      this.#ended = thrown as XosError;
      this.#options.log.error('lost the log, taking no more commands', { machine: this.#machine.name, reason: describe(thrown) });
      batch = [...batch, ...this.#queue.splice(0)];
    }
    for (const proposal of batch) proposal.reject(thrown);
  }

  #apply(batch: readonly Proposal<Command>[]): void {
    const effects: Effect[] = [];
    const done: (() => void)[] = [];
    for (const proposal of batch) {
      const applied = this.#machine.apply(this.#state, proposal.command);
      this.#state = applied.state;
      effects.push(...applied.effects);
      const { refused } = applied;
      done.push(refused === undefined ? proposal.resolve : () => proposal.reject(XosError.fromWire(refused)));
    }
    this.#changes.emit(this.#state, effects);
    for (const settle of done) settle();
  }

  async #snapshot(): Promise<void> {
    try {
      await this.#log.snapshot(this.#last, encode({ machine: this.#machine.name, version: this.#machine.version, state: this.#state }));
      this.#snapshotAt = this.#last;
    } catch (thrown) {
      // The entries are still there: the next batch tries again.
      this.#options.log.warn('cannot write a snapshot', { machine: this.#machine.name, reason: describe(thrown) });
    }
  }

  #decodeSnapshot(data: Uint8Array): State {
    const { machine, version, state } = decode(data) as { machine: string; version: number; state: State };
    if (machine !== this.#machine.name) throw new XosError('XOS_LOG', `the log of '${this.#machine.name}' holds a snapshot of '${machine}'`);
    if (version === this.#machine.version) return state;
    if (version > this.#machine.version || this.#machine.upgrade === undefined) {
      throw new XosError('XOS_LOG', `the snapshot of '${machine}' has version ${version}, this program knows ${this.#machine.version}; install the newer one`, { version });
    }
    return this.#machine.upgrade(state, version);
  }
}

// JSON: a log can be read with any tool when it matters, and control-plane commands are few.
const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const decode = (data: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(data));
