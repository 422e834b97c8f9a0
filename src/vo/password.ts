import { scrypt, timingSafeEqual } from 'node:crypto';
import { hashPassword, passwordSetting } from '../../native/peer/index.ts';
import { XosError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Random } from '../core/ports.ts';

/**
 * Verifiers of passwords: yescrypt by libcrypt (crypt(5)) with the cost that the VO's login policy says; 5 is what Debian 13 gives its own users
 * (`$y$j9T$…`; N=4096, r=32: 16 MiB while it runs). Those of before are scrypt, `scrypt$LOG_N$R$P$SALT$HASH`. Method and cost stand in each
 * verifier; one that has others than the policy is replaced at the next login. Runs on libuv's threads.
 */
const method = '$y$';
const yescrypt_form = /^(\$y\$[./0-9A-Za-z]+\$)[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43}$/;
/** What verifiers of a cost begin with. */
const beginningOf = (cost: number): string => /^\$y\$[^$]+\$/.exec(passwordSetting(method, cost, Buffer.alloc(16)))![0];
/** Of nobody: what is compared with when there is no such user. */
const nobodyOf = (cost: number): string => `${beginningOf(cost)}......................`;
const scrypt_form = /^scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([\w-]+)\$([\w-]+)$/;
const running_max = 2;
const waiting_max = 64;

let running = 0;
const waiting: (() => void)[] = [];

/** Two at a time: more would only take the libuv threads from the disk, and 16 MiB each. */
async function inTurn<T>(work: () => Promise<T>, admit?: () => void): Promise<T> {
  if (waiting.length >= waiting_max) throw new XosError('XOS_BUSY', 'too many passwords are being checked; try again in a moment');
  if (running >= running_max) await new Promise<void>((resolve) => waiting.push(resolve));
  running++;
  try {
    admit?.();
    return await work();
  } finally {
    running--;
    waiting.shift()?.();
  }
}

function scryptOf(password: string, [, log_n, r, p, salt, expected]: RegExpExecArray): Promise<boolean> {
  const wanted = Buffer.from(expected!, 'base64url');
  const [N, blocks] = [2 ** Number(log_n), Number(r)];
  return new Promise((resolve, reject) => {
    scrypt(password, Buffer.from(salt!, 'base64url'), 32, { N, r: blocks, p: Number(p), maxmem: 256 * N * blocks }, (failed, key) =>
      failed === null ? resolve(wanted.length === key.length && timingSafeEqual(wanted, key)) : reject(failed));
  });
}

async function cryptOf(password: string, verifier: string): Promise<boolean> {
  const [made, wanted] = [Buffer.from(await hashPassword(password, verifier)), Buffer.from(verifier)];
  return made.length === wanted.length && timingSafeEqual(made, wanted);
}

/** Throws XOS_BAD_PASSWORD with the rule that it breaks. `length_min`: in characters, of the VO's policy. */
export function checkNewPassword(password: unknown, length_min: number = limits.password_bytes_min): string {
  const size = typeof password === 'string' ? Buffer.byteLength(password.normalize('NFC')) : -1;
  if (size < 0 || [...(password as string)].length < length_min) throw new XosError('XOS_BAD_PASSWORD', `the password is too short: at least ${length_min} characters`, { rule: 'short', least: length_min });
  if (size > limits.password_bytes_max) throw new XosError('XOS_BAD_PASSWORD', `the password is too long: at most ${limits.password_bytes_max} bytes`);
  if (/[\u0000\n\r]/.test(password as string)) throw new XosError('XOS_BAD_PASSWORD', 'the password holds a line end or a NUL');
  return password as string;
}

/** `cost`: LoginPolicy.password_cost, here and below. */
export async function makeVerifier(password: string, cost: number, random: Random): Promise<string> {
  const setting = passwordSetting(method, cost, random.bytes(16));
  return await inTurn(() => hashPassword(password.normalize('NFC'), setting));
}

/** Whether a verifier is to be made anew from its password, as soon as that is at hand. */
export const isOutdated = (verifier: string, cost: number): boolean => yescrypt_form.exec(verifier)?.[1] !== beginningOf(cost);

/**
 * True when the password is the verifier's. `verifier` null (no such user) costs the same time (that of `cost`) and is false, so that an answer's time
 * does not tell which names exist. `admit` is called when it is this one's turn, and may throw: guesses that were sent all at once are
 * thus counted one by one.
 */
export async function checkPassword(password: string, verifier: string | null, cost: number, admit?: () => void): Promise<boolean> {
  const normal = password.normalize('NFC');
  // What is longer than a password can be (or becomes it when normalised) costs the same, and is wrong.
  const fits = Buffer.byteLength(normal) <= limits.password_bytes_max && !normal.includes('\0');
  const shown = fits ? normal : '';
  const old = scrypt_form.exec(verifier ?? '');
  const known = old !== null || yescrypt_form.test(verifier ?? '');
  const right = await inTurn(() => (old !== null ? scryptOf(shown, old) : cryptOf(shown, known ? verifier! : nobodyOf(cost))), admit);
  return right && known && fits;
}
