import { scrypt, timingSafeEqual } from 'node:crypto';
import { XosError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Random } from '../core/ports.ts';

/**
 * Verifiers of passwords: scrypt (RFC 7914) with N=2^14, r=8, p=5, one of the equal choices of the OWASP Password Storage Cheat Sheet
 * and the one with the least memory (16 MiB while it runs). The parameters stand in each verifier, so they can rise later:
 * `scrypt$14$8$5$SALT$HASH`, base64url. Runs on libuv's threads.
 */
const cost = { log_n: 14, r: 8, p: 5 } as const;
const hash_bytes = 32;
const running_max = 2;
const waiting_max = 64;

let running = 0;
const waiting: (() => void)[] = [];

async function hash(password: string, salt: Buffer, { log_n, r, p }: { log_n: number; r: number; p: number }, admit?: () => void): Promise<Buffer> {
  if (waiting.length >= waiting_max) throw new XosError('XOS_BUSY', 'too many passwords are being checked; try again in a moment');
  // Two at a time: more would only take the libuv threads from the disk, and 16 MiB each.
  if (running >= running_max) await new Promise<void>((resolve) => waiting.push(resolve));
  running++;
  try {
    admit?.();
    return await new Promise<Buffer>((resolve, reject) => {
      const options = { N: 2 ** log_n, r, p, maxmem: 256 * 2 ** log_n * r };
      scrypt(password.normalize('NFC'), salt, hash_bytes, options, (failed, key) => (failed === null ? resolve(key) : reject(failed)));
    });
  } finally {
    running--;
    waiting.shift()?.();
  }
}

/** Throws XOS_BAD_PASSWORD with the rule that it breaks. `length_min`: in characters, of the VO's policy. */
export function checkNewPassword(password: unknown, length_min: number = limits.password_bytes_min): string {
  const size = typeof password === 'string' ? Buffer.byteLength(password) : -1;
  if (size < 0 || [...(password as string)].length < length_min) throw new XosError('XOS_BAD_PASSWORD', `the password is too short: at least ${length_min} characters`, { rule: 'short', least: length_min });
  if (size > limits.password_bytes_max) throw new XosError('XOS_BAD_PASSWORD', `the password is too long: at most ${limits.password_bytes_max} bytes`);
  if (/[\u0000\n\r]/.test(password as string)) throw new XosError('XOS_BAD_PASSWORD', 'the password holds a line end or a NUL');
  return password as string;
}

export async function makeVerifier(password: string, random: Random): Promise<string> {
  const salt = random.bytes(16);
  const key = await hash(password, salt, cost);
  return `scrypt$${cost.log_n}$${cost.r}$${cost.p}$${salt.toString('base64url')}$${key.toString('base64url')}`;
}

/**
 * True when the password is the verifier's. `verifier` null (no such user) costs the same time and is false, so that an answer's time
 * does not tell which names exist. `admit` is called when it is this one's turn, and may throw: guesses that were sent all at once are
 * thus counted one by one.
 */
export async function checkPassword(password: string, verifier: string | null, admit?: () => void): Promise<boolean> {
  const match = /^scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([\w-]+)\$([\w-]+)$/.exec(verifier ?? '');
  const bounded = Buffer.byteLength(password) <= limits.password_bytes_max ? password : '';
  if (match === null) {
    await hash(bounded, Buffer.alloc(16), cost, admit);
    return false;
  }
  const [, log_n, r, p, salt, expected] = match;
  const key = await hash(bounded, Buffer.from(salt!, 'base64url'), { log_n: Number(log_n), r: Number(r), p: Number(p) }, admit);
  const wanted = Buffer.from(expected!, 'base64url');
  return bounded === password && wanted.length === key.length && timingSafeEqual(wanted, key);
}
