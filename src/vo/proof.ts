import type { KeyObject } from 'node:crypto';
import { createHash } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Disk, Log } from '../core/ports.ts';
import { verifyBytes } from './keys.ts';

/**
 * A proof is a signature by the key of a session's credential over one statement, good once and for seconds. Each kind begins with words
 * of its own, so that none can be shown as another; parts are joined with NUL, which no part can hold.
 */
interface Moment {
  readonly issued_ms: number;
  readonly nonce: Uint8Array;
}

const statement = (...parts: readonly (string | number)[]): Buffer => Buffer.from(parts.join('\0'));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** "Open my session on this node": docs/architecture.md, "Trust between nodes". */
export const sessionProofBytes = (proof: Moment & { vo: string; session: string; origin: string; target: string; expires_ms: number }): Buffer =>
  statement('xos-session-v1', proof.vo, proof.session, proof.origin, proof.target, proof.expires_ms, proof.issued_ms, hex(proof.nonce));

/** "Renew my credential, for this request's key." */
export const renewProofBytes = (proof: Moment & { vo: string; session: string; origin: string; csr: Uint8Array }): Buffer =>
  statement('xos-renew-v1', proof.vo, proof.session, proof.origin, createHash('sha256').update(proof.csr).digest('hex'), proof.issued_ms, hex(proof.nonce));

/** "Give this key of that node a credential for a session there: I went there." */
export const delegateProofBytes = (proof: Moment & { vo: string; session: string; origin: string; target: string; target_session: string; csr: Uint8Array }): Buffer =>
  statement('xos-delegate-v1', proof.vo, proof.session, proof.origin, proof.target, proof.target_session, createHash('sha256').update(proof.csr).digest('hex'), proof.issued_ms, hex(proof.nonce));

/** "Do this to the VO." */
export const adminProofBytes = (proof: Moment & { vo: string; origin: string; operation: string; request: Uint8Array }): Buffer =>
  statement('xos-admin-v1', proof.vo, proof.origin, proof.operation, createHash('sha256').update(proof.request).digest('hex'), proof.issued_ms, hex(proof.nonce));

/** Proofs are remembered until no clock could take them for new any more. */
const remembered_ms = 2 * (limits.proof_ms + limits.clock_skew_ms);

/**
 * Remembers the proofs of the last seconds: one is accepted once. What it accepted is in a file before the caller acts upon it, so that a
 * proof is not good a second time after a restart, of this process or of the machine.
 */
export class ProofGate {
  readonly #path: string;
  readonly #ports: { readonly disk: Disk; readonly log: Log };
  readonly #seen = new Map<string, number>();
  #loaded: Promise<void> | null = null;
  /** What was made before is refused: whether it was used is not known. */
  #known_since_ms = -Infinity;
  #queued: Promise<void> | null = null;
  #writing: Promise<void> = Promise.resolve();

  /** `path`: in a directory that nobody else writes to, and that outlives the machine's restart. */
  constructor(path: string, ports: { readonly disk: Disk; readonly log: Log }) {
    this.#path = path;
    this.#ports = ports;
  }

  /** Throws XOS_PROOF (forged), XOS_CLOCK_OFF (made too far from now), XOS_REPLAY (seen before), XOS_UNAVAILABLE (cannot be noted as used). */
  async check(key: KeyObject, bytes: Uint8Array, signature: Uint8Array, moment: Moment, now_ms: number): Promise<void> {
    if (moment.nonce.length !== 16 || !verifyBytes(key, bytes, signature)) throw new XosError('XOS_PROOF', 'cannot accept the proof: it was not made with the key of the credential');
    const age_ms = now_ms - moment.issued_ms;
    if (age_ms > limits.proof_ms + limits.clock_skew_ms || age_ms < -limits.clock_skew_ms) {
      throw new XosError('XOS_CLOCK_OFF', `cannot accept the proof: it was made ${Math.abs(Math.round(age_ms / 1000))} s ${age_ms > 0 ? 'ago' : 'in the future'} by the clock of this node; set the clocks of both nodes`, { age_ms });
    }
    await (this.#loaded ??= this.#load(now_ms).catch((thrown: unknown) => {
      this.#loaded = null;
      throw thrown;
    }));
    if (moment.issued_ms < this.#known_since_ms) throw new XosError('XOS_REPLAY', 'cannot accept the proof: this node has lost its notes of which ones were used; try again in a minute');
    for (const [nonce, until_ms] of this.#seen) {
      if (until_ms > now_ms) break; // in order of arrival: the rest is younger, but for clock skew
      this.#seen.delete(nonce);
    }
    const nonce = hex(moment.nonce);
    if (this.#seen.has(nonce)) throw new XosError('XOS_REPLAY', 'cannot accept the proof: it was used before');
    this.#seen.set(nonce, now_ms + remembered_ms);
    try {
      await this.#keep();
    } catch (cause) {
      throw new XosError('XOS_UNAVAILABLE', `cannot accept the proof: it cannot be noted as used in '${this.#path}'`, {}, { cause });
    }
  }

  async #load(now_ms: number): Promise<void> {
    const kept = await this.#ports.disk.read(this.#path);
    if (kept === null) return; // a node that never accepted any
    try {
      const list = JSON.parse(kept.toString('utf8')) as [string, number][];
      for (const [nonce, until_ms] of list) if (/^[0-9a-f]{32}$/.test(nonce) && until_ms > now_ms) this.#seen.set(nonce, until_ms);
    } catch {
      this.#known_since_ms = now_ms + limits.clock_skew_ms;
      this.#ports.log.warn('the notes of used proofs cannot be read; none made before now is accepted', { path: this.#path });
    }
  }

  /** Resolves when all that is noted by now is in the file. What comes while one write is under way shares the next one. */
  #keep(): Promise<void> {
    this.#queued ??= this.#writing.catch(() => {}).then(async () => {
      this.#queued = null;
      await this.#ports.disk.writeAtomic(this.#path, JSON.stringify([...this.#seen]));
    });
    this.#writing = this.#queued;
    return this.#writing;
  }
}
