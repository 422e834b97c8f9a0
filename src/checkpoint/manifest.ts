import { XosError } from '../core/errors.ts';
import { damaged, foreign } from './errors.ts';

/** A checkpoint as its manifest tells it (native/checkpoint/src/manifest.h); what a program needs to show and to find, not what the engine needs. */
export interface Manifest {
  readonly created_ms: number;
  readonly job: string;
  readonly program: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly user: string;
  readonly vo: string;
  readonly uid: number;
  readonly node: string;
  readonly kernel: string;
  readonly leave_running: boolean;
  /** Size of all its files. */
  readonly bytes: number;
  /** Time for which the job stood still. */
  readonly frozen_ms: number;
  readonly processes: readonly { readonly pid: number; readonly program: string }[];
  readonly streams: readonly { readonly kind: string; readonly target_fds: readonly number[] }[];
  /** Its files beside the manifest. */
  readonly files: readonly { readonly name: string; readonly size: number }[];
}

/** File in a checkpoint's directory; written last, so without it there is no checkpoint. */
export const manifest_name = 'manifest';

/**
 * Reads a manifest: a line of JSON, then `crc32c=…` over it, then a signature, which the engine checks where it restores.
 * @param attempt the verb of the error message
 * @throws XosError XOS_CHECKPOINT_DAMAGED, XOS_CHECKPOINT_VERSION
 */
export function parseManifest(bytes: Buffer, name: string, attempt: string): Manifest {
  const end = bytes.indexOf(10);
  const sum = end < 0 ? null : /^\ncrc32c=([0-9a-f]{8})\nsignature=[0-9a-f]*\n$/.exec(bytes.toString('latin1', end));
  if (sum === null) throw damaged(attempt, name, 'its manifest is cut off');
  if (crc32c(bytes.subarray(0, end)) !== Number.parseInt(sum[1]!, 16)) throw damaged(attempt, name, 'its manifest was changed (checksum is wrong)');
  try {
    const fields = JSON.parse(bytes.toString('utf8', 0, end)) as Record<string, unknown>;
    if (fields['format'] !== 'xtreemos-checkpoint') throw damaged(attempt, name, 'it is no checkpoint of XtreemOS');
    if (fields['version'] !== 1) throw foreign(attempt, name, String(fields['version']));
    return read(fields);
  } catch (thrown) {
    if (thrown instanceof XosError) throw thrown;
    throw damaged(attempt, name, 'its manifest does not make sense');
  }
}

function read(fields: Record<string, unknown>): Manifest {
  const text = (key: string): string => typed(fields[key], 'string');
  const number = (key: string): number => typed(fields[key], 'number');
  const list = (key: string): readonly Record<string, unknown>[] => typed<Record<string, unknown>[]>(fields[key], 'object').map((each) => typed(each, 'object'));
  const pack = typed<Record<string, unknown>>(fields['pack'], 'object');
  return {
    created_ms: number('created_ms'), job: text('job'), program: text('program'), cwd: text('cwd'), user: text('user'), vo: text('vo'), uid: number('uid'),
    node: text('node'), kernel: text('kernel'), leave_running: typed(fields['leave_running'], 'boolean'), bytes: number('bytes'), frozen_ms: number('frozen_ms'),
    argv: typed<unknown[]>(fields['argv'], 'object').map((each) => typed(each, 'string')),
    processes: list('processes').map((each) => ({ pid: typed(each['pid'], 'number'), program: typed(each['program'], 'string') })),
    streams: list('streams').map((each) => ({ kind: typed(each['kind'], 'string'), target_fds: typed(each['target_fds'], 'object') })),
    files: [...list('files'), pack].map((each) => ({ name: typed(each['name'], 'string'), size: typed(each['size'], 'number') })),
  };
}

function typed<T>(value: unknown, type: 'string' | 'number' | 'boolean' | 'object'): T {
  if (typeof value !== type || value === null) throw new TypeError(`${typeof value} instead of ${type}`);
  return value as T;
}

/** CRC-32C (RFC 3720 B.4) of a few kilobytes. */
export function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
