import type { WireError } from '../core/errors.ts';

/**
 * A service's state as a function of its commands. `apply` is deterministic and total: what it needs of time and chance comes in the
 * command, a command that cannot be done is refused in the result, and it never throws for what a caller can send. The states are values:
 * `apply` returns a new one and leaves the old one as it was.
 */
export interface StateMachine<State, Command, Effect> {
  readonly name: string;
  /** Of the encoded state; a snapshot of a newer version is refused at start. */
  readonly version: number;
  initial(): State;
  apply(state: State, command: Command): Applied<State, Effect>;
  /** Brings the state of an older version up; called once at start. Absent while there was no other version. */
  upgrade?(state: unknown, version: number): State;
}

export interface Applied<State, Effect> {
  readonly state: State;
  /** What must happen outside because of this command. Not run again at recovery: whoever performs them starts from the state. */
  readonly effects: readonly Effect[];
  /** Why the command was refused; the state is then unchanged. */
  readonly refused?: WireError;
}
