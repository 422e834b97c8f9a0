import { keyFromPem, signBytes } from '../vo/keys.ts';
import type { Clock, Random } from '../core/ports.ts';
import { XosError } from '../core/errors.ts';
import type { HeldSession } from './table.ts';

/** What goes with a proof: when and what makes it one of a kind. */
export interface Moment {
  readonly issued_ms: number;
  readonly nonce: Buffer;
}

/** A signature by the key of a session's credential. Throws XOS_DENIED for a session of another node, whose key is there. */
export function prove(held: HeldSession, ports: { clock: Clock; random: Random }, statement: (moment: Moment) => Uint8Array): Moment & { readonly signature: Buffer } {
  if (held.own === null || held.own.key === '') throw new XosError('XOS_DENIED', `session '${held.session}' has no key here; that is on node '${held.origin}', if the VO gave it one`, { session: held.session });
  const moment: Moment = { issued_ms: Math.floor(ports.clock.now_ms()), nonce: ports.random.bytes(16) };
  return { ...moment, signature: signBytes(keyFromPem(held.own.key), statement(moment)) };
}
